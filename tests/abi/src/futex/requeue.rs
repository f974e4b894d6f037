//! Condition variables of locks with priority inheritance.

use super::pi::{LOCK, UNLOCK, await_priority, become_fifo};
use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    requeue_pi_gives_a_free_lock_to_the_first,
    requeue_pi_lets_waiters_wait_for_a_held_lock,
    requeue_pi_waiter_is_inherited_from,
    requeue_pi_refuses_bad_arguments,
    requeue_pi_refuses_waiters_that_want_something_else,
    requeue_pi_waiters_are_not_woken,
    requeue_pi_wait_times_out_before_and_after_the_move,
    requeue_pi_wait_after_the_move_is_eagain_on_a_signal,
    requeue_pi_wait_before_the_move_goes_on_after_a_signal,
    requeue_pi_waiter_can_be_killed,
];

const WAIT: i32 = libc::FUTEX_WAIT_REQUEUE_PI;
const REQUEUE: i32 = libc::FUTEX_CMP_REQUEUE_PI;

/// A pair of words: what is waited for, and the lock.
fn words() -> Sys<(usize, usize)> {
    let addr = map_shared(PAGE)?;
    Ok((addr, addr + 64))
}

fn wait_for(condition: usize, lock: usize) -> Sys {
    sys!(SYS_futex, condition, WAIT, 0, 0, lock, 0)
}

fn requeue(condition: usize, lock: usize, moves: u32) -> Sys {
    sys!(SYS_futex, condition, REQUEUE, 1, moves, lock, 0)
}

/// A child that waits, has the lock then, and unlocks it.
fn waiter(condition: usize, lock: usize) -> Outcome<i32> {
    sleeper(move || {
        let status = status_of(wait_for(condition, lock), Ok(0));
        if load(lock) & !WAITERS != getpid() as u32 {
            return 202;
        }
        status | status_of(futex(lock, UNLOCK, 0), Ok(0))
    })
}

fn requeue_pi_gives_a_free_lock_to_the_first() -> Outcome {
    let (condition, lock) = words()?;
    let pids = [waiter(condition, lock)?, waiter(condition, lock)?];
    equal(requeue(condition, lock, 5)?, 2)?;
    pids.into_iter().try_for_each(ends_well)?;
    equal(load(lock), 0)?;
    equal(requeue(condition, lock, 5)?, 0)
}

fn requeue_pi_lets_waiters_wait_for_a_held_lock() -> Outcome {
    let (condition, lock) = words()?;
    let pids = [
        waiter(condition, lock)?,
        waiter(condition, lock)?,
        waiter(condition, lock)?,
    ];
    futex(lock, LOCK, 0)?;
    equal(requeue(condition, lock, 1)?, 2)?;
    check(load(lock) & WAITERS != 0, "the lock is not marked")?;
    for pid in pids {
        equal(state_of(pid)?, 'S')?;
    }
    equal(requeue(condition, lock, 9)?, 1)?;
    futex(lock, UNLOCK, 0)?;
    pids.into_iter().try_for_each(ends_well)?;
    equal(load(lock), 0)
}

fn requeue_pi_waiter_is_inherited_from() -> Outcome {
    let (condition, lock) = words()?;
    let pid = sleeper(|| {
        if become_fifo(0, 12).is_err() {
            return 201;
        }
        let status = status_of(wait_for(condition, lock), Ok(0));
        status | status_of(futex(lock, UNLOCK, 0), Ok(0))
    })?;
    await_priority(pid, -13)?;
    await_state(pid, "S")?;
    futex(lock, LOCK, 0)?;
    equal(requeue(condition, lock, 1)?, 1)?;
    await_priority(getpid(), -13)?;
    futex(lock, UNLOCK, 0)?;
    await_priority(getpid(), 20)?;
    ends_well(pid)
}

fn requeue_pi_refuses_bad_arguments() -> Outcome {
    let (condition, lock) = words()?;
    fails(wait_for(condition, condition), libc::EINVAL)?;
    fails(requeue(condition, condition, 1), libc::EINVAL)?;
    let call = |wakes: u32, value: u32| sys!(SYS_futex, condition, REQUEUE, wakes, 1, lock, value);
    fails(call(0, 0), libc::EINVAL)?;
    fails(call(2, 0), libc::EINVAL)?;
    fails(call(1, 7), libc::EAGAIN)?;
    store(condition, 3);
    fails(wait_for(condition, lock), libc::EAGAIN)?;
    fails(wait_for(condition, lock + 2), libc::EINVAL)
}

