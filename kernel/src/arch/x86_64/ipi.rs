//! Making other CPUs do something: look at their run queue, or run a function.

use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use ksync::SpinLock;

use super::cpu::{self, CpuId, CpuMask};
use super::{apic, irq};

/// Makes a CPU look at its work bits again.
#[inline]
pub fn reschedule(target: CpuId) {
    apic::send_vector(target, irq::RESCHEDULE);
}

/// A call under way. There is one at a time: the callers queue for the lock.
struct Call {
    function: AtomicPtr<()>,
    argument: AtomicUsize,
    /// CPUs that have not run it yet. Release by the caller after the two above; each CPU clears its bit by Release.
    pending: AtomicU64,
}

static CALL: Call = Call {
    function: AtomicPtr::new(core::ptr::null_mut()),
    argument: AtomicUsize::new(0),
    pending: AtomicU64::new(0),
};
static CALLERS: SpinLock<()> = SpinLock::new(());

/// Runs `function(argument)` on every CPU in `mask` and waits until all have; on this CPU directly. The function runs with
/// interrupts off and may not block. While waiting, this CPU serves the calls of others, so that two callers with
/// interrupts off do not wait for each other.
pub fn call(mask: &CpuMask, function: fn(usize), argument: usize) {
    let _irq = irq::IrqGuard::new();
    let here = cpu::current_id();
    let others = CpuMask(mask.0 & CpuMask::online().0).without(here);
    if !others.is_empty() {
        let callers = loop {
            match CALLERS.try_lock() {
                Some(guard) => break guard,
                None => {
                    run_calls();
                    cpu::relax();
                }
            }
        };
        CALL.function.store(function as *mut (), Ordering::Relaxed);
        CALL.argument.store(argument, Ordering::Relaxed);
        CALL.pending.store(others.0, Ordering::Release);
        others
            .iter()
            .for_each(|target| apic::send_vector(target, irq::CALL));
        // The own share while the others are at theirs.
        if mask.contains(here) {
            function(argument);
        }
        while CALL.pending.load(Ordering::Acquire) != 0 {
            if crate::panic::is_panicking() {
                return;
            }
            cpu::relax();
        }
        drop(callers);
    } else if mask.contains(here) {
        function(argument);
    }
}

/// Runs what this CPU was asked to run.
pub(super) fn run_calls() {
    let bit = CpuMask::of(cpu::current_id()).0;
    if CALL.pending.load(Ordering::Acquire) & bit == 0 {
        return;
    }
    let function = CALL.function.load(Ordering::Relaxed);
    // SAFETY: `call` stored a function of this type before it set our bit, and stores no other while a bit is set.
    let function: fn(usize) = unsafe { core::mem::transmute::<*mut (), fn(usize)>(function) };
    function(CALL.argument.load(Ordering::Relaxed));
    CALL.pending.fetch_and(!bit, Ordering::Release);
}

/// Stops all other CPUs, whatever they do.
pub(crate) fn stop_others() {
    let here = cpu::current_id();
    cpu::all()
        .filter(|&other| other != here)
        .for_each(apic::send_nmi);
}
