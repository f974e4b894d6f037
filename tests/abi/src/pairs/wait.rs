//! wait4 and waitid while SIGCHLD is ignored, threads wait and exit, and children stop and go on.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    wait_with_sigchld_ignored_waits_for_all,
    wait_with_nocldwait_waits_for_all,
    wait_still_gets_zombies_from_before_the_ignoring,
    wait_leaves_sigchld_pending,
    wait_and_sigchld_tell_of_the_same_child,
    wait_by_another_thread,
    wait_of_ones_own_threads_children_only,
    wait_of_two_threads_for_one_child,
    wait_is_interrupted_by_a_handler,
    wait_goes_on_after_a_handler_with_restart,
    wait_is_not_interrupted_by_ignored_signals,
    wait_in_a_handler_of_sigchld,
    wait_until_the_last_thread_has_gone,
    wait_tells_each_stop_once,
    wait_forgets_a_stop_that_was_continued,
    wait_tells_continue_of_a_stopped_process_only,
    wait_tells_one_stop_of_many_threads,
    wait_for_stops_sees_the_end,
    wait_of_a_killed_stopped_child,
    wait_leaves_what_waitid_only_looked_at,
    wait_for_a_group_that_changes,
    wait_takes_adopted_children,
    wait_with_sigchld_ignored_takes_no_adopted_ones,
    wait_adds_the_usage_of_a_childs_threads,
];

/// Two children, of which one is let go by the answered pipe's end.
fn two_children() -> Outcome<(i32, i32)> {
    let (hold, release) = pipe()?;
    fork(|| 0)?;
    fork(|| {
        let _ = close(release);
        let _ = read_some(hold);
        0
    })?;
    close(hold)?;
    Ok((hold, release))
}

fn waits_for_all() -> Outcome {
    let (_, release) = two_children()?;
    let helper = std::thread::spawn(move || {
        let _ = sleep_ms(20);
        close(release)
    });
    // Blocks until both have gone, and then there is nobody.
    fails(wait(-1), libc::ECHILD)?;
    check(helper.is_finished() || helper.join().is_ok(), "too early")
}

fn wait_with_sigchld_ignored_waits_for_all() -> Outcome {
    handle(libc::SIGCHLD, libc::SIG_IGN, 0, &[])?;
    waits_for_all()
}

fn wait_with_nocldwait_waits_for_all() -> Outcome {
    catch(libc::SIGCHLD, libc::SA_NOCLDWAIT | libc::SA_RESTART)?;
    waits_for_all()?;
    // The handler is called all the same.
    check(hits(libc::SIGCHLD) >= 1, "no SIGCHLD")
}

fn wait_still_gets_zombies_from_before_the_ignoring() -> Outcome {
    let pid = fork(|| 3)?;
    await_state(pid, "Z")?;
    handle(libc::SIGCHLD, libc::SIG_IGN, 0, &[])?;
    equal(wait(pid)?, 3 << 8)?;
    fails(wait(-1), libc::ECHILD)
}

fn wait_leaves_sigchld_pending() -> Outcome {
    block(&[libc::SIGCHLD])?;
    let pid = fork(|| 0)?;
    ends_well(pid)?;
    equal(pending()?, set_of(&[libc::SIGCHLD]))?;
    let info = take(&[libc::SIGCHLD])?;
    // SAFETY: the signal tells of a child.
    equal(unsafe { info.si_pid() }, pid)
}

fn wait_and_sigchld_tell_of_the_same_child() -> Outcome {
    catch(libc::SIGCHLD, libc::SA_RESTART)?;
    for status in [0, 7, 255] {
        let pid = fork(|| status)?;
        equal(wait(pid)?, status << 8)?;
        while hits(libc::SIGCHLD) == 0 {
            nap();
        }
        let info = last_info();
        // SAFETY: the signal tells of a child.
        let told = unsafe { (info.si_pid(), info.si_status()) };
        equal((info.si_code, told), (libc::CLD_EXITED, (pid, status)))?;
    }
    Ok(())
}

