//! Sending: where a signal is queued, whether it is dropped, and which thread is woken for it.
//!
//! Callable from interrupts and under spin locks; there, nothing is allocated, and a signal that finds no room keeps its
//! number and loses its information, as on Linux.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use ::signal::{DefaultAction, Entry, Storage};
use abi::signal::{SigInfo, SigSet, Signo, si};
use abi::{Errno, Result};

use super::account::Charge;
use super::state::{GroupExit, JOBCTL_EXITING, JOBCTL_STOPPED, JOBCTL_TRACED, Queue, Shared, Tag};
use crate::arch;
use crate::task::rlimit::Resource;
use crate::task::{Process, Task};

/// Sends to one thread.
///
/// # Errors
/// `EAGAIN` when a real-time signal with information exceeds RLIMIT_SIGPENDING.
pub fn send_to_task(task: &Arc<Task>, info: SigInfo) -> Result<()> {
    send(&task.process, Some(task), info, false)
}

/// Sends to a process: any thread may take it.
///
/// # Errors
/// As [`send_to_task`].
pub fn send_to_process(process: &Process, info: SigInfo) -> Result<()> {
    send(process, None, info, false)
}

/// As [`send_to_process`] from the kernel itself: reaches init too.
pub fn force_to_process(process: &Process, info: SigInfo) -> Result<()> {
    send(process, None, info, true)
}

/// As [`send_to_task`] from the kernel itself: reaches init too.
pub fn force_to_task(task: &Arc<Task>, info: SigInfo) -> Result<()> {
    send(&task.process, Some(task), info, true)
}

fn send(process: &Process, target: Option<&Arc<Task>>, info: SigInfo, force: bool) -> Result<()> {
    let Some(signo) = info.signo() else {
        return Err(Errno::EINVAL);
    };
    // Senders with interrupts on hold no lock that an allocation could need. Asked before the lock turns them off.
    let can_allocate = arch::irq::enabled();
    let mut storage: Option<Box<Storage<Tag>>> = None;
    loop {
        let mut shared = process.signal.shared.lock();
        super::stop::prepare(process, &mut shared, signo);
        if is_dropped(process, &shared, target.map(|t| &**t), signo, force) {
            return Ok(());
        }
        // What a bigger storage replaces is freed after the lock.
        let (outcome, replaced) = match target {
            Some(task) => {
                let mut queue = task.signal.queue.lock();
                let replaced = storage.take().and_then(|new| queue.grow(new));
                let outcome = enqueue(process, &mut queue, signo, info, can_allocate);
                task.signal.publish(&queue);
                (outcome, replaced)
            }
            None => {
                let replaced = storage.take().and_then(|new| shared.queue.grow(new));
                let outcome = enqueue(process, &mut shared.queue, signo, info, can_allocate);
                shared.publish(&process.signal.pending);
                (outcome, replaced)
            }
        };
        if matches!(outcome, Outcome::Queued) {
            complete(process, &mut shared, target, signo);
        }
        drop(shared);
        drop(replaced);
        match outcome {
            Outcome::Queued | Outcome::Coalesced => return Ok(()),
            Outcome::OverLimit => return Err(Errno::EAGAIN),
            Outcome::NeedsRoom(capacity) => match Storage::allocate(capacity) {
                Some(roomier) => storage = Some(Box::new(roomier)),
                None => return mark_without_info(process, target, signo, &info),
            },
        }
    }
}

enum Outcome {
    Queued,
    Coalesced,
    OverLimit,
    NeedsRoom(usize),
}

/// Whether a signal must have its place in a queue: real-time ones that carry what their sender said.
fn must_queue(signo: Signo, info: &SigInfo) -> bool {
    signo.is_realtime() && info.si_code != si::USER
}

