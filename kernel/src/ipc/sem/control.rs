//! `semctl`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::sysv::{IPC_READ, IPC_WRITE, SEMVMX, SemidDs};
use abi::{Errno, Result};
use sysvipc::sem::Sem;

use super::super::{access, now_seconds};
use super::{SETS, SemSet, USED, op};
use crate::sync::current;

/// A set as `IPC_STAT` and `/proc/sysvipc/sem` tell it.
pub struct SemStat {
    pub id: i32,
    pub ds: SemidDs,
}

/// Sets, the highest index in use, and semaphores of all sets.
pub fn usage() -> (u32, u32, u64) {
    let (sets, highest) = SETS.usage();
    (sets, highest, USED.load(Ordering::Relaxed))
}

impl SemSet {
    /// What it is now.
    ///
    /// # Errors
    /// `EACCES` if `checked` and it may not be read, `EIDRM`.
    pub fn stat(&self, checked: bool) -> Result<SemStat> {
        let state = self.state.lock();
        if checked {
            access::check(&state.perm, IPC_READ)?;
        }
        if state.removed {
            return Err(Errno::EIDRM);
        }
        let ds = SemidDs {
            perm: access::to_user(&state.perm, self.id),
            otime: (state.otime_ns / 1_000_000_000) as i64,
            ctime: state.ctime,
            nsems: self.count as u64,
            ..SemidDs::default()
        };
        Ok(SemStat { id: self.id, ds })
    }
}

/// `IPC_STAT`, and by index `SEM_STAT` and, without `checked`, `SEM_STAT_ANY`.
///
/// # Errors
/// `EINVAL`, `EACCES`, `EIDRM`.
pub fn stat(id: i32, by_index: bool, checked: bool) -> Result<SemStat> {
    let set = match by_index {
        true => SETS.at(id)?,
        false => SETS.get(id)?,
    };
    set.stat(checked)
}

/// `IPC_SET`.
///
/// # Errors
/// `EINVAL`, `EPERM`.
pub fn set(id: i32, new: &SemidDs) -> Result<()> {
    let _admin = SETS.admin();
    let set = SETS.get(id)?;
    let mut state = set.state.lock();
    access::check_owner(&state.perm)?;
    access::set(&mut state.perm, &new.perm)?;
    state.ctime = now_seconds();
    Ok(())
}

/// `IPC_RMID`: whoever sleeps leaves with `EIDRM`.
///
/// # Errors
/// `EINVAL`, `EPERM`.
pub fn remove(id: i32) -> Result<()> {
    let mut admin = SETS.admin();
    let set = SETS.get(id)?;
    let (key, woken) = {
        let mut state = set.state.lock();
        access::check_owner(&state.perm)?;
        state.removed = true;
        (state.perm.key, state.set.drain())
    };
    SETS.remove(&mut admin, &set, key);
    drop(admin);
    woken.for_each(|waiting| waiting.who.finish(Err(Errno::EIDRM)));
    Ok(())
}

/// The set for `SETVAL` and the calls about one semaphore. As on Linux rights are looked at after the number by the
/// first, and before it by the others.
fn with_number(id: i32, number: i32, wanted: u32) -> Result<(Arc<SemSet>, usize)> {
    let set = SETS.get(id)?;
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    let is_good = number < set.count;
    if wanted == IPC_WRITE && !is_good {
        return Err(Errno::EINVAL);
    }
    access::check(&set.state.lock().perm, wanted)?;
    match is_good {
        true => Ok((set, number)),
        false => Err(Errno::EINVAL),
    }
}

fn read_one(id: i32, number: i32) -> Result<Sem> {
    let (set, number) = with_number(id, number, IPC_READ)?;
    let state = set.lock_for(IPC_READ)?;
    state.set.sems().get(number).copied().ok_or(Errno::EINVAL)
}

/// `GETVAL`.
///
/// # Errors
/// `EINVAL`, `EACCES`, `EIDRM`.
pub fn get_value(id: i32, number: i32) -> Result<i32> {
    read_one(id, number).map(|sem| sem.value)
}

/// `GETPID`: who changed it last.
///
/// # Errors
/// As [`get_value`].
pub fn get_pid(id: i32, number: i32) -> Result<i32> {
    read_one(id, number).map(|sem| sem.pid)
}

/// `GETNCNT` and `GETZCNT`: how many calls wait for it to become larger, or zero.
///
/// # Errors
/// As [`get_value`].
pub fn waiting_for(id: i32, number: i32, zero: bool) -> Result<usize> {
    let (set, number) = with_number(id, number, IPC_READ)?;
    let state = set.lock_for(IPC_READ)?;
    Ok(state.set.waiting_for(number, zero))
}

/// `SETVAL`.
///
/// # Errors
/// `ERANGE`, and as [`get_value`].
pub fn set_value(id: i32, number: i32, value: i32) -> Result<()> {
    if !(0..=SEMVMX).contains(&value) {
        return Err(Errno::ERANGE);
    }
    let (set, number) = with_number(id, number, IPC_WRITE)?;
    let mut state = set.lock_for(IPC_WRITE)?;
    state.set.set_value(number, value, current().process.pid.0);
    state.ctime = now_seconds();
    let woken = state.update(false);
    drop(state);
    op::wake(woken);
    Ok(())
}

/// `GETALL`.
///
/// # Errors
/// `EINVAL`, `EACCES`, `EIDRM`, `ENOMEM`.
pub fn get_all(id: i32) -> Result<Vec<u16>> {
    let set = SETS.get(id)?;
    access::check(&set.state.lock().perm, IPC_READ)?;
    let mut values = Vec::new();
    values
        .try_reserve_exact(set.count)
        .map_err(|_| Errno::ENOMEM)?;
    let state = set.lock_for(IPC_READ)?;
    values.extend(state.set.sems().iter().map(|sem| sem.value as u16));
    Ok(values)
}

/// `SETALL`; `read` brings as many values as the set has semaphores.
///
/// # Errors
/// `EINVAL`, `EACCES`, `ERANGE`, `EIDRM`, and those of `read`.
pub fn set_all(id: i32, read: impl FnOnce(usize) -> Result<Vec<u16>>) -> Result<()> {
    let set = SETS.get(id)?;
    access::check(&set.state.lock().perm, IPC_WRITE)?;
    let values = read(set.count)?;
    if values.iter().any(|value| i32::from(*value) > SEMVMX) {
        return Err(Errno::ERANGE);
    }
    let mut state = set.lock_for(IPC_WRITE)?;
    state.set.set_all(&values, current().process.pid.0);
    state.ctime = now_seconds();
    let woken = state.update(false);
    drop(state);
    op::wake(woken);
    Ok(())
}
