//! execve while signals are pending, threads run and timers are armed.

use super::*;
use crate::cases;
use crate::harness::Case;
use crate::probe::{after_exec, execute, values_of};

pub const CASES: &[Case] = cases![
    exec_keeps_signals_pending_for_the_process,
    exec_keeps_signals_pending_for_the_thread,
    exec_keeps_queued_realtime_signals,
    exec_keeps_a_stop_signal_pending,
    exec_keeps_the_mask,
    exec_resets_caught_signals,
    exec_keeps_ignored_signals,
    exec_keeps_sigchld_ignored,
    exec_keeps_the_interval_timer,
    exec_keeps_the_alarm,
    exec_deletes_posix_timers,
    exec_drops_signals_of_posix_timers,
    exec_of_a_thread_takes_the_processs_number,
    exec_of_a_thread_keeps_its_own_pending_signals,
    exec_drops_pending_signals_of_other_threads,
    exec_of_a_thread_keeps_its_own_mask,
    exec_ends_threads_in_calls,
    exec_ends_threads_that_run,
    exec_ends_a_thread_that_waits_for_a_vfork,
    exec_that_fails_leaves_threads,
    exec_after_the_leader_has_gone,
    exec_of_two_threads_at_once,
    exec_marks_robust_mutexes,
    exec_empties_the_robust_list,
    exec_clears_the_threads_word,
    exec_keeps_children,
    exec_keeps_zombies,
    exec_makes_the_exit_signal_sigchld,
    exec_keeps_policy_and_nice,
    exec_keeps_parent_death_and_subreaper,
    exec_keeps_timer_slack,
    exec_under_a_storm_of_signals,
];

fn one(value: &str) -> Vec<String> {
    vec![value.to_owned()]
}

fn exec_keeps_signals_pending_for_the_process() -> Outcome {
    let values = after_exec(&["pending", "thread-pending"], || {
        block(&[libc::SIGUSR1, libc::SIGTERM])?;
        raise(libc::SIGUSR1)?;
        raise(libc::SIGTERM)?;
        Ok(())
    })?;
    equal(values, vec![hex(&[libc::SIGUSR1, libc::SIGTERM]), hex(&[])])
}

fn exec_keeps_signals_pending_for_the_thread() -> Outcome {
    let values = after_exec(&["pending", "thread-pending"], || {
        block(&[libc::SIGUSR1])?;
        sys!(SYS_tgkill, getpid(), gettid(), libc::SIGUSR1)?;
        Ok(())
    })?;
    equal(values, vec![hex(&[]), hex(&[libc::SIGUSR1])])
}

fn exec_keeps_queued_realtime_signals() -> Outcome {
    let values = after_exec(&["pending"], || {
        block(&[40, 41])?;
        for signal in [40, 40, 41] {
            raise(signal)?;
        }
        Ok(())
    })?;
    equal(values, vec![hex(&[40, 41])])
}

fn exec_keeps_a_stop_signal_pending() -> Outcome {
    let values = after_exec(&["pending", "blocked"], || {
        block(&[libc::SIGTSTP])?;
        raise(libc::SIGTSTP)?;
        Ok(())
    })?;
    equal(values, vec![hex(&[libc::SIGTSTP]), hex(&[libc::SIGTSTP])])
}

fn exec_keeps_the_mask() -> Outcome {
    let set = [libc::SIGHUP, libc::SIGCHLD, 50];
    let values = after_exec(&["blocked"], || {
        block(&set)?;
        Ok(())
    })?;
    equal(values, vec![hex(&set)])
}

fn exec_resets_caught_signals() -> Outcome {
    let values = after_exec(&["caught", "ignored"], || {
        for signal in [libc::SIGUSR1, libc::SIGCHLD, libc::SIGALRM, 40] {
            catch(signal, libc::SA_RESTART)?;
        }
        Ok(())
    })?;
    equal(values, vec![hex(&[]), hex(&[])])
}

fn exec_keeps_ignored_signals() -> Outcome {
    let set = [libc::SIGUSR1, libc::SIGINT, libc::SIGQUIT, 40];
    let values = after_exec(&["ignored"], || {
        set.iter()
            .try_for_each(|&signal| handle(signal, libc::SIG_IGN, 0, &[]))?;
        Ok(())
    })?;
    equal(values, vec![hex(&set)])
}

