//! Mutual exclusion by spinning: test-and-test-and-set, since virtual CPUs may be preempted by their host and a
//! fair queue would then wait for one that does not run.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::check::{Kind, LockClass, Sort};
use crate::irq::IrqGuard;

/// The flag of a lock, without data.
struct RawSpin(AtomicBool);

impl RawSpin {
    const fn new() -> RawSpin {
        RawSpin(AtomicBool::new(false))
    }

    #[inline(always)]
    fn try_lock(&self) -> bool {
        // Acquire pairs with the release in `unlock`.
        self.0
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Whether it had to wait.
    #[inline(always)]
    fn lock(&self) -> bool {
        let waits = !self.try_lock();
        if waits {
            self.lock_contended();
        }
        waits
    }

    #[cold]
    fn lock_contended(&self) {
        loop {
            while self.0.load(Ordering::Relaxed) {
                core::hint::spin_loop();
            }
            if self.try_lock() {
                return;
            }
        }
    }

    #[inline(always)]
    fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A lock for data that no interrupt handler touches. Interrupts stay as they are.
///
/// # Invariants
/// `value` is reached only through a guard, and at most one guard exists.
pub struct SpinLock<T: ?Sized> {
    class: LockClass,
    raw: RawSpin,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands the value to one thread at a time.
unsafe impl<T: ?Sized + Send> Send for SpinLock<T> {}
// SAFETY: as above; sharing the lock shares only the right to take it.
unsafe impl<T: ?Sized + Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// An unlocked lock.
    #[track_caller]
    pub const fn new(value: T) -> SpinLock<T> {
        SpinLock::of_sort(value, Sort::Spin)
    }

    #[track_caller]
    const fn of_sort(value: T, sort: Sort) -> SpinLock<T> {
        SpinLock {
            class: LockClass::here(sort),
            raw: RawSpin::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// The value, with the lock's end.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Waits for the lock and takes it.
    #[inline(always)]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        let attempt = self.class.before(self.address(), Kind::Spinning);
        let waited = self.raw.lock();
        self.class
            .acquired(self.address(), Kind::Spinning, attempt, waited);
        SpinGuard { lock: self }
    }

    /// Takes the lock if it is free.
    #[inline(always)]
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        let attempt = self.class.trying();
        self.raw.try_lock().then(|| {
            self.class
                .acquired(self.address(), Kind::Spinning, attempt, false);
            SpinGuard { lock: self }
        })
    }

    #[inline(always)]
    fn address(&self) -> *const () {
        core::ptr::from_ref(self).cast()
    }

    /// The value, without locking: an exclusive borrow proves that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: ?Sized> core::fmt::Debug for SpinLock<T> {
    /// Without the value: showing it would take the lock.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SpinLock").finish_non_exhaustive()
    }
}

impl<T: ?Sized> core::fmt::Debug for IrqSpinLock<T> {
    /// Without the value: showing it would take the lock.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("IrqSpinLock").finish_non_exhaustive()
    }
}

impl<T: Default> Default for SpinLock<T> {
    #[track_caller]
    fn default() -> Self {
        SpinLock::new(T::default())
    }
}

/// Proves that a [`SpinLock`] is held.
pub struct SpinGuard<'a, T: ?Sized> {
    lock: &'a SpinLock<T>,
}

impl<T: ?Sized> Deref for SpinGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the guard proves that the lock is held by its owner alone.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for SpinGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as for `deref`, and the guard is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for SpinGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        let lock = self.lock;
        lock.class.released(lock.address(), Kind::Spinning);
        lock.raw.unlock();
    }
}

/// A lock for data shared with interrupt handlers or the scheduler: interrupts are off while it is held.
pub struct IrqSpinLock<T: ?Sized> {
    inner: SpinLock<T>,
}

impl<T> IrqSpinLock<T> {
    /// An unlocked lock.
    #[track_caller]
    pub const fn new(value: T) -> IrqSpinLock<T> {
        IrqSpinLock {
            inner: SpinLock::of_sort(value, Sort::IrqSpin),
        }
    }

