//! The global allocator.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};

struct KernelHeap;

#[global_allocator]
static HEAP: KernelHeap = KernelHeap;

// SAFETY: hands out nothing yet.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
