//! vfork while signals come and threads run. The parent sleeps until its child has left the memory; signals wait for it,
//! unless they end the process at once.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    vfork_holds_a_caught_signal,
    vfork_holds_every_queued_signal,
    vfork_holds_the_alarm,
    vfork_holds_sigchld_of_another_child,
    vfork_leaves_blocked_signals_pending,
    vfork_with_a_signal_pending_burns_no_time,
    vfork_parent_dies_of_sigterm_at_once,
    vfork_parent_dies_of_sigkill_at_once,
    vfork_parent_ignores_what_is_ignored,
    vfork_parent_stops_after_the_child,
    vfork_child_that_is_killed_lets_the_parent_go,
    vfork_child_that_executes_lets_the_parent_go,
    vfork_child_that_stops_keeps_the_parent,
    vfork_child_starts_with_nothing_pending,
    vfork_child_has_its_own_handlers,
    vfork_child_has_the_parents_mask,
    vfork_of_a_thread_leaves_the_others_running,
    vfork_parent_ends_with_its_process,
    vfork_within_a_vfork,
    vfork_parent_is_in_state_d,
    vfork_under_a_storm_of_signals_loses_none,
    vfork_child_of_a_vanished_parent_goes_on,
];

const VFORK: i32 = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;

/// Makes a child that shares memory and runs `body` while this sleeps.
fn vfork(body: Body, argument: usize) -> Sys<i32> {
    clone_run(VFORK, body, argument, (0, 0))
}

/// The children tell of themselves through a board.
fn at(argument: *mut libc::c_void, index: usize) -> &'static AtomicU32 {
    word(argument as usize + 4 * index)
}

extern "C" fn signal_parent(argument: *mut libc::c_void) -> i32 {
    let parent = at(argument, 0).load(Ordering::SeqCst) as i32;
    let signal = at(argument, 1).load(Ordering::SeqCst) as i32;
    let times = at(argument, 2).load(Ordering::SeqCst);
    for _ in 0..times {
        let _ = kill(parent, signal);
    }
    for _ in 0..20 {
        nap();
    }
    // What the parent's handler has seen by now: the memory is the same.
    at(argument, 3).store(hits(signal), Ordering::SeqCst);
    0
}

/// Signals the parent `times` times during its vfork; answers how often it was caught by the child's end.
fn caught_meanwhile(signal: i32, times: u32) -> Outcome<u32> {
    let board = Board::new()?;
    board.set(0, getpid() as u32);
    board.set(1, signal as u32);
    board.set(2, times);
    ends_well(vfork(signal_parent, board.addr())?)?;
    Ok(board.get(3))
}

fn vfork_holds_a_caught_signal() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    equal(caught_meanwhile(libc::SIGUSR1, 1)?, 0)?;
    equal(hits(libc::SIGUSR1), 1)
}

fn vfork_holds_every_queued_signal() -> Outcome {
    catch(40, 0)?;
    equal(caught_meanwhile(40, 5)?, 0)?;
    equal(hits(40), 5)
}

fn vfork_leaves_blocked_signals_pending() -> Outcome {
    block(&[libc::SIGUSR1])?;
    catch(libc::SIGUSR1, 0)?;
    equal(caught_meanwhile(libc::SIGUSR1, 1)?, 0)?;
    equal(
        (hits(libc::SIGUSR1), pending()?),
        (0, set_of(&[libc::SIGUSR1])),
    )
}

fn vfork_holds_the_alarm() -> Outcome {
    catch(libc::SIGALRM, 0)?;
    let board = Board::new()?;
    board.set(1, libc::SIGALRM as u32);
    alarm_in_ms(5)?;
    ends_well(vfork(signal_parent, board.addr())?)?;
    // It may have come before the vfork, on a slow machine.
    check(board.get(3) <= 1, "the handler ran during the vfork")?;
    while hits(libc::SIGALRM) == 0 {
        nap();
    }
    equal(hits(libc::SIGALRM), 1)
}

fn vfork_holds_sigchld_of_another_child() -> Outcome {
    catch(libc::SIGCHLD, libc::SA_RESTART)?;
    let (hold, release) = pipe()?;
    let other = fork(|| {
        let _ = close(release);
        let _ = read_some(hold);
        0
    })?;
    let board = Board::new()?;
    board.set(0, other as u32);
    board.set(1, libc::SIGCHLD as u32);
    close(hold)?;
    ends_well(vfork(end_other, board.addr())?)?;
    equal(board.get(3), 0)?;
    equal(wait(other)?, libc::SIGKILL)?;
    check((1..=2).contains(&hits(libc::SIGCHLD)), "SIGCHLD is lost")?;
    close(release)?;
    Ok(())
}

extern "C" fn end_other(argument: *mut libc::c_void) -> i32 {
    let other = at(argument, 0).load(Ordering::SeqCst) as i32;
    let _ = kill(other, libc::SIGKILL);
    for _ in 0..20 {
        nap();
    }
    at(argument, 3).store(hits(libc::SIGCHLD), Ordering::SeqCst);
    0
}

