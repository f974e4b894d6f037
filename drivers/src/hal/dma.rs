//! Memory that a device reads and writes.

use core::ptr::NonNull;

use devapi::{DeviceError, Result};

use super::platform::platform;

pub(super) const PAGE_BYTES: usize = 4096;

/// Contiguous pages for a device, touched by copies only.
///
/// Rust holds no reference to the bytes, so a device that writes at the wrong moment changes what a copy yields and
/// nothing else.
pub struct DmaBuffer {
    phys: u64,
    virt: NonNull<u8>,
    pages: usize,
}

// SAFETY: the memory is owned, and reached through `&mut self` or volatile-like copies only.
unsafe impl Send for DmaBuffer {}
// SAFETY: `&self` only copies bytes out or gives addresses.
unsafe impl Sync for DmaBuffer {}

impl DmaBuffer {
    /// Zeroed memory of at least `bytes` bytes.
    pub fn new(bytes: usize) -> Result<Self> {
        let pages = bytes.div_ceil(PAGE_BYTES).max(1);
        let (phys, virt) = platform().dma_alloc(pages).ok_or(DeviceError::NoMemory)?;
        Ok(Self { phys, virt, pages })
    }

    pub fn bytes(&self) -> usize {
        self.pages * PAGE_BYTES
    }

    /// The address the device uses.
    pub fn phys(&self) -> u64 {
        self.phys
    }

    /// The part `offset..offset + bytes`, if it lies within.
    pub(super) fn part(&self, offset: usize, bytes: usize) -> Option<NonNull<u8>> {
        if offset.checked_add(bytes)? > self.bytes() {
            return None;
        }
        // SAFETY: `offset` lies within the allocation.
        Some(unsafe { self.virt.add(offset) })
    }

    /// Copies bytes out; false when the part lies outside.
    pub fn read(&self, offset: usize, out: &mut [u8]) -> bool {
        let Some(from) = self.part(offset, out.len()) else {
            return false;
        };
        // SAFETY: `part` checked the bounds; `out` is other memory, as no reference to this one exists.
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), out.as_mut_ptr(), out.len()) };
        true
    }

    /// Copies bytes in; false when the part lies outside.
    pub fn write(&mut self, offset: usize, data: &[u8]) -> bool {
        let Some(to) = self.part(offset, data.len()) else {
            return false;
        };
        // SAFETY: `part` checked the bounds; `data` is other memory, as no reference to this one exists.
        unsafe { core::ptr::copy_nonoverlapping(data.as_ptr(), to.as_ptr(), data.len()) };
        true
    }
}

impl Drop for DmaBuffer {
    fn drop(&mut self) {
        // SAFETY: `new` got it with as many pages. That no device writes to it any more is the owner's duty, which
        // within this crate is `Ring`'s: it leaks its memory unless the device was reset.
        unsafe { platform().dma_free(self.phys, self.virt, self.pages) }
    }
}

/// A platform of the host's heap, where physical and virtual addresses are the same.
#[cfg(test)]
pub mod testing {
    use core::alloc::Layout;
    use core::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::hal::{Platform, set_platform};

    struct Host;

    static NOW_NS: AtomicU64 = AtomicU64::new(1);

    fn layout(pages: usize) -> Layout {
        Layout::from_size_align(pages * PAGE_BYTES, PAGE_BYTES).unwrap()
    }

    // SAFETY: allocations are zeroed, page-aligned and owned by the caller; there are no registers to map.
    unsafe impl Platform for Host {
        fn map_mmio(&self, _: u64, _: usize) -> Option<NonNull<u8>> {
            None
        }
        fn dma_alloc(&self, pages: usize) -> Option<(u64, NonNull<u8>)> {
            // SAFETY: the layout is not empty.
            let virt = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout(pages)) })?;
            Some((virt.addr().get() as u64, virt))
        }
        unsafe fn dma_free(&self, _: u64, virt: NonNull<u8>, pages: usize) {
            // SAFETY: the caller says it came from `dma_alloc` with as many pages.
            unsafe { std::alloc::dealloc(virt.as_ptr(), layout(pages)) }
        }
        fn phys_of(&self, virt: NonNull<u8>) -> u64 {
            virt.addr().get() as u64
        }
        fn now_ns(&self) -> u64 {
            NOW_NS.fetch_add(1_000_000, Ordering::Relaxed)
        }
        fn relax(&self) {}
    }

    pub fn use_host() {
        set_platform(&Host);
    }

    /// What a fake device reads by DMA.
    pub fn read_phys<const N: usize>(phys: u64) -> [u8; N] {
        // SAFETY: in tests devices are told addresses of live `DmaBuffer`s and rings only.
        unsafe { (phys as *const [u8; N]).read_volatile() }
    }

    /// What a fake device writes by DMA.
    pub fn write_phys(phys: u64, bytes: &[u8]) {
        // SAFETY: as in `read_phys`.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), phys as *mut u8, bytes.len()) }
    }
}
