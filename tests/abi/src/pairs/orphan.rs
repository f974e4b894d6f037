//! Children whose parent, or the thread that made them, ends before them.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    orphan_with_no_signal_ends_with_sigchld,
    orphan_with_another_signal_ends_with_sigchld,
    orphan_that_has_ended_is_told_by_sigchld,
    orphan_that_has_ended_is_told_before_it_is_waited_for,
    orphan_that_has_ended_is_gone_if_sigchld_is_ignored,
    pdeathsig_comes_at_the_end_of_the_thread_that_forked,
    pdeathsig_comes_again_at_the_end_of_the_next_parent,
    pdeathsig_comes_at_an_exec_by_another_thread,
    child_of_an_ended_thread_is_another_threads,
    pdeathsig_does_not_come_at_another_threads_end,
];

/// As `fork`, with a signal of its own at the end; 0 for none.
fn fork_with(signal: i32, body: impl FnOnce() -> i32) -> Sys<i32> {
    match sys!(SYS_clone, signal, 0, 0, 0, 0)? {
        0 => exit(body()),
        pid => Ok(pid as i32),
    }
}

fn be_reaper() -> Outcome {
    sys!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)?;
    block(&[libc::SIGCHLD])?;
    Ok(())
}

fn sender(info: libc::siginfo_t) -> i32 {
    // SAFETY: the signal is one that a process's end sends.
    unsafe { info.si_pid() }
}

fn number_from(fd: i32) -> Outcome<i32> {
    Ok(i32::from_le_bytes(
        read_some(fd)?.try_into().unwrap_or_default(),
    ))
}

/// An orphan that was made with `signal` and lives until the answered pipe's end is closed.
fn orphan(signal: i32) -> Outcome<(i32, i32)> {
    let (hold, release) = pipe()?;
    let (read_end, write_end) = pipe()?;
    // Itself without a signal, so that the reaper hears of the orphan alone.
    let middle = fork_with(0, || {
        let child = fork_with(signal, || {
            let _ = close(release);
            let _ = read_some(hold);
            5
        });
        let _ = write(write_end, &child.unwrap_or(0).to_le_bytes());
        0
    })?;
    wait_with(middle, libc::__WALL)?;
    Ok((number_from(read_end)?, release))
}

fn ends_with_sigchld(signal: i32) -> Outcome {
    be_reaper()?;
    let (orphan, release) = orphan(signal)?;
    equal(sys!(SYS_wait4, orphan, 0, libc::WNOHANG, 0)?, 0)?;
    close(release)?;
    equal(wait(orphan)?, 5 << 8)?;
    equal(sender(take(&[libc::SIGCHLD])?), orphan)
}

fn orphan_with_no_signal_ends_with_sigchld() -> Outcome {
    ends_with_sigchld(0)
}

fn orphan_with_another_signal_ends_with_sigchld() -> Outcome {
    block(&[libc::SIGUSR1])?;
    ends_with_sigchld(libc::SIGUSR1)?;
    equal(pending()? & set_of(&[libc::SIGUSR1]), 0)
}

/// Makes an orphan that has ended before its parent does.
fn dead_orphan(signal: i32) -> Outcome<i32> {
    let (read_end, write_end) = pipe()?;
    fork_with(0, || {
        let child = fork_with(signal, || 5).unwrap_or(0);
        let options = libc::WEXITED | libc::WNOWAIT | libc::__WALL;
        let _ = sys!(SYS_waitid, libc::P_PID, child, 0, options, 0);
        let _ = write(write_end, &child.to_le_bytes());
        0
    })?;
    let pid = number_from(read_end)?;
    close(read_end)?;
    close(write_end)?;
    Ok(pid)
}

fn orphan_that_has_ended_is_told_by_sigchld() -> Outcome {
    be_reaper()?;
    let orphan = dead_orphan(0)?;
    equal(sender(take(&[libc::SIGCHLD])?), orphan)?;
    equal(wait(orphan)?, 5 << 8)
}

