//! Threads of tracees and tracers, and who may wait for what.

use std::sync::atomic::Ordering;

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    a_thread_can_be_attached_to,
    a_threads_end_is_told,
    a_thread_of_a_traced_process_is_not_traced,
    signals_stop_the_thread_that_takes_them,
    a_group_stop_stops_each_traced_thread,
    exec_ends_the_other_threads,
    exec_by_a_thread_takes_the_leaders_number,
    sigkill_ends_all_threads,
    exit_group_ends_traced_threads,
    requests_are_the_attaching_threads_alone,
    wnothread_sees_the_callers_tracees_alone,
    a_zombie_is_the_tracers_first,
    a_zombie_is_the_parents_when_the_tracer_ends,
    the_tracer_need_not_be_told,
    the_parent_does_not_see_trace_stops,
    the_leader_of_living_threads_is_no_zombie,
    a_parent_that_ignores_sigchld_waits_for_its_tracee,
];

extern "C" fn sleep_for_ever(argument: *mut libc::c_void) -> i32 {
    let tid = sys!(SYS_gettid).unwrap_or(0);
    word(argument as usize).store(tid as u32, Ordering::SeqCst);
    loop {
        let _ = sys!(SYS_pause);
    }
}

/// A process with a thread that sleeps; answers both numbers.
fn threaded() -> Outcome<(i32, i32)> {
    let shared = map_shared(PAGE)?;
    let pid = fork(|| {
        let _ = thread(sleep_for_ever, shared);
        loop {
            let _ = sys!(SYS_pause);
        }
    })?;
    while word(shared).load(Ordering::SeqCst) == 0 {
        nap();
    }
    Ok((pid, word(shared).load(Ordering::SeqCst) as i32))
}

fn a_thread_can_be_attached_to() -> Outcome {
    let (pid, tid) = threaded()?;
    ptrace(req::ATTACH, tid, 0, 0)?;
    expect_stop(tid, libc::SIGSTOP)?;
    equal(status_of(tid, "TracerPid")?, i64::from(getpid()))?;
    equal(status_of(pid, "TracerPid")?, 0)?;
    await_state(pid, "S")?;
    ptrace(req::DETACH, tid, 0, 0)?;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    equal(wait(pid)?, libc::SIGKILL)
}

extern "C" fn stop_then_end(argument: *mut libc::c_void) -> i32 {
    let tid = sys!(SYS_gettid).unwrap_or(0);
    word(argument as usize).store(tid as u32, Ordering::SeqCst);
    while word(argument as usize + 4).load(Ordering::SeqCst) == 0 {
        nap();
    }
    11
}

fn a_threads_end_is_told() -> Outcome {
    let shared = map_shared(PAGE)?;
    let pid = fork(|| {
        let _ = thread(stop_then_end, shared);
        loop {
            let _ = sys!(SYS_pause);
        }
    })?;
    while word(shared).load(Ordering::SeqCst) == 0 {
        nap();
    }
    let tid = word(shared).load(Ordering::SeqCst) as i32;
    ptrace(req::SEIZE, tid, 0, 0)?;
    nothing(tid)?;
    word(shared + 4).store(1, Ordering::SeqCst);
    expect_exit(tid, 11)?;
    fails(next(tid), libc::ECHILD)?;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    equal(wait(pid)?, libc::SIGKILL)
}

fn a_thread_of_a_traced_process_is_not_traced() -> Outcome {
    let (pid, tid) = threaded()?;
    ptrace(req::SEIZE, pid, 0, 0)?;
    equal(status_of(tid, "TracerPid")?, 0)?;
    fails(ptrace(req::INTERRUPT, tid, 0, 0), libc::ESRCH)?;
    ptrace(req::SEIZE, tid, 0, 0)?;
    ptrace(req::INTERRUPT, tid, 0, 0)?;
    expect_event_stop(tid, libc::SIGTRAP)?;
    nothing(pid)?;
    kill_both(pid, tid)
}

