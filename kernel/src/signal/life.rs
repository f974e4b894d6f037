//! Threads and processes come, execute programs and go.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use ::signal::AltStack;
use abi::signal::{SigInfo, SigSet, cld};
use abi::{Errno, Result};
use smallvec::SmallVec;

use super::mask::hand_over;
use super::send::{doom, mark_killed};
use super::state::{GroupExit, JOBCTL_EXITING, Shared};
use super::stop;
use crate::arch;
use crate::task::coredump::Gathering;
use crate::task::{self, CurrentTask, Process, Task, TaskFlags};

type Threads = SmallVec<[Arc<Task>; 1]>;

/// A new thread becomes one that signals of its process may choose. Called before it first runs. `inherit` is run just
/// before, when nobody can change what the thread's maker has for all its threads.
///
/// # Errors
/// `ENOMEM`, and `ERESTARTNOINTR` when the process is ending or executing a program: the thread must not start.
pub fn add_thread(task: &Arc<Task>, inherit: impl Fn(&Task)) -> Result<()> {
    let process = &*task.process;
    let mut roomier = Threads::new();
    loop {
        let mut shared = process.signal.shared.lock();
        if shared.exit.is_some() {
            return Err(Errno::ERESTARTNOINTR);
        }
        let len = shared.threads.len();
        if len < shared.threads.capacity() {
            inherit(task);
            shared.threads.push(task.clone());
            stop::join(&mut shared, task);
            return Ok(());
        }
        if roomier.capacity() > len {
            move_threads(&mut shared, &mut roomier);
            continue;
        }
        drop(shared);
        roomier = Threads::new();
        let wanted = (len + 1).next_power_of_two().max(4);
        roomier.try_reserve(wanted).map_err(|_| Errno::ENOMEM)?;
    }
}

/// Moves the list to the bigger memory of `roomier` and leaves the old memory there.
fn move_threads(shared: &mut Shared, roomier: &mut Threads) {
    roomier.extend(shared.threads.drain(..));
    core::mem::swap(&mut shared.threads, roomier);
}

/// The current thread takes no more signals. Those of the process that it would have taken go to other threads, and a
/// stop that waited only for it becomes complete. True when it was the last.
pub fn remove_thread(current: &CurrentTask) -> bool {
    let process = &current.process;
    let signal = &current.signal;
    signal.jobctl.fetch_or(JOBCTL_EXITING, Ordering::SeqCst);
    let open = signal.blocked().complement();
    if process.signal.pending().intersects(open) {
        hand_over(current, open);
    }
    let mut shared = process.signal.shared.lock();
    let completes = stop::leave(&mut shared, current);
    let me = &raw const **current;
    let at = shared
        .threads
        .iter()
        .position(|other| core::ptr::eq(&raw const **other, me));
    let removed = at.map(|at| shared.threads.remove(at));
    let alone = shared.threads.is_empty();
    drop(shared);
    drop(removed);
    if completes && !alone {
        stop::tell_parent(process, cld::STOPPED);
    }
    let mut queue = signal.queue.lock();
    queue.discard(SigSet::FULL);
    signal.publish(&queue);
    drop(queue);
    process.signal.thread_gone.wake_all();
    alone
}

/// The process has no threads any more: what is pending for it is thrown away, and its timers stop.
pub fn exit_process(process: &Arc<Process>) {
    super::timer::process_exit(process);
    let mut shared = process.signal.shared.lock();
    shared.queue.discard(SigSet::FULL);
    shared.publish(&process.signal.pending);
}

/// Begins the end of the whole process, or of all its threads but the current one, unless one of these has begun
/// already. The other threads are killed. True when this call began it.
pub fn begin_group_exit(process: &Process, exit: GroupExit) -> bool {
    let current = task::current();
    let mut shared = process.signal.shared.lock();
    if shared.exit.is_some() {
        return false;
    }
    match exit {
        GroupExit::Status(status) => {
            doom(&mut shared, status, Some(&current));
        }
        GroupExit::Exec if shared.threads.len() > 1 => {
            shared.exit = Some(GroupExit::Exec);
            shared.stop.remaining = 0;
            kill_others(&shared, &current);
        }
        GroupExit::Exec => {}
    }
    true
}

fn kill_others(shared: &Shared, survivor: &Task) {
    for task in &shared.threads {
        if !core::ptr::eq(&raw const **task, survivor) {
            mark_killed(task);
        }
    }
}

/// Sleeps until the current thread is the only one of its process.
///
/// # Errors
/// `EINTR` when the task is being killed.
pub fn wait_for_other_threads(process: &Process) -> Result<()> {
    let signal = &process.signal;
    signal
        .thread_gone
        .wait_killable(|| (signal.shared.lock().threads.len() == 1).then_some(()))
}

/// The other threads are gone: what [`begin_group_exit`] began for an exec is over.
pub fn end_exec(process: &Process) {
    let mut shared = process.signal.shared.lock();
    if shared.exit == Some(GroupExit::Exec) {
        shared.exit = None;
    }
}

/// The current thread's exit begins: answers the dump that has to see it first.
pub fn begin_thread_exit(current: &CurrentTask) -> Option<Arc<Gathering>> {
    let shared = current.process.signal.shared.lock();
    current.set_flags(TaskFlags::EXITING);
    shared.dump.clone()
}

/// Begins a dump: the process ends by the signal, and its other threads wait in their exit. Answers how many do; `None`
/// when the process ends already.
pub fn begin_dump(current: &CurrentTask, info: &SigInfo, dump: &Arc<Gathering>) -> Option<usize> {
    let mut shared = current.process.signal.shared.lock();
    if shared.exit.is_some() {
        return None;
    }
    doom(&mut shared, info.si_signo as u32 & 0x7f, Some(current));
    shared.dump = Some(dump.clone());
    // What was pending has no say any more, and what comes is dropped.
    current.arch.unmark(arch::WORK_SIGNAL);
    let to_come = |task: &&Arc<Task>| !task.flags().contains(TaskFlags::EXITING);
    // The current one is among them.
    Some(
        shared
            .threads
            .iter()
            .filter(to_come)
            .count()
            .saturating_sub(1),
    )
}

/// The dump is over; `dumped`: there is one. SIGKILL that came meanwhile is all that is told.
pub fn end_dump(current: &CurrentTask, dumped: bool) {
    const CORE: u32 = 0x80;
    let mut shared = current.process.signal.shared.lock();
    let dump = shared.dump.take();
    if dumped
        && !super::fatal_pending(current)
        && let Some(GroupExit::Status(status)) = &mut shared.exit
    {
        *status |= CORE;
    }
    drop(shared);
    drop(dump);
}

/// What execve resets: handlers become defaults (ignored signals stay), the alternate stack and the restart block go.
/// Masks and pending signals stay.
///
/// # Errors
/// `ENOMEM`, before anything has changed.
pub fn on_exec_reset(process: &Process) -> Result<()> {
    let current = task::current();
    process.signal.hand.unshare()?;
    process.signal.hand.get().after_exec();
    super::timer::exec_reset(process);
    *current.signal.alt_stack.lock() = AltStack::NONE;
    let old = current.signal.restart.lock().take();
    drop(old);
    Ok(())
}
