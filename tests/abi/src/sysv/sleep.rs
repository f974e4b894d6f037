//! Calls of semaphores and message queues that sleep, and what ends them.

use super::msg::{self, EXCEPT, NOERROR};
use super::sem::{self, GETNCNT, GETPID, GETZCNT, SETALL, SETVAL, op, semctl, semop, value, with};
use super::{NOWAIT, SET, end_of, sleeper};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    semop_sleeps_until_it_can_go_on,
    semop_sleeps_for_zero,
    semop_is_counted_while_it_sleeps,
    semop_sleepers_go_in_turn,
    semop_zero_goes_before_who_changes,
    semop_wakes_a_chain,
    semop_is_woken_by_setval_and_setall,
    semop_sleeper_becomes_out_of_range,
    semop_and_signals,
    semop_and_stops,
    semop_and_removal,
    semop_killed_leaves_nothing,
    semtimedop_times_out,
    semtimedop_of_bad_times,
    msgrcv_sleeps_for_its_type,
    msgrcv_is_handed_the_message,
    msgrcv_with_too_small_a_buffer,
    msgrcv_receivers_go_in_turn,
    msgsnd_sleeps_for_room,
    msgsnd_is_woken_by_a_larger_queue,
    msg_and_signals,
    msgrcv_goes_on_after_a_stop,
    msg_and_removal,
    msg_and_lost_rights,
];

fn semop_sleeps_until_it_can_go_on() -> Outcome {
    let set = sem::private(2)?;
    let child = sleeper(|| semop(set.id, &[op(0, -2), op(1, 1)]))?;
    semop(set.id, &[op(0, 1)])?;
    equal(value(set.id, 0)?, 1)?;
    semop(set.id, &[op(0, 1)])?;
    equal((value(set.id, 0)?, value(set.id, 1)?), (0, 1))?;
    // The sleeper's call was done by who woke it, in the sleeper's name.
    equal(semctl(set.id, 0, GETPID, 0)?, child)?;
    equal(end_of(child)?, 0)
}

fn semop_sleeps_for_zero() -> Outcome {
    let set = sem::private(1)?;
    semctl(set.id, 0, SETVAL, 2)?;
    let child = sleeper(|| semop(set.id, &[op(0, 0)]))?;
    semop(set.id, &[op(0, -1)])?;
    equal(semctl(set.id, 0, GETZCNT, 0)?, 1)?;
    semop(set.id, &[op(0, -1)])?;
    equal(end_of(child)?, 0)
}

fn semop_is_counted_while_it_sleeps() -> Outcome {
    let set = sem::private(2)?;
    semctl(set.id, 1, SETVAL, 1)?;
    let id = set.id;
    let counts = || -> Sys<[i32; 4]> {
        Ok([
            semctl(id, 0, GETNCNT, 0)?,
            semctl(id, 0, GETZCNT, 0)?,
            semctl(id, 1, GETNCNT, 0)?,
            semctl(id, 1, GETZCNT, 0)?,
        ])
    };
    let lower = sleeper(|| semop(id, &[op(0, -1)]))?;
    let zero = sleeper(|| semop(id, &[op(1, 0)]))?;
    // Only what it waits for counts, not what comes after.
    let both = sleeper(|| semop(id, &[op(1, -1), op(0, -3)]))?;
    equal(counts()?, [2, 0, 0, 1])?;
    semctl(id, 0, SETVAL, 1)?;
    equal(end_of(lower)?, 0)?;
    equal(counts()?, [1, 0, 0, 1])?;
    semctl(id, 1, SETVAL, 0)?;
    equal(end_of(zero)?, 0)?;
    equal(counts()?, [0, 0, 1, 0])?;
    sem::remove(id)?;
    equal(end_of(both)?, libc::EIDRM)
}

fn semop_sleepers_go_in_turn() -> Outcome {
    let set = sem::private(1)?;
    let id = set.id;
    let first = sleeper(|| semop(id, &[op(0, -1)]))?;
    let second = sleeper(|| semop(id, &[op(0, -1)]))?;
    let large = sleeper(|| semop(id, &[op(0, -5)]))?;
    let third = sleeper(|| semop(id, &[op(0, -1)]))?;
    for child in [first, second, third] {
        semop(id, &[op(0, 1)])?;
        equal(semctl(id, 0, GETPID, 0)?, child)?;
        equal(end_of(child)?, 0)?;
    }
    semop(id, &[op(0, 5)])?;
    equal(end_of(large)?, 0)
}

