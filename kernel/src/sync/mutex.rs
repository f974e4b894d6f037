//! A lock that puts its waiters to sleep.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};

use ksync::check::{Attempt, Kind, LockClass, Sort};

use super::WaitQueue;

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and somebody may sleep for it.
const CONTENDED: u32 = 2;

/// Mutual exclusion across blocking and user memory. Not for interrupts.
///
/// # Invariants
/// `value` is reached only through the one guard that exists while `state` is not `FREE`.
pub struct Mutex<T: ?Sized> {
    class: LockClass,
    state: AtomicU32,
    waiters: WaitQueue,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands the value to one task at a time.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// An unlocked lock.
    #[track_caller]
    pub const fn new(value: T) -> Mutex<T> {
        Mutex {
            class: LockClass::here(Sort::Sleeping),
            state: AtomicU32::new(FREE),
            waiters: WaitQueue::new(),
            value: UnsafeCell::new(value),
        }
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock, sleeping for it if need be; signals do not end the wait.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let attempt = self.class.before(self.address(), Kind::Sleeping);
        let waits = !self.take();
        if waits {
            self.waiters.wait_uninterruptible(|| self.take_contended());
        }
        self.guard(attempt, waits)
    }

    /// Takes the lock; a fatal signal ends the wait.
    ///
    /// # Errors
    /// `EINTR` when the task is being killed.
    #[inline]
    pub fn lock_killable(&self) -> abi::Result<MutexGuard<'_, T>> {
        let attempt = self.class.before(self.address(), Kind::Sleeping);
        let waits = !self.take();
        if waits {
            self.waiters.wait_killable(|| self.take_contended())?;
        }
        Ok(self.guard(attempt, waits))
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let attempt = self.class.trying();
        if !self.take() {
            return None;
        }
        Some(self.guard(attempt, false))
    }

    #[inline(always)]
    fn take(&self) -> bool {
        self.state
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// The guard of a lock that was just taken.
    #[inline(always)]
    fn guard(&self, attempt: Attempt, waited: bool) -> MutexGuard<'_, T> {
        self.class
            .acquired(self.address(), Kind::Sleeping, attempt, waited);
        MutexGuard { lock: self }
    }

    #[inline(always)]
    fn address(&self) -> *const () {
        core::ptr::from_ref(self).cast()
    }

    /// Takes the lock; any signal ends the wait.
    ///
    /// # Errors
    /// `ERESTARTSYS` when a signal is pending.
    pub fn lock_interruptible(&self) -> abi::Result<MutexGuard<'_, T>> {
        self.waiters.wait_until(|| self.take_first())?;
        Ok(MutexGuard { lock: self })
    }

    /// Takes a free lock; one that is held is marked as contended.
    fn take_first(&self) -> Option<()> {
        self.state
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .map_or_else(|_| self.take_contended(), |_| Some(()))
    }

    /// Who had to wait leaves the lock marked as contended: others may still sleep.
    fn take_contended(&self) -> Option<()> {
        (self.state.swap(CONTENDED, Ordering::Acquire) == FREE).then_some(())
    }

    /// The value, without locking.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for Mutex<T> {
    #[track_caller]
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

/// Proves that a [`Mutex`] is held.
pub struct MutexGuard<'a, T: ?Sized> {
    lock: &'a Mutex<T>,
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the guard proves exclusive possession.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as for `deref`, and the guard is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let lock = self.lock;
        lock.class.released(lock.address(), Kind::Sleeping);
        if lock.state.swap(FREE, Ordering::Release) == CONTENDED {
            lock.waiters.wake_one();
        }
    }
}
