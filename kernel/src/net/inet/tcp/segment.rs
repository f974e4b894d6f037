//! A packet of TCP on its way, with its header of IP: what of it is read outside of the protocol, and its memory.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;
use smoltcp::wire::{
    IpProtocol, Ipv4Address, Ipv4Packet, Ipv6Address, Ipv6Packet, TcpPacket, TcpSeqNumber,
};

use crate::sync::SpinLock;

/// From this length on a packet's memory is kept for the next one.
const LARGE: usize = 4096;
/// How many are kept.
const KEPT: usize = 8;

/// Memory of large packets: making it anew would clear it each time.
static SPARE: SpinLock<ArrayVec<Vec<u8>, KEPT>> = SpinLock::new(ArrayVec::new_const());

/// One packet.
pub struct Segment {
    /// At least `len` bytes.
    memory: Vec<u8>,
    len: usize,
}

/// What the tables look at.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub syn: bool,
    pub ack: bool,
    pub fin: bool,
    pub rst: bool,
    pub sequence: TcpSeqNumber,
    pub acknowledged: TcpSeqNumber,
    /// The urgent pointer, where there is one.
    pub urgent: Option<u16>,
    /// In sequence space.
    pub length: usize,
}

impl Segment {
    /// A packet of so many bytes, to be written.
    pub fn with_len(len: usize) -> Segment {
        let spare = if len >= LARGE {
            let mut spare = SPARE.lock();
            let index = spare.iter().position(|memory| memory.len() >= len);
            index.and_then(|index| spare.swap_pop(index))
        } else {
            None
        };
        let memory = spare.unwrap_or_else(|| alloc::vec![0; len]);
        Segment { memory, len }
    }

    pub fn bytes(&self) -> &[u8] {
        self.memory.get(..self.len).unwrap_or_default()
    }
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(..self.len).unwrap_or_default()
    }

    /// The packet is done with.
    pub fn recycle(self) {
        if self.memory.len() < LARGE {
            return;
        }
        let mut spare = SPARE.lock();
        let refused = spare.try_push(self.memory);
        drop(spare);
        drop(refused);
    }

    /// The length of its header of IP.
    fn header_len(&self) -> usize {
        match self.bytes().first() {
            Some(first) if first >> 4 == 4 => usize::from(first & 0xf) * 4,
            _ => 40,
        }
    }

    /// A byte of what it carries.
    pub fn payload_byte(&self, index: usize) -> Option<u8> {
        let bytes = self.bytes().get(self.header_len()..)?;
        let packet = TcpPacket::new_checked(bytes).ok()?;
        packet.payload().get(index).copied()
    }

    /// Sets the urgent pointer. Packets here have no checksum.
    pub fn set_urgent(&mut self, pointer: u16) {
        let header = self.header_len();
        let bytes = self.bytes_mut().get_mut(header..).unwrap_or_default();
        if let Ok(mut packet) = TcpPacket::new_checked(bytes) {
            packet.set_urg(true);
            packet.set_urgent_at(pointer);
        }
    }

    /// What the packet is; `None` for one that is malformed.
    pub fn summary(&self) -> Option<Summary> {
        let bytes = self.bytes();
        let version = bytes.first()? >> 4;
        let (source, destination, payload): (IpAddr, IpAddr, &[u8]) = if version == 4 {
            let packet = Ipv4Packet::new_checked(bytes).ok()?;
            (
                packet.src_addr().into(),
                packet.dst_addr().into(),
                packet.payload(),
            )
        } else {
            let packet = Ipv6Packet::new_checked(bytes).ok()?;
            (
                packet.src_addr().into(),
                packet.dst_addr().into(),
                packet.payload(),
            )
        };
        let packet = TcpPacket::new_checked(payload).ok()?;
        Some(Summary {
            source: SocketAddr::new(source, packet.src_port()),
            destination: SocketAddr::new(destination, packet.dst_port()),
            syn: packet.syn(),
            ack: packet.ack(),
            fin: packet.fin(),
            rst: packet.rst(),
            sequence: packet.seq_number(),
            acknowledged: packet.ack_number(),
            urgent: packet.urg().then(|| packet.urgent_at()),
            length: packet.segment_len(),
        })
    }

    /// An acknowledgement of all that `of` brings, for a connection of which nothing is kept but that it was.
    pub fn acknowledging(of: &Summary) -> Segment {
        let (header, total) = match of.source {
            SocketAddr::V4(_) => (20, 40),
            SocketAddr::V6(_) => (40, 60),
        };
        let mut segment = Segment::with_len(total);
        match (of.destination.ip(), of.source.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => put_v4(segment.bytes_mut(), from, to),
            (IpAddr::V6(from), IpAddr::V6(to)) => put_v6(segment.bytes_mut(), from, to),
            _ => {}
        }
        let bytes = segment.bytes_mut().get_mut(header..).unwrap_or_default();
        let mut tcp = TcpPacket::new_unchecked(bytes);
        tcp.set_src_port(of.destination.port());
        tcp.set_dst_port(of.source.port());
        tcp.set_seq_number(of.acknowledged);
        tcp.set_ack_number(of.sequence + of.length);
        tcp.set_header_len(20);
        tcp.clear_flags();
        tcp.set_ack(true);
        tcp.set_window_len(0);
        tcp.set_checksum(0);
        tcp.set_urgent_at(0);
        segment
    }
}

fn put_v4(bytes: &mut [u8], from: Ipv4Address, to: Ipv4Address) {
    let mut packet = Ipv4Packet::new_unchecked(bytes);
    packet.set_version(4);
    packet.set_header_len(20);
    packet.set_total_len(40);
    packet.set_hop_limit(64);
    packet.set_next_header(IpProtocol::Tcp);
    packet.set_src_addr(from);
    packet.set_dst_addr(to);
}

fn put_v6(bytes: &mut [u8], from: Ipv6Address, to: Ipv6Address) {
    let mut packet = Ipv6Packet::new_unchecked(bytes);
    packet.set_version(6);
    packet.set_payload_len(20);
    packet.set_hop_limit(64);
    packet.set_next_header(IpProtocol::Tcp);
    packet.set_src_addr(from);
    packet.set_dst_addr(to);
}
