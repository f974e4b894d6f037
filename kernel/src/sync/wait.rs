//! Sleeping for a condition.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::poll::PollEvents;
use abi::{Errno, Result};
use ksync::{IrqSpinLock, check};

use crate::sched::{self, SleepKind};
use crate::sync::current_arc;
use crate::task::Task;
use crate::{signal, time};

/// Is called by a wake-up, possibly from an interrupt and with spin locks held: it may wake tasks, nothing more.
pub trait WakeCallback: Send + Sync {
    /// `events` is what became ready, as far as the waker knows.
    fn wake(&self, events: PollEvents);
}

/// The callbacks of one queue. It may outlive the queue, and is then never called again.
#[derive(Default)]
pub struct CallbackList {
    entries: IrqSpinLock<Vec<Arc<dyn WakeCallback>>>,
}

impl CallbackList {
    /// Adds a callback; the same one may be added more than once.
    pub fn add(&self, callback: Arc<dyn WakeCallback>) {
        self.entries.lock().push(callback);
    }

    /// Removes one entry of the callback.
    pub fn remove(&self, callback: &Arc<dyn WakeCallback>) {
        let mut entries = self.entries.lock();
        let removed = entries
            .iter()
            .position(|entry| Arc::ptr_eq(entry, callback))
            .map(|index| entries.swap_remove(index));
        drop(entries);
        drop(removed);
    }

    fn call(&self, events: PollEvents) {
        for callback in self.entries.lock().iter() {
            callback.wake(events);
        }
    }
}

#[derive(Default)]
struct Waiters {
    tasks: VecDeque<Arc<Task>>,
    callbacks: Option<Arc<CallbackList>>,
}

/// Tasks that sleep for a condition, in the order of their coming, and callbacks of pollers.
///
/// # Invariants
/// A task stands in `tasks` at most once, and only while it is inside one of the `wait_*` calls.
pub struct WaitQueue {
    waiters: IrqSpinLock<Waiters>,
}

/// Why a wait ended without its condition.
enum Ended {
    Signal,
    TimedOut,
}

impl WaitQueue {
    /// A queue without waiters; allocates nothing.
    #[track_caller]
    pub const fn new() -> WaitQueue {
        WaitQueue {
            waiters: IrqSpinLock::new(Waiters {
                tasks: VecDeque::new(),
                callbacks: None,
            }),
        }
    }

    /// Sleeps until `condition` gives a value; a signal ends the wait.
    ///
    /// `condition` may take spin locks but must not sleep.
    ///
    /// # Errors
    /// `ERESTARTSYS` when a signal is pending.
    #[inline]
    pub fn wait_until<R>(&self, condition: impl FnMut() -> Option<R>) -> Result<R> {
        self.wait(SleepKind::Interruptible, None, condition)
            .map_err(|_| Errno::ERESTARTSYS)
    }

    /// As [`wait_until`](Self::wait_until), and `None` once `deadline_ns` of the monotonic clock has passed.
    ///
    /// # Errors
    /// `ERESTARTSYS` when a signal is pending.
    pub fn wait_until_deadline<R>(
        &self,
        deadline_ns: Option<u64>,
        condition: impl FnMut() -> Option<R>,
    ) -> Result<Option<R>> {
        match self.wait(SleepKind::Interruptible, deadline_ns, condition) {
            Ok(value) => Ok(Some(value)),
            Err(Ended::TimedOut) => Ok(None),
            Err(Ended::Signal) => Err(Errno::ERESTARTSYS),
        }
    }

    /// Sleeps until `condition` gives a value; only a fatal signal ends the wait.
    ///
    /// # Errors
    /// `EINTR` when the task is being killed.
    pub fn wait_killable<R>(&self, condition: impl FnMut() -> Option<R>) -> Result<R> {
        self.wait(SleepKind::Killable, None, condition)
            .map_err(|_| Errno::EINTR)
    }

    /// Sleeps until `condition` gives a value, whatever happens.
    pub fn wait_uninterruptible<R>(&self, condition: impl FnMut() -> Option<R>) -> R {
        match self.wait(SleepKind::Uninterruptible, None, condition) {
            Ok(value) => value,
            Err(_) => unreachable!("neither signals nor time end this wait"),
        }
    }

