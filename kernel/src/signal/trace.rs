//! Tracees and their signals: the bits of `jobctl` that tracing uses, under the signal lock. What a tracer may ask and
//! what a tracee reports is `task::ptrace`'s.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::signal::{SigInfo, SigSet, Signo, cld, si};

use super::deliver::{Origin, update_work};
use super::send::{send_to_process, send_to_task, wake};
use super::state::{
    JOBCTL_EXITING, JOBCTL_FROZEN, JOBCTL_LISTENING, JOBCTL_SIGNO_SHIFT, JOBCTL_STOP_DEQUEUED,
    JOBCTL_STOP_PENDING, JOBCTL_STOPPED, JOBCTL_TRACED, JOBCTL_TRAP_NOTIFY, JOBCTL_TRAP_STOP,
    JOBCTL_TRAPPING, Shared,
};
use super::stop;
use crate::arch;
use crate::sched::{self, SleepKind, TaskState};
use crate::task::{self, CurrentTask, Task, ptrace};

/// What a stop shows.
pub struct Shown {
    /// The code of the wait status.
    pub code: i32,
    /// `si_code` of the tracer's SIGCHLD: CLD_TRAPPED or CLD_STOPPED.
    pub why: i32,
    /// PTRACE_GETEVENTMSG's answer.
    pub message: u64,
    /// PTRACE_GETSIGINFO's.
    pub info: Option<SigInfo>,
}

fn set(task: &Task, bits: u32) {
    task.signal.jobctl.fetch_or(bits, Ordering::SeqCst);
}

fn clear(task: &Task, bits: u32) -> u32 {
    task.signal.jobctl.fetch_and(!bits, Ordering::SeqCst)
}

/// Sets pending bits, unless the task is ending.
fn set_pending(task: &Task, bits: u32) -> bool {
    let ends = super::fatal_pending(task) || task.signal.has_jobctl(JOBCTL_EXITING);
    if !ends {
        set(task, bits);
    }
    !ends
}

/// Makes a task look at its bits; `resume` also lets it out of its stop.
fn kick(task: &Arc<Task>, resume: bool) {
    if resume {
        clear(task, JOBCTL_TRACED);
        sched::wake_state(task, TaskState::Traced as u32);
    }
    wake(task, false);
}

/// The running thread stops for its tracer; returns the code and the signal's information that it goes on with. It does
/// not stop when it is not traced, or is to die.
pub fn stop_for_tracer(current: &CurrentTask, shown: Shown) -> (i32, Option<SigInfo>) {
    let process = &current.process;
    let mut shared = process.signal.shared.lock();
    if !current.ptrace.is_traced() || super::fatal_pending(current) {
        return (shown.code, shown.info);
    }
    current.ptrace.show(shown.code, shown.message, shown.info);
    set(current, JOBCTL_TRACED);
    let completes = shown.why == cld::STOPPED
        && current.signal.has_jobctl(JOBCTL_STOP_PENDING)
        && stop::participate(&mut shared, current);
    let is_event_stop = shown
        .info
        .is_some_and(|info| info.si_code >> 8 == ptrace::Event::Stop as i32);
    let done = match is_event_stop {
        true => JOBCTL_TRAP_STOP | JOBCTL_TRAP_NOTIFY | JOBCTL_TRAPPING,
        false => JOBCTL_TRAP_STOP | JOBCTL_TRAPPING,
    };
    let before = clear(current, done);
    drop(shared);
    if before & JOBCTL_TRAPPING != 0 {
        current.ptrace.settle();
    }
    ptrace::tell_tracer(current, shown.why, shown.code);
    if completes && !ptrace::tracer_is_parent(current) {
        stop::tell_parent(process, cld::STOPPED);
    }
    loop {
        sched::set_sleeping(SleepKind::Traced);
        if !current.signal.has_jobctl(JOBCTL_TRACED) {
            break;
        }
        sched::block_current();
    }
    sched::set_running();
    let shared = process.signal.shared.lock();
    let resumed = current.ptrace.take_resumption();
    clear(current, JOBCTL_LISTENING | JOBCTL_FROZEN);
    drop(shared);
    update_work(current);
    resumed
}

