//! Threads and futexes.

use std::sync::atomic::Ordering;

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    threads_share_memory_and_the_process,
    cleartid_wakes_at_the_end,
    futex_wait_of_another_value_is_eagain,
    futex_wait_times_out,
    futex_wake_counts_the_woken,
    futex_bitset_chooses,
    futex_requeue_moves_waiters,
    futex_across_processes,
    futex_refuses_bad_arguments,
    robust_list_marks_the_owner_dead,
    settls_sets_the_thread_pointer,
];

const WAIT: i32 = libc::FUTEX_WAIT;
const WAKE: i32 = libc::FUTEX_WAKE;

extern "C" fn tell_ids(argument: *mut libc::c_void) -> i32 {
    let addr = argument as usize;
    word(addr).store(sys!(SYS_getpid).unwrap_or(0) as u32, Ordering::SeqCst);
    word(addr + 4).store(sys!(SYS_gettid).unwrap_or(0) as u32, Ordering::SeqCst);
    0
}

fn threads_share_memory_and_the_process() -> Outcome {
    let addr = map(PAGE)?;
    await_word(thread(tell_ids, addr)?, 0);
    let tid = word(addr + 4).load(Ordering::SeqCst);
    equal(word(addr).load(Ordering::SeqCst), getpid() as u32)?;
    check(tid != getpid() as u32 && tid != 0, "no number of its own")
}

extern "C" fn end_soon(_argument: *mut libc::c_void) -> i32 {
    nap();
    0
}

fn cleartid_wakes_at_the_end() -> Outcome {
    let done = thread(end_soon, 0)?;
    while done.load(Ordering::SeqCst) != 0 {
        // Not the private form: that is how the kernel wakes.
        let _ = sys!(SYS_futex, done, WAIT, 1, 0, 0, 0);
    }
    Ok(())
}

fn futex_wait_of_another_value_is_eagain() -> Outcome {
    let value = 5_u32;
    fails(sys!(SYS_futex, &value, WAIT, 4, 0, 0, 0), libc::EAGAIN)
}

fn futex_wait_times_out() -> Outcome {
    let value = 5_u32;
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000,
    };
    fails(
        sys!(SYS_futex, &value, WAIT, 5, &time, 0, 0),
        libc::ETIMEDOUT,
    )?;
    let wrong = libc::timespec {
        tv_sec: 0,
        tv_nsec: -1,
    };
    fails(sys!(SYS_futex, &value, WAIT, 5, &wrong, 0, 0), libc::EINVAL)
}

/// Children that wait on a word, and answer 0 once they are woken.
fn waiters(addr: usize, count: usize, mask: u32) -> Outcome<Vec<i32>> {
    let mut pids = Vec::new();
    for _ in 0..count {
        let pid = fork(|| {
            let op = libc::FUTEX_WAIT_BITSET;
            i32::from(sys!(SYS_futex, addr, op, 0, 0, 0, mask).is_err())
        })?;
        await_state(pid, "S")?;
        pids.push(pid);
    }
    Ok(pids)
}

fn all_end(pids: &[i32]) -> Outcome {
    pids.iter().try_for_each(|&pid| equal(wait(pid)?, 0))
}

fn futex_wake_counts_the_woken() -> Outcome {
    let addr = map_shared(PAGE)?;
    equal(sys!(SYS_futex, addr, WAKE, 10, 0, 0, 0)?, 0)?;
    let pids = waiters(addr, 3, u32::MAX)?;
    equal(sys!(SYS_futex, addr, WAKE, 2, 0, 0, 0)?, 2)?;
    equal(sys!(SYS_futex, addr, WAKE, 10, 0, 0, 0)?, 1)?;
    all_end(&pids)
}

fn futex_bitset_chooses() -> Outcome {
    let addr = map_shared(PAGE)?;
    let one = waiters(addr, 1, 1)?;
    let two = waiters(addr, 1, 2)?;
    let wake = |mask: u32| sys!(SYS_futex, addr, libc::FUTEX_WAKE_BITSET, 10, 0, 0, mask);
    equal(wake(4)?, 0)?;
    equal(wake(2)?, 1)?;
    all_end(&two)?;
    equal(wake(1)?, 1)?;
    all_end(&one)?;
    fails(wake(0), libc::EINVAL)
}

