//! Signals as pure logic: what is pending, what comes next, what is done about it by default.
//!
//! | module | what |
//! |---|---|
//! | `queue` | [`PendingQueue`]: coalescing standard signals and queued real-time ones |
//! | `action` | [`ActionTable`]: dispositions, `sigaction`'s rules, what exec keeps |
//! | `default` | [`DefaultAction`] of each signal |
//! | `altstack` | [`AltStack`]: `sigaltstack`'s rules and where a frame goes |
//! | `mask` | `sigprocmask`'s arithmetic |
//!
//! Nothing here blocks, locks or touches user memory; the kernel's `signal` does, around it.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

mod action;
mod altstack;
mod default;
mod mask;
mod queue;

pub use action::{ActionTable, Change};
pub use altstack::{AltStack, StackChoice};
pub use default::DefaultAction;
pub use mask::{MaskHow, change_mask};
pub use queue::{Entry, PendingQueue, Storage};