fn semop_zero_goes_before_who_changes() -> Outcome {
    let set = sem::private(1)?;
    let id = set.id;
    semctl(id, 0, SETVAL, 1)?;
    let changes = sleeper(|| semop(id, &[op(0, 0), op(0, 3)]))?;
    let waits = sleeper(|| semop(id, &[op(0, 0)]))?;
    semop(id, &[op(0, -1)])?;
    equal((end_of(changes)?, end_of(waits)?), (0, 0))?;
    equal(value(id, 0)?, 3)
}

fn semop_wakes_a_chain() -> Outcome {
    let set = sem::private(4)?;
    let id = set.id;
    let third = sleeper(|| semop(id, &[op(2, -1), op(3, 1)]))?;
    let second = sleeper(|| semop(id, &[op(1, -1), op(2, 1)]))?;
    let first = sleeper(|| semop(id, &[op(0, -1), op(1, 1)]))?;
    semop(id, &[op(0, 1)])?;
    equal(value(id, 3)?, 1)?;
    for child in [first, second, third] {
        equal(end_of(child)?, 0)?;
    }
    Ok(())
}

fn semop_is_woken_by_setval_and_setall() -> Outcome {
    let set = sem::private(2)?;
    let id = set.id;
    let first = sleeper(|| semop(id, &[op(0, -3)]))?;
    semctl(id, 0, SETVAL, 4)?;
    equal((end_of(first)?, value(id, 0)?), (0, 1))?;
    let second = sleeper(|| semop(id, &[op(1, -2)]))?;
    sys!(SYS_semctl, id, 0, SETALL, &[9_u16, 2])?;
    equal((end_of(second)?, value(id, 1)?), (0, 0))
}

fn semop_sleeper_becomes_out_of_range() -> Outcome {
    let set = sem::private(2)?;
    let id = set.id;
    let child = sleeper(|| semop(id, &[op(0, -1), op(1, 1)]))?;
    semctl(id, 1, SETVAL, 32767)?;
    semop(id, &[op(0, 1)])?;
    equal(end_of(child)?, libc::ERANGE)?;
    equal(value(id, 0)?, 1)
}

/// Runs a call in a child that catches SIGUSR1, sends that once it sleeps, and answers how the call ended.
fn interrupted(flags: i32, body: impl FnOnce() -> Sys) -> Outcome<i32> {
    let child = sleeper(|| {
        catch(libc::SIGUSR1, flags)?;
        body()
    })?;
    sys!(SYS_kill, child, libc::SIGUSR1)?;
    end_of(child)
}

fn semop_and_signals() -> Outcome {
    let set = sem::private(1)?;
    let id = set.id;
    for flags in [0, libc::SA_RESTART] {
        equal(interrupted(flags, || semop(id, &[op(0, -1)]))?, libc::EINTR)?;
    }
    equal(semctl(id, 0, GETNCNT, 0)?, 0)?;
    semop(id, &[op(0, 1)])?;
    equal(value(id, 0)?, 1)
}

/// Stops a child and lets it go on.
fn stop_and_go(child: i32) -> Outcome {
    sys!(SYS_kill, child, libc::SIGSTOP)?;
    wait_with(child, libc::WUNTRACED)?;
    sys!(SYS_kill, child, libc::SIGCONT)?;
    Ok(())
}

fn semop_and_stops() -> Outcome {
    let set = sem::private(1)?;
    let child = sleeper(|| semop(set.id, &[op(0, -1)]))?;
    stop_and_go(child)?;
    // Not restarted, though nothing was caught.
    equal(end_of(child)?, libc::EINTR)
}

fn semop_and_removal() -> Outcome {
    let set = sem::private(1)?;
    let id = set.id;
    let plain = sleeper(|| semop(id, &[op(0, -1)]))?;
    let undone = sleeper(|| semop(id, &[with(0, -1, sem::UNDO)]))?;
    sem::remove(id)?;
    equal(
        (end_of(plain)?, end_of(undone)?),
        (libc::EIDRM, libc::EIDRM),
    )?;
    fails(semop(id, &[op(0, 1)]), libc::EINVAL)
}

