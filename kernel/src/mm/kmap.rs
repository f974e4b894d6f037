//! Run-time kernel mappings in the vmap region: MMIO, stacks, large blocks.
#![allow(unsafe_code)]

use abi::{Errno, Result};

use super::addr::PhysAddr;

/// How the CPU caches a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CachePolicy {
    WriteBack,
    /// Registers.
    Uncached,
    /// Framebuffers.
    WriteCombining,
}

/// Maps `len` bytes of device memory at `phys`, which need not be page-aligned. Never unmapped.
pub fn map_mmio(phys: PhysAddr, len: usize, policy: CachePolicy) -> Result<*mut u8> {
    let _ = (phys, len, policy);
    Err(Errno::ENOMEM)
}
