//! Checks of locking, in debug builds: the order in which locks are taken, what may not be done under them, and how long
//! they are waited for and held. In other builds all of it is empty.
//!
//! | module | what |
//! |---|---|
//! | `class` | locks made at one place of the source are of one class: its number, its statistics |
//! | `held` | what a CPU or a task holds |
//! | `order` | which class was ever taken under which, and that this has no circle |
//! | `rules` | the checks themselves, called by the locks |
//! | `off` | the same names, doing nothing |
//!
//! Nobody writes ranks down: the first time that a lock is taken under another decides, as the documented order of each
//! subsystem should say the same. A circle in what has been seen is a deadlock that needs no more than the right moment,
//! and ends the run with both stacks. So does
//!
//! - taking a lock that this CPU or task holds,
//! - a sleep, a sleeping lock or an access to user memory under a spinning lock or in an interrupt,
//! - a lock that an interrupt takes and that is also held with interrupts on, or that leads to one such.
//!
//! Two locks of the same class under each other (a directory's and its child's) are not looked at.
//!
//! Reference: Linux `Documentation/locking/lockdep-design.rst`.

#[cfg(debug_assertions)]
mod class;
#[cfg(debug_assertions)]
mod held;
#[cfg(not(debug_assertions))]
mod off;
#[cfg(debug_assertions)]
mod order;
#[cfg(debug_assertions)]
mod rules;
#[cfg(all(test, debug_assertions))]
mod tests;

#[cfg(not(debug_assertions))]
pub use off::{Attempt, Held, LockClass, may_allocate, may_fault, may_sleep};

#[cfg(debug_assertions)]
pub use class::{LockClass, Stats, classes};
#[cfg(debug_assertions)]
pub use held::Held;
#[cfg(debug_assertions)]
pub use order::Trace;
#[cfg(debug_assertions)]
pub use rules::{
    Attempt, Context, Violation, What, disable, install, may_allocate, may_fault, may_sleep,
};

/// The sorts of locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Sort {
    Spin = 0,
    IrqSpin = 1,
    /// For readers and writers, spinning.
    RwSpin = 2,
    Sleeping = 3,
}

/// How a lock is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its waiters keep their CPUs.
    Spinning,
    /// Its waiters sleep.
    Sleeping,
}
