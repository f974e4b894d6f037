//! Waiting for one of many wait queues: the registrations of one `poll` or `select` call.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::poll::PollEvents;

use super::{CallbackList, WaitQueue, WakeCallback};
use crate::sched;
use crate::task::Task;

/// Wakes one task when any of the queues it stands in is woken.
pub struct PollWaiter {
    task: Arc<Task>,
    /// Set by a wake-up that came since the last look; pairs with the swap in `take_triggered`.
    triggered: AtomicBool,
}

impl PollWaiter {
    /// A waiter for the running task.
    pub fn new() -> Arc<PollWaiter> {
        Arc::new(PollWaiter {
            task: super::current_arc(),
            triggered: AtomicBool::new(false),
        })
    }

    /// Whether a wake-up came since the last call.
    pub fn take_triggered(&self) -> bool {
        self.triggered.swap(false, Ordering::SeqCst)
    }
}

impl WakeCallback for PollWaiter {
    fn wake(&self, _events: PollEvents) {
        self.triggered.store(true, Ordering::SeqCst);
        sched::wake(&self.task);
    }
}

/// What `FileOps::poll` registers its wait queues with.
pub struct PollTable {
    callback: Arc<dyn WakeCallback>,
    registering: bool,
    registered: Vec<Arc<CallbackList>>,
}

impl PollTable {
    /// A table that registers `callback` wherever it is brought.
    pub fn new(callback: Arc<dyn WakeCallback>) -> PollTable {
        PollTable {
            callback,
            registering: true,
            registered: Vec::new(),
        }
    }

    /// Adds the callback to `queue`. The registration ends with the table.
    pub fn register(&mut self, queue: &WaitQueue) {
        if self.registering {
            let list = queue.callbacks();
            list.add(self.callback.clone());
            self.registered.push(list);
        }
    }

    /// Further `register` calls do nothing; what is registered stays.
    pub fn stop_registering(&mut self) {
        self.registering = false;
    }

    /// The lists it stands in, for an owner that outlives the call (epoll): the table then removes nothing.
    pub fn into_registrations(mut self) -> Vec<Arc<CallbackList>> {
        core::mem::take(&mut self.registered)
    }
}

impl Drop for PollTable {
    fn drop(&mut self) {
        for list in &self.registered {
            list.remove(&self.callback);
        }
    }
}
