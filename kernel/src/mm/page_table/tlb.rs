//! Which CPU has which space loaded, and the dropping of translations.
//!
//! A CPU that runs a kernel thread or idles keeps the last space loaded, lazily, and stays in that space's set of CPUs,
//! since it may still walk its tables. It leaves when it loads another, when a table is to be freed, or when the space
//! is dropped.
//!
//! Every flush begins a new generation of the space, and each CPU remembers the generation that its translations are
//! true for. So whoever cannot use a translation need not be told of a change:
//!
//! | CPU | told of a flush | drops what is not true any more |
//! |---|---|---|
//! | runs the space | always | when told |
//! | has it loaded lazily | of freed tables alone, and then leaves | when it runs the space again |
//! | has left it | never | when it loads the space again |
//!
//! One that has left keeps translations only where the processor has PCIDs: those of the last few spaces it ran.
//!
//! # Order
//! Whoever changes an entry does so before it begins the generation, and reads the set and who is lazy after it. A CPU
//! joins the set, or stops being lazy, before it reads the generation. All four are sequentially consistent, so either
//! the changer sees the CPU, or the CPU sees the change.
//!
//! References: Intel SDM volume 3, 4.10; Linux's `arch/x86/mm/tlb.c` does the same.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use alloc::sync::Arc;

use super::load_kernel_root;
use crate::arch::cpu::{self, CpuId, CpuMask};
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
    /// Flushes so far.
    generation: AtomicU64,
}

/// The translations that a CPU keeps under one PCID; without PCIDs, those of the space it has loaded.
struct Kept {
    /// The space's `id`, 0 for none; without PCIDs always.
    space: AtomicU64,
    /// The generation they are true for.
    generation: AtomicU64,
}

/// One CPU's spaces.
///
/// # Invariants
/// All are changed by their CPU alone, and `current` is read by others; `loaded` is the space whose set this CPU is in.
/// The entry of `kept` at `slot` is of `loaded`, and its index plus one is the PCID in use; PCID 0 is for the kernel's own
/// root. Without PCIDs `slot` is 0.
struct Loaded {
    loaded: AtomicPtr<AddressSpace>,
    /// The space of the running task: what page faults are about. Null for kernel threads: what is loaded then is
    /// loaded lazily.
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
    /// Loads the root of a space, whose set this CPU has joined. Interrupts are off, or nobody else has the space yet.
    #[inline]
    fn load(&self, space: &AddressSpace) {
        let now = space.tlb().generation.load(Ordering::SeqCst);
        if !features::has(Feature::PCID) {
            space.root().load(0, false);
            self.kept[0].generation.store(now, Ordering::Relaxed);
            return;
        }
        let (slot, keeps) = self.find_slot(space.id(), now);
        self.slot.store(slot, Ordering::Relaxed);
        space.root().load(slot as u64 + 1, keeps);
    }

