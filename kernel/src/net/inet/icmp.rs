//! ICMP: answers to echo requests, word of what could not be delivered, and sockets that send echo requests
//! (`SOCK_DGRAM` with `IPPROTO_ICMP`).

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicU64, Ordering};

use abi::{Errno, Result};

use super::datagram::DatagramSocket;
use super::ip::{self, Packet};
use super::udp;
use crate::net::inet::common::HOPS;
use crate::sync::RwLock;
use crate::task;

const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO: u8 = 8;
const V6_UNREACHABLE: u8 = 1;
const V6_ECHO: u8 = 128;
const V6_ECHO_REPLY: u8 = 129;
/// Bytes of the header: type, code, checksum, and four that depend.
pub const HEADER: usize = 8;
/// The most of a packet that comes back in an error (RFC 1812).
const QUOTED: usize = 576 - 28;

/// Why a packet could not be delivered.
#[derive(Clone, Copy)]
pub enum Unreachable {
    Protocol,
    Port,
}

/// `net.ipv4.ping_group_range`: the first and the last group whose members may have sockets for echo requests.
static PING_GROUPS: AtomicU64 = AtomicU64::new(1);

pub fn ping_groups() -> (u32, u32) {
    let groups = PING_GROUPS.load(Ordering::Relaxed);
    (groups as u32, (groups >> 32) as u32)
}
pub fn set_ping_groups(low: u32, high: u32) {
    PING_GROUPS.store(u64::from(low) | u64::from(high) << 32, Ordering::Relaxed);
}

/// # Errors
/// `EACCES` for who is in none of the groups.
pub fn may_ping() -> Result<()> {
    let (low, high) = ping_groups();
    let task = task::current();
    let cred = task.my_cred();
    let is_in = |group: &u32| (low..=high).contains(group);
    if is_in(&cred.egid) || cred.groups.iter().any(is_in) {
        return Ok(());
    }
    Err(Errno::EACCES)
}

/// The sockets by the number that their requests carry.
static SOCKETS: RwLock<BTreeMap<u16, Vec<Arc<DatagramSocket>>>> = RwLock::new(BTreeMap::new());

pub fn add(number: u16, socket: Arc<DatagramSocket>) {
    SOCKETS.write().entry(number).or_default().push(socket);
}

pub fn remove(number: u16, socket: &DatagramSocket) {
    let mut sockets = SOCKETS.write();
    if let Some(list) = sockets.get_mut(&number) {
        list.retain(|other| !core::ptr::eq(Arc::as_ptr(other), socket));
        if list.is_empty() {
            sockets.remove(&number);
        }
    }
}

fn is_v6(packet: &Packet) -> bool {
    packet.destination.is_ipv6()
}

/// Puts the checksum into a message.
pub fn seal(packet: &mut Packet) {
    if let Some(slot) = packet.payload.get_mut(2..4) {
        slot.fill(0);
    }
    let start = if is_v6(packet) {
        let len = packet.payload.len();
        ip::pseudo_sum(packet.source, packet.destination, packet.protocol, len)
    } else {
        0
    };
    let sum = ip::checksum(start, &packet.payload);
    if let Some(slot) = packet.payload.get_mut(2..4) {
        slot.copy_from_slice(&sum.to_be_bytes());
    }
}

/// The number of an echo request or reply.
fn number_of(message: &[u8]) -> Option<u16> {
    let bytes = message.get(4..6)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*bytes))
}

/// The request of a socket with that number: what the user gave, with the number and the checksum put in.
///
/// # Errors
/// `EINVAL` for what is no echo request.
pub fn make_request(packet: &mut Packet, number: u16) -> Result<()> {
    let wanted = if is_v6(packet) { V6_ECHO } else { ECHO };
    if packet.payload.len() < HEADER || packet.payload.get(..2) != Some(&[wanted, 0]) {
        return Err(Errno::EINVAL);
    }
    if let Some(slot) = packet.payload.get_mut(4..6) {
        slot.copy_from_slice(&number.to_be_bytes());
    }
    seal(packet);
    Ok(())
}

/// Answers an echo request, or gives an answer to who asked.
fn echo(packet: &Packet, request: u8, reply: u8) {
    match packet.payload.first() {
        Some(kind) if *kind == request => {
            let mut answer = Packet {
                source: packet.destination,
                destination: packet.source,
                ttl: HOPS,
                ..packet.clone()
            };
            if let Some(slot) = answer.payload.first_mut() {
                *slot = reply;
            }
            seal(&mut answer);
            ip::output(answer);
        }
        Some(kind) if *kind == reply => {
            let Some(number) = number_of(&packet.payload) else {
                return;
            };
            let sockets = SOCKETS.read().get(&number).cloned().unwrap_or_default();
            let source = SocketAddr::new(packet.source, 0);
            for socket in sockets {
                if socket.takes(source, packet.destination) {
                    socket.deliver(packet, source, 0);
                }
            }
        }
        _ => {}
    }
}

/// An ICMP message arrived.
pub fn input(packet: &Packet) {
    if packet.payload.len() < HEADER {
        return;
    }
    match packet.payload.first() {
        Some(&UNREACHABLE) => undelivered(packet, ip::V4_HEADER),
        _ => echo(packet, ECHO, ECHO_REPLY),
    }
}

/// An ICMPv6 message arrived.
pub fn input_v6(packet: &Packet) {
    if packet.payload.len() < HEADER {
        return;
    }
    match packet.payload.first() {
        Some(&V6_UNREACHABLE) => undelivered(packet, ip::V6_HEADER),
        _ => echo(packet, V6_ECHO, V6_ECHO_REPLY),
    }
}

/// A packet of ours came back: the socket that it is from hears of it.
fn undelivered(packet: &Packet, header: usize) {
    let quoted = packet.payload.get(HEADER..).unwrap_or_default();
    let protocol = quoted.get(if header == ip::V4_HEADER { 9 } else { 6 });
    let ports = quoted.get(header..).and_then(ip::ports_of);
    let (Some(&ip::UDP), Some((own, other))) = (protocol, ports) else {
        return;
    };
    // Who answers is who was written to, on one machine.
    let own = SocketAddr::new(packet.destination, own);
    let other = SocketAddr::new(packet.source, other);
    udp::refused(own, other);
}

/// Sends word that a packet could not be delivered, unless it is such word itself.
pub fn unreachable(packet: &Packet, why: Unreachable) {
    let (kind, code) = match (packet.destination, why) {
        (IpAddr::V4(_), Unreachable::Protocol) => (UNREACHABLE, 2),
        (IpAddr::V4(_), Unreachable::Port) => (UNREACHABLE, 3),
        (IpAddr::V6(_), Unreachable::Protocol) => (4, 1),
        (IpAddr::V6(_), Unreachable::Port) => (V6_UNREACHABLE, 4),
    };
    let mut payload = alloc::vec![kind, code, 0, 0, 0, 0, 0, 0];
    payload.extend_from_slice(&packet.to_bytes(QUOTED));
    let mut word = Packet {
        source: packet.destination,
        destination: packet.source,
        protocol: if is_v6(packet) { ip::ICMPV6 } else { ip::ICMP },
        ttl: HOPS,
        tos: 0,
        payload,
    };
    seal(&mut word);
    ip::output(word);
}