/// A TRAP_STOP or TRAP_NOTIFY is due.
pub(super) fn trap(current: &CurrentTask) {
    let stop = current.process.signal.shared.lock().stop.is_on();
    let signo = (current.signal.jobctl.load(Ordering::SeqCst) >> JOBCTL_SIGNO_SHIFT) as i32;
    let signo = match stop && signo != 0 {
        true => signo,
        false if current.ptrace.is_seized() => Signo::TRAP.as_i32(),
        false if signo != 0 => signo,
        false => Signo::STOP.as_i32(),
    };
    let (code, info) = match current.ptrace.is_seized() {
        true => {
            let code = signo | (ptrace::Event::Stop as i32) << 8;
            (code, Some(ptrace::notice(current, signo, code)))
        }
        false => (signo, None),
    };
    stop_for_tracer(
        current,
        Shown {
            code,
            why: cld::STOPPED,
            message: 0,
            info,
        },
    );
    // Let go between the mark and here: nothing may be left that would trap again.
    if !current.ptrace.is_traced() || super::fatal_pending(current) {
        clear(current, JOBCTL_TRAP_STOP | JOBCTL_TRAP_NOTIFY);
    }
}

/// A signal is about to be delivered to a tracee: the tracer may change it or take it away (`None`).
pub(super) fn signal_stop(
    current: &CurrentTask,
    info: SigInfo,
    origin: Origin,
) -> Option<(Signo, SigInfo)> {
    // Whatever the tracer makes of it: should it be a stop, SIGCONT meanwhile cancels it.
    set(current, JOBCTL_STOP_DEQUEUED);
    let shown = Shown {
        code: info.si_signo,
        why: cld::TRAPPED,
        message: 0,
        info: Some(info),
    };
    let (code, shown) = stop_for_tracer(current, shown);
    let signo = Signo::new(code)?;
    let info = match shown {
        Some(info) if info.si_signo == code => info,
        _ => match current.ptrace.tracer() {
            Some(tracer) => SigInfo::user(signo, si::USER, tracer.tid().0, tracer.cred().uid),
            None => SigInfo::user(signo, si::USER, 0, 0),
        },
    };
    if current.signal.blocked().contains(signo) || super::fatal_pending(current) {
        // Blocked by the tracer meanwhile. A standard signal may be lost to one that is pending already.
        let _ = match origin {
            Origin::Thread => send_to_task(&task::current_arc(), info),
            Origin::Process => send_to_process(&current.process, info),
        };
        return None;
    }
    Some((signo, info))
}

/// Runs `release` and lets a tracee go on as a thread like any other; should a group stop be in force, it takes part.
pub fn release_tracee(task: &Task, release: impl FnOnce()) {
    let shared = task.process.signal.shared.lock();
    release();
    let traps = JOBCTL_TRAP_STOP | JOBCTL_TRAP_NOTIFY | JOBCTL_TRAPPING;
    let before = clear(task, traps | JOBCTL_FROZEN);
    if before & JOBCTL_EXITING == 0 && shared.stop.is_on() {
        set(task, JOBCTL_STOP_PENDING);
    }
    let Some(arc) = shared
        .threads
        .iter()
        .find(|other| core::ptr::eq(&raw const ***other, task))
    else {
        return;
    };
    if before & JOBCTL_TRACED != 0 {
        kick(arc, true);
    } else if task.signal.has_jobctl(JOBCTL_STOP_PENDING) {
        kick(arc, false);
    }
}

/// A thread that was just attached to stops for its tracer instead of by job control. The attacher waits until
/// [`is_trapping`] no more.
pub fn trap_stopped(task: &Arc<Task>) {
    let _shared = task.process.signal.shared.lock();
    if task.signal.has_jobctl(JOBCTL_STOPPED)
        && set_pending(task, JOBCTL_TRAP_STOP | JOBCTL_TRAPPING)
    {
        clear(task, JOBCTL_STOPPED);
        sched::wake_state(task, TaskState::Stopped as u32);
        wake(task, false);
    }
}

/// Whether an attached thread has yet to come to its stop.
pub fn is_trapping(task: &Task) -> bool {
    task.signal.has_jobctl(JOBCTL_TRAPPING)
}

/// Whether the thread takes no more signals.
pub fn is_exiting(task: &Task) -> bool {
    task.signal.has_jobctl(JOBCTL_EXITING)
}

/// A tracee's child, not running yet, starts with a stop.
pub fn trap_new_tracee(child: &Arc<Task>, seized: bool) {
    let _shared = child.process.signal.shared.lock();
    if seized {
        set(child, JOBCTL_TRAP_STOP);
    } else {
        let mut queue = child.signal.queue.lock();
        queue.mark(Signo::STOP);
        child.signal.publish(&queue);
    }
    child.arch.mark(arch::WORK_SIGNAL);
}

