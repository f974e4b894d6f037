//! Job control of tracees.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    a_stop_signal_stops_twice,
    a_seized_tracee_tells_of_a_group_stop,
    listen_waits_for_sigcont,
    listen_traps_at_the_next_stop_signal,
    listen_needs_a_seized_tracee_in_an_event_stop,
    interrupt_ends_listening,
    interrupt_needs_a_seized_tracee,
    interrupt_of_a_stopped_tracee_stops_again,
    cont_ends_a_group_stop_for_the_tracee,
    detach_in_a_group_stop_leaves_it_stopped,
    sigcont_does_not_wake_a_tracee,
    the_parent_hears_of_the_group_stop,
    an_interrupted_call_goes_on,
    sigkill_ends_listening,
];

/// A tracee, not seized, in the group stop of a SIGTSTP.
fn group_stopped() -> Outcome<i32> {
    let pid = traced(|| {
        let _ = raise(libc::SIGSTOP);
        6
    })?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGSTOP)?;
    equal(siginfo(pid)?.si_signo, libc::SIGSTOP)?;
    resume(pid, libc::SIGSTOP)?;
    expect_stop(pid, libc::SIGSTOP)?;
    Ok(pid)
}

fn a_stop_signal_stops_twice() -> Outcome {
    let pid = group_stopped()?;
    fails(siginfo(pid).map(|_| ()), libc::EINVAL)?;
    equal(state_of(pid)?, 't')?;
    kill_now(pid)
}

/// A seized process that is in a group stop.
fn seized_stop() -> Outcome<i32> {
    let pid = paused()?;
    await_state(pid, "S")?;
    ptrace(req::SEIZE, pid, 0, 0)?;
    sys!(SYS_kill, pid, libc::SIGSTOP)?;
    expect_stop(pid, libc::SIGSTOP)?;
    resume(pid, libc::SIGSTOP)?;
    expect_event_stop(pid, libc::SIGSTOP)?;
    Ok(pid)
}

fn a_seized_tracee_tells_of_a_group_stop() -> Outcome {
    let pid = seized_stop()?;
    let info = siginfo(pid)?;
    equal(
        (info.si_signo, info.si_code),
        (libc::SIGSTOP, libc::SIGSTOP | event::STOP << 8),
    )?;
    kill_now(pid)
}

fn listen_waits_for_sigcont() -> Outcome {
    let pid = seized_stop()?;
    ptrace(req::LISTEN, pid, 0, 0)?;
    nothing(pid)?;
    fails(siginfo(pid).map(|_| ()), libc::ESRCH)?;
    sys!(SYS_kill, pid, libc::SIGCONT)?;
    expect_event_stop(pid, libc::SIGTRAP)?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGCONT)?;
    resume(pid, libc::SIGCONT)?;
    await_state(pid, "S")?;
    kill_now(pid)
}

fn listen_traps_at_the_next_stop_signal() -> Outcome {
    let pid = seized_stop()?;
    ptrace(req::LISTEN, pid, 0, 0)?;
    ptrace(req::INTERRUPT, pid, 0, 0)?;
    expect_event_stop(pid, libc::SIGSTOP)?;
    ptrace(req::LISTEN, pid, 0, 0)?;
    nothing(pid)?;
    kill_now(pid)
}

fn listen_needs_a_seized_tracee_in_an_event_stop() -> Outcome {
    let pid = group_stopped()?;
    fails(ptrace(req::LISTEN, pid, 0, 0), libc::EIO)?;
    kill_now(pid)?;
    let pid = paused()?;
    await_state(pid, "S")?;
    ptrace(req::SEIZE, pid, 0, 0)?;
    sys!(SYS_kill, pid, libc::SIGUSR1)?;
    expect_stop(pid, libc::SIGUSR1)?;
    fails(ptrace(req::LISTEN, pid, 0, 0), libc::EIO)?;
    kill_now(pid)
}

fn interrupt_ends_listening() -> Outcome {
    let pid = seized_stop()?;
    ptrace(req::LISTEN, pid, 0, 0)?;
    ptrace(req::INTERRUPT, pid, 0, 0)?;
    expect_event_stop(pid, libc::SIGSTOP)?;
    equal(siginfo(pid)?.si_signo, libc::SIGSTOP)?;
    kill_now(pid)
}

