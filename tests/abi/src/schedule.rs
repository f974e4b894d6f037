//! Scheduling with effect: who runs before whom, what is counted, and what `/proc` tells of it.

use std::sync::atomic::Ordering;

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    schedule_fifo_yields_to_its_equals_only,
    schedule_round_robin_shares_with_its_equals,
    schedule_higher_fifo_preempts,
    schedule_realtime_leaves_the_others_a_share,
    schedule_realtime_takes_every_cpu,
    schedule_idle_gets_little_beside_others,
    schedule_nice_shares_by_weight,
    schedule_lowered_task_is_preempted_at_once,
    schedule_rtprio_limit_bounds_users,
    schedule_rttime_limit_signals_and_kills,
    schedule_rttime_counts_from_the_last_sleep,
    setattr_keeps_what_it_is_told_to_keep,
    setattr_takes_flags_of_deadline_tasks,
    setattr_refuses_half_a_clamp,
    setattr_of_deadline_refuses_nonsense,
    setattr_tells_the_size_it_knows,
    getattr_of_a_longer_structure,
    usage_never_falls,
    usage_of_process_and_threads_agree,
    cpu_clock_of_another_thread,
    schedstat_counts_runs_and_waiting,
    schedstat_of_all_cpus,
    sched_file_tells_policy_and_switches,
    timers_file_lists_timers,
    timerslack_file_is_read_and_written,
    timerslack_of_another_needs_a_capability,
];

const OTHER: i32 = libc::SCHED_OTHER;
const FIFO: i32 = libc::SCHED_FIFO;
const RR: i32 = libc::SCHED_RR;
const IDLE: i32 = libc::SCHED_IDLE;

pub fn set_policy(pid: i32, policy: i32, priority: i32) -> Sys {
    sys!(SYS_sched_setscheduler, pid, policy, &priority)
}

/// All of the case's processes share one CPU from here on.
pub fn on_one_cpu() -> Sys {
    let mut mask = [0_u64; 16];
    sys!(SYS_sched_getaffinity, 0, 128, mask.as_mut_ptr())?;
    let one = mask[0] & mask[0].wrapping_neg();
    sys!(SYS_sched_setaffinity, 0, 8, &one)
}

pub fn cpu_ns(clock: i32) -> Sys<i64> {
    let mut time = zeroed::<libc::timespec>();
    sys!(SYS_clock_gettime, clock, &mut time)?;
    Ok(time.tv_sec * 1_000_000_000 + time.tv_nsec)
}

/// The CPU clock of a process, or of a thread.
pub fn clock_of(pid: i32, is_thread: bool) -> i32 {
    (!pid << 3) | 2 | i32::from(is_thread) << 2
}

/// A child that spins, with a policy.
pub fn spinner(policy: i32, priority: i32) -> Outcome<i32> {
    let pid = fork(|| {
        loop {
            std::hint::spin_loop();
        }
    })?;
    set_policy(pid, policy, priority)?;
    Ok(pid)
}

pub fn end(pid: i32) -> Outcome {
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    equal(wait(pid)?, libc::SIGKILL)
}

/// The one that has the CPU may keep the other from ending: both are killed before either is waited for.
fn end_both(one: i32, other: i32) -> Outcome {
    for pid in [one, other] {
        sys!(SYS_kill, pid, libc::SIGKILL)?;
    }
    end(one)?;
    end(other)
}

pub fn sleep_ms(ms: i64) -> Sys {
    let time = libc::timespec {
        tv_sec: ms / 1000,
        tv_nsec: ms % 1000 * 1_000_000,
    };
    sys!(SYS_nanosleep, &time, 0)
}

/// What two spinning children on one CPU get while this one, which comes first, sleeps.
fn shares(one: (i32, i32), other: (i32, i32), ms: i64) -> Outcome<(i64, i64)> {
    on_one_cpu()?;
    set_policy(0, FIFO, 50)?;
    let (a, b) = (spinner(one.0, one.1)?, spinner(other.0, other.1)?);
    let clocks = |pid| cpu_ns(clock_of(pid, false));
    let before = (clocks(a)?, clocks(b)?);
    sleep_ms(ms)?;
    let got = (clocks(a)? - before.0, clocks(b)? - before.1);
    end_both(a, b)?;
    Ok(got)
}

fn schedule_fifo_yields_to_its_equals_only() -> Outcome {
    let (first, second) = shares((FIFO, 10), (FIFO, 10), 150)?;
    check(
        first > 0 && second == 0 || first == 0 && second > 0,
        "both had the CPU",
    )
}

