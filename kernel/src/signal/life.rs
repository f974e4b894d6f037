//! Threads and processes come, execute programs and go.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use ::signal::AltStack;
use abi::Result;
use abi::signal::{SigSet, cld};
use smallvec::SmallVec;

use super::mask::hand_over;
use super::send::{doom, mark_killed};
use super::state::{GroupExit, JOBCTL_EXITING, Shared};
use super::stop;
use crate::task::{self, Process, Task};

/// A new thread becomes one that signals of its process may choose. Called before it first runs.
pub fn attach_thread(process: &Process, task: &Arc<Task>) {
    let mut roomier: SmallVec<[Arc<Task>; 1]> = SmallVec::new();
    loop {
        let mut shared = process.signal.shared.lock();
        let len = shared.threads.len();
        if len < shared.threads.capacity() {
            shared.threads.push(task.clone());
            stop::join(&mut shared, task);
            if matches!(shared.exit, Some(GroupExit::Status(_))) {
                mark_killed(task);
            }
            return;
        }
        if roomier.capacity() > len {
            move_threads(&mut shared, &mut roomier);
            continue;
        }
        drop(shared);
        roomier = SmallVec::with_capacity((len + 1).next_power_of_two().max(4));
    }
}

/// Moves the list to the bigger memory of `roomier` and leaves the old memory there.
fn move_threads(shared: &mut Shared, roomier: &mut SmallVec<[Arc<Task>; 1]>) {
    roomier.extend(shared.threads.drain(..));
    core::mem::swap(&mut shared.threads, roomier);
}

/// The current thread takes no more signals. Those of the process that it would have taken go to other threads, and a
/// stop that waited only for it becomes complete.
pub fn detach_thread(process: &Arc<Process>, task: &Arc<Task>) {
    let current = task::current();
    current
        .signal
        .jobctl
        .fetch_or(JOBCTL_EXITING, Ordering::SeqCst);
    let open = current.signal.blocked().complement();
    if current.process.signal.pending().intersects(open) {
        hand_over(&current, open);
    }
    let mut shared = process.signal.shared.lock();
    let completes = stop::leave(&mut shared, task);
    let at = shared
        .threads
        .iter()
        .position(|other| Arc::ptr_eq(other, task));
    let removed = at.map(|at| shared.threads.remove(at));
    let alone = shared.threads.is_empty();
    drop(shared);
    drop(removed);
    if completes && !alone {
        stop::tell_parent(process, cld::STOPPED);
    }
    let mut queue = task.signal.queue.lock();
    queue.discard(SigSet::FULL);
    task.signal.publish(&queue);
}

/// Begins the end of the whole process with a wait status, unless it has begun already; returns the status that holds.
/// All other threads are killed.
pub fn begin_group_exit(process: &Process, status: u32) -> u32 {
    let current = task::current();
    let mut shared = process.signal.shared.lock();
    if let Some(GroupExit::Status(first)) = shared.exit {
        return first;
    }
    doom(&mut shared, status, Some(&current))
}

/// The current thread is about to execute a program: all others are killed. False when the process is ending, or when
/// another thread is executing one already: the caller dies then.
pub fn begin_exec(process: &Process) -> bool {
    let current = task::current();
    let mut shared = process.signal.shared.lock();
    if shared.exit.is_some() {
        return false;
    }
    if shared.threads.len() > 1 {
        shared.exit = Some(GroupExit::Exec);
        shared.stop.remaining = 0;
        for task in &shared.threads {
            if !core::ptr::eq(&raw const **task, &raw const *current) {
                mark_killed(task);
            }
        }
    }
    true
}

/// The other threads are gone.
pub fn end_exec(process: &Process) {
    let mut shared = process.signal.shared.lock();
    if shared.exit == Some(GroupExit::Exec) {
        shared.exit = None;
    }
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
    *current.signal.alt_stack.lock() = AltStack::NONE;
    let old = current.signal.restart.lock().take();
    drop(old);
    Ok(())
}
