//! The kernel's sources as they are, over loom's atomics.

pub mod atomic {
    pub use loom::hint::spin_loop;
    pub use loom::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering, fence};

    /// Loom takes sequentially consistent swaps for acquire and release ones.
    pub fn after_swap() {
        fence(Ordering::SeqCst);
    }
}

#[allow(dead_code, reason = "the models use some of it")]
#[path = "../../frames/src/meta.rs"]
pub mod meta;
#[allow(dead_code, reason = "the models use some of it")]
#[path = "../../sched/src/sleep.rs"]
pub mod sleep;
#[path = "../../ksync/src/slot.rs"]
pub mod slot;
