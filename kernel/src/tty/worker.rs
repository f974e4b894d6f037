//! The thread that brings input from interrupt handlers to terminals, so that line editing, echo and signals happen
//! in a task.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::sched;
use crate::sync::{SpinLock, WaitQueue};

/// Something that interrupts leave work with.
pub trait Source: Send + Sync {
    /// Does what there is to do.
    fn work(&self);
}

static SOURCES: SpinLock<Vec<Arc<dyn Source>>> = SpinLock::new(Vec::new());
/// Set before a wake-up; the worker clears it before it looks at the sources.
static PENDING: AtomicBool = AtomicBool::new(false);
static WAIT: WaitQueue = WaitQueue::new();

/// Adds a source, for good.
pub fn add(source: Arc<dyn Source>) {
    SOURCES.lock().push(source);
    kick();
}

/// There is work: called from interrupts too.
pub fn kick() {
    if !PENDING.swap(true, Ordering::AcqRel) {
        WAIT.wake_one();
    }
}

/// Starts the thread.
pub fn start() {
    if let Err(error) = sched::spawn_kernel_thread("kttyd", run) {
        log::error!("tty: no thread for input: {error:?}");
    }
}

fn run() {
    loop {
        WAIT.wait_uninterruptible(|| PENDING.swap(false, Ordering::AcqRel).then_some(()));
        let sources = SOURCES.lock().clone();
        for source in sources {
            source.work();
        }
        sched::cond_resched();
    }
}