/// The tracee is in a stop that its tracer may wait for and make requests in.
pub fn is_traced_stop(task: &Task) -> bool {
    let bits = task.signal.jobctl.load(Ordering::SeqCst);
    bits & (JOBCTL_TRACED | JOBCTL_LISTENING) == JOBCTL_TRACED
}

/// Keeps a stopped tracee in its stop until [`unfreeze`]; false when it is in none, or `accept` refuses.
pub fn freeze(task: &Task, accept: impl FnOnce() -> bool) -> bool {
    let _shared = task.process.signal.shared.lock();
    if !is_traced_stop(task) || super::fatal_pending(task) || !accept() {
        return false;
    }
    set(task, JOBCTL_FROZEN);
    true
}

/// The request is done: a SIGKILL that came meanwhile takes effect.
pub fn unfreeze(task: &Arc<Task>) {
    let _shared = task.process.signal.shared.lock();
    clear(task, JOBCTL_FROZEN);
    if super::fatal_pending(task) {
        kick(task, true);
    }
}

/// A frozen tracee goes on; `set_code` says with what.
pub fn resume(task: &Arc<Task>, set_code: impl FnOnce()) {
    let _shared = task.process.signal.shared.lock();
    set_code();
    clear(task, JOBCTL_FROZEN | JOBCTL_TRACED);
    sched::wake_state(task, TaskState::Traced as u32);
}

/// PTRACE_INTERRUPT.
pub fn interrupt(task: &Arc<Task>) {
    let _shared = task.process.signal.shared.lock();
    if set_pending(task, JOBCTL_TRAP_STOP) {
        kick(task, task.signal.has_jobctl(JOBCTL_LISTENING));
    }
}

/// PTRACE_LISTEN: a frozen tracee stays where it is, but traps again at news of job control.
pub fn listen(task: &Arc<Task>) {
    let _shared = task.process.signal.shared.lock();
    set(task, JOBCTL_LISTENING);
    if task.signal.has_jobctl(JOBCTL_TRAP_NOTIFY) {
        clear(task, JOBCTL_FROZEN);
        kick(task, true);
    }
}

/// News of job control for a seized tracee.
pub(super) fn notify_seized(task: &Arc<Task>) {
    set(task, JOBCTL_TRAP_NOTIFY);
    kick(task, task.signal.has_jobctl(JOBCTL_LISTENING));
}

/// A fatal signal ends a stop, unless the tracer is just looking.
pub(super) fn kill_stopped(task: &Arc<Task>) {
    let bits = task.signal.jobctl.load(Ordering::SeqCst);
    if bits & (JOBCTL_TRACED | JOBCTL_FROZEN) == JOBCTL_TRACED {
        clear(task, JOBCTL_TRACED);
        sched::wake_state(task, TaskState::Traced as u32);
    }
}

/// Copies of pending signals for PTRACE_PEEKSIGINFO, from the `skip`th on while `take` wants more.
pub fn peek_pending(task: &Task, of_process: bool, skip: usize, out: &mut [SigInfo]) -> usize {
    let mut seen = 0;
    let mut filled = 0;
    let mut show = |info: &SigInfo| {
        if seen >= skip
            && let Some(slot) = out.get_mut(filled)
        {
            *slot = *info;
            filled += 1;
        }
        seen += 1;
    };
    let shared = task.process.signal.shared.lock();
    match of_process {
        true => shared.queue.for_each(&mut show),
        false => task.signal.queue.lock().for_each(&mut show),
    }
    filled
}

/// The mask that PTRACE_GETSIGMASK shows: the one that a temporary one will give way to.
pub fn shown_mask(task: &Task) -> SigSet {
    let signal = &task.signal;
    match signal.restore_mask.load(Ordering::Relaxed) {
        true => SigSet::from_bits(signal.saved_mask.load(Ordering::Relaxed)),
        false => signal.blocked(),
    }
}

/// PTRACE_SETSIGMASK on a frozen tracee, which looks at its signals when it goes on.
pub fn set_mask(task: &Task, mask: SigSet) {
    let mask = mask.difference(SigSet::UNMASKABLE);
    task.signal.blocked.store(mask.bits(), Ordering::SeqCst);
    task.signal.restore_mask.store(false, Ordering::Relaxed);
}

impl Shared {
    /// The signal that stops the process, while a `wait` has not consumed it.
    pub(super) fn stop_signo(&self) -> Signo {
        self.stop.signo.unwrap_or(Signo::STOP)
    }
}

/// The signal of the group stop, for a tracer's SIGCHLD.
pub fn stop_status(task: &Task) -> i32 {
    task.process.signal.shared.lock().stop_signo().as_i32()
}
