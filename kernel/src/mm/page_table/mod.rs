//! Page tables: their frames, their entries, walks.
//!
//! | module | what |
//! |---|---|
//! | this | [`Table`], [`Root`] |
//! | `kernel` | the kernel's half, which every root shares |
//! | `tlb` | which CPU has which space loaded; dropping translations |
//!
//! # Invariants
//! - A table's frame is of kind `Table`; `refs` counts the entries one level up that point to it (more than one only
//!   for last-level tables shared by fork), `count` its present entries if it is a last-level table.
//! - Entries of a last-level table change under the lock of its frame; entries of the level above under that table's
//!   lock, except that an empty one is filled by compare-and-exchange.
//! - An upper entry without the write bit points to a table that may be shared: it is not changed through that entry.
//! - Upper tables are freed only with the space's map held exclusively, or when the space is dropped.
use core::sync::atomic::{AtomicU64, Ordering};

mod kernel;
pub mod tlb;

use abi::{Errno, Result};
use frames::Kind;
pub use kernel::{KernelTables, kernel_root, kernel_slot, load_kernel_root};

use super::addr::HHDM_BASE;
use super::frame;
use crate::arch::pte::{self, Pte};

/// Bits of an entry that points to a user table.
pub const USER_TABLE: u64 = Pte::PRESENT | Pte::WRITE | Pte::USER | Pte::ACCESSED;
/// Entries of a table.
pub const ENTRIES: usize = 512;

/// The number of a frame that is a page table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Table(u32);

impl Table {
    /// An empty table with one owner.
    pub fn alloc() -> Result<Table> {
        frame::alloc_raw_zeroed(Kind::Table)
            .map(Table)
            .ok_or(Errno::ENOMEM)
    }

    /// As [`Table::alloc`], but may use the kernel's reserve: for steps that free memory or must not fail half-way.
    pub fn alloc_kernel() -> Result<Table> {
        frame::alloc_raw_kernel_zeroed(Kind::Table)
            .map(Table)
            .ok_or(Errno::ENOMEM)
    }

    /// The table with this frame number.
    pub fn from_pfn(pfn: u32) -> Table {
        debug_assert!(frame::meta(pfn).kind() == Kind::Table);
        Table(pfn)
    }

    /// The table a present, not large entry points to.
    #[inline(always)]
    pub fn of(entry: Pte) -> Table {
        debug_assert!(entry.is_present() && !entry.is_large());
        Table(entry.pfn())
    }

    /// Its frame's number.
    #[inline(always)]
    pub fn pfn(self) -> u32 {
        self.0
    }

    /// Where it is.
    #[inline(always)]
    pub fn phys(self) -> u64 {
        u64::from(self.0) << 12
    }

    /// What is known of its frame.
    #[inline(always)]
    pub fn meta(self) -> &'static frames::FrameMeta {
        frame::meta(self.0)
    }

    /// One entry, for atomic access.
    #[inline(always)]
    pub fn slot(self, index: usize) -> &'static AtomicU64 {
        debug_assert!(index < ENTRIES);
        let base = (HHDM_BASE + ((self.0 as usize) << 12)) as *const AtomicU64;
        // SAFETY: a `Table` names a frame in the direct map that is in use as a table, and the index is below 512;
        // callers keep the table allocated by the invariants of this module.
        unsafe { &*base.add(index & (ENTRIES - 1)) }
    }

    /// The value of an entry.
    #[inline(always)]
    pub fn get(self, index: usize) -> Pte {
        Pte(self.slot(index).load(Ordering::Acquire))
    }

    /// Sets an entry; under the table's lock, or while nobody else knows the table.
    #[inline(always)]
    pub fn set(self, index: usize, value: Pte) {
        self.slot(index).store(value.0, Ordering::Release);
    }

    /// Takes the table's lock.
    #[inline(always)]
    pub fn lock(self) -> TableGuard {
        self.meta().lock();
        TableGuard(self)
    }

    /// Frees the table, whose last owner the caller was.
    pub fn free(self) {
        frame::free_raw(self.0);
    }

    /// The next level through `index`, made if it is not there; a new one is shown to `made`. `None` out of memory.
    #[inline]
    pub fn descend(self, index: usize, made: &mut dyn FnMut(Table)) -> Option<Table> {
        let entry = self.get(index);
        if entry.is_present() {
            return Some(Table::of(entry));
        }
        let new = Table::alloc().ok()?;
        let value = Pte::new(new.phys(), USER_TABLE);
        match self
            .slot(index)
            .compare_exchange(0, value.0, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => {
                made(new);
                Some(new)
            }
            Err(other) => {
                new.free();
                Some(Table::of(Pte(other)))
            }
        }
    }

    /// Adds to the count of present entries; under the lock.
    #[inline(always)]
    pub fn add_count(self, change: i32) {
        let count = &self.meta().count;
        let now = count.load(Ordering::Relaxed);
        count.store(now.wrapping_add_signed(change), Ordering::Relaxed);
    }

    /// Present entries.
    #[inline(always)]
    pub fn count(self) -> u32 {
        self.meta().count.load(Ordering::Relaxed)
    }
}

/// Proves that the table is locked.
pub struct TableGuard(Table);

impl Drop for TableGuard {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.meta().unlock();
    }
}

/// A top-level table of a user space.
pub struct Root(Table);

impl Root {
    /// A root with the kernel's half and no user half.
    pub fn new() -> Result<Root> {
        let table = Table::alloc()?;
        let kernel = kernel_root();
        for index in kernel::slots() {
            table.set(index, kernel.get(index));
        }
        Ok(Root(table))
    }

    /// The third-level table (2 MiB entries) for an address, if there is one.
    #[inline(always)]
    pub fn directory(&self, address: usize) -> Option<Table> {
        let upper = self.0.get(pte::index(address, 4));
        if !upper.is_present() {
            return None;
        }
        let middle = Table::of(upper).get(pte::index(address, 3));
        middle.is_present().then(|| Table::of(middle))
    }

    /// The same, made if need be; `made` is shown new tables.
    pub fn make_directory(&self, address: usize, made: &mut dyn FnMut(Table)) -> Option<Table> {
        self.0
            .descend(pte::index(address, 4), made)?
            .descend(pte::index(address, 3), made)
    }

    /// Loads it on this CPU under a PCID (0 without them), whose translations the CPU drops unless it `keeps` them.
    #[inline]
    pub fn load(&self, pcid: u64, keeps: bool) {
        // SAFETY: a root has the kernel's half; `tlb` keeps count of who has loaded it, and the space is not dropped
        // before every CPU has left. It also knows which translations are still true.
        unsafe { pte::load_root(self.0.phys() | pcid | u64::from(keeps) << 63) };
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        self.0.free();
    }
}
