//! Readiness bits of `poll`, `select` and `epoll`.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bitflags! {
    /// What a file is ready for. The values are those of `poll(2)` and `epoll(7)` alike.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct PollEvents: u32 {
        /// Data to read.
        const IN = 0x001;
        /// Urgent data to read.
        const PRI = 0x002;
        /// Writing will not block.
        const OUT = 0x004;
        /// An error; always reported.
        const ERR = 0x008;
        /// The other side hung up; always reported.
        const HUP = 0x010;
        /// The descriptor is not open.
        const NVAL = 0x020;
        /// Normal data to read.
        const RDNORM = 0x040;
        /// Priority band data to read.
        const RDBAND = 0x080;
        /// Normal data may be written.
        const WRNORM = 0x100;
        /// Priority band data may be written.
        const WRBAND = 0x200;
        /// Unused by Linux, kept for its value.
        const MSG = 0x400;
        /// The peer closed its writing side.
        const RDHUP = 0x2000;
    }
}

impl PollEvents {
    /// Readable: `IN | RDNORM`.
    pub const READABLE: PollEvents = PollEvents::IN.union(PollEvents::RDNORM);
    /// Writable: `OUT | WRNORM`.
    pub const WRITABLE: PollEvents = PollEvents::OUT.union(PollEvents::WRNORM);
}

/// `struct pollfd`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PollFd {
    /// The descriptor; a negative one is passed over.
    pub fd: i32,
    /// What is asked.
    pub events: i16,
    /// What there is.
    pub revents: i16,
}

const _: () = assert!(size_of::<PollFd>() == 8);