    /// The slot for a space with this `id`, and whether what it keeps is true for the generation `now`.
    fn find_slot(&self, id: u64, now: u64) -> (usize, bool) {
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

    /// Runs a space that was loaded lazily, and was not told of flushes meanwhile.
    fn come_back(&self, space: &AddressSpace) {
        let pointer = core::ptr::from_ref(space).cast_mut();
        self.current.swap(pointer, Ordering::SeqCst);
        let now = space.tlb().generation.load(Ordering::SeqCst);
        if let Some(kept) = self.kept.get(self.slot.load(Ordering::Relaxed))
            && kept.generation.load(Ordering::Relaxed) != now
        {
            pte::flush_user();
            kept.generation.store(now, Ordering::Relaxed);
        }
    }

    /// Loads the kernel's own root instead of a space, which this CPU does not run. Interrupts are off.
    fn leave(&self, space: &AddressSpace) {
        load_kernel_root();
        self.loaded.store(null_mut(), Ordering::Relaxed);
        let here = cpu::current_id().bit();
        space.tlb().cpus.fetch_and(!here, Ordering::Release);
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
    let prev = here.loaded.load(Ordering::Relaxed);
    if prev == next && here.current.load(Ordering::Relaxed).is_null() {
        return here.come_back(space);
    }
    here.current.store(next, Ordering::Relaxed);
    if prev == next {
        return;
    }
    let bit = cpu::current_id().bit();
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
    /// The generation that this flush began.
    generation: u64,
}

impl Range {
    /// Drops the range on this CPU, which has the space loaded. Interrupts are off.
    fn flush_here(&self, here: &Loaded) {
        let Some(kept) = here.kept.get(here.slot.load(Ordering::Relaxed)) else {
            return pte::flush_user();
        };
        let before = kept.generation.load(Ordering::Relaxed);
        if before >= self.generation {
            // All was dropped for a later one, which began when the entries of this one had changed.
            return;
        }
        kept.generation.store(self.generation, Ordering::Relaxed);
        // Where an earlier flush has not come yet, this one has to do its part too.
        let in_turn = before + 1 == self.generation;
        if !in_turn || self.end - self.start > FULL_FLUSH_PAGES << 12 {
            return pte::flush_user();
        }
        (self.start..self.end)
            .step_by(4096)
            .for_each(pte::flush_page);
    }
}

/// The other CPUs' part of a flush.
fn flush_remote(range: usize) {
    // SAFETY: the sender waits until every CPU has run this, so its stack still holds the range.
    let range = unsafe { &*(range as *const Range) };
    let here = LOADED.here();
    if !core::ptr::eq(here.loaded.load(Ordering::Relaxed), range.space) {
        return;
    }
    if here.current.load(Ordering::Relaxed).is_null() {
        // SAFETY: the sender holds the space.
        return here.leave(unsafe { &*range.space });
    }
    range.flush_here(here);
}

/// Drops the translations of `[start, end)` of a space on every CPU that runs it. Entries of tables that stay were
/// changed before; the pages may go after it. Interrupts are on if other CPUs run the space.
pub fn flush(space: &AddressSpace, start: usize, end: usize) {
    flush_on(space, start, end, |cpu| !is_lazy(cpu));
}

/// The same after tables were taken out, which may go after it: no CPU walks them any more.
pub fn flush_tables(space: &AddressSpace, start: usize, end: usize) {
    flush_on(space, start, end, |_| true);
}

/// Drops all translations of a space, none of whose tables was taken out.
pub fn flush_space(space: &AddressSpace) {
    flush(space, 0, usize::MAX & !4095);
}

#[inline]
fn flush_on(space: &AddressSpace, start: usize, end: usize, concerns: impl Fn(CpuId) -> bool) {
    let tlb = space.tlb();
    let range = Range {
        space,
        start,
        end,
        generation: tlb.generation.fetch_add(1, Ordering::SeqCst) + 1,
    };
    let cpus = tlb.cpus.load(Ordering::SeqCst);
    let bit = cpu::current_id().bit();
    if cpus & bit != 0 {
        let irq = IrqGuard::new();
        flush_remote(&raw const range as usize);
        drop(irq);
    }
    if cpus & !bit != 0 {
        let others = CpuMask(cpus & !bit).iter().filter(|&cpu| concerns(cpu));
        let others = CpuMask(others.fold(0, |mask, cpu| mask | cpu.bit()));
        ipi::call(&others, flush_remote, &raw const range as usize);
    }
}

/// Whether a CPU runs no space: then it looks at the generation before it runs the one it has loaded.
fn is_lazy(cpu: CpuId) -> bool {
    LOADED.of(cpu).current.load(Ordering::SeqCst).is_null()
}

fn leave_here(space: usize) {
    let here = LOADED.here();
    if here.loaded.load(Ordering::Relaxed) as usize == space {
        if here.current.load(Ordering::Relaxed) as usize == space {
            here.current.store(null_mut(), Ordering::Relaxed);
        }
        // SAFETY: the space is being dropped by whoever waits for this.
        here.leave(unsafe { &*(space as *const AddressSpace) });
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
