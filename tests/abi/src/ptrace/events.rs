//! Children, programs and ends of tracees.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    fork_attaches_the_child,
    fork_of_a_seized_tracee,
    fork_without_the_option_is_not_told,
    vfork_and_its_end,
    clone_of_a_thread,
    clone_untraced_is_not_told,
    clone_ptrace_attaches_without_an_option,
    options_pass_to_children,
    exec_is_an_event,
    exec_without_the_option_is_a_sigtrap,
    exec_of_a_seized_tracee_is_not_told,
    exec_that_fails_is_not_told,
    exit_is_an_event,
    exit_by_a_signal_is_an_event,
    sigkill_passes_the_exit_event,
    options_refuse_unknown_bits,
    the_message_is_gone_after_the_stop,
    calls_are_not_stopped_for_in_children,
];

/// A tracee with options that forks a child which ends with 4, and ends with what it waits for.
fn forker(options: usize) -> Outcome<i32> {
    let pid = traced(|| {
        let child = fork(|| 4).unwrap_or(-1);
        wait(child).map_or(99, |status| status >> 8)
    })?;
    ptrace(req::SETOPTIONS, pid, 0, options)?;
    resume(pid, 0)?;
    Ok(pid)
}

fn fork_attaches_the_child() -> Outcome {
    let pid = forker(opt::FORK)?;
    expect_event(pid, event::FORK)?;
    let info = siginfo(pid)?;
    equal(
        (info.si_signo, info.si_code),
        (libc::SIGTRAP, libc::SIGTRAP | event::FORK << 8),
    )?;
    let child = message(pid)? as i32;
    expect_stop(child, libc::SIGSTOP)?;
    equal(status_of(child, "TracerPid")?, i64::from(getpid()))?;
    equal(status_of(child, "PPid")?, i64::from(pid))?;
    equal(regs_of(child)?.rax, 0)?;
    resume(child, 0)?;
    resume(pid, 0)?;
    expect_exit(child, 4)?;
    expect_stop(pid, libc::SIGCHLD)?;
    resume(pid, libc::SIGCHLD)?;
    expect_exit(pid, 4)
}

fn fork_of_a_seized_tracee() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let _ = read_some(read_end);
        let child = fork(|| 4).unwrap_or(-1);
        wait(child).map_or(99, |status| status >> 8)
    })?;
    ptrace(req::SEIZE, pid, 0, opt::FORK)?;
    write(write_end, b"x")?;
    expect_event(pid, event::FORK)?;
    let child = message(pid)? as i32;
    expect_event_stop(child, libc::SIGTRAP)?;
    ptrace(req::DETACH, child, 0, 0)?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGCHLD)?;
    resume(pid, 0)?;
    expect_exit(pid, 4)
}

fn fork_without_the_option_is_not_told() -> Outcome {
    let pid = forker(opt::VFORK | opt::CLONE)?;
    expect_stop(pid, libc::SIGCHLD)?;
    resume(pid, 0)?;
    expect_exit(pid, 4)
}

extern "C" fn nothing_to_do(_argument: *mut libc::c_void) -> i32 {
    3
}

fn vfork_and_its_end() -> Outcome {
    let pid = traced(|| {
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let child = clone_run(flags, nothing_to_do, 0, (0, 0)).unwrap_or(-1);
        wait(child).map_or(99, |status| status >> 8)
    })?;
    ptrace(req::SETOPTIONS, pid, 0, opt::VFORK | opt::VFORKDONE)?;
    resume(pid, 0)?;
    expect_event(pid, event::VFORK)?;
    let child = message(pid)? as i32;
    expect_stop(child, libc::SIGSTOP)?;
    resume(pid, 0)?;
    nothing(pid)?;
    resume(child, 0)?;
    expect_exit(child, 3)?;
    expect_event(pid, event::VFORK_DONE)?;
    equal(message(pid)? as i32, child)?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGCHLD)?;
    resume(pid, 0)?;
    expect_exit(pid, 3)
}

