//! The kernel's sources with every memory order relaxed and no fences.

pub mod atomic {
    pub use loom::hint::spin_loop;
    pub use loom::sync::atomic::{AtomicU8, AtomicU16, AtomicU32};

    /// Names of orders, all of which are the weakest.
    #[allow(non_snake_case, reason = "stands in for an enum")]
    #[allow(non_upper_case_globals, reason = "stand in for its variants")]
    pub mod Ordering {
        use loom::sync::atomic::Ordering as Real;
        pub const Relaxed: Real = Real::Relaxed;
        pub const Acquire: Real = Real::Relaxed;
        pub const Release: Real = Real::Relaxed;
        pub const SeqCst: Real = Real::Relaxed;
    }

    pub fn fence(_: loom::sync::atomic::Ordering) {}

    pub fn after_swap() {}
}

#[allow(dead_code, reason = "the models use some of it")]
#[path = "../../frames/src/meta.rs"]
pub mod meta;
#[path = "../../ksync/src/slot.rs"]
pub mod slot;
