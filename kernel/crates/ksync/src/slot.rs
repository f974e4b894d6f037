//! One CPU's reading without locks.

use super::atomic::{AtomicU32, Ordering, after_swap, fence, spin_loop};

/// Whether a CPU is in a section, and how many it has been in: odd while it is in one.
#[derive(Debug, Default)]
pub struct SectionSlot(pub(super) AtomicU32);

impl SectionSlot {
    /// The CPU begins to read: what it reads is read after this.
    #[inline(always)]
    pub fn enter(&self) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.swap(now.wrapping_add(1), Ordering::SeqCst);
        after_swap();
    }

    /// The CPU has read.
    #[inline(always)]
    pub fn leave(&self) {
        let now = self.0.load(Ordering::Relaxed);
        // Release: whoever sees this sees the reads done.
        self.0.store(now.wrapping_add(1), Ordering::Release);
    }

    /// Waits for the end of the section that the CPU is in, if it is in one; not for those that it enters after. The
    /// caller has passed [`before_waiting`].
    pub fn wait(&self) {
        let now = self.0.load(Ordering::Acquire);
        if now.is_multiple_of(2) {
            return;
        }
        while self.0.load(Ordering::Acquire) == now {
            spin_loop();
        }
    }
}

/// Between the taking out of what readers may have and the look at their slots: either a reader's slot shows that it is
/// inside, or it does not find what was taken out.
#[inline]
pub fn before_waiting() {
    fence(Ordering::SeqCst);
}
