//! Who may signal whom (kill(2)).

use alloc::sync::Arc;

use abi::signal::Signo;

use crate::task::{self, Cap, Cred, Process};

/// Whether the identities alone allow it: the sender's real or effective uid is the target's real or saved one, or the
/// sender has CAP_KILL.
pub fn cred_allows(sender: &Cred, target: &Cred) -> bool {
    sender.euid == target.suid
        || sender.euid == target.uid
        || sender.uid == target.suid
        || sender.uid == target.uid
        || sender.capable(Cap::KILL)
}

/// Whether the current task may send `signo` (`None`: just ask) to `target`. SIGCONT goes to the whole session.
pub fn may_signal(target: &Arc<Process>, signo: Option<Signo>) -> bool {
    let current = task::current();
    if Arc::ptr_eq(&current.process, target) {
        return true;
    }
    if cred_allows(&current.my_cred(), &target.cred()) {
        return true;
    }
    signo == Some(Signo::CONT) && current.process.sid() == target.sid()
}
