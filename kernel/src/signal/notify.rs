//! News of a child for its parent: the contents of SIGCHLD, and whether anybody wants them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::signal::{SaFlags, SigInfo, Signo, cld, si};

use super::send::send_to_process;
use crate::sync::current;
use crate::task::tree::{self, ProcessGroup};
use crate::task::{Process, Task};

/// Nanoseconds of a clock tick as `siginfo_t` and `times` count (`USER_HZ` is 100).
const TICK_NS: u64 = 10_000_000;

/// SIGCHLD's siginfo: the sender is the child, with its real uid and the CPU time of the whole process.
pub fn child_info(process: &Arc<Process>, code: i32, status: i32) -> SigInfo {
    let usage = process.rusage();
    let (utime, stime) = (usage.user_ns / TICK_NS, usage.system_ns / TICK_NS);
    SigInfo::child(
        code,
        process.pid.0,
        process.real_uid(),
        status,
        utime as i64,
        stime as i64,
    )
}

/// The same of one thread, for its tracer.
pub fn thread_info(task: &Task, code: i32, status: i32) -> SigInfo {
    let usage = task.rusage();
    let (utime, stime) = (usage.user_ns / TICK_NS, usage.system_ns / TICK_NS);
    SigInfo::child(
        code,
        task.tid().0,
        task.cred().uid,
        status,
        utime as i64,
        stime as i64,
    )
}

/// Tells a thread's tracer of its end, or of its process's. A tracer that ignores SIGCHLD may still wait for it.
pub fn notify_tracer_exit(task: &Task, signo: Signo, status: u32) {
    let Some(tracer) = task.ptrace.tracer() else {
        return;
    };
    let (code, value) = end_code(status);
    let mut info = thread_info(task, code, value);
    info.si_signo = signo.as_i32();
    // Its code is the kernel's, so that no limit refuses it.
    let _ = send_to_process(&tracer.process, info);
    tracer.process.child_events.wake_all();
}

/// Tells `parent` that `process` has ended with the wait status `status`, by the child's exit signal. False when the
/// parent does not want a zombie: SIGCHLD is set to SIG_IGN or has SA_NOCLDWAIT. The caller wakes the parent's waiters.
pub fn notify_parent_exit(process: &Arc<Process>, parent: &Arc<Process>, status: u32) -> bool {
    let Some(signo) = Signo::new(process.exit_signal() as i32) else {
        return true;
    };
    let action = parent.signal.hand.get().get(Signo::CHLD);
    let is_chld = signo == Signo::CHLD;
    if !(is_chld && action.is_ignore()) {
        let (code, value) = end_code(status);
        let mut info = child_info(process, code, value);
        info.si_signo = signo.as_i32();
        // Its code is the kernel's, so that no limit refuses it.
        let _ = send_to_process(parent, info);
    }
    wants_exit(process, parent)
}

/// Whether the parent will wait for the process: not if it ignores SIGCHLD, or asks for no zombies.
pub fn wants_exit(process: &Process, parent: &Process) -> bool {
    if Signo::new(process.exit_signal() as i32) != Some(Signo::CHLD) {
        return true;
    }
    let action = parent.signal.hand.get().get(Signo::CHLD);
    !(action.is_ignore() || action.has(SaFlags::NOCLDWAIT))
}

/// `si_code` and `si_status` of a wait status.
fn end_code(status: u32) -> (i32, i32) {
    let signal = (status & 0x7f) as i32;
    match signal {
        0 => (cld::EXITED, (status >> 8 & 0xff) as i32),
        _ if status & 0x80 != 0 => (cld::DUMPED, signal),
        _ => (cld::KILLED, signal),
    }
}

/// The parent of `process`, or the thread that made it, ends right now: its threads get the signals they asked for with
/// PR_SET_PDEATHSIG.
pub fn send_parent_death(process: &Arc<Process>) {
    let signals: Vec<Signo> = {
        let shared = process.signal.shared.lock();
        let wanted = |task: &Arc<Task>| task.parent_death_signal.load(Ordering::Relaxed);
        let threads = shared.threads.iter();
        threads
            .filter_map(|task| Signo::new(wanted(task) as i32))
            .collect()
    };
    for signo in signals {
        let me = current();
        let info = SigInfo::user(signo, si::USER, me.process.pid.0, me.cred().uid);
        let _ = send_to_process(process, info);
    }
}

/// A process group that nobody of its session can continue any more, and that has a stopped member, gets SIGHUP and
/// SIGCONT. `exiting` is the process whose end may have orphaned it, if it is a member.
pub fn hang_up_if_orphaned(group: &Arc<ProcessGroup>, exiting: Option<&Arc<Process>>) {
    let held = exiting.is_none_or(|process| {
        process.parent().is_some_and(|parent| {
            !Arc::ptr_eq(&parent.group(), group) && parent.sid() == process.sid()
        })
    });
    if !held || !tree::is_orphaned(group, exiting.map(|process| &**process)) {
        return;
    }
    if group
        .members()
        .iter()
        .any(|member| member.signal.is_stopped())
    {
        super::send_to_group(group, SigInfo::kernel(Signo::HUP));
        super::send_to_group(group, SigInfo::kernel(Signo::CONT));
    }
}