fn requeue_pi_refuses_waiters_that_want_something_else() -> Outcome {
    let (condition, lock) = words()?;
    let plain = sleeper(|| status_of(futex(condition, libc::FUTEX_WAIT, 0), Ok(0)))?;
    fails(requeue(condition, lock, 1), libc::EINVAL)?;
    equal(futex(condition, libc::FUTEX_WAKE, 1)?, 1)?;
    ends_well(plain)?;
    let pid = waiter(condition, lock)?;
    fails(requeue(condition, lock + 64, 1), libc::EINVAL)?;
    let moved = sys!(SYS_futex, condition, libc::FUTEX_REQUEUE, 0, 1, lock, 0);
    fails(moved, libc::EINVAL)?;
    equal(requeue(condition, lock, 1)?, 1)?;
    ends_well(pid)
}

fn requeue_pi_waiters_are_not_woken() -> Outcome {
    let (condition, lock) = words()?;
    let pid = waiter(condition, lock)?;
    fails(futex(condition, libc::FUTEX_WAKE, 1), libc::EINVAL)?;
    equal(requeue(condition, lock, 0)?, 1)?;
    ends_well(pid)
}

fn requeue_pi_wait_times_out_before_and_after_the_move() -> Outcome {
    let (condition, lock) = words()?;
    let timed = |ms: i64| -> Sys {
        let time = in_ms(libc::CLOCK_MONOTONIC, ms)?;
        sys!(SYS_futex, condition, WAIT, 0, &time, lock, 0)
    };
    fails(timed(5), libc::ETIMEDOUT)?;
    let time = in_ms(libc::CLOCK_REALTIME, 5)?;
    let realtime = sys!(SYS_futex, condition, WAIT | REALTIME, 0, &time, lock, 0);
    fails(realtime, libc::ETIMEDOUT)?;
    futex(lock, LOCK, 0)?;
    let pid = sleeper(|| status_of(timed(300), Err(Errno(libc::ETIMEDOUT))))?;
    equal(requeue(condition, lock, 1)?, 1)?;
    ends_well(pid)?;
    futex(lock, UNLOCK, 0)?;
    equal(load(lock), 0)
}

fn requeue_pi_wait_after_the_move_is_eagain_on_a_signal() -> Outcome {
    let (condition, lock) = words()?;
    let pid = sleeper(|| {
        let _ = catch(libc::SIGUSR1, libc::SA_RESTART);
        store(condition + 128, 1);
        status_of(wait_for(condition, lock), Err(Errno(libc::EAGAIN)))
    })?;
    await_word(word(condition + 128), 1);
    await_state(pid, "S")?;
    futex(lock, LOCK, 0)?;
    equal(requeue(condition, lock, 1)?, 1)?;
    sys!(SYS_kill, pid, libc::SIGUSR1)?;
    ends_well(pid)?;
    futex(lock, UNLOCK, 0)?;
    equal(load(lock), 0)
}

fn requeue_pi_wait_before_the_move_goes_on_after_a_signal() -> Outcome {
    let (condition, lock) = words()?;
    let pid = sleeper(|| {
        let _ = catch(libc::SIGUSR1, 0);
        store(condition + 128, 1);
        let status = status_of(wait_for(condition, lock), Ok(0));
        status | i32::from(hits(libc::SIGUSR1) != 1)
    })?;
    await_word(word(condition + 128), 1);
    await_state(pid, "S")?;
    sys!(SYS_kill, pid, libc::SIGUSR1)?;
    nap();
    await_state(pid, "S")?;
    equal(requeue(condition, lock, 1)?, 1)?;
    ends_well(pid)
}

fn requeue_pi_waiter_can_be_killed() -> Outcome {
    let (condition, lock) = words()?;
    let before = waiter(condition, lock)?;
    sys!(SYS_kill, before, libc::SIGKILL)?;
    equal(wait(before)?, libc::SIGKILL)?;
    equal(requeue(condition, lock, 1)?, 0)?;
    let after = waiter(condition, lock)?;
    futex(lock, LOCK, 0)?;
    equal(requeue(condition, lock, 1)?, 1)?;
    sys!(SYS_kill, after, libc::SIGKILL)?;
    equal(wait(after)?, libc::SIGKILL)?;
    futex(lock, UNLOCK, 0)?;
    equal(load(lock), 0)
}
