//! Scheduling: policies, priorities, affinity, and the clocks of CPU time.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    policy_starts_as_other,
    priority_ranges_are_linuxs,
    setscheduler_to_fifo_and_back,
    setscheduler_refuses_bad_arguments,
    setscheduler_of_a_user_is_eperm,
    setparam_changes_the_priority_alone,
    reset_on_fork_resets,
    policy_is_inherited_by_fork,
    batch_and_idle_are_policies,
    getattr_and_setattr_round_trip,
    setattr_sets_nice,
    setattr_refuses_unknown_flags_and_sizes,
    rr_interval_is_a_time,
    nice_is_read_and_set,
    nice_of_a_user_can_only_rise,
    nice_within_the_limit_can_fall,
    nice_of_a_group_and_a_user,
    getpriority_of_nobody_is_esrch,
    affinity_is_read_and_set,
    affinity_refuses_none_of_the_cpus,
    affinity_of_another_user_is_eperm,
    affinity_is_inherited_by_fork,
    getcpu_answers_an_allowed_cpu,
    yield_lets_others_run,
    realtime_runs_before_others,
    cpu_clocks_run_while_running,
    cpu_clock_of_a_process_is_found_by_number,
    rusage_counts_faults_and_time,
    rusage_of_children_counts_waited_ones,
    times_counts_in_ticks,
    wait4_answers_the_usage_of_one,
    rlimit_cpu_sends_xcpu_then_kill,
    membarrier_needs_registration,
    ioprio_is_kept_and_inherited,
    ioprio_follows_nice_until_it_is_set,
    ioprio_refuses_nonsense,
];

const OTHER: i32 = libc::SCHED_OTHER;
const FIFO: i32 = libc::SCHED_FIFO;
const RR: i32 = libc::SCHED_RR;
const BATCH: i32 = libc::SCHED_BATCH;
const IDLE: i32 = libc::SCHED_IDLE;
const RESET_ON_FORK: i32 = 0x4000_0000;

fn set_policy(pid: i32, policy: i32, priority: i32) -> Sys {
    sys!(SYS_sched_setscheduler, pid, policy, &priority)
}

fn policy(pid: i32) -> Sys<i32> {
    sys!(SYS_sched_getscheduler, pid).map(|policy| policy as i32)
}

fn priority(pid: i32) -> Sys<i32> {
    let mut value = -1;
    sys!(SYS_sched_getparam, pid, &mut value)?;
    Ok(value)
}

/// `struct sched_attr` of its first version.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
struct Attr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

const ATTR_SIZE: u32 = 48;

fn attr() -> Sys<Attr> {
    let mut attr = Attr::default();
    sys!(SYS_sched_getattr, 0, &mut attr, ATTR_SIZE, 0)?;
    Ok(attr)
}

fn policy_starts_as_other() -> Outcome {
    equal(policy(0)?, OTHER)?;
    equal(priority(0)?, 0)?;
    fails(policy(0x3fff_ffff), libc::ESRCH)?;
    fails(policy(-1), libc::EINVAL)
}

fn priority_ranges_are_linuxs() -> Outcome {
    let range = |policy: i32| -> Sys<(usize, usize)> {
        Ok((
            sys!(SYS_sched_get_priority_min, policy)?,
            sys!(SYS_sched_get_priority_max, policy)?,
        ))
    };
    equal(range(FIFO)?, (1, 99))?;
    equal(range(RR)?, (1, 99))?;
    equal(range(OTHER)?, (0, 0))?;
    equal(range(BATCH)?, (0, 0))?;
    equal(range(IDLE)?, (0, 0))?;
    fails(range(4), libc::EINVAL)?;
    fails(range(-1), libc::EINVAL)
}

fn setscheduler_to_fifo_and_back() -> Outcome {
    set_policy(0, FIFO, 50)?;
    equal((policy(0)?, priority(0)?), (FIFO, 50))?;
    set_policy(0, RR, 1)?;
    equal((policy(0)?, priority(0)?), (RR, 1))?;
    set_policy(0, OTHER, 0)?;
    equal((policy(0)?, priority(0)?), (OTHER, 0))
}

