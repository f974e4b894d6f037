//! Taking turns: readers among themselves, and writers. Unlike a mutex, signals end the wait for it.

use core::sync::atomic::{AtomicBool, Ordering};

use abi::{Errno, Result};

use crate::sync::WaitQueue;

/// Held by one task at a time.
pub struct Turn {
    taken: AtomicBool,
    waiters: WaitQueue,
}

/// Proves that it is the task's turn.
pub struct TurnGuard<'a>(&'a Turn);

impl Turn {
    pub const fn new() -> Turn {
        Turn {
            taken: AtomicBool::new(false),
            waiters: WaitQueue::new(),
        }
    }

    fn try_take(&self) -> Option<TurnGuard<'_>> {
        (!self.taken.swap(true, Ordering::Acquire)).then_some(TurnGuard(self))
    }

    /// Waits for the turn, unless `nonblocking`.
    ///
    /// # Errors
    /// `EAGAIN` where it would wait and may not; `ERESTARTSYS` by a signal.
    pub fn take(&self, nonblocking: bool) -> Result<TurnGuard<'_>> {
        if let Some(guard) = self.try_take() {
            return Ok(guard);
        }
        if nonblocking {
            return Err(Errno::EAGAIN);
        }
        self.waiters.wait_until(|| self.try_take())
    }
}

impl Drop for TurnGuard<'_> {
    fn drop(&mut self) {
        self.0.taken.store(false, Ordering::Release);
        self.0.waiters.wake_one();
    }
}