fn semop_killed_leaves_nothing() -> Outcome {
    let set = sem::private(1)?;
    let id = set.id;
    let child = sleeper(|| semop(id, &[with(0, -1, sem::UNDO)]))?;
    equal(semctl(id, 0, GETNCNT, 0)?, 1)?;
    sys!(SYS_kill, child, libc::SIGKILL)?;
    wait(child)?;
    equal(semctl(id, 0, GETNCNT, 0)?, 0)?;
    semop(id, &[op(0, 1)])?;
    equal(value(id, 0)?, 1)
}

fn timed(id: i32, ops: &[sem::Op], seconds: i64, nanoseconds: i64) -> Sys {
    let time = [seconds, nanoseconds];
    sys!(SYS_semtimedop, id, ops.as_ptr(), ops.len(), &time)
}

fn semtimedop_times_out() -> Outcome {
    let set = sem::private(1)?;
    fails(timed(set.id, &[op(0, -1)], 0, 0), libc::EAGAIN)?;
    fails(timed(set.id, &[op(0, -1)], 0, 5_000_000), libc::EAGAIN)?;
    equal(semctl(set.id, 0, GETNCNT, 0)?, 0)?;
    timed(set.id, &[op(0, 1)], 0, 0)?;
    let child = sleeper(|| timed(set.id, &[op(0, -2)], 1000, 0))?;
    semop(set.id, &[op(0, 1)])?;
    equal((end_of(child)?, value(set.id, 0)?), (0, 0))?;
    equal(
        interrupted(0, || timed(set.id, &[op(0, -2)], 1000, 0))?,
        libc::EINTR,
    )
}

fn semtimedop_of_bad_times() -> Outcome {
    let set = sem::private(1)?;
    let up = [op(0, 1)];
    fails(timed(set.id, &up, -1, 0), libc::EINVAL)?;
    fails(timed(set.id, &up, 0, -1), libc::EINVAL)?;
    fails(timed(set.id, &up, 0, 1_000_000_000), libc::EINVAL)?;
    fails(sys!(SYS_semtimedop, set.id, &up, 1, 8), libc::EFAULT)?;
    equal(value(set.id, 0)?, 0)?;
    sys!(SYS_semtimedop, set.id, &up, 1, 0)?;
    equal(value(set.id, 0)?, 1)
}

/// The error of a call that answers a message, or 0 for this one.
fn wants(got: Sys<(i64, Vec<u8>)>, want: &[u8]) -> Sys {
    match got?.1 == want {
        true => Ok(0),
        false => Err(Errno(libc::EBADMSG)),
    }
}

fn wait_for(id: i32, max: usize, mtype: i64, flags: i32, want: &'static [u8]) -> Outcome<i32> {
    sleeper(move || wants(msg::receive_flags(id, max, mtype, flags), want))
}

fn msgrcv_sleeps_for_its_type() -> Outcome {
    let queue = msg::private()?;
    let three = wait_for(queue.id, 9, 3, 0, b"three")?;
    let other = wait_for(queue.id, 9, 3, EXCEPT, b"two")?;
    let low = wait_for(queue.id, 9, -1, 0, b"one")?;
    msg::send(queue.id, 2, b"two")?;
    msg::send(queue.id, 3, b"three")?;
    msg::send(queue.id, 2, b"left")?;
    msg::send(queue.id, 1, b"one")?;
    for child in [three, other, low] {
        equal(end_of(child)?, 0)?;
    }
    equal(msg::receive(queue.id, 0)?, (2, b"left".to_vec()))
}

fn msgrcv_is_handed_the_message() -> Outcome {
    let queue = msg::private()?;
    let child = wait_for(queue.id, 9, 0, 0, b"x")?;
    msg::send(queue.id, 1, b"x")?;
    // It was never in the queue.
    let ds = msg::stat_of(queue.id)?;
    equal((ds.qnum, ds.cbytes), (0, 0))?;
    equal((ds.lspid, ds.lrpid), (getpid(), child))?;
    fails(msg::receive(queue.id, 0), libc::ENOMSG)?;
    equal(end_of(child)?, 0)
}

fn msgrcv_with_too_small_a_buffer() -> Outcome {
    let queue = msg::private()?;
    let small = wait_for(queue.id, 2, 0, 0, b"")?;
    let cuts = wait_for(queue.id, 2, 0, NOERROR, b"ab")?;
    msg::send(queue.id, 1, b"abc")?;
    equal((end_of(small)?, end_of(cuts)?), (libc::E2BIG, 0))?;
    let small = wait_for(queue.id, 2, 0, 0, b"")?;
    msg::send(queue.id, 1, b"abc")?;
    equal(end_of(small)?, libc::E2BIG)?;
    equal(msg::stat_of(queue.id)?.qnum, 1)
}

