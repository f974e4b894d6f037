//! The kernel's half of the tables. Every root shares its top-level entries, which all exist from boot, so that what is
//! mapped later is seen everywhere at once.

use core::sync::atomic::{AtomicU64, Ordering};

use abi::{Errno, Result};
use frames::Kind;

use super::{ENTRIES, Table};
use crate::arch::pte::{self, Pte};
use crate::mm::frame;

static KERNEL_ROOT: AtomicU64 = AtomicU64::new(0);
/// Bit `i` of word `i / 64`: whether the kernel's half uses entry `256 + i` of the top-level table.
static KERNEL_SLOTS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// The table of the kernel alone.
pub fn kernel_root() -> Table {
    Table((KERNEL_ROOT.load(Ordering::Relaxed) >> 12) as u32)
}

/// Leaves whatever user space this CPU had loaded.
pub fn load_kernel_root() {
    // SAFETY: the kernel's own table is never freed.
    unsafe { pte::load_root(kernel_root().phys()) };
}

/// The entries that every root shares.
pub(super) fn slots() -> impl Iterator<Item = usize> {
    (0..4).flat_map(|word| {
        let mut bits = KERNEL_SLOTS[word].load(Ordering::Relaxed);
        core::iter::from_fn(move || {
            if bits == 0 {
                return None;
            }
            let bit = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            Some(256 + word * 64 + bit)
        })
    })
}

/// Builds the kernel's tables from frames that `alloc` hands out (zeroed, reachable through the direct map).
pub struct KernelTables<'a> {
    root: Table,
    alloc: &'a mut dyn FnMut() -> u32,
}

impl<'a> KernelTables<'a> {
    /// Starts with an empty root.
    pub fn new(alloc: &'a mut dyn FnMut() -> u32) -> Self {
        KernelTables {
            root: Table(alloc()),
            alloc,
        }
    }

    fn next(&mut self, table: Table, index: usize) -> Table {
        let entry = table.get(index);
        if entry.is_present() {
            return Table::of(entry);
        }
        let new = Table((self.alloc)());
        table.set(index, Pte::new(new.phys(), Pte::PRESENT | Pte::WRITE));
        new
    }

    /// Makes sure that the top-level entry for `virt` exists, so that all roots will share what comes below it.
    pub fn reserve(&mut self, virt: usize) {
        self.next(self.root, pte::index(virt, 4));
    }

    /// Maps `[virt, virt + len)` to `phys` with 4 KiB pages, or 2 MiB ones where `large` and alignment allow.
    pub fn map(&mut self, virt: usize, phys: u64, len: usize, bits: u64, large: bool) {
        const LARGE: usize = 2 << 20;
        let mut at = 0;
        while at < len {
            let (v, p) = (virt + at, phys + at as u64);
            let upper = self.next(self.root, pte::index(v, 4));
            let directory = self.next(upper, pte::index(v, 3));
            if large && v % LARGE == 0 && p % LARGE as u64 == 0 && len - at >= LARGE {
                directory.set(pte::index(v, 2), Pte::new(p, bits | Pte::LARGE));
                at += LARGE;
            } else {
                let last = self.next(directory, pte::index(v, 2));
                last.set(pte::index(v, 1), Pte::new(p, bits));
                at += 4096;
            }
        }
    }

    /// Changes the rights of what is mapped at `[virt, virt + len)`, splitting large pages.
    pub fn remap_small(&mut self, virt: usize, len: usize, bits: u64) {
        for v in (virt..virt + len).step_by(4096) {
            let upper = self.next(self.root, pte::index(v, 4));
            let directory = self.next(upper, pte::index(v, 3));
            let entry = directory.get(pte::index(v, 2));
            if entry.is_large() {
                let last = Table((self.alloc)());
                for i in 0..ENTRIES {
                    let rights = entry.0 & (0xfff | Pte::NO_EXEC) & !Pte::LARGE;
                    last.set(i, Pte::new(entry.phys() + (i as u64) * 4096, rights));
                }
                directory.set(
                    pte::index(v, 2),
                    Pte::new(last.phys(), Pte::PRESENT | Pte::WRITE),
                );
            }
            let last = self.next(directory, pte::index(v, 2));
            let old = last.get(pte::index(v, 1));
            last.set(pte::index(v, 1), Pte::new(old.phys(), bits));
        }
    }

    /// Loads the tables and makes them the kernel's.
    ///
    /// # Safety
    /// Everything that the kernel uses is mapped as it was.
    pub unsafe fn install(self) {
        for slot in 256..ENTRIES {
            if self.root.get(slot).is_present() {
                let at = slot - 256;
                KERNEL_SLOTS[at / 64].fetch_or(1 << (at % 64), Ordering::Relaxed);
            }
        }
        KERNEL_ROOT.store(self.root.phys(), Ordering::Relaxed);
        // SAFETY: the caller's promise; the frames are never freed.
        unsafe { pte::load_root(self.root.phys()) };
    }
}

/// The slot of the last-level entry for a kernel address in the vmap region, with its tables made. ENOMEM.
pub fn kernel_slot(virt: usize) -> Result<(Table, usize)> {
    let find = || {
        kernel_root()
            .descend_kernel(pte::index(virt, 4))?
            .descend_kernel(pte::index(virt, 3))?
            .descend_kernel(pte::index(virt, 2))
    };
    let table = find().ok_or(Errno::ENOMEM)?;
    Ok((table, pte::index(virt, 1)))
}

impl Table {
    /// As [`Table::descend`], for the kernel's half: entries without the user bit.
    fn descend_kernel(self, index: usize) -> Option<Table> {
        let entry = self.get(index);
        if entry.is_present() {
            return Some(Table::of(entry));
        }
        let new = Table(frame::alloc_raw_kernel_zeroed(Kind::Table)?);
        let value = Pte::new(new.phys(), Pte::PRESENT | Pte::WRITE);
        match self
            .slot(index)
            .compare_exchange(0, value.0, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => Some(new),
            Err(other) => {
                new.free();
                Some(Table::of(Pte(other)))
            }
        }
    }
}
