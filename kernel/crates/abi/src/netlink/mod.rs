//! What netlink sockets pass: addresses, headers, protocols, flags, options, and the messages of each protocol in
//! modules of their own.

pub mod connector;
pub mod generic;
pub mod route;

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One more than the highest protocol.
pub const MAX_LINKS: usize = 32;

pub const NETLINK_ROUTE: u8 = 0;
pub const NETLINK_USERSOCK: u8 = 2;
pub const NETLINK_CONNECTOR: u8 = 11;
pub const NETLINK_KOBJECT_UEVENT: u8 = 15;
pub const NETLINK_GENERIC: u8 = 16;

pub const SOL_NETLINK: i32 = 270;

/// The options of `SOL_NETLINK`.
pub mod option {
    pub const ADD_MEMBERSHIP: i32 = 1;
    pub const DROP_MEMBERSHIP: i32 = 2;
    pub const PKTINFO: i32 = 3;
    pub const BROADCAST_ERROR: i32 = 4;
    pub const NO_ENOBUFS: i32 = 5;
    pub const LISTEN_ALL_NSID: i32 = 8;
    pub const LIST_MEMBERSHIPS: i32 = 9;
    pub const CAP_ACK: i32 = 10;
    pub const EXT_ACK: i32 = 11;
    pub const GET_STRICT_CHK: i32 = 12;
}

pub const NLMSG_NOOP: u16 = 1;
pub const NLMSG_ERROR: u16 = 2;
pub const NLMSG_DONE: u16 = 3;
/// Types below are control messages of netlink itself.
pub const NLMSG_MIN_TYPE: u16 = 16;

/// What messages and attributes are aligned to.
pub const ALIGN: usize = 4;

/// The bits of an attribute's type that are flags: nested, in network byte order.
pub const NLA_F_NESTED: u16 = 1 << 15;
pub const NLA_TYPE_MASK: u16 = 0x3fff;

/// Attributes of an extended acknowledgement.
pub const NLMSGERR_ATTR_MSG: u16 = 1;
pub const NLMSGERR_ATTR_OFFS: u16 = 2;

bitflags! {
    /// `nlmsg_flags`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct NlmFlags: u16 {
        const REQUEST = 1;
        const MULTI = 2;
        const ACK = 4;
        const ECHO = 8;
        const DUMP_INTR = 0x10;
        /// Of a request that asks: the whole table, or those that match.
        const ROOT = 0x100;
        const MATCH = 0x200;
        const DUMP = 0x300;
        /// Of an error: the request's payload was left out; attributes follow.
        const CAPPED = 0x100;
        const ACK_TLVS = 0x200;
        /// Of a request that makes something.
        const REPLACE = 0x100;
        const EXCL = 0x200;
        const CREATE = 0x400;
        const APPEND = 0x800;
        const _ = !0;
    }
}

/// `struct sockaddr_nl`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SockAddrNl {
    pub family: u16,
    pub _pad: u16,
    pub pid: u32,
    pub groups: u32,
}

/// `struct nlmsghdr`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct NlMsgHdr {
    /// With this header.
    pub len: u32,
    pub kind: u16,
    pub flags: u16,
    pub seq: u32,
    pub pid: u32,
}

/// `struct nlmsgerr`, without the request's payload.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NlMsgErr {
    /// An error's number, negative, or 0.
    pub error: i32,
    pub request: NlMsgHdr,
}

/// `struct nlattr`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NlAttr {
    /// With this header.
    pub len: u16,
    pub kind: u16,
}

/// `struct genlmsghdr`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GenlMsgHdr {
    pub cmd: u8,
    pub version: u8,
    pub _reserved: u16,
}

const _: () = assert!(size_of::<SockAddrNl>() == 12);
const _: () = assert!(size_of::<NlMsgHdr>() == 16);
const _: () = assert!(size_of::<NlMsgErr>() == 20);
const _: () = assert!(size_of::<NlAttr>() == 4);
const _: () = assert!(size_of::<GenlMsgHdr>() == 4);