fn clone_of_a_thread() -> Outcome {
    let pid = traced(|| match thread(nothing_to_do, 0) {
        Ok(word) => {
            await_word(word, 0);
            8
        }
        Err(_) => 99,
    })?;
    ptrace(req::SETOPTIONS, pid, 0, opt::CLONE)?;
    resume(pid, 0)?;
    expect_event(pid, event::CLONE)?;
    let tid = message(pid)? as i32;
    expect_stop(tid, libc::SIGSTOP)?;
    resume(tid, 0)?;
    expect_exit(tid, 3)?;
    resume(pid, 0)?;
    expect_exit(pid, 8)
}

fn clone_untraced_is_not_told() -> Outcome {
    let pid = traced(|| {
        let flags = libc::CLONE_UNTRACED | libc::SIGCHLD;
        let child = clone_run(flags, nothing_to_do, 0, (0, 0)).unwrap_or(-1);
        wait(child).map_or(99, |status| status >> 8)
    })?;
    ptrace(req::SETOPTIONS, pid, 0, opt::FORK | opt::CLONE)?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGCHLD)?;
    resume(pid, 0)?;
    expect_exit(pid, 3)
}

fn clone_ptrace_attaches_without_an_option() -> Outcome {
    let pid = traced(|| {
        let flags = libc::CLONE_PTRACE | libc::SIGCHLD;
        let child = clone_run(flags, nothing_to_do, 0, (0, 0)).unwrap_or(-1);
        wait(child).map_or(99, |status| status >> 8)
    })?;
    resume(pid, 0)?;
    let mut status = 0;
    let child = sys!(SYS_wait4, -1, &mut status, libc::__WALL, 0)? as i32;
    equal(
        (child != pid, std::hint::black_box(status)),
        (true, libc::SIGSTOP << 8 | 0x7f),
    )?;
    resume(child, 0)?;
    expect_exit(child, 3)?;
    kill_now(pid)
}

fn options_pass_to_children() -> Outcome {
    let pid = traced(|| {
        let child = fork(|| {
            let grandchild = fork(|| 2).unwrap_or(-1);
            wait(grandchild).map_or(99, |status| status >> 8)
        });
        wait(child.unwrap_or(-1)).map_or(99, |status| status >> 8)
    })?;
    ptrace(req::SETOPTIONS, pid, 0, opt::FORK)?;
    resume(pid, 0)?;
    expect_event(pid, event::FORK)?;
    let child = message(pid)? as i32;
    resume(pid, 0)?;
    expect_stop(child, libc::SIGSTOP)?;
    resume(child, 0)?;
    expect_event(child, event::FORK)?;
    let grandchild = message(child)? as i32;
    expect_stop(grandchild, libc::SIGSTOP)?;
    for pid in [grandchild, child, pid] {
        kill_now(pid)?;
    }
    Ok(())
}

/// Executes `true`.
fn exec_true() -> i32 {
    let argv = [c"true".as_ptr(), std::ptr::null()];
    let envp: [*const i8; 1] = [std::ptr::null()];
    let _ = sys!(SYS_execve, c"/bin/true", argv.as_ptr(), envp.as_ptr());
    77
}

fn exec_is_an_event() -> Outcome {
    let pid = traced(exec_true)?;
    ptrace(req::SETOPTIONS, pid, 0, opt::EXEC)?;
    resume(pid, 0)?;
    expect_event(pid, event::EXEC)?;
    equal(message(pid)?, pid as u64)?;
    let regs = regs_of(pid)?;
    // The call has not answered yet.
    let enosys = -i64::from(libc::ENOSYS);
    equal((regs.rax as i64, regs.rbx, regs.rbp), (enosys, 0, 0))?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn exec_without_the_option_is_a_sigtrap() -> Outcome {
    let pid = traced(exec_true)?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGTRAP)?;
    let info = siginfo(pid)?;
    // SAFETY: a signal by kill.
    let sender = unsafe { info.si_pid() };
    equal((info.si_code, sender), (0, pid))?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn exec_of_a_seized_tracee_is_not_told() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let _ = read_some(read_end);
        exec_true()
    })?;
    ptrace(req::SEIZE, pid, 0, 0)?;
    write(write_end, b"x")?;
    expect_exit(pid, 0)
}

