//! The sampling profiler, off unless the command line says `profile=HZ`: so many times a second each CPU notes what it
//! does, from the timer's interrupt. `/proc/ironbark/profile` shows what came of it.
//!
//! What runs with interrupts off is charged to where they come on again. A name that is being changed is noted as `?`.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};

use samples::{MAX_DEPTH, Place, StackTable};

use super::{clock, timer};
use crate::arch::cpu::CpuId;
use crate::arch::{UserRegs, backtrace, layout};
use crate::sched;
use crate::sync::{IrqGuard, IrqSpinLock, Mutex, PerCpu, try_current};

/// Different stacks that a CPU can count, and frames of each on average: about a megabyte.
const STACKS: usize = 8192;
const FRAMES: usize = 16;
/// The most samples a second.
const MAX_HZ: u64 = 100_000;

struct Profile {
    /// When this CPU takes its next sample. Only its CPU touches it, with interrupts off.
    next_ns: AtomicU64,
    /// Boxed: few kernels profile.
    table: IrqSpinLock<Option<Box<StackTable>>>,
}

static PROFILES: PerCpu<Profile> = crate::per_cpu!(Profile {
    next_ns: AtomicU64::new(u64::MAX),
    table: IrqSpinLock::new(None),
});

/// Written at boot, before the first sample.
static PERIOD_NS: AtomicU64 = AtomicU64::new(0);
/// Held by who shows or clears tables.
static READER: Mutex<()> = Mutex::new(());

/// The time between two samples; 0 when the profiler is off.
pub fn period_ns() -> u64 {
    PERIOD_NS.load(Ordering::Relaxed)
}

/// This CPU starts to sample, if it shall.
pub(super) fn init_cpu() {
    let hz = crate::boot::info().cmdline.number("profile").unwrap_or(0);
    let Some(period) = 1_000_000_000_u64.checked_div(hz.min(MAX_HZ)) else {
        return;
    };
    PERIOD_NS.store(period, Ordering::Relaxed);
    let Ok(table) = StackTable::new(STACKS, FRAMES) else {
        ::log::warn!("no memory for the profiler");
        return;
    };
    let profile = PROFILES.here();
    *profile.table.lock() = Some(Box::new(table));
    let _irq = IrqGuard::new();
    let next = clock::monotonic_ns() + period;
    profile.next_ns.store(next, Ordering::Relaxed);
    timer::program(next);
}

/// Called by the timer interrupt: samples if it is time. Answers when it is next, `u64::MAX` when the profiler is off.
#[inline]
pub(super) fn interrupt(now: u64, regs: &UserRegs) -> u64 {
    let due = PROFILES.here().next_ns.load(Ordering::Relaxed);
    if now < due { due } else { sample(now, regs) }
}

#[cold]
fn sample(now: u64, regs: &UserRegs) -> u64 {
    let profile = PROFILES.here();
    if let Some(mut table) = profile.table.try_lock()
        && let Some(table) = table.as_mut()
    {
        note(table, regs);
    }
    let next = now + period_ns();
    profile.next_ns.store(next, Ordering::Relaxed);
    next
}

fn note(table: &mut StackTable, regs: &UserRegs) {
    let unknown = *b"?\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let comm = try_current()
        .and_then(|task| task.try_comm())
        .unwrap_or(unknown);
    if regs.user_mode() {
        return table.add(Place::User, comm, &[]);
    }
    if sched::idles_here() {
        return table.add(Place::Idle, comm, &[]);
    }
    let mut frames = [0; MAX_DEPTH];
    let mut depth = 0;
    let mut push = |address: u64| {
        if let Some(slot) = frames.get_mut(depth) {
            *slot = address.wrapping_sub(layout::image_start()) as u32;
            depth += 1;
        }
    };
    push(regs.rip);
    backtrace::walk_from(regs.rbp, MAX_DEPTH, push);
    table.add(Place::Kernel, comm, frames.get(..depth).unwrap_or_default());
}

/// Shows a CPU's table; `None` when it has none. The table is taken away meanwhile, since showing it takes memory and
/// time: samples of this CPU are left out until it is back.
pub fn with<R>(cpu: CpuId, show: impl FnOnce(&StackTable) -> R) -> Option<R> {
    let _reader = READER.lock();
    let slot = &PROFILES.of(cpu).table;
    let table = slot.lock().take()?;
    let shown = show(&table);
    *slot.lock() = Some(table);
    Some(shown)
}

/// Forgets what was counted.
pub fn clear() {
    let _reader = READER.lock();
    for profile in PROFILES.iter() {
        if let Some(table) = profile.table.lock().as_mut() {
            table.clear();
        }
    }
}
