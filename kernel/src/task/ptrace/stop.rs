//! The tracee's side: what it stops for, and what the stop shows.

use core::sync::atomic::Ordering;

use abi::signal::{SaFlags, SigInfo, Signo, cld};

use super::state::{Event, Options, SIGTRAP, Stop, TraceState};
use crate::arch::{self, UserRegs};
use crate::signal::{self, Shown, notify};
use crate::sync::{CurrentTask, current};
use crate::task::Task;

/// PTRACE_EVENTMSG_SYSCALL_ENTRY and _EXIT: what a system-call stop's message says.
pub(super) const MESSAGE_ENTRY: u64 = 1;
pub(super) const MESSAGE_EXIT: u64 = 2;

impl TraceState {
    /// The tracee stops: what its tracer may see. Under the signal lock.
    pub fn show(&self, code: i32, message: u64, info: Option<SigInfo>) {
        *self.stop.lock() = Stop {
            code,
            info,
            message,
        };
    }

    /// It goes on: with what code and information. Under the signal lock.
    pub fn take_resumption(&self) -> (i32, Option<SigInfo>) {
        let stop = core::mem::take(&mut *self.stop.lock());
        (stop.code, stop.info)
    }

    /// It has come to its stop: who attached may go on.
    pub fn settle(&self) {
        self.settled.wake_all();
    }
}

/// Whether the task's tracer is a thread of its process's parent.
pub fn tracer_is_parent(task: &Task) -> bool {
    task.process
        .parent()
        .is_some_and(|parent| task.ptrace.is_traced_by(&parent))
}

/// SIGCHLD for a tracee's stop (unless the tracer wants none), and a wake-up for its `wait`.
pub fn tell_tracer(task: &Task, why: i32, code: i32) {
    let Some(tracer) = task.ptrace.tracer() else {
        return;
    };
    let process = &tracer.process;
    let action = process.signal.hand.get().get(Signo::CHLD);
    if !action.is_ignore() && !action.has(SaFlags::NOCLDSTOP) {
        let status = match why {
            cld::STOPPED => signal::stop_status(task),
            _ => code & 0x7f,
        };
        // A standard signal cannot exceed a limit.
        let _ = signal::send_to_process(process, notify::thread_info(task, why, status));
    }
    process.child_events.wake_all();
}

/// The information of a stop that is no signal: the tracee tells of itself.
pub fn notice(task: &Task, signo: i32, code: i32) -> SigInfo {
    let signo = Signo::new(signo).unwrap_or(Signo::TRAP);
    SigInfo::user(signo, code, task.tid().0, task.cred().uid)
}

/// Stops the running tracee with this code, and answers what the tracer wants it to go on with.
pub fn notify(code: i32, message: u64) -> i32 {
    let me = current();
    let info = notice(&me, SIGTRAP, code);
    let shown = Shown {
        code,
        why: cld::TRAPPED,
        message,
        info: Some(info),
    };
    signal::stop_for_tracer(&me, shown).0
}

/// The running thread stops for an event if its tracer wants it; true if it did.
pub fn event_stop(event: Event, message: u64) -> bool {
    let wanted = current().ptrace.wants(event);
    if wanted {
        notify(event.code(), message);
    }
    wanted
}

/// The running thread has executed a program; `old_tid` is what its number was. A tracer that asked for no event and did
/// not seize gets a plain SIGTRAP.
pub fn exec_stop(old_tid: i32) {
    let me = current();
    let ptrace = &me.ptrace;
    if !event_stop(Event::Exec, old_tid as u64) && ptrace.is_traced() && !ptrace.is_seized() {
        let info = SigInfo::user(Signo::TRAP, 0, me.process.pid.0, me.cred().uid);
        let _ = signal::send_to_current(info);
    }
}

/// A system-call stop; the tracer's signal, if it gives one, is sent to the tracee.
fn syscall_stop(me: &CurrentTask, message: u64) {
    if !me.ptrace.is_traced() {
        return;
    }
    let good = me.ptrace.options().contains(Options::TRACESYSGOOD);
    let signo = notify(SIGTRAP | if good { 0x80 } else { 0 }, message);
    if let Some(signo) = Signo::new(signo) {
        let _ = signal::send_to_current(SigInfo::kernel(signo));
    }
}

/// The tracer's stop before a system call; false when the call is not to be made.
pub fn syscall_entry() -> bool {
    let me = current();
    let work = me.arch.syscall_work();
    if work & (arch::SYSCALL_TRACE | arch::SYSCALL_EMULATE) == 0 {
        return true;
    }
    syscall_stop(&me, MESSAGE_ENTRY);
    !signal::fatal_pending(&me) && work & arch::SYSCALL_EMULATE == 0
}

/// The tracer's stop after a system call, or the trap of a step over it.
pub fn syscall_exit(regs: &UserRegs) {
    let me = current();
    let work = me.arch.syscall_work();
    if work & arch::SYSCALL_STEP != 0 && work & arch::SYSCALL_EMULATE == 0 {
        /// `si_code`: stepped.
        const TRAP_BRKPT: i32 = 1;
        signal::force_signal(SigInfo::fault(Signo::TRAP, TRAP_BRKPT, regs.rip));
    } else if work & arch::SYSCALL_TRACE != 0 {
        syscall_stop(&me, MESSAGE_EXIT);
    }
}

/// The running thread ends: told to its tracer when it wants to know. `status` is what a wait would see.
pub fn exit_stop(status: u32) {
    event_stop(Event::Exit, u64::from(status));
}

/// The thread has ended with this wait status, and its tracer may wait for it. True if it has one. Who attaches right now
/// either is seen here or sees that the thread has ended: each stores before it looks.
pub fn mark_ended(task: &Task, status: u32) -> bool {
    task.ptrace.status.store(status, Ordering::SeqCst);
    task.ptrace.ended.store(true, Ordering::SeqCst);
    task.ptrace.is_traced()
}