fn orphan_that_has_ended_is_told_before_it_is_waited_for() -> Outcome {
    be_reaper()?;
    for _ in 0..200 {
        let orphan = dead_orphan(libc::SIGCHLD)?;
        // It is no child until its parent has ended.
        while sys!(SYS_wait4, orphan, 0, libc::WNOHANG, 0) != Ok(orphan as usize) {}
        check(
            pending()? & set_of(&[libc::SIGCHLD]) != 0,
            "waited for before it was told",
        )?;
        equal(sender(take(&[libc::SIGCHLD])?), orphan)?;
        while wait_with(-1, libc::__WALL).is_ok() {}
    }
    Ok(())
}

fn orphan_that_has_ended_is_gone_if_sigchld_is_ignored() -> Outcome {
    be_reaper()?;
    handle(libc::SIGCHLD, libc::SIG_IGN, 0, &[])?;
    let orphan = dead_orphan(0)?;
    while wait_with(-1, libc::__WALL).is_ok() {}
    // Its number goes a moment after it is no child any more.
    while sys!(SYS_kill, orphan, 0).is_ok() {
        nap();
    }
    fails(sys!(SYS_kill, orphan, 0), libc::ESRCH)
}

/// Forks a child that sets the board's first word, and at each signal of a parent's end one more, to its sender; after two
/// it is done.
fn fork_counting(board: usize) -> Sys<i32> {
    let told = move |index: usize| word(board + 4 * index);
    let pid = fork(|| {
        let _ = block(&[libc::SIGUSR1]);
        let _ = sys!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGUSR1, 0, 0, 0);
        told(0).store(1, Ordering::SeqCst);
        for index in 1..3 {
            let sender = take(&[libc::SIGUSR1]).map_or(-1, sender);
            told(index).store(sender as u32, Ordering::SeqCst);
        }
        0
    })?;
    while told(0).load(Ordering::SeqCst) == 0 {
        nap();
    }
    Ok(pid)
}

fn pdeathsig_comes_at_the_end_of_the_thread_that_forked() -> Outcome {
    let board = Board::new()?;
    let addr = board.addr();
    let thread = std::thread::spawn(move || fork_counting(addr));
    let pid = thread.join().map_err(|_| failure("a panic"))??;
    board.await_set(1);
    equal(board.get(1), getpid() as u32)?;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    equal(wait(pid)?, libc::SIGKILL)
}

fn pdeathsig_comes_again_at_the_end_of_the_next_parent() -> Outcome {
    let board = Board::new()?;
    let addr = board.addr();
    let middle = fork(|| {
        let thread = std::thread::spawn(move || fork_counting(addr));
        let _ = thread.join();
        board.await_set(1);
        0
    })?;
    equal(wait(middle)?, 0)?;
    board.await_set(2);
    equal((board.get(1), board.get(2)), (middle as u32, middle as u32))
}

fn pdeathsig_comes_at_an_exec_by_another_thread() -> Outcome {
    let board = Board::new()?;
    let addr = board.addr();
    let middle = fork(|| {
        let _ = fork_counting(addr);
        std::thread::spawn(|| {
            let argv = [c"sleep".as_ptr(), c"100".as_ptr(), std::ptr::null()];
            let _ = sys!(SYS_execve, c"/bin/sleep".as_ptr(), argv.as_ptr(), 0);
        });
        loop {
            nap();
        }
    })?;
    board.await_set(1);
    sys!(SYS_kill, middle, libc::SIGKILL)?;
    equal(wait(middle)?, libc::SIGKILL)?;
    board.await_set(2);
    equal((board.get(1), board.get(2)), (middle as u32, middle as u32))
}

const WNOTHREAD: i32 = 0x2000_0000;

fn child_of_an_ended_thread_is_another_threads() -> Outcome {
    let thread = std::thread::spawn(|| fork(|| 6));
    let pid = thread.join().map_err(|_| failure("a panic"))??;
    // Joining waits for less than the thread's whole end.
    loop {
        match wait_with(pid, WNOTHREAD) {
            Err(Errno(libc::ECHILD)) => nap(),
            other => return equal(other?, 6 << 8),
        }
    }
}

fn pdeathsig_does_not_come_at_another_threads_end() -> Outcome {
    let board = Board::new()?;
    let pid = fork_counting(board.addr())?;
    let thread = std::thread::spawn(|| fork(|| 0));
    let other = thread.join().map_err(|_| failure("a panic"))??;
    equal(wait(other)?, 0)?;
    sleep_ms(20)?;
    equal(board.get(1), 0)?;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    equal(wait(pid)?, libc::SIGKILL)
}
