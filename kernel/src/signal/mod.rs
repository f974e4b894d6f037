//! Signals: sending, the choice of a thread, stopping and continuing, frames, and the news of children.
//!
//! | module | what |
//! |---|---|
//! | `state` | [`SignalShared`] of a process, [`TaskSignal`] of a thread |
//! | `hand` | [`SigHand`]: dispositions |
//! | `send` | queueing, what is dropped, who is woken |
//! | `deliver` | the way to user space: default actions, handlers, restarted system calls |
//! | `frame` | the frame on the user's stack, and `rt_sigreturn` |
//! | `mask` | blocked signals, `sigsuspend`, `sigtimedwait` |
//! | `stop` | job control |
//! | `trace` | tracees: their stops, and how they take part in those of job control |
//! | `notify` | SIGCHLD and its contents |
//! | `force` | faults, which cannot be blocked or ignored |
//! | `life` | threads and processes come, exec and go |
//! | `perm` | who may signal whom |
//! | `timer` | timers that send signals |
//! | `account` | RLIMIT_SIGPENDING |
//!
//! The logic of queues, dispositions and alternate stacks is the crate `signal`, tested on the host.
//!
//! # Lock order
//! ```text
//! SignalShared::shared (interrupts off: timers and terminals send from interrupts)
//!   TaskSignal::queue
//!   SignalShared::account
//!   run queues (waking)
//! SigHand's table, TaskSignal's small cells: taken alone
//! ```
//!
//! # Invariants
//! - A sender stores the pending set before it sets the work bit; the owner clears the bit before it looks at the sets
//!   (both sequentially consistent): no signal is left pending behind a clear bit.
//! - A thread changes its own mask only; a signal of the process that it blocks from then on is handed to a thread that
//!   takes it.
//! - Nothing is allocated and nothing freed under `shared` or `queue`.
//!
//! References: signal(7), sigaction(2), POSIX.1-2024 section 2.4.

mod account;
mod deliver;
mod force;
mod frame;
mod hand;
mod life;
pub mod mask;
pub mod notify;
pub mod perm;
mod send;
mod state;
mod stop;
pub mod timer;
mod trace;

use abi::Result;
use abi::signal::{SigAction, SigInfo, SigSet, Signo, StackT, si};

pub use deliver::{deliver, die};
pub use force::{force_exception, force_key_fault, force_segv, force_signal};
pub use life::{
    add_thread, begin_dump, begin_group_exit, begin_thread_exit, end_dump, end_exec, exit_process,
    on_exec_reset, remove_thread, wait_for_other_threads,
};
pub use notify::{
    hang_up_if_orphaned, notify_parent_exit, notify_tracer_exit, send_parent_death, wants_exit,
};
pub use send::{force_to_process, force_to_task, send_to_process, send_to_task};
pub use state::{GroupExit, RestartFn, SignalShared, TaskSignal};
pub use trace::{
    Shown, freeze, interrupt, is_exiting, is_traced_stop, is_trapping, listen, peek_pending,
    release_tracee, resume, set_mask, shown_mask, stop_for_tracer, stop_status, trap_new_tracee,
    trap_stopped, unfreeze,
};

use crate::arch::{self, UserRegs};
use crate::sched::SleepKind;
use crate::task::rlimit::Resource;
use crate::task::tree::ProcessGroup;
use crate::task::{self, Task};

/// Whether an interruptible sleep of the task has to end.
#[inline]
pub fn pending(task: &Task) -> bool {
    task.arch.work() & arch::WORK_SIGNAL != 0
}

/// Whether the task is to die.
#[inline]
pub fn fatal_pending(task: &Task) -> bool {
    task.signal.pending().contains(Signo::KILL)
}

/// Whether a sleep of this kind has to end before its condition.
#[inline]
pub fn ends_wait(task: &Task, kind: SleepKind) -> bool {
    match kind {
        SleepKind::Interruptible => pending(task),
        SleepKind::Killable | SleepKind::Stopped => fatal_pending(task),
        SleepKind::Uninterruptible | SleepKind::Traced => false,
    }
}

/// Sends to the current thread; the signal is delivered on its way to user space.
pub fn send_to_current(info: SigInfo) -> Result<()> {
    send_to_task(&task::current_arc(), info)
}