fn enqueue(
    process: &Process,
    queue: &mut Queue,
    signo: Signo,
    info: SigInfo,
    can_allocate: bool,
) -> Outcome {
    if queue.coalesces(signo) {
        return Outcome::Coalesced;
    }
    let charge = charge(process, signo, &info);
    if charge.is_none() {
        if must_queue(signo, &info) {
            return Outcome::OverLimit;
        }
        queue.mark(signo);
        return Outcome::Queued;
    }
    match queue.push(
        signo,
        Entry {
            info,
            tag: Tag {
                charge,
                timer: None,
            },
        },
    ) {
        Ok(()) => Outcome::Queued,
        Err(_) if !can_allocate => {
            queue.mark(signo);
            Outcome::Queued
        }
        Err(_) => Outcome::NeedsRoom(queue.wanted_capacity()),
    }
}

/// Charges the receiver's user. The kernel and `kill` may exceed the limit with standard signals.
fn charge(process: &Process, signo: Signo, info: &SigInfo) -> Option<Charge> {
    let may_exceed = !signo.is_realtime() && info.si_code >= 0;
    let limit = process.rlimits.soft(Resource::Sigpending);
    let account = process.signal.account.lock();
    account.charge(if may_exceed { None } else { Some(limit) })
}

fn mark_without_info(
    process: &Process,
    target: Option<&Arc<Task>>,
    signo: Signo,
    info: &SigInfo,
) -> Result<()> {
    if must_queue(signo, info) {
        return Err(Errno::EAGAIN);
    }
    let mut shared = process.signal.shared.lock();
    match target {
        Some(task) => {
            let mut queue = task.signal.queue.lock();
            queue.mark(signo);
            task.signal.publish(&queue);
        }
        None => {
            shared.queue.mark(signo);
            shared.publish(&process.signal.pending);
        }
    }
    complete(process, &mut shared, target, signo);
    Ok(())
}

/// Queues a timer's signal in the place that was set aside for it; false when it is ignored, or when its thread (named by
/// its address, which is only compared) is gone. From interrupts too.
pub(super) fn deliver_queued(
    process: &Process,
    thread: Option<*const Task>,
    signo: Signo,
    entry: Entry<Tag>,
) -> bool {
    let mut shared = process.signal.shared.lock();
    let target = thread.map(|wanted| {
        shared
            .threads
            .iter()
            .find(|task| core::ptr::eq(Arc::as_ptr(task), wanted))
            .cloned()
    });
    let target = match target {
        Some(None) => return false,
        Some(found) => found,
        None => None,
    };
    super::stop::prepare(process, &mut shared, signo);
    if is_dropped(process, &shared, target.as_deref(), signo, false) {
        return false;
    }
    let pushed = match &target {
        Some(task) => {
            let mut queue = task.signal.queue.lock();
            let pushed = queue.push_reserved(signo, entry);
            task.signal.publish(&queue);
            pushed
        }
        None => {
            let pushed = shared.queue.push_reserved(signo, entry);
            shared.publish(&process.signal.pending);
            pushed
        }
    };
    debug_assert!(pushed.is_ok(), "a place was set aside");
    complete(process, &mut shared, target.as_ref(), signo);
    // The list of threads holds another count, so this frees nothing.
    drop(target);
    true
}

/// Whether the signal has no effect at all: ignored and not blocked.
fn is_dropped(
    process: &Process,
    shared: &Shared,
    target: Option<&Task>,
    signo: Signo,
    force: bool,
) -> bool {
    if shared.dump.is_some() && signo != Signo::KILL {
        return true;
    }
    let Some(receiver) = target.or_else(|| shared.threads.first().map(|t| &**t)) else {
        return true;
    };
    let real = SigSet::from_bits(receiver.signal.real_blocked.load(Ordering::SeqCst));
    if receiver.signal.blocked().union(real).contains(signo) {
        return false;
    }
    // A tracer may want to know of it all the same.
    if receiver.ptrace.is_traced() && signo != Signo::KILL {
        return false;
    }
    let hand = process.signal.hand.get();
    if process.signal.unkillable.load(Ordering::Relaxed)
        && !hand.caught().contains(signo)
        && !(force && SigSet::UNMASKABLE.contains(signo))
    {
        return true;
    }
    hand.ignored().contains(signo)
}

