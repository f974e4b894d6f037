//! The word by which a sleeper and its wakers agree whether it sleeps.
//!
//! A sleeper declares its sleep, then looks at its condition, then asks its run queue to let another task run; a waker
//! changes the condition, then looks at the word. Each does its two steps in an order that all CPUs see alike, so that at
//! least one of the two sees what the other did. The rest happens under the run queue's lock: the queue keeps a task that
//! is awake running, and a waker that finds one asleep makes it awake before anything else.

use super::atomic::{AtomicU32, Ordering, fence};

/// What the word is while the task runs, or would like to.
pub const AWAKE: u32 = 0;

/// A task's word: [`AWAKE`], or the bit of its kind of sleep.
pub struct SleepWord(AtomicU32);

impl SleepWord {
    pub fn new(bits: u32) -> SleepWord {
        SleepWord(AtomicU32::new(bits))
    }

    /// The word now.
    #[inline]
    pub fn bits(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// The task declares that it sleeps, before it looks at its condition.
    #[inline]
    pub fn sleep(&self, kind: u32) {
        self.0.store(kind, Ordering::Release);
        // The look comes after; pairs with the fence in `is_asleep`.
        fence(Ordering::SeqCst);
    }

    /// Anything but a sleep begins.
    #[inline]
    pub fn set(&self, bits: u32) {
        self.0.store(bits, Ordering::Release);
    }

    /// A waker's first look, after it has changed the condition and without a lock.
    #[inline]
    pub fn is_asleep(&self, kinds: u32) -> bool {
        fence(Ordering::SeqCst);
        self.bits() & kinds != 0
    }

    /// A waker's second look, under the lock of the task's run queue: ends such a sleep. False if there is none.
    #[inline]
    pub fn end_sleep(&self, kinds: u32) -> bool {
        let asleep = self.bits() & kinds != 0;
        if asleep {
            self.set(AWAKE);
        }
        asleep
    }
}
