//! A reader-writer lock that puts its waiters to sleep.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};

use ksync::check::{Kind, LockClass, Sort};

use super::WaitQueue;

const WRITER: u32 = 1 << 31;
/// A writer waits: new readers stay out.
const WRITER_WAITS: u32 = 1 << 30;

/// Many readers or one writer, held across blocking and user memory. A reader must not take it twice.
///
/// # Invariants
/// The low bits of `state` count readers; `WRITER` excludes any.
pub struct RwLock<T: ?Sized> {
    class: LockClass,
    state: AtomicU32,
    readers: WaitQueue,
    writers: WaitQueue,
    value: UnsafeCell<T>,
}

// SAFETY: the value moves between tasks only through the lock.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: readers share `&T`, hence `T: Sync`; the writer is alone.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

impl<T> RwLock<T> {
    /// An unlocked lock.
    #[track_caller]
    pub const fn new(value: T) -> RwLock<T> {
        RwLock {
            class: LockClass::here(Sort::Sleeping),
            state: AtomicU32::new(0),
            readers: WaitQueue::new(),
            writers: WaitQueue::new(),
            value: UnsafeCell::new(value),
        }
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Shared access.
    #[inline]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        let attempt = self.class.before(self.address(), Kind::Sleeping);
        let waits = self.try_read().is_none();
        if waits {
            self.readers.wait_uninterruptible(|| self.try_read());
        }
        self.class
            .acquired(self.address(), Kind::Sleeping, attempt, waits);
        RwLockReadGuard { lock: self }
    }

    /// Exclusive access.
    #[inline]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        let attempt = self.class.before(self.address(), Kind::Sleeping);
        let waits = self.try_write().is_none();
        if waits {
            self.writers.wait_uninterruptible(|| {
                self.try_write().or_else(|| {
                    self.state.fetch_or(WRITER_WAITS, Ordering::Relaxed);
                    // The lock may have become free before the mark; nobody would then wake us.
                    self.try_write()
                })
            });
        }
        self.class
            .acquired(self.address(), Kind::Sleeping, attempt, waits);
        RwLockWriteGuard { lock: self }
    }

    #[inline(always)]
    fn address(&self) -> *const () {
        core::ptr::from_ref(self).cast()
    }

    #[inline]
    fn try_read(&self) -> Option<()> {
        self.state
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |state| {
                (state & (WRITER | WRITER_WAITS) == 0).then_some(state + 1)
            })
            .ok()
            .map(|_| ())
    }

    /// Takes the lock, and the mark of waiting writers with it: those that still wait set it again.
    #[inline]
    fn try_write(&self) -> Option<()> {
        self.state
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |state| {
                (state & !WRITER_WAITS == 0).then_some(WRITER)
            })
            .ok()
            .map(|_| ())
    }

    /// The value, without locking.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

/// Proves shared access.
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: while a reader is counted no writer exists.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let lock = self.lock;
        lock.class.released(lock.address(), Kind::Sleeping);
        if lock.state.fetch_sub(1, Ordering::Release) == 1 | WRITER_WAITS {
            lock.writers.wake_one();
        }
    }
}

/// Proves exclusive access.
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the writer bit excludes everybody else.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as for `deref`, and the guard is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let lock = self.lock;
        lock.class.released(lock.address(), Kind::Sleeping);
        // Writers that marked themselves while this one held the lock mark themselves again when woken; readers
        // need the mark gone to come in.
        lock.state.store(0, Ordering::SeqCst);
        if !lock.writers.is_empty() {
            lock.writers.wake_one();
        }
        if !lock.readers.is_empty() {
            lock.readers.wake_all();
        }
    }
}
