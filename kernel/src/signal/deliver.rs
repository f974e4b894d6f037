//! Taking signals: on the way to user space, and in `sigtimedwait`.

use core::sync::atomic::Ordering;

use ::signal::DefaultAction;
use abi::Errno;
use abi::signal::{SaFlags, SigAction, SigInfo, SigSet, Signo};

use super::state::{
    GroupExit, JOBCTL_STOP_DEQUEUED, JOBCTL_STOP_PENDING, JOBCTL_TRAP_NOTIFY, JOBCTL_TRAP_STOP,
    SignalShared, Tag, TaskSignal,
};
use super::{stop, trace};
use crate::arch::{self, UserRegs};
use crate::task::{self, CurrentTask, ptrace};

/// Bytes of the `syscall` instruction, which a restarted call executes again.
const SYSCALL_LEN: u64 = 2;
/// `restart_syscall`'s number.
const NR_RESTART_SYSCALL: u64 = 219;

/// Handles what is pending for the current thread on its way to user space: ends or stops it, or points `regs` at a
/// handler, or restarts the system call that a wake-up interrupted.
pub fn deliver(regs: &mut UserRegs) {
    let current = task::current();
    let signal = &current.signal;
    current.arch.unmark(arch::WORK_SIGNAL);
    let taken = next(&current);
    // A tracer may have changed the registers behind this reference.
    let regs = core::hint::black_box(regs);
    match taken {
        Some((info, action, signo)) => {
            fix_restart_for_handler(regs, &action);
            if !task::rseq::before_handler(&current, regs) {
                super::force_segv(signo);
            }
            let mask = mask_to_save(signal);
            // What the frame saves is the program's, without the trap flag of who steps it.
            let stepping = current.arch.is_stepping();
            if stepping {
                current.arch.disable_step(regs);
                current.arch.unwatch_syscalls(arch::SYSCALL_STEP);
            }
            match super::frame::push(&current, regs, &action, &info, mask) {
                Ok(()) => {
                    enter_handler(&current, &action, signo);
                    if stepping {
                        // The step led to the handler's first instruction.
                        ptrace::notify(Signo::TRAP.as_i32(), 0);
                    }
                }
                Err(_) => super::force_segv(signo),
            }
        }
        None => {
            fix_restart(regs);
            restore_mask(&current);
        }
    }
    update_work(&current);
}

/// Sets the work bit again when something is left to do.
#[inline]
pub(super) fn update_work(current: &CurrentTask) {
    if has_work(current) {
        current.arch.mark(arch::WORK_SIGNAL);
    }
}

/// Whether anything unblocked is pending for the current thread.
#[inline]
pub(super) fn has_work(current: &CurrentTask) -> bool {
    let signal = &current.signal;
    let ready = signal.pending().union(current.process.signal.pending());
    !ready.difference(signal.blocked()).is_empty()
        || signal.has_jobctl(JOBCTL_STOP_PENDING | JOBCTL_TRAP_STOP | JOBCTL_TRAP_NOTIFY)
}

/// The next signal that a handler wants; everything before it that stops, ends or does nothing is dealt with.
fn next(current: &CurrentTask) -> Option<(SigInfo, SigAction, Signo)> {
    let process = &current.process;
    loop {
        stop::tell_news(process);
        // Nothing but that counts for a thread that is to die.
        let dies = super::fatal_pending(current);
        if !dies && current.signal.has_jobctl(JOBCTL_STOP_PENDING) && stop::stop_current(None) {
            continue;
        }
        if !dies
            && current
                .signal
                .has_jobctl(JOBCTL_TRAP_STOP | JOBCTL_TRAP_NOTIFY)
        {
            trace::trap(current);
            continue;
        }
        let blocked = match dies {
            true => SigSet::of(Signo::KILL).complement(),
            false => current.signal.blocked(),
        };
        let (signo, info, origin) = dequeue_from(current, blocked)?;
        if signo == Signo::KILL {
            if process.signal.group_exit() == Some(GroupExit::Exec) {
                task::exit::exit_thread(0);
            }
            die(&info);
        }
        let (signo, info) = match current.ptrace.is_traced() {
            true => match trace::signal_stop(current, info, origin) {
                Some(left) => left,
                None => continue,
            },
            false => (signo, info),
        };
        if signo == Signo::KILL {
            die(&info);
        }
        let hand = process.signal.hand.get();
        let action = hand.take_for_delivery(signo);
        if action.is_ignore() {
            continue;
        }
        if !action.is_default() {
            return Some((info, action, signo));
        }
        drop(hand);
        take_default(current, signo, &info);
    }
}

fn take_default(current: &CurrentTask, signo: Signo, info: &SigInfo) {
    let effect = DefaultAction::of(signo);
    let immune = current.process.signal.unkillable.load(Ordering::Relaxed)
        && !SigSet::UNMASKABLE.contains(signo);
    match effect {
        DefaultAction::Ignore | DefaultAction::Continue => {}
        _ if immune => {}
        DefaultAction::Stop => {
            // Nobody could continue an orphaned process group.
            if signo == Signo::STOP || !task::tree::is_orphaned(&current.process.group(), None) {
                stop::stop_current(Some(signo));
            }
        }
        DefaultAction::Terminate | DefaultAction::Core => die(info),
    }
}

