//! Asynchronous I/O of `io_submit`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub const IOCB_CMD_PREAD: u16 = 0;
pub const IOCB_CMD_PWRITE: u16 = 1;
pub const IOCB_CMD_FSYNC: u16 = 2;
pub const IOCB_CMD_FDSYNC: u16 = 3;
pub const IOCB_CMD_POLL: u16 = 5;
pub const IOCB_CMD_PREADV: u16 = 7;
pub const IOCB_CMD_PWRITEV: u16 = 8;

/// `resfd` is an eventfd to be told of the completion.
pub const IOCB_FLAG_RESFD: u32 = 1;

/// What the kernel writes into a request that it takes.
pub const KIOCB_KEY: u32 = 0;

/// `struct iocb`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Iocb {
    pub data: u64,
    pub key: u32,
    pub rw_flags: u32,
    pub opcode: u16,
    pub reqprio: i16,
    pub fd: u32,
    pub buf: u64,
    pub nbytes: u64,
    pub offset: i64,
    pub reserved: u64,
    pub flags: u32,
    pub resfd: u32,
}

/// `struct io_event`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IoEvent {
    pub data: u64,
    /// The address of the request.
    pub obj: u64,
    pub res: i64,
    pub res2: i64,
}

/// The head of the ring that user space sees at the context's address; events follow.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AioRing {
    pub id: u32,
    /// Events that the ring has places for.
    pub nr: u32,
    /// The next event to be taken: by the kernel, or by user space itself.
    pub head: u32,
    /// The place of the next event.
    pub tail: u32,
    pub magic: u32,
    pub compat_features: u32,
    pub incompat_features: u32,
    pub header_length: u32,
}

pub const AIO_RING_MAGIC: u32 = 0xa10a_10a1;

/// What `io_pgetevents` points to.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AioSigset {
    pub mask: u64,
    pub size: u64,
}

const _: () = {
    use core::mem::size_of;
    assert!(size_of::<Iocb>() == 64);
    assert!(size_of::<IoEvent>() == 32);
    assert!(size_of::<AioRing>() == 32);
};
