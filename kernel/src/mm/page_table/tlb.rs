//! Which CPU has which space loaded, and the dropping of translations.
//!
//! A CPU that runs a kernel thread keeps the last space loaded (lazily) and stays in that space's set of CPUs, since it
//! may still walk its tables. It leaves when it loads another, or when the space is dropped.
//!
//! Order: a CPU joins the set before it loads the root; whoever changes an entry does so before it reads the set. So
//! either the changer sees the CPU, or the CPU sees the change.
//!
//! Where the processor has PCIDs, each CPU keeps the translations of the last few spaces it ran, and a CPU that has
//! left a space is told of no change. Instead every flush begins a new generation of the space, and each CPU remembers
//! the generation that its kept translations are true for: when it loads the space again and the generation has gone
//! on, it drops them. The order above makes that safe: a flush begins the generation before it reads the set, a CPU
//! joins the set before it reads the generation.
//!
//! References: Intel SDM volume 3, 4.10; Linux's `arch/x86/mm/tlb.c` does the same.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};

use alloc::sync::Arc;

use super::load_kernel_root;
use crate::arch::cpu::{self, CpuMask};
use crate::arch::features::{self, Feature};
use crate::arch::irq::IrqGuard;
use crate::arch::{ipi, pte};
use crate::mm::space::AddressSpace;
use crate::per_cpu;
use crate::sync::PerCpu;

/// Above this many pages everything is dropped instead of page by page.
const FULL_FLUSH_PAGES: usize = 32;

/// Spaces whose translations a CPU keeps; a few more than tasks usually take turns.
const KEPT: usize = 6;

/// Where translations of a space may be.
#[derive(Default)]
pub struct SpaceTlb {
    /// The CPUs that have it loaded.
    cpus: AtomicU64,
    /// Flushes so far; counted only where there are PCIDs.
    generation: AtomicU64,
}

/// The translations that a CPU keeps under one PCID.
struct Kept {
    /// The space's `id`, 0 for none.
    space: AtomicU64,
    /// The generation they are true for.
    generation: AtomicU64,
}

/// One CPU's spaces.
///
/// # Invariants
/// All are changed by their CPU alone; `loaded` is the space whose set this CPU is in. The entry of `kept` at `slot` is
/// of `loaded`, and its index plus one is the PCID in use; PCID 0 is for the kernel's own root.
struct Loaded {
    loaded: AtomicPtr<AddressSpace>,
    /// The space of the running task: what page faults are about. Null for kernel threads.
    current: AtomicPtr<AddressSpace>,
    slot: AtomicUsize,
    /// The slot that the next new space takes.
    victim: AtomicUsize,
    kept: [Kept; KEPT],
}

static LOADED: PerCpu<Loaded> = per_cpu!(Loaded {
    loaded: AtomicPtr::new(null_mut()),
    current: AtomicPtr::new(null_mut()),
    slot: AtomicUsize::new(0),
    victim: AtomicUsize::new(0),
    kept: [const {
        Kept {
            space: AtomicU64::new(0),
            generation: AtomicU64::new(0),
        }
    }; KEPT],
});

impl Loaded {
    /// Loads the root of a space, whose set this CPU has joined. Interrupts are off.
    #[inline]
    fn load(&self, space: &AddressSpace) {
        if !features::has(Feature::PCID) {
            return space.root().load(0, false);
        }
        let (slot, keeps) = self.find_slot(space);
        self.slot.store(slot, Ordering::Relaxed);
        space.root().load(slot as u64 + 1, keeps);
    }

    /// The slot for a space, and whether what it keeps is still true.
    fn find_slot(&self, space: &AddressSpace) -> (usize, bool) {
        let now = space.tlb().generation.load(Ordering::SeqCst);
        let id = space.id();
        let same = |kept: &Kept| kept.space.load(Ordering::Relaxed) == id;
        let found = self.kept.iter().position(same);
        let slot = found.unwrap_or_else(|| {
            let victim = self.victim.load(Ordering::Relaxed);
            self.victim.store((victim + 1) % KEPT, Ordering::Relaxed);
            victim
        });
        let kept = &self.kept[slot];
        let keeps = found.is_some() && kept.generation.load(Ordering::Relaxed) == now;
        kept.space.store(id, Ordering::Relaxed);
        kept.generation.store(now, Ordering::Relaxed);
        (slot, keeps)
    }
}

/// The scheduler switches to a task with this space, or to a kernel thread. Exec and exit call it as well. The task
/// holds the space for as long as it is current.
#[inline]
pub fn switch_to(space: Option<&Arc<AddressSpace>>) {
    let here = LOADED.here();
    let Some(space) = space else {
        here.current.store(null_mut(), Ordering::Relaxed);
        return;
    };
    let next = Arc::as_ptr(space).cast_mut();
    here.current.store(next, Ordering::Relaxed);
    let prev = here.loaded.load(Ordering::Relaxed);
    if prev == next {
        return;
    }
    let bit = 1 << cpu::current_id().0;
    space.tlb().cpus.fetch_or(bit, Ordering::SeqCst);
    here.load(space);
    here.loaded.store(next, Ordering::Relaxed);
    if !prev.is_null() {
        // SAFETY: this CPU is in the set of `prev`, and a space is not dropped before its set is empty.
        unsafe { &*prev }
            .tlb()
            .cpus
            .fetch_and(!bit, Ordering::Release);
    }
}

