//! Keys, clocks, restarts, FUTEX_WAKE_OP, and the order of waking.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    bitset_wait_takes_absolute_times_on_both_clocks,
    wait_goes_on_after_a_handler_with_restart,
    timed_wait_is_eintr_after_a_handler,
    timed_wait_goes_on_after_a_stop,
    wake_op_changes_the_word_and_wakes_by_its_old_value,
    wake_op_refuses_what_it_does_not_know,
    private_and_shared_names_of_private_memory_differ,
    a_file_is_one_word_however_it_is_mapped,
    a_removed_files_word_still_wakes,
    realtime_waiters_wake_first,
    requeue_to_the_same_word_counts,
    requeue_wakes_none_when_asked_for_none,
    requeue_refuses_negative_counts,
    wake_of_unmapped_memory,
    wait_in_a_hole_that_is_filled,
];

const WAIT: i32 = libc::FUTEX_WAIT;
const WAKE: i32 = libc::FUTEX_WAKE;
const WAIT_BITSET: i32 = libc::FUTEX_WAIT_BITSET;

fn wait_until(addr: usize, op: i32, time: &libc::timespec) -> Sys {
    sys!(SYS_futex, addr, op, 0, time, 0, u32::MAX)
}

fn bitset_wait_takes_absolute_times_on_both_clocks() -> Outcome {
    let addr = map(PAGE)?;
    for (clock, flag) in [(libc::CLOCK_MONOTONIC, 0), (libc::CLOCK_REALTIME, REALTIME)] {
        let time = in_ms(clock, 5)?;
        fails(wait_until(addr, WAIT_BITSET | flag, &time), libc::ETIMEDOUT)?;
        let now = in_ms(clock, 0)?;
        check(
            (now.tv_sec, now.tv_nsec) >= (time.tv_sec, time.tv_nsec),
            "it came too early",
        )?;
        // It has passed already.
        fails(wait_until(addr, WAIT_BITSET | flag, &time), libc::ETIMEDOUT)?;
    }
    Ok(())
}

fn wait_goes_on_after_a_handler_with_restart() -> Outcome {
    let addr = map_shared(PAGE)?;
    for (flags, want) in [(libc::SA_RESTART, Ok(0)), (0, Err(Errno(libc::EINTR)))] {
        let pid = sleeper(|| {
            let _ = catch(libc::SIGUSR1, flags);
            store(addr + 4, 1);
            status_of(futex(addr, WAIT, 0), want) | i32::from(hits(libc::SIGUSR1) != 1)
        })?;
        await_word(word(addr + 4), 1);
        await_state(pid, "S")?;
        sys!(SYS_kill, pid, libc::SIGUSR1)?;
        if want.is_ok() {
            nap();
            await_state(pid, "S")?;
            equal(futex(addr, WAKE, 1)?, 1)?;
        }
        ends_well(pid)?;
    }
    Ok(())
}

fn timed_wait_is_eintr_after_a_handler() -> Outcome {
    let addr = map_shared(PAGE)?;
    let pid = sleeper(|| {
        let _ = catch(libc::SIGUSR1, libc::SA_RESTART);
        let time = libc::timespec {
            tv_sec: 1000,
            tv_nsec: 0,
        };
        store(addr + 4, 1);
        // A call with a time is not restarted after a handler.
        status_of(
            sys!(SYS_futex, addr, WAIT, 0, &time, 0, 0),
            Err(Errno(libc::EINTR)),
        )
    })?;
    await_word(word(addr + 4), 1);
    await_state(pid, "S")?;
    sys!(SYS_kill, pid, libc::SIGUSR1)?;
    ends_well(pid)
}

