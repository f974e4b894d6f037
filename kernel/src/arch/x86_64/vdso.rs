//! The vDSO's image and the clock page below it: two pages that every process maps, the clock page first.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};

use super::layout;
use crate::mm::PhysAddr;

core::arch::global_asm!(include_str!("vdso.s"));

/// The clock's parameters: nanoseconds = (tsc - tsc_base) * scale / 2^32.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub tsc_base: u64,
    pub scale: u64,
    /// Real time less monotonic time.
    pub wall_offset_ns: i64,
}

/// The clock page as user space reads it: the assembly knows these offsets. An odd sequence number means that it is being
/// written; readers try again if it changed meanwhile.
#[repr(C, align(4096))]
struct Page {
    sequence: AtomicU32,
    tsc_base: AtomicU64,
    scale: AtomicU64,
    wall_offset_ns: AtomicI64,
    /// The rest of the page is user space's to read, and so holds nothing.
    _rest: UnsafeCell<[u8; 4096 - 32]>,
}

// SAFETY: only the atomics are ever accessed.
unsafe impl Sync for Page {}

static PAGE: Page = Page {
    sequence: AtomicU32::new(0),
    tsc_base: AtomicU64::new(0),
    scale: AtomicU64::new(0),
    wall_offset_ns: AtomicI64::new(0),
    _rest: UnsafeCell::new([0; 4096 - 32]),
};

/// Publishes new parameters. Callers take turns (see `time::clock`).
pub fn publish(clock: Clock) {
    let sequence = PAGE.sequence.load(Ordering::Relaxed);
    PAGE.sequence
        .store(sequence.wrapping_add(1), Ordering::Relaxed);
    fence(Ordering::Release);
    PAGE.tsc_base.store(clock.tsc_base, Ordering::Relaxed);
    PAGE.scale.store(clock.scale, Ordering::Relaxed);
    PAGE.wall_offset_ns
        .store(clock.wall_offset_ns, Ordering::Relaxed);
    PAGE.sequence
        .store(sequence.wrapping_add(2), Ordering::Release);
}

fn phys_of(virt: u64) -> PhysAddr {
    PhysAddr(virt - layout::image_start() + crate::boot::info().kernel_phys)
}

/// The clock page, to be mapped readable right below the image.
pub fn clock_page() -> PhysAddr {
    phys_of(core::ptr::from_ref(&PAGE) as u64)
}

/// The image, to be mapped readable and executable: where it is and its length in bytes, whole pages.
pub fn image() -> (PhysAddr, usize) {
    unsafe extern "C" {
        static __vdso_start: u8;
        static __vdso_end: u8;
    }
    let (start, end) = (
        (&raw const __vdso_start) as u64,
        (&raw const __vdso_end) as u64,
    );
    (phys_of(start), (end - start) as usize)
}
