//! Clocks, interval timers, POSIX timers and sleeps.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    clocks_run_forward,
    clocks_agree_on_the_time,
    clock_getres_of_each_clock,
    clock_of_no_such_number_is_einval,
    gettimeofday_and_time_agree,
    settimeofday_refuses_nonsense,
    clock_settime_sets_realtime_alone,
    nanosleep_refuses_nonsense,
    nanosleep_sleeps_at_least_so_long,
    nanosleep_tells_the_rest_when_interrupted,
    clock_nanosleep_until_a_moment,
    clock_nanosleep_of_the_past_returns_at_once,
    clock_nanosleep_refuses_thread_time,
    alarm_sends_its_signal,
    alarm_answers_the_seconds_left,
    alarm_is_not_inherited_by_fork,
    alarm_survives_exec,
    itimer_real_repeats,
    itimer_virtual_and_prof_count_cpu_time,
    itimer_is_stopped_by_zero,
    itimer_refuses_nonsense,
    timer_signals_with_its_value,
    timer_signals_with_its_number_by_default,
    timer_of_no_signal_is_polled,
    timer_to_a_thread,
    timer_repeats_and_counts_overruns,
    timer_in_absolute_time_of_the_past_fires,
    timer_that_fires_on_the_way_to_wait_ends_it,
    timer_that_fires_on_the_way_to_suspend_ends_it,
    timer_gettime_tells_the_rest,
    timer_settime_answers_the_old_setting,
    timer_delete_stops_it,
    timer_of_cpu_time_fires,
    timer_of_another_process_s_time_fires,
    timer_of_a_process_that_is_gone,
    timer_refuses_nonsense,
    timers_are_not_inherited_by_fork,
    timers_are_listed_as_pending_once,
    adjtimex_reads,
    adjtimex_of_a_user_cannot_set,
    boottime_and_monotonic_start_together,
    coarse_clocks_follow,
    vdso_and_calls_agree,
];

const SECOND: i64 = 1_000_000_000;
const REALTIME: i32 = libc::CLOCK_REALTIME;
const MONOTONIC: i32 = libc::CLOCK_MONOTONIC;

fn clock(id: i32) -> Sys<i64> {
    let mut time = zeroed::<libc::timespec>();
    sys!(SYS_clock_gettime, id, &mut time)?;
    Ok(time.tv_sec * SECOND + time.tv_nsec)
}

fn span(ns: i64) -> libc::timespec {
    libc::timespec {
        tv_sec: ns.div_euclid(SECOND),
        tv_nsec: ns.rem_euclid(SECOND),
    }
}

fn setting(first: i64, interval: i64) -> libc::itimerspec {
    libc::itimerspec {
        it_interval: span(interval),
        it_value: span(first),
    }
}

fn old_setting(first_us: i64, interval_us: i64) -> libc::itimerval {
    let time = |us: i64| libc::timeval {
        tv_sec: us / 1_000_000,
        tv_usec: us % 1_000_000,
    };
    libc::itimerval {
        it_interval: time(interval_us),
        it_value: time(first_us),
    }
}

fn event(notify: i32, signal: i32, value: usize) -> libc::sigevent {
    let mut event = zeroed::<libc::sigevent>();
    event.sigev_notify = notify;
    event.sigev_signo = signal;
    event.sigev_value.sival_ptr = value as *mut libc::c_void;
    event
}

fn timer(clock: i32, event: &libc::sigevent) -> Sys<i32> {
    let mut id = -1;
    sys!(SYS_timer_create, clock, event, &mut id)?;
    Ok(id)
}

fn arm(id: i32, first: i64, interval: i64) -> Sys {
    sys!(SYS_timer_settime, id, 0, &setting(first, interval), 0)
}

fn until_hit(signal: i32, times: u32) {
    while hits(signal) < times {
        nap();
    }
}

fn clocks_run_forward() -> Outcome {
    for id in [
        REALTIME,
        MONOTONIC,
        libc::CLOCK_MONOTONIC_RAW,
        libc::CLOCK_BOOTTIME,
        libc::CLOCK_TAI,
    ] {
        let start = clock(id)?;
        let mut last = start;
        while last == start {
            let now = clock(id)?;
            check(now >= last, "a clock runs back")?;
            last = now;
        }
    }
    Ok(())
}

