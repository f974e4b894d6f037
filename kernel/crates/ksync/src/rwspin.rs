//! Many readers or one writer, by spinning. A waiting writer keeps new readers out.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};

use crate::check::{Kind, LockClass, Sort};

/// Set while a writer holds the lock.
const WRITER: u32 = 1 << 31;
/// Set while a writer waits.
const WAITING: u32 = 1 << 30;

/// A reader-writer lock for data that no interrupt handler touches.
///
/// # Invariants
/// `state` counts readers in its low bits; `WRITER` excludes any reader.
pub struct RwSpinLock<T: ?Sized> {
    class: LockClass,
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the value moves between threads only through the lock.
unsafe impl<T: ?Sized + Send> Send for RwSpinLock<T> {}
// SAFETY: readers share `&T`, hence `T: Sync`; the writer is alone.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwSpinLock<T> {}

impl<T> RwSpinLock<T> {
    /// An unlocked lock.
    #[track_caller]
    pub const fn new(value: T) -> RwSpinLock<T> {
        RwSpinLock {
            class: LockClass::here(Sort::RwSpin),
            state: AtomicU32::new(0),
            value: UnsafeCell::new(value),
        }
    }
}

impl<T: ?Sized> RwSpinLock<T> {
    /// Shared access.
    #[inline]
    pub fn read(&self) -> RwReadGuard<'_, T> {
        let attempt = self.class.before(self.address(), Kind::Spinning);
        let mut waited = false;
        while !self.try_read() {
            waited = true;
            core::hint::spin_loop();
        }
        self.class
            .acquired(self.address(), Kind::Spinning, attempt, waited);
        RwReadGuard { lock: self }
    }

    #[inline(always)]
    fn try_read(&self) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        state & (WRITER | WAITING) == 0
            && self
                .state
                .compare_exchange_weak(state, state + 1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
    }

    /// Exclusive access.
    #[inline]
    pub fn write(&self) -> RwWriteGuard<'_, T> {
        let attempt = self.class.before(self.address(), Kind::Spinning);
        let mut waited = false;
        while !self.try_write() {
            waited = true;
            core::hint::spin_loop();
        }
        self.class
            .acquired(self.address(), Kind::Spinning, attempt, waited);
        RwWriteGuard { lock: self }
    }

    /// Keeps new readers out where it fails.
    #[inline(always)]
    fn try_write(&self) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        if state & !WAITING == 0 {
            return self
                .state
                .compare_exchange_weak(state, WRITER, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        }
        if state & WAITING == 0 {
            self.state.fetch_or(WAITING, Ordering::Relaxed);
        }
        false
    }

    #[inline(always)]
    fn address(&self) -> *const () {
        core::ptr::from_ref(self).cast()
    }

    /// The value, without locking.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

/// Proves shared access.
pub struct RwReadGuard<'a, T: ?Sized> {
    lock: &'a RwSpinLock<T>,
}

impl<T: ?Sized> Deref for RwReadGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: while a reader is counted no writer exists.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let lock = self.lock;
        lock.class.released(lock.address(), Kind::Spinning);
        lock.state.fetch_sub(1, Ordering::Release);
    }
}

/// Proves exclusive access.
pub struct RwWriteGuard<'a, T: ?Sized> {
    lock: &'a RwSpinLock<T>,
}

impl<T: ?Sized> Deref for RwWriteGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the writer bit excludes everybody else.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwWriteGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as for `deref`, and the guard is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let lock = self.lock;
        lock.class.released(lock.address(), Kind::Spinning);
        lock.state.fetch_and(!WRITER, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn writers_exclude_readers_and_each_other() {
        let lock = Arc::new(RwSpinLock::new((0u64, 0u64)));
        let writers: Vec<_> = (0..3)
            .map(|_| {
                let lock = lock.clone();
                std::thread::spawn(move || {
                    for _ in 0..2_000 {
                        let mut pair = lock.write();
                        pair.0 += 1;
                        pair.1 += 1;
                    }
                })
            })
            .collect();
        for _ in 0..2_000 {
            let pair = lock.read();
            assert_eq!(pair.0, pair.1);
        }
        writers.into_iter().for_each(|t| t.join().expect("thread"));
        assert_eq!(lock.read().0, 6_000);
    }
}
