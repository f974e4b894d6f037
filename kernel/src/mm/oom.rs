//! Out of memory: give back caches, then kill by badness; the machine goes on.
//!
//! Users' allocations stop at the reserve (crate `frames`), so that the kernel's own, which mostly cannot fail well, go
//! on while the victim dies. A task for which the kernel took from the reserve pays on its way out to user space: it waits
//! there until there is memory for users again, so that no number of system calls can use the reserve up.

use core::sync::atomic::{AtomicU64, Ordering};

use super::frame::FRAMES;
use super::hooks;
use crate::arch::cpu;

static KILLS: AtomicU64 = AtomicU64::new(0);

/// Processes killed for want of memory since boot.
pub fn kills() -> u64 {
    KILLS.load(Ordering::Relaxed)
}

/// A process is being killed.
pub fn count_kill() {
    KILLS.fetch_add(1, Ordering::Relaxed);
}

/// Gives back what is only kept for speed. Never sleeps.
pub(super) fn reclaim() {
    FRAMES.drain_cpu(cpu::current_id().index());
}

/// Runs `alloc`, and once more after reclaim.
#[inline]
pub(super) fn retry<R>(mut alloc: impl FnMut() -> Option<R>) -> Option<R> {
    alloc().or_else(|| {
        reclaim();
        alloc()
    })
}

/// How bad a process is, in pages: what it holds, shifted by its `oom_score_adj` in thousandths of all memory. Negative
/// for one that must not be killed.
pub fn badness(pages: u64, adj: i32) -> i64 {
    if adj <= -1000 {
        return -1;
    }
    let total = FRAMES.total() as i64;
    (pages as i64 + i64::from(adj) * total / 1000).max(1)
}

/// Before a task takes much of the kernel's memory, and on its way out to user space when the kernel took from the
/// reserve for it: waits until users may allocate again. False when the task is to die instead.
pub fn pay_back() -> bool {
    while !FRAMES.has_user_frames() {
        if !wait_for_memory() {
            return false;
        }
    }
    true
}

/// A fault found no memory: reclaims, else kills somebody and lets time pass. False when the running task is itself to
/// die. The map's lock is not held.
pub(super) fn wait_for_memory() -> bool {
    let hooks = hooks::get();
    reclaim();
    if hooks.fatal_signal_pending() {
        return false;
    }
    if !FRAMES.has_user_frames() {
        hooks.oom_kill(badness);
        if hooks.fatal_signal_pending() {
            return false;
        }
    }
    hooks.relax();
    true
}
