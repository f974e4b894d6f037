//! What the socket calls pass: families, types, options, messages, control messages.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Any family; disconnects a datagram socket.
pub const AF_UNSPEC: u16 = 0;
/// Sockets within the machine.
pub const AF_UNIX: u16 = 1;
pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;
/// Messages to and from the kernel.
pub const AF_NETLINK: u16 = 16;
/// Packets as an interface has them.
pub const AF_PACKET: u16 = 17;
/// One more than the highest family.
pub const AF_MAX: i32 = 46;

pub const SOCK_STREAM: u32 = 1;
pub const SOCK_DGRAM: u32 = 2;
pub const SOCK_RAW: u32 = 3;
pub const SOCK_SEQPACKET: u32 = 5;
/// One more than the highest type.
pub const SOCK_MAX: u32 = 11;
/// The bits of a type that are the type.
pub const SOCK_TYPE_MASK: u32 = 0xf;
pub const SOCK_NONBLOCK: u32 = 0o4000;
pub const SOCK_CLOEXEC: u32 = 0o2000000;

pub const SHUT_RDWR: u32 = 2;
/// The highest backlog that `listen` keeps (`net.core.somaxconn`).
pub const SOMAXCONN: u32 = 4096;
/// The largest address of any family.
pub const MAX_ADDRESS: usize = 128;
/// The length of `struct sockaddr_un`.
pub const SOCKADDR_UN: usize = 110;
/// The most descriptors in one message.
pub const SCM_MAX_FD: usize = 253;

pub const SOL_SOCKET: i32 = 1;
pub const SCM_RIGHTS: i32 = 1;
pub const SCM_CREDENTIALS: i32 = 2;
pub const SCM_PIDFD: i32 = 4;

/// Bytes unread by the peer (`TIOCOUTQ`).
pub const SIOCOUTQ: u32 = 0x5411;
pub const FIOSETOWN: u32 = 0x8901;
pub const SIOCSPGRP: u32 = 0x8902;
pub const FIOGETOWN: u32 = 0x8903;
pub const SIOCGPGRP: u32 = 0x8904;
/// Whether the next byte to be read is the urgent one.
pub const SIOCATMARK: u32 = 0x8905;

pub const SOCKFS_MAGIC: i64 = 0x534f_434b;

/// The options of `SOL_SOCKET`.
pub mod so {
    pub const DEBUG: i32 = 1;
    pub const REUSEADDR: i32 = 2;
    pub const TYPE: i32 = 3;
    pub const ERROR: i32 = 4;
    pub const DONTROUTE: i32 = 5;
    pub const BROADCAST: i32 = 6;
    pub const SNDBUF: i32 = 7;
    pub const RCVBUF: i32 = 8;
    pub const KEEPALIVE: i32 = 9;
    pub const OOBINLINE: i32 = 10;
    pub const PRIORITY: i32 = 12;
    pub const LINGER: i32 = 13;
    pub const REUSEPORT: i32 = 15;
    pub const PASSCRED: i32 = 16;
    pub const PEERCRED: i32 = 17;
    pub const RCVLOWAT: i32 = 18;
    pub const SNDLOWAT: i32 = 19;
    pub const RCVTIMEO: i32 = 20;
    pub const SNDTIMEO: i32 = 21;
    pub const ATTACH_FILTER: i32 = 26;
    pub const DETACH_FILTER: i32 = 27;
    pub const PEERNAME: i32 = 28;
    pub const ACCEPTCONN: i32 = 30;
    pub const SNDBUFFORCE: i32 = 32;
    pub const RCVBUFFORCE: i32 = 33;
    pub const PROTOCOL: i32 = 38;
    pub const DOMAIN: i32 = 39;
    pub const LOCK_FILTER: i32 = 44;
    pub const PEERGROUPS: i32 = 59;
    pub const RCVTIMEO_NEW: i32 = 66;
    pub const SNDTIMEO_NEW: i32 = 67;
    pub const PASSPIDFD: i32 = 76;
    pub const PEERPIDFD: i32 = 77;
}

bitflags! {
    /// How one message is sent or received, and what is said of a received one.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MsgFlags: u32 {
        const OOB = 0x1;
        const PEEK = 0x2;
        const DONTROUTE = 0x4;
        /// Control messages were cut.
        const CTRUNC = 0x8;
        /// The packet was cut; asked for, its whole length is the answer.
        const TRUNC = 0x20;
        const DONTWAIT = 0x40;
        const EOR = 0x80;
        const WAITALL = 0x100;
        const ERRQUEUE = 0x2000;
        const NOSIGNAL = 0x4000;
        const MORE = 0x8000;
        /// `recvmmsg` waits for the first message only.
        const WAITFORONE = 0x1_0000;
        const CMSG_CLOEXEC = 0x4000_0000;
        /// For the kernel's own use; refused.
        const CMSG_COMPAT = 0x8000_0000;
        const _ = !0;
    }
}

/// `struct msghdr`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MsgHdr {
    pub name: usize,
    pub namelen: i32,
    pub _pad0: u32,
    pub iov: usize,
    pub iovlen: usize,
    pub control: usize,
    pub controllen: usize,
    pub flags: u32,
    pub _pad1: u32,
}

/// `struct mmsghdr`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MMsgHdr {
    pub hdr: MsgHdr,
    pub len: u32,
    pub _pad: u32,
}

/// `struct cmsghdr`, before each control message.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CmsgHdr {
    /// With this header.
    pub len: usize,
    pub level: i32,
    pub kind: i32,
}

/// `struct ucred`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ucred {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

/// `struct linger`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Linger {
    pub on: i32,
    pub seconds: i32,
}

const _: () = assert!(size_of::<MsgHdr>() == 56);
const _: () = assert!(core::mem::offset_of!(MsgHdr, flags) == 48);
const _: () = assert!(size_of::<MMsgHdr>() == 64);
const _: () = assert!(size_of::<CmsgHdr>() == 16);
const _: () = assert!(size_of::<Ucred>() == 12);