fn schedule_round_robin_shares_with_its_equals() -> Outcome {
    let (first, second) = shares((RR, 10), (RR, 10), 500)?;
    check(first > 0 && second > 0, "one of them never had the CPU")
}

fn schedule_higher_fifo_preempts() -> Outcome {
    let (low, high) = shares((FIFO, 10), (FIFO, 11), 150)?;
    // The lower one may have run until the other came.
    check(high > 100_000_000 && low < high / 4, "the lower one ran on")
}

/// One that never sleeps does not take the machine with it: a twentieth is left to the others.
fn schedule_realtime_leaves_the_others_a_share() -> Outcome {
    let (realtime, other) = shares((FIFO, 10), (OTHER, 0), 3000)?;
    check(
        other > 0 && realtime > 4 * other,
        &format!("{realtime} and {other}"),
    )
}

/// As many real-time tasks as CPUs: each has one, wherever the others were.
fn schedule_realtime_takes_every_cpu() -> Outcome {
    let mut mask = [0_u64; 16];
    sys!(SYS_sched_getaffinity, 0, 128, mask.as_mut_ptr())?;
    let cpus: u32 = mask.iter().map(|word| word.count_ones()).sum();
    set_policy(0, FIFO, 50)?;
    let mut others = Vec::new();
    let mut realtime = Vec::new();
    for _ in 0..cpus {
        others.push(spinner(OTHER, 0)?);
    }
    let first = mask[0] & mask[0].wrapping_neg();
    for _ in 0..cpus {
        // All begin on one CPU, and may then go elsewhere.
        let pid = spinner(FIFO, 10)?;
        sys!(SYS_sched_setaffinity, pid, 8, &first)?;
        sleep_ms(1)?;
        sys!(SYS_sched_setaffinity, pid, 128, &mask)?;
        realtime.push(pid);
    }
    let clocks = || -> Sys<Vec<i64>> {
        let clocks = realtime.iter().map(|pid| cpu_ns(clock_of(*pid, false)));
        clocks.collect()
    };
    let before = clocks()?;
    sleep_ms(800)?;
    let used: Vec<_> = clocks()?.iter().zip(before).map(|(a, b)| a - b).collect();
    for pid in realtime.iter().chain(&others) {
        sys!(SYS_kill, *pid, libc::SIGKILL)?;
    }
    for pid in realtime.iter().chain(&others) {
        end(*pid)?;
    }
    let least = used.iter().min().copied().unwrap_or(0);
    check(least > 300_000_000, &format!("{used:?}"))
}

fn schedule_idle_gets_little_beside_others() -> Outcome {
    let (idle, other) = shares((IDLE, 0), (OTHER, 0), 400)?;
    check(idle < other / 10, &format!("{idle} and {other}"))
}

fn schedule_nice_shares_by_weight() -> Outcome {
    on_one_cpu()?;
    set_policy(0, FIFO, 50)?;
    let (a, b) = (spinner(OTHER, 0)?, spinner(OTHER, 0)?);
    sys!(SYS_setpriority, libc::PRIO_PROCESS as i32, b, 10)?;
    let clocks = |pid| cpu_ns(clock_of(pid, false));
    let before = (clocks(a)?, clocks(b)?);
    sleep_ms(600)?;
    let (normal, nice) = (clocks(a)? - before.0, clocks(b)? - before.1);
    end_both(a, b)?;
    // Weights of 1024 and 110: about nine to one.
    check(
        nice > 0 && normal > 4 * nice,
        &format!("{normal} and {nice}"),
    )
}

fn schedule_lowered_task_is_preempted_at_once() -> Outcome {
    on_one_cpu()?;
    set_policy(0, FIFO, 20)?;
    let flag = word(map_shared(PAGE)?);
    let pid = fork(|| {
        flag.store(1, Ordering::SeqCst);
        0
    })?;
    set_policy(pid, FIFO, 10)?;
    let before = flag.load(Ordering::SeqCst);
    set_policy(0, FIFO, 5)?;
    let after = flag.load(Ordering::SeqCst);
    equal((before, after), (0, 1))?;
    equal(wait(pid)?, 0)
}