fn clocks_agree_on_the_time() -> Outcome {
    let before = clock(REALTIME)?;
    let tai = clock(libc::CLOCK_TAI)?;
    let after = clock(REALTIME)?;
    // Nobody has told either kernel the number of leap seconds.
    check(before <= tai && tai <= after, "TAI is not the real time")
}

fn clock_getres_of_each_clock() -> Outcome {
    let res = |id: i32| -> Sys<(i64, i64)> {
        let mut time = zeroed::<libc::timespec>();
        sys!(SYS_clock_getres, id, &mut time)?;
        Ok((time.tv_sec, time.tv_nsec))
    };
    for id in [
        REALTIME,
        MONOTONIC,
        libc::CLOCK_MONOTONIC_RAW,
        libc::CLOCK_BOOTTIME,
        libc::CLOCK_TAI,
    ] {
        equal(res(id)?, (0, 1))?;
    }
    for id in [libc::CLOCK_REALTIME_COARSE, libc::CLOCK_MONOTONIC_COARSE] {
        let (sec, nsec) = res(id)?;
        check(
            sec == 0 && nsec >= 1_000_000,
            "a coarse clock's resolution is a tick",
        )?;
    }
    sys!(SYS_clock_getres, REALTIME, 0)?;
    fails(sys!(SYS_clock_getres, 99, 0), libc::EINVAL)
}

fn clock_of_no_such_number_is_einval() -> Outcome {
    for id in [10, 16, 99, -1] {
        fails(clock(id), libc::EINVAL)?;
    }
    fails(sys!(SYS_clock_gettime, REALTIME, 8), libc::EFAULT)
}

fn gettimeofday_and_time_agree() -> Outcome {
    let mut zone = [7_i32; 2];
    let mut time = zeroed::<libc::timeval>();
    let before = clock(REALTIME)? / 1000;
    sys!(SYS_gettimeofday, &mut time, &mut zone)?;
    let after = clock(REALTIME)? / 1000;
    let now = time.tv_sec * 1_000_000 + time.tv_usec;
    check(before <= now && now <= after, "another time of day")?;
    equal(zone, [0, 0])?;
    let mut seconds = 0_i64;
    let answer = sys!(SYS_time, &mut seconds)? as i64;
    equal(answer, seconds)?;
    check((answer - time.tv_sec).abs() <= 1, "another time")
}

fn settimeofday_refuses_nonsense() -> Outcome {
    let bad = libc::timeval {
        tv_sec: 1,
        tv_usec: 1_000_000,
    };
    fails(sys!(SYS_settimeofday, &bad, 0), libc::EINVAL)?;
    let bad = span(-SECOND);
    fails(sys!(SYS_clock_settime, REALTIME, &bad), libc::EINVAL)?;
    let bad = libc::timespec {
        tv_sec: 0,
        tv_nsec: SECOND,
    };
    fails(sys!(SYS_clock_settime, REALTIME, &bad), libc::EINVAL)?;
    fails(sys!(SYS_clock_settime, MONOTONIC, &span(1)), libc::EINVAL)?;
    become_user()?;
    let now = span(clock(REALTIME)?);
    fails(sys!(SYS_clock_settime, REALTIME, &now), libc::EPERM)
}

fn clock_settime_sets_realtime_alone() -> Outcome {
    let monotonic = clock(MONOTONIC)?;
    let real = clock(REALTIME)?;
    sys!(SYS_clock_settime, REALTIME, &span(real + 1000 * SECOND))?;
    let jumped = clock(REALTIME)?;
    let later = clock(MONOTONIC)?;
    let back = real + (later - monotonic);
    sys!(SYS_clock_settime, REALTIME, &span(back))?;
    check(
        jumped >= real + 1000 * SECOND,
        "the real time is not what was set",
    )?;
    check(
        later - monotonic < 900 * SECOND,
        "the monotonic clock jumps with it",
    )
}

fn nanosleep_refuses_nonsense() -> Outcome {
    let bad = libc::timespec {
        tv_sec: 0,
        tv_nsec: SECOND,
    };
    fails(sys!(SYS_nanosleep, &bad, 0), libc::EINVAL)?;
    fails(sys!(SYS_nanosleep, &span(-1), 0), libc::EINVAL)?;
    fails(sys!(SYS_nanosleep, 8, 0), libc::EFAULT)?;
    sys!(SYS_nanosleep, &span(0), 0)?;
    Ok(())
}