fn interrupt_needs_a_seized_tracee() -> Outcome {
    let pid = traced(|| 0)?;
    fails(ptrace(req::INTERRUPT, pid, 0, 0), libc::EIO)?;
    kill_now(pid)
}

fn interrupt_of_a_stopped_tracee_stops_again() -> Outcome {
    let pid = paused()?;
    ptrace(req::SEIZE, pid, 0, 0)?;
    ptrace(req::INTERRUPT, pid, 0, 0)?;
    expect_event_stop(pid, libc::SIGTRAP)?;
    ptrace(req::INTERRUPT, pid, 0, 0)?;
    nothing(pid)?;
    resume(pid, 0)?;
    expect_event_stop(pid, libc::SIGTRAP)?;
    resume(pid, 0)?;
    await_state(pid, "S")?;
    kill_now(pid)
}

fn cont_ends_a_group_stop_for_the_tracee() -> Outcome {
    let pid = group_stopped()?;
    resume(pid, 0)?;
    expect_exit(pid, 6)
}

fn detach_in_a_group_stop_leaves_it_stopped() -> Outcome {
    let pid = group_stopped()?;
    ptrace(req::DETACH, pid, 0, 0)?;
    await_state(pid, "T")?;
    sys!(SYS_kill, pid, libc::SIGCONT)?;
    expect_exit(pid, 6)
}

fn sigcont_does_not_wake_a_tracee() -> Outcome {
    let pid = group_stopped()?;
    sys!(SYS_kill, pid, libc::SIGCONT)?;
    equal(state_of(pid)?, 't')?;
    nothing(pid)?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGCONT)?;
    resume(pid, libc::SIGCONT)?;
    expect_exit(pid, 6)
}

fn the_parent_hears_of_the_group_stop() -> Outcome {
    let pid = paused()?;
    await_state(pid, "S")?;
    let (read_end, write_end) = pipe()?;
    let (done, go) = pipe()?;
    let tracer = fork(|| {
        let outcome = (|| {
            ptrace(req::SEIZE, pid, 0, 0)?;
            sys!(SYS_kill, pid, libc::SIGSTOP)?;
            expect_stop(pid, libc::SIGSTOP)?;
            write(write_end, b"1")?;
            read_some(done)?;
            resume(pid, libc::SIGSTOP)?;
            expect_event_stop(pid, libc::SIGSTOP)?;
            write(write_end, b"2")?;
            read_some(done)?;
            Ok(())
        })();
        i32::from(Outcome::is_err(&outcome))
    })?;
    read_some(read_end)?;
    // The signal is the tracer's: nothing has stopped yet for the parent.
    equal(
        sys!(SYS_wait4, pid, 0, libc::WUNTRACED | libc::WNOHANG, 0)?,
        0,
    )?;
    write(go, b"1")?;
    read_some(read_end)?;
    let status = wait_with(pid, libc::WUNTRACED)?;
    equal(status, libc::SIGSTOP << 8 | 0x7f)?;
    write(go, b"2")?;
    equal(wait(tracer)?, 0)?;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    equal(wait(pid)?, libc::SIGKILL)
}

fn an_interrupted_call_goes_on() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let mut byte = [0];
        match read(read_end, &mut byte) {
            Ok(1) => i32::from(byte[0]),
            _ => 99,
        }
    })?;
    await_state(pid, "S")?;
    ptrace(req::SEIZE, pid, 0, 0)?;
    for _ in 0..3 {
        ptrace(req::INTERRUPT, pid, 0, 0)?;
        expect_event_stop(pid, libc::SIGTRAP)?;
        resume(pid, 0)?;
    }
    write(write_end, &[9])?;
    expect_exit(pid, 9)
}

fn sigkill_ends_listening() -> Outcome {
    let pid = seized_stop()?;
    ptrace(req::LISTEN, pid, 0, 0)?;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    expect_status(pid, libc::SIGKILL)
}
