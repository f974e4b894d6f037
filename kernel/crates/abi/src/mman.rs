//! Flags of `mmap` and its relatives, as user space passes them.

use bitflags::bitflags;

bitflags! {
    /// `PROT_*` of `mmap` and `mprotect`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Prot: u32 {
        const READ = 1;
        const WRITE = 2;
        const EXEC = 4;
        const SEM = 8;
        const GROWSDOWN = 0x0100_0000;
        const GROWSUP = 0x0200_0000;
    }
}

bitflags! {
    /// `MAP_*` of `mmap`. The type of mapping is in the low four bits: see [`MapFlags::TYPE_MASK`].
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct MapFlags: u32 {
        const SHARED = 1;
        const PRIVATE = 2;
        const SHARED_VALIDATE = 3;
        const FIXED = 0x10;
        const ANONYMOUS = 0x20;
        const BIT_32 = 0x40;
        const GROWSDOWN = 0x100;
        const DENYWRITE = 0x800;
        const EXECUTABLE = 0x1000;
        const LOCKED = 0x2000;
        const NORESERVE = 0x4000;
        const POPULATE = 0x8000;
        const NONBLOCK = 0x1_0000;
        const STACK = 0x2_0000;
        const HUGETLB = 0x4_0000;
        const SYNC = 0x8_0000;
        const FIXED_NOREPLACE = 0x10_0000;
        /// Bits that Linux ignores for historical reasons, or that carry a huge page's size.
        const _ = !0;
    }
}

impl MapFlags {
    /// The bits that hold `SHARED`, `PRIVATE` or `SHARED_VALIDATE`.
    pub const TYPE_MASK: u32 = 0xf;
    /// What `MAP_SHARED_VALIDATE` accepts besides its own type.
    pub const VALIDATED: u32 = 0x2_0000
        | 0x1_0000
        | 0x8000
        | 0x4000
        | 0x2000
        | 0x1000
        | 0x800
        | 0x100
        | 0x40
        | 0x20
        | 0x10
        | 0x10_0000
        | 0x4_0000
        | 0xfc00_0000
        | 3;
}

bitflags! {
    /// `MREMAP_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct RemapFlags: u32 {
        const MAYMOVE = 1;
        const FIXED = 2;
        const DONTUNMAP = 4;
    }
}

bitflags! {
    /// `MS_*` of `msync`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct SyncFlags: u32 {
        const ASYNC = 1;
        const INVALIDATE = 2;
        const SYNC = 4;
    }
}

bitflags! {
    /// `MCL_*` of `mlockall`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct LockAllFlags: u32 {
        const CURRENT = 1;
        const FUTURE = 2;
        const ONFAULT = 4;
    }
}

/// `MLOCK_ONFAULT` of `mlock2`.
pub const MLOCK_ONFAULT: u32 = 1;

/// `MADV_*`.
pub mod advice {
    pub const NORMAL: u32 = 0;
    pub const RANDOM: u32 = 1;
    pub const SEQUENTIAL: u32 = 2;
    pub const WILLNEED: u32 = 3;
    pub const DONTNEED: u32 = 4;
    pub const FREE: u32 = 8;
    pub const REMOVE: u32 = 9;
    pub const DONTFORK: u32 = 10;
    pub const DOFORK: u32 = 11;
    pub const MERGEABLE: u32 = 12;
    pub const UNMERGEABLE: u32 = 13;
    pub const HUGEPAGE: u32 = 14;
    pub const NOHUGEPAGE: u32 = 15;
    pub const DONTDUMP: u32 = 16;
    pub const DODUMP: u32 = 17;
    pub const WIPEONFORK: u32 = 18;
    pub const KEEPONFORK: u32 = 19;
    pub const COLD: u32 = 20;
    pub const PAGEOUT: u32 = 21;
    pub const POPULATE_READ: u32 = 22;
    pub const POPULATE_WRITE: u32 = 23;
    pub const DONTNEED_LOCKED: u32 = 24;
    pub const COLLAPSE: u32 = 25;
}

/// `si_code` of SIGSEGV and SIGBUS.
pub mod si_code {
    pub const SEGV_MAPERR: i32 = 1;
    pub const SEGV_ACCERR: i32 = 2;
    pub const SEGV_PKUERR: i32 = 4;
    pub const BUS_ADRALN: i32 = 1;
    pub const BUS_ADRERR: i32 = 2;
    pub const BUS_OBJERR: i32 = 3;
}
