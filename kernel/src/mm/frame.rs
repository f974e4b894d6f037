//! Physical frames: allocation, reference counts, contents through the direct map.
//!
//! The allocator proper is the crate `frames`. Here are the one instance, owned handles to frames, and the raw
//! numbers with which page tables hold their references.
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU32, Ordering};

use abi::{Errno, Result};
pub use frames::Kind;
use frames::{FrameAllocator, FrameMeta, Priority};

use super::addr::{HHDM_BASE, PAGE_SIZE, PhysAddr};
use super::oom;
use super::user::{IoSink, IoSource};
use crate::arch::{cpu, pte};

pub(super) static FRAMES: FrameAllocator = FrameAllocator::new();
/// The page of zeros that reads of untouched anonymous memory see.
static ZERO_PAGE: AtomicU32 = AtomicU32::new(0);

/// This CPU's index. The kernel is not preemptible, so it holds until the caller blocks.
#[inline(always)]
fn here() -> usize {
    cpu::current_id().index()
}

/// What is known about a frame.
#[inline(always)]
pub(super) fn meta(pfn: u32) -> &'static FrameMeta {
    FRAMES.meta(pfn)
}

/// The bytes of a frame in the direct map.
#[inline(always)]
fn bytes(pfn: u32) -> *mut u8 {
    (HHDM_BASE + ((pfn as usize) << 12)) as *mut u8
}

/// One frame for a user's needs, without waiting for memory; one owner.
#[inline]
pub(super) fn alloc_raw(kind: Kind) -> Option<u32> {
    FRAMES.alloc(here(), kind, Priority::User)
}

/// The same, zeroed.
#[inline]
pub(super) fn alloc_raw_zeroed(kind: Kind) -> Option<u32> {
    let pfn = alloc_raw(kind)?;
    clear(pfn);
    Some(pfn)
}

/// One zeroed frame for the kernel's own needs; may use the reserve.
pub(super) fn alloc_raw_kernel_zeroed(kind: Kind) -> Option<u32> {
    let pfn = FRAMES.alloc(here(), kind, Priority::Kernel)?;
    clear(pfn);
    Some(pfn)
}

/// A naturally aligned block of zeroed frames, or `None` if memory is short or in pieces.
pub(super) fn alloc_raw_block_zeroed(order: u8, kind: Kind) -> Option<u32> {
    let pfn = FRAMES.alloc_block(order, kind, Priority::User)?;
    (pfn..pfn + (1 << order)).for_each(clear);
    Some(pfn)
}

/// A reference to a frame in use, or `None` where there is no frame with owners (device memory, the kernel's image).
pub(super) fn try_get(pfn: u32) -> Option<FrameRef> {
    if !FRAMES.knows(u64::from(pfn)) || meta(pfn).kind() == Kind::Reserved {
        return None;
    }
    meta(pfn).get();
    Some(FrameRef::from_raw(pfn))
}

/// Frees a block whose last owner is gone.
pub(super) fn free_block(pfn: u32, order: u8) {
    FRAMES.free_block(pfn, order);
}

/// Makes the frames of a block single frames with `owners` owners each.
pub(super) fn split_block(pfn: u32, order: u8, owners: u32) {
    FRAMES.split_block(pfn, order, owners);
}

/// Frees a frame whose last owner is gone.
#[inline]
pub(super) fn free_raw(pfn: u32) {
    FRAMES.free(here(), pfn);
}

/// Removes an owner of a frame, and frees it after the last.
#[inline]
pub(super) fn put_raw(pfn: u32) {
    if meta(pfn).put() {
        free_raw(pfn);
    }
}

/// Zeroes a frame that the caller has just been given.
#[inline]
fn clear(pfn: u32) {
    // SAFETY: the frame is in the direct map, and only the caller knows it.
    unsafe { pte::clear_page(bytes(pfn)) };
}

/// Copies out of a frame of the kernel's image, cut at its end.
pub(super) fn read_raw(pfn: u32, offset: usize, out: &mut [u8]) {
    let (offset, len) = clip(offset, out.len());
    // SAFETY: the image is in the direct map for ever, and `clip` keeps the range inside the frame.
    unsafe { core::ptr::copy_nonoverlapping(bytes(pfn).add(offset), out.as_mut_ptr(), len) }
}

/// Copies one frame to another that the caller has just been given.
#[inline]
pub(super) fn copy_raw(to: u32, from: u32) {
    // SAFETY: both are in the direct map; nobody else knows `to`. A user may change `from` meanwhile: then the copy is
    // as if made a little earlier or later, byte for byte.
    unsafe { pte::copy_page(bytes(to), bytes(from)) };
}

/// The page of zeros.
#[inline(always)]
pub(super) fn zero_page() -> u32 {
    ZERO_PAGE.load(Ordering::Relaxed)
}

/// Sets aside the page of zeros. Called once.
pub(super) fn init_zero_page() {
    let pfn = alloc_raw_kernel_zeroed(Kind::Kernel).expect("the first frame of all");
    ZERO_PAGE.store(pfn, Ordering::Relaxed);
}

/// One reference to a frame. Cloning counts, dropping the last frees.
#[derive(PartialEq, Eq, Debug)]
pub struct FrameRef {
    /// Frame 0 is never handed out, so that an `Option` of a reference is as small as one.
    pfn: NonZeroU32,
}

