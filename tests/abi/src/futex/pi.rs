//! Locks with priority inheritance. The priority a task runs by shows in field 18 of `/proc/PID/stat`: 20 for an ordinary
//! task, and -1 less the real-time priority for one of these.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    pi_lock_of_a_free_word_writes_the_number,
    pi_lock_of_ones_own_is_edeadlk,
    pi_trylock_of_a_held_word_is_eagain_and_marks_it,
    pi_trylock_of_a_free_word_takes_it,
    pi_unlock_of_anothers_is_eperm,
    pi_lock_of_a_missing_owner_is_esrch,
    pi_refuses_bad_addresses,
    pi_waiter_has_it_after_the_unlock,
    pi_private_words_work_between_threads,
    pi_owner_inherits_and_gives_back,
    pi_inheritance_follows_a_chain,
    pi_owner_of_two_inherits_the_better,
    pi_waiter_changes_its_priority,
    pi_best_waiter_comes_first,
    pi_waiter_that_dies_is_no_longer_inherited_from,
    pi_circle_is_edeadlk,
    pi_lock_times_out,
    pi_lock2_takes_both_clocks,
    pi_only_some_calls_take_the_clock,
    pi_lock_goes_on_after_a_signal,
    pi_waiter_can_be_killed,
    pi_owners_death_gives_it_on,
    pi_owners_exec_gives_it_on,
    pi_robust_owners_death_marks_the_word,
    pi_robust_owners_death_gives_it_on,
    pi_waiters_are_not_woken,
    pi_lock_with_plain_waiters_is_einval,
    pi_word_that_lies_is_einval,
    pi_many_contenders_lose_nothing,
];

pub const LOCK: i32 = libc::FUTEX_LOCK_PI;
pub const UNLOCK: i32 = libc::FUTEX_UNLOCK_PI;
const TRYLOCK: i32 = libc::FUTEX_TRYLOCK_PI;
const LOCK2: i32 = 13;

