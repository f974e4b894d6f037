//! Sessions for cases about job control: leaders, jobs, orphans.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::harness;

/// Runs a body as the leader of a new session.
pub fn as_leader(body: impl FnOnce() -> Outcome) -> Outcome {
    within(|| {
        // Nothing of a session outlives a case that fails.
        sys!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0)?;
        sys!(SYS_setsid)?;
        body()
    })
}

/// The same with a terminal that controls the session.
pub fn with_terminal(body: impl FnOnce(&Pty) -> Outcome) -> Outcome {
    as_leader(|| {
        let pty = Pty::open()?;
        sys!(SYS_ioctl, pty.slave, libc::TIOCSCTTY, 0)?;
        body(&pty)
    })
}

/// Starts a member of the session in a group of its own; what it answers is its status.
pub fn job(body: impl FnOnce() -> Outcome) -> Sys<i32> {
    let pid = fork(|| {
        let _ = sys!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        let _ = sys!(SYS_setpgid, 0, 0);
        match body() {
            Ok(()) => 0,
            Err(trouble) => {
                eprintln!("{trouble:?}");
                1
            }
        }
    })?;
    // Both sides do it, so that neither goes on before it is done. It fails if the job has ended.
    let _ = sys!(SYS_setpgid, pid, pid);
    Ok(pid)
}

/// Makes a group the foreground, though the caller may be in the background.
pub fn put_in_foreground(pty: &Pty, group: i32) -> Outcome {
    let old = block(&[libc::SIGTTOU])?;
    tell(pty.slave, libc::TIOCSPGRP, group)?;
    sys!(SYS_rt_sigprocmask, libc::SIG_SETMASK, &old, 0, 8)?;
    Ok(())
}

/// Waits until a child stops, and answers by which signal.
pub fn stop_of(pid: i32) -> Outcome<i32> {
    let status = wait_with(pid, libc::WUNTRACED)?;
    check(libc::WIFSTOPPED(status), "the child stops")?;
    Ok(libc::WSTOPSIG(status))
}

/// Lets a stopped child go on, and its end must be a good one.
pub fn ends_well(pid: i32) -> Outcome {
    sys!(SYS_kill, pid, libc::SIGCONT)?;
    equal(wait(pid)?, 0)
}

/// Words that all processes of a case share.
pub fn shared() -> Sys<&'static AtomicU32> {
    Ok(word(map_shared(PAGE)?))
}

pub fn open_current() -> Sys<i32> {
    open(c"/dev/tty", libc::O_RDWR)
}

/// The terminal's foreground must be this group.
#[track_caller]
pub fn has_foreground(fd: i32, group: i32) -> Outcome {
    equal(ask(fd, libc::TIOCGPGRP)?, group)
}

/// A job that answers well once it has got these signals, all of them blocked.
pub fn awaits(ready: &'static AtomicU32, signals: &'static [i32]) -> Sys<i32> {
    job(|| {
        block(signals)?;
        ready.fetch_add(1, Ordering::SeqCst);
        for &signal in signals {
            equal(take(&[signal])?.si_signo, signal)?;
        }
        Ok(())
    })
}

/// Runs a body in a background group whose members have no parent in the session.
pub fn as_orphan(body: impl FnOnce() -> Outcome) -> Outcome {
    let (answer, send) = pipe2(libc::O_CLOEXEC)?;
    let parent = fork(|| {
        let middle = getpid();
        let child = fork(|| {
            let _ = sys!(SYS_setpgid, 0, 0);
            while sys!(SYS_getppid) == Ok(middle as usize) {
                nap();
            }
            harness::send(send, &body());
            0
        });
        i32::from(child.is_err())
    })?;
    equal(wait(parent)?, 0)?;
    close(send)?;
    let answered = read_some(answer)?;
    harness::received(&answered)
}

/// Starts a session on the slave. Its foreground is a job that runs `body`; once that has set its
/// word to 1, `stage` is 1, and the leader ends when that is made 2. Answers the leader.
pub fn session(
    pty: &Pty,
    stage: &'static AtomicU32,
    body: impl FnOnce(&'static AtomicU32) -> Outcome,
    answer: i32,
) -> Sys<i32> {
    fork(|| {
        let setup = || -> Outcome {
            sys!(SYS_setsid)?;
            sys!(SYS_ioctl, pty.slave, libc::TIOCSCTTY, 0)?;
            close(pty.master)?;
            let started = shared()?;
            let front = job(|| {
                sys!(SYS_prctl, libc::PR_SET_PDEATHSIG, 0, 0, 0, 0)?;
                let outcome = body(started);
                harness::send(answer, &outcome);
                Ok(())
            })?;
            put_in_foreground(pty, front)?;
            await_word(started, 1);
            stage.store(1, Ordering::SeqCst);
            await_word(stage, 2);
            Ok(())
        };
        i32::from(setup().is_err())
    })
}
