//! What is known about each frame.

use super::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering, fence, spin_loop};

/// What a frame is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Firmware, holes, the kernel's image: never handed out. The value of zeroed metadata.
    Reserved = 0,
    /// Head of a free block of the buddy allocator.
    Free = 1,
    /// Inside a free block, or in a per-CPU cache.
    Idle = 2,
    /// Handed out for the kernel's use.
    Kernel = 3,
    /// A slab of the heap.
    Slab = 4,
    /// A page table.
    Table = 5,
    /// Anonymous memory of a process.
    Anon = 6,
    /// A page of a file's page cache.
    Cache = 7,
    /// A page of tmpfs or shared memory.
    Shmem = 8,
}

/// Kinds that exist.
pub(crate) const KINDS: usize = 9;

impl Kind {
    fn from_u8(value: u8) -> Kind {
        match value {
            1 => Kind::Free,
            2 => Kind::Idle,
            3 => Kind::Kernel,
            4 => Kind::Slab,
            5 => Kind::Table,
            6 => Kind::Anon,
            7 => Kind::Cache,
            8 => Kind::Shmem,
            _ => Kind::Reserved,
        }
    }
}

/// Sixteen bytes for a frame.
///
/// # Invariants
/// Who may touch which field depends on the kind: of a free frame all belong to the buddy allocator under its lock,
/// of a slab all belong to its size class under that lock; of a frame in use `refs` counts owners, `count` and
/// `link` belong to the owner.
#[derive(Default)]
#[repr(C)]
pub struct FrameMeta {
    /// In use: owners. Free: the previous block in the list.
    pub refs: AtomicU32,
    /// Cache page: mappings. Table: present entries. Slab: objects in use, first free one. Free: nothing.
    pub count: AtomicU32,
    /// Free or slab: the next in the list. Otherwise the owner's.
    pub link: AtomicU32,
    kind: AtomicU8,
    pub(crate) order: AtomicU8,
    flags: AtomicU16,
}

/// The frame's own spin lock.
const LOCKED: u16 = 1;
/// The block was mapped as one huge page and its parts are now counted one by one.
const BROKEN: u16 = 2;

impl FrameMeta {
    /// What the frame is used for.
    #[inline(always)]
    pub fn kind(&self) -> Kind {
        Kind::from_u8(self.kind.load(Ordering::Relaxed))
    }

    /// Changes what the frame is used for; for its owner.
    #[inline(always)]
    pub fn set_kind(&self, kind: Kind) {
        self.kind.store(kind as u8, Ordering::Relaxed);
    }

    /// Makes a frame that nobody else knows one with a single owner.
    #[inline(always)]
    pub(crate) fn start(&self, kind: Kind) {
        self.refs.store(1, Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed);
        self.link.store(0, Ordering::Relaxed);
        self.flags.store(0, Ordering::Relaxed);
        self.kind.store(kind as u8, Ordering::Relaxed);
    }

    /// Adds an owner. The caller is one, or holds the lock of a structure that is.
    #[inline(always)]
    pub fn get(&self) {
        self.refs.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds `n` owners at once.
    #[inline(always)]
    pub fn get_many(&self, n: u32) {
        self.refs.fetch_add(n, Ordering::Relaxed);
    }

    /// Removes an owner; answers whether it was the last, who must free the frame.
    #[inline(always)]
    pub fn put(&self) -> bool {
        // A sole owner needs no atomic step: nobody else can add one. Acquire pairs with the release of former owners.
        if self.refs.load(Ordering::Acquire) == 1 {
            return true;
        }
        if self.refs.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            return true;
        }
        false
    }

    /// Owners now.
    #[inline(always)]
    pub fn owners(&self) -> u32 {
        self.refs.load(Ordering::Acquire)
    }

    /// Spins for the frame's lock. A page table's entries are changed under it.
    #[inline(always)]
    pub fn lock(&self) {
        while self.flags.fetch_or(LOCKED, Ordering::Acquire) & LOCKED != 0 {
            while self.flags.load(Ordering::Relaxed) & LOCKED != 0 {
                spin_loop();
            }
        }
    }

    /// Gives the frame's lock back. Only its holder calls this.
    #[inline(always)]
    pub fn unlock(&self) {
        // The other flags change under the lock only, so a plain store is enough.
        let flags = self.flags.load(Ordering::Relaxed);
        self.flags.store(flags & !LOCKED, Ordering::Release);
    }

    /// Whether the parts of this block are counted one by one; under the lock.
    pub fn is_broken(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & BROKEN != 0
    }

    /// Marks the parts as counted one by one; under the lock.
    pub fn set_broken(&self) {
        let flags = self.flags.load(Ordering::Relaxed);
        self.flags.store(flags | BROKEN, Ordering::Relaxed);
    }
}
