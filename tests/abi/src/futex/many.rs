//! futex_waitv, and futex_wake, futex_wait and futex_requeue of Linux 6.7. The oracle's kernel may be older than these three:
//! such cases are skipped there.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    waitv_answers_which_word_was_woken,
    waitv_of_another_value_is_eagain,
    waitv_times_out_on_both_clocks,
    waitv_refuses_bad_arguments,
    waitv_waits_for_as_many_as_it_may,
    waitv_leaves_the_other_words,
    waitv_waiter_can_be_requeued,
    waitv_goes_on_after_a_handler_with_restart,
    futex2_wake_and_wait,
    futex2_wake_of_none_wakes_none,
    futex2_requeue_moves,
    futex2_refuses_bad_arguments,
];

const WAITV: usize = 449;
const WAKE2: usize = 454;
const WAIT2: usize = 455;
const REQUEUE2: usize = 456;
const U32: u32 = 2;

/// `struct futex_waitv`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Word {
    value: u64,
    addr: u64,
    flags: u32,
    reserved: u32,
}

fn expect(addr: usize, value: u64) -> Word {
    Word {
        value,
        addr: addr as u64,
        flags: U32,
        reserved: 0,
    }
}

fn waitv(words: &[Word], time: Option<&libc::timespec>, clock: i32) -> Sys {
    let time = time.map_or(0, |time| std::ptr::from_ref(time) as usize);
    let (at, count) = (words.as_ptr() as usize, words.len());
    call(WAITV as i64, &[at, count, 0, time, clock as usize])
}

fn waitv_answers_which_word_was_woken() -> Outcome {
    let addr = map_shared(PAGE)?;
    let words = [expect(addr, 0), expect(addr + 4, 0), expect(addr + 8, 0)];
    for index in 0..3 {
        let pid = sleeper(|| status_of(waitv(&words, None, 0), Ok(index)))?;
        equal(futex(addr + 4 * index, libc::FUTEX_WAKE, 1)?, 1)?;
        ends_well(pid)?;
    }
    Ok(())
}

fn waitv_of_another_value_is_eagain() -> Outcome {
    let addr = map_shared(PAGE)?;
    let words = [expect(addr, 0), expect(addr + 4, 1)];
    fails(waitv(&words, None, 0), libc::EAGAIN)?;
    equal(futex(addr, libc::FUTEX_WAKE, 1)?, 0)
}

fn waitv_times_out_on_both_clocks() -> Outcome {
    let addr = map_shared(PAGE)?;
    let words = [expect(addr, 0), expect(addr + 4, 0)];
    for clock in [libc::CLOCK_MONOTONIC, libc::CLOCK_REALTIME] {
        let time = in_ms(clock, 5)?;
        fails(waitv(&words, Some(&time), clock), libc::ETIMEDOUT)?;
    }
    equal(futex(addr, libc::FUTEX_WAKE, 1)?, 0)
}

fn waitv_refuses_bad_arguments() -> Outcome {
    let addr = map_shared(PAGE)?;
    let good = [expect(addr, 0)];
    let raw = |at: usize, count: usize, flags: usize, time: usize, clock: usize| {
        call(WAITV as i64, &[at, count, flags, time, clock])
    };
    let at = good.as_ptr() as usize;
    fails(raw(at, 1, 1, 0, 0), libc::EINVAL)?;
    fails(raw(at, 0, 0, 0, 0), libc::EINVAL)?;
    fails(raw(at, 129, 0, 0, 0), libc::EINVAL)?;
    fails(raw(0, 1, 0, 0, 0), libc::EINVAL)?;
    fails(raw(8, 1, 0, 0, 0), libc::EFAULT)?;
    let time = in_ms(libc::CLOCK_MONOTONIC, 5)?;
    fails(
        waitv(&good, Some(&time), libc::CLOCK_BOOTTIME),
        libc::EINVAL,
    )?;
    fails(raw(at, 1, 0, 8, 1), libc::EFAULT)?;
    let without_size = Word {
        flags: 0,
        ..expect(addr, 0)
    };
    fails(waitv(&[without_size], None, 0), libc::EINVAL)?;
    let reserved = Word {
        reserved: 1,
        ..expect(addr, 0)
    };
    fails(waitv(&[reserved], None, 0), libc::EINVAL)?;
    fails(waitv(&[expect(addr + 1, 0)], None, 0), libc::EINVAL)?;
    fails(
        waitv(&[expect(addr, 0), expect(8, 0)], None, 0),
        libc::EFAULT,
    )
}

fn waitv_waits_for_as_many_as_it_may() -> Outcome {
    let addr = map_shared(PAGE)?;
    let words: Vec<Word> = (0..128).map(|n| expect(addr + 4 * n, 0)).collect();
    let pid = sleeper(|| status_of(waitv(&words, None, 0), Ok(127)))?;
    equal(futex(addr + 4 * 127, libc::FUTEX_WAKE, 1)?, 1)?;
    ends_well(pid)
}

fn waitv_leaves_the_other_words() -> Outcome {
    let addr = map_shared(PAGE)?;
    let words = [expect(addr, 0), expect(addr + 4, 0)];
    let pid = sleeper(|| {
        let status = status_of(waitv(&words, None, 0), Ok(0));
        // Nobody waits for the second any more.
        status | status_of(futex(addr + 4, libc::FUTEX_WAKE, 9), Ok(0))
    })?;
    equal(futex(addr, libc::FUTEX_WAKE, 1)?, 1)?;
    ends_well(pid)
}

