//! Run-time kernel mappings in the vmap region: MMIO, kernel stacks, large blocks of the heap.
//!
//! Addresses are handed out in blocks of `2^n` pages with an unmapped page after each. A freed block waits until every
//! CPU has dropped its translations; that happens for many at a time.
//!
//! # Invariants
//! An address block is in exactly one of: never used (above `next`), in use, `stale`, `free`.
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::{Errno, Result};
use frames::Kind;
use ksync::IrqSpinLock;

use super::addr::{PAGE_SIZE, PhysAddr, VMAP_BASE, VMAP_SIZE};
use super::frame;
use super::page_table::{kernel_slot, tlb};
use crate::arch::irq;
use crate::arch::pte::{self, Pte};

/// How the CPU caches a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CachePolicy {
    WriteBack,
    /// Registers.
    Uncached,
    /// Framebuffers.
    WriteCombining,
}

impl CachePolicy {
    pub(super) fn bits(self) -> u64 {
        match self {
            CachePolicy::WriteBack => 0,
            CachePolicy::Uncached => Pte::NO_CACHE | Pte::WRITE_THROUGH,
            CachePolicy::WriteCombining => Pte::WRITE_THROUGH,
        }
    }
}

const DATA: u64 =
    Pte::PRESENT | Pte::WRITE | Pte::ACCESSED | Pte::DIRTY | Pte::GLOBAL | Pte::NO_EXEC;
/// Block sizes: `2^0` to `2^26` pages.
const ORDERS: usize = 27;
/// Freed blocks that wait at most before translations are dropped.
const STALE_MAX: usize = 64;
/// Blocks in a list at most: a list of this length still comes from a slab, so that growing it does not come back here.
const LIST_MAX: usize = 100;

struct Addresses {
    next: usize,
    free: [Vec<usize>; ORDERS],
    stale: Vec<(usize, u8)>,
}

static ADDRESSES: IrqSpinLock<Addresses> = IrqSpinLock::new(Addresses {
    next: VMAP_BASE,
    free: [const { Vec::new() }; ORDERS],
    stale: Vec::new(),
});
static USED_PAGES: AtomicU64 = AtomicU64::new(0);

/// Pages of heap blocks and stacks mapped here.
pub fn used_pages() -> u64 {
    USED_PAGES.load(Ordering::Relaxed)
}

fn order_of(pages: usize) -> Option<usize> {
    let order = pages
        .checked_add(1)?
        .checked_next_power_of_two()?
        .trailing_zeros() as usize;
    (order < ORDERS).then_some(order)
}

/// Addresses for `pages` pages and an unmapped one after them.
pub fn reserve(pages: usize) -> Result<usize> {
    let order = order_of(pages).ok_or(Errno::ENOMEM)?;
    if irq::enabled() && ADDRESSES.lock().stale.len() >= STALE_MAX {
        recycle();
    }
    let mut addresses = ADDRESSES.lock();
    if let Some(block) = addresses.free[order].pop() {
        return Ok(block);
    }
    let size = PAGE_SIZE << order;
    if VMAP_BASE + VMAP_SIZE - addresses.next < size {
        return Err(Errno::ENOMEM);
    }
    let block = addresses.next;
    addresses.next += size;
    Ok(block)
}

/// Makes freed blocks usable again.
fn recycle() {
    let stale = core::mem::take(&mut ADDRESSES.lock().stale);
    tlb::flush_kernel();
    for (block, order) in stale {
        let mut addresses = ADDRESSES.lock();
        let list = &mut addresses.free[usize::from(order)];
        // Without memory for the list the addresses are lost, of which there are plenty.
        if list.len() < LIST_MAX && list.try_reserve(1).is_ok() {
            list.push(block);
        }
    }
}

/// Gives addresses back whose entries have been cleared.
fn release(block: usize, pages: usize) {
    let Some(order) = order_of(pages) else { return };
    let mut addresses = ADDRESSES.lock();
    if addresses.stale.len() < LIST_MAX && addresses.stale.try_reserve(1).is_ok() {
        addresses.stale.push((block, order as u8));
    }
}

/// Maps one page. The entry was empty, so no translation need be dropped.
pub(super) fn map_page(virt: usize, phys: u64, bits: u64) -> Result<()> {
    let (table, index) = kernel_slot(virt)?;
    table.set(index, Pte::new(phys, bits));
    Ok(())
}

/// Maps fresh frames at reserved addresses. On failure nothing stays mapped.
pub(super) fn populate(virt: usize, pages: usize) -> Result<()> {
    for page in 0..pages {
        let at = virt + page * PAGE_SIZE;
        let mapped = frame::alloc_raw(Kind::Kernel)
            .ok_or(Errno::ENOMEM)
            .and_then(|pfn| {
                map_page(at, u64::from(pfn) << 12, DATA).inspect_err(|_| frame::put_raw(pfn))
            });
        if let Err(e) = mapped {
            unpopulate(virt, page);
            return Err(e);
        }
    }
    USED_PAGES.fetch_add(pages as u64, Ordering::Relaxed);
    Ok(())
}

/// Zeroes what [`populate`] mapped and nobody uses yet.
pub(super) fn clear(virt: usize, pages: usize) {
    // SAFETY: mapped, writable, and the caller's own.
    unsafe { core::ptr::write_bytes(virt as *mut u8, 0, pages * PAGE_SIZE) };
}

/// Unmaps and frees what [`populate`] mapped. Other CPUs may still translate the addresses, but nobody uses them.
fn unpopulate(virt: usize, pages: usize) {
    for page in 0..pages {
        let at = virt + page * PAGE_SIZE;
        let Ok((table, index)) = kernel_slot(at) else {
            continue;
        };
        let old = table.get(index);
        table.set(index, Pte::EMPTY);
        pte::flush_page(at);
        if old.is_present() {
            frame::put_raw(old.pfn());
        }
    }
}

/// Contiguous addresses over single frames, for heap blocks that find no contiguous memory.
pub(super) fn alloc_pages(pages: usize) -> Option<usize> {
    let virt = reserve(pages).ok()?;
    match populate(virt, pages) {
        Ok(()) => Some(virt),
        Err(_) => {
            release(virt, pages);
            None
        }
    }
}

/// The way back of [`alloc_pages`].
pub(super) fn free_pages(virt: usize, pages: usize) {
    unpopulate(virt, pages);
    USED_PAGES.fetch_sub(pages as u64, Ordering::Relaxed);
    release(virt, pages);
}

/// Maps `len` bytes of physical memory at `phys`, which need not be page-aligned: device registers, framebuffers,
/// firmware tables. Never unmapped.
pub fn map_mmio(phys: PhysAddr, len: usize, policy: CachePolicy) -> Result<*mut u8> {
    let offset = (phys.0 % PAGE_SIZE as u64) as usize;
    let bytes = len.checked_add(offset).ok_or(Errno::EINVAL)?;
    let end = phys.0.checked_add(bytes as u64).ok_or(Errno::EINVAL)?;
    if len == 0 || end > 1 << 52 {
        return Err(Errno::EINVAL);
    }
    let pages = bytes.div_ceil(PAGE_SIZE);
    let virt = reserve(pages)?;
    let first = phys.0 - offset as u64;
    for page in 0..pages {
        let at = page * PAGE_SIZE;
        map_page(virt + at, first + at as u64, DATA | policy.bits())?;
    }
    Ok((virt + offset) as *mut u8)
}
