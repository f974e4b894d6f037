//! Numbers of the threads of a space that run at the same time: as low as can be, so that memory for each number is memory
//! for each CPU in use (`mm_cid` of restartable sequences).

use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch::cpu::MAX_CPUS;

const _: () = assert!(MAX_CPUS <= 64, "a bit for each CPU");

/// The numbers in use, a bit each. No more are than CPUs run the space.
#[derive(Debug, Default)]
pub struct Concurrency(AtomicU64);

impl Concurrency {
    /// Takes the lowest number that is free.
    pub fn take(&self) -> u32 {
        let mut used = self.0.load(Ordering::Relaxed);
        loop {
            let number = used.trailing_ones().min(63);
            match self.0.compare_exchange_weak(
                used,
                used | 1 << number,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return number,
                Err(seen) => used = seen,
            }
        }
    }

    /// Gives a number back.
    pub fn give_back(&self, number: u32) {
        self.0.fetch_and(!(1 << (number & 63)), Ordering::Relaxed);
    }
}
