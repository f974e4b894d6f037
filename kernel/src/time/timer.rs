//! Deadlines: one queue per CPU, on the CPU's own one-shot timer.
//!
//! A deadline is armed on the CPU that asks and may be cancelled from any. Callbacks run in the timer interrupt, after the
//! queue's lock is released: they may wake, mark, and arm again, nothing else. A cancelled callback may still be
//! running on another CPU when `cancel` answers false.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use ::timer::{Handle, Queue, Storage};
use ksync::IrqSpinLock;

use super::{clock, profile, tick};
use crate::arch::cpu::{self, MAX_CPUS};
use crate::arch::{UserRegs, apic, irq};

/// What to do when a deadline passes.
pub trait TimerCallback: Send + Sync {
    /// Runs in interrupt context: may only wake and re-arm.
    fn expired(self: Arc<Self>, now_ns: u64);
}

/// An armed deadline, or one that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId {
    cpu: u32,
    handle: Handle,
}

type Callback = Arc<dyn TimerCallback>;

#[repr(align(64))]
struct CpuTimers {
    queue: IrqSpinLock<Queue<Callback>>,
    /// What the hardware is set to; `u64::MAX` for nothing. Only its CPU touches it, with interrupts off.
    programmed: AtomicU64,
}

static TIMERS: [CpuTimers; MAX_CPUS] = [const {
    CpuTimers {
        queue: IrqSpinLock::new(Queue::new()),
        programmed: AtomicU64::new(u64::MAX),
    }
}; MAX_CPUS];

/// Room that a CPU starts with.
const FIRST_ROOM: usize = 256;
/// The longest time the hardware is set to: a 32-bit counter at 1 GHz holds four seconds. It then fires early, finds
/// nothing due, and goes on.
const LONGEST_NS: u64 = 4_000_000_000;

/// This CPU's queue gets its memory.
pub(super) fn init_cpu() {
    make_room(&TIMERS[cpu::current_id().index()], FIRST_ROOM);
}

fn make_room(timers: &CpuTimers, entries: usize) {
    // Allocated before and freed after the lock.
    match Storage::new(entries) {
        Ok(bigger) => drop(timers.queue.lock().grow(bigger)),
        Err(_) => crate::sched::cond_resched(),
    }
}

/// Sets the hardware to fire at `deadline` unless it fires before that already. With interrupts off.
#[inline]
pub fn program(deadline: u64) {
    let timers = &TIMERS[cpu::current_id().index()];
    if deadline < timers.programmed.load(Ordering::Relaxed) {
        set_hardware(timers, deadline, clock::monotonic_ns());
    }
}

fn set_hardware(timers: &CpuTimers, deadline: u64, now: u64) {
    let deadline = deadline.min(now + LONGEST_NS);
    timers.programmed.store(deadline, Ordering::Relaxed);
    let in_ns = deadline.saturating_sub(now);
    // From now, not from boot: the rounding of the two conversions does not add up. One more, never early.
    apic::timer_arm(cpu::tsc() + clock::ns_to_ticks(in_ns) + 1, in_ns);
}

/// Calls `callback` once monotonic time has reached `deadline_ns`, on this CPU; at once if it has already. Waits for memory
/// if there is none for one more deadline.
pub fn arm(deadline_ns: u64, callback: Callback) -> TimerId {
    let mut callback = callback;
    loop {
        let irq = irq::IrqGuard::new();
        let cpu = cpu::current_id();
        let timers = &TIMERS[cpu.index()];
        let mut queue = timers.queue.lock();
        match queue.arm(deadline_ns, callback) {
            Ok(handle) => {
                drop(queue);
                program(deadline_ns);
                drop(irq);
                return TimerId { cpu: cpu.0, handle };
            }
            Err(back) => {
                callback = back;
                let entries = (queue.capacity() * 2).max(FIRST_ROOM);
                drop(queue);
                drop(irq);
                make_room(timers, entries);
            }
        }
    }
}

/// Takes a deadline back; false if it has passed already (its callback has run, or runs right now). The hardware is left
/// alone: it may fire for nothing, which costs less than setting it anew each time.
pub fn cancel(id: TimerId) -> bool {
    let Some(timers) = TIMERS.get(id.cpu as usize) else {
        return false;
    };
    // The callback is dropped after the lock is released.
    let callback = timers.queue.lock().cancel(id.handle);
    callback.is_some()
}

/// The timer interrupt of this CPU; `regs` is what it interrupted.
pub(crate) fn interrupt(regs: &UserRegs) {
    let timers = &TIMERS[cpu::current_id().index()];
    timers.programmed.store(u64::MAX, Ordering::Relaxed);
    let mut now = clock::monotonic_ns();
    loop {
        let callback = timers.queue.lock().pop_due(now);
        match callback {
            Some(callback) => callback.expired(now),
            None => break,
        }
    }
    let next_sample = profile::interrupt(now, regs);
    let next_look = crate::sched::deadline_interrupt(now);
    let next_tick = tick::interrupt(now, regs.user_mode());
    let next = timers
        .queue
        .lock()
        .first()
        .unwrap_or(u64::MAX)
        .min(next_look)
        .min(next_tick)
        .min(next_sample);
    now = clock::monotonic_ns();
    if next != u64::MAX && next < timers.programmed.load(Ordering::Relaxed) {
        set_hardware(timers, next, now);
    }
}