    /// The value, with the lock's end.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: ?Sized> IrqSpinLock<T> {
    /// Turns interrupts off, waits for the lock and takes it.
    #[inline(always)]
    pub fn lock(&self) -> IrqSpinGuard<'_, T> {
        let irq = IrqGuard::new();
        IrqSpinGuard {
            guard: self.inner.lock(),
            _irq: irq,
        }
    }

    /// Takes the lock if it is free.
    #[inline(always)]
    pub fn try_lock(&self) -> Option<IrqSpinGuard<'_, T>> {
        let irq = IrqGuard::new();
        self.inner
            .try_lock()
            .map(|guard| IrqSpinGuard { guard, _irq: irq })
    }

    /// The value, without locking.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

impl<T: Default> Default for IrqSpinLock<T> {
    #[track_caller]
    fn default() -> Self {
        IrqSpinLock::new(T::default())
    }
}

/// Proves that an [`IrqSpinLock`] is held and that interrupts are off.
pub struct IrqSpinGuard<'a, T: ?Sized> {
    // Field order is drop order: the lock is released before interrupts come back.
    guard: SpinGuard<'a, T>,
    _irq: IrqGuard,
}

impl<T: ?Sized> Deref for IrqSpinGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: ?Sized> DerefMut for IrqSpinGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// Where a [`HandOverLock`] stands.
const HELD: u8 = 0;
const HANDED_OVER: u8 = 1;

/// A lock that one task takes and another releases: the scheduler holds a run queue across the switch from one to
/// the other. Interrupts must be off from the taking to the release; the caller sees to that.
///
/// # Invariants
/// `state` is `HANDED_OVER` only while the flag is held and no guard exists, so [`HandOverLock::resume`]
/// never makes a second guard.
pub struct HandOverLock<T> {
    lock: SpinLock<T>,
    state: AtomicU8,
}

impl<T> HandOverLock<T> {
    /// An unlocked lock.
    #[track_caller]
    pub const fn new(value: T) -> HandOverLock<T> {
        HandOverLock {
            lock: SpinLock::new(value),
            state: AtomicU8::new(HELD),
        }
    }

    /// Takes the lock as usual. Interrupts must be off.
    #[inline(always)]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        self.lock.lock()
    }

    /// Gives up the guard and keeps the lock held, for [`resume`](Self::resume) to take over.
    ///
    /// # Panics
    /// If the guard is of another lock.
    #[inline(always)]
    pub fn hand_over(&self, guard: SpinGuard<'_, T>) {
        assert!(
            core::ptr::eq(guard.lock, &raw const self.lock),
            "a guard of another lock"
        );
        core::mem::forget(guard);
        self.state.store(HANDED_OVER, Ordering::Relaxed);
    }

    /// Takes the lock if it is free. Interrupts must be off.
    #[inline(always)]
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        self.lock.try_lock()
    }

    /// Takes over a lock that was handed over.
    ///
    /// # Panics
    /// If it was not.
    #[inline(always)]
    pub fn resume(&self) -> SpinGuard<'_, T> {
        assert!(
            self.state.load(Ordering::Relaxed) == HANDED_OVER,
            "the lock was not handed over"
        );
        self.state.store(HELD, Ordering::Relaxed);
        SpinGuard { lock: &self.lock }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn threads_add_without_losing_one() {
        let lock = Arc::new(SpinLock::new(0u64));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let lock = lock.clone();
                std::thread::spawn(move || (0..10_000).for_each(|_| *lock.lock() += 1))
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().expect("thread"));
        assert_eq!(*lock.lock(), 40_000);
    }

    #[test]
    fn try_lock_fails_while_held() {
        let lock = IrqSpinLock::new(());
        let guard = lock.lock();
        assert!(lock.try_lock().is_none());
        drop(guard);
        assert!(lock.try_lock().is_some());
    }

    #[test]
    fn a_handed_over_lock_stays_held_until_resumed() {
        let lock = HandOverLock::new(1);
        lock.hand_over(lock.lock());
        assert!(lock.lock.try_lock().is_none());
        drop(lock.resume());
        assert_eq!(*lock.lock(), 1);
    }

    #[test]
    #[should_panic(expected = "not handed over")]
    fn resuming_a_lock_under_a_guard_panics() {
        let lock = HandOverLock::new(());
        let _guard = lock.lock();
        lock.resume();
    }
}
