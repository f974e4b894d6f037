//! Spinning locks for the kernel: what may be held with no task to put to sleep.
//!
//! | module | what |
//! |---|---|
//! | `irq` | interrupts off while a guard lives |
//! | `spin` | [`SpinLock`], [`IrqSpinLock`], [`HandOverLock`] |
//! | `rwspin` | [`RwSpinLock`]: many readers or one writer |
//! | `section`, `slot` | [`Section`]: reading without a lock, and who waits for that |
//! | `table` | [`ReadTable`]: a hash table that is read so |
//! | `seq` | [`SeqLock`]: readers that retry, a writer that never waits |
//! | `check` | in debug builds, the order of locks and what is forbidden under them; statistics |
//!
//! Sleeping locks and wait queues need the scheduler and live in the kernel's `sync`.
//! Rule of use: under any of these, sections too, no allocation, no blocking, no user memory.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

/// What `slot` is made of; the models take it in over loom's.
mod atomic {
    pub use core::hint::spin_loop;
    pub use core::sync::atomic::{AtomicU32, Ordering, fence};

    /// Behind a sequentially consistent swap: on x86 that is a full barrier, and only the compiler must be held back.
    #[inline(always)]
    pub fn after_swap() {
        #[cfg(target_arch = "x86_64")]
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
        #[cfg(not(target_arch = "x86_64"))]
        fence(Ordering::SeqCst);
    }
}
pub mod check;
pub mod irq;
mod rwspin;
mod section;
mod seq;
mod slot;
mod spin;
mod table;

pub use irq::IrqGuard;
pub use rwspin::{RwReadGuard, RwSpinLock, RwWriteGuard};
pub use section::{Domain, Section};
pub use seq::SeqLock;
pub use slot::{SectionSlot, before_waiting};
pub use spin::{HandOverLock, IrqSpinGuard, IrqSpinLock, SpinGuard, SpinLock};
pub use table::{NewEntry, NoMemory, ReadTable, Removed, TableGuard};
