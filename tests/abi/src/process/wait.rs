//! wait4 and waitid.

use super::{kill_and_wait, paused};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    wait_answers_the_exit_status,
    wait_answers_the_killing_signal,
    wait_without_children_is_echild,
    wait_for_strangers_is_echild,
    wait_nohang_answers_zero,
    wait_refuses_unknown_options,
    wait_by_group,
    wait_sees_stop_and_continue,
    wait_tells_resource_usage,
    waitid_nowait_leaves_the_child,
    waitid_fills_siginfo,
    waitid_nohang_clears_siginfo,
    waitid_by_pidfd,
    waitid_refuses_no_events,
];

fn wait_answers_the_exit_status() -> Outcome {
    for status in [0, 1, 42, 255] {
        equal(wait(fork(|| status)?)?, status << 8)?;
    }
    Ok(())
}

fn wait_answers_the_killing_signal() -> Outcome {
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGUSR1, 40] {
        let status = wait(fork(|| {
            let _ = raise(signal);
            0
        })?)?;
        equal(
            (libc::WIFSIGNALED(status), libc::WTERMSIG(status)),
            (true, signal),
        )?;
    }
    Ok(())
}

fn wait_without_children_is_echild() -> Outcome {
    fails(wait(-1), libc::ECHILD)
}

fn wait_for_strangers_is_echild() -> Outcome {
    let pid = fork(|| 0)?;
    fails(wait(1), libc::ECHILD)?;
    fails(wait(getpid()), libc::ECHILD)?;
    equal(wait(pid)?, 0)
}

fn wait_nohang_answers_zero() -> Outcome {
    let pid = paused()?;
    equal(sys!(SYS_wait4, -1, 0, libc::WNOHANG, 0)?, 0)?;
    kill_and_wait(pid)
}

fn wait_refuses_unknown_options() -> Outcome {
    fails(wait_with(-1, 0x100), libc::EINVAL)?;
    fails(wait_with(-1, libc::WEXITED), libc::EINVAL)?;
    fails(sys!(SYS_wait4, i32::MIN, 0, 0, 0), libc::ESRCH)
}

fn wait_by_group() -> Outcome {
    let one = fork(|| 1)?;
    let two = fork(|| {
        let _ = sys!(SYS_setpgid, 0, 0);
        2
    })?;
    let _ = sys!(SYS_setpgid, two, two);
    equal(sys!(SYS_wait4, -two, 0, 0, 0)?, two as usize)?;
    fails(sys!(SYS_wait4, -two, 0, 0, 0), libc::ECHILD)?;
    equal(sys!(SYS_wait4, 0, 0, 0, 0)?, one as usize)
}

fn wait_sees_stop_and_continue() -> Outcome {
    let pid = paused()?;
    sys!(SYS_kill, pid, libc::SIGSTOP)?;
    let status = wait_with(pid, libc::WUNTRACED)?;
    equal(
        (libc::WIFSTOPPED(status), libc::WSTOPSIG(status)),
        (true, libc::SIGSTOP),
    )?;
    equal(
        sys!(SYS_wait4, pid, 0, libc::WUNTRACED | libc::WNOHANG, 0)?,
        0,
    )?;
    sys!(SYS_kill, pid, libc::SIGCONT)?;
    equal(wait_with(pid, libc::WCONTINUED)?, 0xffff)?;
    kill_and_wait(pid)
}

fn wait_tells_resource_usage() -> Outcome {
    let pid = fork(|| {
        let addr = map(64 * PAGE).unwrap_or(0);
        (0..64).for_each(|page| poke(addr + page * PAGE, 1));
        0
    })?;
    let mut usage = zeroed::<libc::rusage>();
    sys!(SYS_wait4, pid, 0, 0, &mut usage)?;
    check(usage.ru_minflt > 0, "no page faults")?;
    check(usage.ru_maxrss > 0, "no resident set")
}

fn waitid(kind: u32, id: i32, options: i32) -> Sys<libc::siginfo_t> {
    let mut info = zeroed::<libc::siginfo_t>();
    sys!(SYS_waitid, kind, id, &mut info, options, 0)?;
    Ok(info)
}

fn waitid_nowait_leaves_the_child() -> Outcome {
    let pid = fork(|| 9)?;
    for _ in 0..2 {
        let info = waitid(libc::P_PID, pid, libc::WEXITED | libc::WNOWAIT)?;
        // SAFETY: the signal tells of a child.
        equal(unsafe { info.si_status() }, 9)?;
    }
    equal(wait(pid)?, 9 << 8)
}

fn waitid_fills_siginfo() -> Outcome {
    let pid = fork(|| 4)?;
    let info = waitid(libc::P_ALL, 0, libc::WEXITED)?;
    equal(
        (info.si_signo, info.si_errno, info.si_code),
        (libc::SIGCHLD, 0, libc::CLD_EXITED),
    )?;
    // SAFETY: the signal tells of a child.
    let told = unsafe { (info.si_pid(), info.si_uid(), info.si_status()) };
    equal(told, (pid, 0, 4))?;
    let pid = paused()?;
    sys!(SYS_kill, pid, libc::SIGTERM)?;
    let info = waitid(libc::P_PID, pid, libc::WEXITED)?;
    equal(info.si_code, libc::CLD_KILLED)?;
    // SAFETY: as above.
    equal(unsafe { info.si_status() }, libc::SIGTERM)
}

fn waitid_nohang_clears_siginfo() -> Outcome {
    let pid = paused()?;
    let mut info = zeroed::<libc::siginfo_t>();
    info.si_signo = 77;
    sys!(
        SYS_waitid,
        libc::P_PID,
        pid,
        &mut info,
        libc::WEXITED | libc::WNOHANG,
        0
    )?;
    // SAFETY: a plain field.
    equal((info.si_signo, unsafe { info.si_pid() }), (0, 0))?;
    kill_and_wait(pid)
}

fn waitid_by_pidfd() -> Outcome {
    let pid = fork(|| 6)?;
    let fd = sys!(SYS_pidfd_open, pid, 0)? as i32;
    let info = waitid(libc::P_PIDFD, fd, libc::WEXITED)?;
    // SAFETY: the signal tells of a child.
    equal(unsafe { (info.si_pid(), info.si_status()) }, (pid, 6))?;
    let null = open(c"/dev/null", libc::O_RDONLY)?;
    fails(
        waitid(libc::P_PIDFD, null, libc::WEXITED).map(|_| ()),
        libc::EBADF,
    )
}

fn waitid_refuses_no_events() -> Outcome {
    fails(waitid(libc::P_ALL, 0, 0).map(|_| ()), libc::EINVAL)?;
    fails(
        waitid(libc::P_ALL, 0, libc::WNOHANG).map(|_| ()),
        libc::EINVAL,
    )?;
    fails(waitid(9, 0, libc::WEXITED).map(|_| ()), libc::EINVAL)?;
    fails(
        waitid(libc::P_PID, 0, libc::WEXITED).map(|_| ()),
        libc::EINVAL,
    )
}