fn wait_by_another_thread() -> Outcome {
    let pid = fork(|| 4)?;
    let thread = std::thread::spawn(move || wait(pid));
    equal(thread.join().map_err(|_| failure("a panic"))??, 4 << 8)?;
    // And the other way round: a thread's child, after the thread has gone.
    let thread = std::thread::spawn(|| fork(|| 5));
    let pid = thread.join().map_err(|_| failure("a panic"))??;
    equal(wait(pid)?, 5 << 8)
}

fn wait_of_ones_own_threads_children_only() -> Outcome {
    const WNOTHREAD: i32 = 0x2000_0000;
    let board = Board::new()?;
    let addr = board.addr();
    let thread = std::thread::spawn(move || -> Outcome {
        let pid = fork(|| 4)?;
        word(addr).store(pid as u32, Ordering::SeqCst);
        while word(addr + 4).load(Ordering::SeqCst) == 0 {
            nap();
        }
        equal(wait_with(pid, WNOTHREAD)?, 4 << 8)
    });
    board.await_set(0);
    let pid = board.get(0) as i32;
    fails(wait_with(pid, WNOTHREAD), libc::ECHILD)?;
    board.set(1, 1);
    thread.join().map_err(|_| failure("a panic"))?
}

fn wait_of_two_threads_for_one_child() -> Outcome {
    let (hold, release) = pipe()?;
    let pid = fork(|| {
        let _ = close(release);
        let _ = read_some(hold);
        0
    })?;
    let threads: Vec<_> = (0..2)
        .map(|_| std::thread::spawn(move || wait(pid)))
        .collect();
    sleep_ms(10)?;
    close(release)?;
    let mut answers = Vec::new();
    for thread in threads {
        answers.push(thread.join().map_err(|_| failure("a panic"))?);
    }
    answers.sort_by_key(|answer| answer.is_err());
    equal(answers, vec![Ok(0), Err(Errno(libc::ECHILD))])
}

/// A child that ends once it was signalled, and one that signals this process meanwhile.
fn interrupted_wait(flags: i32, signal: i32) -> Outcome<Sys<i32>> {
    catch(libc::SIGUSR1, flags)?;
    let (hold, release) = pipe()?;
    let pid = fork(|| {
        let _ = close(release);
        let _ = read_some(hold);
        0
    })?;
    let me = getpid();
    let helper = fork(|| {
        let _ = await_state(me, "S");
        let _ = kill(me, signal);
        let _ = sleep_ms(20);
        0
    })?;
    // The helper holds the pipe open until it ends.
    close(release)?;
    let answer = wait(pid);
    if answer.is_err() {
        wait(pid)?;
    }
    ends_well(helper)?;
    Ok(answer)
}

fn wait_is_interrupted_by_a_handler() -> Outcome {
    equal(interrupted_wait(0, libc::SIGUSR1)?, Err(Errno(libc::EINTR)))
}

fn wait_goes_on_after_a_handler_with_restart() -> Outcome {
    equal(interrupted_wait(libc::SA_RESTART, libc::SIGUSR1)?, Ok(0))?;
    equal(hits(libc::SIGUSR1), 1)
}

fn wait_is_not_interrupted_by_ignored_signals() -> Outcome {
    equal(interrupted_wait(0, libc::SIGWINCH)?, Ok(0))
}

static REAPED: AtomicU32 = AtomicU32::new(0);

extern "C" fn reap_all(_signal: i32) {
    while sys!(SYS_wait4, -1, 0, libc::WNOHANG, 0).is_ok_and(|pid| pid > 0) {
        REAPED.fetch_add(1, Ordering::SeqCst);
    }
}

fn wait_in_a_handler_of_sigchld() -> Outcome {
    const CHILDREN: u32 = 30;
    let handler = reap_all as extern "C" fn(i32) as usize;
    handle(libc::SIGCHLD, handler, libc::SA_RESTART, &[])?;
    for _ in 0..CHILDREN {
        fork(|| 0)?;
    }
    // None is lost although standard signals merge.
    while REAPED.load(Ordering::SeqCst) < CHILDREN {
        nap();
    }
    fails(wait(-1), libc::ECHILD)
}

