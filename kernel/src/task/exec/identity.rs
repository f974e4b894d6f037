//! Who the process is after exec: set-user-id and set-group-id files, and capabilities (capabilities(7),
//! "Transformation of capabilities during execve").

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::capability::{FileCaps, XATTR_NAME_CAPS};
use abi::fs::R_OK;
use abi::{Errno, Result};

use super::program::Program;
use crate::fs::{InodeFlags, Path, perm};
use crate::net::netlink::connector;
use crate::sync::CurrentTask;
use crate::task::coredump;
use crate::task::cred::{CapSet, securebits};
use crate::task::process::{ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC};
use crate::task::ptrace;
use crate::task::task::TaskFlags;
use crate::task::{Cap, Cred};

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const S_IXGRP: u32 = 0o010;
/// What of its personality a program with more rights must not be given (PER_CLEAR_ON_SETID): addresses that are known
/// (ADDR_NO_RANDOMIZE, ADDR_COMPAT_LAYOUT) and memory where there should be none (MMAP_PAGE_ZERO).
const DANGEROUS_PERSONALITY: u32 = ADDR_NO_RANDOMIZE | 0x0020_0000 | 0x0010_0000;

/// The identity to take at the point of no return.
pub(super) struct Identity {
    cred: Arc<Cred>,
    /// The program has rights that its user does not have (AT_SECURE).
    pub(super) is_secure: bool,
    /// Rights were gained or ids changed by the file.
    has_gained: bool,
    /// The file must not be read, so neither may the process's memory be.
    is_unreadable: bool,
}

/// What the file's capabilities make of the process's.
#[derive(Default)]
struct OfFile {
    permitted: CapSet,
    effective: bool,
    has_any: bool,
}

/// What the running task is once it has executed the program.
///
/// # Errors
/// `EINVAL` for a damaged attribute, `EPERM` for capabilities that the file insists on and the bounding set lacks. A
/// set-id bit that may not count is passed over.
pub(super) fn after_exec(me: &CurrentTask, program: &Program) -> Result<Identity> {
    let old = me.cred();
    let mut new = Cred::clone(&old);
    let place = program.set_id_file.path();
    let no_new_privs = me.flags().contains(TaskFlags::NO_NEW_PRIVS);
    let may_gain = !place.mount_is_nosuid();
    let is_marked = may_gain && !no_new_privs && take_set_ids(&mut new, place);
    let mut file = match may_gain {
        true => of_file(&old, place)?,
        false => OfFile::default(),
    };
    become_root(&old, &new, &mut file);
    let gained = |permitted: CapSet| !permitted.is_subset_of(old.permitted);
    // As on Linux also when they differed before.
    let is_set_id = (new.euid, new.egid) != (old.uid, old.gid);
    let has_gained = is_marked || gained(file.permitted);
    let is_trusted = !no_new_privs && ptrace::tracer_allows_gain(me);
    if (is_set_id || gained(file.permitted)) && !is_trusted {
        // No more than before, and maybe less: who traces it could make any use of it.
        if no_new_privs || !old.capable(Cap::SETUID) {
            (new.euid, new.egid) = (new.uid, new.gid);
        }
        file.permitted.0 &= old.permitted.0;
    }
    new.suid = new.euid;
    new.fsuid = new.euid;
    new.sgid = new.egid;
    new.fsgid = new.egid;
    if file.has_any || is_set_id {
        new.ambient = CapSet::EMPTY;
    }
    new.permitted = CapSet(file.permitted.0 | new.ambient.0);
    new.effective = match file.effective {
        true => new.permitted,
        false => new.ambient,
    };
    new.securebits &= !securebits::KEEP_CAPS;
    let grew = !new.permitted.is_subset_of(new.ambient);
    let unreadable = |place: &Path| perm::check(place.inode(), R_OK, &old).is_err();
    Ok(Identity {
        is_secure: is_set_id || new.uid != 0 && (file.effective || grew),
        has_gained,
        is_unreadable: unreadable(place) || unreadable(program.file.path()),
        cred: if new == *old { old } else { Arc::new(new) },
    })
}

