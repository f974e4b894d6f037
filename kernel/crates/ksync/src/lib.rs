//! Spinning locks for the kernel: what may be held with no task to put to sleep.
//!
//! | module | what |
//! |---|---|
//! | `irq` | interrupts off while a guard lives |
//! | `spin` | [`SpinLock`], [`IrqSpinLock`], [`HandOverLock`] |
//! | `rwspin` | [`RwSpinLock`]: many readers or one writer |
//! | `seq` | [`SeqLock`]: readers that retry, a writer that never waits |
//! | `check` | in debug builds, the order of locks and what is forbidden under them; statistics |
//!
//! Sleeping locks and wait queues need the scheduler and live in the kernel's `sync`.
//! Rule of use: under any of these, no allocation, no blocking, no user memory.
#![cfg_attr(not(test), no_std)]

pub mod check;
pub mod irq;
mod rwspin;
mod seq;
mod spin;

pub use irq::IrqGuard;
pub use rwspin::{RwReadGuard, RwSpinLock, RwWriteGuard};
pub use seq::SeqLock;
pub use spin::{HandOverLock, IrqSpinGuard, IrqSpinLock, SpinGuard, SpinLock};
