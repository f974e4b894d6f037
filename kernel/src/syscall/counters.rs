//! Calls and failures of each system call, counted on the CPU that served them.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};

use super::table::NUMBERS;
use crate::sync::PerCpu;

/// One CPU's counts. Only that CPU writes them, with the kernel not preemptible, so a load and a store suffice.
pub struct Counters {
    calls: [AtomicU64; NUMBERS],
    failures: [AtomicU64; NUMBERS],
}

impl Counters {
    const fn new() -> Counters {
        Counters {
            calls: [const { AtomicU64::new(0) }; NUMBERS],
            failures: [const { AtomicU64::new(0) }; NUMBERS],
        }
    }

    #[inline(always)]
    pub(super) fn called(&self, number: usize) {
        bump(&self.calls[number]);
    }

    pub(super) fn failed(&self, number: usize) {
        if let Some(counter) = self.failures.get(number) {
            bump(counter);
        }
    }
}

#[inline(always)]
fn bump(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Stands in for a CPU that has not been given counters.
static SPARE: Counters = Counters::new();
static PER_CPU: PerCpu<spin::Once<Box<Counters>>> = crate::per_cpu!(spin::Once::new());

/// Gives this CPU its counters.
pub fn start_on_this_cpu() {
    PER_CPU.here().call_once(|| Box::new(Counters::new()));
}

/// This CPU's counters.
#[inline(always)]
pub(super) fn here() -> &'static Counters {
    match PER_CPU.here().get() {
        Some(counters) => counters,
        None => &SPARE,
    }
}

/// Calls and failures of a call since boot, over all CPUs.
pub fn totals(number: usize) -> (u64, u64) {
    let all = PER_CPU
        .iter()
        .filter_map(|once| once.get().map(|counters| &**counters));
    all.chain(core::iter::once(&SPARE))
        .fold((0, 0), |(calls, failures), counters| {
            let load = |array: &[AtomicU64; NUMBERS]| {
                array
                    .get(number)
                    .map_or(0, |counter| counter.load(Ordering::Relaxed))
            };
            (
                calls + load(&counters.calls),
                failures + load(&counters.failures),
            )
        })
}