extern "C" fn signal_then_sleep(argument: *mut libc::c_void) -> i32 {
    let parent = at(argument, 0).load(Ordering::SeqCst) as i32;
    let _ = kill(parent, libc::SIGUSR1);
    let _ = sleep_ms(300);
    0
}

fn cpu_ms() -> Sys<i64> {
    let mut usage = zeroed::<libc::rusage>();
    sys!(SYS_getrusage, libc::RUSAGE_SELF, &mut usage)?;
    let ms = |time: libc::timeval| time.tv_sec * 1000 + time.tv_usec / 1000;
    Ok(ms(usage.ru_utime) + ms(usage.ru_stime))
}

fn vfork_with_a_signal_pending_burns_no_time() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    let board = Board::new()?;
    board.set(0, getpid() as u32);
    let before = cpu_ms()?;
    ends_well(vfork(signal_then_sleep, board.addr())?)?;
    let used = cpu_ms()? - before;
    check(used < 150, &format!("{used} ms of 300 were used"))?;
    equal(hits(libc::SIGUSR1), 1)
}

extern "C" fn wait_for_word(argument: *mut libc::c_void) -> i32 {
    at(argument, 0).store(gettid() as u32, Ordering::SeqCst);
    while at(argument, 1).load(Ordering::SeqCst) == 0 {
        nap();
    }
    at(argument, 2).store(1, Ordering::SeqCst);
    0
}

/// A process that waits in vfork for a child, which waits for the board's second word; the child's number is in the first.
fn vforking(board: &Board, prepare: impl FnOnce()) -> Outcome<i32> {
    let addr = board.addr();
    let pid = fork(|| {
        prepare();
        match vfork(wait_for_word, addr) {
            Ok(child) => {
                word(addr + 12).store(1, Ordering::SeqCst);
                wait(child).unwrap_or(99)
            }
            Err(_) => 98,
        }
    })?;
    board.await_set(0);
    Ok(pid)
}

fn vfork_parent_dies_of(signal: i32) -> Outcome {
    sys!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)?;
    let board = Board::new()?;
    let pid = vforking(&board, || {})?;
    kill(pid, signal)?;
    dies_of(pid, signal)?;
    // The child lives on in the memory, and ends as it would.
    equal(board.get(2), 0)?;
    board.set(1, 1);
    ends_well(board.get(0) as i32)?;
    equal(board.get(2), 1)
}

fn vfork_parent_dies_of_sigterm_at_once() -> Outcome {
    vfork_parent_dies_of(libc::SIGTERM)
}

fn vfork_parent_dies_of_sigkill_at_once() -> Outcome {
    vfork_parent_dies_of(libc::SIGKILL)
}

fn vfork_parent_ignores_what_is_ignored() -> Outcome {
    let board = Board::new()?;
    let pid = vforking(&board, || {
        let _ = handle(libc::SIGTERM, libc::SIG_IGN, 0, &[]);
    })?;
    for signal in [libc::SIGTERM, libc::SIGWINCH, libc::SIGCONT] {
        kill(pid, signal)?;
    }
    sleep_ms(10)?;
    equal((state_of(pid)?, board.get(3)), ('D', 0))?;
    board.set(1, 1);
    ends_well(pid)
}

fn vfork_parent_stops_after_the_child() -> Outcome {
    let board = Board::new()?;
    let pid = vforking(&board, || {})?;
    kill(pid, libc::SIGSTOP)?;
    sleep_ms(10)?;
    equal(state_of(pid)?, 'D')?;
    board.set(1, 1);
    let status = wait_with(pid, libc::WUNTRACED)?;
    check(libc::WIFSTOPPED(status), "it does not stop")?;
    equal(board.get(3), 0)?;
    kill(pid, libc::SIGCONT)?;
    ends_well(pid)
}

extern "C" fn kill_self(_argument: *mut libc::c_void) -> i32 {
    let _ = kill(sys!(SYS_getpid).unwrap_or(0) as i32, libc::SIGKILL);
    sleep_on()
}

fn vfork_child_that_is_killed_lets_the_parent_go() -> Outcome {
    dies_of(vfork(kill_self, 0)?, libc::SIGKILL)
}

extern "C" fn execute_sleep(_argument: *mut libc::c_void) -> i32 {
    let argv = [c"sleep".as_ptr(), c"1000".as_ptr(), std::ptr::null()];
    let _ = sys!(SYS_execve, c"/bin/sleep", argv.as_ptr(), 0);
    1
}

fn vfork_child_that_executes_lets_the_parent_go() -> Outcome {
    let pid = vfork(execute_sleep, 0)?;
    equal(sys!(SYS_wait4, pid, 0, libc::WNOHANG, 0)?, 0)?;
    kill(pid, libc::SIGKILL)?;
    dies_of(pid, libc::SIGKILL)
}

fn vfork_child_that_stops_keeps_the_parent() -> Outcome {
    let board = Board::new()?;
    let pid = vforking(&board, || {})?;
    let child = board.get(0) as i32;
    kill(child, libc::SIGSTOP)?;
    await_state(child, "T")?;
    board.set(1, 1);
    sleep_ms(10)?;
    equal((state_of(pid)?, board.get(3)), ('D', 0))?;
    kill(child, libc::SIGCONT)?;
    ends_well(pid)
}

