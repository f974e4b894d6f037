//! `NETLINK_CONNECTOR`: messages between the kernel's parts and processes, of which the events of processes are one.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Who a message is for: the events of processes.
pub const CN_IDX_PROC: u32 = 1;
pub const CN_VAL_PROC: u32 = 1;

pub const CONNECTOR_MAX_MSG_SIZE: usize = 16384;

pub const PROC_CN_MCAST_LISTEN: u32 = 1;
pub const PROC_CN_MCAST_IGNORE: u32 = 2;

/// What happened to a process.
pub mod event {
    pub const NONE: u32 = 0;
    pub const FORK: u32 = 1;
    pub const EXEC: u32 = 2;
    pub const UID: u32 = 4;
    pub const GID: u32 = 0x40;
    pub const SID: u32 = 0x80;
    pub const PTRACE: u32 = 0x100;
    pub const COMM: u32 = 0x200;
    pub const COREDUMP: u32 = 0x4000_0000;
    pub const EXIT: u32 = 0x8000_0000;
}

/// `struct cn_msg`, before its data.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CnMsg {
    pub idx: u32,
    pub val: u32,
    pub seq: u32,
    pub ack: u32,
    /// Of the data.
    pub len: u16,
    pub flags: u16,
}

/// `struct proc_event`. Its data depends on what happened: numbers, and for a name its bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ProcEvent {
    pub what: u32,
    pub cpu: u32,
    pub timestamp_ns: u64,
    pub data: [u32; 6],
}

const _: () = assert!(size_of::<CnMsg>() == 20);
const _: () = assert!(size_of::<ProcEvent>() == 40);
