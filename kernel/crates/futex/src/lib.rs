//! What waits for futexes, as pure logic.
//!
//! | module | what |
//! |---|---|
//! | `bucket` | [`Bucket`]: who waits for words whose keys share a hash bucket |
//! | `pi` | [`Graph`]: who holds and who waits for priority-inheriting futexes, and what owners inherit |
//!
//! The kernel brings locks, user memory and sleeping.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

mod bucket;
pub mod pi;

pub use bucket::{Bucket, ORDINARY, Waiter, Woken, WrongKind};
pub use pi::Graph;