/// Kills a process of which both threads are traced, and waits for the ends of both.
fn kill_both(pid: i32, tid: i32) -> Outcome {
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    expect_status(tid, libc::SIGKILL)?;
    expect_status(pid, libc::SIGKILL)
}

fn signals_stop_the_thread_that_takes_them() -> Outcome {
    let (pid, tid) = threaded()?;
    ptrace(req::SEIZE, pid, 0, 0)?;
    ptrace(req::SEIZE, tid, 0, 0)?;
    sys!(SYS_tgkill, pid, tid, libc::SIGUSR1)?;
    expect_stop(tid, libc::SIGUSR1)?;
    nothing(pid)?;
    resume(tid, 0)?;
    // On its way out of the stop it would take whatever is pending for the process.
    await_state(tid, "S")?;
    sys!(SYS_kill, pid, libc::SIGUSR2)?;
    expect_stop(pid, libc::SIGUSR2)?;
    nothing(tid)?;
    kill_both(pid, tid)
}

fn a_group_stop_stops_each_traced_thread() -> Outcome {
    let (pid, tid) = threaded()?;
    ptrace(req::SEIZE, pid, 0, 0)?;
    ptrace(req::SEIZE, tid, 0, 0)?;
    sys!(SYS_kill, pid, libc::SIGSTOP)?;
    expect_stop(pid, libc::SIGSTOP)?;
    nothing(tid)?;
    resume(pid, libc::SIGSTOP)?;
    expect_event_stop(tid, libc::SIGSTOP)?;
    expect_event_stop(pid, libc::SIGSTOP)?;
    ptrace(req::LISTEN, pid, 0, 0)?;
    ptrace(req::LISTEN, tid, 0, 0)?;
    sys!(SYS_kill, pid, libc::SIGCONT)?;
    expect_event_stop(pid, libc::SIGTRAP)?;
    expect_event_stop(tid, libc::SIGTRAP)?;
    kill_both(pid, tid)
}

extern "C" fn exec_true(_argument: *mut libc::c_void) -> i32 {
    let argv = [c"true".as_ptr(), std::ptr::null()];
    let envp: [*const i8; 1] = [std::ptr::null()];
    let _ = sys!(SYS_execve, c"/bin/true", argv.as_ptr(), envp.as_ptr());
    77
}

