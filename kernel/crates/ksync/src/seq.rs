//! Readers that retry instead of waiting, for small values written rarely.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering, fence};

use crate::spin::IrqSpinLock;

/// A value that is copied out whole; a reader that met a writer copies again.
///
/// # Invariants
/// `sequence` is odd exactly while a writer, which holds `writer`, changes `value`.
pub struct SeqLock<T: Copy> {
    sequence: AtomicU32,
    writer: IrqSpinLock<()>,
    value: UnsafeCell<T>,
}

// SAFETY: readers only ever keep copies that no writer overlapped; writers exclude each other.
unsafe impl<T: Copy + Send> Sync for SeqLock<T> {}

impl<T: Copy> SeqLock<T> {
    /// A lock around `value`.
    #[track_caller]
    pub const fn new(value: T) -> SeqLock<T> {
        SeqLock {
            sequence: AtomicU32::new(0),
            writer: IrqSpinLock::new(()),
            value: UnsafeCell::new(value),
        }
    }

    /// A consistent copy.
    #[inline]
    pub fn read(&self) -> T {
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            if before & 1 == 0 {
                // SAFETY: the pointer is valid; a copy torn by a writer is discarded below, and volatile keeps
                // the compiler from assuming that the value did not change.
                let value = unsafe { core::ptr::read_volatile(self.value.get()) };
                fence(Ordering::Acquire);
                if self.sequence.load(Ordering::Relaxed) == before {
                    return value;
                }
            }
            core::hint::spin_loop();
        }
    }

    /// Replaces the value by what `change` makes of it.
    pub fn update(&self, change: impl FnOnce(&mut T)) {
        let _writer = self.writer.lock();
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence
            .store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        // SAFETY: `_writer` excludes other writers; readers that overlap discard their copies.
        change(unsafe { &mut *self.value.get() });
        self.sequence
            .store(sequence.wrapping_add(2), Ordering::Release);
    }
}
