//! Addresses and page arithmetic.

/// Bytes of a page.
pub const PAGE_SIZE: usize = 4096;
/// Bytes of a huge page: what one last-level table spans.
pub const HUGE_SIZE: usize = 2 << 20;
/// First address past what a user may map (Linux's `TASK_SIZE_MAX`).
pub const USER_END: usize = 0x7fff_ffff_f000;
/// Where all RAM is mapped.
pub const HHDM_BASE: usize = 0xffff_8000_0000_0000;
/// Kernel mappings made at run time: stacks, MMIO, large heap blocks.
pub const VMAP_BASE: usize = 0xffff_c000_0000_0000;
/// Bytes of the region at [`VMAP_BASE`]: one entry of the top-level table.
pub const VMAP_SIZE: usize = 512 << 30;

/// A physical address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct PhysAddr(pub u64);

impl PhysAddr {
    /// Where RAM at this address is mapped in the kernel.
    #[inline(always)]
    pub const fn hhdm(self) -> usize {
        HHDM_BASE + self.0 as usize
    }
}

/// `value` rounded down to a page.
#[inline(always)]
pub const fn page_down(value: usize) -> usize {
    value & !(PAGE_SIZE - 1)
}

/// `value` rounded up to a page; `None` when that overflows.
#[inline(always)]
pub const fn page_up(value: usize) -> Option<usize> {
    match value.checked_add(PAGE_SIZE - 1) {
        Some(v) => Some(page_down(v)),
        None => None,
    }
}

/// Whether `[addr, addr + len)` lies in the user half.
#[inline(always)]
pub const fn user_range_ok(addr: usize, len: usize) -> bool {
    len <= USER_END && addr <= USER_END - len
}