fn schedule_rtprio_limit_bounds_users() -> Outcome {
    let limit = libc::rlimit {
        rlim_cur: 10,
        rlim_max: 10,
    };
    sys!(SYS_setrlimit, libc::RLIMIT_RTPRIO as i32, &limit)?;
    become_user()?;
    set_policy(0, FIFO, 10)?;
    fails(set_policy(0, FIFO, 11), libc::EPERM)?;
    set_policy(0, RR, 3)?;
    set_policy(0, OTHER, 0)?;
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    sys!(SYS_setrlimit, libc::RLIMIT_RTPRIO as i32, &none)?;
    fails(set_policy(0, FIFO, 1), libc::EPERM)
}

fn limit_rttime(soft: u64, hard: u64) -> Sys {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    sys!(SYS_setrlimit, libc::RLIMIT_RTTIME as i32, &limit)
}

fn schedule_rttime_limit_signals_and_kills() -> Outcome {
    let pid = fork(|| {
        let _ = limit_rttime(100_000, 300_000);
        let _ = catch(libc::SIGXCPU, 0);
        let _ = set_policy(0, FIFO, 2);
        while hits(libc::SIGXCPU) == 0 {}
        loop {
            std::hint::spin_loop();
        }
    })?;
    // Killed at the hard limit; without the catching at the soft one.
    equal(wait(pid)?, libc::SIGKILL)?;
    let pid = fork(|| {
        let _ = limit_rttime(50_000, u64::MAX);
        let _ = set_policy(0, FIFO, 2);
        loop {
            std::hint::spin_loop();
        }
    })?;
    equal(wait(pid)? & !0x80, libc::SIGXCPU)
}

fn schedule_rttime_counts_from_the_last_sleep() -> Outcome {
    within(|| {
        limit_rttime(150_000, 1_000_000)?;
        set_policy(0, FIFO, 2)?;
        // More than the limit in all, but never so much at once.
        for _ in 0..6 {
            let end = cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID)? + 40_000_000;
            while cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID)? < end {}
            sleep_ms(1)?;
        }
        Ok(())
    })
}

/// `struct sched_attr` with the clamps.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Attr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
    pub clamp_min: u32,
    pub clamp_max: u32,
}

pub fn set_attr(attr: &Attr) -> Sys {
    sys!(SYS_sched_setattr, 0, attr, 0)
}

pub fn get_attr(size: u32) -> Sys<Attr> {
    let mut attr = Attr::default();
    sys!(SYS_sched_getattr, 0, &mut attr, size, 0)?;
    Ok(std::hint::black_box(attr))
}

/// All zeroes, in the first version of the structure.
pub const V0: Attr = Attr {
    size: 48,
    policy: 0,
    flags: 0,
    nice: 0,
    priority: 0,
    runtime: 0,
    deadline: 0,
    period: 0,
    clamp_min: 0,
    clamp_max: 0,
};

fn setattr_keeps_what_it_is_told_to_keep() -> Outcome {
    const KEEP_POLICY: u64 = 8;
    const KEEP_PARAMS: u64 = 16;
    const RESET: u64 = 1;
    set_policy(0, RR, 12)?;
    set_attr(&Attr {
        policy: 77,
        priority: 13,
        flags: KEEP_POLICY,
        ..V0
    })?;
    let now = get_attr(48)?;
    equal((now.policy, now.priority), (RR as u32, 13))?;
    set_attr(&Attr {
        policy: FIFO as u32,
        priority: 99,
        flags: KEEP_PARAMS,
        ..V0
    })?;
    let now = get_attr(48)?;
    // The policy counts among what is kept, but is looked at.
    equal((now.policy, now.priority), (RR as u32, 13))?;
    fails(
        set_attr(&Attr {
            policy: 77,
            flags: KEEP_PARAMS,
            ..V0
        }),
        libc::EINVAL,
    )?;
    // The reset on fork belongs to the policy.
    set_attr(&Attr {
        flags: KEEP_POLICY | KEEP_PARAMS | RESET,
        ..V0
    })?;
    equal(get_attr(48)?.flags, 0)?;
    set_attr(&Attr {
        policy: RR as u32,
        flags: KEEP_PARAMS | RESET,
        ..V0
    })?;
    let now = get_attr(48)?;
    equal(
        (now.policy, now.priority, now.flags),
        (RR as u32, 13, RESET),
    )
}

fn setattr_takes_flags_of_deadline_tasks() -> Outcome {
    // Reclaiming and overrun signals: they mean nothing to others.
    for flags in [2, 4, 6] {
        set_attr(&Attr {
            flags,
            nice: 3,
            ..V0
        })?;
        equal(get_attr(48)?.nice, 3)?;
    }
    Ok(())
}