/// The priority that a task runs by, as `/proc` shows it.
fn priority_of(pid: i32) -> Outcome<i32> {
    let stat = text_of(&format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit(") ").next().unwrap_or_default();
    let field = after.split(' ').nth(15).and_then(|text| text.parse().ok());
    some(field, "no priority in stat")
}

/// Waits until a task runs by this priority.
pub fn await_priority(pid: i32, wanted: i32) -> Outcome {
    while priority_of(pid)? != wanted {
        nap();
    }
    Ok(())
}

pub fn become_fifo(pid: i32, priority: i32) -> Sys {
    sys!(SYS_sched_setscheduler, pid, libc::SCHED_FIFO, &priority)
}

fn me() -> u32 {
    getpid() as u32
}

/// A child that locks, perhaps as a real-time task, unlocks and ends.
fn locker(addr: usize, priority: i32) -> Outcome<i32> {
    sleeper(|| {
        if priority > 0 && become_fifo(0, priority).is_err() {
            return 201;
        }
        let locked = futex(addr, LOCK, 0);
        if locked.is_ok() && load(addr) & !WAITERS != me() {
            return 202;
        }
        status_of(locked, Ok(0)) | status_of(futex(addr, UNLOCK, 0), Ok(0))
    })
}

fn pi_lock_of_a_free_word_writes_the_number() -> Outcome {
    let addr = map_shared(PAGE)?;
    equal(futex(addr, LOCK, 0)?, 0)?;
    equal(load(addr), me())?;
    equal(futex(addr, UNLOCK, 0)?, 0)?;
    equal(load(addr), 0)
}

fn pi_lock_of_ones_own_is_edeadlk() -> Outcome {
    let addr = map_shared(PAGE)?;
    store(addr, me());
    fails(futex(addr, LOCK, 0), libc::EDEADLK)?;
    fails(futex(addr, TRYLOCK, 0), libc::EDEADLK)?;
    equal(load(addr), me())
}

fn pi_trylock_of_a_held_word_is_eagain_and_marks_it() -> Outcome {
    let addr = map_shared(PAGE)?;
    store(addr, me());
    ends_well(fork(|| {
        status_of(futex(addr, TRYLOCK, 0), Err(Errno(libc::EAGAIN)))
    })?)?;
    equal(load(addr), me() | WAITERS)?;
    // Nobody waits: the word is free after.
    futex(addr, UNLOCK, 0)?;
    equal(load(addr), 0)
}

fn pi_trylock_of_a_free_word_takes_it() -> Outcome {
    let addr = map_shared(PAGE)?;
    equal(futex(addr, TRYLOCK, 0)?, 0)?;
    equal(load(addr), me())?;
    // A word that a dead owner left stays marked.
    store(addr, OWNER_DIED);
    equal(futex(addr, TRYLOCK, 0)?, 0)?;
    equal(load(addr), me() | OWNER_DIED)
}

fn pi_unlock_of_anothers_is_eperm() -> Outcome {
    let addr = map_shared(PAGE)?;
    fails(futex(addr, UNLOCK, 0), libc::EPERM)?;
    store(addr, me());
    ends_well(fork(|| {
        status_of(futex(addr, UNLOCK, 0), Err(Errno(libc::EPERM)))
    })?)
}

fn pi_lock_of_a_missing_owner_is_esrch() -> Outcome {
    let addr = map_shared(PAGE)?;
    let gone = fork(|| 0)?;
    wait(gone)?;
    store(addr, gone as u32);
    fails(futex(addr, LOCK, 0), libc::ESRCH)?;
    fails(futex(addr, TRYLOCK, 0), libc::ESRCH)
}

fn pi_refuses_bad_addresses() -> Outcome {
    let addr = map_shared(PAGE)?;
    for op in [LOCK, TRYLOCK, LOCK2] {
        fails(futex(addr + 2, op, 0), libc::EINVAL)?;
        fails(futex(8, op, 0), libc::EFAULT)?;
    }
    fails(futex(8, UNLOCK, 0), libc::EFAULT)?;
    let locked = map_with(
        PAGE,
        libc::PROT_READ,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    )?;
    fails(futex(locked, LOCK, 0), libc::EFAULT)
}

fn pi_waiter_has_it_after_the_unlock() -> Outcome {
    let addr = map_shared(PAGE)?;
    store(addr, me());
    let pid = sleeper(|| {
        let locked = futex(addr, LOCK, 0);
        // Marked although nobody else waits: who unlocks has to ask.
        if load(addr) != me() | WAITERS {
            return 202;
        }
        let status = status_of(locked, Ok(0)) | status_of(futex(addr, UNLOCK, 0), Ok(0));
        status | i32::from(load(addr) != 0)
    })?;
    equal(load(addr), me() | WAITERS)?;
    futex(addr, UNLOCK, 0)?;
    ends_well(pid)
}

fn pi_private_words_work_between_threads() -> Outcome {
    let addr = map(PAGE)?;
    futex(addr, LOCK | PRIVATE, 0)?;
    let other = std::thread::spawn(move || {
        let locked = futex(addr, LOCK | PRIVATE, 0);
        let mine = load(addr) & !WAITERS == sys!(SYS_gettid).unwrap_or(0) as u32;
        locked.is_ok() && mine && futex(addr, UNLOCK | PRIVATE, 0).is_ok()
    });
    while load(addr) & WAITERS == 0 {
        nap();
    }
    futex(addr, UNLOCK | PRIVATE, 0)?;
    check(other.join().unwrap_or(false), "the other thread fails")
}

fn pi_owner_inherits_and_gives_back() -> Outcome {
    let addr = map_shared(PAGE)?;
    futex(addr, LOCK, 0)?;
    equal(priority_of(getpid())?, 20)?;
    let pid = locker(addr, 10)?;
    await_priority(getpid(), -11)?;
    // What was set is not what is inherited.
    equal(sys!(SYS_sched_getscheduler, 0)?, libc::SCHED_OTHER as usize)?;
    futex(addr, UNLOCK, 0)?;
    equal(priority_of(getpid())?, 20)?;
    ends_well(pid)
}

fn pi_inheritance_follows_a_chain() -> Outcome {
    let (first, second) = (map_shared(PAGE)?, map_shared(PAGE)?);
    futex(first, LOCK, 0)?;
    let middle = sleeper(|| {
        let status = status_of(futex(second, LOCK, 0), Ok(0));
        let status = status | status_of(futex(first, LOCK, 0), Ok(0));
        let _ = futex(second, UNLOCK, 0);
        status | status_of(futex(first, UNLOCK, 0), Ok(0))
    })?;
    while load(first) & WAITERS == 0 {
        nap();
    }
    let last = locker(second, 20)?;
    await_priority(getpid(), -21)?;
    equal(priority_of(middle)?, -21)?;
    futex(first, UNLOCK, 0)?;
    equal(priority_of(getpid())?, 20)?;
    ends_well(middle)?;
    ends_well(last)
}

fn pi_owner_of_two_inherits_the_better() -> Outcome {
    let (one, other) = (map_shared(PAGE)?, map_shared(PAGE)?);
    futex(one, LOCK, 0)?;
    futex(other, LOCK, 0)?;
    let (low, high) = (locker(one, 5)?, locker(other, 7)?);
    await_priority(getpid(), -8)?;
    futex(other, UNLOCK, 0)?;
    equal(priority_of(getpid())?, -6)?;
    futex(one, UNLOCK, 0)?;
    equal(priority_of(getpid())?, 20)?;
    ends_well(low)?;
    ends_well(high)
}

fn pi_waiter_changes_its_priority() -> Outcome {
    let addr = map_shared(PAGE)?;
    futex(addr, LOCK, 0)?;
    let pid = locker(addr, 0)?;
    while load(addr) & WAITERS == 0 {
        nap();
    }
    become_fifo(pid, 30)?;
    equal(priority_of(getpid())?, -31)?;
    sys!(SYS_sched_setscheduler, pid, libc::SCHED_OTHER, &0_i32)?;
    equal(priority_of(getpid())?, 20)?;
    // A nice value is inherited only as it was when the wait began.
    sys!(SYS_setpriority, libc::PRIO_PROCESS as i32, pid, -5)?;
    equal(priority_of(getpid())?, 20)?;
    futex(addr, UNLOCK, 0)?;
    ends_well(pid)
}

fn pi_best_waiter_comes_first() -> Outcome {
    let addr = map_shared(PAGE)?;
    futex(addr, LOCK, 0)?;
    let order = addr + 64;
    let child = |priority: i32| {
        sleeper(move || {
            if priority > 0 && become_fifo(0, priority).is_err() {
                return 201;
            }
            let status = status_of(futex(addr, LOCK, 0), Ok(0));
            let place = word(order).fetch_add(1, Ordering::SeqCst);
            store(order + 4 + 4 * place as usize, priority as u32);
            status | status_of(futex(addr, UNLOCK, 0), Ok(0))
        })
    };
    let pids = [child(0)?, child(10)?, child(20)?, child(15)?];
    await_priority(getpid(), -21)?;
    for pid in pids {
        await_state(pid, "S")?;
    }
    futex(addr, UNLOCK, 0)?;
    for pid in pids {
        ends_well(pid)?;
    }
    let seen: Vec<u32> = (0..4).map(|place| load(order + 4 + 4 * place)).collect();
    equal(seen, vec![20, 15, 10, 0])
}

fn pi_waiter_that_dies_is_no_longer_inherited_from() -> Outcome {
    let addr = map_shared(PAGE)?;
    futex(addr, LOCK, 0)?;
    let pid = locker(addr, 10)?;
    await_priority(getpid(), -11)?;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    equal(wait(pid)?, libc::SIGKILL)?;
    equal(priority_of(getpid())?, 20)?;
    futex(addr, UNLOCK, 0)?;
    equal(load(addr), 0)
}

fn pi_circle_is_edeadlk() -> Outcome {
    let (mine, other) = (map_shared(PAGE)?, map_shared(PAGE)?);
    futex(mine, LOCK, 0)?;
    let pid = sleeper(|| {
        let status = status_of(futex(other, LOCK, 0), Ok(0));
        let status = status | status_of(futex(mine, LOCK, 0), Ok(0));
        status | status_of(futex(mine, UNLOCK, 0), Ok(0))
    })?;
    while load(mine) & WAITERS == 0 {
        nap();
    }
    fails(futex(other, LOCK, 0), libc::EDEADLK)?;
    futex(mine, UNLOCK, 0)?;
    ends_well(pid)
}

/// Runs `body` while a child holds the word.
fn while_held(addr: usize, body: impl FnOnce() -> Outcome) -> Outcome {
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let _ = close(write_end);
        let locked = futex(addr, LOCK, 0);
        let _ = read_some(read_end);
        status_of(locked, Ok(0)) | status_of(futex(addr, UNLOCK, 0), Ok(0))
    })?;
    while load(addr) == 0 {
        nap();
    }
    let outcome = body();
    close(write_end)?;
    equal(wait(pid)?, 0)?;
    outcome
}

