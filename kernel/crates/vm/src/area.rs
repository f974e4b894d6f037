//! One area.

use bitflags::bitflags;

bitflags! {
    /// Rights and properties of an area. Areas merge only when these are equal.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct VmFlags: u64 {
        const READ = 1;
        const WRITE = 1 << 1;
        const EXEC = 1 << 2;
        /// Writes are seen by whoever maps the same object.
        const SHARED = 1 << 3;
        /// What `mprotect` may add.
        const MAY_READ = 1 << 4;
        const MAY_WRITE = 1 << 5;
        const MAY_EXEC = 1 << 6;
        /// A stack: extends downwards on faults.
        const GROWS_DOWN = 1 << 7;
        /// `mlock`: stays resident.
        const LOCKED = 1 << 8;
        /// `MLOCK_ONFAULT`: what becomes resident stays.
        const LOCK_ON_FAULT = 1 << 9;
        /// `MADV_DONTFORK`.
        const DONT_FORK = 1 << 10;
        /// `MADV_WIPEONFORK`.
        const WIPE_ON_FORK = 1 << 11;
        const HUGE_PAGE = 1 << 12;
        const NO_HUGE_PAGE = 1 << 13;
        const NO_RESERVE = 1 << 14;
        /// Counts towards the memory promised to processes.
        const ACCOUNT = 1 << 15;
        const DONT_DUMP = 1 << 16;
        const SEQUENTIAL = 1 << 17;
        const RANDOM = 1 << 18;
        /// Memory of a device or the kernel: not counted, not locked, not forked lazily.
        const SPECIAL = 1 << 19;
        /// The main stack, for its name.
        const STACK = 1 << 20;
        /// The heap that `brk` moves, for its name.
        const HEAP = 1 << 21;
        /// All of it counts as written since `clear_refs` last asked.
        const SOFT_DIRTY = 1 << 22;
        /// `mseal`: stays as it is.
        const SEALED = 1 << 23;
        /// `MADV_MERGEABLE`.
        const MERGEABLE = 1 << 24;
        /// A userfaultfd is asked for pages that are not there.
        const UFFD_MISSING = 1 << 25;
        /// A userfaultfd is asked before pages that it protected are written.
        const UFFD_WP = 1 << 26;
        /// The protection key: four bits.
        const PKEY = 0xf << 28;
        /// The memory policy of `mbind`: see `mm::policy`.
        const POLICY = 0xff_ffff << 32;
        /// Which of the space's watchers is asked.
        const UFFD_INDEX = 3 << 56;
        /// Which of the space's names it has; zero for none.
        const NAME_INDEX = 0x3f << 58;
    }
}

impl VmFlags {
    /// The rights proper.
    pub const RIGHTS: VmFlags = VmFlags::READ.union(VmFlags::WRITE).union(VmFlags::EXEC);

    /// What mprotect may add, as rights.
    #[inline]
    pub fn may(self) -> VmFlags {
        VmFlags::from_bits_truncate(self.bits() >> 4) & VmFlags::RIGHTS
    }

    /// The protection key.
    #[inline(always)]
    pub fn pkey(self) -> u8 {
        ((self & VmFlags::PKEY).bits() >> VmFlags::PKEY.bits().trailing_zeros()) as u8
    }

    /// The same with another protection key, of which four bits count.
    #[must_use]
    pub fn with_pkey(self, key: u8) -> VmFlags {
        let bits = u64::from(key & 0xf) << VmFlags::PKEY.bits().trailing_zeros();
        (self - VmFlags::PKEY) | VmFlags::from_bits_truncate(bits)
    }

    /// The bits of the memory policy.
    #[inline(always)]
    pub fn policy(self) -> u32 {
        ((self & VmFlags::POLICY).bits() >> VmFlags::POLICY.bits().trailing_zeros()) as u32
    }

    /// The same with another memory policy, of which 24 bits count.
    #[must_use]
    pub fn with_policy(self, policy: u32) -> VmFlags {
        let bits = u64::from(policy & 0xff_ffff) << VmFlags::POLICY.bits().trailing_zeros();
        (self - VmFlags::POLICY) | VmFlags::from_bits_truncate(bits)
    }

    /// The number of the watcher that is asked.
    #[inline]
    pub fn watcher(self) -> u8 {
        ((self & VmFlags::UFFD_INDEX).bits() >> VmFlags::UFFD_INDEX.bits().trailing_zeros()) as u8
    }

    /// The same with another watcher, of whose number two bits count.
    #[must_use]
    pub fn with_watcher(self, number: u8) -> VmFlags {
        let bits = u64::from(number & 3) << VmFlags::UFFD_INDEX.bits().trailing_zeros();
        (self - VmFlags::UFFD_INDEX) | VmFlags::from_bits_truncate(bits)
    }

    /// The number of its name.
    #[inline]
    pub fn name(self) -> u8 {
        ((self & VmFlags::NAME_INDEX).bits() >> VmFlags::NAME_INDEX.bits().trailing_zeros()) as u8
    }

    /// The same with another name, of whose number six bits count.
    #[must_use]
    pub fn with_name(self, number: u8) -> VmFlags {
        let bits = u64::from(number & 0x3f) << VmFlags::NAME_INDEX.bits().trailing_zeros();
        (self - VmFlags::NAME_INDEX) | VmFlags::from_bits_truncate(bits)
    }

    /// Whether any access is allowed at all.
    #[inline(always)]
    pub fn accessible(self) -> bool {
        self.intersects(Self::RIGHTS)
    }
}

/// What an area shows: nothing in particular, or a place in an object.
pub trait Content: Clone {
    /// The same content from `bytes` further on.
    fn advanced(&self, bytes: usize) -> Self;
    /// Moves the start `bytes` back, for an area that grows downwards.
    fn retreated(&self, bytes: usize) -> Self;
    /// Whether `next` is what follows after `len` bytes of `self`.
    fn continues(&self, len: usize, next: &Self) -> bool;
}

/// An area of addresses with the same rights and content.
///
/// # Invariants
/// `start < end`, both page-aligned.
#[derive(Clone, Debug)]
pub struct Vma<C> {
    pub start: usize,
    pub end: usize,
    pub flags: VmFlags,
    pub content: C,
}

impl<C: Content> Vma<C> {
    /// Bytes.
    #[inline(always)]
    #[expect(clippy::len_without_is_empty, reason = "an area is never empty")]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether it contains `address`.
    #[inline(always)]
    pub fn contains(&self, address: usize) -> bool {
        self.start <= address && address < self.end
    }

    /// The part within `[start, end)`, which must overlap it.
    #[must_use]
    pub fn part(&self, start: usize, end: usize) -> Vma<C> {
        let (start, end) = (start.max(self.start), end.min(self.end));
        Vma {
            start,
            end,
            flags: self.flags,
            content: self.content.advanced(start - self.start),
        }
    }

    /// Whether `next` can become one area with this one.
    pub fn joins(&self, next: &Vma<C>) -> bool {
        self.end == next.start
            && self.flags == next.flags
            && self.content.continues(self.len(), &next.content)
    }
}
