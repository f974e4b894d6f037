//! Who is told by signal that a file became ready: `F_SETOWN`, `F_SETSIG`, `O_ASYNC`.

use core::sync::atomic::{AtomicI32, Ordering};

use abi::fs::{F_OWNER_PGRP, F_OWNER_PID, F_OWNER_TID, FOwnerEx};
use abi::{Errno, Result};
use ksync::SpinLock;

use crate::task::Pid;
use crate::task::pid;

/// The receiver, by number and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `F_OWNER_*`
    pub kind: i32,
    pub id: i32,
}

/// The asynchronous notification of one open file description.
#[derive(Default)]
pub struct Async {
    owner: SpinLock<Option<Owner>>,
    /// 0: SIGIO without information.
    signal: AtomicI32,
}

impl Async {
    pub fn owner(&self) -> Option<Owner> {
        *self.owner.lock()
    }
    pub fn set_owner(&self, owner: Option<Owner>) {
        *self.owner.lock() = owner;
    }
    pub fn signal(&self) -> i32 {
        self.signal.load(Ordering::Relaxed)
    }
    pub fn set_signal(&self, signal: i32) {
        self.signal.store(signal, Ordering::Relaxed);
    }
}

/// From `F_SETOWN`'s number: a process, or if negative a group. ESRCH if there is none, as on Linux.
pub fn owner_from_number(number: i32) -> Result<Option<Owner>> {
    if number == i32::MIN {
        return Err(Errno::EINVAL);
    }
    let (kind, id) = if number < 0 {
        (F_OWNER_PGRP, -number)
    } else {
        (F_OWNER_PID, number)
    };
    check(kind, id)
}

/// From `struct f_owner_ex`.
pub fn owner_from_struct(owner: &FOwnerEx) -> Result<Option<Owner>> {
    if !matches!(owner.kind, F_OWNER_TID | F_OWNER_PID | F_OWNER_PGRP) {
        return Err(Errno::EINVAL);
    }
    check(owner.kind, owner.pid)
}

fn check(kind: i32, id: i32) -> Result<Option<Owner>> {
    if id == 0 {
        return Ok(None);
    }
    let exists = match kind {
        F_OWNER_TID => pid::find_task(Pid(id)).is_some(),
        F_OWNER_PID => pid::find_process(Pid(id)).is_some(),
        _ => crate::task::tree::find_group(Pid(id)).is_some(),
    };
    if exists {
        Ok(Some(Owner { kind, id }))
    } else {
        Err(Errno::ESRCH)
    }
}
