//! Who may look into a process, and who may change it.
//!
//! References: ptrace(2) "Ptrace access mode checking"; Linux `__ptrace_may_access` and `cap_ptrace_access_check`.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use crate::sync::current;
use crate::task::{Cap, Cred, Process, Task};

/// Which of the caller's identities counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessMode {
    /// The file system's: for files in `/proc`.
    FsCreds,
    /// The real one: for calls.
    RealCreds,
}

/// Whether the running task may look into (or attach to) a process with these attributes. `has_memory`: it has an address
/// space, so that its being dumpable counts.
pub fn may_access_as(
    process: &Arc<Process>,
    it: &Cred,
    has_memory: bool,
    mode: AccessMode,
) -> bool {
    let me = current();
    if Arc::ptr_eq(process, &me.process) {
        return true;
    }
    let cred = me.my_cred();
    if cred.capable(Cap::SYS_PTRACE) {
        return true;
    }
    let (uid, gid, caps) = match mode {
        AccessMode::FsCreds => (cred.fsuid, cred.fsgid, cred.effective),
        AccessMode::RealCreds => (cred.uid, cred.gid, cred.permitted),
    };
    let same_user = [it.euid, it.suid, it.uid].iter().all(|other| *other == uid)
        && [it.egid, it.sgid, it.gid].iter().all(|other| *other == gid);
    let dumpable = !has_memory || process.dumpable.load(Ordering::Relaxed) == 1;
    same_user && dumpable && it.permitted.is_subset_of(caps)
}

/// The same of a thread.
pub fn may_access(task: &Task, mode: AccessMode) -> bool {
    may_access_as(&task.process, &task.cred(), task.mm().is_some(), mode)
}
