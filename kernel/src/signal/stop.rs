//! Stopping and continuing: all threads of a process stop together, and the parent is told once.
//!
//! A stop signal marks every thread; each stops on its way to user space, and the last one reports. SIGCONT undoes all
//! that when it is sent, whether or not it is blocked or handled; the first thread that runs again tells the parent.
//! A tracee stops for its tracer instead, as part of the same stop, and SIGCONT does not wake it (see `trace`).

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::signal::{SaFlags, SigSet, Signo, cld};

use super::send::{send_to_process, wake};
use super::state::{
    JOBCTL_EXITING, JOBCTL_SIGNO_SHIFT, JOBCTL_STOP_CONSUME, JOBCTL_STOP_DEQUEUED,
    JOBCTL_STOP_PENDING, JOBCTL_STOPPED, JOBCTL_TRAP_STOP, Shared, StopNews,
};
use super::trace;
use crate::sched::{self, SleepKind, TaskState};
use crate::task::{self, Process, Task, ptrace};

/// What sending `signo` does before it is queued: stop signals and SIGCONT cancel each other.
pub(super) fn prepare(process: &Process, shared: &mut Shared, signo: Signo) {
    if signo == Signo::CONT {
        discard(process, shared, SigSet::STOPS);
        resume(shared);
    } else if SigSet::STOPS.contains(signo) {
        discard(process, shared, SigSet::of(Signo::CONT));
    }
}

/// Throws away pending signals of the process and all its threads.
#[inline]
pub(super) fn discard(process: &Process, shared: &mut Shared, which: SigSet) {
    if shared.queue.set().intersects(which) {
        shared.queue.discard(which);
        shared.publish(&process.signal.pending);
    }
    for task in &shared.threads {
        if task.signal.pending().intersects(which) {
            let mut queue = task.signal.queue.lock();
            queue.discard(which);
            task.signal.publish(&queue);
        }
    }
}

fn resume(shared: &mut Shared) {
    let pending = JOBCTL_STOP_PENDING | JOBCTL_STOP_CONSUME | JOBCTL_STOP_DEQUEUED;
    for task in &shared.threads {
        task.signal.jobctl.fetch_and(!pending, Ordering::SeqCst);
        if task.ptrace.is_seized() {
            trace::notify_seized(task);
        } else {
            task.signal
                .jobctl
                .fetch_and(!JOBCTL_STOPPED, Ordering::SeqCst);
            sched::wake_state(task, TaskState::Stopped as u32);
        }
    }
    let stop = &mut shared.stop;
    if stop.stopped || stop.remaining > 0 {
        stop.news = Some(if stop.stopped {
            StopNews::Continued
        } else {
            StopNews::Stopped
        });
        stop.stopped = false;
        stop.remaining = 0;
        stop.signo = None;
        stop.continued = true;
        // The news are told by a thread on its way to user space.
        if let Some(task) = shared.threads.first() {
            wake(task, false);
        }
    }
}

/// The current thread stops, for `signo` (which it has just dequeued) or because another thread did. False when there
/// is nothing to stop for any more, or when it stops as a tracee, which `next` sees to.
pub(super) fn stop_current(signo: Option<Signo>) -> bool {
    let current = task::current();
    let process = &current.process;
    let mut shared = process.signal.shared.lock();
    if !current.signal.has_jobctl(JOBCTL_STOP_PENDING) {
        let Some(signo) = signo else { return false };
        if !current.signal.has_jobctl(JOBCTL_STOP_DEQUEUED) || shared.exit.is_some() {
            return false;
        }
        begin(&mut shared, signo, &current);
    }
    if current.ptrace.is_traced() {
        current
            .signal
            .jobctl
            .fetch_or(JOBCTL_TRAP_STOP, Ordering::SeqCst);
        return false;
    }
    let last = participate(&mut shared, &current);
    current
        .signal
        .jobctl
        .fetch_or(JOBCTL_STOPPED, Ordering::SeqCst);
    drop(shared);
    if last {
        tell_parent(process, cld::STOPPED);
    }
    loop {
        sched::set_sleeping(SleepKind::Stopped);
        if !current.signal.is_stopped() || current.signal.pending().contains(Signo::KILL) {
            break;
        }
        sched::block_current();
    }
    sched::set_running();
    current
        .signal
        .jobctl
        .fetch_and(!JOBCTL_STOPPED, Ordering::SeqCst);
    true
}