/// A frame with any content, for the kernel's data. ENOMEM after reclaim found nothing.
pub fn alloc() -> Result<FrameRef> {
    alloc_kind(Kind::Kernel)
}

/// A frame of a page cache, with any content.
pub(super) fn alloc_kind(kind: Kind) -> Result<FrameRef> {
    oom::retry(|| alloc_raw(kind))
        .map(FrameRef::from_raw)
        .ok_or(Errno::ENOMEM)
}

/// A frame of a page cache, of zeros.
pub(super) fn alloc_kind_zeroed(kind: Kind) -> Result<FrameRef> {
    oom::retry(|| alloc_raw_zeroed(kind))
        .map(FrameRef::from_raw)
        .ok_or(Errno::ENOMEM)
}

/// Whether an address is RAM, and so mapped with ordinary caching.
pub(super) fn is_ram(phys: PhysAddr) -> bool {
    let ranges = crate::boot::info().memory_map.ranges();
    ranges
        .iter()
        .any(|r| r.kind.is_ram() && (r.start..r.end).contains(&phys.0))
}

/// A zeroed block of `2^order` frames, naturally aligned; `order` at most 10.
pub fn alloc_order(order: u8) -> Result<FrameBlock> {
    let pfn = FRAMES
        .alloc_block(order, Kind::Kernel, Priority::Kernel)
        .ok_or(Errno::ENOMEM)?;
    (pfn..pfn + (1 << order)).for_each(clear);
    Ok(FrameBlock { pfn, order })
}

/// Gives memory that was reserved at boot (a module that has been unpacked) to the allocator.
///
/// # Safety
/// `[start, end)` is RAM in the direct map that was never given before and that nobody uses any more.
pub unsafe fn release_range(start: PhysAddr, end: PhysAddr) {
    let (first, last) = (start.0.div_ceil(4096), end.0 / 4096);
    if first < last && FRAMES.knows(last - 1) {
        FRAMES.add_range(first as u32, last as u32);
    }
}

impl Clone for FrameRef {
    #[inline]
    fn clone(&self) -> Self {
        meta(self.pfn()).get();
        FrameRef { pfn: self.pfn }
    }
}

impl Drop for FrameRef {
    #[inline]
    fn drop(&mut self) {
        put_raw(self.pfn());
    }
}

impl FrameRef {
    /// Turns the reference into a number; [`FrameRef::from_raw`] turns it back.
    #[inline]
    pub(super) fn into_raw(self) -> u32 {
        let pfn = self.pfn();
        core::mem::forget(self);
        pfn
    }

    /// The frame's number.
    #[inline(always)]
    pub(super) fn pfn(&self) -> u32 {
        self.pfn.get()
    }

    /// Takes over one reference to a frame in use that the caller holds.
    #[inline]
    pub(super) fn from_raw(pfn: u32) -> FrameRef {
        FrameRef {
            pfn: NonZeroU32::new(pfn).expect("frame 0 is never handed out"),
        }
    }

    /// Its bytes in the direct map. Others may hold references, and users may map it: go through raw copies.
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        bytes(self.pfn())
    }

    /// Copies `len` bytes at `offset` from the same place in another frame.
    pub(super) fn copy_from(&self, other: &FrameRef, offset: usize, len: usize) {
        let (offset, len) = clip(offset, len);
        // SAFETY: in range of both frames, which are allocated and distinct or the same.
        unsafe { core::ptr::copy(other.as_ptr().add(offset), self.as_ptr().add(offset), len) }
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
    #[inline]
    pub fn put_to(&self, sink: &mut IoSink<'_>, offset: usize, len: usize) -> Result<()> {
        let (offset, len) = clip(offset, len);
        // SAFETY: in range and allocated; the bytes are only handed to the copy routines, for which a concurrent
        // change by a user mapping is a torn copy and nothing else.
        sink.put(unsafe { core::slice::from_raw_parts(self.as_ptr().add(offset), len) })
    }

    /// Fills `len` bytes at `offset` from `source`.
    #[inline]
    pub fn take_from(&self, source: &mut IoSource<'_>, offset: usize, len: usize) -> Result<()> {
        let (offset, len) = clip(offset, len);
        // SAFETY: as for `put_to`.
        source.take(unsafe { core::slice::from_raw_parts_mut(self.as_ptr().add(offset), len) })
    }
}

/// `2^order` physically contiguous frames with one owner, for devices.
pub struct FrameBlock {
    pfn: u32,
    order: u8,
}

impl FrameBlock {
    /// Where the block is.
    pub fn phys(&self) -> PhysAddr {
        PhysAddr(u64::from(self.pfn) << 12)
    }

    /// Its bytes in the direct map.
    pub fn as_ptr(&self) -> *mut u8 {
        bytes(self.pfn)
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        PAGE_SIZE << self.order
    }
}

impl Drop for FrameBlock {
    fn drop(&mut self) {
        FRAMES.free_block(self.pfn, self.order);
    }
}

/// `offset` and `len` cut to one frame.
#[inline(always)]
fn clip(offset: usize, len: usize) -> (usize, usize) {
    let offset = offset.min(PAGE_SIZE);
    (offset, len.min(PAGE_SIZE - offset))
}