/// Takes the ids that the file's mode gives; false if it gives none.
fn take_set_ids(new: &mut Cred, place: &Path) -> bool {
    let inode = place.inode();
    let mode = inode.mode();
    let sets_user = mode & S_ISUID != 0;
    let sets_group = mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP;
    if sets_user {
        new.euid = inode.uid();
    }
    if sets_group {
        new.egid = inode.gid();
    }
    sets_user || sets_group
}

/// What the file's attribute gives: what of it the bounding set lets through, and what the process hands on.
fn of_file(old: &Cred, place: &Path) -> Result<OfFile> {
    let inode = place.inode();
    if !inode.flags().contains(InodeFlags::HAS_XATTR) {
        return Ok(OfFile::default());
    }
    let Some(store) = inode.ops.xattrs(inode) else {
        return Ok(OfFile::default());
    };
    let value = match store.get(XATTR_NAME_CAPS) {
        Ok(value) => value,
        Err(Errno::ENODATA) => return Ok(OfFile::default()),
        Err(errno) => return Err(errno),
    };
    let caps = FileCaps::parse(&value).ok_or(Errno::EINVAL)?;
    if caps.root_id != 0 {
        // For another namespace's users.
        return Ok(OfFile::default());
    }
    let wanted = CapSet(caps.permitted & CapSet::FULL.0);
    let permitted = wanted.0 & old.bounding.0 | caps.inheritable & old.inheritable.0;
    if caps.effective && !wanted.is_subset_of(CapSet(permitted)) {
        // A program that does not know about capabilities would not notice that it lacks some.
        return Err(Errno::EPERM);
    }
    Ok(OfFile {
        permitted: CapSet(permitted),
        effective: caps.effective,
        has_any: true,
    })
}

/// User 0 has all capabilities, as if the file gave them, unless securebits say otherwise.
fn become_root(old: &Cred, new: &Cred, file: &mut OfFile) {
    if new.securebits & securebits::NOROOT != 0 {
        return;
    }
    // A set-user-id file of root's with capabilities of its own gives another user these alone.
    if file.has_any && new.uid != 0 && new.euid == 0 {
        return;
    }
    if new.uid == 0 || new.euid == 0 {
        file.permitted = CapSet(old.bounding.0 | old.inheritable.0);
    }
    if new.euid == 0 {
        file.effective = true;
    }
}

impl Identity {
    /// Takes the identity. One that gained rights may not be dumped or traced by its user, and its user's parent has no
    /// say about its end.
    pub(super) fn assume(self, me: &CurrentTask) {
        let old = me.cred();
        let new = &self.cred;
        let is_mixed = (new.euid, new.egid) != (new.uid, new.gid);
        let ids = |cred: &Cred| (cred.euid, cred.egid, cred.fsuid, cred.fsgid);
        let changes = ids(new) != ids(&old) || !new.permitted.is_subset_of(old.permitted);
        let dumpable = match is_mixed || changes || self.is_unreadable {
            true => coredump::suid_dumpable(),
            false => 1,
        };
        me.process.dumpable.store(dumpable, Ordering::Relaxed);
        if self.is_secure || changes {
            me.parent_death_signal.store(0, Ordering::Relaxed);
        }
        let personality = self.personality(me);
        me.process.personality.store(personality, Ordering::Relaxed);
        me.process.signal.set_uid(self.cred.uid);
        me.set_cred(self.cred);
        if connector::is_heard() {
            connector::ids(me, &old);
        }
    }

    /// The personality under which the program starts. As on Linux a 64-bit program begins without READ_IMPLIES_EXEC.
    pub(super) fn personality(&self, me: &CurrentTask) -> u32 {
        let kept = me.process.personality.load(Ordering::Relaxed) & !READ_IMPLIES_EXEC;
        match self.has_gained {
            true => kept & !DANGEROUS_PERSONALITY,
            false => kept,
        }
    }
}
