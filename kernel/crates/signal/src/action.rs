//! The dispositions of a process, kept as the few that are not the default, so that a fork copies little.

use alloc::vec::Vec;

use abi::signal::{SaFlags, SigAction, SigSet, Signo};

use crate::DefaultAction;

/// Bits of `sa_flags` that user space can set; Linux clears the others so that programs can probe for new ones.
const UAPI_FLAGS: u64 = SaFlags::NOCLDSTOP.bits()
    | SaFlags::NOCLDWAIT.bits()
    | SaFlags::SIGINFO.bits()
    | SaFlags::ONSTACK.bits()
    | SaFlags::RESTART.bits()
    | SaFlags::NODEFER.bits()
    | SaFlags::RESETHAND.bits()
    | SaFlags::EXPOSE_TAGBITS.bits()
    | SaFlags::RESTORER.bits();

/// What a change of disposition asks of the pending queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub old: SigAction,
    /// The signal is ignored from now on: pending instances are discarded, even blocked ones (POSIX).
    pub flush: bool,
}

/// The dispositions: signals in `set` have an entry, in the order of their numbers; all others are default.
///
/// # Invariants
/// `entries.len()` equals the number of bits in `set`.
#[derive(Debug, Default)]
pub struct ActionTable {
    set: SigSet,
    entries: Vec<SigAction>,
}

impl ActionTable {
    pub const fn new() -> Self {
        Self {
            set: SigSet::EMPTY,
            entries: Vec::new(),
        }
    }

    /// Where the entry of `signo` is or would be.
    #[inline]
    fn rank(&self, signo: Signo) -> usize {
        (self.set.bits() & ((1u64 << signo.index()) - 1)).count_ones() as usize
    }

    #[inline]
    pub fn get(&self, signo: Signo) -> SigAction {
        if !self.set.contains(signo) {
            return SigAction::DEFAULT;
        }
        self.entries
            .get(self.rank(signo))
            .copied()
            .unwrap_or(SigAction::DEFAULT)
    }

    /// Whether [`ActionTable::set`] of `signo` needs no allocation.
    #[inline]
    pub fn has_room(&self, signo: Signo) -> bool {
        self.set.contains(signo) || self.entries.len() < self.entries.capacity()
    }

    /// Changes a disposition as `rt_sigaction` does.
    /// Allocates when [`ActionTable::has_room`] says no: make room with [`ActionTable::with_capacity`] first.
    #[inline]
    pub fn set(&mut self, signo: Signo, mut action: SigAction) -> Change {
        action.flags &= UAPI_FLAGS;
        action.mask = action.mask.difference(SigSet::UNMASKABLE);
        let default_ignored = action.is_default() && SigSet::IGNORED_BY_DEFAULT.contains(signo);
        let flush = action.is_ignore() || default_ignored;
        let rank = self.rank(signo);
        let mut old = SigAction::DEFAULT;
        if self.set.contains(signo) {
            if let Some(entry) = self.entries.get_mut(rank) {
                old = core::mem::replace(entry, action);
            }
        } else if action != SigAction::DEFAULT {
            self.entries.insert(rank.min(self.entries.len()), action);
            self.set.insert(signo);
        }
        Change { old, flush }
    }

    /// Back to the default, as SA_RESETHAND and forced signals do; Linux keeps flags and mask.
    pub fn reset_handler(&mut self, signo: Signo) {
        if self.set.contains(signo) {
            let rank = self.rank(signo);
            if let Some(entry) = self.entries.get_mut(rank) {
                entry.handler = abi::signal::SIG_DFL;
            }
        }
    }

    /// The signals that have no effect when they arrive unblocked.
    pub fn ignored(&self) -> SigSet {
        let mut ignored = SigSet::IGNORED_BY_DEFAULT;
        for (signo, action) in self.set.iter().zip(&self.entries) {
            if action.is_ignore() {
                ignored.insert(signo);
            } else if !action.is_default() {
                ignored.remove(signo);
            }
        }
        ignored
    }

    /// The signals with SIG_IGN, and those with a handler, as `/proc/<pid>/status` shows them.
    pub fn ignored_and_caught(&self) -> (SigSet, SigSet) {
        let (mut ignored, mut caught) = (SigSet::EMPTY, SigSet::EMPTY);
        for (signo, action) in self.set.iter().zip(&self.entries) {
            if action.is_ignore() {
                ignored.insert(signo);
            } else if !action.is_default() {
                caught.insert(signo);
            }
        }
        (ignored, caught)
    }

    /// Whether the signal, arriving unblocked, ends the process.
    pub fn is_fatal(&self, signo: Signo) -> bool {
        self.get(signo).is_default() && DefaultAction::of(signo).is_fatal()
    }

