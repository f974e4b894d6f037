//! Who traces whom, and how that ends.

use std::sync::atomic::Ordering;

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    traceme_makes_the_parent_the_tracer,
    traceme_twice_is_eperm,
    attach_stops_with_sigstop,
    attach_to_oneself_is_eperm,
    attach_to_nobody_is_esrch,
    attach_to_a_zombie_is_eperm,
    attach_twice_is_eperm,
    attach_to_anothers_tracee_is_eperm,
    seize_does_not_stop,
    seize_refuses_an_address_and_unknown_options,
    requests_need_a_stopped_tracee,
    requests_are_the_tracers_alone,
    unknown_requests_are_eio,
    resume_refuses_what_is_no_signal,
    detach_gives_a_signal,
    a_tracers_end_lets_tracees_go,
    a_tracers_end_kills_with_exitkill,
    attach_to_a_stopped_process_traps_it,
    seize_of_a_stopped_process_traps_it,
    a_user_may_not_attach_to_the_super_user,
    a_user_may_attach_to_its_own,
    an_undumpable_process_may_not_be_attached_to,
    a_traced_set_uid_program_gains_nothing,
];

fn traceme_makes_the_parent_the_tracer() -> Outcome {
    let pid = traced(|| 7)?;
    equal(status_of(pid, "TracerPid")?, i64::from(getpid()))?;
    equal(state_of(pid)?, 't')?;
    ptrace(req::DETACH, pid, 0, 0)?;
    expect_exit(pid, 7)
}