fn nanosleep_sleeps_at_least_so_long() -> Outcome {
    for ns in [1_000, 100_000, 3_000_000] {
        let start = clock(MONOTONIC)?;
        sys!(SYS_nanosleep, &span(ns), 0)?;
        check(clock(MONOTONIC)? - start >= ns, "woken too early")?;
    }
    Ok(())
}

fn nanosleep_tells_the_rest_when_interrupted() -> Outcome {
    catch(libc::SIGALRM, 0)?;
    sys!(SYS_setitimer, libc::ITIMER_REAL, &old_setting(20_000, 0), 0)?;
    let mut rest = zeroed::<libc::timespec>();
    fails(
        sys!(SYS_nanosleep, &span(100 * SECOND), &mut rest),
        libc::EINTR,
    )?;
    equal(hits(libc::SIGALRM), 1)?;
    let left = rest.tv_sec * SECOND + rest.tv_nsec;
    check(
        left > 0 && left < 100 * SECOND,
        "the rest is not what is left",
    )
}

fn clock_nanosleep_until_a_moment() -> Outcome {
    for id in [MONOTONIC, REALTIME, libc::CLOCK_BOOTTIME] {
        let moment = clock(id)? + 5_000_000;
        sys!(
            SYS_clock_nanosleep,
            id,
            libc::TIMER_ABSTIME,
            &span(moment),
            0
        )?;
        check(clock(id)? >= moment, "woken before the moment")?;
    }
    Ok(())
}

fn clock_nanosleep_of_the_past_returns_at_once() -> Outcome {
    sys!(
        SYS_clock_nanosleep,
        MONOTONIC,
        libc::TIMER_ABSTIME,
        &span(1),
        0
    )?;
    sys!(SYS_clock_nanosleep, REALTIME, 0, &span(1), 0)?;
    fails(sys!(SYS_clock_nanosleep, 99, 0, &span(1), 0), libc::EINVAL)
}

fn clock_nanosleep_refuses_thread_time() -> Outcome {
    fails(
        sys!(
            SYS_clock_nanosleep,
            libc::CLOCK_THREAD_CPUTIME_ID,
            0,
            &span(1),
            0
        ),
        libc::EOPNOTSUPP,
    )?;
    fails(
        sys!(
            SYS_clock_nanosleep,
            libc::CLOCK_MONOTONIC_COARSE,
            0,
            &span(1),
            0
        ),
        libc::EOPNOTSUPP,
    )
}

fn alarm_sends_its_signal() -> Outcome {
    catch(libc::SIGALRM, 0)?;
    equal(sys!(SYS_alarm, 1)?, 0)?;
    until_hit(libc::SIGALRM, 1);
    let info = last_info();
    equal(info.si_code, libc::SI_KERNEL)?;
    equal(sys!(SYS_alarm, 0)?, 0)
}

fn alarm_answers_the_seconds_left() -> Outcome {
    sys!(SYS_alarm, 100)?;
    let left = sys!(SYS_alarm, 50)?;
    check((90..=100).contains(&left), "the rest of 100 s")?;
    let mut now = zeroed::<libc::itimerval>();
    sys!(SYS_getitimer, libc::ITIMER_REAL, &mut now)?;
    check(
        (40..=50).contains(&now.it_value.tv_sec),
        "the rest as a timer",
    )?;
    check((40..=50).contains(&sys!(SYS_alarm, 0)?), "the rest of 50 s")
}

fn alarm_is_not_inherited_by_fork() -> Outcome {
    sys!(SYS_alarm, 1000)?;
    within(|| equal(sys!(SYS_alarm, 0)?, 0))?;
    check(sys!(SYS_alarm, 0)? > 0, "a fork took the parent's alarm")
}

