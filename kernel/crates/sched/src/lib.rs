//! Run-queue policy: which task of one CPU runs next. No clock, no locks, no CPUs: the kernel brings those.
//!
//! | module | what |
//! |---|---|
//! | `params` | what `sched_setattr(2)` sets: [`Policy`], nice, priority, and the weight that follows |
//! | `fair` | earliest virtual deadline first, after EEVDF (Stoica and Abdel-Wahab, 1995) |
//! | `deadline` | SCHED_DEADLINE: earliest deadline first, in constant bandwidth servers |
//! | `rt` | SCHED_FIFO and SCHED_RR |
//! | `heap` | what all stand in |
//! | `sleep` | [`SleepWord`]: how a sleeper and its wakers agree |
//! | `queue` | [`RunQueue`]: the classes in order |
//!
//! # Invariants
//! - An item stands in one queue at most, and the one that runs stands in none.
//! - Queues get memory only by `grow`, so that enqueueing never allocates if the caller made room for each task.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

mod deadline;
mod fair;
mod heap;
mod params;
mod queue;
mod rt;
mod sleep;

/// What the models replace by loom's.
mod atomic {
    pub use core::sync::atomic::{AtomicU32, Ordering, fence};
}

pub use deadline::{Reservation, Server};
pub use fair::{BASE_SLICE_NS, FairKey};
pub use params::{DEADLINE_PRIO, NICE_0_WEIGHT, NOT_INHERITED, Params, Policy, Prio, weight_of};
pub use queue::{Class, Entity, Room, RunQueue, Urgency};
pub use sleep::SleepWord;