fn setscheduler_refuses_bad_arguments() -> Outcome {
    fails(set_policy(0, FIFO, 0), libc::EINVAL)?;
    fails(set_policy(0, FIFO, 100), libc::EINVAL)?;
    fails(set_policy(0, OTHER, 1), libc::EINVAL)?;
    fails(set_policy(0, 4, 0), libc::EINVAL)?;
    fails(set_policy(-1, OTHER, 0), libc::EINVAL)?;
    fails(set_policy(0x3fff_ffff, OTHER, 0), libc::ESRCH)?;
    fails(sys!(SYS_sched_setscheduler, 0, OTHER, 0), libc::EINVAL)?;
    fails(sys!(SYS_sched_setscheduler, 0, OTHER, 8), libc::EFAULT)
}

fn setscheduler_of_a_user_is_eperm() -> Outcome {
    become_user()?;
    fails(set_policy(0, FIFO, 1), libc::EPERM)?;
    set_policy(0, BATCH, 0)?;
    set_policy(0, OTHER, 0)?;
    set_policy(0, IDLE, 0)?;
    fails(set_policy(1, OTHER, 0), libc::EPERM)
}

fn setparam_changes_the_priority_alone() -> Outcome {
    set_policy(0, RR, 10)?;
    let value = 20;
    sys!(SYS_sched_setparam, 0, &value)?;
    equal((policy(0)?, priority(0)?), (RR, 20))?;
    let bad = 0;
    fails(sys!(SYS_sched_setparam, 0, &bad), libc::EINVAL)?;
    fails(sys!(SYS_sched_getparam, 0, 0), libc::EINVAL)
}

fn reset_on_fork_resets() -> Outcome {
    set_policy(0, FIFO | RESET_ON_FORK, 5)?;
    equal(policy(0)?, FIFO | RESET_ON_FORK)?;
    within(|| equal((policy(0)?, priority(0)?), (OTHER, 0)))?;
    set_policy(0, OTHER | RESET_ON_FORK, 0)?;
    sys!(SYS_setpriority, libc::PRIO_PROCESS as i32, 0, -5)?;
    within(|| {
        equal(policy(0)?, OTHER)?;
        equal(sys!(SYS_getpriority, libc::PRIO_PROCESS as i32, 0)?, 20)
    })
}

fn policy_is_inherited_by_fork() -> Outcome {
    set_policy(0, RR, 3)?;
    within(|| equal((policy(0)?, priority(0)?), (RR, 3)))
}

fn batch_and_idle_are_policies() -> Outcome {
    for kind in [BATCH, IDLE] {
        set_policy(0, kind, 0)?;
        equal((policy(0)?, priority(0)?), (kind, 0))?;
        sys!(SYS_sched_yield)?;
    }
    Ok(())
}

fn getattr_and_setattr_round_trip() -> Outcome {
    let now = attr()?;
    equal((now.policy, now.nice, now.priority), (OTHER as u32, 0, 0))?;
    let wanted = Attr {
        size: ATTR_SIZE,
        policy: FIFO as u32,
        priority: 7,
        ..Attr::default()
    };
    sys!(SYS_sched_setattr, 0, &wanted, 0)?;
    let now = attr()?;
    equal((now.policy, now.priority), (FIFO as u32, 7))?;
    equal((policy(0)?, priority(0)?), (FIFO, 7))
}

fn setattr_sets_nice() -> Outcome {
    let wanted = Attr {
        size: ATTR_SIZE,
        policy: BATCH as u32,
        nice: 12,
        ..Attr::default()
    };
    sys!(SYS_sched_setattr, 0, &wanted, 0)?;
    equal(policy(0)?, BATCH)?;
    equal(sys!(SYS_getpriority, libc::PRIO_PROCESS as i32, 0)?, 8)?;
    equal(attr()?.nice, 12)
}

fn setattr_refuses_unknown_flags_and_sizes() -> Outcome {
    let mut wanted = Attr {
        size: ATTR_SIZE,
        ..Attr::default()
    };
    fails(sys!(SYS_sched_setattr, 0, &wanted, 1), libc::EINVAL)?;
    wanted.flags = 1 << 40;
    fails(sys!(SYS_sched_setattr, 0, &wanted, 0), libc::EINVAL)?;
    wanted.flags = 0;
    wanted.size = 8;
    fails(sys!(SYS_sched_setattr, 0, &wanted, 0), libc::E2BIG)?;
    fails(sys!(SYS_sched_getattr, 0, &mut wanted, 8, 0), libc::EINVAL)?;
    fails(
        sys!(SYS_sched_getattr, 0, &mut wanted, ATTR_SIZE, 1),
        libc::EINVAL,
    )
}