fn alarm_survives_exec() -> Outcome {
    // `sh` would start its own timers; this program, listing its cases into a full pipe, does not.
    let (read_end, write_end) = pipe()?;
    sys!(SYS_fcntl, write_end, libc::F_SETPIPE_SZ, 4096)?;
    let pid = fork(|| {
        let _ = sys!(SYS_dup3, write_end, 1, 0);
        let _ = sys!(
            SYS_setitimer,
            libc::ITIMER_REAL,
            &old_setting(300_000, 0),
            0
        );
        let program = c"/proc/self/exe";
        let arguments: [*const libc::c_char; 3] =
            [program.as_ptr(), c"--list".as_ptr(), std::ptr::null()];
        let _ = sys!(SYS_execve, program, &arguments, 0);
        127
    })?;
    let status = wait(pid)?;
    close(read_end)?;
    close(write_end)?;
    equal(status, libc::SIGALRM)
}

fn itimer_real_repeats() -> Outcome {
    catch(libc::SIGALRM, 0)?;
    sys!(
        SYS_setitimer,
        libc::ITIMER_REAL,
        &old_setting(1_000, 2_000),
        0
    )?;
    until_hit(libc::SIGALRM, 3);
    let mut now = zeroed::<libc::itimerval>();
    sys!(
        SYS_setitimer,
        libc::ITIMER_REAL,
        &old_setting(0, 0),
        &mut now
    )?;
    equal(
        (now.it_interval.tv_sec, now.it_interval.tv_usec),
        (0, 2_000),
    )
}

fn itimer_virtual_and_prof_count_cpu_time() -> Outcome {
    for (which, signal) in [
        (libc::ITIMER_VIRTUAL, libc::SIGVTALRM),
        (libc::ITIMER_PROF, libc::SIGPROF),
    ] {
        catch(signal, 0)?;
        sys!(SYS_setitimer, which, &old_setting(10_000, 0), 0)?;
        // Asleep it does not run.
        sys!(SYS_nanosleep, &span(50_000_000), 0)?;
        equal(hits(signal), 0)?;
        while hits(signal) == 0 {}
    }
    Ok(())
}

fn itimer_is_stopped_by_zero() -> Outcome {
    catch(libc::SIGALRM, 0)?;
    let which = libc::ITIMER_REAL;
    sys!(SYS_setitimer, which, &old_setting(50_000_000, 7), 0)?;
    sys!(SYS_setitimer, which, 0, 0)?;
    let mut now = old_setting(1, 1);
    sys!(SYS_getitimer, which, &mut now)?;
    equal((now.it_value.tv_sec, now.it_value.tv_usec), (0, 0))?;
    equal((now.it_interval.tv_sec, now.it_interval.tv_usec), (0, 0))
}

fn itimer_refuses_nonsense() -> Outcome {
    let mut now = old_setting(0, 0);
    fails(sys!(SYS_getitimer, 3, &mut now), libc::EINVAL)?;
    fails(sys!(SYS_setitimer, 3, &now, 0), libc::EINVAL)?;
    fails(sys!(SYS_getitimer, 0, 8), libc::EFAULT)?;
    now.it_value.tv_usec = 1_000_000;
    fails(sys!(SYS_setitimer, 0, &now, 0), libc::EINVAL)?;
    now.it_value.tv_usec = -1;
    fails(sys!(SYS_setitimer, 0, &now, 0), libc::EINVAL)
}

fn timer_signals_with_its_value() -> Outcome {
    let signal = libc::SIGRTMIN() + 2;
    block(&[signal])?;
    let id = timer(MONOTONIC, &event(libc::SIGEV_SIGNAL, signal, 0x1234_5678))?;
    arm(id, 1_000_000, 0)?;
    let info = take(&[signal])?;
    equal(info.si_code, libc::SI_TIMER)?;
    // SAFETY: a timer's signal has these.
    let (value, timer_id, overrun) = unsafe {
        (
            info.si_value().sival_ptr as usize,
            info.si_timerid(),
            info.si_overrun(),
        )
    };
    equal(value, 0x1234_5678)?;
    equal((timer_id, overrun), (id, 0))
}

fn timer_signals_with_its_number_by_default() -> Outcome {
    block(&[libc::SIGALRM])?;
    let mut id = -1;
    sys!(SYS_timer_create, REALTIME, 0, &mut id)?;
    arm(id, 1_000_000, 0)?;
    let info = take(&[libc::SIGALRM])?;
    // SAFETY: a timer's signal has a value.
    equal(unsafe { info.si_value().sival_ptr as usize }, id as usize)
}