fn waitv_waiter_can_be_requeued() -> Outcome {
    let addr = map_shared(PAGE)?;
    let words = [expect(addr, 0), expect(addr + 4, 0)];
    let pid = sleeper(|| status_of(waitv(&words, None, 0), Ok(1)))?;
    let to = addr + 1024;
    let moved = sys!(SYS_futex, addr + 4, libc::FUTEX_REQUEUE, 0, 1, to, 0)?;
    equal(moved, 1)?;
    equal(futex(addr + 4, libc::FUTEX_WAKE, 1)?, 0)?;
    equal(futex(to, libc::FUTEX_WAKE, 1)?, 1)?;
    ends_well(pid)
}

fn waitv_goes_on_after_a_handler_with_restart() -> Outcome {
    let addr = map_shared(PAGE)?;
    let words = [expect(addr, 0), expect(addr + 4, 0)];
    for (flags, want) in [(libc::SA_RESTART, Ok(1)), (0, Err(Errno(libc::EINTR)))] {
        store(addr + 64, 0);
        let pid = sleeper(|| {
            let _ = catch(libc::SIGUSR1, flags);
            store(addr + 64, 1);
            status_of(waitv(&words, None, 0), want)
        })?;
        await_word(word(addr + 64), 1);
        await_state(pid, "S")?;
        sys!(SYS_kill, pid, libc::SIGUSR1)?;
        if want.is_ok() {
            nap();
            await_state(pid, "S")?;
            equal(futex(addr + 4, libc::FUTEX_WAKE, 1)?, 1)?;
        }
        ends_well(pid)?;
    }
    Ok(())
}

fn needs_futex2(addr: usize) -> Outcome {
    match call(WAKE2 as i64, &[addr, usize::MAX >> 32, 1, U32 as usize]) {
        Err(Errno(libc::ENOSYS)) => skip("the kernel is older than these calls"),
        _ => Ok(()),
    }
}

const ALL: usize = u32::MAX as usize;

fn wake2(addr: usize, mask: usize, count: usize) -> Sys {
    call(WAKE2 as i64, &[addr, mask, count, U32 as usize])
}

fn wait2(addr: usize, value: usize, mask: usize) -> Sys {
    call(WAIT2 as i64, &[addr, value, mask, U32 as usize, 0, 1])
}

fn futex2_wake_and_wait() -> Outcome {
    let addr = map_shared(PAGE)?;
    needs_futex2(addr)?;
    let pid = sleeper(|| status_of(wait2(addr, 0, 2), Ok(0)))?;
    equal(wake2(addr, 1, 1)?, 0)?;
    equal(wake2(addr, 3, 1)?, 1)?;
    ends_well(pid)?;
    fails(wait2(addr, 1, ALL), libc::EAGAIN)?;
    let time = in_ms(libc::CLOCK_MONOTONIC, 5)?;
    let at = std::ptr::from_ref(&time) as usize;
    let timed = call(WAIT2 as i64, &[addr, 0, ALL, U32 as usize, at, 1]);
    fails(timed, libc::ETIMEDOUT)
}

fn futex2_wake_of_none_wakes_none() -> Outcome {
    let addr = map_shared(PAGE)?;
    needs_futex2(addr)?;
    let pid = sleeper(|| status_of(wait2(addr, 0, ALL), Ok(0)))?;
    equal(wake2(addr, ALL, 0)?, 0)?;
    equal(wake2(addr, ALL, 1)?, 1)?;
    ends_well(pid)
}

fn futex2_requeue_moves() -> Outcome {
    let addr = map_shared(PAGE)?;
    needs_futex2(addr)?;
    let pids = [
        sleeper(|| status_of(wait2(addr, 0, ALL), Ok(0)))?,
        sleeper(|| status_of(wait2(addr, 0, ALL), Ok(0)))?,
    ];
    let requeue = |value: u64, flags: usize| {
        let words = [expect(addr, value), expect(addr + 64, 0)];
        call(REQUEUE2 as i64, &[words.as_ptr() as usize, flags, 1, 1])
    };
    fails(requeue(1, 0), libc::EAGAIN)?;
    fails(requeue(0, 1), libc::EINVAL)?;
    equal(requeue(0, 0)?, 2)?;
    equal(wake2(addr, ALL, 9)?, 0)?;
    equal(wake2(addr + 64, ALL, 9)?, 1)?;
    pids.into_iter().try_for_each(ends_well)
}

fn futex2_refuses_bad_arguments() -> Outcome {
    let addr = map_shared(PAGE)?;
    needs_futex2(addr)?;
    for flags in [0, 1, 3, 4, 0x100] {
        fails(call(WAKE2 as i64, &[addr, ALL, 1, flags]), libc::EINVAL)?;
    }
    fails(wake2(addr, ALL + 1, 1), libc::EINVAL)?;
    fails(wake2(addr, 0, 1), libc::EINVAL)?;
    fails(wait2(addr, ALL + 1, ALL), libc::EINVAL)?;
    fails(wait2(addr, 0, 0), libc::EINVAL)?;
    fails(wake2(addr + 1, ALL, 1), libc::EINVAL)
}
