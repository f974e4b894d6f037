//! Futexes and robust lists.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::futex::{
    FUTEX_BITSET_MATCH_ANY, FUTEX_CLOCK_REALTIME, FUTEX_CMP_REQUEUE, FUTEX_CMP_REQUEUE_PI,
    FUTEX_LOCK_PI, FUTEX_LOCK_PI2, FUTEX_PRIVATE_FLAG, FUTEX_REQUEUE, FUTEX_TRYLOCK_PI,
    FUTEX_UNLOCK_PI, FUTEX_WAIT, FUTEX_WAIT_BITSET, FUTEX_WAIT_REQUEUE_PI, FUTEX_WAITV_MAX,
    FUTEX_WAKE, FUTEX_WAKE_BITSET, FUTEX_WAKE_OP, FUTEX2_SIZE_MASK, FUTEX2_SIZE_U32,
    FUTEX2_VALID_MASK, FutexWaitv, RobustListHead, WakeOp,
};
use abi::time::{CLOCK_MONOTONIC, CLOCK_REALTIME, Timespec};
use abi::{Errno, Result};

use crate::ipc::futex::{self, Futex, Wanted};
use crate::mm::user::{UserPtr, UserSlice};
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
    Ok(Some(match command {
        FUTEX_WAIT => time::monotonic_ns().saturating_add(ns),
        _ => absolute(realtime || command == FUTEX_LOCK_PI, ns),
    }))
}

fn absolute(realtime: bool, ns: u64) -> u64 {
    match realtime {
        true => time::monotonic_ns().saturating_add(ns.saturating_sub(time::realtime_ns())),
        false => ns,
    }
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
    let word = |word| Futex { word, is_private };
    let (first, second) = (word(uaddr), word(uaddr2));
    let at = match command {
        FUTEX_WAIT | FUTEX_WAIT_BITSET | FUTEX_WAIT_REQUEUE_PI | FUTEX_LOCK_PI | FUTEX_LOCK_PI2 => {
            deadline(command, realtime, UserPtr::from(timeout))?
        }
        _ => None,
    };
    let takes_clock = [FUTEX_WAIT_BITSET, FUTEX_WAIT_REQUEUE_PI, FUTEX_LOCK_PI2];
    if realtime && !takes_clock.contains(&command) {
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
            let (wakes, moves) = (checked_limit(val)?, checked_limit(val2)?);
            futex::requeue(first, second, wakes, moves, expected)
        }
        FUTEX_WAKE_OP => {
            let op = WakeOp::decode(val3).ok_or(Errno::ENOSYS)?;
            futex::wake_op(first, second, limit(val), limit(val2), op)
        }
        FUTEX_LOCK_PI | FUTEX_LOCK_PI2 => futex::lock_pi(first, at, false),
        FUTEX_TRYLOCK_PI => futex::lock_pi(first, None, true),
        FUTEX_UNLOCK_PI => futex::unlock_pi(first),
        FUTEX_WAIT_REQUEUE_PI => futex::wait_requeue_pi(first, val, at, second),
        FUTEX_CMP_REQUEUE_PI => {
            let (wakes, moves) = (checked_limit(val)?, checked_limit(val2)?);
            if uaddr.addr() == uaddr2.addr() || wakes != 1 {
                return Err(Errno::EINVAL);
            }
            futex::cmp_requeue_pi(first, second, moves, val3)
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// What the flags of the newer calls say of a word.
fn futex2(addr: usize, flags: u32) -> Result<Futex> {
    let is_word = flags & FUTEX2_SIZE_MASK == FUTEX2_SIZE_U32;
    if flags & !FUTEX2_VALID_MASK != 0 || !is_word {
        return Err(Errno::EINVAL);
    }
    Ok(Futex {
        word: UserPtr::from(addr),
        is_private: flags & FUTEX_PRIVATE_FLAG != 0,
    })
}

/// A value or mask for a word of 32 bits.
fn word_of(value: usize) -> Result<u32> {
    u32::try_from(value).map_err(|_| Errno::EINVAL)
}

/// The absolute time on `clock` until which a newer call waits.
fn deadline2(timeout: UserPtr<Timespec>, clock: i32) -> Result<Option<u64>> {
    if timeout.is_null() {
        return Ok(None);
    }
    if !matches!(clock, CLOCK_REALTIME | CLOCK_MONOTONIC) {
        return Err(Errno::EINVAL);
    }
    let ns = timeout.read()?.to_ns().ok_or(Errno::EINVAL)?;
    Ok(Some(absolute(clock == CLOCK_REALTIME, ns)))
}

fn wanted(given: &FutexWaitv) -> Result<Wanted> {
    if given.reserved != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(Wanted {
        futex: futex2(given.uaddr as usize, given.flags)?,
        expected: word_of(given.val as usize)?,
    })
}

fn read_wanted(waiters: usize, count: usize) -> Result<Vec<Wanted>> {
    let given = UserSlice::<FutexWaitv>::new(waiters, count)?.to_vec()?;
    given.iter().map(wanted).collect()
}

pub fn sys_futex_waitv(
    waiters: usize,
    count: u32,
    flags: u32,
    timeout: UserPtr<Timespec>,
    clock: i32,
) -> Result<usize> {
    if flags != 0 || !(1..=FUTEX_WAITV_MAX).contains(&count) || waiters == 0 {
        return Err(Errno::EINVAL);
    }
    let deadline_ns = deadline2(timeout, clock)?;
    futex::wait_any(&read_wanted(waiters, count as usize)?, deadline_ns)
}

pub fn sys_futex_wake(addr: usize, mask: usize, count: u32, flags: u32) -> Result<usize> {
    let futex = futex2(addr, flags)?;
    let mask = word_of(mask)?;
    // Unlike the older call this one may wake nobody.
    match limit(count) {
        0 if mask != 0 => Ok(0),
        count => futex::wake(futex, count, mask),
    }
}

pub fn sys_futex_wait(
    addr: usize,
    value: usize,
    mask: usize,
    flags: u32,
    timeout: UserPtr<Timespec>,
    clock: i32,
) -> Result<usize> {
    let futex = futex2(addr, flags)?;
    let (value, mask) = (word_of(value)?, word_of(mask)?);
    let deadline_ns = deadline2(timeout, clock)?;
    futex::wait(futex, value, mask, deadline_ns)
}

pub fn sys_futex_requeue(waiters: usize, flags: u32, wakes: u32, moves: u32) -> Result<usize> {
    if flags != 0 || waiters == 0 {
        return Err(Errno::EINVAL);
    }
    let words = read_wanted(waiters, 2)?;
    let [from, to] = words.as_slice() else {
        return Err(Errno::EINVAL);
    };
    let (wakes, moves) = (checked_limit(wakes)?, checked_limit(moves)?);
    futex::requeue(from.futex, to.futex, wakes, moves, Some(from.expected))
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