fn exec_keeps_sigchld_ignored() -> Outcome {
    // POSIX leaves it open; Linux keeps it, and children of the new program leave nothing to wait for.
    let values = after_exec(&["ignored", "children"], || {
        handle(libc::SIGCHLD, libc::SIG_IGN, 0, &[])?;
        let child = fork(|| 0)?;
        while kill(child, 0).is_ok() {
            nap();
        }
        Ok(())
    })?;
    equal(values, vec![hex(&[libc::SIGCHLD]), "none".to_owned()])
}

fn exec_keeps_the_interval_timer() -> Outcome {
    let values = after_exec(&["itimer"], || {
        alarm_in_ms(1_000_000)?;
        Ok(())
    })?;
    let left: i64 = some(
        values.first().and_then(|text| text.parse().ok()),
        "no answer",
    )?;
    check((900..=1000).contains(&left), "the timer is gone")
}

fn exec_keeps_the_alarm() -> Outcome {
    // It comes after exec, or during it: nobody there catches it.
    let pid = fork(|| {
        let _ = alarm_in_ms(50);
        let argv = [c"sleep".as_ptr(), c"100".as_ptr(), std::ptr::null()];
        let _ = sys!(SYS_execve, c"/bin/sleep", argv.as_ptr(), 0);
        9
    })?;
    dies_of(pid, libc::SIGALRM)
}

/// A timer that sends a signal, so many milliseconds from now.
fn posix_timer(signal: i32, ms: i64) -> Sys<i32> {
    let mut event = zeroed::<libc::sigevent>();
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = signal;
    let mut id = -1_i32;
    sys!(SYS_timer_create, libc::CLOCK_MONOTONIC, &event, &mut id)?;
    let setting = libc::itimerspec {
        it_interval: zeroed(),
        it_value: libc::timespec {
            tv_sec: ms / 1000,
            tv_nsec: ms % 1000 * 1_000_000,
        },
    };
    let id = std::hint::black_box(id);
    sys!(SYS_timer_settime, id, 0, &setting, 0)?;
    Ok(id)
}

fn exec_deletes_posix_timers() -> Outcome {
    let values = after_exec(&["timer0"], || {
        equal(posix_timer(libc::SIGUSR1, 1_000_000)?, 0)
    })?;
    equal(values, vec![format!("errno {}", libc::EINVAL)])
}

fn exec_drops_signals_of_posix_timers() -> Outcome {
    let values = after_exec(&["pending"], || {
        block(&[libc::SIGUSR1, libc::SIGUSR2])?;
        raise(libc::SIGUSR2)?;
        posix_timer(libc::SIGUSR1, 1)?;
        while pending()? & set_of(&[libc::SIGUSR1]) == 0 {
            nap();
        }
        Ok(())
    })?;
    equal(values, vec![hex(&[libc::SIGUSR2])])
}

/// Lets another thread run `body` while the first one sleeps.
fn in_thread(body: impl FnOnce() + Send + 'static) -> Outcome {
    std::thread::spawn(body);
    sleep_on()
}

fn exec_of_a_thread_takes_the_processs_number() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let _ = close(read_end);
        let _ = sys!(SYS_dup3, write_end, 1, 0);
        let _ = close(write_end);
        let _ = in_thread(|| {
            execute(&["pid", "tid", "threads"]);
        });
        1
    })?;
    close(write_end)?;
    let number = pid.to_string();
    let values = values_of(pid, read_end)?;
    equal(values, vec![number.clone(), number, "1".to_owned()])
}

fn exec_of_a_thread_keeps_its_own_pending_signals() -> Outcome {
    let values = after_exec(&["pending", "thread-pending"], || {
        block(&[libc::SIGUSR1, libc::SIGUSR2])?;
        raise(libc::SIGUSR2)?;
        in_thread(|| {
            let _ = sys!(SYS_tgkill, getpid(), gettid(), libc::SIGUSR1);
            execute(&["pending", "thread-pending"]);
        })
    })?;
    equal(values, vec![hex(&[libc::SIGUSR2]), hex(&[libc::SIGUSR1])])
}

fn exec_drops_pending_signals_of_other_threads() -> Outcome {
    let values = after_exec(&["pending", "thread-pending"], || {
        block(&[libc::SIGUSR1])?;
        let first = gettid();
        in_thread(move || {
            let _ = sys!(SYS_tgkill, getpid(), first, libc::SIGUSR1);
            execute(&["pending", "thread-pending"]);
        })
    })?;
    equal(values, vec![hex(&[]), hex(&[])])
}