/// Chooses a thread that takes the signal now, and wakes it.
fn complete(process: &Process, shared: &mut Shared, target: Option<&Arc<Task>>, signo: Signo) {
    // Readers of a signalfd want signals that all threads block.
    if process.signal.has_signalfd.load(Ordering::Relaxed) {
        process.signal.arrival.wake_all();
    }
    let Some(chosen) = choose(shared, target, signo).cloned() else {
        return;
    };
    let chosen = &chosen;
    if is_fatal(process, chosen, signo) {
        doom(shared, u32::from(signo.get()), None);
        return;
    }
    wake(chosen, false);
}

/// Whether the signal will end the process without a core dump: all threads are killed at once then, also those in
/// sleeps that only SIGKILL ends.
fn is_fatal(process: &Process, chosen: &Task, signo: Signo) -> bool {
    if signo == Signo::KILL {
        return true;
    }
    // What a tracer makes of it is not known yet.
    if chosen.ptrace.is_traced() {
        return false;
    }
    let hand = process.signal.hand.get();
    let real = SigSet::from_bits(chosen.signal.real_blocked.load(Ordering::SeqCst));
    DefaultAction::of(signo) == DefaultAction::Terminate
        && !hand
            .caught()
            .union(hand.ignored())
            .union(real)
            .contains(signo)
        && !process.signal.unkillable.load(Ordering::Relaxed)
}

/// The thread itself when it wants the signal, else one after another of the process.
fn choose<'a>(
    shared: &'a mut Shared,
    target: Option<&'a Arc<Task>>,
    signo: Signo,
) -> Option<&'a Arc<Task>> {
    if let Some(task) = target {
        return wants(task, signo).then_some(task);
    }
    let first = shared.threads.first()?;
    if wants(first, signo) {
        return shared.threads.first();
    }
    let count = shared.threads.len();
    let start = shared.next_thread;
    let found = (0..count).map(|i| (start + i) % count).find(|i| {
        shared
            .threads
            .get(*i)
            .is_some_and(|task| wants(task, signo))
    })?;
    shared.next_thread = found;
    shared.threads.get(found)
}

fn wants(task: &Task, signo: Signo) -> bool {
    let signal = &task.signal;
    if signal.blocked().contains(signo) || signal.has_jobctl(JOBCTL_EXITING) {
        return false;
    }
    if signo == Signo::KILL {
        return true;
    }
    if signal.has_jobctl(JOBCTL_STOPPED | JOBCTL_TRACED) {
        return false;
    }
    task.sched.state() == crate::sched::TaskState::Running || !super::pending(task)
}

/// All threads but `survivor` are to end, the process with the wait status `status` unless one is decided already.
pub(super) fn doom(shared: &mut Shared, status: u32, survivor: Option<&Task>) -> u32 {
    let status = match shared.exit {
        // SIGKILL ends a dump, and is then what the process died of.
        Some(GroupExit::Status(first)) if shared.dump.is_none() => first,
        _ => status,
    };
    shared.exit = Some(GroupExit::Status(status));
    for task in &shared.threads {
        if !survivor.is_some_and(|survivor| core::ptr::eq(&raw const **task, survivor)) {
            mark_killed(task);
        }
    }
    status
}

/// Makes a thread die: SIGKILL is pending for it, whatever it does.
pub(super) fn mark_killed(task: &Arc<Task>) {
    let mut queue = task.signal.queue.lock();
    queue.mark(Signo::KILL);
    task.signal.publish(&queue);
    drop(queue);
    super::trace::kill_stopped(task);
    wake(task, true);
}

/// Makes a thread look at its signals: sets the work bit, ends its sleep, or interrupts the CPU it runs on.
///
/// The current thread may be asleep too: an interrupt that sends comes to it between its declaring a sleep and its giving
/// up the CPU.
pub(super) fn wake(task: &Arc<Task>, fatal: bool) {
    task.arch.mark(arch::WORK_SIGNAL);
    crate::sched::wake_signal(task, fatal);
}