    /// What a program sees after execve: ignored signals stay ignored, all else is default, flags and masks are gone.
    pub fn after_exec(&mut self) {
        let (ignored, _) = self.ignored_and_caught();
        let ignore = SigAction {
            handler: abi::signal::SIG_IGN,
            ..SigAction::DEFAULT
        };
        self.entries.truncate(ignored.iter().count());
        self.entries.fill(ignore);
        self.set = ignored;
    }

    /// All to the default, as CLONE_CLEAR_SIGHAND asks: handlers go, ignored signals stay ignored.
    pub fn clear_handlers(&mut self) {
        self.after_exec();
    }

    /// All defaults, with room for `capacity` entries, or `None` without memory.
    pub fn with_capacity(capacity: usize) -> Option<Self> {
        let mut entries = Vec::new();
        entries.try_reserve_exact(capacity).ok()?;
        Some(Self {
            set: SigSet::EMPTY,
            entries,
        })
    }

    /// Entries that fit without an allocation.
    pub fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// Signals that are not at their default.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes over the contents of another table; allocates when they exceed the capacity.
    pub fn copy_from(&mut self, other: &Self) {
        self.entries.clear();
        self.entries.extend_from_slice(&other.entries);
        self.set = other.set;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler(address: u64) -> SigAction {
        SigAction {
            handler: address,
            ..SigAction::DEFAULT
        }
    }

    fn ignore() -> SigAction {
        handler(abi::signal::SIG_IGN)
    }

    #[test]
    fn entries_keep_their_signals_whatever_the_order_of_setting() {
        let mut table = ActionTable::new();
        for n in [64, 1, 33, 10, 2, 17] {
            table.set(Signo::new(n).unwrap(), handler(0x1000 + n as u64));
        }
        for n in 1..=64 {
            let want = if [64, 1, 33, 10, 2, 17].contains(&n) {
                0x1000 + n as u64
            } else {
                0
            };
            assert_eq!(table.get(Signo::new(n).unwrap()).handler, want);
        }
    }

    #[test]
    fn a_change_returns_the_old_and_clears_unknown_flags_and_unmaskable_signals() {
        let mut table = ActionTable::new();
        let first = SigAction {
            handler: 0x1000,
            flags: !0,
            restorer: 7,
            mask: SigSet::FULL,
        };
        assert_eq!(table.set(Signo::INT, first).old, SigAction::DEFAULT);
        let old = table.set(Signo::INT, ignore()).old;
        assert_eq!(old.flags, UAPI_FLAGS);
        assert_eq!(old.mask, SigSet::FULL.difference(SigSet::UNMASKABLE));
        assert_eq!(old.restorer, 7);
    }

    #[test]
    fn ignoring_flushes_explicitly_and_by_default() {
        let mut table = ActionTable::new();
        assert!(table.set(Signo::INT, ignore()).flush);
        assert!(table.set(Signo::CHLD, SigAction::DEFAULT).flush);
        assert!(!table.set(Signo::INT, SigAction::DEFAULT).flush);
        assert!(!table.set(Signo::CHLD, handler(0x1000)).flush);
    }

    #[test]
    fn the_ignored_set_follows_dispositions() {
        let mut table = ActionTable::new();
        assert_eq!(table.ignored(), SigSet::IGNORED_BY_DEFAULT);
        table.set(Signo::CHLD, handler(0x1000));
        table.set(Signo::TERM, ignore());
        assert!(!table.ignored().contains(Signo::CHLD));
        assert!(table.ignored().contains(Signo::TERM));
        let caught = SigSet::of(Signo::CHLD);
        assert_eq!(
            table.ignored_and_caught(),
            (SigSet::of(Signo::TERM), caught)
        );
    }

    #[test]
    fn exec_keeps_only_what_is_ignored() {
        let mut table = ActionTable::new();
        table.set(Signo::INT, handler(0x1000));
        table.set(
            Signo::QUIT,
            SigAction {
                flags: SaFlags::RESTART.bits(),
                ..ignore()
            },
        );
        table.set(
            Signo::CHLD,
            SigAction {
                flags: SaFlags::NOCLDWAIT.bits(),
                ..ignore()
            },
        );
        table.after_exec();
        assert_eq!(table.get(Signo::INT), SigAction::DEFAULT);
        assert_eq!(table.get(Signo::QUIT), ignore());
        assert_eq!(table.get(Signo::CHLD), ignore());
    }

    #[test]
    fn reset_handler_keeps_flags() {
        let mut table = ActionTable::new();
        table.set(
            Signo::INT,
            SigAction {
                flags: SaFlags::SIGINFO.bits(),
                ..handler(0x1000)
            },
        );
        table.reset_handler(Signo::INT);
        assert!(table.is_fatal(Signo::INT));
        assert_eq!(table.get(Signo::INT).flags, SaFlags::SIGINFO.bits());
    }
}
