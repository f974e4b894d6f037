//! Whether the running task may do something with a System V object.

use abi::{Errno, Result};
use sysvipc::perm::Perm;

use crate::sync::current;
use crate::task::{Cap, Cred};

/// Whether the file system's group or a supplementary group is this one, as for files.
fn in_group(cred: &Cred, gid: u32) -> bool {
    cred.fsgid == gid || cred.groups.binary_search(&gid).is_ok()
}

/// Checks a mode's bits, of whichever class, against the object's mode.
///
/// # Errors
/// `EACCES`.
#[inline]
pub fn check(perm: &Perm, wanted: u32) -> Result<()> {
    let me = current();
    let cred = me.my_cred();
    if perm.grants(wanted, cred.euid, |gid| in_group(&cred, gid)) || cred.capable(Cap::IPC_OWNER) {
        Ok(())
    } else {
        Err(Errno::EACCES)
    }
}

/// Checks for the owner's or the creator's rights: to set and to remove.
///
/// # Errors
/// `EPERM`.
pub fn check_owner(perm: &Perm) -> Result<()> {
    let me = current();
    let cred = me.my_cred();
    if perm.is_owner(cred.euid) || cred.capable(Cap::SYS_ADMIN) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// The rights of a new object.
pub fn new_perm(key: i32, mode: u32) -> Perm {
    let me = current();
    let cred = me.my_cred();
    Perm::new(key, cred.euid, cred.egid, mode)
}

/// What `IPC_SET` gives.
///
/// # Errors
/// `EINVAL` for ids that are none.
pub fn set(perm: &mut Perm, new: &abi::sysv::IpcPerm) -> Result<()> {
    if new.uid == u32::MAX || new.gid == u32::MAX {
        return Err(Errno::EINVAL);
    }
    perm.set(new.uid, new.gid, new.mode);
    Ok(())
}

/// What users are told.
pub fn to_user(perm: &Perm, id: i32) -> abi::sysv::IpcPerm {
    let owner = (perm.uid, perm.gid);
    let creator = (perm.cuid, perm.cgid);
    let mut told = abi::sysv::IpcPerm::new(perm.key, owner, creator, perm.mode);
    told.seq = sysvipc::ids::seq_of(id);
    told
}
