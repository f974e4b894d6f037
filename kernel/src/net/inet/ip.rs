//! Packets between the protocols of this machine: all but those of TCP, which has its own way.
//!
//! The loopback interface hands a packet over in the sender's own call, as Linux does behind its softirq.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use abi::net::{IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP};
use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet};

use super::tcp::{self, Segment};
use super::{address, arrive, icmp, raw, udp};
use crate::net::{interface, packet as taps};

pub const ICMP: u8 = IPPROTO_ICMP as u8;
pub const TCP: u8 = IPPROTO_TCP as u8;
pub const UDP: u8 = IPPROTO_UDP as u8;
pub const ICMPV6: u8 = IPPROTO_ICMPV6 as u8;

pub const V4_HEADER: usize = 20;
pub const V6_HEADER: usize = 40;

/// A packet without its header of IP.
#[derive(Clone)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub ttl: u8,
    pub tos: u8,
    /// What follows the header of IP.
    pub payload: Vec<u8>,
}

impl Packet {
    fn header_len(&self) -> usize {
        match self.destination {
            IpAddr::V4(_) => V4_HEADER,
            IpAddr::V6(_) => V6_HEADER,
        }
    }

    /// The packet as it would be on a wire, cut to `max` bytes.
    pub fn to_bytes(&self, max: usize) -> Vec<u8> {
        let header = self.header_len();
        let mut bytes = alloc::vec![0; header];
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut packet = Ipv4Packet::new_unchecked(&mut bytes);
                packet.set_version(4);
                packet.set_header_len(V4_HEADER as u8);
                packet.set_dscp(self.tos >> 2);
                packet.set_ecn(self.tos & 3);
                packet.set_total_len((header + self.payload.len()) as u16);
                packet.set_dont_frag(true);
                packet.set_hop_limit(self.ttl);
                packet.set_next_header(IpProtocol::from(self.protocol));
                packet.set_src_addr(source);
                packet.set_dst_addr(destination);
                packet.fill_checksum();
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut packet = Ipv6Packet::new_unchecked(&mut bytes);
                packet.set_version(6);
                packet.set_traffic_class(self.tos);
                packet.set_payload_len(self.payload.len() as u16);
                packet.set_next_header(IpProtocol::from(self.protocol));
                packet.set_hop_limit(self.ttl);
                packet.set_src_addr(source);
                packet.set_dst_addr(destination);
            }
            // A packet is of one family.
            _ => {}
        }
        let room = max.saturating_sub(header).min(self.payload.len());
        bytes.extend_from_slice(self.payload.get(..room).unwrap_or_default());
        bytes
    }

    /// The ports of a protocol that has them first.
    pub fn ports(&self) -> Option<(u16, u16)> {
        ports_of(&self.payload)
    }
}

/// The ports that a header begins with.
pub fn ports_of(header: &[u8]) -> Option<(u16, u16)> {
    let (source, rest) = header.split_first_chunk::<2>()?;
    let (destination, _) = rest.split_first_chunk::<2>()?;
    Some((
        u16::from_be_bytes(*source),
        u16::from_be_bytes(*destination),
    ))
}

/// Where a packet is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// This machine, which made it as it should be.
    Here,
    /// Somebody, who may have made anything.
    Wire,
}

/// Sends a packet whose way was found: it arrives before this returns.
pub fn output(packet: Packet) {
    let loopback = interface::loopback();
    if !loopback.is_up() {
        return;
    }
    let len = packet.header_len() + packet.payload.len();
    loopback.sent.count(len);
    loopback.received.count(len);
    if taps::is_tapped() {
        taps::show(&packet.to_bytes(usize::MAX));
    }
    input(packet, Origin::Here);
}

/// A packet arrives.
pub fn input(mut packet: Packet, origin: Origin) {
    // A raw socket may name any addresses; what is not for this machine is lost.
    if !address::owns(packet.destination) {
        return;
    }
    let was_wanted = raw::deliver(&packet);
    if origin == Origin::Wire && !arrive::is_sound(&mut packet) {
        return;
    }
    match packet.protocol {
        UDP => udp::input(packet),
        ICMP if packet.destination.is_ipv4() => icmp::input(&packet),
        ICMPV6 if packet.destination.is_ipv6() => icmp::input_v6(&packet),
        TCP => tcp::input(&packet),
        _ if was_wanted => {}
        _ => icmp::unreachable(&packet, icmp::Unreachable::Protocol),
    }
}

impl From<&Packet> for Segment {
    fn from(packet: &Packet) -> Segment {
        let bytes = packet.to_bytes(usize::MAX);
        let mut segment = Segment::with_len(bytes.len());
        segment.bytes_mut().copy_from_slice(&bytes);
        segment
    }
}

/// The sum that headers carry, over a pseudo header's sum and the bytes.
pub fn checksum(start: u32, bytes: &[u8]) -> u16 {
    let mut sum = u64::from(start);
    let mut words = bytes.chunks_exact(2);
    for word in &mut words {
        sum += u64::from(u16::from_be_bytes([
            word.first().copied().unwrap_or(0),
            word.get(1).copied().unwrap_or(0),
        ]));
    }
    if let Some(last) = words.remainder().first() {
        sum += u64::from(*last) << 8;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The sum of what a checksum over IPv6 covers beside the bytes.
pub fn pseudo_sum(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> u32 {
    let mut sum = u32::from(protocol) + len as u32;
    for address in [source, destination] {
        let add = |sum: &mut u32, bytes: &[u8]| {
            for word in bytes.chunks_exact(2) {
                let high = u32::from(word.first().copied().unwrap_or(0)) << 8;
                *sum += high | u32::from(word.get(1).copied().unwrap_or(0));
            }
        };
        match address {
            IpAddr::V4(address) => add(&mut sum, &address.octets()),
            IpAddr::V6(address) => add(&mut sum, &address.octets()),
        }
    }
    sum
}

/// An address and port of each side.
pub fn ends(packet: &Packet) -> Option<(SocketAddr, SocketAddr)> {
    let (source, destination) = packet.ports()?;
    Some((
        SocketAddr::new(packet.source, source),
        SocketAddr::new(packet.destination, destination),
    ))
}
