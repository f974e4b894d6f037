//! Dispositions, shared by the threads of a process and by tasks cloned with CLONE_SIGHAND.

use alloc::sync::Arc;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ::signal::{ActionTable, Change};
use abi::signal::{SigAction, SigSet, Signo};
use abi::{Errno, Result};
use ksync::{IrqSpinLock, SpinLock};

/// A table of dispositions.
///
/// # Invariants
/// `ignored` and `caught` follow the table, are changed under its lock, and are read without it, also in interrupts.
#[derive(Debug)]
pub struct SigHand {
    table: SpinLock<ActionTable>,
    ignored: AtomicU64,
    caught: AtomicU64,
}

impl SigHand {
    /// All signals at their defaults.
    pub fn new() -> Self {
        Self::from_table(ActionTable::new())
    }

    fn from_table(table: ActionTable) -> Self {
        let ignored = AtomicU64::new(table.ignored().bits());
        let caught = AtomicU64::new(table.ignored_and_caught().1.bits());
        Self {
            table: SpinLock::new(table),
            ignored,
            caught,
        }
    }

    fn publish(&self, table: &ActionTable) {
        self.caught
            .store(table.ignored_and_caught().1.bits(), Ordering::SeqCst);
        self.ignored.store(table.ignored().bits(), Ordering::SeqCst);
    }

    /// The same when no other signal's disposition has changed; under the table's lock.
    #[inline]
    fn publish_one(&self, signo: Signo, action: &SigAction) {
        let put = |word: &AtomicU64, on: bool| {
            let bit = SigSet::of(signo).bits();
            let before = word.load(Ordering::Relaxed);
            let after = before & !bit | if on { bit } else { 0 };
            // A sequentially consistent store is a locked instruction: only for news.
            if after != before {
                word.store(after, Ordering::SeqCst);
            }
        };
        let ignored_by_default = SigSet::IGNORED_BY_DEFAULT.contains(signo);
        let ignored = action.is_ignore() || action.is_default() && ignored_by_default;
        put(&self.caught, !action.is_ignore() && !action.is_default());
        put(&self.ignored, ignored);
    }

    pub fn get(&self, signo: Signo) -> SigAction {
        self.table.lock().get(signo)
    }

    /// The action of a signal that is about to be handled; a one-shot handler (SA_RESETHAND) is uninstalled.
    pub fn take_for_delivery(&self, signo: Signo) -> SigAction {
        let mut table = self.table.lock();
        let action = table.get(signo);
        let has_handler = !action.is_default() && !action.is_ignore();
        if has_handler && action.has(abi::signal::SaFlags::RESETHAND) {
            table.reset_handler(signo);
            self.publish(&table);
        }
        action
    }

    /// The signals that have no effect when they arrive unblocked.
    pub fn ignored(&self) -> SigSet {
        SigSet::from_bits(self.ignored.load(Ordering::SeqCst))
    }

    /// The signals with a handler.
    pub fn caught(&self) -> SigSet {
        SigSet::from_bits(self.caught.load(Ordering::SeqCst))
    }

    /// The signals with SIG_IGN and those with a handler.
    pub fn ignored_and_caught(&self) -> (SigSet, SigSet) {
        self.table.lock().ignored_and_caught()
    }

    /// Changes a disposition; room for it is made outside the lock.
    #[inline]
    pub fn set(&self, signo: Signo, action: SigAction) -> Result<Change> {
        loop {
            let mut table = self.table.lock();
            if table.has_room(signo) {
                let change = table.set(signo, action);
                self.publish_one(signo, &action);
                return Ok(change);
            }
            drop(table);
            self.make_room()?;
        }
    }

    #[cold]
    fn make_room(&self) -> Result<()> {
        let mut bigger = ActionTable::with_capacity(64).ok_or(Errno::ENOMEM)?;
        let mut table = self.table.lock();
        bigger.copy_from(&table);
        let old = core::mem::replace(&mut *table, bigger);
        drop(table);
        drop(old);
        Ok(())
    }

    /// Back to SIG_DFL, for signals that must not be caught now (forced ones).
    pub fn reset_handler(&self, signo: Signo) {
        let mut table = self.table.lock();
        table.reset_handler(signo);
        self.publish(&table);
    }

    /// A copy for a fork; `clear` drops the handlers (CLONE_CLEAR_SIGHAND).
    pub fn fork(&self, clear: bool) -> Result<Self> {
        let len = self.table.lock().len();
        let mut copy = ActionTable::with_capacity(len).ok_or(Errno::ENOMEM)?;
        loop {
            let table = self.table.lock();
            let len = table.len();
            if len <= copy.capacity() {
                copy.copy_from(&table);
                break;
            }
            drop(table);
            copy = ActionTable::with_capacity(len).ok_or(Errno::ENOMEM)?;
        }
        if clear {
            copy.clear_handlers();
        }
        Ok(Self::from_table(copy))
    }

    /// Handlers go, ignored signals stay so.
    pub fn after_exec(&self) {
        let mut table = self.table.lock();
        table.after_exec();
        self.publish(&table);
    }
}

/// The table of one process: nearly always the one it was made with, so that a look at it takes no lock and no count.
#[derive(Debug)]
pub struct HandSlot {
    first: Arc<SigHand>,
    is_replaced: AtomicBool,
    replacement: IrqSpinLock<Option<Arc<SigHand>>>,
}

/// A look at the current table.
pub enum HandRef<'a> {
    First(&'a SigHand),
    Replaced(Arc<SigHand>),
}

impl Deref for HandRef<'_> {
    type Target = SigHand;

    fn deref(&self) -> &SigHand {
        match self {
            Self::First(hand) => hand,
            Self::Replaced(hand) => hand,
        }
    }
}

impl HandSlot {
    pub const fn new(hand: Arc<SigHand>) -> Self {
        Self {
            first: hand,
            is_replaced: AtomicBool::new(false),
            replacement: IrqSpinLock::new(None),
        }
    }

    #[inline]
    pub fn get(&self) -> HandRef<'_> {
        // Pairs with the release in `unshare`.
        if !self.is_replaced.load(Ordering::Acquire) {
            return HandRef::First(&self.first);
        }
        HandRef::Replaced(self.arc())
    }

    /// A counted reference, for CLONE_SIGHAND.
    pub fn arc(&self) -> Arc<SigHand> {
        self.replacement
            .lock()
            .as_ref()
            .unwrap_or(&self.first)
            .clone()
    }

    /// Gives the process a table of its own when it shares one, as exec must.
    pub fn unshare(&self) -> Result<()> {
        let current = self.arc();
        // One count is in the slot, one is `current`.
        if Arc::strong_count(&current) <= 2 {
            return Ok(());
        }
        let own = Arc::new(current.fork(false)?);
        let old = self.replacement.lock().replace(own);
        self.is_replaced.store(true, Ordering::Release);
        drop(old);
        Ok(())
    }
}
