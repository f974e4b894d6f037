//! Structures of getrlimit(2) and getrusage(2).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct rlimit64`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Rlimit64 {
    /// What is enforced.
    pub soft: u64,
    /// How far it may be raised.
    pub hard: u64,
}

/// `struct rusage`. The fields without a name here are always zero on Linux.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RusageAbi {
    /// Seconds and microseconds in user space.
    pub user: [i64; 2],
    /// Seconds and microseconds in the kernel.
    pub system: [i64; 2],
    /// The largest resident set.
    pub max_rss_kib: i64,
    /// Zero: shared, private and stack sizes.
    pub unused_sizes: [i64; 3],
    /// Faults without I/O.
    pub minor_faults: i64,
    /// Faults with I/O.
    pub major_faults: i64,
    /// Zero.
    pub unused_swaps: i64,
    /// Blocks read.
    pub blocks_in: i64,
    /// Blocks written.
    pub blocks_out: i64,
    /// Zero: messages and signals.
    pub unused_messages: [i64; 3],
    /// Sleeps.
    pub voluntary_switches: i64,
    /// Preemptions.
    pub involuntary_switches: i64,
}

const _: () = assert!(size_of::<RusageAbi>() == size_of::<linux_raw_sys::general::rusage>());
const _: () = assert!(size_of::<Rlimit64>() == size_of::<linux_raw_sys::general::rlimit64>());