fn setattr_refuses_half_a_clamp() -> Outcome {
    // The first version of the structure has no room for clamps.
    for flags in [32, 64] {
        fails(set_attr(&Attr { flags, ..V0 }), libc::EINVAL)?;
    }
    Ok(())
}

fn setattr_of_deadline_refuses_nonsense() -> Outcome {
    const DEADLINE: u32 = 6;
    // A budget of nothing; a deadline before the budget's end.
    fails(
        set_attr(&Attr {
            policy: DEADLINE,
            ..V0
        }),
        libc::EINVAL,
    )?;
    fails(
        set_attr(&Attr {
            policy: DEADLINE,
            runtime: 20_000_000,
            deadline: 10_000_000,
            period: 30_000_000,
            ..V0
        }),
        libc::EINVAL,
    )?;
    fails(set_policy(0, DEADLINE as i32, 0), libc::EINVAL)
}

fn setattr_tells_the_size_it_knows() -> Outcome {
    let mut long = [0_u64; 16];
    long[0] = 128;
    long[15] = 1;
    fails(sys!(SYS_sched_setattr, 0, &mut long, 0), libc::E2BIG)?;
    equal(std::hint::black_box(&long)[0] as u32, 56)?;
    // Zeroes beyond what is known are no harm.
    long[0] = 128;
    long[15] = 0;
    sys!(SYS_sched_setattr, 0, &mut long, 0)?;
    Ok(())
}

fn getattr_of_a_longer_structure() -> Outcome {
    let mut long = [u64::MAX; 16];
    sys!(SYS_sched_getattr, 0, &mut long, 128, 0)?;
    equal(std::hint::black_box(&long)[0] as u32, 56)
}

fn usage() -> Sys<(i64, i64)> {
    let mut usage = zeroed::<libc::rusage>();
    sys!(SYS_getrusage, libc::RUSAGE_SELF, &mut usage)?;
    let us = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    Ok((us(usage.ru_utime), us(usage.ru_stime)))
}

fn usage_never_falls() -> Outcome {
    let end = cpu_ns(libc::CLOCK_PROCESS_CPUTIME_ID)? + 300_000_000;
    let mut last = usage()?;
    let mut turn = 0_u32;
    while cpu_ns(libc::CLOCK_PROCESS_CPUTIME_ID)? < end {
        turn += 1;
        // Now in user space, now in the kernel.
        if turn % 64 < 32 {
            (0..20_000).for_each(|n| {
                std::hint::black_box(n);
            });
        }
        let now = usage()?;
        check(now.0 >= last.0 && now.1 >= last.1, "a time fell")?;
        last = now;
    }
    check(last.0 + last.1 >= 290_000, "time is missing")
}

fn usage_of_process_and_threads_agree() -> Outcome {
    let thread = std::thread::spawn(|| -> Sys {
        let end = cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID)? + 50_000_000;
        while cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID)? < end {}
        Ok(0)
    });
    thread.join().map_err(|_| failure("the thread panics"))??;
    let (user, system) = usage()?;
    let clock = cpu_ns(libc::CLOCK_PROCESS_CPUTIME_ID)? / 1000;
    check(user + system >= 50_000, "the thread's time is missing")?;
    check(user + system <= clock + 1, "more time than the clock says")
}

fn cpu_clock_of_another_thread() -> Outcome {
    let shared = map(PAGE)?;
    let thread = std::thread::spawn(move || {
        let end = cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or(0) + 30_000_000;
        while cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID).is_ok_and(|now| now < end) {}
        word(shared).store(sys!(SYS_gettid).unwrap_or(0) as u32, Ordering::SeqCst);
        while word(shared + 4).load(Ordering::SeqCst) == 0 {
            nap();
        }
    });
    while word(shared).load(Ordering::SeqCst) == 0 {
        nap();
    }
    let tid = word(shared).load(Ordering::SeqCst) as i32;
    check(cpu_ns(clock_of(tid, true))? >= 30_000_000, "too little")?;
    word(shared + 4).store(1, Ordering::SeqCst);
    thread.join().map_err(|_| failure("the thread panics"))?;
    // Not of a thread of another process.
    fails(cpu_ns(clock_of(1, true)), libc::EINVAL)
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

