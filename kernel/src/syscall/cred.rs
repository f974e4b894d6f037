//! User and group ids, groups and capabilities.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::{Errno, Result};

use crate::mm::user::{UserPtr, UserSlice};
use crate::net::netlink::connector;
use crate::task::cred::CapSet;
use crate::task::{self, Cap, Cred, Gid, Pid, Uid, current};

/// "Leave it as it is" in the set*id calls.
const KEEP: u32 = u32::MAX;
/// The most supplementary groups (NGROUPS_MAX).
pub const NGROUPS_MAX: i32 = 65536;

pub fn sys_getuid() -> Result<usize> {
    Ok(current().my_cred().uid as usize)
}

pub fn sys_geteuid() -> Result<usize> {
    Ok(current().my_cred().euid as usize)
}

pub fn sys_getgid() -> Result<usize> {
    Ok(current().my_cred().gid as usize)
}

pub fn sys_getegid() -> Result<usize> {
    Ok(current().my_cred().egid as usize)
}

/// Replaces the identity by what `change` makes of a copy, and lets the change of user take its effects.
fn change(change: impl FnOnce(&Cred, &mut Cred) -> Result<()>) -> Result<usize> {
    let me = current();
    let old = me.cred();
    let mut new = Cred::clone(&old);
    change(&old, &mut new)?;
    if (new.uid, new.euid, new.suid) != (old.uid, old.euid, old.suid) {
        new.fix_caps_after_setuid(&old);
    }
    if new.fsuid != old.fsuid {
        new.fix_caps_after_setfsuid(&old);
    }
    let ids = |cred: &Cred| (cred.euid, cred.egid, cred.fsuid, cred.fsgid);
    if ids(&new) != ids(&old) || !new.permitted.is_subset_of(old.permitted) {
        task::clear_dumpable(&me.process);
        me.parent_death_signal.store(0, Ordering::Relaxed);
    }
    if new.uid != old.uid {
        me.process.signal.set_uid(new.uid);
        task::usage::moved_to_user(old.uid, new.uid);
    }
    me.set_cred(Arc::new(new));
    if connector::is_heard() {
        connector::ids(&me, &old);
    }
    Ok(0)
}

pub fn sys_setuid(uid: Uid) -> Result<usize> {
    if uid == KEEP {
        return Err(Errno::EINVAL);
    }
    change(|old, new| {
        if old.capable(Cap::SETUID) {
            new.uid = uid;
            new.suid = uid;
        } else if ![old.uid, old.suid].contains(&uid) {
            return Err(Errno::EPERM);
        }
        new.euid = uid;
        new.fsuid = uid;
        Ok(())
    })
}

pub fn sys_setgid(gid: Gid) -> Result<usize> {
    if gid == KEEP {
        return Err(Errno::EINVAL);
    }
    change(|old, new| {
        if old.capable(Cap::SETGID) {
            new.gid = gid;
            new.sgid = gid;
        } else if ![old.gid, old.sgid].contains(&gid) {
            return Err(Errno::EPERM);
        }
        new.egid = gid;
        new.fsgid = gid;
        Ok(())
    })
}

/// The rule of setreuid and setregid; `ids` are the real, effective and saved one.
fn set_two(real: u32, effective: u32, may_all: bool, ids: [&mut u32; 3]) -> Result<()> {
    let [own_real, own_effective, own_saved] = ids;
    let old = (*own_real, *own_effective, *own_saved);
    if real != KEEP {
        if !may_all && ![old.0, old.1].contains(&real) {
            return Err(Errno::EPERM);
        }
        *own_real = real;
    }
    if effective != KEEP {
        if !may_all && ![old.0, old.1, old.2].contains(&effective) {
            return Err(Errno::EPERM);
        }
        *own_effective = effective;
    }
    if real != KEEP || effective != KEEP && effective != old.0 {
        *own_saved = *own_effective;
    }
    Ok(())
}

