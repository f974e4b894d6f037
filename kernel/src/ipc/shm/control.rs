//! `shmctl`.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use abi::sysv::{IPC_PRIVATE, IPC_READ, SHM_DEST, SHM_LOCKED, ShmidDs};
use abi::{Errno, Result};
use core::sync::atomic::Ordering;

use super::super::{access, now_seconds};
use super::{SEGMENTS, Segment, TOTAL_PAGES, pages_of};
use crate::sync::{Mutex, current};
use crate::task::{Cap, Resource};

/// Pages of locked segments, by who locked them.
static LOCKED: Mutex<BTreeMap<u32, u64>> = Mutex::new(BTreeMap::new());

/// A segment as `IPC_STAT` and `/proc/sysvipc/shm` tell it.
pub struct ShmStat {
    pub id: i32,
    pub ds: ShmidDs,
    /// Pages in memory.
    pub resident: u64,
}

/// What all segments take.
pub struct Usage {
    pub segments: u32,
    /// The highest index in use.
    pub highest: u32,
    pub pages: u64,
    pub resident: u64,
}

/// `SHM_INFO`.
pub fn usage() -> Usage {
    let mut resident = 0;
    SEGMENTS.for_each(|segment| resident += segment.memory.resident());
    let (segments, highest) = SEGMENTS.usage();
    Usage {
        segments,
        highest,
        pages: TOTAL_PAGES.load(Ordering::Relaxed),
        resident,
    }
}

impl Segment {
    /// What it is now.
    ///
    /// # Errors
    /// `EACCES` if `checked` and it may not be read, `EIDRM`.
    pub fn stat(&self, checked: bool) -> Result<ShmStat> {
        let resident = self.memory.resident();
        let state = self.state.lock();
        if checked {
            access::check(&state.perm, IPC_READ)?;
        }
        if state.removed {
            return Err(Errno::EIDRM);
        }
        let ds = ShmidDs {
            perm: access::to_user(&state.perm, self.id),
            segsz: self.size as u64,
            atime: state.atime,
            dtime: state.dtime,
            ctime: state.ctime,
            cpid: self.cpid,
            lpid: state.lpid,
            nattch: state.attached,
            ..ShmidDs::default()
        };
        Ok(ShmStat {
            id: self.id,
            ds,
            resident,
        })
    }
}

/// `IPC_STAT`, and by index `SHM_STAT` and, without `checked`, `SHM_STAT_ANY`.
///
/// # Errors
/// `EINVAL`, `EACCES`, `EIDRM`.
pub fn stat(id: i32, by_index: bool, checked: bool) -> Result<ShmStat> {
    let segment = match by_index {
        true => SEGMENTS.at(id)?,
        false => SEGMENTS.get(id)?,
    };
    segment.stat(checked)
}

/// `IPC_SET`.
///
/// # Errors
/// `EINVAL`, `EPERM`, `EIDRM`.
pub fn set(id: i32, new: &ShmidDs) -> Result<()> {
    let _admin = SEGMENTS.admin();
    let segment = SEGMENTS.get(id)?;
    let mut state = segment.state.lock();
    access::check_owner(&state.perm)?;
    access::set(&mut state.perm, &new.perm)?;
    state.ctime = now_seconds();
    Ok(())
}

/// `IPC_RMID`: at once, or with the last area.
///
/// # Errors
/// `EINVAL`, `EPERM`.
pub fn remove(id: i32) -> Result<()> {
    let mut admin = SEGMENTS.admin();
    let segment = SEGMENTS.get(id)?;
    let (key, is_shown) = {
        let mut state = segment.state.lock();
        access::check_owner(&state.perm)?;
        let key = core::mem::replace(&mut state.perm.key, IPC_PRIVATE);
        state.perm.mode |= SHM_DEST;
        state.removed = state.attached == 0;
        (key, state.attached != 0)
    };
    match is_shown {
        true => SEGMENTS.forget_key(&mut admin, key),
        false => segment.take_out(&mut admin, key),
    }
    Ok(())
}

/// Whether the running task may lock or unlock the segment, and whether any limit binds it.
fn may_lock(segment: &Segment) -> Result<bool> {
    let me = current();
    let cred = me.my_cred();
    if cred.capable(Cap::IPC_LOCK) {
        return Ok(true);
    }
    match segment.state.lock().perm.is_owner(cred.euid) {
        true => Ok(false),
        false => Err(Errno::EPERM),
    }
}

/// `SHM_LOCK`. There is no swap: what a lock does is to count in its owner's limit.
///
/// # Errors
/// `EINVAL`, `EPERM`, `ENOMEM`.
pub fn lock(id: i32) -> Result<()> {
    let segment = SEGMENTS.get(id)?;
    let free = may_lock(&segment)?;
    let limit = current().process.rlimits.soft(Resource::Memlock);
    if !free && limit == 0 {
        return Err(Errno::EPERM);
    }
    let uid = current().my_cred().uid;
    let pages = pages_of(segment.size);
    let mut locked = LOCKED.lock();
    if segment.state.lock().locked_by.is_some() {
        return Ok(());
    }
    let mine = locked.get(&uid).copied().unwrap_or(0).saturating_add(pages);
    let most = limit / crate::mm::PAGE_SIZE as u64;
    if !free && limit != u64::MAX && mine > most {
        return Err(Errno::ENOMEM);
    }
    locked.insert(uid, mine);
    mark_locked(&segment, uid, pages, &mut locked)
}

fn mark_locked(
    segment: &Arc<Segment>,
    uid: u32,
    pages: u64,
    locked: &mut BTreeMap<u32, u64>,
) -> Result<()> {
    let mut state = segment.state.lock();
    if state.removed {
        drop(state);
        subtract(locked, uid, pages);
        return Err(Errno::EIDRM);
    }
    state.locked_by = Some(uid);
    state.perm.mode |= SHM_LOCKED;
    Ok(())
}

/// `SHM_UNLOCK`.
///
/// # Errors
/// `EINVAL`, `EPERM`.
pub fn unlock(id: i32) -> Result<()> {
    let segment = SEGMENTS.get(id)?;
    may_lock(&segment)?;
    let locked_by = {
        let mut state = segment.state.lock();
        state.perm.mode &= !SHM_LOCKED;
        state.locked_by.take()
    };
    if let Some(uid) = locked_by {
        give_locked(uid, pages_of(segment.size));
    }
    Ok(())
}

/// Pages of a segment are not locked any more.
pub(super) fn give_locked(uid: u32, pages: u64) {
    subtract(&mut LOCKED.lock(), uid, pages);
}

fn subtract(locked: &mut BTreeMap<u32, u64>, uid: u32, pages: u64) {
    let left = locked
        .get(&uid)
        .map_or(0, |held| held.saturating_sub(pages));
    match left {
        0 => locked.remove(&uid),
        left => locked.insert(uid, left),
    };
}
