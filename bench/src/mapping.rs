//! Memory straight from the kernel.

use crate::problem::{Outcome, Problem};
use crate::sys;

pub const PAGE: usize = 4096;

/// A mapping that goes away with this.
pub struct Mapping {
    address: usize,
    len: usize,
}

impl Mapping {
    /// Fresh private memory in pages of the base size: one fault a page, where a kernel with huge
    /// pages would take one for 512.
    pub fn fresh(len: usize) -> Outcome<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let new = Self::new(len, libc::PROT_READ | libc::PROT_WRITE, flags, -1)?;
        // A kernel without huge pages refuses, which is as good.
        new.advise(libc::MADV_NOHUGEPAGE);
        Ok(new)
    }

    pub fn new(len: usize, protection: i32, flags: i32, fd: i32) -> Outcome<Self> {
        assert!(flags & libc::MAP_FIXED == 0, "the kernel chooses the place");
        let args = [0, len, protection as usize, flags as usize, fd as usize, 0];
        // SAFETY: without MAP_FIXED nothing that is in use is replaced.
        let address = unsafe { sys::call(libc::SYS_mmap, args) };
        if address < 0 && address > -4096 {
            return Err(Problem::failed("mmap", address));
        }
        Ok(Self {
            address: address as usize,
            len,
        })
    }

    /// Adds one to the first byte of the page that `offset` lies in; what was there before.
    #[inline(always)]
    pub fn bump(&self, offset: usize) -> u8 {
        assert!(offset < self.len);
        let at = (self.address + offset) as *mut u8;
        // SAFETY: the byte lies in the mapping, which nothing else refers to.
        unsafe {
            let old = at.read_volatile();
            at.write_volatile(old.wrapping_add(1));
            old
        }
    }

    pub fn advise(&self, advice: i32) -> isize {
        // SAFETY: nothing refers to the mapping's content.
        unsafe { sys::call(libc::SYS_madvise, [self.address, self.len, advice as usize]) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own.
        unsafe { sys::call(libc::SYS_munmap, [self.address, self.len]) };
    }
}
