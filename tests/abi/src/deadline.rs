//! SCHED_DEADLINE: what may be reserved, and that a budget is given and kept.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use libc::{EAGAIN, EBUSY, EINVAL, EPERM};

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::probe::after_exec;
use crate::schedule::{
    Attr, V0, clock_of, cpu_ns, end, get_attr, on_one_cpu, set_attr, set_policy, sleep_ms, spinner,
};
use crate::sys::*;

pub const CASES: &[Case] = cases![
    deadline_is_set_and_read,
    deadline_without_a_period_has_its_deadlines,
    deadline_checks_its_times,
    deadline_of_a_user_is_eperm,
    deadline_may_be_given_up_by_a_user,
    deadline_needs_every_cpu,
    deadline_reservations_are_bounded,
    deadline_children_are_eagain,
    deadline_is_reset_on_fork,
    deadline_survives_exec,
    deadline_is_for_setattr_only,
    deadline_is_kept_as_told,
    deadline_ends_with_another_policy,
    deadline_shows_in_proc,
    deadline_runs_before_fifo,
    deadline_budget_is_kept,
    deadline_budgets_of_many_are_kept,
    deadline_yield_waits_for_the_next_period,
    deadline_sleeper_runs_on_time,
    deadline_overrun_sends_xcpu,
    deadline_overrun_is_not_told_unasked,
    deadline_lifts_whom_it_waits_for,
];

const DEADLINE: u32 = 6;
const RESET_ON_FORK: u64 = 1;
const DL_OVERRUN: u64 = 4;
const KEEP_POLICY: u64 = 8;
const KEEP_PARAMS: u64 = 16;
const MS: u64 = 1_000_000;

/// So many milliseconds of each so many.
fn reservation(runtime: u64, period: u64) -> Attr {
    Attr {
        policy: DEADLINE,
        runtime: runtime * MS,
        deadline: period * MS,
        period: period * MS,
        ..V0
    }
}

fn times(attr: &Attr) -> (u64, u64, u64) {
    (attr.runtime, attr.deadline, attr.period)
}

fn cpus() -> Sys<u32> {
    let mut mask = [0_u64; 16];
    sys!(SYS_sched_getaffinity, 0, 128, mask.as_mut_ptr())?;
    Ok(mask.iter().map(|word| word.count_ones()).sum())
}

/// Uses the CPU for so many milliseconds.
fn burn(ms: i64) -> Sys<()> {
    let until = cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID)? + ms * 1_000_000;
    while cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID)? < until {}
    Ok(())
}

/// A child that reserves this for itself and spins.
fn deadline_spinner(attr: Attr) -> Sys<i32> {
    let ready = word(map_shared(PAGE)?);
    let pid = fork(move || {
        if set_attr(&attr).is_err() {
            return 1;
        }
        ready.store(1, Ordering::SeqCst);
        loop {
            std::hint::spin_loop();
        }
    })?;
    await_word(ready, 1);
    Ok(pid)
}

fn deadline_is_set_and_read() -> Outcome {
    let wanted = Attr {
        runtime: 10 * MS,
        deadline: 30 * MS,
        period: 100 * MS,
        nice: 5,
        ..reservation(0, 0)
    };
    set_attr(&wanted)?;
    let got = get_attr(48)?;
    equal(
        (got.policy, got.priority, got.nice, got.flags),
        (6, 0, 0, 0),
    )?;
    equal(times(&got), times(&wanted))?;
    equal(sys!(SYS_sched_getscheduler, 0)?, 6)?;
    let mut priority = 7_i32;
    sys!(SYS_sched_getparam, 0, &mut priority)?;
    equal(std::hint::black_box(priority), 0)?;
    let mut interval = [7_i64; 2];
    sys!(SYS_sched_rr_get_interval, 0, &mut interval)?;
    equal(std::hint::black_box(interval), [0, 0])
}

fn deadline_without_a_period_has_its_deadlines() -> Outcome {
    set_attr(&Attr {
        period: 0,
        ..reservation(2, 20)
    })?;
    equal(times(&get_attr(48)?), (2 * MS, 20 * MS, 20 * MS))
}