fn wait_until_the_last_thread_has_gone() -> Outcome {
    let board = Board::new()?;
    let addr = board.addr();
    let pid = fork(|| {
        std::thread::spawn(move || {
            while word(addr).load(Ordering::SeqCst) == 0 {
                nap();
            }
            exit(9)
        });
        let _ = sys!(SYS_exit, 3);
        0
    })?;
    await_state(pid, "Z")?;
    // The leader is gone, the process is not.
    equal(sys!(SYS_wait4, pid, 0, libc::WNOHANG, 0)?, 0)?;
    board.set(0, 1);
    equal(wait(pid)?, 9 << 8)
}

/// A child that sleeps for good.
fn paused() -> Outcome<i32> {
    let pid = fork(|| sleep_on())?;
    await_state(pid, "S")?;
    Ok(pid)
}

fn end(pid: i32) -> Outcome {
    kill(pid, libc::SIGKILL)?;
    dies_of(pid, libc::SIGKILL)
}

const NOW: i32 = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;

/// What `wait` has to tell of a child without waiting; `None` for nothing.
fn news(pid: i32) -> Sys<Option<i32>> {
    let mut status = 0;
    let answer = sys!(SYS_wait4, pid, &mut status, NOW, 0)?;
    Ok((answer != 0).then_some(std::hint::black_box(status)))
}

fn wait_tells_each_stop_once() -> Outcome {
    let pid = paused()?;
    for signal in [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN] {
        // A group of its own, whose parent is in another of the session: not orphaned.
        sys!(SYS_setpgid, pid, 0)?;
        kill(pid, signal)?;
        let status = wait_with(pid, libc::WUNTRACED)?;
        equal(
            (libc::WIFSTOPPED(status), libc::WSTOPSIG(status)),
            (true, signal),
        )?;
        equal(news(pid)?, None)?;
        kill(pid, libc::SIGCONT)?;
        let status = wait_with(pid, libc::WCONTINUED)?;
        check(libc::WIFCONTINUED(status), "it is not continued")?;
        equal(news(pid)?, None)?;
    }
    end(pid)
}

fn wait_forgets_a_stop_that_was_continued() -> Outcome {
    let pid = paused()?;
    kill(pid, libc::SIGSTOP)?;
    await_state(pid, "T")?;
    kill(pid, libc::SIGCONT)?;
    await_state(pid, "S")?;
    let status = some(news(pid)?, "no news")?;
    check(libc::WIFCONTINUED(status), "the stop is told")?;
    equal(news(pid)?, None)?;
    end(pid)
}

fn wait_tells_continue_of_a_stopped_process_only() -> Outcome {
    let pid = paused()?;
    kill(pid, libc::SIGCONT)?;
    sleep_ms(5)?;
    equal(news(pid)?, None)?;
    end(pid)
}

fn wait_tells_one_stop_of_many_threads() -> Outcome {
    let pid = fork(|| {
        for _ in 0..4 {
            std::thread::spawn(|| {
                loop {
                    nap();
                }
            });
        }
        sleep_on()
    })?;
    sleep_ms(20)?;
    for _ in 0..3 {
        kill(pid, libc::SIGSTOP)?;
        check(
            libc::WIFSTOPPED(wait_with(pid, libc::WUNTRACED)?),
            "it does not stop",
        )?;
        equal(news(pid)?, None)?;
        kill(pid, libc::SIGCONT)?;
        check(
            libc::WIFCONTINUED(wait_with(pid, libc::WCONTINUED)?),
            "it does not go on",
        )?;
        equal(news(pid)?, None)?;
    }
    end(pid)
}

fn wait_for_stops_sees_the_end() -> Outcome {
    let pid = fork(|| 6)?;
    equal(wait_with(pid, libc::WUNTRACED | libc::WCONTINUED)?, 6 << 8)
}