/// Marks every thread to stop.
fn begin(shared: &mut Shared, signo: Signo, current: &Task) {
    if !shared.stop.stopped {
        shared.stop.signo = Some(signo);
    }
    shared.stop.remaining = 0;
    for task in &shared.threads {
        let signal = &task.signal;
        let is_current = core::ptr::eq(&raw const **task, current);
        if !is_current && signal.has_jobctl(JOBCTL_STOPPED | JOBCTL_EXITING) {
            continue;
        }
        if super::fatal_pending(task) {
            continue;
        }
        set_pending(task, u32::from(signo.get()));
        shared.stop.remaining += 1;
        if is_current {
            continue;
        }
        match task.ptrace.is_seized() {
            true => trace::notify_seized(task),
            false => wake(task, false),
        }
    }
}

/// Counts a thread among those that have yet to stop for `signo`.
fn set_pending(task: &Task, signo: u32) {
    let bits = JOBCTL_STOP_PENDING | JOBCTL_STOP_CONSUME | signo << JOBCTL_SIGNO_SHIFT;
    let jobctl = &task.signal.jobctl;
    jobctl.fetch_and((1 << JOBCTL_SIGNO_SHIFT) - 1, Ordering::SeqCst);
    jobctl.fetch_or(bits, Ordering::SeqCst);
}

/// This thread's part of the stop is done; true when it was the last and the process has become stopped.
pub(super) fn participate(shared: &mut Shared, task: &Task) -> bool {
    let mask = JOBCTL_STOP_PENDING | JOBCTL_STOP_CONSUME | JOBCTL_STOP_DEQUEUED;
    let before = task.signal.jobctl.fetch_and(!mask, Ordering::SeqCst);
    // Let go by a tracer while the stop was in force: it was counted when that began.
    if before & JOBCTL_STOP_CONSUME == 0 {
        return false;
    }
    let stop = &mut shared.stop;
    stop.remaining = stop.remaining.saturating_sub(1);
    if stop.remaining > 0 || stop.stopped {
        return false;
    }
    stop.stopped = true;
    stop.continued = false;
    stop.news = None;
    true
}

/// Tells the parent what SIGCONT left to be told. Run by a thread on its way to user space.
pub(super) fn tell_news(process: &Arc<Process>) {
    // Only a thread that a stop or SIGCONT woke finds any.
    let news = process.signal.shared.lock().stop.news.take();
    match news {
        Some(StopNews::Continued) => tell_all(process, cld::CONTINUED),
        Some(StopNews::Stopped) => tell_all(process, cld::STOPPED),
        None => {}
    }
}

/// Tells the parent, and the tracer of the main thread if it is another.
fn tell_all(process: &Arc<Process>, code: i32) {
    tell_parent(process, code);
    if let Some(leader) = process.main_thread()
        && leader.ptrace.is_traced()
        && !ptrace::tracer_is_parent(&leader)
    {
        let status = match code {
            cld::CONTINUED => Signo::CONT.as_i32(),
            _ => trace::stop_status(&leader),
        };
        ptrace::tell_tracer(&leader, code, status);
    }
}

/// A thread that exits takes no part in a stop; true when that completes it.
pub(super) fn leave(shared: &mut Shared, task: &Task) -> bool {
    task.signal.has_jobctl(JOBCTL_STOP_PENDING) && participate(shared, task)
}

/// SIGCHLD for a stop or its end (unless SA_NOCLDSTOP or SIG_IGN), and a wake-up for `wait`.
pub(super) fn tell_parent(process: &Arc<Process>, code: i32) {
    let Some(parent) = process.parent() else {
        return;
    };
    let status = match code {
        cld::CONTINUED => Signo::CONT.as_i32(),
        _ => process
            .signal
            .take_stop_report(true)
            .unwrap_or(Signo::STOP)
            .as_i32(),
    };
    let action = parent.signal.hand.get().get(Signo::CHLD);
    if !action.is_ignore() && !action.has(SaFlags::NOCLDSTOP) {
        let info = super::notify::child_info(process, code, status);
        // A standard signal cannot exceed a limit.
        let _ = send_to_process(&parent, info);
    }
    parent.child_events.wake_all();
}

/// A new thread of a process that is stopping or stopped stops too.
pub(super) fn join(shared: &mut Shared, task: &Arc<Task>) {
    if shared.stop.is_on() {
        set_pending(task, u32::from(shared.stop_signo().get()));
        if !shared.stop.stopped {
            shared.stop.remaining += 1;
        } else {
            task.signal
                .jobctl
                .fetch_and(!JOBCTL_STOP_CONSUME, Ordering::SeqCst);
        }
        task.arch.mark(crate::arch::WORK_SIGNAL);
    }
}
