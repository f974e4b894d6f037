//! Waiting: what a task holds or sleeps on. The spinning locks come from the crate `ksync`.
//!
//! | module | what |
//! |---|---|
//! | [`census`] | how many objects of each kind live |
//! | `current` | the task that runs on this CPU, and cells that only it may change |
//! | `wait` | [`WaitQueue`]: the one way to sleep for a condition |
//! | `mutex`, `rwlock` | sleeping locks, for what is held across blocking and user memory |
//! | `per_cpu` | [`PerCpu`]: one value a CPU, each on cache lines of its own |
//! | `poll` | [`PollTable`]: waiting for one of many queues |
//! | `walks` | [`Walks`]: the sections in which names are looked up without locks |
//! | `check` | in debug kernels, what the checks of locking must know |
//!
//! # Lock order
//! ```text
//! sleeping locks (Mutex, RwLock)
//!   spin locks of subsystems
//!     a WaitQueue's own lock
//!       a CPU's run queue
//! ```
//! A wake-up may be done under any spin lock, from interrupts too; sleeping only with none held.
//!
//! # Invariants
//! - A sleeper publishes its state before it looks at the condition; a waker changes the condition before it looks at
//!   the state. One of the two therefore sees the other, and no wake-up is lost.
//! - The kernel is not preemptible: a task keeps its CPU until it blocks.

pub mod census;
#[cfg(debug_assertions)]
pub mod check;
mod current;
mod mutex;
mod per_cpu;
mod poll;
mod rwlock;
mod wait;
mod walks;

pub use current::{
    CurrentTask, TaskCell, TaskRef, current, current_arc, incoming, take_boxed, try_current,
};
pub use ksync::{HandOverLock, IrqGuard, IrqSpinLock, SpinGuard, SpinLock};
pub use mutex::{Mutex, MutexGuard};
pub use per_cpu::PerCpu;
pub use poll::{PollTable, PollWaiter};
pub use rwlock::RwLock;
pub use wait::{CallbackList, WaitQueue, WakeCallback};
pub use walks::Walks;
