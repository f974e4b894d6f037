//! The random generator without its hardware: an entropy pool and generators with fast key erasure.
//!
//! [`Pool`] compresses whatever is mixed into it with BLAKE2s and counts how many bits of it are trusted. A seed
//! drawn from the pool keys a [`Generator`], which is ChaCha20: 256 bytes of key stream at a time, of which the first
//! 32 are the next key and the rest is given out once, each byte erased as it goes. So what was given out cannot be
//! computed from a memory image taken later.
//!
//! The kernel's `random` owns one pool and one generator per CPU, and knows where entropy comes from.
//!
//! References: D. J. Bernstein, "Fast-key-erasure random-number generators" (2017); Linux `drivers/char/random.c`
//! (for the behaviour of the calls, not for code).
#![no_std]
#![deny(unsafe_code)]

mod generator;
mod jitter;
mod pool;

pub use generator::Generator;
pub use jitter::JitterMeter;
pub use pool::{Key, Pool, READY_BITS};
