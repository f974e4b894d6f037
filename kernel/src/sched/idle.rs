//! What a CPU does with nothing to run.

use core::sync::atomic::{AtomicU64, Ordering};

use super::core::schedule;
use crate::arch;
use crate::sync::{PerCpu, current};
use crate::time;

static IDLE_NS: PerCpu<AtomicU64> = crate::per_cpu!(AtomicU64::new(0));

/// The idle task's loop.
pub fn run_idle() -> ! {
    loop {
        schedule();
        arch::irq::disable();
        // With interrupts off no mark can slip in between the look and the halt, which turns them on in one step.
        if current().arch.work() & arch::WORK_RESCHED == 0 {
            let start = time::monotonic_ns();
            arch::cpu::halt_until_interrupt();
            let slept = time::monotonic_ns().saturating_sub(start);
            IDLE_NS.here().fetch_add(slept, Ordering::Relaxed);
        } else {
            arch::irq::enable();
        }
    }
}

/// Nanoseconds a CPU has halted since boot.
pub fn idle_ns(cpu: arch::cpu::CpuId) -> u64 {
    IDLE_NS.of(cpu).load(Ordering::Relaxed)
}