fn exec_ends_the_other_threads() -> Outcome {
    let shared = map_shared(PAGE)?;
    let pid = traced(|| {
        let _ = thread(sleep_for_ever, shared);
        while word(shared).load(Ordering::SeqCst) == 0 {
            nap();
        }
        exec_true(std::ptr::null_mut())
    })?;
    ptrace(req::SETOPTIONS, pid, 0, opt::CLONE | opt::EXEC)?;
    resume(pid, 0)?;
    expect_event(pid, event::CLONE)?;
    let tid = message(pid)? as i32;
    expect_stop(tid, libc::SIGSTOP)?;
    resume(tid, 0)?;
    resume(pid, 0)?;
    expect_exit(tid, 0)?;
    expect_event(pid, event::EXEC)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn exec_by_a_thread_takes_the_leaders_number() -> Outcome {
    let pid = traced(|| {
        let _ = thread(exec_true, 0);
        loop {
            let _ = sys!(SYS_pause);
        }
    })?;
    ptrace(req::SETOPTIONS, pid, 0, opt::CLONE | opt::EXEC)?;
    resume(pid, 0)?;
    expect_event(pid, event::CLONE)?;
    let tid = message(pid)? as i32;
    expect_stop(tid, libc::SIGSTOP)?;
    resume(pid, 0)?;
    resume(tid, 0)?;
    let mut status = 0;
    let who = sys!(SYS_wait4, -1, &mut status, libc::__WALL, 0)? as i32;
    equal(
        (who, std::hint::black_box(status) >> 8),
        (pid, libc::SIGTRAP | event::EXEC << 8),
    )?;
    equal(message(pid)? as i32, tid)?;
    fails(ptrace(req::CONT, tid, 0, 0), libc::ESRCH)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn sigkill_ends_all_threads() -> Outcome {
    let (pid, tid) = threaded()?;
    ptrace(req::SEIZE, pid, 0, 0)?;
    ptrace(req::SEIZE, tid, 0, 0)?;
    ptrace(req::INTERRUPT, tid, 0, 0)?;
    expect_event_stop(tid, libc::SIGTRAP)?;
    kill_both(pid, tid)
}

fn exit_group_ends_traced_threads() -> Outcome {
    let shared = map_shared(PAGE)?;
    let pid = traced(|| {
        let _ = thread(sleep_for_ever, shared);
        while word(shared).load(Ordering::SeqCst) == 0 {
            nap();
        }
        9
    })?;
    ptrace(req::SETOPTIONS, pid, 0, opt::CLONE)?;
    resume(pid, 0)?;
    expect_event(pid, event::CLONE)?;
    let tid = message(pid)? as i32;
    expect_stop(tid, libc::SIGSTOP)?;
    resume(tid, 0)?;
    resume(pid, 0)?;
    expect_exit(tid, 9)?;
    expect_exit(pid, 9)
}

/// Makes a call in a thread of its own and stores what it answers at the argument: a negative error.
extern "C" fn call_in_thread(argument: *mut libc::c_void) -> i32 {
    let cell = |index: usize| word(argument as usize + 4 * index);
    let number = cell(1).load(Ordering::SeqCst);
    let argument = |index: usize| cell(index).load(Ordering::SeqCst) as i32 as isize;
    let answer: isize;
    // SAFETY: a call by its number; a thread without thread-local storage must not touch errno.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") number as isize => answer,
            in("rdi") argument(2), in("rsi") argument(3), in("rdx") argument(4),
            in("r10") argument(5), out("rcx") _, out("r11") _);
    }
    cell(0).store(answer as i32 as u32, Ordering::SeqCst);
    0
}

fn from_thread(number: i64, arguments: [i32; 4]) -> Sys<i32> {
    let addr = map(PAGE)?;
    word(addr + 4).store(number as u32, Ordering::SeqCst);
    for (index, argument) in arguments.into_iter().enumerate() {
        word(addr + 8 + 4 * index).store(argument as u32, Ordering::SeqCst);
    }
    await_word(thread(call_in_thread, addr)?, 0);
    Ok(word(addr).load(Ordering::SeqCst) as i32)
}

fn requests_are_the_attaching_threads_alone() -> Outcome {
    let pid = traced(|| 3)?;
    equal(
        from_thread(libc::SYS_ptrace, [req::CONT, pid, 0, 0])?,
        -libc::ESRCH,
    )?;
    resume(pid, 0)?;
    expect_exit(pid, 3)
}

fn wnothread_sees_the_callers_tracees_alone() -> Outcome {
    let pid = traced(|| {
        let _ = raise(libc::SIGUSR1);
        3
    })?;
    resume(pid, 0)?;
    await_state(pid, "t")?;
    let flags = libc::__WALL | libc::WNOHANG;
    equal(
        from_thread(libc::SYS_wait4, [pid, 0, flags | libc::__WNOTHREAD, 0])?,
        -libc::ECHILD,
    )?;
    equal(from_thread(libc::SYS_wait4, [pid, 0, flags, 0])?, pid)?;
    resume(pid, 0)?;
    expect_exit(pid, 3)
}