fn schedstat_counts_runs_and_waiting() -> Outcome {
    on_one_cpu()?;
    let rival = spinner(OTHER, 0)?;
    let read = || -> Outcome<Vec<u64>> { Ok(numbers(&text_of("/proc/self/schedstat")?)) };
    let before = read()?;
    equal(before.len(), 3)?;
    for _ in 0..20 {
        nap();
        let end = cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID)? + 3_000_000;
        while cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID)? < end {}
    }
    let after = read()?;
    end(rival)?;
    check(
        after[0] >= before[0] + 60_000_000,
        "the run time is missing",
    )?;
    check(after[1] > before[1], "it never waited")?;
    check(after[2] >= before[2] + 20, "runs are not counted")?;
    let thread = text_of(&format!("/proc/self/task/{}/schedstat", getpid()))?;
    equal(numbers(&thread).len(), 3)
}

fn schedstat_of_all_cpus() -> Outcome {
    let text = text_of("/proc/schedstat")?;
    check(text.starts_with("version "), "no version")?;
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("cpu"))
        .collect();
    check(!lines.is_empty(), "no CPU")?;
    for line in lines {
        let columns = numbers(line);
        equal(columns.len(), 9)?;
        check(columns[6] > 0 && columns[8] > 0, "a CPU that never ran")?;
    }
    Ok(())
}

fn sched_file_tells_policy_and_switches() -> Outcome {
    set_policy(0, libc::SCHED_BATCH, 0)?;
    let Ok(text) = std::fs::read_to_string("/proc/self/sched") else {
        return skip("the kernel has no such file");
    };
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit(':').next())
            .map(|value| value.trim().to_owned())
    };
    equal(value("policy"), Some("3".to_owned()))?;
    equal(value("prio"), Some("120".to_owned()))?;
    for name in [
        "se.sum_exec_runtime",
        "nr_switches",
        "nr_voluntary_switches",
    ] {
        check(value(name).is_some(), name)?;
    }
    check(
        text.lines()
            .next()
            .is_some_and(|line| line.contains("#threads: 1")),
        "no number of threads",
    )
}

fn timers_file_lists_timers() -> Outcome {
    equal(text_of("/proc/self/timers")?, "")?;
    let mut event = zeroed::<libc::sigevent>();
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = 42;
    event.sigev_value.sival_ptr = 0x1234_5678 as *mut libc::c_void;
    let mut id = 0_i32;
    sys!(SYS_timer_create, libc::CLOCK_MONOTONIC, &event, &mut id)?;
    // `struct sigevent`: value, signal, kind, thread.
    let mut to_thread = [0_i32; 16];
    (to_thread[2], to_thread[3], to_thread[4]) = (43, 4, getpid());
    sys!(SYS_timer_create, libc::CLOCK_BOOTTIME, &to_thread, &mut id)?;
    let pid = getpid();
    let wanted = format!(
        "ID: 1\nsignal: 43/0000000000000000\nnotify: signal/tid.{pid}\nClockID: 7\n\
         ID: 0\nsignal: 42/0000000012345678\nnotify: signal/pid.{pid}\nClockID: 1\n"
    );
    equal(text_of("/proc/self/timers")?, wanted)
}

fn timerslack_file_is_read_and_written() -> Outcome {
    const FILE: &str = "/proc/self/timerslack_ns";
    equal(text_of(FILE)?, "50000\n")?;
    std::fs::write(FILE, "1234567")?;
    equal(text_of(FILE)?, "1234567\n")?;
    equal(
        sys!(SYS_prctl, libc::PR_GET_TIMERSLACK, 0, 0, 0, 0)?,
        1_234_567,
    )?;
    std::fs::write(FILE, "0")?;
    equal(text_of(FILE)?, "50000\n")?;
    check(std::fs::write(FILE, "x").is_err(), "a word is taken")
}

fn timerslack_of_another_needs_a_capability() -> Outcome {
    let pid = fork(|| {
        loop {
            let _ = sys!(SYS_pause);
        }
    })?;
    let file = format!("/proc/{pid}/timerslack_ns");
    std::fs::write(&file, "77")?;
    equal(text_of(&file)?, "77\n")?;
    within(|| {
        become_user()?;
        let refused = std::fs::read_to_string(&file).map_err(|error| error.raw_os_error());
        equal(refused, Err(Some(libc::EPERM)))?;
        let refused = std::fs::write(&file, "5").map_err(|error| error.raw_os_error());
        equal(refused, Err(Some(libc::EPERM)))
    })?;
    end(pid)
}