fn deadline_checks_its_times() -> Outcome {
    let refused = |runtime, deadline, period| {
        let attr = Attr {
            runtime,
            deadline,
            period,
            ..reservation(0, 0)
        };
        fails(set_attr(&attr), EINVAL)
    };
    refused(0, 10 * MS, 10 * MS)?;
    refused(1023, 10 * MS, 10 * MS)?;
    refused(MS, 0, 10 * MS)?;
    refused(11 * MS, 10 * MS, 20 * MS)?;
    refused(MS, 20 * MS, 10 * MS)?;
    refused(1024, 99_999, 99_999)?;
    refused(MS, 10 * MS, 4_194_304_001_000)?;
    refused(MS, 1 << 63, 0)?;
    refused(MS, 10 * MS, 1 << 63)?;
    fails(
        set_attr(&Attr {
            priority: 1,
            ..reservation(1, 10)
        }),
        EINVAL,
    )?;
    set_attr(&Attr {
        runtime: 1024,
        deadline: 100_000,
        period: 100_000,
        ..reservation(0, 0)
    })?;
    Ok(())
}

fn deadline_of_a_user_is_eperm() -> Outcome {
    become_user()?;
    // What is nonsense is so for everybody.
    fails(set_attr(&reservation(0, 10)), EINVAL)?;
    fails(set_attr(&reservation(1, 10)), EPERM)
}

fn deadline_may_be_given_up_by_a_user() -> Outcome {
    set_attr(&reservation(5, 10))?;
    become_user()?;
    fails(set_attr(&reservation(4, 10)), EPERM)?;
    set_policy(0, libc::SCHED_OTHER, 0)?;
    fails(set_attr(&reservation(5, 10)), EPERM)
}

fn deadline_needs_every_cpu() -> Outcome {
    if cpus()? == 1 {
        return skip("there is one CPU");
    }
    set_attr(&reservation(1, 10))?;
    fails(on_one_cpu(), EBUSY)?;
    let all = [u64::MAX; 16];
    sys!(SYS_sched_setaffinity, 0, 128, &all)?;
    set_policy(0, libc::SCHED_OTHER, 0)?;
    on_one_cpu()?;
    fails(set_attr(&reservation(1, 10)), EPERM)
}

fn deadline_reservations_are_bounded() -> Outcome {
    let ready = word(map_shared(PAGE)?);
    let mut children = Vec::new();
    for number in 1..=cpus()? {
        children.push(fork(move || {
            let set = set_attr(&reservation(90, 100));
            ready.store(number, Ordering::SeqCst);
            let _ = set.is_ok() && sleep_ms(1_000_000).is_ok();
            1
        })?);
        await_word(ready, number);
    }
    // Each CPU has a twentieth that is not given away.
    fails(set_attr(&reservation(90, 100)), EBUSY)?;
    equal(get_attr(48)?.policy, 0)?;
    set_attr(&reservation(1, 100))?;
    fails(set_attr(&reservation(90, 100)), EBUSY)?;
    equal(times(&get_attr(48)?), (MS, 100 * MS, 100 * MS))?;
    for pid in children {
        end(pid)?;
    }
    // What the dead had comes back, at the end of a period at the latest.
    let limit = Instant::now() + Duration::from_secs(10);
    while set_attr(&reservation(90, 100)).is_err() {
        check(Instant::now() < limit, "it does not come back")?;
        sleep_ms(10)?;
    }
    Ok(())
}

fn deadline_children_are_eagain() -> Outcome {
    set_attr(&reservation(50, 100))?;
    fails(fork(|| 0), EAGAIN)?;
    let thread = std::thread::Builder::new().spawn(|| {});
    equal(
        thread.err().and_then(|error| error.raw_os_error()),
        Some(EAGAIN),
    )
}

