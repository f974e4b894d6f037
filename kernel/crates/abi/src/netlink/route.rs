//! `NETLINK_ROUTE`: interfaces, addresses, routes.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub const RTM_BASE: u16 = 16;
pub const RTM_NEWLINK: u16 = 16;
pub const RTM_GETLINK: u16 = 18;
pub const RTM_SETLINK: u16 = 19;
pub const RTM_NEWADDR: u16 = 20;
pub const RTM_DELADDR: u16 = 21;
pub const RTM_GETADDR: u16 = 22;
pub const RTM_NEWROUTE: u16 = 24;
pub const RTM_GETROUTE: u16 = 26;
pub const RTM_GETNEIGH: u16 = 30;
/// The highest type there is.
pub const RTM_MAX: u16 = 123;
/// What the lowest two bits of a type say: something is asked for.
pub const KIND_MASK: u16 = 3;
pub const KIND_GET: u16 = 2;

pub const RTNLGRP_LINK: u32 = 1;
pub const RTNLGRP_IPV4_IFADDR: u32 = 5;
pub const RTNLGRP_IPV6_IFADDR: u32 = 9;
pub const RTNLGRP_MAX: u32 = 36;

/// Attributes of an interface.
pub mod ifla {
    pub const ADDRESS: u16 = 1;
    pub const BROADCAST: u16 = 2;
    pub const IFNAME: u16 = 3;
    pub const MTU: u16 = 4;
    pub const QDISC: u16 = 6;
    pub const STATS: u16 = 7;
    pub const TXQLEN: u16 = 13;
    pub const MAP: u16 = 14;
    pub const OPERSTATE: u16 = 16;
    pub const LINKMODE: u16 = 17;
    pub const STATS64: u16 = 23;
    pub const GROUP: u16 = 27;
    pub const EXT_MASK: u16 = 29;
    pub const PROMISCUITY: u16 = 30;
    pub const NUM_TX_QUEUES: u16 = 31;
    pub const NUM_RX_QUEUES: u16 = 32;
    pub const CARRIER: u16 = 33;
}

/// `IFLA_OPERSTATE`.
pub const IF_OPER_UNKNOWN: u8 = 0;
pub const IF_OPER_DOWN: u8 = 2;

/// Attributes of an address.
pub mod ifa {
    pub const ADDRESS: u16 = 1;
    pub const LOCAL: u16 = 2;
    pub const LABEL: u16 = 3;
    pub const CACHEINFO: u16 = 6;
    pub const FLAGS: u16 = 8;
}

/// `IFA_FLAGS`: it does not expire.
pub const IFA_F_PERMANENT: u32 = 0x80;

/// Attributes of a route.
pub mod rta {
    pub const DST: u16 = 1;
    pub const OIF: u16 = 4;
    pub const PRIORITY: u16 = 6;
    pub const PREFSRC: u16 = 7;
    pub const TABLE: u16 = 15;
}

pub const RT_SCOPE_UNIVERSE: u8 = 0;
pub const RT_SCOPE_LINK: u8 = 253;
pub const RT_SCOPE_HOST: u8 = 254;
pub const RT_TABLE_MAIN: u8 = 254;
pub const RT_TABLE_LOCAL: u8 = 255;
pub const RTPROT_KERNEL: u8 = 2;
pub const RTN_UNICAST: u8 = 1;
pub const RTN_LOCAL: u8 = 2;
pub const RTN_BROADCAST: u8 = 3;
/// `rtm_flags`: the answer to a question about one address.
pub const RTM_F_CLONED: u32 = 0x200;

/// `struct ifinfomsg`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IfInfoMsg {
    pub family: u8,
    pub _pad: u8,
    pub kind: u16,
    pub index: i32,
    pub flags: u32,
    /// Which flags are meant, or have changed.
    pub change: u32,
}

/// `struct ifaddrmsg`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IfAddrMsg {
    pub family: u8,
    pub prefix: u8,
    pub flags: u8,
    pub scope: u8,
    pub index: u32,
}

/// `struct rtmsg`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RtMsg {
    pub family: u8,
    pub dst_len: u8,
    pub src_len: u8,
    pub tos: u8,
    pub table: u8,
    pub protocol: u8,
    pub scope: u8,
    pub kind: u8,
    pub flags: u32,
}

/// `struct ifa_cacheinfo`: seconds left, `u32::MAX` for ever; hundredths of seconds since boot.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IfaCacheInfo {
    pub preferred: u32,
    pub valid: u32,
    pub created: u32,
    pub updated: u32,
}

const _: () = assert!(size_of::<IfInfoMsg>() == 16);
const _: () = assert!(size_of::<IfAddrMsg>() == 8);
const _: () = assert!(size_of::<RtMsg>() == 12);