pub fn sys_setreuid(ruid: Uid, euid: Uid) -> Result<usize> {
    change(|old, new| {
        let may_all = old.capable(Cap::SETUID);
        set_two(
            ruid,
            euid,
            may_all,
            [&mut new.uid, &mut new.euid, &mut new.suid],
        )?;
        new.fsuid = new.euid;
        Ok(())
    })
}

pub fn sys_setregid(rgid: Gid, egid: Gid) -> Result<usize> {
    change(|old, new| {
        let may_all = old.capable(Cap::SETGID);
        set_two(
            rgid,
            egid,
            may_all,
            [&mut new.gid, &mut new.egid, &mut new.sgid],
        )?;
        new.fsgid = new.egid;
        Ok(())
    })
}

/// The rule of setresuid and setresgid.
fn set_three(wanted: [u32; 3], may_all: bool, ids: [&mut u32; 3]) -> Result<()> {
    let old = [*ids[0], *ids[1], *ids[2]];
    if !may_all && wanted.iter().any(|id| *id != KEEP && !old.contains(id)) {
        return Err(Errno::EPERM);
    }
    for (id, wanted) in ids.into_iter().zip(wanted) {
        if wanted != KEEP {
            *id = wanted;
        }
    }
    Ok(())
}

pub fn sys_setresuid(ruid: Uid, euid: Uid, suid: Uid) -> Result<usize> {
    change(|old, new| {
        let may_all = old.capable(Cap::SETUID);
        set_three(
            [ruid, euid, suid],
            may_all,
            [&mut new.uid, &mut new.euid, &mut new.suid],
        )?;
        new.fsuid = new.euid;
        Ok(())
    })
}

pub fn sys_setresgid(rgid: Gid, egid: Gid, sgid: Gid) -> Result<usize> {
    change(|old, new| {
        let may_all = old.capable(Cap::SETGID);
        set_three(
            [rgid, egid, sgid],
            may_all,
            [&mut new.gid, &mut new.egid, &mut new.sgid],
        )?;
        new.fsgid = new.egid;
        Ok(())
    })
}

pub fn sys_getresuid(ruid: UserPtr<u32>, euid: UserPtr<u32>, suid: UserPtr<u32>) -> Result<usize> {
    let cred = current().cred();
    ruid.write(&cred.uid)?;
    euid.write(&cred.euid)?;
    suid.write(&cred.suid)?;
    Ok(0)
}

pub fn sys_getresgid(rgid: UserPtr<u32>, egid: UserPtr<u32>, sgid: UserPtr<u32>) -> Result<usize> {
    let cred = current().cred();
    rgid.write(&cred.gid)?;
    egid.write(&cred.egid)?;
    sgid.write(&cred.sgid)?;
    Ok(0)
}

/// Answers the old id whether or not it changed, as Linux does.
pub fn sys_setfsuid(uid: Uid) -> Result<usize> {
    let old = current().cred();
    let allowed = [old.uid, old.euid, old.suid, old.fsuid].contains(&uid);
    if uid != KEEP && (allowed || old.capable(Cap::SETUID)) {
        change(|_, new| {
            new.fsuid = uid;
            Ok(())
        })?;
    }
    Ok(old.fsuid as usize)
}

/// See [`sys_setfsuid`].
pub fn sys_setfsgid(gid: Gid) -> Result<usize> {
    let old = current().cred();
    let allowed = [old.gid, old.egid, old.sgid, old.fsgid].contains(&gid);
    if gid != KEEP && (allowed || old.capable(Cap::SETGID)) {
        change(|_, new| {
            new.fsgid = gid;
            Ok(())
        })?;
    }
    Ok(old.fsgid as usize)
}