fn timed_wait_goes_on_after_a_stop() -> Outcome {
    let addr = map_shared(PAGE)?;
    let pid = sleeper(|| {
        let time = libc::timespec {
            tv_sec: 1000,
            tv_nsec: 0,
        };
        status_of(sys!(SYS_futex, addr, WAIT, 0, &time, 0, 0), Ok(0))
    })?;
    sys!(SYS_kill, pid, libc::SIGSTOP)?;
    await_state(pid, "T")?;
    sys!(SYS_kill, pid, libc::SIGCONT)?;
    await_state(pid, "S")?;
    equal(futex(addr, WAKE, 1)?, 1)?;
    ends_well(pid)
}

/// The third value of FUTEX_WAKE_OP.
fn encode(op: u32, compare: u32, argument: u32, against: u32) -> u32 {
    op << 28 | compare << 24 | (argument & 0xfff) << 12 | against & 0xfff
}

fn wake_op_changes_the_word_and_wakes_by_its_old_value() -> Outcome {
    const SET: u32 = 0;
    const ADD: u32 = 1;
    const EQUAL: u32 = 0;
    const GREATER: u32 = 4;
    let one = map_shared(PAGE)?;
    let other = one + 64;
    let waiter = |addr: usize| sleeper(move || status_of(futex(addr, WAIT, load(addr)), Ok(0)));
    let call = |code: u32| sys!(SYS_futex, one, libc::FUTEX_WAKE_OP, 1, 1, other, code);
    let (a, b) = (waiter(one)?, waiter(other)?);
    // The old value is 0, which is not greater than 0: only the first word's waiter wakes.
    equal(call(encode(ADD, GREATER, 5, 0))?, 1)?;
    ends_well(a)?;
    equal(load(other), 5)?;
    let a = waiter(one)?;
    equal(call(encode(SET, EQUAL, 9, 5))?, 2)?;
    ends_well(a)?;
    ends_well(b)?;
    equal(load(other), 9)
}

fn wake_op_refuses_what_it_does_not_know() -> Outcome {
    let one = map_shared(PAGE)?;
    let call =
        |second: usize, code: u32| sys!(SYS_futex, one, libc::FUTEX_WAKE_OP, 1, 1, second, code);
    fails(call(one + 64, encode(5, 0, 0, 0)), libc::ENOSYS)?;
    fails(call(one + 64, encode(0, 6, 0, 0)), libc::ENOSYS)?;
    fails(call(one + 2, 0), libc::EINVAL)?;
    fails(call(8, 0), libc::EFAULT)
}

fn private_and_shared_names_of_private_memory_differ() -> Outcome {
    let addr = map_shared(PAGE)?;
    let pid = sleeper(|| status_of(futex(addr, WAIT, 0), Ok(0)))?;
    // In this process the private name leads nowhere.
    equal(futex(addr, WAKE | PRIVATE, 1)?, 0)?;
    equal(futex(addr, WAKE, 1)?, 1)?;
    ends_well(pid)
}

fn a_file_is_one_word_however_it_is_mapped() -> Outcome {
    let fd = file_with(c"f", &[0; 2 * PAGE])?;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let all = sys!(SYS_mmap, 0, 2 * PAGE, prot, libc::MAP_SHARED, fd, 0)?;
    let pid = sleeper(|| status_of(futex(all + PAGE + 8, WAIT, 0), Ok(0)))?;
    // Another descriptor, another offset, another address.
    let again = open(c"f", libc::O_RDWR)?;
    let second = sys!(SYS_mmap, 0, PAGE, prot, libc::MAP_SHARED, again, PAGE)?;
    equal(futex(second + 12, WAKE, 1)?, 0)?;
    equal(futex(second + 8, WAKE, 1)?, 1)?;
    ends_well(pid)?;
    let private = sys!(SYS_mmap, 0, PAGE, prot, libc::MAP_PRIVATE, again, PAGE)?;
    poke(private, 0);
    equal(futex(private + 8, WAKE, 1)?, 0)
}

