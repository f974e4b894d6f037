//! Pure logic of the virtual file system, tested on the host.
//!
//! | module | what |
//! |---|---|
//! | [`name`] | components of paths: scanning, hashing, inline storage |
//! | [`slots`] | the order of a directory's entries, with stable positions for `readdir` |
//! | [`fdmap`] | which descriptors are open, lowest free first |
//! | [`rangelock`] | POSIX record locks: conflicts, splitting, merging |
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]
extern crate alloc;

pub mod fdmap;
pub mod name;
pub mod rangelock;
pub mod slots;

pub use fdmap::FdMap;
pub use name::{Name, hash_component, same_name, word_of};
pub use rangelock::{LockKind, Range, RangeLock, RangeLocks};
pub use slots::Slots;
