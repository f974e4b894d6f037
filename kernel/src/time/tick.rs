//! The periodic tick of a CPU that runs tasks. An idle CPU has none.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{clock, timer};
use crate::arch::cpu::{self, MAX_CPUS};
use crate::sched::TICK_NS;

/// Each on a line of its own: only its CPU writes it, with interrupts off.
#[repr(align(64))]
struct Tick {
    wanted: AtomicBool,
    /// When the next one is due; 0 when none is programmed.
    next_ns: AtomicU64,
}

static TICKS: [Tick; MAX_CPUS] = [const {
    Tick {
        wanted: AtomicBool::new(false),
        next_ns: AtomicU64::new(0),
    }
}; MAX_CPUS];

/// Starts or stops this CPU's tick. With interrupts off. Cheap both ways, since a CPU may come to idle and leave it many
/// times a tick: stopping leaves the timer as it is, starting finds it running still.
#[inline]
pub fn set_enabled(enabled: bool) {
    let tick = &TICKS[cpu::current_id().index()];
    tick.wanted.store(enabled, Ordering::Relaxed);
    if enabled && tick.next_ns.load(Ordering::Relaxed) == 0 {
        let next = clock::monotonic_ns() + TICK_NS;
        tick.next_ns.store(next, Ordering::Relaxed);
        timer::program(next);
    }
}

/// Called by the timer interrupt. Answers when the next tick is due, or `u64::MAX`.
pub(super) fn interrupt(now: u64, from_user: bool) -> u64 {
    let tick = &TICKS[cpu::current_id().index()];
    let due = tick.next_ns.load(Ordering::Relaxed);
    if due == 0 {
        return u64::MAX;
    }
    if now < due {
        return due;
    }
    if !tick.wanted.load(Ordering::Relaxed) {
        tick.next_ns.store(0, Ordering::Relaxed);
        return u64::MAX;
    }
    // Whole periods that were missed are left out.
    let next = if now - due < TICK_NS {
        due + TICK_NS
    } else {
        now + TICK_NS
    };
    tick.next_ns.store(next, Ordering::Relaxed);
    crate::sched::tick(from_user);
    next
}