fn pi_lock_times_out() -> Outcome {
    let addr = map_shared(PAGE)?;
    while_held(addr, || {
        let time = in_ms(libc::CLOCK_REALTIME, 5)?;
        fails(sys!(SYS_futex, addr, LOCK, 0, &time, 0, 0), libc::ETIMEDOUT)?;
        // The mark stays.
        check(load(addr) & WAITERS != 0, "the word is not marked")?;
        let past = in_ms(libc::CLOCK_REALTIME, -5)?;
        fails(sys!(SYS_futex, addr, LOCK, 0, &past, 0, 0), libc::ETIMEDOUT)?;
        let wrong = libc::timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000_000,
        };
        fails(sys!(SYS_futex, addr, LOCK, 0, &wrong, 0, 0), libc::EINVAL)?;
        fails(sys!(SYS_futex, addr, LOCK, 0, 8, 0, 0), libc::EFAULT)
    })
}

fn pi_lock2_takes_both_clocks() -> Outcome {
    let addr = map_shared(PAGE)?;
    while_held(addr, || {
        let time = in_ms(libc::CLOCK_MONOTONIC, 5)?;
        fails(
            sys!(SYS_futex, addr, LOCK2, 0, &time, 0, 0),
            libc::ETIMEDOUT,
        )?;
        let time = in_ms(libc::CLOCK_REALTIME, 5)?;
        fails(
            sys!(SYS_futex, addr, LOCK2 | REALTIME, 0, &time, 0, 0),
            libc::ETIMEDOUT,
        )
    })
}