fn futex_requeue_moves_waiters() -> Outcome {
    let addr = map_shared(PAGE)?;
    let pids = waiters(addr, 3, u32::MAX)?;
    let requeue = |expected: u32| {
        sys!(
            SYS_futex,
            addr,
            libc::FUTEX_CMP_REQUEUE,
            1,
            10,
            addr + 64,
            expected
        )
    };
    fails(requeue(7), libc::EAGAIN)?;
    equal(requeue(0)?, 3)?;
    equal(sys!(SYS_futex, addr, WAKE, 10, 0, 0, 0)?, 0)?;
    equal(sys!(SYS_futex, addr + 64, WAKE, 10, 0, 0, 0)?, 2)?;
    all_end(&pids)
}

fn futex_across_processes() -> Outcome {
    let fd = file_with(c"f", &[0; PAGE])?;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let one = sys!(SYS_mmap, 0, PAGE, prot, libc::MAP_SHARED, fd, 0)?;
    let two = sys!(SYS_mmap, 0, PAGE, prot, libc::MAP_SHARED, fd, 0)?;
    let pids = waiters(one, 1, u32::MAX)?;
    equal(sys!(SYS_futex, two, WAKE, 1, 0, 0, 0)?, 1)?;
    all_end(&pids)
}

fn futex_refuses_bad_arguments() -> Outcome {
    let addr = map(PAGE)?;
    fails(sys!(SYS_futex, addr + 1, WAIT, 0, 0, 0, 0), libc::EINVAL)?;
    fails(sys!(SYS_futex, 8, WAIT, 0, 0, 0, 0), libc::EFAULT)?;
    fails(sys!(SYS_futex, addr, 99, 0, 0, 0, 0), libc::ENOSYS)?;
    fails(
        sys!(SYS_futex, addr, libc::FUTEX_WAIT_BITSET, 0, 0, 0, 0),
        libc::EINVAL,
    )
}

fn robust_list_marks_the_owner_dead() -> Outcome {
    let addr = map_shared(PAGE)?;
    let pid = fork(|| {
        // A head that leads to one entry, whose word lies eight bytes behind it.
        let put = |at: usize, value: usize| {
            value
                .to_le_bytes()
                .iter()
                .enumerate()
                .for_each(|(n, &byte)| poke(at + n, byte));
        };
        put(addr, addr + 64);
        put(addr + 8, 8);
        put(addr + 16, 0);
        put(addr + 64, addr);
        word(addr + 72).store(getpid() as u32, Ordering::SeqCst);
        i32::from(sys!(SYS_set_robust_list, addr, 24).is_err())
    })?;
    equal(wait(pid)?, 0)?;
    equal(
        word(addr + 72).load(Ordering::SeqCst) & 0x4000_0000,
        0x4000_0000,
    )?;
    fails(sys!(SYS_set_robust_list, addr, 23), libc::EINVAL)
}

extern "C" fn read_thread_pointer(argument: *mut libc::c_void) -> i32 {
    let value: usize;
    // SAFETY: the thread pointer leads to memory of the case.
    unsafe { std::arch::asm!("mov {}, fs:0", out(reg) value) };
    word(argument as usize).store(value as u32, Ordering::SeqCst);
    0
}

fn settls_sets_the_thread_pointer() -> Outcome {
    let addr = map(PAGE)?;
    word(addr + 256).store(0x1234, Ordering::SeqCst);
    word(addr + 128).store(1, Ordering::SeqCst);
    let flags = THREAD | libc::CLONE_SETTLS | libc::CLONE_CHILD_CLEARTID;
    clone_tls(
        flags,
        read_thread_pointer,
        addr,
        (0, addr + 128),
        addr + 256,
    )?;
    await_word(word(addr + 128), 0);
    equal(word(addr).load(Ordering::SeqCst), 0x1234)
}