/// Runs `f` on the space of the running task.
#[inline]
pub fn with_current<R>(f: impl FnOnce(&AddressSpace) -> R) -> Option<R> {
    let space = LOADED.here().current.load(Ordering::Relaxed);
    // SAFETY: null, or the running task's space, which the task holds; `f` runs as part of that task.
    unsafe { space.as_ref() }.map(f)
}

/// A range to drop, as the other CPUs get it.
struct Range {
    space: *const AddressSpace,
    start: usize,
    end: usize,
    /// The generation that this flush began; 0 without PCIDs.
    generation: u64,
}

impl Range {
    /// Drops the range on this CPU, which has the space loaded. Interrupts are off where there are PCIDs.
    fn flush_here(&self, here: &Loaded) {
        let in_turn = self.generation == 0 || self.advance(here);
        if !in_turn || self.end - self.start > FULL_FLUSH_PAGES << 12 {
            pte::flush_user();
            return;
        }
        (self.start..self.end)
            .step_by(4096)
            .for_each(pte::flush_page);
    }

    /// Notes what this CPU's translations will be true for. False when an earlier flush has not reached it yet: then
    /// this one has to drop everything.
    fn advance(&self, here: &Loaded) -> bool {
        let Some(kept) = here.kept.get(here.slot.load(Ordering::Relaxed)) else {
            return false;
        };
        let before = kept.generation.load(Ordering::Relaxed);
        if before >= self.generation {
            // A whole flush made for a later one has done it all.
            return true;
        }
        kept.generation.store(self.generation, Ordering::Relaxed);
        before + 1 == self.generation
    }
}

/// The other CPUs' part of a flush.
fn flush_remote(range: usize) {
    // SAFETY: the sender waits until every CPU has run this, so its stack still holds the range.
    let range = unsafe { &*(range as *const Range) };
    let here = LOADED.here();
    if core::ptr::eq(here.loaded.load(Ordering::Relaxed), range.space) {
        range.flush_here(here);
    }
}

/// Drops the translations of `[start, end)` of a space on every CPU that has it. Entries were changed before. Interrupts
/// are on if other CPUs run the space.
pub fn flush(space: &AddressSpace, start: usize, end: usize) {
    let mut range = Range {
        space,
        start,
        end,
        generation: 0,
    };
    if features::has(Feature::PCID) {
        range.generation = space.tlb().generation.fetch_add(1, Ordering::SeqCst) + 1;
    }
    fence(Ordering::SeqCst);
    let cpus = space.tlb().cpus.load(Ordering::Relaxed);
    let bit = 1 << cpu::current_id().0;
    if cpus & bit != 0 {
        let irq = IrqGuard::new();
        flush_remote(&raw const range as usize);
        drop(irq);
    }
    if cpus & !bit != 0 {
        let range = &raw const range as usize;
        ipi::call(&CpuMask(cpus & !bit), flush_remote, range);
    }
}

/// Drops what every CPU cached of a space's upper tables: any single page's flush does that.
pub fn flush_directories(space: &AddressSpace) {
    flush(space, 0, 4096);
}

/// Drops all translations of a space.
pub fn flush_space(space: &AddressSpace) {
    flush(space, 0, usize::MAX & !4095);
}

/// Whether no other CPU can have translations of the space.
#[inline]
pub fn only_here(space: &AddressSpace) -> bool {
    fence(Ordering::SeqCst);
    space.tlb().cpus.load(Ordering::Relaxed) & !(1 << cpu::current_id().0) == 0
}

fn leave_here(space: usize) {
    let here = LOADED.here();
    if here.loaded.load(Ordering::Relaxed) as usize == space {
        load_kernel_root();
        here.loaded.store(null_mut(), Ordering::Relaxed);
        if here.current.load(Ordering::Relaxed) as usize == space {
            here.current.store(null_mut(), Ordering::Relaxed);
        }
        // SAFETY: the space is being dropped by whoever waits for this.
        let space = unsafe { &*(space as *const AddressSpace) };
        space
            .tlb()
            .cpus
            .fetch_and(!(1 << cpu::current_id().0), Ordering::Release);
    }
}

/// Makes every CPU leave a space that is being dropped.
pub fn evict(space: &AddressSpace) {
    let address = core::ptr::from_ref(space) as usize;
    leave_here(address);
    let cpus = space.tlb().cpus.load(Ordering::Acquire);
    if cpus != 0 {
        ipi::call(&CpuMask(cpus), leave_here, address);
    }
}

/// Drops every translation of kernel addresses on every CPU. Interrupts are on.
pub fn flush_kernel() {
    pte::flush_all();
    if cpu::online() > 1 {
        ipi::call(
            &CpuMask::online().without(cpu::current_id()),
            |_| pte::flush_all(),
            0,
        );
    }
}