fn pi_only_some_calls_take_the_clock() -> Outcome {
    let addr = map_shared(PAGE)?;
    for op in [LOCK, TRYLOCK, UNLOCK, libc::FUTEX_WAKE] {
        fails(futex(addr, op | REALTIME, 0), libc::ENOSYS)?;
    }
    equal(load(addr), 0)
}

fn pi_lock_goes_on_after_a_signal() -> Outcome {
    let addr = map_shared(PAGE)?;
    futex(addr, LOCK, 0)?;
    let pid = sleeper(|| {
        let _ = catch(libc::SIGUSR1, 0);
        let locked = futex(addr, LOCK, 0);
        if hits(libc::SIGUSR1) != 1 {
            return 203;
        }
        status_of(locked, Ok(0)) | status_of(futex(addr, UNLOCK, 0), Ok(0))
    })?;
    while load(addr) & WAITERS == 0 {
        nap();
    }
    await_state(pid, "S")?;
    sys!(SYS_kill, pid, libc::SIGUSR1)?;
    nap();
    await_state(pid, "S")?;
    futex(addr, UNLOCK, 0)?;
    ends_well(pid)
}

fn pi_waiter_can_be_killed() -> Outcome {
    let addr = map_shared(PAGE)?;
    futex(addr, LOCK, 0)?;
    let pid = locker(addr, 0)?;
    sys!(SYS_kill, pid, libc::SIGTERM)?;
    equal(wait(pid)?, libc::SIGTERM)?;
    futex(addr, UNLOCK, 0)?;
    equal(load(addr), 0)
}

/// A child that holds the word and ends, or executes a program, once this one waits.
fn owner(addr: usize, then: impl FnOnce() -> i32) -> Outcome<i32> {
    let pid = fork(|| {
        if futex(addr, LOCK, 0).is_err() {
            return 201;
        }
        while load(addr) & WAITERS == 0 {
            nap();
        }
        then()
    })?;
    while load(addr) == 0 {
        nap();
    }
    Ok(pid)
}

fn pi_owners_death_gives_it_on() -> Outcome {
    let addr = map_shared(PAGE)?;
    let pid = owner(addr, || 0)?;
    equal(futex(addr, LOCK, 0)?, 0)?;
    equal(load(addr), me() | WAITERS | OWNER_DIED)?;
    ends_well(pid)?;
    futex(addr, UNLOCK, 0)?;
    equal(load(addr), 0)
}

fn pi_owners_exec_gives_it_on() -> Outcome {
    let addr = map_shared(PAGE)?;
    let (read_end, write_end) = pipe()?;
    let pid = owner(addr, || {
        let _ = sys!(SYS_dup3, read_end, 0, 0);
        let _ = close(write_end);
        let argv = [c"cat".as_ptr(), std::ptr::null()];
        let _ = sys!(SYS_execve, c"/bin/cat", argv.as_ptr(), 0);
        204
    })?;
    // The program runs on while this has the lock.
    equal(futex(addr, LOCK, 0)?, 0)?;
    equal(load(addr), me() | WAITERS | OWNER_DIED)?;
    close(write_end)?;
    ends_well(pid)
}

