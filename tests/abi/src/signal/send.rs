//! Sending: stop and continue, rights, groups and limits.

use super::queue;
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    stopped_process_takes_signals_after_continue,
    continue_discards_stops,
    stop_discards_continues,
    kill_permissions,
    kill_zero_probes,
    kill_refuses_bad_numbers,
    kill_of_a_group,
    tgkill_needs_the_right_group,
    sigpending_limit_is_eagain,
    exec_resets_handlers_keeps_ignored,
    sigchld_comes_once_for_many,
    abort_kills_with_core_flag_or_not,
];

fn stopped_process_takes_signals_after_continue() -> Outcome {
    let pid = fork(|| {
        let _ = catch(libc::SIGUSR1, 0);
        let _ = raise(libc::SIGSTOP);
        hits(libc::SIGUSR1) as i32
    })?;
    wait_with(pid, libc::WUNTRACED)?;
    sys!(SYS_kill, pid, libc::SIGUSR1)?;
    equal(state_of(pid)?, 'T')?;
    sys!(SYS_kill, pid, libc::SIGCONT)?;
    equal(wait(pid)?, 1 << 8)
}

fn continue_discards_stops() -> Outcome {
    block(&[libc::SIGTSTP])?;
    raise(libc::SIGTSTP)?;
    equal(pending()?, set_of(&[libc::SIGTSTP]))?;
    raise(libc::SIGCONT)?;
    equal(pending()?, 0)
}

fn stop_discards_continues() -> Outcome {
    block(&[libc::SIGTSTP, libc::SIGCONT])?;
    raise(libc::SIGCONT)?;
    equal(pending()?, set_of(&[libc::SIGCONT]))?;
    raise(libc::SIGTSTP)?;
    equal(pending()?, set_of(&[libc::SIGTSTP]))
}

fn kill_permissions() -> Outcome {
    let root = getpid();
    within(|| {
        become_user()?;
        fails(sys!(SYS_kill, root, libc::SIGURG), libc::EPERM)?;
        fails(sys!(SYS_kill, root, 0), libc::EPERM)?;
        sys!(SYS_kill, getpid(), libc::SIGURG)?;
        // In one's own session, one may always be told to go on.
        sys!(SYS_kill, root, libc::SIGCONT)?;
        Ok(())
    })
}

fn kill_zero_probes() -> Outcome {
    sys!(SYS_kill, getpid(), 0)?;
    sys!(SYS_kill, 0, 0)?;
    fails(sys!(SYS_kill, 0x3fff_ffff, 0), libc::ESRCH)?;
    fails(sys!(SYS_kill, -0x3fff_ffff, 0), libc::ESRCH)?;
    fails(sys!(SYS_kill, i32::MIN, 0), libc::ESRCH)
}

fn kill_refuses_bad_numbers() -> Outcome {
    fails(sys!(SYS_kill, getpid(), 65), libc::EINVAL)?;
    fails(sys!(SYS_kill, getpid(), -1), libc::EINVAL)
}

fn kill_of_a_group() -> Outcome {
    let mut pids = Vec::new();
    for _ in 0..3 {
        pids.push(fork(|| {
            loop {
                let _ = sys!(SYS_pause);
            }
        })?);
    }
    let leader = pids.first().copied().unwrap_or(0);
    for &pid in &pids {
        sys!(SYS_setpgid, pid, leader)?;
    }
    sys!(SYS_kill, -leader, libc::SIGINT)?;
    for pid in pids {
        equal(wait(pid)?, libc::SIGINT)?;
    }
    Ok(())
}

fn tgkill_needs_the_right_group() -> Outcome {
    let tid = sys!(SYS_gettid)?;
    sys!(SYS_tgkill, getpid(), tid, 0)?;
    fails(sys!(SYS_tgkill, 1, tid, 0), libc::ESRCH)?;
    fails(sys!(SYS_tgkill, -1, tid, 0), libc::EINVAL)?;
    fails(sys!(SYS_tgkill, getpid(), 0, 0), libc::EINVAL)?;
    fails(sys!(SYS_tkill, 0x3fff_ffff, 0), libc::ESRCH)
}

fn sigpending_limit_is_eagain() -> Outcome {
    block(&[40])?;
    let limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    sys!(SYS_prlimit64, 0, libc::RLIMIT_SIGPENDING as i32, &limit, 0)?;
    fails(queue(getpid(), 40, 1), libc::EAGAIN)?;
    // One that is merely sent always comes.
    raise(40)?;
    equal(pending()?, set_of(&[40]))
}

fn exec_resets_handlers_keeps_ignored() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    handle(libc::SIGUSR2, libc::SIG_IGN, 0, &[])?;
    block(&[libc::SIGHUP])?;
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let _ = sys!(SYS_dup2, write_end, 1);
        let arguments = [
            c"cat".as_ptr(),
            c"/proc/self/status".as_ptr(),
            std::ptr::null(),
        ];
        let _ = sys!(SYS_execve, c"/bin/cat", &arguments, 0);
        127
    })?;
    close(write_end)?;
    let text = String::from_utf8_lossy(&read_some(read_end)?).into_owned();
    equal(wait(pid)?, 0)?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(line.unwrap_or("none").trim(), 16).unwrap_or(u64::MAX)
    };
    equal(field("SigCgt:"), 0)?;
    equal(
        field("SigIgn:") & set_of(&[libc::SIGUSR2]),
        set_of(&[libc::SIGUSR2]),
    )?;
    equal(field("SigBlk:"), set_of(&[libc::SIGHUP]))
}

fn sigchld_comes_once_for_many() -> Outcome {
    block(&[libc::SIGCHLD])?;
    catch(libc::SIGCHLD, 0)?;
    let pids = [fork(|| 0)?, fork(|| 0)?, fork(|| 0)?];
    for pid in pids {
        equal(wait(pid)?, 0)?;
    }
    unblock(&[libc::SIGCHLD])?;
    equal(hits(libc::SIGCHLD), 1)
}

fn abort_kills_with_core_flag_or_not() -> Outcome {
    let pid = fork(|| {
        let limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        let _ = sys!(SYS_prlimit64, 0, libc::RLIMIT_CORE as i32, &limit, 0);
        let _ = raise(libc::SIGABRT);
        0
    })?;
    equal(libc::WTERMSIG(wait(pid)?), libc::SIGABRT)
}
