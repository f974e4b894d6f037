//! Physical frames and what the kernel's heap is made of.
//!
//! | module | what |
//! |---|---|
//! | `meta` | [`FrameMeta`]: 16 bytes for every frame |
//! | `buddy` | free blocks of `2^order` frames |
//! | `cache` | [`FrameAllocator`]: per-CPU caches of single frames before the buddy allocator |
//! | `slab` | [`SlabHeap`]: per-CPU lists of small objects before slabs of one frame each |
//!
//! Lock order: slab class -> buddy. Both are taken with interrupts off. The per-CPU parts take no lock: only their
//! own CPU touches them, and an interrupt handler that finds them in use goes straight to the shared part.
//!
//! Frames are named by their number (`pfn`); all metadata lies in one array indexed by it. Numbers of holes have
//! metadata too, of kind [`Kind::Reserved`], and are never handed out.
#![cfg_attr(not(test), no_std)]

mod buddy;
mod cache;
mod meta;
mod slab;

pub use buddy::{MAX_ORDER, NO_FRAME};
pub use cache::{FrameAllocator, Priority};
pub use meta::{FrameMeta, Kind};
pub use slab::{ClassStats, SLAB_MAX, SlabHeap};

/// What the models replace by loom's.
mod atomic {
    pub use core::hint::spin_loop;
    pub use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering, fence};
}

const _: () = assert!(size_of::<FrameMeta>() == 16);

/// CPUs that the per-CPU parts have room for.
pub const MAX_CPUS: usize = 64;
/// Bytes of a frame.
pub const FRAME_SIZE: usize = 4096;