fn timer_of_no_signal_is_polled() -> Outcome {
    let id = timer(MONOTONIC, &event(libc::SIGEV_NONE, 0, 0))?;
    arm(id, 2_000_000, 0)?;
    loop {
        let mut now = zeroed::<libc::itimerspec>();
        sys!(SYS_timer_gettime, id, &mut now)?;
        if now.it_value.tv_sec == 0 && now.it_value.tv_nsec == 0 {
            break;
        }
    }
    Ok(())
}

fn timer_to_a_thread() -> Outcome {
    let signal = libc::SIGRTMIN() + 3;
    block(&[signal])?;
    let mut event = event(libc::SIGEV_THREAD_ID, signal, 5);
    event.sigev_notify_thread_id = getpid();
    let id = timer(MONOTONIC, &event)?;
    arm(id, 1_000_000, 0)?;
    equal(take(&[signal])?.si_code, libc::SI_TIMER)?;
    event.sigev_notify_thread_id = 1;
    fails(timer(MONOTONIC, &event), libc::EINVAL)
}

fn timer_repeats_and_counts_overruns() -> Outcome {
    let signal = libc::SIGRTMIN() + 1;
    block(&[signal])?;
    let id = timer(MONOTONIC, &event(libc::SIGEV_SIGNAL, signal, 0))?;
    arm(id, 1_000_000, 1_000_000)?;
    take(&[signal])?;
    sys!(SYS_nanosleep, &span(20_000_000), 0)?;
    // One signal for all that passed meanwhile; the rest is counted.
    let info = take(&[signal])?;
    // SAFETY: a timer's signal has an overrun.
    let overrun = unsafe { info.si_overrun() };
    check(overrun >= 10, &format!("{overrun} expirations are overrun"))?;
    check(
        sys!(SYS_timer_getoverrun, id)? >= overrun as usize,
        "the call counts fewer than the signal",
    )?;
    sys!(SYS_timer_delete, id)?;
    Ok(())
}

fn timer_in_absolute_time_of_the_past_fires() -> Outcome {
    let signal = libc::SIGRTMIN() + 1;
    block(&[signal])?;
    for id in [MONOTONIC, REALTIME, libc::CLOCK_BOOTTIME] {
        let timer = timer(id, &event(libc::SIGEV_SIGNAL, signal, 9))?;
        let past = setting(1, 0);
        sys!(SYS_timer_settime, timer, libc::TIMER_ABSTIME, &past, 0)?;
        take(&[signal])?;
    }
    Ok(())
}

/// Deadlines of many lengths, so that some pass just while the thread goes to sleep for them.
fn deadlines_around_a_sleep() -> impl Iterator<Item = i64> {
    (0..40_000).map(|round| 1 + round % 1_000 * 50)
}

fn timer_that_fires_on_the_way_to_wait_ends_it() -> Outcome {
    let signal = libc::SIGRTMIN() + 1;
    block(&[signal])?;
    let id = timer(MONOTONIC, &event(libc::SIGEV_SIGNAL, signal, 0))?;
    for ns in deadlines_around_a_sleep() {
        arm(id, ns, 0)?;
        take(&[signal])?;
    }
    Ok(())
}

fn timer_that_fires_on_the_way_to_suspend_ends_it() -> Outcome {
    let signal = libc::SIGRTMIN() + 1;
    catch(signal, 0)?;
    block(&[signal])?;
    let id = timer(MONOTONIC, &event(libc::SIGEV_SIGNAL, signal, 0))?;
    let none: u64 = 0;
    for ns in deadlines_around_a_sleep() {
        arm(id, ns, 0)?;
        fails(sys!(SYS_rt_sigsuspend, &none, 8), libc::EINTR)?;
    }
    Ok(())
}

fn timer_gettime_tells_the_rest() -> Outcome {
    let id = timer(MONOTONIC, &event(libc::SIGEV_NONE, 0, 0))?;
    let mut now = zeroed::<libc::itimerspec>();
    sys!(SYS_timer_gettime, id, &mut now)?;
    equal((now.it_value.tv_sec, now.it_value.tv_nsec), (0, 0))?;
    arm(id, 1000 * SECOND, 7 * SECOND)?;
    sys!(SYS_timer_gettime, id, &mut now)?;
    check(
        (900..=1000).contains(&now.it_value.tv_sec),
        "not the rest of 1000 s",
    )?;
    equal(now.it_interval.tv_sec, 7)
}