fn wait_of_a_killed_stopped_child() -> Outcome {
    let pid = paused()?;
    kill(pid, libc::SIGSTOP)?;
    await_state(pid, "T")?;
    kill(pid, libc::SIGKILL)?;
    dies_of(pid, libc::SIGKILL)
}

fn wait_leaves_what_waitid_only_looked_at() -> Outcome {
    let pid = paused()?;
    kill(pid, libc::SIGSTOP)?;
    let look = |options: i32| -> Sys<(i32, i32)> {
        let mut info = zeroed::<libc::siginfo_t>();
        sys!(SYS_waitid, libc::P_PID, pid, &mut info, options, 0)?;
        // SAFETY: waitid tells of a child.
        Ok(unsafe { (info.si_code, info.si_status()) })
    };
    let stopped = (libc::CLD_STOPPED, libc::SIGSTOP);
    equal(look(libc::WSTOPPED | libc::WNOWAIT)?, stopped)?;
    equal(look(libc::WSTOPPED | libc::WNOWAIT)?, stopped)?;
    equal(look(libc::WSTOPPED)?, stopped)?;
    equal(look(libc::WSTOPPED | libc::WNOHANG)?, (0, 0))?;
    end(pid)
}

fn wait_for_a_group_that_changes() -> Outcome {
    let pid = paused()?;
    let group = getpid();
    equal(sys!(SYS_wait4, -group, 0, libc::WNOHANG, 0)?, 0)?;
    sys!(SYS_setpgid, pid, 0)?;
    fails(wait_with(-group, libc::WNOHANG), libc::ECHILD)?;
    equal(sys!(SYS_wait4, -pid, 0, libc::WNOHANG, 0)?, 0)?;
    kill(pid, libc::SIGKILL)?;
    dies_of(-pid, libc::SIGKILL)
}

/// A grandchild that ends once the answered pipe's end is closed; its parent has gone.
fn orphan() -> Outcome<(i32, i32)> {
    sys!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)?;
    let board = Board::new()?;
    let (hold, release) = pipe()?;
    let middle = fork(|| {
        let own = fork(|| {
            let _ = close(release);
            let _ = read_some(hold);
            8
        });
        board.set(0, own.unwrap_or(0) as u32);
        0
    })?;
    let mut status = 0;
    // Ignored children are not to be waited for one by one.
    while kill(middle, 0).is_ok() && sys!(SYS_wait4, middle, &mut status, libc::WNOHANG, 0) == Ok(0)
    {
        nap();
    }
    close(hold)?;
    Ok((board.get(0) as i32, release))
}

fn wait_takes_adopted_children() -> Outcome {
    let (pid, release) = orphan()?;
    close(release)?;
    equal(wait(pid)?, 8 << 8)
}

fn wait_with_sigchld_ignored_takes_no_adopted_ones() -> Outcome {
    handle(libc::SIGCHLD, libc::SIG_IGN, 0, &[])?;
    let (pid, release) = orphan()?;
    close(release)?;
    fails(wait(pid), libc::ECHILD)
}

fn wait_adds_the_usage_of_a_childs_threads() -> Outcome {
    let pid = fork(|| {
        let burn = || {
            let clock = || {
                let mut time = zeroed::<libc::timespec>();
                let _ = sys!(SYS_clock_gettime, libc::CLOCK_THREAD_CPUTIME_ID, &mut time);
                time.tv_nsec
            };
            while clock() < 40_000_000 {}
        };
        let threads = [std::thread::spawn(burn), std::thread::spawn(burn)];
        for thread in threads {
            let _ = thread.join();
        }
        0
    })?;
    let mut usage = zeroed::<libc::rusage>();
    sys!(SYS_wait4, pid, 0, 0, &mut usage)?;
    let us = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    let used = us(usage.ru_utime) + us(usage.ru_stime);
    check(used >= 79_000, &format!("only {used} us"))
}
