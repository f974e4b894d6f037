//! The arithmetic of `sigprocmask`.

use abi::signal::{SIG_BLOCK, SIG_SETMASK, SIG_UNBLOCK, SigSet};

/// How a mask changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskHow {
    Block,
    Unblock,
    Set,
}

impl MaskHow {
    pub const fn from_user(how: i32) -> Option<Self> {
        match how {
            SIG_BLOCK => Some(Self::Block),
            SIG_UNBLOCK => Some(Self::Unblock),
            SIG_SETMASK => Some(Self::Set),
            _ => None,
        }
    }
}

/// The mask after a change; SIGKILL and SIGSTOP silently stay unblocked.
pub const fn change_mask(old: SigSet, how: MaskHow, set: SigSet) -> SigSet {
    let set = set.difference(SigSet::UNMASKABLE);
    match how {
        MaskHow::Block => old.union(set),
        MaskHow::Unblock => old.difference(set),
        MaskHow::Set => set,
    }
}

#[cfg(test)]
mod tests {
    use abi::signal::Signo;

    use super::*;

    #[test]
    fn kill_and_stop_never_get_into_a_mask() {
        let all = change_mask(SigSet::EMPTY, MaskHow::Block, SigSet::FULL);
        assert!(!all.contains(Signo::KILL) && !all.contains(Signo::STOP));
        assert_eq!(change_mask(SigSet::EMPTY, MaskHow::Set, SigSet::FULL), all);
    }

    #[test]
    fn block_adds_unblock_removes_set_replaces() {
        let (hup, int) = (SigSet::of(Signo::HUP), SigSet::of(Signo::INT));
        assert_eq!(change_mask(hup, MaskHow::Block, int), hup.union(int));
        assert_eq!(change_mask(hup.union(int), MaskHow::Unblock, int), hup);
        assert_eq!(change_mask(hup, MaskHow::Set, int), int);
        assert_eq!(MaskHow::from_user(3), None);
    }
}