fn timer_settime_answers_the_old_setting() -> Outcome {
    let id = timer(MONOTONIC, &event(libc::SIGEV_SIGNAL, libc::SIGUSR1, 0))?;
    arm(id, 500 * SECOND, 3 * SECOND)?;
    let mut old = zeroed::<libc::itimerspec>();
    sys!(SYS_timer_settime, id, 0, &setting(0, 0), &mut old)?;
    check(
        (400..=500).contains(&old.it_value.tv_sec),
        "not the old setting",
    )?;
    equal(old.it_interval.tv_sec, 3)?;
    sys!(SYS_timer_gettime, id, &mut old)?;
    equal((old.it_value.tv_sec, old.it_value.tv_nsec), (0, 0))
}

fn timer_delete_stops_it() -> Outcome {
    let signal = libc::SIGRTMIN() + 1;
    catch(signal, 0)?;
    let id = timer(MONOTONIC, &event(libc::SIGEV_SIGNAL, signal, 0))?;
    arm(id, 5_000_000, 0)?;
    sys!(SYS_timer_delete, id)?;
    fails(sys!(SYS_timer_delete, id), libc::EINVAL)?;
    sys!(SYS_nanosleep, &span(10_000_000), 0)?;
    equal(hits(signal), 0)
}

fn timer_of_cpu_time_fires() -> Outcome {
    let signal = libc::SIGRTMIN() + 1;
    catch(signal, 0)?;
    for clock in [
        libc::CLOCK_PROCESS_CPUTIME_ID,
        libc::CLOCK_THREAD_CPUTIME_ID,
    ] {
        let before = hits(signal);
        let id = timer(clock, &event(libc::SIGEV_SIGNAL, signal, 0))?;
        arm(id, 10_000_000, 0)?;
        while hits(signal) == before {}
        sys!(SYS_timer_delete, id)?;
    }
    Ok(())
}

/// A process that works until it is killed, and the clock of its CPU time.
fn worker() -> Sys<(i32, i32)> {
    let pid = fork(|| {
        loop {
            std::hint::spin_loop();
        }
    })?;
    Ok((pid, (!pid << 3) | 2))
}

fn timer_of_another_process_s_time_fires() -> Outcome {
    let signal = libc::SIGRTMIN() + 1;
    block(&[signal])?;
    let (pid, clock_id) = worker()?;
    let id = timer(clock_id, &event(libc::SIGEV_SIGNAL, signal, 5))?;
    arm(id, 10_000_000, 10_000_000)?;
    // This process sleeps meanwhile: its own ticks find nothing.
    for _ in 0..3 {
        take(&[signal])?;
    }
    check(clock(clock_id)? >= 30_000_000, "fires before its time")?;
    sys!(SYS_timer_delete, id)?;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    wait(pid)?;
    Ok(())
}

fn timer_of_a_process_that_is_gone() -> Outcome {
    let signal = libc::SIGRTMIN() + 1;
    block(&[signal])?;
    let (pid, clock_id) = worker()?;
    let id = timer(clock_id, &event(libc::SIGEV_SIGNAL, signal, 5))?;
    arm(id, 1000 * SECOND, 7 * SECOND)?;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    wait(pid)?;
    let mut rest = setting(1, 1);
    sys!(SYS_timer_gettime, id, &mut rest)?;
    equal((rest.it_value.tv_sec, rest.it_value.tv_nsec), (0, 0))?;
    fails(arm(id, 1_000_000, 0), libc::ESRCH)?;
    fails(
        timer(clock_id, &event(libc::SIGEV_SIGNAL, signal, 5)),
        libc::EINVAL,
    )?;
    sys!(SYS_timer_delete, id)?;
    Ok(())
}

