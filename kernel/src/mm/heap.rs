//! The global allocator: small objects from per-CPU lists over slabs, larger ones in whole frames through the direct
//! map, and what finds no contiguous frames in the vmap region.
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;

use frames::{Kind, Priority, SLAB_MAX, SlabHeap};

use super::addr::{HHDM_BASE, PAGE_SIZE, VMAP_BASE};
use super::frame::FRAMES;
use super::{kmap, oom};
use crate::arch::cpu;

/// The largest allocation tried in contiguous frames.
const CONTIGUOUS_MAX: usize = 4 << 20;

struct KernelHeap;

#[global_allocator]
static HEAP: KernelHeap = KernelHeap;
static SLABS: SlabHeap = SlabHeap::new(HHDM_BASE);

/// The classes of small objects.
pub(super) fn classes() -> impl Iterator<Item = frames::ClassStats> {
    SLABS.classes()
}

/// Frames in slabs.
pub(super) fn slab_frames() -> u64 {
    SLABS.slab_frames()
}

#[inline(always)]
fn here() -> usize {
    cpu::current_id().index()
}

// SAFETY: slabs and frames hand out memory once until it is freed; `slab_size` and whole frames keep alignment; the
// way back is chosen by the same layout, or by the region the address lies in.
unsafe impl GlobalAlloc for KernelHeap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ksync::check::may_allocate();
        if let Some(size) = SlabHeap::slab_size(layout.size(), layout.align()) {
            let object = SLABS.alloc(&FRAMES, here(), size);
            if !object.is_null() {
                return object;
            }
            oom::reclaim();
            return SLABS.alloc(&FRAMES, here(), size);
        }
        alloc_frames(layout)
    }

    #[inline]
    unsafe fn dealloc(&self, object: *mut u8, layout: Layout) {
        if let Some(size) = SlabHeap::slab_size(layout.size(), layout.align()) {
            // SAFETY: the same layout chose the same class when it was allocated.
            unsafe { SLABS.free(&FRAMES, here(), object, size) };
        } else {
            free_frames(object as usize, layout);
        }
    }

    unsafe fn realloc(&self, object: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let same = match layout.size() <= SLAB_MAX {
            true => layout.align() <= 16 && SlabHeap::same_class(layout.size(), new_size),
            false => {
                new_size > SLAB_MAX
                    && layout.size().div_ceil(PAGE_SIZE) == new_size.div_ceil(PAGE_SIZE)
            }
        };
        if same {
            return object;
        }
        // SAFETY: the caller promises that the new size is sane for this alignment.
        let new =
            unsafe { self.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
        if !new.is_null() {
            // SAFETY: both blocks are at least as long as the shorter size, and distinct.
            unsafe { core::ptr::copy_nonoverlapping(object, new, layout.size().min(new_size)) };
            // SAFETY: the caller gives the old block up.
            unsafe { self.dealloc(object, layout) };
        }
        new
    }
}

/// Whole frames for a layout.
#[cold]
fn alloc_frames(layout: Layout) -> *mut u8 {
    let pages = layout.size().max(layout.align()).div_ceil(PAGE_SIZE);
    let try_contiguous = || {
        let pfn = match layout.align() <= PAGE_SIZE {
            true => FRAMES.alloc_exact(pages, Kind::Kernel, Priority::Kernel)?,
            false => {
                let order = pages.next_power_of_two().trailing_zeros() as u8;
                FRAMES.alloc_block(order, Kind::Kernel, Priority::Kernel)?
            }
        };
        Some((HHDM_BASE + (pfn as usize) * PAGE_SIZE) as *mut u8)
    };
    if pages * PAGE_SIZE <= CONTIGUOUS_MAX
        && let Some(block) = try_contiguous()
    {
        return block;
    }
    if layout.align() > PAGE_SIZE {
        return null_mut();
    }
    kmap::alloc_pages(pages).map_or(null_mut(), |virt| virt as *mut u8)
}

/// The way back of [`alloc_frames`].
#[cold]
fn free_frames(address: usize, layout: Layout) {
    let pages = layout.size().max(layout.align()).div_ceil(PAGE_SIZE);
    if address >= VMAP_BASE {
        kmap::free_pages(address, pages);
        return;
    }
    let pfn = ((address - HHDM_BASE) / PAGE_SIZE) as u32;
    if layout.align() <= PAGE_SIZE {
        FRAMES.free_exact(pfn, pages as u32);
    } else {
        FRAMES.free_block(pfn, pages.next_power_of_two().trailing_zeros() as u8);
    }
}