fn msgrcv_receivers_go_in_turn() -> Outcome {
    let queue = msg::private()?;
    let first = wait_for(queue.id, 9, 0, 0, b"a")?;
    let second = wait_for(queue.id, 9, -9, 0, b"b")?;
    msg::send(queue.id, 5, b"a")?;
    msg::send(queue.id, 5, b"b")?;
    equal((end_of(first)?, end_of(second)?), (0, 0))
}

fn msgsnd_sleeps_for_room() -> Outcome {
    let queue = msg::private()?;
    msg::send(queue.id, 1, &[1; 8192])?;
    msg::send(queue.id, 1, &[2; 8190])?;
    let child = sleeper(|| msg::send_flags(queue.id, 2, b"abc", 0))?;
    equal(msg::stat_of(queue.id)?.qnum, 2)?;
    // What fits passes who waits.
    msg::send(queue.id, 3, b"de")?;
    msg::receive(queue.id, 3)?;
    msg::receive(queue.id, 1)?;
    equal(end_of(child)?, 0)?;
    equal(msg::receive(queue.id, 2)?, (2, b"abc".to_vec()))
}

fn msgsnd_is_woken_by_a_larger_queue() -> Outcome {
    let queue = msg::private()?;
    let mut ds = msg::stat_of(queue.id)?;
    ds.qbytes = 2;
    sys!(SYS_msgctl, queue.id, SET, &ds)?;
    let child = sleeper(|| msg::send_flags(queue.id, 1, b"abc", 0))?;
    ds.qbytes = 3;
    sys!(SYS_msgctl, queue.id, SET, &ds)?;
    equal(end_of(child)?, 0)?;
    equal(msg::receive(queue.id, 0)?, (1, b"abc".to_vec()))
}

fn msg_and_signals() -> Outcome {
    let queue = msg::private()?;
    let id = queue.id;
    for flags in [0, libc::SA_RESTART] {
        let receives = || msg::receive_flags(id, 9, 0, 0).map(|_| 0);
        equal(interrupted(flags, receives)?, libc::EINTR)?;
    }
    msg::send(id, 1, &[1; 8192])?;
    msg::send(id, 1, &[1; 8192])?;
    for flags in [0, libc::SA_RESTART] {
        let sends = || msg::send_flags(id, 1, b"x", 0);
        equal(interrupted(flags, sends)?, libc::EINTR)?;
    }
    equal(msg::stat_of(id)?.qnum, 2)
}

fn msgrcv_goes_on_after_a_stop() -> Outcome {
    let queue = msg::private()?;
    let child = wait_for(queue.id, 9, 0, 0, b"x")?;
    stop_and_go(child)?;
    msg::send(queue.id, 1, b"x")?;
    equal(end_of(child)?, 0)
}

fn msg_and_removal() -> Outcome {
    let (empty, full) = (msg::private()?, msg::private()?);
    let receiver = wait_for(empty.id, 9, 7, 0, b"")?;
    msg::send(full.id, 1, &[1; 8192])?;
    msg::send(full.id, 1, &[1; 8192])?;
    let sender = sleeper(|| msg::send_flags(full.id, 1, b"x", 0))?;
    msg::send(empty.id, 1, b"not for it")?;
    msg::remove(empty.id)?;
    msg::remove(full.id)?;
    equal(
        (end_of(receiver)?, end_of(sender)?),
        (libc::EIDRM, libc::EIDRM),
    )?;
    fails(msg::send_flags(full.id, 1, b"x", NOWAIT), libc::EINVAL)
}

fn msg_and_lost_rights() -> Outcome {
    let queue = msg::private()?;
    let mut ds = msg::stat_of(queue.id)?;
    ds.perm.mode = 0o666;
    sys!(SYS_msgctl, queue.id, SET, &ds)?;
    let child = sleeper(|| {
        become_user()?;
        msg::receive_flags(queue.id, 9, 0, 0).map(|_| 0)
    })?;
    // Set to the same, it looks again and sleeps on.
    sys!(SYS_msgctl, queue.id, SET, &ds)?;
    await_state(child, "S")?;
    ds.perm.mode = 0o600;
    sys!(SYS_msgctl, queue.id, SET, &ds)?;
    equal(end_of(child)?, libc::EACCES)
}
