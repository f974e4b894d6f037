//! The areas of an address space, without page tables: what is mapped where, with which rights.
//!
//! | module | what |
//! |---|---|
//! | `area` | [`Vma`], [`VmFlags`], the trait [`Content`] of what an area shows |
//! | `map` | [`VmaMap`]: areas in order of address; lookup, insertion with merging, removal and change with splitting |
//! | `gap` | where a new area fits |
//!
//! The kernel's `mm::space` holds one map per space under its lock and carries out on page tables what changed here.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

mod area;
mod gap;
mod map;
#[cfg(test)]
mod model;

pub use area::{Content, VmFlags, Vma};
pub use gap::GapRequest;
pub use map::{NoMemory, VmaMap};

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// What stays free below an area that grows downwards (`stack_guard_gap`).
pub const STACK_GUARD: usize = 256 * PAGE;