pub fn sys_getgroups(count: i32, list: usize) -> Result<usize> {
    let groups = current().cred().groups.clone();
    if count < 0 {
        return Err(Errno::EINVAL);
    }
    if count > 0 {
        if groups.len() > count as usize {
            return Err(Errno::EINVAL);
        }
        UserSlice::<u32>::new(list, groups.len())?.write_from(&groups)?;
    }
    Ok(groups.len())
}

pub fn sys_setgroups(count: i32, list: usize) -> Result<usize> {
    if !current().my_cred().capable(Cap::SETGID) {
        return Err(Errno::EPERM);
    }
    if !(0..=NGROUPS_MAX).contains(&count) {
        return Err(Errno::EINVAL);
    }
    let mut groups = UserSlice::<u32>::new(list, count as usize)?.to_vec()?;
    if groups.contains(&KEEP) {
        return Err(Errno::EINVAL);
    }
    groups.sort_unstable();
    change(|_, new| {
        new.groups = Arc::new(groups);
        Ok(())
    })
}

const CAPABILITY_VERSION_1: u32 = 0x1998_0330;
const CAPABILITY_VERSION_2: u32 = 0x2007_1026;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Reads the header of capget and capset: how many sets of 32 bits the data have, and whose they are.
fn read_cap_header(header: usize, probing: bool) -> Result<Option<(usize, Pid)>> {
    let fields = UserPtr::<u32>::from(header);
    let words = match fields.read()? {
        CAPABILITY_VERSION_1 => 1,
        CAPABILITY_VERSION_2 | CAPABILITY_VERSION_3 => 2,
        _ => {
            fields.write(&CAPABILITY_VERSION_3)?;
            // A null data pointer asks for the version only.
            return if probing {
                Ok(None)
            } else {
                Err(Errno::EINVAL)
            };
        }
    };
    Ok(Some((words, Pid(fields.add(1).read()? as i32))))
}

pub fn sys_capget(header: usize, data: usize) -> Result<usize> {
    let Some((words, pid)) = read_cap_header(header, data == 0)? else {
        return Ok(0);
    };
    if data == 0 {
        return Ok(0);
    }
    if pid.0 < 0 {
        return Err(Errno::EINVAL);
    }
    let cred = match pid.0 {
        0 => current().cred(),
        _ => task::find_task(pid).ok_or(Errno::ESRCH)?.cred(),
    };
    let sets = [cred.effective, cred.permitted, cred.inheritable];
    for word in 0..words {
        for (index, set) in sets.iter().enumerate() {
            let half = (set.0 >> (32 * word)) as u32;
            UserPtr::<u32>::from(data)
                .add(word * 3 + index)
                .write(&half)?;
        }
    }
    Ok(0)
}

pub fn sys_capset(header: usize, data: usize) -> Result<usize> {
    let Some((words, pid)) = read_cap_header(header, false)? else {
        return Ok(0);
    };
    if pid.0 != 0 && pid != current().tid() {
        return Err(Errno::EPERM);
    }
    let mut sets = [0u64; 3];
    for word in 0..words {
        for (index, set) in sets.iter_mut().enumerate() {
            let half = UserPtr::<u32>::from(data).add(word * 3 + index).read()?;
            *set |= u64::from(half) << (32 * word);
        }
    }
    let [effective, permitted, inheritable] = sets.map(|set| CapSet(set & CapSet::FULL.0));
    change(|old, new| {
        let may_inherit = CapSet(old.inheritable.0 | old.permitted.0);
        let within_bounds = CapSet(old.inheritable.0 | old.bounding.0);
        if !old.capable(Cap::SETPCAP) && !inheritable.is_subset_of(may_inherit)
            || !inheritable.is_subset_of(within_bounds)
            || !permitted.is_subset_of(old.permitted)
            || !effective.is_subset_of(permitted)
        {
            return Err(Errno::EPERM);
        }
        new.effective = effective;
        new.permitted = permitted;
        new.inheritable = inheritable;
        new.ambient.0 &= permitted.0 & inheritable.0;
        Ok(())
    })
}
