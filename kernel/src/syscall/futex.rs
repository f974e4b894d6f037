//! Futexes and robust lists.

use core::sync::atomic::Ordering;

use abi::futex::{
    FUTEX_BITSET_MATCH_ANY, FUTEX_CLOCK_REALTIME, FUTEX_CMP_REQUEUE, FUTEX_PRIVATE_FLAG,
    FUTEX_REQUEUE, FUTEX_WAIT, FUTEX_WAIT_BITSET, FUTEX_WAKE, FUTEX_WAKE_BITSET, FUTEX_WAKE_OP,
    RobustListHead, WakeOp,
};
use abi::time::Timespec;
use abi::{Errno, Result};

use crate::ipc::futex::{self, Futex};
use crate::mm::user::UserPtr;
use crate::task::{self, Cap, Pid, Task};
use crate::time;

/// A count that the ABI has as an `int`: at least one waiter is looked at, whatever it says.
fn limit(value: u32) -> usize {
    usize::try_from(value as i32).unwrap_or(0)
}

/// A count that must not be negative.
fn checked_limit(value: u32) -> Result<usize> {
    usize::try_from(value as i32).map_err(|_| Errno::EINVAL)
}

/// The monotonic deadline of a wait. FUTEX_WAIT's time is relative, that of the others absolute on the chosen clock.
fn deadline(command: u32, realtime: bool, timeout: UserPtr<Timespec>) -> Result<Option<u64>> {
    let Some(ts) = timeout.read_opt()? else {
        return Ok(None);
    };
    let ns = ts.to_ns().ok_or(Errno::EINVAL)?;
    let now = time::monotonic_ns();
    Ok(Some(if command == FUTEX_WAIT {
        now.saturating_add(ns)
    } else if realtime {
        now.saturating_add(ns.saturating_sub(time::realtime_ns()))
    } else {
        ns
    }))
}

pub fn sys_futex(
    uaddr: UserPtr<u32>,
    op: u32,
    val: u32,
    timeout: usize,
    uaddr2: UserPtr<u32>,
    val3: u32,
) -> Result<usize> {
    let command = op & !(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
    let realtime = op & FUTEX_CLOCK_REALTIME != 0;
    let is_private = op & FUTEX_PRIVATE_FLAG != 0;
    let first = Futex {
        word: uaddr,
        is_private,
    };
    let second = Futex {
        word: uaddr2,
        is_private,
    };
    let waits = command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET;
    let at = match waits {
        true => deadline(command, realtime, UserPtr::from(timeout))?,
        false => None,
    };
    if realtime && command != FUTEX_WAIT_BITSET {
        return Err(Errno::ENOSYS);
    }
    // The second count lies where the time-out of others does.
    let val2 = timeout as u32;
    match command {
        FUTEX_WAIT => futex::wait(first, val, FUTEX_BITSET_MATCH_ANY, at),
        FUTEX_WAIT_BITSET => futex::wait(first, val, val3, at),
        FUTEX_WAKE => futex::wake(first, limit(val), FUTEX_BITSET_MATCH_ANY),
        FUTEX_WAKE_BITSET => futex::wake(first, limit(val), val3),
        FUTEX_REQUEUE | FUTEX_CMP_REQUEUE => {
            let expected = (command == FUTEX_CMP_REQUEUE).then_some(val3);
            futex::requeue(
                first,
                second,
                checked_limit(val)?,
                checked_limit(val2)?,
                expected,
            )
        }
        FUTEX_WAKE_OP => {
            let op = WakeOp::decode(val3).ok_or(Errno::ENOSYS)?;
            futex::wake_op(first, second, limit(val), limit(val2), op)
        }
        _ => Err(Errno::ENOSYS),
    }
}

pub fn sys_set_robust_list(head: usize, len: usize) -> Result<usize> {
    if len != size_of::<RobustListHead>() {
        return Err(Errno::EINVAL);
    }
    task::current().robust_list.store(head, Ordering::Relaxed);
    Ok(0)
}

pub fn sys_get_robust_list(pid: Pid, head: UserPtr<usize>, len: UserPtr<usize>) -> Result<usize> {
    let current = task::current();
    let value = if pid.0 == 0 || pid == current.tid() {
        current.robust_list.load(Ordering::Relaxed)
    } else {
        let task = task::find_task(pid).ok_or(Errno::ESRCH)?;
        if !may_look_at(&task) {
            return Err(Errno::EPERM);
        }
        task.robust_list.load(Ordering::Relaxed)
    };
    len.write(&size_of::<RobustListHead>())?;
    head.write(&value)?;
    Ok(0)
}

/// Whether the caller's identity lets it look into another thread, as ptrace's check has it.
fn may_look_at(task: &Task) -> bool {
    let current = task::current();
    let (mine, theirs) = (current.my_cred(), task.cred());
    let same = [theirs.uid, theirs.euid, theirs.suid]
        .iter()
        .all(|uid| *uid == mine.fsuid)
        && [theirs.gid, theirs.egid, theirs.sgid]
            .iter()
            .all(|gid| *gid == mine.fsgid);
    same || mine.capable(Cap::SYS_PTRACE)
}