fn deadline_is_reset_on_fork() -> Outcome {
    sys!(SYS_setpriority, 0, 0, -5)?;
    set_attr(&Attr {
        flags: RESET_ON_FORK,
        ..reservation(50, 100)
    })?;
    equal(get_attr(48)?.flags, RESET_ON_FORK)?;
    let pid = fork(|| {
        let attr = get_attr(48).unwrap_or(V0);
        let is_plain = (attr.policy, attr.nice, attr.flags, attr.runtime) == (0, 0, 0, 0);
        i32::from(!is_plain)
    })?;
    equal(wait(pid)?, 0)
}

fn deadline_survives_exec() -> Outcome {
    let values = after_exec(&["policy", "priority"], || {
        set_attr(&reservation(50, 100))?;
        Ok(())
    })?;
    equal(values, vec!["6".to_owned(), "0".to_owned()])
}

fn deadline_is_for_setattr_only() -> Outcome {
    fails(set_policy(0, DEADLINE as i32, 0), EINVAL)?;
    set_attr(&reservation(1, 10))?;
    fails(sys!(SYS_sched_setparam, 0, &0_i32), EINVAL)?;
    fails(set_policy(0, DEADLINE as i32, 0), EINVAL)
}

fn deadline_is_kept_as_told() -> Outcome {
    set_attr(&reservation(1, 10))?;
    set_attr(&Attr {
        policy: 0,
        flags: KEEP_POLICY,
        ..reservation(2, 20)
    })?;
    let now = get_attr(48)?;
    equal((now.policy, times(&now)), (6, (2 * MS, 20 * MS, 20 * MS)))?;
    set_attr(&Attr {
        flags: KEEP_PARAMS | RESET_ON_FORK,
        ..reservation(3, 30)
    })?;
    let now = get_attr(48)?;
    equal(
        (now.flags, times(&now)),
        (RESET_ON_FORK, (2 * MS, 20 * MS, 20 * MS)),
    )
}

fn deadline_ends_with_another_policy() -> Outcome {
    set_attr(&Attr {
        flags: DL_OVERRUN,
        ..reservation(1, 10)
    })?;
    equal(get_attr(48)?.flags, DL_OVERRUN)?;
    set_policy(0, libc::SCHED_RR, 3)?;
    let now = get_attr(48)?;
    equal(
        (now.policy, now.priority, now.flags, times(&now)),
        (2, 3, 0, (0, 0, 0)),
    )
}

/// Fields of `/proc/self/stat`, by their numbers.
fn stat_fields<const N: usize>(numbers: [usize; N]) -> Outcome<[i64; N]> {
    let text = text_of("/proc/self/stat")?;
    let (_, rest) = some(text.rsplit_once(") "), "no name")?;
    let fields: Vec<_> = rest.split_whitespace().collect();
    Ok(numbers.map(|number| {
        let field = fields.get(number - 3).and_then(|text| text.parse().ok());
        field.unwrap_or(i64::MAX)
    }))
}

fn deadline_shows_in_proc() -> Outcome {
    sys!(SYS_setpriority, 0, 0, 4)?;
    set_attr(&reservation(2, 20))?;
    // Priority, nice, real-time priority, policy.
    equal(stat_fields([18, 19, 40, 41])?, [-101, 4, 0, 6])?;
    let text = text_of("/proc/self/sched")?;
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.rsplit_once(':').map(|(_, value)| value.trim())
    };
    equal(value("prio"), Some("-1"))?;
    let number = |name: &str| value(name).and_then(|text| text.parse::<i64>().ok());
    // What is left of the budget, and the absolute deadline.
    let left = some(number("dl.runtime"), "no budget")?;
    check(left <= 2_000_000, "more is left than there was")?;
    check(number("dl.deadline") > Some(20_000_000), "no deadline")
}

fn deadline_runs_before_fifo() -> Outcome {
    set_attr(&Attr {
        flags: RESET_ON_FORK,
        ..reservation(50, 100)
    })?;
    let mut children = Vec::new();
    for _ in 0..cpus()? {
        children.push(spinner(libc::SCHED_FIFO, 99)?);
    }
    // The twentieth of the time that is left by them would make six seconds of it.
    let start = Instant::now();
    burn(300)?;
    let took = start.elapsed();
    for pid in &children {
        sys!(SYS_kill, *pid, libc::SIGKILL)?;
    }
    for pid in children {
        end(pid)?;
    }
    check(took < Duration::from_secs(3), &format!("{took:?}"))
}