fn rr_interval_is_a_time() -> Outcome {
    set_policy(0, RR, 1)?;
    let mut time = zeroed::<libc::timespec>();
    sys!(SYS_sched_rr_get_interval, 0, &mut time)?;
    check(
        time.tv_sec == 0 && time.tv_nsec > 0,
        "a round-robin task has no slice",
    )?;
    set_policy(0, FIFO, 1)?;
    sys!(SYS_sched_rr_get_interval, 0, &mut time)?;
    equal((time.tv_sec, time.tv_nsec), (0, 0))?;
    fails(sys!(SYS_sched_rr_get_interval, -1, &mut time), libc::EINVAL)
}

const PROCESS: i32 = libc::PRIO_PROCESS as i32;

fn nice_is_read_and_set() -> Outcome {
    // The call answers 20 less the nice value.
    equal(sys!(SYS_getpriority, PROCESS, 0)?, 20)?;
    sys!(SYS_setpriority, PROCESS, 0, 5)?;
    equal(sys!(SYS_getpriority, PROCESS, 0)?, 15)?;
    sys!(SYS_setpriority, PROCESS, 0, -100)?;
    equal(sys!(SYS_getpriority, PROCESS, 0)?, 40)?;
    sys!(SYS_setpriority, PROCESS, 0, 100)?;
    equal(sys!(SYS_getpriority, PROCESS, 0)?, 1)?;
    let stat = text_of("/proc/self/stat")?;
    let after = stat.rsplit(") ").next().unwrap_or_default();
    equal(after.split(' ').nth(16), Some("19"))
}

fn nice_of_a_user_can_only_rise() -> Outcome {
    become_user()?;
    sys!(SYS_setpriority, PROCESS, 0, 3)?;
    fails(sys!(SYS_setpriority, PROCESS, 0, 2), libc::EACCES)?;
    fails(sys!(SYS_setpriority, PROCESS, 1, 10), libc::EPERM)
}

fn nice_within_the_limit_can_fall() -> Outcome {
    let limit = libc::rlimit {
        rlim_cur: 25,
        rlim_max: 25,
    };
    sys!(SYS_setrlimit, libc::RLIMIT_NICE as i32, &limit)?;
    become_user()?;
    // 25 allows down to 20 - 25 = -5.
    sys!(SYS_setpriority, PROCESS, 0, -5)?;
    fails(sys!(SYS_setpriority, PROCESS, 0, -6), libc::EACCES)
}

fn nice_of_a_group_and_a_user() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let child = fork(|| {
        let _ = close(write_end);
        let _ = read_some(read_end);
        0
    })?;
    sys!(SYS_setpriority, libc::PRIO_PGRP as i32, 0, 4)?;
    equal(sys!(SYS_getpriority, PROCESS, child)?, 16)?;
    // The best of the group.
    sys!(SYS_setpriority, PROCESS, child, 1)?;
    equal(sys!(SYS_getpriority, libc::PRIO_PGRP as i32, 0)?, 19)?;
    fails(sys!(SYS_getpriority, 3, 0), libc::EINVAL)?;
    close(write_end)?;
    wait(child)?;
    Ok(())
}

fn getpriority_of_nobody_is_esrch() -> Outcome {
    fails(sys!(SYS_getpriority, PROCESS, 0x3fff_ffff), libc::ESRCH)?;
    fails(
        sys!(SYS_getpriority, libc::PRIO_PGRP as i32, 0x3fff_ffff),
        libc::ESRCH,
    )?;
    fails(
        sys!(SYS_getpriority, libc::PRIO_USER as i32, 54321),
        libc::ESRCH,
    )
}

fn affinity() -> Outcome<u64> {
    let mut mask = [0_u64; 16];
    let size = sys!(SYS_sched_getaffinity, 0, 128, mask.as_mut_ptr())?;
    check(size >= 8 && size % 8 == 0, "an odd size of a mask")?;
    Ok(mask[0])
}

