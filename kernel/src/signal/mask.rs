//! The mask of the current thread, for good (`sigprocmask`) or for one call (`sigsuspend`, `ppoll`).

use core::sync::atomic::Ordering;

use abi::signal::{SigInfo, SigSet, Signo};
use abi::{Errno, Result};

use super::deliver::{dequeue, has_work};
use super::send::wake;
use super::state::JOBCTL_EXITING;
use crate::arch;
use crate::mm::user::UserPtr;
use crate::sched::{self, SleepKind};
use crate::task::{self, CurrentTask};
use crate::time;

/// Blocks exactly `mask` (less SIGKILL and SIGSTOP) in the current thread.
pub fn set_blocked(current: &CurrentTask, mask: SigSet) {
    let mask = mask.difference(SigSet::UNMASKABLE);
    let signal = &current.signal;
    let old = signal.blocked();
    if old == mask {
        return;
    }
    signal.blocked.store(mask.bits(), Ordering::SeqCst);
    let newly = mask.difference(old);
    if current.process.signal.pending().intersects(newly) {
        hand_over(current, newly);
    }
    refresh(current);
}

/// Makes the work bit say whether anything unblocked is pending.
pub(super) fn refresh(current: &CurrentTask) {
    if has_work(current) {
        current.arch.mark(arch::WORK_SIGNAL);
    } else if current.arch.work() & arch::WORK_SIGNAL != 0 {
        // Clear first, look again after: a sender marks after it has queued.
        current.arch.unmark(arch::WORK_SIGNAL);
        if has_work(current) {
            current.arch.mark(arch::WORK_SIGNAL);
        }
    }
}

/// Signals of the process that the current thread will not take go to threads that will.
pub(super) fn hand_over(current: &CurrentTask, which: SigSet) {
    let process = &current.process.signal;
    let shared = process.shared.lock();
    let mut left = shared.queue.set().intersection(which);
    for task in &shared.threads {
        let is_current = core::ptr::eq(&raw const **task, &raw const **current);
        if left.is_empty() || is_current || task.signal.has_jobctl(JOBCTL_EXITING) {
            continue;
        }
        let takes = left.difference(task.signal.blocked());
        if !takes.is_empty() {
            left = left.difference(takes);
            wake(task, false);
        }
    }
}

/// Sets the mask for the rest of this system call (`ppoll`, `pselect`, `epoll_pwait`): a handler sees it, and after it,
/// or at the end without one, the old mask comes back. Undone by [`end_temporary`] when the call was not interrupted.
pub fn begin_temporary(mask: SigSet) {
    let current = task::current();
    let signal = &current.signal;
    signal
        .saved_mask
        .store(signal.blocked().bits(), Ordering::Relaxed);
    signal.restore_mask.store(true, Ordering::Relaxed);
    set_blocked(&current, mask);
}

/// Ends what [`begin_temporary`] began. With `interrupted`, the exit path does it, after it has delivered.
pub fn end_temporary(interrupted: bool) {
    let current = task::current();
    let signal = &current.signal;
    if interrupted && has_work(&current) {
        return;
    }
    if signal.restore_mask.swap(false, Ordering::Relaxed) {
        let saved = SigSet::from_bits(signal.saved_mask.load(Ordering::Relaxed));
        set_blocked(&current, saved);
    }
}

/// Reads the `sigset_t` and its size that such calls pass, and takes it as the mask. NULL leaves the mask alone.
///
/// # Errors
/// `EINVAL` for another size than 8, `EFAULT`.
pub fn begin_temporary_from_user(mask: UserPtr<SigSet>, size: usize) -> Result<bool> {
    if mask.is_null() {
        return Ok(false);
    }
    if size != size_of::<SigSet>() {
        return Err(Errno::EINVAL);
    }
    begin_temporary(mask.read()?);
    Ok(true)
}

/// `sigsuspend`: sleeps with `mask` until a signal is delivered.
pub fn suspend(mask: SigSet) -> Errno {
    begin_temporary(mask);
    pause()
}

/// Sleeps until a signal is there.
pub fn pause() -> Errno {
    sleep(None);
    Errno::ERESTARTNOHAND
}

/// Sleeps until a signal is there (true) or `deadline_ns` of the monotonic clock has come (false).
pub fn sleep(deadline_ns: Option<u64>) -> bool {
    let current = task::current();
    let timer = deadline_ns.map(|at| sched::WakeTimer::arm(task::current_arc(), at));
    let interrupted = loop {
        sched::set_sleeping(SleepKind::Interruptible);
        if current.arch.work() & arch::WORK_SIGNAL != 0 {
            break true;
        }
        if deadline_ns.is_some_and(|at| time::monotonic_ns() >= at) {
            break false;
        }
        sched::block_current();
    };
    sched::set_running();
    drop(timer);
    interrupted
}

/// Takes a pending signal of `which`, blocked or not (`signalfd`).
pub fn take_pending(which: SigSet) -> Option<SigInfo> {
    let current = task::current();
    let taken = dequeue(&current, which.complement());
    refresh(&current);
    taken.map(|(_, info)| info)
}

/// `sigtimedwait`: takes one of `which`, waiting until `deadline_ns` of the monotonic clock (`None`: for ever).
///
/// # Errors
/// `EAGAIN` at the deadline, `EINTR` when another signal came.
pub fn wait_for(which: SigSet, deadline_ns: Option<u64>) -> Result<(Signo, SigInfo)> {
    let current = task::current();
    let which = which.difference(SigSet::UNMASKABLE);
    let others = which.complement();
    if let Some(taken) = dequeue(&current, others) {
        refresh(&current);
        return Ok(taken);
    }
    if deadline_ns == Some(0) {
        return Err(Errno::EAGAIN);
    }
    let signal = &current.signal;
    let old = signal.blocked();
    // While it waits, the signals are open, so that senders choose this thread, but are not dropped as ignored.
    signal.real_blocked.store(old.bits(), Ordering::SeqCst);
    set_blocked(&current, old.intersection(others));
    let interrupted = sleep(deadline_ns);
    set_blocked(&current, old);
    signal.real_blocked.store(0, Ordering::SeqCst);
    let taken = dequeue(&current, others);
    refresh(&current);
    taken.ok_or(if interrupted {
        Errno::EINTR
    } else {
        Errno::EAGAIN
    })
}