fn traceme_twice_is_eperm() -> Outcome {
    let pid = traced(|| i32::from(ptrace(req::TRACEME, 0, 0, 0) != Err(Errno(libc::EPERM))))?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn attach_stops_with_sigstop() -> Outcome {
    let pid = paused()?;
    await_state(pid, "S")?;
    ptrace(req::ATTACH, pid, 0, 0)?;
    expect_stop(pid, libc::SIGSTOP)?;
    equal(state_of(pid)?, 't')?;
    ptrace(req::DETACH, pid, 0, 0)?;
    await_state(pid, "S")?;
    equal(status_of(pid, "TracerPid")?, 0)?;
    kill_now(pid)
}

fn attach_to_oneself_is_eperm() -> Outcome {
    fails(ptrace(req::ATTACH, getpid(), 0, 0), libc::EPERM)?;
    fails(ptrace(req::SEIZE, getpid(), 0, 0), libc::EPERM)
}

fn attach_to_nobody_is_esrch() -> Outcome {
    fails(ptrace(req::ATTACH, 0, 0, 0), libc::ESRCH)?;
    fails(ptrace(req::ATTACH, -1, 0, 0), libc::ESRCH)?;
    let gone = fork(|| 0)?;
    wait(gone)?;
    fails(ptrace(req::ATTACH, gone, 0, 0), libc::ESRCH)?;
    fails(ptrace(req::CONT, gone, 0, 0), libc::ESRCH)
}

fn attach_to_a_zombie_is_eperm() -> Outcome {
    let pid = fork(|| 3)?;
    await_state(pid, "Z")?;
    fails(ptrace(req::ATTACH, pid, 0, 0), libc::EPERM)?;
    fails(ptrace(req::CONT, pid, 0, 0), libc::ESRCH)?;
    expect_exit(pid, 3)
}

fn attach_twice_is_eperm() -> Outcome {
    let pid = paused()?;
    ptrace(req::ATTACH, pid, 0, 0)?;
    fails(ptrace(req::ATTACH, pid, 0, 0), libc::EPERM)?;
    expect_stop(pid, libc::SIGSTOP)?;
    fails(ptrace(req::SEIZE, pid, 0, 0), libc::EPERM)?;
    kill_now(pid)
}

fn attach_to_anothers_tracee_is_eperm() -> Outcome {
    let pid = traced(|| 0)?;
    within(|| fails(ptrace(req::ATTACH, pid, 0, 0), libc::EPERM))?;
    kill_now(pid)
}

fn seize_does_not_stop() -> Outcome {
    let pid = paused()?;
    await_state(pid, "S")?;
    ptrace(req::SEIZE, pid, 0, 0)?;
    nothing(pid)?;
    equal(state_of(pid)?, 'S')?;
    ptrace(req::INTERRUPT, pid, 0, 0)?;
    expect_event_stop(pid, libc::SIGTRAP)?;
    let info = siginfo(pid)?;
    equal(
        (info.si_signo, info.si_code),
        (libc::SIGTRAP, libc::SIGTRAP | event::STOP << 8),
    )?;
    resume(pid, 0)?;
    await_state(pid, "S")?;
    kill_now(pid)
}

fn seize_refuses_an_address_and_unknown_options() -> Outcome {
    let pid = paused()?;
    fails(ptrace(req::SEIZE, pid, 8, 0), libc::EIO)?;
    fails(ptrace(req::SEIZE, pid, 0, 1 << 30), libc::EIO)?;
    fails(ptrace(req::SEIZE, pid, 0, 1 << 40), libc::EIO)?;
    kill_now(pid)
}

fn requests_need_a_stopped_tracee() -> Outcome {
    let pid = paused()?;
    let mut word = 0_u64;
    fails(ptrace(req::CONT, pid, 0, 0), libc::ESRCH)?;
    ptrace(req::SEIZE, pid, 0, 0)?;
    fails(ptrace(req::CONT, pid, 0, 0), libc::ESRCH)?;
    fails(
        sys!(SYS_ptrace, req::PEEKUSER, pid, 0, &mut word),
        libc::ESRCH,
    )?;
    fails(ptrace(req::DETACH, pid, 0, 0), libc::ESRCH)?;
    kill_now(pid)
}

fn requests_are_the_tracers_alone() -> Outcome {
    let pid = traced(|| 0)?;
    within(|| {
        fails(ptrace(req::CONT, pid, 0, 0), libc::ESRCH)?;
        fails(ptrace(req::KILL, pid, 0, 0), libc::ESRCH)
    })?;
    kill_now(pid)
}

fn unknown_requests_are_eio() -> Outcome {
    let pid = traced(|| 0)?;
    fails(ptrace(0x999, pid, 0, 0), libc::EIO)?;
    fails(ptrace(10, pid, 0, 0), libc::EIO)?;
    kill_now(pid)
}

fn resume_refuses_what_is_no_signal() -> Outcome {
    let pid = traced(|| 0)?;
    for bad in [65, 1000, usize::MAX] {
        fails(ptrace(req::CONT, pid, 0, bad), libc::EIO)?;
        fails(ptrace(req::DETACH, pid, 0, bad), libc::EIO)?;
    }
    kill_now(pid)
}

fn detach_gives_a_signal() -> Outcome {
    let pid = traced(|| {
        let _ = raise(libc::SIGUSR1);
        0
    })?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGUSR1)?;
    ptrace(req::DETACH, pid, 0, libc::SIGUSR2 as usize)?;
    equal(wait(pid)?, libc::SIGUSR2)
}

fn a_tracers_end_lets_tracees_go() -> Outcome {
    let pid = paused()?;
    await_state(pid, "S")?;
    within(|| {
        ptrace(req::ATTACH, pid, 0, 0)?;
        expect_stop(pid, libc::SIGSTOP)?;
        equal(status_of(pid, "TracerPid")?, i64::from(getpid()))
    })?;
    await_state(pid, "S")?;
    equal(status_of(pid, "TracerPid")?, 0)?;
    kill_now(pid)
}

fn a_tracers_end_kills_with_exitkill() -> Outcome {
    let pid = paused()?;
    within(|| {
        ptrace(req::SEIZE, pid, 0, opt::EXITKILL)?;
        Ok(())
    })?;
    equal(wait(pid)?, libc::SIGKILL)
}