    #[inline]
    fn wait<R>(
        &self,
        kind: SleepKind,
        deadline_ns: Option<u64>,
        mut condition: impl FnMut() -> Option<R>,
    ) -> core::result::Result<R, Ended> {
        check::may_sleep();
        match condition() {
            Some(value) => Ok(value),
            None => self.wait_slow(kind, deadline_ns, condition),
        }
    }

    fn wait_slow<R>(
        &self,
        kind: SleepKind,
        deadline_ns: Option<u64>,
        mut condition: impl FnMut() -> Option<R>,
    ) -> core::result::Result<R, Ended> {
        let task = current_arc();
        let timer = deadline_ns.map(|deadline| sched::WakeTimer::arm(task.clone(), deadline));
        let result = loop {
            sched::set_sleeping(kind);
            self.enqueue(&task);
            if let Some(value) = condition() {
                break Ok(value);
            }
            if signal::ends_wait(&task, kind) {
                break Err(Ended::Signal);
            }
            if deadline_ns.is_some_and(|deadline| time::monotonic_ns() >= deadline) {
                break Err(Ended::TimedOut);
            }
            sched::block_current();
        };
        sched::set_running();
        drop(timer);
        // A wake-up that found this one in the queue after its last look was meant for one waiter: it goes to the next,
        // even if this one got what it waited for, since that may have been there before.
        if !self.dequeue(&task) {
            self.wake_one();
        }
        result
    }

    /// Puts the task at the end unless it still stands in the queue.
    fn enqueue(&self, task: &Arc<Task>) {
        let mut waiters = self.waiters.lock();
        if !waiters.tasks.iter().any(|other| Arc::ptr_eq(other, task)) {
            waiters.tasks.push_back(task.clone());
        }
    }

    /// Takes the task out; false if a waker already did.
    fn dequeue(&self, task: &Arc<Task>) -> bool {
        let mut waiters = self.waiters.lock();
        match waiters
            .tasks
            .iter()
            .position(|other| Arc::ptr_eq(other, task))
        {
            Some(index) => {
                let removed = waiters.tasks.remove(index);
                drop(waiters);
                drop(removed);
                true
            }
            None => false,
        }
    }

    /// Wakes the task that waits longest. Callbacks are all called.
    #[inline]
    pub fn wake_one(&self) {
        self.wake_n(1);
    }

    /// Wakes every task and calls every callback.
    #[inline]
    pub fn wake_all(&self) {
        self.wake(usize::MAX, PollEvents::all());
    }

    /// Wakes up to `count` tasks; says how many.
    #[inline]
    pub fn wake_n(&self, count: usize) -> usize {
        self.wake(count, PollEvents::all())
    }

    /// Wakes every task, and tells callbacks what became ready.
    #[inline]
    pub fn wake_events(&self, events: PollEvents) {
        self.wake(usize::MAX, events);
    }

    fn wake(&self, count: usize, events: PollEvents) -> usize {
        let mut woken = 0;
        let mut waiters = self.waiters.lock();
        let callbacks = waiters.callbacks.clone();
        while woken < count {
            let Some(task) = waiters.tasks.pop_front() else {
                break;
            };
            // The waiter holds a reference of its own, so this drop frees nothing under the lock.
            if sched::wake(&task) {
                woken += 1;
            }
        }
        drop(waiters);
        if let Some(callbacks) = callbacks {
            callbacks.call(events);
        }
        woken
    }

    /// Whether nobody waits: a hint, unless the caller's own lock keeps waiters from coming.
    pub fn is_empty(&self) -> bool {
        let waiters = self.waiters.lock();
        waiters.tasks.is_empty() && waiters.callbacks.is_none()
    }

    /// The list of callbacks, made at its first use.
    pub fn callbacks(&self) -> Arc<CallbackList> {
        if let Some(list) = &self.waiters.lock().callbacks {
            return list.clone();
        }
        let fresh = Arc::new(CallbackList::default());
        self.waiters.lock().callbacks.get_or_insert(fresh).clone()
    }
}

impl Default for WaitQueue {
    #[track_caller]
    fn default() -> Self {
        WaitQueue::new()
    }
}
