//! Memory straight from the kernel.

use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::problem::{Outcome, good};
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
        let new = Self::fresh_untold(len)?;
        // A kernel without huge pages refuses, which is as good.
        new.advise(libc::MADV_NOHUGEPAGE);
        Ok(new)
    }

    /// Fresh private memory as the kernel likes it.
    #[inline(always)]
    pub fn fresh_untold(len: usize) -> Outcome<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        Self::new(len, libc::PROT_READ | libc::PROT_WRITE, flags, -1)
    }

    #[inline(always)]
    pub fn new(len: usize, protection: i32, flags: i32, fd: i32) -> Outcome<Self> {
        assert!(flags & libc::MAP_FIXED == 0, "the kernel chooses the place");
        let args = [0, len, protection as usize, flags as usize, fd as usize, 0];
        // SAFETY: without MAP_FIXED nothing that is in use is replaced.
        let address = unsafe { sys::call(libc::SYS_mmap, args) };
        let address = good("mmap", address)? as usize;
        Ok(Self { address, len })
    }

    /// Memory that children share.
    pub fn shared(len: usize) -> Outcome<Self> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        Self::new(len, libc::PROT_READ | libc::PROT_WRITE, flags, -1)
    }

    /// A System V segment's memory.
    pub fn attach(segment: i32, len: usize) -> Outcome<Self> {
        // SAFETY: the kernel chooses the place.
        let address = unsafe { sys::call(libc::SYS_shmat, [segment as usize, 0, 0]) };
        let address = good("shmat", address)? as usize;
        Ok(Self { address, len })
    }

    /// Detaches a segment.
    pub fn detach(self) -> Outcome {
        // SAFETY: the mapping is this value's own, and ends here.
        let answer = unsafe { sys::call(libc::SYS_shmdt, [self.address]) };
        std::mem::forget(self);
        good("shmdt", answer).map(drop)
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

    /// The first byte of the page that `offset` lies in.
    #[inline(always)]
    pub fn peek(&self, offset: usize) -> u8 {
        assert!(offset < self.len);
        // SAFETY: the byte lies in the mapping, which nothing else refers to.
        unsafe { ((self.address + offset) as *const u8).read_volatile() }
    }

    /// Writes to each page.
    pub fn touch(&self) {
        for offset in (0..self.len).step_by(PAGE) {
            self.bump(offset);
        }
    }

    /// A word of a shared mapping.
    pub fn word(&self, index: usize) -> &AtomicU32 {
        assert!(index < self.len / 4);
        // SAFETY: the word lies in the mapping, is aligned, and is used as an atomic alone.
        unsafe { AtomicU32::from_ptr((self.address as *mut u32).add(index)) }
    }

    /// A long word of a shared mapping.
    pub fn long(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.len / 8);
        // SAFETY: the word lies in the mapping, is aligned, and is used as an atomic alone.
        unsafe { AtomicU64::from_ptr((self.address as *mut u64).add(index)) }
    }

    pub fn address(&self) -> usize {
        self.address
    }

    #[inline(always)]
    pub fn protect(&self, protection: i32) -> isize {
        // SAFETY: nothing refers to the mapping's content.
        unsafe {
            sys::call(
                libc::SYS_mprotect,
                [self.address, self.len, protection as usize],
            )
        }
    }

    /// Changes the length; the mapping may move.
    pub fn resize(&mut self, len: usize) -> Outcome {
        let flags = libc::MREMAP_MAYMOVE as usize;
        // SAFETY: nothing refers to the mapping's content.
        let address = unsafe { sys::call(libc::SYS_mremap, [self.address, self.len, len, flags]) };
        self.address = good("mremap", address)? as usize;
        self.len = len;
        Ok(())
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