/// A process that job control has stopped, and that was waited for.
fn stopped() -> Outcome<i32> {
    let pid = paused()?;
    sys!(SYS_kill, pid, libc::SIGSTOP)?;
    let status = wait_with(pid, libc::WUNTRACED)?;
    equal(libc::WSTOPSIG(status), libc::SIGSTOP)?;
    Ok(pid)
}

fn attach_to_a_stopped_process_traps_it() -> Outcome {
    let pid = stopped()?;
    ptrace(req::ATTACH, pid, 0, 0)?;
    equal(state_of(pid)?, 't')?;
    expect_stop(pid, libc::SIGSTOP)?;
    ptrace(req::DETACH, pid, 0, 0)?;
    await_state(pid, "T")?;
    kill_now(pid)
}

fn seize_of_a_stopped_process_traps_it() -> Outcome {
    let pid = stopped()?;
    ptrace(req::SEIZE, pid, 0, 0)?;
    expect_event_stop(pid, libc::SIGSTOP)?;
    ptrace(req::DETACH, pid, 0, 0)?;
    await_state(pid, "T")?;
    sys!(SYS_kill, pid, libc::SIGCONT)?;
    await_state(pid, "S")?;
    kill_now(pid)
}

fn a_user_may_not_attach_to_the_super_user() -> Outcome {
    let pid = paused()?;
    within(|| {
        become_user()?;
        fails(ptrace(req::ATTACH, pid, 0, 0), libc::EPERM)?;
        fails(ptrace(req::SEIZE, pid, 0, 0), libc::EPERM)
    })?;
    kill_now(pid)
}

/// Becomes the user 1000 and dumpable, as a program is that this user starts.
fn become_plain_user() -> Sys<()> {
    become_user()?;
    sys!(SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0)?;
    Ok(())
}

fn a_user_may_attach_to_its_own() -> Outcome {
    within(|| {
        become_plain_user()?;
        let pid = paused()?;
        ptrace(req::ATTACH, pid, 0, 0)?;
        expect_stop(pid, libc::SIGSTOP)?;
        kill_now(pid)
    })
}

fn an_undumpable_process_may_not_be_attached_to() -> Outcome {
    within(|| {
        become_plain_user()?;
        let flag = map_shared(PAGE)?;
        let pid = fork(|| {
            let _ = sys!(SYS_prctl, libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
            word(flag).store(1, Ordering::SeqCst);
            loop {
                let _ = sys!(SYS_pause);
            }
        })?;
        await_word(word(flag), 1);
        fails(ptrace(req::ATTACH, pid, 0, 0), libc::EPERM)?;
        kill_now(pid)
    })
}

fn a_traced_set_uid_program_gains_nothing() -> Outcome {
    let program = std::fs::read("/bin/busybox")?;
    std::fs::write("program", program)?;
    sys!(SYS_chmod, c"program", 0o4755)?;
    let run = || {
        let argv = [c"id".as_ptr(), c"-u".as_ptr(), std::ptr::null()];
        let envp: [*const i8; 1] = [std::ptr::null()];
        let _ = sys!(SYS_execve, c"./program", argv.as_ptr(), envp.as_ptr());
        77
    };
    within(|| {
        become_plain_user()?;
        let (read_end, write_end) = pipe()?;
        let pid = traced(|| {
            let _ = sys!(SYS_dup2, write_end, 1);
            run()
        })?;
        resume(pid, 0)?;
        expect_stop(pid, libc::SIGTRAP)?;
        let ids = text_of(&format!("/proc/{pid}/status"))?;
        let ids = some(ids.lines().find(|line| line.starts_with("Uid:")), "no ids")?.to_owned();
        resume(pid, 0)?;
        expect_exit(pid, 0)?;
        equal(ids.as_str(), "Uid:\t1000\t1000\t1000\t1000")?;
        equal(read_some(read_end)?, b"1000\n".to_vec())
    })
}