fn timer_refuses_nonsense() -> Outcome {
    let none = event(libc::SIGEV_NONE, 0, 0);
    fails(timer(99, &none), libc::EINVAL)?;
    fails(timer(libc::CLOCK_MONOTONIC_COARSE, &none), libc::EOPNOTSUPP)?;
    fails(timer(libc::CLOCK_MONOTONIC_RAW, &none), libc::EOPNOTSUPP)?;
    fails(
        timer(MONOTONIC, &event(libc::SIGEV_SIGNAL, 65, 0)),
        libc::EINVAL,
    )?;
    fails(timer(MONOTONIC, &event(99, 1, 0)), libc::EINVAL)?;
    fails(sys!(SYS_timer_create, MONOTONIC, &none, 8), libc::EFAULT)?;
    fails(sys!(SYS_timer_gettime, 12345, 8), libc::EINVAL)?;
    fails(sys!(SYS_timer_getoverrun, -1), libc::EINVAL)?;
    let id = timer(MONOTONIC, &none)?;
    let mut bad = setting(1, 0);
    bad.it_value.tv_nsec = SECOND;
    fails(sys!(SYS_timer_settime, id, 0, &bad, 0), libc::EINVAL)?;
    fails(sys!(SYS_timer_settime, id, 0, 0, 0), libc::EINVAL)
}

fn timers_are_not_inherited_by_fork() -> Outcome {
    let id = timer(MONOTONIC, &event(libc::SIGEV_NONE, 0, 0))?;
    within(|| fails(sys!(SYS_timer_delete, id), libc::EINVAL))?;
    sys!(SYS_timer_delete, id)?;
    Ok(())
}

fn timers_are_listed_as_pending_once() -> Outcome {
    let signal = libc::SIGUSR1;
    block(&[signal])?;
    let id = timer(MONOTONIC, &event(libc::SIGEV_SIGNAL, signal, 1))?;
    arm(id, 1, 1_000_000)?;
    while pending()? & set_of(&[signal]) == 0 {}
    take(&[signal])?;
    sys!(SYS_timer_delete, id)?;
    Ok(())
}

fn adjtimex_reads() -> Outcome {
    let mut state = zeroed::<libc::timex>();
    let answer = sys!(SYS_adjtimex, &mut state)?;
    check(answer <= 5, "no state of a clock")?;
    check(state.tick > 0, "no tick")?;
    let now = clock(REALTIME)?;
    check(
        (now / SECOND - state.time.tv_sec).abs() <= 1,
        "another time",
    )?;
    sys!(SYS_clock_adjtime, REALTIME, &mut state)?;
    fails(sys!(SYS_clock_adjtime, 99, &mut state), libc::EINVAL)?;
    fails(sys!(SYS_adjtimex, 8), libc::EFAULT)
}

fn adjtimex_of_a_user_cannot_set() -> Outcome {
    become_user()?;
    let mut state = zeroed::<libc::timex>();
    state.modes = libc::ADJ_FREQUENCY;
    fails(sys!(SYS_adjtimex, &mut state), libc::EPERM)
}

fn boottime_and_monotonic_start_together() -> Outcome {
    // Neither machine was ever suspended.
    let before = clock(MONOTONIC)?;
    let boot = clock(libc::CLOCK_BOOTTIME)?;
    let after = clock(MONOTONIC)?;
    check(before <= boot && boot <= after, "they differ")?;
    let uptime = text_of("/proc/uptime")?;
    let seconds: f64 = uptime
        .split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(-1.0);
    check(
        (seconds - after as f64 / 1e9).abs() < 2.0,
        "/proc/uptime differs from the clock",
    )
}

fn coarse_clocks_follow() -> Outcome {
    for (coarse, fine) in [
        (libc::CLOCK_REALTIME_COARSE, REALTIME),
        (libc::CLOCK_MONOTONIC_COARSE, MONOTONIC),
    ] {
        let then = clock(coarse)?;
        check(then <= clock(fine)?, "a coarse clock is ahead")?;
        while clock(coarse)? == then {}
    }
    Ok(())
}

fn vdso_and_calls_agree() -> Outcome {
    // The C library's functions read the clock in user space where the kernel lets them.
    let fast = |id: i32| -> i64 {
        let mut time = zeroed::<libc::timespec>();
        // SAFETY: the time is ours.
        unsafe { libc::clock_gettime(id, &mut time) };
        time.tv_sec * SECOND + time.tv_nsec
    };
    for id in [REALTIME, MONOTONIC, libc::CLOCK_BOOTTIME] {
        for _ in 0..100 {
            let before = clock(id)?;
            let between = fast(id);
            let after = clock(id)?;
            check(
                before <= between && between <= after,
                &format!("clock {id}: {before} {between} {after}"),
            )?;
        }
    }
    Ok(())
}
