//! Packets of an interface as they are (`AF_PACKET`): addresses, options, what is told of a packet.
//!
//! References: packet(7); `linux/if_packet.h`, `linux/if_ether.h`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The level of the family's options.
pub const SOL_PACKET: i32 = 263;

/// Bytes of the header of Ethernet: two addresses and a protocol.
pub const ETH_HLEN: usize = 14;
/// Bytes of an address of Ethernet.
pub const ETH_ALEN: usize = 6;
/// From this number on the last field of the header is a protocol; below it is a length.
pub const ETH_P_802_3_MIN: u16 = 0x600;
pub const ETH_P_IP: u16 = 0x800;
pub const ETH_P_IPV6: u16 = 0x86dd;
/// A frame with a length, as Novell sends it.
pub const ETH_P_802_3: u16 = 1;
/// Every protocol.
pub const ETH_P_ALL: u16 = 3;
/// A frame with a length.
pub const ETH_P_802_2: u16 = 4;

/// To this machine.
pub const PACKET_HOST: u8 = 0;
pub const PACKET_MULTICAST: u8 = 2;
/// To another machine.
pub const PACKET_OTHERHOST: u8 = 3;
/// Sent by this machine.
pub const PACKET_OUTGOING: u8 = 4;

/// The options of `SOL_PACKET`.
pub mod option {
    pub const ADD_MEMBERSHIP: i32 = 1;
    pub const DROP_MEMBERSHIP: i32 = 2;
    pub const STATISTICS: i32 = 6;
    pub const AUXDATA: i32 = 8;
    pub const ORIGDEV: i32 = 9;
    pub const IGNORE_OUTGOING: i32 = 23;
}

/// What a membership asks for (`PACKET_MR_*`).
pub mod membership {
    pub const MULTICAST: u16 = 0;
    pub const PROMISC: u16 = 1;
    pub const ALLMULTI: u16 = 2;
    pub const UNICAST: u16 = 3;
}

/// `tp_status`: the packet is the user's.
pub const TP_STATUS_USER: u32 = 1;
/// The sums of the packet's protocol are not made.
pub const TP_STATUS_CSUMNOTREADY: u32 = 8;

/// `struct sockaddr_ll`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SockAddrLl {
    pub family: u16,
    /// In network order.
    pub protocol: [u8; 2],
    pub ifindex: i32,
    /// `ARPHRD_*`.
    pub hatype: u16,
    pub pkttype: u8,
    pub halen: u8,
    pub address: [u8; 8],
}

impl SockAddrLl {
    /// Bytes before the address.
    pub const HEAD: usize = core::mem::offset_of!(SockAddrLl, address);

    /// Puts an address of Ethernet.
    pub fn set_address(&mut self, address: [u8; ETH_ALEN]) {
        self.halen = ETH_ALEN as u8;
        for (slot, byte) in self.address.iter_mut().zip(address) {
            *slot = byte;
        }
    }

    /// An address of Ethernet, whatever its length is said to be.
    pub fn ethernet(&self) -> [u8; ETH_ALEN] {
        let [a, b, c, d, e, f, ..] = self.address;
        [a, b, c, d, e, f]
    }
}

/// `struct packet_mreq`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PacketMreq {
    pub ifindex: i32,
    pub kind: u16,
    pub alen: u16,
    pub address: [u8; 8],
}

impl PacketMreq {
    /// Bytes before the address.
    pub const HEAD: usize = core::mem::offset_of!(PacketMreq, address);
}

/// `struct tpacket_stats`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TpacketStats {
    /// With those that were lost.
    pub packets: u32,
    pub drops: u32,
}

/// `struct tpacket_auxdata`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TpacketAuxdata {
    pub status: u32,
    pub len: u32,
    /// What a filter left of it.
    pub snaplen: u32,
    pub mac: u16,
    pub net: u16,
    pub vlan_tci: u16,
    pub vlan_tpid: u16,
}

const _: () = assert!(size_of::<SockAddrLl>() == 20);
const _: () = assert!(size_of::<PacketMreq>() == 16);
const _: () = assert!(size_of::<TpacketStats>() == 8);
const _: () = assert!(size_of::<TpacketAuxdata>() == 20);
