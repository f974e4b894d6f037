//! The clocks. One linear function of the TSC; the wall clock is that plus an offset.
//!
//! The parameters are published twice: in statics for the kernel, and in the vDSO's data page for user space, which
//! reads them under a sequence count.

use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use ksync::IrqSpinLock;

use crate::arch::cpu::tsc;
use crate::arch::vdso;

/// TSC value at the start of monotonic time.
static BASE: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds per TSC tick, times 2^32; 0 until calibrated.
static SCALE: AtomicU64 = AtomicU64::new(0);
static HZ: AtomicU64 = AtomicU64::new(0);
/// TSC ticks per nanosecond, times 2^32.
static INVERSE: AtomicU64 = AtomicU64::new(0);
/// Real time less monotonic time.
static WALL_OFFSET: AtomicI64 = AtomicI64::new(0);
/// Serialises those who set the wall clock.
static WALL: IrqSpinLock<()> = IrqSpinLock::new(());

/// Nanoseconds since boot.
#[inline]
pub fn monotonic_ns() -> u64 {
    tsc_to_ns(tsc())
}

/// Monotonic time at a TSC value; 0 for values before boot.
#[inline]
pub fn tsc_to_ns(tsc: u64) -> u64 {
    let ticks = tsc.saturating_sub(BASE.load(Ordering::Relaxed));
    ((u128::from(ticks) * u128::from(SCALE.load(Ordering::Relaxed))) >> 32) as u64
}

/// TSC ticks in a span of time.
#[inline]
pub(super) fn ns_to_ticks(ns: u64) -> u64 {
    ((u128::from(ns) * u128::from(INVERSE.load(Ordering::Relaxed))) >> 32) as u64
}

/// Nanoseconds since boot, suspend included; there is no suspend.
#[inline]
pub fn boottime_ns() -> u64 {
    monotonic_ns()
}

/// Nanoseconds since 1970.
#[inline]
pub fn realtime_ns() -> u64 {
    monotonic_ns().wrapping_add_signed(WALL_OFFSET.load(Ordering::Relaxed))
}

/// Sets the wall clock.
pub fn set_realtime(ns: u64) {
    let _guard = WALL.lock();
    let offset = ns.wrapping_sub(monotonic_ns()) as i64;
    WALL_OFFSET.store(offset, Ordering::Relaxed);
    publish();
}

/// The TSC's rate.
pub fn tsc_hz() -> u64 {
    HZ.load(Ordering::Relaxed)
}

/// Starts the clocks: `base` is the TSC value at boot.
pub(super) fn start(base: u64, hz: u64) {
    HZ.store(hz, Ordering::Relaxed);
    BASE.store(base, Ordering::Relaxed);
    INVERSE.store(
        ((u128::from(hz) << 32) / 1_000_000_000) as u64,
        Ordering::Relaxed,
    );
    SCALE.store(
        ((1_000_000_000u128 << 32) / u128::from(hz)) as u64,
        Ordering::Relaxed,
    );
    let _guard = WALL.lock();
    publish();
}

/// Gives the parameters to user space.
fn publish() {
    vdso::publish(vdso::Clock {
        tsc_base: BASE.load(Ordering::Relaxed),
        scale: SCALE.load(Ordering::Relaxed),
        wall_offset_ns: WALL_OFFSET.load(Ordering::Relaxed),
    });
}
