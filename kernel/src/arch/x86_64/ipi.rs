//! Making other CPUs do something: look at their run queue, or run a function.

use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use super::cpu::{self, CpuId, CpuMask};
use super::{apic, irq};
use crate::sync::PerCpu;

/// Makes a CPU look at its work bits again.
#[inline]
pub fn reschedule(target: CpuId) {
    apic::send_vector(target, irq::RESCHEDULE);
}

/// A CPU's call under way: each has one at a time, and those of several CPUs go on side by side.
struct Call {
    function: AtomicPtr<()>,
    argument: AtomicUsize,
    /// CPUs that have not run it yet; each clears its bit by Release.
    pending: AtomicU64,
}

/// By caller.
static CALLS: PerCpu<Call> = crate::per_cpu!(Call {
    function: AtomicPtr::new(core::ptr::null_mut()),
    argument: AtomicUsize::new(0),
    pending: AtomicU64::new(0),
});
/// By who is called: the callers whose calls it has not begun. Release by a caller once its call stands.
static ASKED: PerCpu<AtomicU64> = crate::per_cpu!(AtomicU64::new(0));

/// Runs `function(argument)` on every CPU in `mask` and waits until all have; on this CPU directly. The function runs with
/// interrupts off and may not block. While waiting, this CPU serves the calls of others, so that two callers with
/// interrupts off do not wait for each other.
pub fn call(mask: &CpuMask, function: fn(usize), argument: usize) {
    let _irq = irq::IrqGuard::new();
    let here = cpu::current_id();
    let others = CpuMask(mask.0 & CpuMask::online().0).without(here);
    let call = CALLS.of(here);
    if !others.is_empty() {
        call.function.store(function as *mut (), Ordering::Relaxed);
        call.argument.store(argument, Ordering::Relaxed);
        call.pending.store(others.0, Ordering::Relaxed);
        for target in others.iter() {
            ASKED.of(target).fetch_or(here.bit(), Ordering::Release);
            apic::send_vector(target, irq::CALL);
        }
    }
    // The own share while the others are at theirs.
    if mask.contains(here) {
        function(argument);
    }
    if others.is_empty() {
        return;
    }
    while call.pending.load(Ordering::Acquire) != 0 {
        if crate::panic::is_panicking() {
            return;
        }
        run_calls();
        cpu::relax();
    }
}

/// Runs what this CPU was asked to run.
pub(super) fn run_calls() {
    let here = cpu::current_id();
    let asked = ASKED.of(here);
    // A look first: a caller that waits comes here again and again.
    if asked.load(Ordering::Relaxed) == 0 {
        return;
    }
    let callers = CpuMask(asked.swap(0, Ordering::Acquire));
    for caller in callers.iter() {
        let call = CALLS.of(caller);
        let function = call.function.load(Ordering::Relaxed);
        // SAFETY: `call` stored a function of this type before it asked us, and stores no other while our bit is set.
        let function: fn(usize) = unsafe { core::mem::transmute::<*mut (), fn(usize)>(function) };
        function(call.argument.load(Ordering::Relaxed));
        call.pending.fetch_and(!here.bit(), Ordering::Release);
    }
}

/// Stops all other CPUs, whatever they do.
pub(crate) fn stop_others() {
    let here = cpu::current_id();
    cpu::all()
        .filter(|&other| other != here)
        .for_each(apic::send_nmi);
}