/// Sends to every process of a group, as terminals do: from the kernel, without asking for permission.
pub fn send_to_group(group: &ProcessGroup, info: SigInfo) {
    for process in group.members() {
        // Signals of the kernel are standard ones: no limit refuses them.
        let _ = send_to_process(&process, info);
    }
}

/// The information of a signal that the current task sends with `kill` (SI_USER) or `tkill` (SI_TKILL).
pub fn info_from_current(signo: Signo, by_tkill: bool) -> SigInfo {
    let current = task::current();
    let code = if by_tkill { si::TKILL } else { si::USER };
    SigInfo::user(signo, code, current.process.pid.0, current.my_cred().uid)
}

/// Stores what `restart_syscall` goes on with when a stop or an ignored signal interrupted the call, and returns the
/// code to fail with.
pub fn restart_with(resume: RestartFn) -> abi::Errno {
    let old = task::current().signal.restart.lock().replace(resume);
    drop(old);
    abi::Errno::ERESTART_RESTARTBLOCK
}

/// The queued signals of the user the process belongs to, and its limit (`SigQ` in `/proc/<pid>/status`).
pub fn queue_usage(process: &task::Process) -> (u64, u64) {
    let used = process.signal.account.lock().pending();
    (used, process.rlimits.soft(Resource::Sigpending))
}

/// A POSIX timer's signal is about to be delivered: brings its overrun count up to date and re-arms the timer. False
/// when the timer has been set anew or deleted since: the signal is dropped.
fn timer_delivered(process: &task::Process, id: i32, setting: u32, info: &mut SigInfo) -> bool {
    timer::posix::delivered(process, id, setting, info)
}

/// SIGALRM was taken: an interval timer that sent it starts its next interval.
fn alarm_taken(process: &task::Process) {
    timer::itimer::alarm_taken(process);
}

/// `rt_sigaction`'s work for the current process: installs `new` if there is one, returns the old action.
///
/// # Errors
/// `ENOMEM`.
#[inline]
pub fn change_action(signo: Signo, new: Option<SigAction>) -> Result<SigAction> {
    let current = task::current();
    let process = &current.process;
    let hand = process.signal.hand.get();
    let Some(new) = new else {
        return Ok(hand.get(signo));
    };
    let change = hand.set(signo, new)?;
    if change.flush {
        let mut shared = process.signal.shared.lock();
        stop::discard(process, &mut shared, SigSet::of(signo));
    }
    Ok(change.old)
}

/// `sigaltstack`'s work for the current thread, whose stack pointer is `sp`; returns what was before.
///
/// # Errors
/// As `AltStack::set`.
pub fn change_alt_stack(new: Option<StackT>, sp: u64, minimum: u64) -> Result<StackT> {
    let current = task::current();
    let mut stack = current.signal.alt_stack.lock();
    let before = stack.report(sp);
    if let Some(new) = new {
        stack.set(new, sp, minimum)?;
    }
    Ok(before)
}

/// `rt_sigreturn`: back to what the handler interrupted; returns the value that `rax` has there.
pub fn sigreturn(regs: &mut UserRegs) -> u64 {
    let current = task::current();
    if frame::pop(&current, regs).is_err() {
        force_signal(SigInfo::kernel(Signo::SEGV));
        return 0;
    }
    regs.rax
}

/// `restart_syscall`: goes on with the interrupted call.
///
/// # Errors
/// `EINTR` when there is none, else what the call answers.
pub fn run_restart() -> Result<usize> {
    let resume = task::current().signal.restart.lock().take();
    resume.ok_or(abi::Errno::EINTR)?()
}

/// The tick found `task` running in the real-time class, as it has for `ran_ns` without sleeping: RLIMIT_RTTIME.
pub fn realtime_tick(task: &Task, ran_ns: u64) {
    timer::cpu::realtime_tick(task, ran_ns);
}

/// A task has used up its reserved budget, and wants to know. In interrupt context.
pub fn deadline_overrun(task: &Task) {
    timer::cpu::deadline_overrun(task);
}

/// The tick found `task` running for `tick_ns`: charges interval timers and limits on CPU time. In interrupt context.
pub fn cpu_timers_tick(task: &Task, from_user: bool, tick_ns: u64) {
    timer::cpu::tick(task, from_user, tick_ns);
}