fn affinity_is_read_and_set() -> Outcome {
    let all = affinity()?;
    check(all != 0, "no CPU is allowed")?;
    let one = all & all.wrapping_neg();
    sys!(SYS_sched_setaffinity, 0, 8, &one)?;
    equal(affinity()?, one)?;
    let mut cpu = 0_u32;
    sys!(SYS_getcpu, &mut cpu, 0, 0)?;
    equal(cpu, one.trailing_zeros())?;
    sys!(SYS_sched_setaffinity, 0, 8, &u64::MAX)?;
    equal(affinity()?, all)?;
    // A mask too short for the CPUs, or not of whole words.
    fails(sys!(SYS_sched_getaffinity, 0, 4, &mut cpu), libc::EINVAL)?;
    fails(sys!(SYS_sched_getaffinity, 0, 0, &mut cpu), libc::EINVAL)
}

fn affinity_refuses_none_of_the_cpus() -> Outcome {
    fails(sys!(SYS_sched_setaffinity, 0, 8, &0_u64), libc::EINVAL)?;
    fails(sys!(SYS_sched_setaffinity, 0, 8, 8), libc::EFAULT)?;
    fails(
        sys!(SYS_sched_setaffinity, 0x3fff_ffff, 8, &1_u64),
        libc::ESRCH,
    )
}

fn affinity_of_another_user_is_eperm() -> Outcome {
    become_user()?;
    fails(sys!(SYS_sched_setaffinity, 1, 8, &1_u64), libc::EPERM)?;
    let mut mask = [0_u64; 16];
    sys!(SYS_sched_getaffinity, 1, 128, mask.as_mut_ptr())?;
    Ok(())
}

fn affinity_is_inherited_by_fork() -> Outcome {
    let all = affinity()?;
    let last = 1 << (63 - all.leading_zeros());
    sys!(SYS_sched_setaffinity, 0, 8, &last)?;
    within(|| equal(affinity()?, last))
}

fn getcpu_answers_an_allowed_cpu() -> Outcome {
    let (mut cpu, mut node) = (u32::MAX, u32::MAX);
    sys!(SYS_getcpu, &mut cpu, &mut node, 0)?;
    check(affinity()? & (1 << cpu) != 0, "a CPU that is not allowed")?;
    equal(node, 0)?;
    sys!(SYS_getcpu, 0, 0, 0)?;
    fails(sys!(SYS_getcpu, 8, 0, 0), libc::EFAULT)
}

fn yield_lets_others_run() -> Outcome {
    let all = affinity()?;
    let one = all & all.wrapping_neg();
    sys!(SYS_sched_setaffinity, 0, 8, &one)?;
    let flag = word(map_shared(PAGE)?);
    let child = fork(|| {
        flag.store(1, std::sync::atomic::Ordering::SeqCst);
        0
    })?;
    while flag.load(std::sync::atomic::Ordering::SeqCst) == 0 {
        sys!(SYS_sched_yield)?;
    }
    equal(wait(child)?, 0)
}

/// On one CPU, a real-time task that never sleeps is not interrupted by an ordinary one.
fn realtime_runs_before_others() -> Outcome {
    use std::sync::atomic::Ordering::SeqCst;
    let all = affinity()?;
    let one = all & all.wrapping_neg();
    sys!(SYS_sched_setaffinity, 0, 8, &one)?;
    set_policy(0, FIFO, 10)?;
    let shared = map_shared(PAGE)?;
    let (ran, child_ready) = (word(shared), word(shared + 4));
    let child = fork(|| {
        if set_policy(0, OTHER, 0).is_err() {
            return 1;
        }
        child_ready.store(1, SeqCst);
        ran.store(1, SeqCst);
        0
    })?;
    // The child has run at our priority until it gave it up, at the latest while we sleep here.
    let mut spins = 0_u32;
    let seen = ran.load(SeqCst);
    while spins < 2_000_000 {
        spins += 1;
        if ran.load(SeqCst) != seen {
            return fail("an ordinary task runs while a real-time one does");
        }
    }
    equal(wait(child)?, 0)?;
    equal(ran.load(SeqCst), 1)
}