fn exec_of_a_thread_keeps_its_own_mask() -> Outcome {
    let values = after_exec(&["blocked"], || {
        block(&[libc::SIGUSR1])?;
        in_thread(|| {
            let _ = unblock(&[libc::SIGUSR1]);
            let _ = block(&[libc::SIGUSR2]);
            execute(&["blocked"]);
        })
    })?;
    equal(values, vec![hex(&[libc::SIGUSR2])])
}

fn exec_ends_threads_in_calls() -> Outcome {
    let values = after_exec(&["threads"], || {
        let (read_end, _write_end) = pipe()?;
        let word = map(PAGE)?;
        std::thread::spawn(move || read_some(read_end));
        std::thread::spawn(move || sys!(SYS_futex, word, libc::FUTEX_WAIT, 0, 0, 0, 0));
        std::thread::spawn(move || poll_one(read_end, libc::POLLIN, -1));
        std::thread::spawn(|| sleep_ms(1_000_000));
        std::thread::spawn(|| take(&[40]).map(|info| info.si_signo));
        sleep_ms(20)?;
        Ok(())
    })?;
    equal(values, one("1"))
}

fn exec_ends_threads_that_run() -> Outcome {
    let values = after_exec(&["threads"], || {
        for _ in 0..3 {
            std::thread::spawn(|| {
                loop {
                    std::hint::spin_loop();
                }
            });
        }
        Ok(())
    })?;
    equal(values, one("1"))
}

extern "C" fn sleep_in_child(_argument: *mut libc::c_void) -> i32 {
    // Nobody is to wait for more of what the probe says.
    let _ = close(1);
    let _ = sleep_ms(1_000_000);
    0
}

fn exec_ends_a_thread_that_waits_for_a_vfork() -> Outcome {
    let values = after_exec(&["threads", "children"], || {
        std::thread::spawn(|| {
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
            clone_run(flags, sleep_in_child, 0, (0, 0))
        });
        sleep_ms(20)?;
        Ok(())
    })?;
    equal(values, vec!["1".to_owned(), "running".to_owned()])
}

fn exec_that_fails_leaves_threads() -> Outcome {
    let board = Board::new()?;
    let at = board.addr();
    let thread = std::thread::spawn(move || {
        while word(at).load(Ordering::SeqCst) == 0 {
            nap();
        }
        7
    });
    fails(sys!(SYS_execve, c"/no/such", 0, 0), libc::ENOENT)?;
    fails(sys!(SYS_execve, c"/proc", 0, 0), libc::EACCES)?;
    let fd = file_with(c"noexec", b"\x7fELF")?;
    close(fd)?;
    sys!(SYS_fchmodat, libc::AT_FDCWD, c"noexec", 0o755)?;
    fails(sys!(SYS_execve, c"noexec", 0, 0), libc::ENOEXEC)?;
    board.set(0, 1);
    equal(thread.join().unwrap_or(0), 7)
}

fn exec_after_the_leader_has_gone() -> Outcome {
    let values = after_exec(&["threads"], || {
        let leader = gettid();
        std::thread::spawn(move || {
            let _ = await_thread(getpid(), leader, "ZX");
            execute(&["threads"]);
        });
        let _ = sys!(SYS_exit, 0);
        Ok(())
    })?;
    equal(values, one("1"))
}

fn exec_of_two_threads_at_once() -> Outcome {
    for _ in 0..5 {
        let values = after_exec(&["threads"], || {
            std::thread::spawn(|| execute(&["threads"]));
            Ok(())
        })?;
        equal(values, one("1"))?;
    }
    Ok(())
}

/// A robust list with one entry, whose word this process holds.
fn hold_robust(list: usize) -> Sys {
    let put = |at: usize, value: usize| {
        word(at).store(value as u32, Ordering::SeqCst);
        word(at + 4).store((value >> 32) as u32, Ordering::SeqCst);
    };
    put(list, list + 64);
    put(list + 8, 8);
    put(list + 16, 0);
    put(list + 64, list);
    word(list + 72).store(gettid() as u32, Ordering::SeqCst);
    sys!(SYS_set_robust_list, list, 24)
}

fn exec_marks_robust_mutexes() -> Outcome {
    let list = map_shared(PAGE)?;
    after_exec(&["pid"], || {
        hold_robust(list)?;
        Ok(())
    })?;
    equal(word(list + 72).load(Ordering::SeqCst), 0x4000_0000)
}