/// Ends the process by a signal, and dumps it if the signal is one for that.
pub fn die(info: &SigInfo) -> ! {
    let dumps = |signo| DefaultAction::of(signo) == DefaultAction::Core;
    if info.signo().is_some_and(dumps) {
        task::coredump::dump(info);
    }
    task::exit::exit_process(info.si_signo as u32 & 0x7f)
}

/// Whose queue a signal comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    Thread,
    Process,
}

/// Takes the next signal outside `blocked`, the thread's own before the process's.
pub(super) fn dequeue(current: &CurrentTask, blocked: SigSet) -> Option<(Signo, SigInfo)> {
    dequeue_from(current, blocked).map(|(signo, info, _)| (signo, info))
}

fn dequeue_from(current: &CurrentTask, blocked: SigSet) -> Option<(Signo, SigInfo, Origin)> {
    loop {
        let own = take_own(&current.signal, blocked);
        let (signo, mut info, tag, shared) = match own {
            Some((signo, info, tag)) => (signo, info, tag, false),
            None => {
                let (signo, info, tag) = take_shared(&current.process.signal, blocked)?;
                (signo, info, tag, true)
            }
        };
        if SigSet::STOPS.contains(signo) {
            current
                .signal
                .jobctl
                .fetch_or(JOBCTL_STOP_DEQUEUED, Ordering::SeqCst);
        }
        let timer = tag.and_then(|tag| tag.timer);
        if let Some((id, setting)) = timer
            && !super::timer_delivered(&current.process, id, setting, &mut info)
        {
            continue;
        }
        if shared && signo == Signo::ALRM {
            super::alarm_taken(&current.process);
        }
        let origin = if shared {
            Origin::Process
        } else {
            Origin::Thread
        };
        return Some((signo, info, origin));
    }
}

type Taken = (Signo, SigInfo, Option<Tag>);

fn take_own(signal: &TaskSignal, blocked: SigSet) -> Option<Taken> {
    if signal.pending().difference(blocked).is_empty() {
        return None;
    }
    let mut queue = signal.queue.lock();
    let signo = queue.next(blocked)?;
    let (info, tag) = queue.take(signo)?;
    signal.publish(&queue);
    drop(queue);
    Some((signo, info, tag))
}

fn take_shared(signal: &SignalShared, blocked: SigSet) -> Option<Taken> {
    if signal.pending().difference(blocked).is_empty() {
        return None;
    }
    let mut shared = signal.shared.lock();
    let signo = shared.queue.next(blocked)?;
    let (info, tag) = shared.queue.take(signo)?;
    shared.publish(&signal.pending);
    drop(shared);
    Some((signo, info, tag))
}

/// After the frame is in place: the handler's mask takes effect.
fn enter_handler(current: &CurrentTask, action: &SigAction, signo: Signo) {
    let signal = &current.signal;
    signal.restore_mask.store(false, Ordering::Relaxed);
    let mut blocked = signal.blocked().union(action.mask);
    if !action.has(SaFlags::NODEFER) {
        blocked.insert(signo);
    }
    super::mask::set_blocked(current, blocked);
}

/// The mask that the frame saves: the one before `sigsuspend` and the like.
fn mask_to_save(signal: &TaskSignal) -> SigSet {
    match signal.restore_mask.load(Ordering::Relaxed) {
        true => SigSet::from_bits(signal.saved_mask.load(Ordering::Relaxed)),
        false => signal.blocked(),
    }
}

/// No handler runs: the mask of before `sigsuspend` and the like comes back at once.
fn restore_mask(current: &CurrentTask) {
    let signal = &current.signal;
    if signal.restore_mask.load(Ordering::Relaxed) {
        signal.restore_mask.store(false, Ordering::Relaxed);
        let saved = SigSet::from_bits(signal.saved_mask.load(Ordering::Relaxed));
        super::mask::set_blocked(current, saved);
    }
}

/// The restart code that a system call returned, if the task comes from one.
fn restart_code(regs: &UserRegs) -> Option<Errno> {
    if regs.orig_rax as i32 == -1 {
        return None;
    }
    let code = (regs.rax as i64).checked_neg()?;
    [
        Errno::ERESTARTSYS,
        Errno::ERESTARTNOINTR,
        Errno::ERESTARTNOHAND,
        Errno::ERESTART_RESTARTBLOCK,
    ]
    .into_iter()
    .find(|errno| i64::from(errno.get()) == code)
}

fn execute_again(regs: &mut UserRegs, number: u64) {
    regs.rax = number;
    regs.rip = regs.rip.wrapping_sub(SYSCALL_LEN);
}

/// A handler will run: the interrupted call fails with EINTR, or is executed again after it.
fn fix_restart_for_handler(regs: &mut UserRegs, action: &SigAction) {
    let Some(code) = restart_code(regs) else {
        return;
    };
    let restart = match code {
        Errno::ERESTARTNOINTR => true,
        Errno::ERESTARTSYS => action.has(SaFlags::RESTART),
        _ => false,
    };
    if restart {
        execute_again(regs, regs.orig_rax);
    } else {
        regs.rax = i64::from(Errno::EINTR.get()).wrapping_neg() as u64;
    }
}

/// No handler will run: the call goes on as if nothing had happened.
fn fix_restart(regs: &mut UserRegs) {
    match restart_code(regs) {
        None => {}
        Some(Errno::ERESTART_RESTARTBLOCK) => execute_again(regs, NR_RESTART_SYSCALL),
        Some(_) => execute_again(regs, regs.orig_rax),
    }
}
