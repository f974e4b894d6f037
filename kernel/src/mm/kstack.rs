//! Kernel stacks: 32 KiB in the vmap region below an unmapped guard page.

use abi::{Errno, Result};

/// Bytes of a kernel stack.
pub const KSTACK_SIZE: usize = 32 << 10;

/// A kernel stack. Dropping it gives it to a cache; it must not be the one in use.
pub struct KernelStack {
    top: usize,
}

impl KernelStack {
    /// A stack with any content.
    pub fn new() -> Result<KernelStack> {
        Err(Errno::ENOMEM)
    }

    /// The address past its highest byte, page-aligned.
    pub fn top(&self) -> usize {
        self.top
    }
}
