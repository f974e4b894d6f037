//! Who the process is after exec: set-user-id and set-group-id files, and capabilities (capabilities(7),
//! "Transformation of capabilities during execve").

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::Result;

use super::program::Program;
use crate::sync::CurrentTask;
use crate::task::cred::{CapSet, securebits};
use crate::task::task::TaskFlags;
use crate::task::{Cap, Cred};

/// The default of `/proc/sys/fs/suid_dumpable`: programs that gained rights are not dumped.
const SUID_DUMPABLE: u32 = 0;
const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const S_IXGRP: u32 = 0o010;

/// The identity to take at the point of no return.
pub(super) struct Identity {
    cred: Arc<Cred>,
    changed: bool,
}

impl Program {
    /// Whether the program runs with capabilities that its real user does not have.
    pub(super) fn gains_capabilities(&self, cred: &Cred) -> bool {
        cred.uid != 0 && !cred.effective.is_subset_of(cred.ambient)
    }
}

/// What the running task is once it has executed the program.
///
/// # Errors
/// `EPERM` and the like are not among them: a set-id bit that may not count is passed over.
pub(super) fn after_exec(me: &CurrentTask, program: &Program) -> Result<Identity> {
    let old = me.cred();
    let mut new = Cred::clone(&old);
    let inode = program.set_id_file.inode();
    let mode = inode.mode();
    let may_gain = !me.flags().contains(TaskFlags::NO_NEW_PRIVS)
        && !program.set_id_file.path().mount_is_nosuid();
    if may_gain && mode & S_ISUID != 0 {
        new.euid = inode.uid();
    }
    if may_gain && mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP {
        new.egid = inode.gid();
    }
    let set_id = new.euid != old.euid || new.egid != old.egid;
    new.suid = new.euid;
    new.sgid = new.egid;
    new.fsuid = new.euid;
    new.fsgid = new.egid;
    transform_capabilities(&mut new, set_id);
    let gains = set_id || !new.permitted.is_subset_of(old.permitted);
    if gains && !crate::task::ptrace::tracer_allows_gain(me) {
        // No more than before: who traces it could make any use of it.
        if !old.capable(Cap::SETUID) {
            (new.euid, new.egid) = (new.uid, new.gid);
            (new.suid, new.sgid, new.fsuid, new.fsgid) = (new.uid, new.gid, new.uid, new.gid);
        }
        new.permitted = CapSet(new.permitted.0 & old.permitted.0);
        new.effective = CapSet(new.effective.0 & new.permitted.0);
    }
    let set_id = new.euid != old.euid || new.egid != old.egid;
    new.securebits &= !securebits::KEEP_CAPS;
    let changed = new != *old;
    Ok(Identity {
        cred: if changed { Arc::new(new) } else { old },
        changed: set_id,
    })
}

fn transform_capabilities(cred: &mut Cred, set_id: bool) {
    let root_counts = cred.securebits & securebits::NOROOT == 0;
    let is_root = root_counts && (cred.uid == 0 || cred.euid == 0);
    if set_id {
        cred.ambient = CapSet::EMPTY;
    }
    let (file_permitted, file_effective) = match is_root {
        true => (CapSet::FULL, cred.euid == 0),
        false => (CapSet::EMPTY, false),
    };
    let inherited = if is_root { cred.inheritable.0 } else { 0 };
    let gained = inherited | file_permitted.0 & cred.bounding.0;
    let ambient = if is_root { 0 } else { cred.ambient.0 };
    cred.permitted = CapSet(gained | ambient);
    cred.effective = if file_effective {
        cred.permitted
    } else {
        CapSet(ambient)
    };
}

impl Identity {
    /// Takes the identity. One that gained rights may not be dumped or traced by its user.
    pub(super) fn assume(self, me: &CurrentTask) {
        let dumpable = if self.changed { SUID_DUMPABLE } else { 1 };
        me.process.dumpable.store(dumpable, Ordering::Relaxed);
        me.parent_death_signal
            .fetch_and(if self.changed { 0 } else { u32::MAX }, Ordering::Relaxed);
        me.process.signal.set_uid(self.cred.uid);
        me.set_cred(self.cred);
    }
}