fn exec_that_fails_is_not_told() -> Outcome {
    let pid = traced(|| {
        let nobody: [*const i8; 1] = [std::ptr::null()];
        let result = sys!(SYS_execve, c"/nobody", nobody.as_ptr(), nobody.as_ptr());
        i32::from(result != Err(Errno(libc::ENOENT)))
    })?;
    ptrace(req::SETOPTIONS, pid, 0, opt::EXEC)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn exit_is_an_event() -> Outcome {
    let pid = traced(|| 5)?;
    ptrace(req::SETOPTIONS, pid, 0, opt::EXIT)?;
    resume(pid, 0)?;
    expect_event(pid, event::EXIT)?;
    equal(message(pid)?, 5 << 8)?;
    equal(state_of(pid)?, 't')?;
    let regs = regs_of(pid)?;
    equal(regs.orig_rax, libc::SYS_exit_group as u64)?;
    resume(pid, 0)?;
    expect_exit(pid, 5)
}

fn exit_by_a_signal_is_an_event() -> Outcome {
    let pid = traced(|| {
        let _ = raise(libc::SIGTERM);
        0
    })?;
    ptrace(req::SETOPTIONS, pid, 0, opt::EXIT)?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGTERM)?;
    resume(pid, libc::SIGTERM)?;
    expect_event(pid, event::EXIT)?;
    equal(message(pid)?, libc::SIGTERM as u64)?;
    resume(pid, 0)?;
    expect_status(pid, libc::SIGTERM)
}

fn sigkill_passes_the_exit_event() -> Outcome {
    let pid = traced(|| 0)?;
    ptrace(req::SETOPTIONS, pid, 0, opt::EXIT)?;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    // Killed, it may stop once more to tell so; another SIGKILL ends that, too.
    let mut status = next(pid)?;
    if libc::WIFSTOPPED(status) {
        equal(status >> 8, libc::SIGTRAP | event::EXIT << 8)?;
        sys!(SYS_kill, pid, libc::SIGKILL)?;
        resume(pid, 0).or_else(|errno| match errno {
            Errno(libc::ESRCH) => Ok(0),
            errno => Err(errno),
        })?;
        status = next(pid)?;
    }
    equal(status, libc::SIGKILL)
}

fn options_refuse_unknown_bits() -> Outcome {
    let pid = traced(|| 0)?;
    for bad in [1 << 8, 1 << 22, 1 << 31, 1 << 33] {
        fails(ptrace(req::SETOPTIONS, pid, 0, bad), libc::EINVAL)?;
    }
    kill_now(pid)
}

fn the_message_is_gone_after_the_stop() -> Outcome {
    let pid = forker(opt::FORK)?;
    expect_event(pid, event::FORK)?;
    let child = message(pid)? as i32;
    check(child > 0, "no child")?;
    expect_stop(child, libc::SIGSTOP)?;
    equal(message(child)?, 0)?;
    kill_now(child)?;
    kill_now(pid)
}

fn calls_are_not_stopped_for_in_children() -> Outcome {
    let pid = traced(|| {
        let child = fork(|| 4).unwrap_or(-1);
        wait(child).map_or(99, |status| status >> 8)
    })?;
    ptrace(req::SETOPTIONS, pid, 0, opt::FORK)?;
    loop {
        ptrace(req::SYSCALL, pid, 0, 0)?;
        let status = next(pid)?;
        if status >> 16 == event::FORK {
            break;
        }
        equal(status, libc::SIGTRAP << 8 | 0x7f)?;
    }
    let child = message(pid)? as i32;
    expect_stop(child, libc::SIGSTOP)?;
    resume(child, 0)?;
    expect_exit(child, 4)?;
    kill_now(pid)
}
