//! Restartable sequences.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub const RSEQ_FLAG_UNREGISTER: u32 = 1;
/// `cpu_id` of a structure that is not registered.
pub const CPU_ID_UNINITIALIZED: u32 = u32::MAX;
/// The size, and alignment, of the first version of `struct rseq`.
pub const ORIG_SIZE: u32 = 32;
/// Bytes of it that have a meaning (AT_RSEQ_FEATURE_SIZE).
pub const FEATURE_SIZE: u32 = 28;
/// Its alignment (AT_RSEQ_ALIGN).
pub const ALIGN: u32 = 32;

/// Where the fields of `struct rseq` are.
pub mod offset {
    pub const CPU_ID_START: usize = 0;
    pub const CPU_ID: usize = 4;
    pub const RSEQ_CS: usize = 8;
    pub const FLAGS: usize = 16;
    pub const NODE_ID: usize = 20;
    pub const MM_CID: usize = 24;
}

/// `struct rseq_cs`: a sequence.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RseqCs {
    pub version: u32,
    pub flags: u32,
    pub start_ip: u64,
    /// Its length.
    pub post_commit_offset: u64,
    pub abort_ip: u64,
}

const _: () = assert!(core::mem::size_of::<RseqCs>() == 32);