fn clock(id: i32) -> Sys<u64> {
    let mut time = zeroed::<libc::timespec>();
    sys!(SYS_clock_gettime, id, &mut time)?;
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

fn cpu_clocks_run_while_running() -> Outcome {
    for id in [
        libc::CLOCK_PROCESS_CPUTIME_ID,
        libc::CLOCK_THREAD_CPUTIME_ID,
    ] {
        let start = clock(id)?;
        while clock(id)? == start {}
        let mut resolution = zeroed::<libc::timespec>();
        sys!(SYS_clock_getres, id, &mut resolution)?;
        equal((resolution.tv_sec, resolution.tv_nsec), (0, 1))?;
        fails(sys!(SYS_clock_settime, id, &resolution), libc::EINVAL)?;
    }
    Ok(())
}

/// The clock of a process: its number inverted, and 2 for the time that the scheduler counts.
fn clock_of(pid: i32) -> i32 {
    (!pid << 3) | 2
}

fn cpu_clock_of_a_process_is_found_by_number() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let child = fork(|| {
        let _ = close(write_end);
        // Some clocks count in ticks.
        while clock(libc::CLOCK_PROCESS_CPUTIME_ID) == Ok(0) {}
        let _ = read_some(read_end);
        0
    })?;
    await_state(child, "S")?;
    // It may be on its way to sleep still.
    loop {
        let first = clock(clock_of(child))?;
        check(first > 0, "a process that ran has used no time")?;
        nap();
        if clock(clock_of(child))? == first {
            break;
        }
    }
    close(write_end)?;
    wait(child)?;
    fails(clock(clock_of(child)), libc::EINVAL)
}

fn usage(who: i32) -> Sys<libc::rusage> {
    let mut usage = zeroed::<libc::rusage>();
    sys!(SYS_getrusage, who, &mut usage)?;
    Ok(usage)
}

fn micros(time: libc::timeval) -> i64 {
    time.tv_sec * 1_000_000 + time.tv_usec
}

fn rusage_counts_faults_and_time() -> Outcome {
    let before = usage(libc::RUSAGE_SELF)?;
    // How many pages come with one fault is the kernel's choice.
    let area = map(64 * PAGE)?;
    for page in 0..64 {
        poke(area + page * PAGE, 1);
    }
    let after = usage(libc::RUSAGE_SELF)?;
    check(after.ru_minflt > before.ru_minflt, "faults are not counted")?;
    check(after.ru_maxrss > 0, "no memory was ever resident")?;
    let start = micros(after.ru_utime) + micros(after.ru_stime);
    loop {
        let now = usage(libc::RUSAGE_SELF)?;
        if micros(now.ru_utime) + micros(now.ru_stime) > start {
            break;
        }
    }
    usage(libc::RUSAGE_THREAD)?;
    fails(usage(5), libc::EINVAL)
}

fn rusage_of_children_counts_waited_ones() -> Outcome {
    equal(usage(libc::RUSAGE_CHILDREN)?.ru_minflt, 0)?;
    let child = fork(|| {
        while clock(libc::CLOCK_PROCESS_CPUTIME_ID).is_ok_and(|ns| ns < 20_000_000) {}
        0
    })?;
    await_state(child, "Z")?;
    equal(usage(libc::RUSAGE_CHILDREN)?.ru_minflt, 0)?;
    wait(child)?;
    let after = usage(libc::RUSAGE_CHILDREN)?;
    check(after.ru_minflt > 0, "faults of a child are not counted")?;
    check(
        micros(after.ru_utime) + micros(after.ru_stime) >= 19_000,
        "the time of a child is not counted",
    )
}

fn times_counts_in_ticks() -> Outcome {
    let mut now = zeroed::<libc::tms>();
    let first = sys!(SYS_times, &mut now)?;
    while sys!(SYS_times, 0)? == first {}
    let child = fork(|| {
        while clock(libc::CLOCK_PROCESS_CPUTIME_ID).is_ok_and(|ns| ns < 50_000_000) {}
        0
    })?;
    wait(child)?;
    sys!(SYS_times, &mut now)?;
    check(
        now.tms_cutime + now.tms_cstime >= 3,
        "the ticks of a child are not counted",
    )
}

