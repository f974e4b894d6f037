//! Packets that came as bytes, as from a wire: those that `AF_PACKET` sockets put on the loopback interface.
//!
//! What this machine sends to itself is right by its making. These packets can be anything: what does not hold up, or
//! may not come from outside, is dropped without a word.
//!
//! Fragments are not put together, and extension headers of IPv6 are not read: such packets are dropped too.
//!
//! References: RFC 791, 8200, 1122 (3.2.1.3); `ip_rcv` and `ip_route_input_slow` of Linux for what is dropped.

use core::net::{IpAddr, Ipv4Addr};

use abi::packet::{ETH_P_IP, ETH_P_IPV6, PACKET_HOST, PACKET_OTHERHOST};
use smoltcp::wire::{Ipv4Packet, Ipv6Packet};

use super::ip::{self, Packet};
use super::udp;
use crate::net::interface;

/// The payload of a frame of that protocol and kind (`PACKET_HOST` and its kin) arrives.
pub fn input(bytes: &[u8], protocol: u16, kind: u8) {
    if kind == PACKET_OTHERHOST {
        return;
    }
    let packet = match protocol {
        ETH_P_IP => parse_v4(bytes),
        ETH_P_IPV6 => parse_v6(bytes),
        _ => None,
    };
    let Some(packet) = packet else { return };
    // A segment for a whole network is none.
    if packet.protocol == ip::TCP && kind != PACKET_HOST {
        return;
    }
    ip::input(packet, ip::Origin::Wire);
}

/// Addresses of IPv4 that no packet from outside bears. Those of the loopback network are among them on the loopback
/// interface too (`route_localnet` is off), and so are this machine's own as a source (`accept_local` is off).
fn is_martian(source: Ipv4Addr, destination: Ipv4Addr) -> bool {
    let is_odd = |address: Ipv4Addr| {
        let [first, ..] = address.octets();
        first == 0 || address.is_loopback()
    };
    let is_own = |interface: &interface::Interface| {
        let mut own = interface.v4_addresses().into_iter();
        own.any(|own| own.address == source)
    };
    is_odd(source)
        || is_odd(destination)
        || source.is_multicast()
        || source.is_broadcast()
        || interface::all().any(is_own)
}

fn parse_v4(bytes: &[u8]) -> Option<Packet> {
    let packet = Ipv4Packet::new_checked(bytes).ok()?;
    let is_fragment = packet.more_frags() || packet.frag_offset() != 0;
    let header = usize::from(packet.header_len());
    if packet.version() != 4 || header < ip::V4_HEADER || is_fragment || !packet.verify_checksum() {
        return None;
    }
    let (source, destination) = (packet.src_addr(), packet.dst_addr());
    if is_martian(source, destination) {
        return None;
    }
    Some(Packet {
        source: IpAddr::V4(source),
        destination: IpAddr::V4(destination),
        protocol: u8::from(packet.next_header()),
        ttl: packet.hop_limit(),
        tos: packet.dscp() << 2 | packet.ecn(),
        payload: packet.payload().to_vec(),
    })
}

fn parse_v6(bytes: &[u8]) -> Option<Packet> {
    /// Options for each hop, routing, fragments, options for the end.
    const EXTENSIONS: [u8; 4] = [0, 43, 44, 60];
    let packet = Ipv6Packet::new_checked(bytes).ok()?;
    let protocol = u8::from(packet.next_header());
    let source = packet.src_addr();
    if packet.version() != 6 || EXTENSIONS.contains(&protocol) || source.is_multicast() {
        return None;
    }
    Some(Packet {
        source: IpAddr::V6(source),
        destination: IpAddr::V6(packet.dst_addr()),
        protocol,
        ttl: packet.hop_limit(),
        tos: packet.traffic_class(),
        payload: packet.payload().to_vec(),
    })
}

/// Whether the packet of its protocol holds up; what follows a datagram is cut off.
pub fn is_sound(packet: &mut Packet) -> bool {
    match (packet.protocol, packet.destination) {
        (ip::UDP, _) => is_sound_datagram(packet),
        (ip::ICMP, IpAddr::V4(_)) => ip::checksum(0, &packet.payload) == 0,
        (ip::TCP, _) | (ip::ICMPV6, IpAddr::V6(_)) => sum(packet) == 0,
        _ => true,
    }
}

fn is_sound_datagram(packet: &mut Packet) -> bool {
    let word = |at: usize| {
        let word = packet.payload.get(at..)?.first_chunk::<2>()?;
        Some(u16::from_be_bytes(*word))
    };
    let (Some(len), Some(stated)) = (word(4), word(6)) else {
        return false;
    };
    let len = usize::from(len);
    if len < udp::HEADER || len > packet.payload.len() {
        return false;
    }
    packet.payload.truncate(len);
    match stated {
        // It was not made, which only IPv4 allows.
        0 => packet.destination.is_ipv4(),
        _ => sum(packet) == 0,
    }
}

/// The sum over the packet's payload and its addresses: 0 if the one that it carries is right.
fn sum(packet: &Packet) -> u16 {
    let len = packet.payload.len();
    let start = ip::pseudo_sum(packet.source, packet.destination, packet.protocol, len);
    ip::checksum(start, &packet.payload)
}
