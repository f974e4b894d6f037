//! What a boot loader hands over, decoded without trusting it: no registers, no raw memory, no allocation.
//!
//! | module | what |
//! |---|---|
//! | `memory_map` | [`MemoryMap`]: sorted, disjoint, page-aligned ranges from whatever firmware reported |
//! | `cmdline` | [`CommandLine`]: Linux's spelling of parameters |
//! | `known` | which parameters are the kernel's |
//! | `multiboot2` | the tags of a Multiboot2 information structure |
//! | `pvh` | the structures of the PVH start information |
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

mod bytes;
pub mod cmdline;
mod known;
pub mod memory_map;
pub mod multiboot2;
pub mod pvh;

pub use cmdline::{CommandLine, InitWord};
pub use memory_map::{MemoryKind, MemoryMap, MemoryRange};

/// A linear framebuffer set up by the loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framebuffer {
    /// Physical address of the first pixel.
    pub phys: u64,
    pub width: u32,
    pub height: u32,
    /// Bytes from one row to the next.
    pub pitch: u32,
    pub bits_per_pixel: u8,
    pub red: ColorField,
    pub green: ColorField,
    pub blue: ColorField,
}

/// Where a colour lies in a pixel, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColorField {
    pub shift: u8,
    pub size: u8,
}

impl Framebuffer {
    /// Bytes that the visible picture spans.
    pub fn len(&self) -> u64 {
        u64::from(self.pitch) * u64::from(self.height)
    }

    /// Whether there is no picture at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the fields make sense together and the pixels are of a kind that the console can draw.
    pub fn is_sane(&self) -> bool {
        let bytes = u64::from(self.bits_per_pixel / 8);
        let fits = |field: ColorField| u32::from(field.shift) + u32::from(field.size) <= 32;
        matches!(self.bits_per_pixel, 16 | 24 | 32)
            && self.phys != 0
            && (1..=16384).contains(&self.width)
            && (1..=16384).contains(&self.height)
            && u64::from(self.pitch) >= u64::from(self.width) * bytes
            && u64::from(self.pitch) <= 1 << 20
            && fits(self.red)
            && fits(self.green)
            && fits(self.blue)
    }
}
