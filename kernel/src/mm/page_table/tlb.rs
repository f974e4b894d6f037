//! Which CPU has which space loaded, and the dropping of translations.
//!
//! A CPU that runs a kernel thread keeps the last space loaded (lazily) and stays in that space's set of CPUs, since it
//! may still walk its tables. It leaves when it loads another, or when the space is dropped.
//!
//! Order: a CPU joins the set before it loads the root; whoever changes an entry does so before it reads the set. So
//! either the changer sees the CPU, or the CPU sees the change.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering, fence};

use alloc::sync::Arc;

use super::load_kernel_root;
use crate::arch::cpu::{self, CpuMask};
use crate::arch::{ipi, pte};
use crate::mm::space::AddressSpace;
use crate::per_cpu;
use crate::sync::PerCpu;

/// Above this many pages everything is dropped instead of page by page.
const FULL_FLUSH_PAGES: usize = 32;

/// The CPUs that have a space loaded.
#[derive(Default)]
pub struct SpaceCpus(AtomicU64);

/// One CPU's spaces.
///
/// # Invariants
/// Both are changed by their CPU alone; `loaded` is the space whose set this CPU is in.
struct Loaded {
    loaded: AtomicPtr<AddressSpace>,
    /// The space of the running task: what page faults are about. Null for kernel threads.
    current: AtomicPtr<AddressSpace>,
}

static LOADED: PerCpu<Loaded> = per_cpu!(Loaded {
    loaded: AtomicPtr::new(null_mut()),
    current: AtomicPtr::new(null_mut()),
});

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
    space.cpus().0.fetch_or(bit, Ordering::SeqCst);
    space.root().load();
    here.loaded.store(next, Ordering::Relaxed);
    if !prev.is_null() {
        // SAFETY: this CPU is in the set of `prev`, and a space is not dropped before its set is empty.
        unsafe { &*prev }
            .cpus()
            .0
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
}

impl Range {
    fn flush_here(&self) {
        if self.end - self.start > FULL_FLUSH_PAGES << 12 {
            pte::flush_user();
            return;
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
    if core::ptr::eq(LOADED.here().loaded.load(Ordering::Relaxed), range.space) {
        range.flush_here();
    }
}

/// Drops the translations of `[start, end)` of a space on every CPU that has it. Entries were changed before. Interrupts
/// are on if other CPUs run the space.
pub fn flush(space: &AddressSpace, start: usize, end: usize) {
    fence(Ordering::SeqCst);
    let cpus = space.cpus().0.load(Ordering::Relaxed);
    let bit = 1 << cpu::current_id().0;
    let range = Range { space, start, end };
    if cpus & bit != 0 {
        range.flush_here();
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
    space.cpus().0.load(Ordering::Relaxed) & !(1 << cpu::current_id().0) == 0
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
            .cpus()
            .0
            .fetch_and(!(1 << cpu::current_id().0), Ordering::Release);
    }
}

/// Makes every CPU leave a space that is being dropped.
pub fn evict(space: &AddressSpace) {
    let address = core::ptr::from_ref(space) as usize;
    leave_here(address);
    let cpus = space.cpus().0.load(Ordering::Acquire);
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
