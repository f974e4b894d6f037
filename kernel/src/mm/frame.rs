//! Physical frames: allocation, reference counts, contents through the direct map.
#![allow(unsafe_code)]

use abi::{Errno, Result};

use super::addr::{PAGE_SIZE, PhysAddr};
use super::user::{IoSink, IoSource};

/// One reference to a frame. Cloning counts, dropping the last frees.
pub struct FrameRef {
    pfn: u32,
}

/// `2^order` physically contiguous frames with one owner, for devices and tables.
pub struct FrameBlock {
    pfn: u32,
    order: u8,
}

/// A frame with any content. ENOMEM after reclaim found nothing.
pub fn alloc() -> Result<FrameRef> {
    Err(Errno::ENOMEM)
}

/// A frame of zeros.
pub fn alloc_zeroed() -> Result<FrameRef> {
    Err(Errno::ENOMEM)
}

/// A zeroed block of `2^order` frames, naturally aligned; `order` at most 10.
pub fn alloc_order(order: u8) -> Result<FrameBlock> {
    let _ = order;
    Err(Errno::ENOMEM)
}

impl Clone for FrameRef {
    fn clone(&self) -> Self {
        FrameRef { pfn: self.pfn }
    }
}

impl FrameRef {
    /// Where the frame is.
    pub fn phys(&self) -> PhysAddr {
        PhysAddr(u64::from(self.pfn) << 12)
    }

    /// Its bytes in the direct map. Others may hold references, and users may map it: go through raw copies.
    pub fn as_ptr(&self) -> *mut u8 {
        self.phys().hhdm() as *mut u8
    }

    /// Copies out `out.len()` bytes from `offset`, cut at the frame's end.
    pub fn read(&self, offset: usize, out: &mut [u8]) {
        let (offset, len) = clip(offset, out.len());
        // SAFETY: `clip` keeps the range inside the frame, which this reference keeps allocated.
        unsafe { core::ptr::copy_nonoverlapping(self.as_ptr().add(offset), out.as_mut_ptr(), len) }
    }

    /// Copies `bytes` in at `offset`, cut at the frame's end.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let (offset, len) = clip(offset, bytes.len());
        // SAFETY: as for `read`.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.as_ptr().add(offset), len) }
    }

    /// Zeroes `len` bytes from `offset`, cut at the frame's end.
    pub fn zero(&self, offset: usize, len: usize) {
        let (offset, len) = clip(offset, len);
        // SAFETY: as for `read`.
        unsafe { core::ptr::write_bytes(self.as_ptr().add(offset), 0, len) }
    }

    /// Puts `len` bytes from `offset` into `sink`.
    pub fn put_to(&self, sink: &mut IoSink<'_>, offset: usize, len: usize) -> Result<()> {
        let (offset, len) = clip(offset, len);
        // SAFETY: in range and allocated; the bytes are only handed to the copy routines, for which a concurrent
        // change by a user mapping is a torn copy and nothing else.
        sink.put(unsafe { core::slice::from_raw_parts(self.as_ptr().add(offset), len) })
    }

    /// Fills `len` bytes at `offset` from `source`.
    pub fn take_from(&self, source: &mut IoSource<'_>, offset: usize, len: usize) -> Result<()> {
        let (offset, len) = clip(offset, len);
        // SAFETY: as for `put_to`.
        source.take(unsafe { core::slice::from_raw_parts_mut(self.as_ptr().add(offset), len) })
    }
}

impl FrameBlock {
    /// Where the block is.
    pub fn phys(&self) -> PhysAddr {
        PhysAddr(u64::from(self.pfn) << 12)
    }

    /// Its bytes in the direct map.
    pub fn as_ptr(&self) -> *mut u8 {
        self.phys().hhdm() as *mut u8
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        PAGE_SIZE << self.order
    }
}

/// `offset` and `len` cut to one frame.
#[inline(always)]
fn clip(offset: usize, len: usize) -> (usize, usize) {
    let offset = offset.min(PAGE_SIZE);
    (offset, len.min(PAGE_SIZE - offset))
}