/// Lays a robust list with one entry, whose word is at `addr` and follows the rules of these locks.
fn robust_list(list: usize, addr: usize) -> Sys {
    let put = |at: usize, value: usize| {
        store(at, value as u32);
        store(at + 4, (value >> 32) as u32);
    };
    let entry = list + 64;
    put(list, entry | 1);
    put(list + 8, addr.wrapping_sub(entry));
    put(list + 16, 0);
    put(entry, list);
    sys!(SYS_set_robust_list, list, 24)
}

fn pi_robust_owners_death_marks_the_word() -> Outcome {
    let addr = map_shared(PAGE)?;
    ends_well(fork(|| {
        i32::from(robust_list(addr + 256, addr).is_err() || futex(addr, LOCK, 0).is_err())
    })?)?;
    equal(load(addr), OWNER_DIED)?;
    futex(addr, LOCK, 0)?;
    equal(load(addr), me() | OWNER_DIED)
}

fn pi_robust_owners_death_gives_it_on() -> Outcome {
    let addr = map_shared(PAGE)?;
    let parent = getpid();
    let pid = fork(|| {
        if robust_list(addr + 256, addr).is_err() || futex(addr, LOCK, 0).is_err() {
            return 1;
        }
        while load(addr) & WAITERS == 0 {
            nap();
        }
        // The mark comes before the waiter waits, and may go again if the owner dies between.
        i32::from(await_state(parent, "S").is_err())
    })?;
    while load(addr) == 0 {
        nap();
    }
    equal(futex(addr, LOCK, 0)?, 0)?;
    equal(load(addr), me() | WAITERS | OWNER_DIED)?;
    ends_well(pid)
}

fn pi_waiters_are_not_woken() -> Outcome {
    let addr = map_shared(PAGE)?;
    futex(addr, LOCK, 0)?;
    let pid = locker(addr, 0)?;
    while load(addr) & WAITERS == 0 {
        nap();
    }
    await_state(pid, "S")?;
    fails(futex(addr, libc::FUTEX_WAKE, 1), libc::EINVAL)?;
    futex(addr, UNLOCK, 0)?;
    ends_well(pid)
}

fn pi_lock_with_plain_waiters_is_einval() -> Outcome {
    let addr = map_shared(PAGE)?;
    let pid = sleeper(|| status_of(futex(addr, libc::FUTEX_WAIT, 0), Ok(0)))?;
    fails(futex(addr, LOCK, 0), libc::EINVAL)?;
    equal(futex(addr, libc::FUTEX_WAKE, 1)?, 1)?;
    ends_well(pid)
}

fn pi_word_that_lies_is_einval() -> Outcome {
    let addr = map_shared(PAGE)?;
    futex(addr, LOCK, 0)?;
    let pid = locker(addr, 0)?;
    while load(addr) & WAITERS == 0 {
        nap();
    }
    await_state(pid, "S")?;
    store(addr, 1 | WAITERS);
    ends_well(fork(|| {
        status_of(futex(addr, LOCK, 0), Err(Errno(libc::EINVAL)))
    })?)?;
    store(addr, me() | WAITERS);
    futex(addr, UNLOCK, 0)?;
    ends_well(pid)
}

/// Takes the lock as a C library does: by the word alone where that will do.
fn lock_fast(addr: usize) -> Sys {
    let swap = word(addr).compare_exchange(0, me(), Ordering::SeqCst, Ordering::SeqCst);
    match swap {
        Ok(_) => Ok(0),
        Err(_) => futex(addr, LOCK, 0),
    }
}

fn unlock_fast(addr: usize) -> Sys {
    let swap = word(addr).compare_exchange(me(), 0, Ordering::SeqCst, Ordering::SeqCst);
    match swap {
        Ok(_) => Ok(0),
        Err(_) => futex(addr, UNLOCK, 0),
    }
}

fn pi_many_contenders_lose_nothing() -> Outcome {
    const EACH: u32 = 300;
    let addr = map_shared(PAGE)?;
    let counter = addr + 64;
    let mut pids = Vec::new();
    for _ in 0..4 {
        pids.push(fork(|| {
            for _ in 0..EACH {
                if lock_fast(addr).is_err() {
                    return 1;
                }
                let value = load(counter);
                if value.is_multiple_of(16) {
                    let _ = sys!(SYS_sched_yield);
                }
                store(counter, value + 1);
                if unlock_fast(addr).is_err() {
                    return 2;
                }
            }
            0
        })?);
    }
    for pid in pids {
        ends_well(pid)?;
    }
    equal(load(counter), 4 * EACH)?;
    equal(load(addr), 0)
}
