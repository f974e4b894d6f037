//! `mq_timedsend` and `mq_timedreceive`.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::poll::PollEvents;
use abi::{Errno, Result};
use sysvipc::posix::Message;

use super::{Queue, State, queue_of};
use crate::fs::File;
use crate::sched;
use crate::sync::{Mutex, MutexGuard, WaitQueue, current};
use crate::time;

/// A thread that sleeps in a call.
pub(super) struct Sleeper {
    /// Like the kernel's own: lower comes first.
    rank: i32,
    /// What a sender brings, or what a receiver was given.
    message: Mutex<Option<Message>>,
    /// The call is finished. Pairs with the sleeper's load after it has joined `queue`.
    done: AtomicBool,
    queue: WaitQueue,
}

impl Sleeper {
    fn new(message: Option<Message>) -> Arc<Sleeper> {
        Arc::new(Sleeper {
            rank: rank(),
            message: Mutex::new(message),
            done: AtomicBool::new(false),
            queue: WaitQueue::new(),
        })
    }

    fn finish(&self) {
        self.done.store(true, Ordering::SeqCst);
        self.queue.wake_all();
    }

    fn is_done(&self) -> Option<()> {
        self.done.load(Ordering::SeqCst).then_some(())
    }
}

/// Who is scheduled first is served first.
fn rank() -> i32 {
    let params = sched::params_of(&current());
    match params.policy.is_realtime() {
        true => -i32::from(params.priority),
        false => 100 + i32::from(params.nice),
    }
}

/// Behind those of the same rank.
fn enqueue(queue: &mut VecDeque<Arc<Sleeper>>, sleeper: &Arc<Sleeper>) -> Result<()> {
    queue.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    let at = queue.partition_point(|other| other.rank <= sleeper.rank);
    queue.insert(at, sleeper.clone());
    Ok(())
}

/// Takes a sleeper out that gave up; false if its call is finished.
fn dequeue(queue: &mut VecDeque<Arc<Sleeper>>, sleeper: &Arc<Sleeper>) -> bool {
    let at = queue.iter().position(|other| Arc::ptr_eq(other, sleeper));
    at.and_then(|at| queue.remove(at)).is_some()
}

/// When a call gives up: nanoseconds of the real time, or never.
#[derive(Clone, Copy)]
pub struct Deadline(pub Option<u64>);

impl Deadline {
    /// As the monotonic clock has it.
    fn monotonic_ns(self) -> Option<u64> {
        let left = self.0?.saturating_sub(time::realtime_ns());
        Some(time::monotonic_ns().saturating_add(left))
    }
}

/// `mq_timedsend`; `text` is brought once the length is known to be good.
///
/// # Errors
/// Those of mq_send(3).
pub fn send(
    file: &File,
    len: usize,
    priority: u32,
    deadline: Deadline,
    text: impl FnOnce() -> Result<Vec<u8>>,
) -> Result<()> {
    let queue = queue_of(file)?;
    if !file.writable() {
        return Err(Errno::EBADF);
    }
    if len > queue.max_size {
        return Err(Errno::EMSGSIZE);
    }
    let message = Message {
        priority,
        text: text()?,
    };
    let mut state = queue.state.lock();
    if state.messages.len() < queue.max_messages {
        queue.deliver(&mut state, message)?;
        drop(state);
        file.inode().touch_modified();
        return Ok(());
    }
    if file.nonblocking() {
        return Err(Errno::EAGAIN);
    }
    let sleeper = Sleeper::new(Some(message));
    enqueue(&mut state.senders, &sleeper)?;
    queue.sleep(state, &sleeper, deadline, |state| &mut state.senders)
}

/// `mq_timedreceive` into a buffer of `max` bytes.
///
/// # Errors
/// Those of mq_receive(3).
pub fn receive(file: &File, max: usize, deadline: Deadline) -> Result<Message> {
    let queue = queue_of(file)?;
    if !file.readable() {
        return Err(Errno::EBADF);
    }
    if max < queue.max_size {
        return Err(Errno::EMSGSIZE);
    }
    let mut state = queue.state.lock();
    if let Some(message) = state.messages.pop() {
        queue.refill(&mut state);
        drop(state);
        file.inode().touch_modified();
        return Ok(message);
    }
    if file.nonblocking() {
        return Err(Errno::EAGAIN);
    }
    let sleeper = Sleeper::new(None);
    enqueue(&mut state.receivers, &sleeper)?;
    queue.sleep(state, &sleeper, deadline, |state| &mut state.receivers)?;
    let given = sleeper.message.lock().take();
    given.ok_or(Errno::EAGAIN)
}

impl Queue {
    /// Gives a message to who sleeps for one, or puts it in, for which there is room.
    fn deliver(&self, state: &mut State, message: Message) -> Result<()> {
        if let Some(receiver) = state.receivers.pop_front() {
            *receiver.message.lock() = Some(message);
            receiver.finish();
            return Ok(());
        }
        if !state.messages.reserve() {
            return Err(Errno::ENOMEM);
        }
        state.messages.push(message);
        self.notify_of_message(state);
        self.pollers.wake_events(PollEvents::READABLE);
        Ok(())
    }

    /// A message was taken: the first who waits for room puts its own in.
    fn refill(&self, state: &mut State) {
        let Some(sender) = state.senders.pop_front() else {
            self.pollers.wake_events(PollEvents::WRITABLE);
            return;
        };
        if let Some(message) = sender.message.lock().take() {
            // The message that was taken has left its room.
            state.messages.push(message);
        }
        sender.finish();
    }

    fn sleep(
        &self,
        state: MutexGuard<'_, State>,
        sleeper: &Arc<Sleeper>,
        deadline: Deadline,
        list: impl Fn(&mut State) -> &mut VecDeque<Arc<Sleeper>>,
    ) -> Result<()> {
        drop(state);
        let deadline_ns = deadline.monotonic_ns();
        let cause = match sleeper
            .queue
            .wait_until_deadline(deadline_ns, || sleeper.is_done())
        {
            Ok(Some(())) => return Ok(()),
            Ok(None) => Errno::ETIMEDOUT,
            Err(errno) => errno,
        };
        match dequeue(list(&mut self.state.lock()), sleeper) {
            true => Err(cause),
            // Whoever took it out finishes the call before it lets go of the lock.
            false => Ok(()),
        }
    }
}