fn wait4_answers_the_usage_of_one() -> Outcome {
    let child = fork(|| {
        while clock(libc::CLOCK_PROCESS_CPUTIME_ID).is_ok_and(|ns| ns < 20_000_000) {}
        3
    })?;
    let (mut status, mut usage) = (0, zeroed::<libc::rusage>());
    sys!(SYS_wait4, child, &mut status, 0, &mut usage)?;
    equal(libc::WEXITSTATUS(status), 3)?;
    check(usage.ru_minflt > 0, "no faults")?;
    check(
        micros(usage.ru_utime) + micros(usage.ru_stime) >= 19_000,
        "no time",
    )
}

fn rlimit_cpu_sends_xcpu_then_kill() -> Outcome {
    let child = fork(|| {
        let limit = libc::rlimit {
            rlim_cur: 1,
            rlim_max: 2,
        };
        let _ = sys!(SYS_setrlimit, libc::RLIMIT_CPU as i32, &limit);
        let _ = catch(libc::SIGXCPU, 0);
        while hits(libc::SIGXCPU) == 0 {}
        // The hard limit kills.
        loop {
            std::hint::spin_loop();
        }
    })?;
    equal(wait(child)?, libc::SIGKILL)
}

fn membarrier_needs_registration() -> Outcome {
    // membarrier's query names at least the commands that need no registration.
    let query = sys!(SYS_membarrier, 0, 0, 0)?;
    check(query & 1 != 0, "no global barrier")?;
    sys!(SYS_membarrier, 1, 0, 0)?;
    fails(sys!(SYS_membarrier, 8, 0, 0), libc::EPERM)?;
    sys!(SYS_membarrier, 16, 0, 0)?;
    sys!(SYS_membarrier, 8, 0, 0)?;
    fails(sys!(SYS_membarrier, 1 << 20, 0, 0), libc::EINVAL)?;
    fails(sys!(SYS_membarrier, 1, 1, 0), libc::EINVAL)
}

const IO_RT: i32 = 1 << 13;
const IO_BE: i32 = 2 << 13;
const IO_IDLE: i32 = 3 << 13;
const WHO_PROCESS: i32 = 1;

fn ioprio() -> Sys<i32> {
    sys!(SYS_ioprio_get, WHO_PROCESS, 0).map(|ioprio| ioprio as i32)
}

fn ioprio_is_kept_and_inherited() -> Outcome {
    for wanted in [IO_BE | 3, IO_RT | 7, IO_IDLE] {
        sys!(SYS_ioprio_set, WHO_PROCESS, 0, wanted)?;
        equal(ioprio()?, wanted)?;
        within(|| equal(ioprio()?, wanted))?;
    }
    // The best of a group.
    sys!(SYS_ioprio_set, WHO_PROCESS, 0, IO_BE | 5)?;
    equal(sys!(SYS_ioprio_get, 2, 0)?, (IO_BE | 5) as usize)
}

fn ioprio_follows_nice_until_it_is_set() -> Outcome {
    // One thread is asked for what was set, a group for what holds.
    let group = || sys!(SYS_ioprio_get, 2, 0).map(|ioprio| ioprio as i32);
    equal((ioprio()?, group()?), (0, IO_BE | 4))?;
    sys!(SYS_setpriority, PROCESS, 0, 19)?;
    equal((ioprio()?, group()?), (0, IO_BE | 7))?;
    sys!(SYS_setpriority, PROCESS, 0, -20)?;
    equal((ioprio()?, group()?), (0, IO_BE))
}

fn ioprio_refuses_nonsense() -> Outcome {
    let set = |ioprio: i32| sys!(SYS_ioprio_set, WHO_PROCESS, 0, ioprio);
    fails(set(IO_BE | 8), libc::EINVAL)?;
    fails(set(1), libc::EINVAL)?;
    fails(set(4 << 13), libc::EINVAL)?;
    fails(sys!(SYS_ioprio_set, 0, 0, IO_BE), libc::EINVAL)?;
    fails(sys!(SYS_ioprio_set, 4, 0, IO_BE), libc::EINVAL)?;
    fails(sys!(SYS_ioprio_get, WHO_PROCESS, 0x3fff_ffff), libc::ESRCH)?;
    become_user()?;
    fails(set(IO_RT), libc::EPERM)?;
    fails(sys!(SYS_ioprio_set, WHO_PROCESS, 1, IO_BE), libc::EPERM)?;
    set(IO_BE | 7)?;
    set(IO_BE | 1)?;
    Ok(())
}
