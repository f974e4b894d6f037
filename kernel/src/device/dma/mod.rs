//! Memory that devices reach: the machine as `drivers::hal` asks for it.
//!
//! # Invariants
//! `BLOCKS` owns every block that a driver has, so a block lives until `dma_free`.
#![expect(
    unsafe_code,
    reason = "promises to drivers what memory is and who uses it"
)]

use alloc::collections::BTreeMap;
use core::ptr::NonNull;

use drivers::hal::Platform;

use crate::boot;
use crate::mm::frame::{self, FrameBlock};
use crate::mm::kmap::{self, CachePolicy};
use crate::mm::{PAGE_SIZE, PhysAddr};
use crate::sync::Mutex;
use crate::{arch, time};

struct Machine;

static BLOCKS: Mutex<BTreeMap<u64, FrameBlock>> = Mutex::new(BTreeMap::new());

/// Lends the machine to the drivers.
pub fn init() {
    drivers::hal::set_platform(&Machine);
}

/// Whether any of these bytes is memory of the kernel or its users. The firmware's own memory is not.
fn overlaps_ram(phys: u64, end: u64) -> bool {
    let ranges = boot::info().memory_map.ranges();
    ranges
        .iter()
        .any(|range| range.kind.is_ram() && range.start < end && phys < range.end)
}

/// Maps what is no memory of the kernel or its users, for good.
fn map(phys: u64, bytes: usize, policy: CachePolicy) -> Option<NonNull<u8>> {
    let end = phys.checked_add(bytes as u64)?;
    if bytes == 0 || end > 1 << 52 || overlaps_ram(phys, end) {
        return None;
    }
    NonNull::new(kmap::map_mmio(PhysAddr(phys), bytes, policy).ok()?)
}

// SAFETY: `map` refuses memory of the kernel and maps the rest for good, uncached or write-combining; blocks are zeroed by the frame
// allocator, and are owned by `BLOCKS` until freed; devices see physical addresses as they are, and all of it lies in
// the direct map.
unsafe impl Platform for Machine {
    fn map_mmio(&self, phys: u64, bytes: usize) -> Option<NonNull<u8>> {
        map(phys, bytes, CachePolicy::Uncached)
    }

    fn map_framebuffer(&self, phys: u64, bytes: usize) -> Option<NonNull<u8>> {
        map(phys, bytes, CachePolicy::WriteCombining)
    }

    fn dma_alloc(&self, pages: usize) -> Option<(u64, NonNull<u8>)> {
        let order = pages.checked_next_power_of_two()?.trailing_zeros();
        let block = frame::alloc_order(u8::try_from(order).ok()?).ok()?;
        debug_assert!(block.len() >= pages * PAGE_SIZE);
        let (phys, virt) = (block.phys().0, NonNull::new(block.as_ptr())?);
        BLOCKS.lock().insert(phys, block);
        Some((phys, virt))
    }

    unsafe fn dma_free(&self, phys: u64, _: NonNull<u8>, _: usize) {
        let block = BLOCKS.lock().remove(&phys);
        drop(block);
    }

    fn phys_of(&self, virt: NonNull<u8>) -> u64 {
        // Blocks lie in the direct map, which starts at the address of physical zero.
        virt.addr().get() as u64 - PhysAddr(0).hhdm() as u64
    }

    fn now_ns(&self) -> u64 {
        time::monotonic_ns()
    }

    fn relax(&self) {
        arch::cpu::relax();
    }
}