fn exec_empties_the_robust_list() -> Outcome {
    let list = map_shared(PAGE)?;
    let values = after_exec(&["robust"], || {
        hold_robust(list)?;
        Ok(())
    })?;
    // The new program's library may have set its own, but not this.
    check(values != vec![list.to_string()], "the list is still there")
}

extern "C" fn execute_true(_argument: *mut libc::c_void) -> i32 {
    let argv = [c"sleep".as_ptr(), c"100".as_ptr(), std::ptr::null()];
    let _ = sys!(SYS_execve, c"/bin/sleep", argv.as_ptr(), 0);
    1
}

fn exec_clears_the_threads_word() -> Outcome {
    let addr = map_shared(PAGE)?;
    word(addr).store(5, Ordering::SeqCst);
    let flags = libc::CLONE_VM | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD;
    let pid = clone_run(flags, execute_true, 0, (0, addr))?;
    await_word(word(addr), 0);
    kill(pid, libc::SIGKILL)?;
    dies_of(pid, libc::SIGKILL)
}

fn exec_keeps_children() -> Outcome {
    let values = after_exec(&["children"], || {
        fork(|| {
            let _ = close(1);
            sleep_on()
        })?;
        Ok(())
    })?;
    equal(values, one("running"))
}

fn exec_keeps_zombies() -> Outcome {
    let values = after_exec(&["wait", "wait"], || {
        let child = fork(|| 5)?;
        await_state(child, "Z")
    })?;
    equal(
        values,
        vec![(5 << 8).to_string(), format!("{:?}", Errno(libc::ECHILD))],
    )
}

extern "C" fn execute_cat(argument: *mut libc::c_void) -> i32 {
    let _ = sys!(SYS_dup3, argument as i32, 0, 0);
    let argv = [c"cat".as_ptr(), std::ptr::null()];
    let _ = sys!(SYS_execve, c"/bin/cat", argv.as_ptr(), 0);
    1
}

fn exec_makes_the_exit_signal_sigchld() -> Outcome {
    block(&[libc::SIGUSR1, libc::SIGCHLD])?;
    let (read_end, write_end) = pipe2(libc::O_CLOEXEC)?;
    let pid = clone_run(libc::SIGUSR1, execute_cat, read_end as usize, (0, 0))?;
    close(write_end)?;
    let info = take(&[libc::SIGUSR1, libc::SIGCHLD])?;
    equal(info.si_signo, libc::SIGCHLD)?;
    ends_well(pid)
}

fn exec_keeps_policy_and_nice() -> Outcome {
    let values = after_exec(&["policy", "nice"], || {
        sys!(SYS_setpriority, 0, 0, 7)?;
        sys!(SYS_sched_setscheduler, 0, libc::SCHED_BATCH, &0_i32)?;
        Ok(())
    })?;
    equal(values, vec!["3".to_owned(), "7".to_owned()])?;
    let values = after_exec(&["policy", "priority"], || {
        sys!(SYS_sched_setscheduler, 0, libc::SCHED_RR, &4_i32)?;
        Ok(())
    })?;
    equal(values, vec!["2".to_owned(), "4".to_owned()])
}

fn exec_keeps_parent_death_and_subreaper() -> Outcome {
    let values = after_exec(&["pdeathsig", "subreaper"], || {
        sys!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGUSR2, 0, 0, 0)?;
        sys!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)?;
        Ok(())
    })?;
    equal(values, vec![libc::SIGUSR2.to_string(), "1".to_owned()])
}

fn exec_keeps_timer_slack() -> Outcome {
    let values = after_exec(&["slack"], || {
        sys!(SYS_prctl, libc::PR_SET_TIMERSLACK, 123_456, 0, 0, 0)?;
        Ok(())
    })?;
    equal(values, one("123456"))
}

fn exec_under_a_storm_of_signals() -> Outcome {
    // Ignored signals come all the time; each exec ends well all the same.
    handle(libc::SIGUSR1, libc::SIG_IGN, 0, &[])?;
    let parent = getpid();
    let storm = fork(|| {
        loop {
            let _ = kill(-parent, libc::SIGUSR1);
            let _ = sys!(SYS_sched_yield);
        }
    })?;
    for _ in 0..3 {
        let values = after_exec(&["pid", "threads"], || Ok(()));
        if values.is_err() {
            let _ = kill(storm, libc::SIGKILL);
        }
        equal(values?.last().cloned(), Some("1".to_owned()))?;
    }
    kill(storm, libc::SIGKILL)?;
    dies_of(storm, libc::SIGKILL)
}