fn deadline_budget_is_kept() -> Outcome {
    let pid = deadline_spinner(reservation(10, 100))?;
    let start = Instant::now();
    sleep_ms(1000)?;
    let used = cpu_ns(clock_of(pid, false))?;
    let share = used as f64 / start.elapsed().as_nanos() as f64;
    end(pid)?;
    check((0.0..0.25).contains(&share), &format!("{share}"))?;
    check(used > 0, "it never ran")
}

fn deadline_budgets_of_many_are_kept() -> Outcome {
    // Two on each CPU, and no CPU has the time for three.
    let mut children = Vec::new();
    for _ in 0..cpus()? * 2 {
        children.push(deadline_spinner(reservation(40, 100))?);
    }
    let clocks = || -> Sys<Vec<i64>> {
        let clocks = children.iter().map(|pid| cpu_ns(clock_of(*pid, false)));
        clocks.collect()
    };
    let before = clocks()?;
    sleep_ms(2000)?;
    let after = clocks()?;
    for pid in &children {
        sys!(SYS_kill, *pid, libc::SIGKILL)?;
    }
    for pid in children {
        end(pid)?;
    }
    let used: Vec<_> = after.iter().zip(before).map(|(a, b)| a - b).collect();
    let (least, most) = (used.iter().min(), used.iter().max());
    // Each gets 800 ms of the two seconds, less what the machine itself loses.
    check(
        least.is_some_and(|ns| *ns > 300_000_000) && most.is_some_and(|ns| *ns < 1_100_000_000),
        &format!("{used:?}"),
    )
}

fn deadline_yield_waits_for_the_next_period() -> Outcome {
    set_attr(&reservation(10, 50))?;
    let start = Instant::now();
    for _ in 0..5 {
        sys!(SYS_sched_yield)?;
    }
    let took = start.elapsed();
    check(took >= Duration::from_millis(200), &format!("{took:?}"))
}

fn deadline_sleeper_runs_on_time() -> Outcome {
    // One that takes less than its budget after each sleep is never held back.
    set_attr(&reservation(5, 20))?;
    let start = Instant::now();
    for _ in 0..20 {
        burn(1)?;
        sleep_ms(10)?;
    }
    let took = start.elapsed();
    check(took < Duration::from_secs(2), &format!("{took:?}"))
}

fn deadline_overrun_sends_xcpu() -> Outcome {
    catch(libc::SIGXCPU, 0)?;
    set_attr(&Attr {
        flags: DL_OVERRUN,
        ..reservation(5, 50)
    })?;
    while hits(libc::SIGXCPU) < 3 {
        std::hint::spin_loop();
    }
    equal(last_info().si_code, libc::SI_KERNEL)
}

fn deadline_overrun_is_not_told_unasked() -> Outcome {
    catch(libc::SIGXCPU, 0)?;
    set_attr(&reservation(5, 20))?;
    burn(30)?;
    equal(hits(libc::SIGXCPU), 0)
}

fn deadline_lifts_whom_it_waits_for() -> Outcome {
    let lock = map_shared(PAGE)?;
    let me = sys!(SYS_gettid)? as u32;
    word(lock).store(me, Ordering::SeqCst);
    let pid = fork(|| {
        let set = set_attr(&reservation(10, 100));
        let got = sys!(SYS_futex, lock, libc::FUTEX_LOCK_PI, 0, 0, 0, 0);
        i32::from(set.is_err() || got.is_err())
    })?;
    let limit = Instant::now() + Duration::from_secs(10);
    while stat_fields([18])? != [-101] {
        check(Instant::now() < limit, "it is not lifted")?;
        nap();
    }
    // It may use more than the other's budget.
    burn(30)?;
    sys!(SYS_futex, lock, libc::FUTEX_UNLOCK_PI, 0, 0, 0, 0)?;
    equal(stat_fields([18])?, [20])?;
    equal(wait(pid)?, 0)
}