extern "C" fn tell_pending(argument: *mut libc::c_void) -> i32 {
    let set = pending().unwrap_or(u64::MAX);
    at(argument, 0).store(set as u32, Ordering::SeqCst);
    at(argument, 1).store(block(&[]).unwrap_or(0) as u32, Ordering::SeqCst);
    0
}

fn vfork_child_starts_with_nothing_pending() -> Outcome {
    block(&[libc::SIGUSR1, libc::SIGUSR2])?;
    raise(libc::SIGUSR1)?;
    sys!(SYS_tgkill, getpid(), gettid(), libc::SIGUSR2)?;
    let board = Board::new()?;
    ends_well(vfork(tell_pending, board.addr())?)?;
    equal(board.get(0), 0)?;
    equal(pending()?, set_of(&[libc::SIGUSR1, libc::SIGUSR2]))
}

fn vfork_child_has_the_parents_mask() -> Outcome {
    block(&[libc::SIGUSR1])?;
    let board = Board::new()?;
    ends_well(vfork(tell_pending, board.addr())?)?;
    equal(u64::from(board.get(1)), set_of(&[libc::SIGUSR1]))
}

extern "C" fn change_handlers(_argument: *mut libc::c_void) -> i32 {
    let changed = handle(libc::SIGUSR1, libc::SIG_IGN, 0, &[]);
    let blocked = block(&[libc::SIGUSR2]);
    i32::from(changed.is_err() || blocked.is_err())
}

fn vfork_child_has_its_own_handlers() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    ends_well(vfork(change_handlers, 0)?)?;
    raise(libc::SIGUSR1)?;
    equal(hits(libc::SIGUSR1), 1)?;
    equal(block(&[])?, 0)
}

fn vfork_of_a_thread_leaves_the_others_running() -> Outcome {
    let board = Board::new()?;
    let addr = board.addr();
    let thread = std::thread::spawn(move || -> Outcome { ends_well(vfork(wait_for_word, addr)?) });
    board.await_set(0);
    // This thread runs, takes signals, and makes children of its own.
    catch(libc::SIGUSR1, 0)?;
    raise(libc::SIGUSR1)?;
    equal(hits(libc::SIGUSR1), 1)?;
    ends_well(fork(|| 0)?)?;
    board.set(1, 1);
    thread.join().map_err(|_| failure("the thread panics"))?
}

fn vfork_parent_ends_with_its_process() -> Outcome {
    sys!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)?;
    let board = Board::new()?;
    let addr = board.addr();
    let pid = fork(|| {
        std::thread::spawn(move || vfork(wait_for_word, addr));
        while word(addr).load(Ordering::SeqCst) == 0 {
            nap();
        }
        // Ends all threads, the one in vfork too.
        exit(6)
    })?;
    equal(wait(pid)?, 6 << 8)?;
    board.set(1, 1);
    ends_well(board.get(0) as i32)
}

extern "C" fn vfork_again(argument: *mut libc::c_void) -> i32 {
    match vfork(store_one, argument as usize) {
        Ok(child) => wait(child).unwrap_or(99),
        Err(_) => 98,
    }
}

extern "C" fn store_one(argument: *mut libc::c_void) -> i32 {
    at(argument, 0).store(1, Ordering::SeqCst);
    0
}

fn vfork_within_a_vfork() -> Outcome {
    let board = Board::new()?;
    ends_well(vfork(vfork_again, board.addr())?)?;
    equal(board.get(0), 1)
}

fn vfork_parent_is_in_state_d() -> Outcome {
    let board = Board::new()?;
    let pid = vforking(&board, || {})?;
    await_state(pid, "D")?;
    board.set(1, 1);
    ends_well(pid)
}

fn vfork_under_a_storm_of_signals_loses_none() -> Outcome {
    const STORM: u32 = 300;
    catch(40, libc::SA_RESTART)?;
    let me = getpid();
    let mut info = zeroed::<libc::siginfo_t>();
    info.si_signo = 40;
    info.si_code = libc::SI_QUEUE;
    let storm = fork(|| {
        for _ in 0..STORM {
            while sys!(SYS_rt_sigqueueinfo, me, 40, &info).is_err() {
                nap();
            }
        }
        0
    })?;
    let board = Board::new()?;
    while hits(40) < STORM {
        ends_well(vfork(store_one, board.addr())?)?;
    }
    equal(hits(40), STORM)?;
    ends_well(storm)
}

fn vfork_child_of_a_vanished_parent_goes_on() -> Outcome {
    sys!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)?;
    let board = Board::new()?;
    let pid = vforking(&board, || {})?;
    kill(pid, libc::SIGKILL)?;
    dies_of(pid, libc::SIGKILL)?;
    let child = board.get(0) as i32;
    // It has a new parent, and its memory is whole.
    let status = text_of(&format!("/proc/{child}/status"))?;
    check(
        status.contains(&format!("PPid:\t{}\n", getpid())),
        "its parent is another",
    )?;
    board.set(1, 1);
    ends_well(child)
}