/// A child of the case that another process has seized; it ends with 5 on a signal. Answers both and
/// the pipe whose end lets the tracer wait.
fn seized_by_another() -> Outcome<(i32, i32, i32)> {
    let child = fork(|| {
        let _ = block(&[libc::SIGUSR1]);
        let _ = take(&[libc::SIGUSR1]);
        5
    })?;
    let (ready_end, ready) = pipe()?;
    let (go_end, go) = pipe()?;
    let tracer = fork(|| {
        let seized = ptrace(req::SEIZE, child, 0, 0).is_ok();
        let _ = write(ready, b"x");
        let _ = close(go);
        let mut byte = [0];
        if read(go_end, &mut byte) == Ok(0) || !seized {
            return 1;
        }
        i32::from(next(child) != Ok(5 << 8))
    })?;
    read_some(ready_end)?;
    equal(status_of(child, "TracerPid")?, i64::from(tracer))?;
    Ok((child, tracer, go))
}

fn a_zombie_is_the_tracers_first() -> Outcome {
    let (child, tracer, go) = seized_by_another()?;
    catch(libc::SIGCHLD, 0)?;
    await_state(child, "S")?;
    sys!(SYS_kill, child, libc::SIGUSR1)?;
    await_state(child, "Z")?;
    nothing(child)?;
    equal(hits(libc::SIGCHLD), 0)?;
    write(go, b"x")?;
    expect_exit(child, 5)?;
    equal(wait(tracer)?, 0)?;
    check(hits(libc::SIGCHLD) > 0, "the parent is not told")
}

fn a_zombie_is_the_parents_when_the_tracer_ends() -> Outcome {
    let (child, tracer, go) = seized_by_another()?;
    await_state(child, "S")?;
    sys!(SYS_kill, child, libc::SIGUSR1)?;
    await_state(child, "Z")?;
    nothing(child)?;
    close(go)?;
    equal(wait(tracer)?, 1 << 8)?;
    expect_exit(child, 5)
}

fn the_tracer_need_not_be_told() -> Outcome {
    let (child, tracer, go) = seized_by_another()?;
    close(go)?;
    equal(wait(tracer)?, 1 << 8)?;
    equal(status_of(child, "TracerPid")?, 0)?;
    await_state(child, "S")?;
    sys!(SYS_kill, child, libc::SIGUSR1)?;
    expect_exit(child, 5)
}

fn the_parent_does_not_see_trace_stops() -> Outcome {
    let child = paused()?;
    await_state(child, "S")?;
    let (ready_end, ready) = pipe()?;
    let (go_end, go) = pipe()?;
    let tracer = fork(|| {
        let _ = ptrace(req::ATTACH, child, 0, 0);
        let stopped = expect_stop(child, libc::SIGSTOP).is_ok();
        let _ = write(ready, b"x");
        let _ = read_some(go_end);
        i32::from(!stopped)
    })?;
    read_some(ready_end)?;
    equal(state_of(child)?, 't')?;
    equal(
        sys!(SYS_wait4, child, 0, libc::WUNTRACED | libc::WNOHANG, 0)?,
        0,
    )?;
    write(go, b"x")?;
    equal(wait(tracer)?, 0)?;
    sys!(SYS_kill, child, libc::SIGKILL)?;
    expect_status(child, libc::SIGKILL)
}

fn the_leader_of_living_threads_is_no_zombie() -> Outcome {
    let shared = map_shared(PAGE)?;
    let pid = traced(|| {
        let _ = thread(stop_then_end, shared);
        while word(shared).load(Ordering::SeqCst) == 0 {
            nap();
        }
        let _ = sys!(SYS_exit, 4);
        0
    })?;
    resume(pid, 0)?;
    await_state(pid, "Z")?;
    nothing(pid)?;
    word(shared + 4).store(1, Ordering::SeqCst);
    // What the last thread ends with is what the process does.
    expect_exit(pid, 11)
}

fn a_parent_that_ignores_sigchld_waits_for_its_tracee() -> Outcome {
    let pid = traced(|| 6)?;
    handle(libc::SIGCHLD, libc::SIG_IGN, 0, &[])?;
    resume(pid, 0)?;
    expect_exit(pid, 6)
}