fn a_removed_files_word_still_wakes() -> Outcome {
    let fd = file_with(c"f", &[0; PAGE])?;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let addr = sys!(SYS_mmap, 0, PAGE, prot, libc::MAP_SHARED, fd, 0)?;
    close(fd)?;
    sys!(SYS_unlinkat, libc::AT_FDCWD, c"f", 0)?;
    let pid = sleeper(|| status_of(futex(addr, WAIT, 0), Ok(0)))?;
    equal(futex(addr, WAKE, 1)?, 1)?;
    ends_well(pid)
}

fn realtime_waiters_wake_first() -> Outcome {
    let addr = map_shared(PAGE)?;
    let waiter = |priority: i32| {
        sleeper(move || {
            if priority > 0 && pi::become_fifo(0, priority).is_err() {
                return 201;
            }
            status_of(futex(addr, WAIT, 0), Ok(0))
        })
    };
    let (plain, low, high) = (waiter(0)?, waiter(3)?, waiter(9)?);
    for pid in [high, low, plain] {
        equal(futex(addr, WAKE, 1)?, 1)?;
        ends_well(pid)?;
    }
    Ok(())
}

fn requeue_to_the_same_word_counts() -> Outcome {
    let addr = map_shared(PAGE)?;
    let pids = [
        sleeper(|| status_of(futex(addr, WAIT, 0), Ok(0)))?,
        sleeper(|| status_of(futex(addr, WAIT, 0), Ok(0)))?,
    ];
    let call = sys!(SYS_futex, addr, libc::FUTEX_REQUEUE, 0, 5, addr, 0);
    equal(call?, 2)?;
    equal(futex(addr, WAKE, 5)?, 2)?;
    pids.into_iter().try_for_each(ends_well)
}

fn requeue_wakes_none_when_asked_for_none() -> Outcome {
    let addr = map_shared(PAGE)?;
    let pid = sleeper(|| status_of(futex(addr, WAIT, 0), Ok(0)))?;
    let call = |moves: i32| sys!(SYS_futex, addr, libc::FUTEX_REQUEUE, 0, moves, addr + 64, 0);
    equal(call(0)?, 0)?;
    equal(call(1)?, 1)?;
    equal(futex(addr, WAKE, 1)?, 0)?;
    equal(futex(addr + 64, WAKE, 1)?, 1)?;
    ends_well(pid)
}

fn requeue_refuses_negative_counts() -> Outcome {
    let addr = map_shared(PAGE)?;
    for op in [libc::FUTEX_REQUEUE, libc::FUTEX_CMP_REQUEUE] {
        fails(sys!(SYS_futex, addr, op, -1, 1, addr + 64, 0), libc::EINVAL)?;
        fails(sys!(SYS_futex, addr, op, 1, -1, addr + 64, 0), libc::EINVAL)?;
    }
    Ok(())
}

fn wake_of_unmapped_memory() -> Outcome {
    let addr = map(PAGE)?;
    sys!(SYS_munmap, addr, PAGE)?;
    // A private name is an address; a shared one is what is there.
    equal(futex(addr, WAKE | PRIVATE, 1)?, 0)?;
    fails(futex(addr, WAKE, 1), libc::EFAULT)?;
    fails(futex(addr, WAIT | PRIVATE, 0), libc::EFAULT)?;
    fails(futex(usize::MAX - 3, WAKE | PRIVATE, 1), libc::EFAULT)
}

fn wait_in_a_hole_that_is_filled() -> Outcome {
    let fd = file_with(c"f", &[])?;
    sys!(SYS_ftruncate, fd, 4 * PAGE)?;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let addr = sys!(SYS_mmap, 0, 4 * PAGE, prot, libc::MAP_SHARED, fd, 0)? + 3 * PAGE;
    let pid = sleeper(|| status_of(futex(addr, WAIT, 0), Ok(0)))?;
    sys!(SYS_pwrite64, fd, &7_u32, 4, 3 * PAGE)?;
    equal(load(addr), 7)?;
    fails(futex(addr, WAIT, 0), libc::EAGAIN)?;
    equal(futex(addr, WAKE, 1)?, 1)?;
    ends_well(pid)
}
