//! Internet addresses, their options and control messages, and what `ioctl` says of network interfaces.

use core::net::{Ipv4Addr, Ipv6Addr};

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::socket::{AF_INET, AF_INET6};

/// Bytes of an interface's name, with the NUL.
pub const IFNAMSIZ: usize = 16;
/// The hardware type of the loopback interface.
pub const ARPHRD_LOOPBACK: u16 = 772;

pub const SIOCGIFNAME: u32 = 0x8910;
pub const SIOCGIFCONF: u32 = 0x8912;
pub const SIOCGIFFLAGS: u32 = 0x8913;
pub const SIOCSIFFLAGS: u32 = 0x8914;
pub const SIOCGIFADDR: u32 = 0x8915;
pub const SIOCSIFADDR: u32 = 0x8916;
pub const SIOCGIFDSTADDR: u32 = 0x8917;
pub const SIOCGIFBRDADDR: u32 = 0x8919;
pub const SIOCGIFNETMASK: u32 = 0x891b;
pub const SIOCSIFNETMASK: u32 = 0x891c;
pub const SIOCGIFMETRIC: u32 = 0x891d;
pub const SIOCGIFMTU: u32 = 0x8921;
pub const SIOCSIFMTU: u32 = 0x8922;
pub const SIOCGIFHWADDR: u32 = 0x8927;
pub const SIOCGIFINDEX: u32 = 0x8933;
pub const SIOCGIFTXQLEN: u32 = 0x8942;
pub const SIOCGIFMAP: u32 = 0x8970;

bitflags! {
    /// What an interface is and does (`IFF_*`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Iff: u32 {
        const UP = 0x1;
        const BROADCAST = 0x2;
        const DEBUG = 0x4;
        const LOOPBACK = 0x8;
        const RUNNING = 0x40;
        const NOARP = 0x80;
        const PROMISC = 0x100;
        const ALLMULTI = 0x200;
        const MULTICAST = 0x1000;
        const LOWER_UP = 0x1_0000;
        const _ = !0;
    }
}

/// What a `struct ifreq` carries beside the name.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IfReqValue(pub [u8; 24]);

/// `struct ifreq`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IfReq {
    pub name: [u8; IFNAMSIZ],
    pub value: IfReqValue,
}

impl IfReq {
    /// Puts a name that fits; one that does not is cut.
    pub fn set_name(&mut self, name: &str) {
        self.name = [0; IFNAMSIZ];
        let room = self.name.iter_mut().take(IFNAMSIZ - 1);
        for (slot, byte) in room.zip(name.bytes()) {
            *slot = byte;
        }
    }
}

/// `struct ifconf`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IfConf {
    pub len: i32,
    pub _pad: u32,
    pub buffer: usize,
}

/// `struct sockaddr_in`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SockAddrIn {
    pub family: u16,
    /// In network order.
    pub port: [u8; 2],
    pub address: [u8; 4],
    pub zero: [u8; 8],
}

impl SockAddrIn {
    pub fn new(address: Ipv4Addr, port: u16) -> SockAddrIn {
        SockAddrIn {
            family: AF_INET,
            port: port.to_be_bytes(),
            address: address.octets(),
            zero: [0; 8],
        }
    }
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.address)
    }
    pub fn port(&self) -> u16 {
        u16::from_be_bytes(self.port)
    }
}

/// `struct sockaddr_in6`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SockAddrIn6 {
    pub family: u16,
    /// In network order.
    pub port: [u8; 2],
    pub flow: [u8; 4],
    pub address: [u8; 16],
    pub scope: u32,
}

impl SockAddrIn6 {
    /// The shortest that is taken: without the scope (RFC 2133).
    pub const MIN: usize = 24;

    pub fn new(address: Ipv6Addr, port: u16) -> SockAddrIn6 {
        SockAddrIn6 {
            family: AF_INET6,
            port: port.to_be_bytes(),
            flow: [0; 4],
            address: address.octets(),
            scope: 0,
        }
    }
    pub fn address(&self) -> Ipv6Addr {
        Ipv6Addr::from(self.address)
    }
    pub fn port(&self) -> u16 {
        u16::from_be_bytes(self.port)
    }
}

pub const IPPROTO_IP: i32 = 0;
pub const IPPROTO_ICMP: i32 = 1;
pub const IPPROTO_TCP: i32 = 6;
pub const IPPROTO_UDP: i32 = 17;
pub const IPPROTO_IPV6: i32 = 41;
pub const IPPROTO_ICMPV6: i32 = 58;
pub const IPPROTO_RAW: i32 = 255;
/// One more than the highest protocol of a socket.
pub const IPPROTO_MAX: i32 = 263;

/// Options of `IPPROTO_IP`.
pub mod ip {
    pub const TOS: i32 = 1;
    pub const TTL: i32 = 2;
    pub const HDRINCL: i32 = 3;
    pub const OPTIONS: i32 = 4;
    pub const PKTINFO: i32 = 8;
    pub const MTU_DISCOVER: i32 = 10;
    pub const RECVERR: i32 = 11;
    pub const RECVTTL: i32 = 12;
    pub const RECVTOS: i32 = 13;
    pub const MTU: i32 = 14;
    pub const FREEBIND: i32 = 15;
    pub const BIND_ADDRESS_NO_PORT: i32 = 24;
    pub const MULTICAST_IF: i32 = 32;
    pub const MULTICAST_TTL: i32 = 33;
    pub const MULTICAST_LOOP: i32 = 34;
}

/// Options of `IPPROTO_IPV6`.
pub mod ipv6 {
    pub const UNICAST_HOPS: i32 = 16;
    pub const MTU_DISCOVER: i32 = 23;
    pub const RECVERR: i32 = 25;
    pub const V6ONLY: i32 = 26;
    pub const RECVPKTINFO: i32 = 49;
    pub const PKTINFO: i32 = 50;
    pub const RECVHOPLIMIT: i32 = 51;
    pub const HOPLIMIT: i32 = 52;
    pub const RECVTCLASS: i32 = 66;
    pub const TCLASS: i32 = 67;
}

/// Options of `IPPROTO_TCP`.
pub mod tcp {
    pub const NODELAY: i32 = 1;
    pub const MAXSEG: i32 = 2;
    pub const CORK: i32 = 3;
    pub const KEEPIDLE: i32 = 4;
    pub const KEEPINTVL: i32 = 5;
    pub const KEEPCNT: i32 = 6;
    pub const SYNCNT: i32 = 7;
    pub const LINGER2: i32 = 8;
    pub const DEFER_ACCEPT: i32 = 9;
    pub const WINDOW_CLAMP: i32 = 10;
    pub const INFO: i32 = 11;
    pub const QUICKACK: i32 = 12;
    pub const CONGESTION: i32 = 13;
    pub const USER_TIMEOUT: i32 = 18;
}

/// `struct in_pktinfo`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InPktInfo {
    pub index: i32,
    /// The address a reply would come from; of a send, the source.
    pub spec_dst: [u8; 4],
    pub address: [u8; 4],
}

/// `struct in6_pktinfo`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct In6PktInfo {
    pub address: [u8; 16],
    pub index: i32,
}

const _: () = assert!(size_of::<IfReq>() == 40);
const _: () = assert!(size_of::<IfConf>() == 16);
const _: () = assert!(size_of::<SockAddrIn>() == 16);
const _: () = assert!(size_of::<SockAddrIn6>() == 28);
