//! POSIX message queues.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One more than the highest priority of a message.
pub const MQ_PRIO_MAX: u32 = 32768;

/// `struct mq_attr`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MqAttr {
    /// `O_NONBLOCK` or nothing.
    pub flags: i64,
    /// Messages it holds at most.
    pub maxmsg: i64,
    /// Bytes of a message at most.
    pub msgsize: i64,
    /// Messages in it now.
    pub curmsgs: i64,
    pub reserved: [i64; 4],
}

const _: () = assert!(core::mem::size_of::<MqAttr>() == 64);
