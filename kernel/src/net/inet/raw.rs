//! Raw sockets: packets of one protocol, as they are.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicUsize, Ordering};

use abi::{Errno, Result};
use smoltcp::wire::Ipv4Packet;

use super::address::Family;
use super::datagram::DatagramSocket;
use super::ip::{self, Packet};
use super::tcp::Summary;
use crate::sync::RwLock;

static SOCKETS: RwLock<Vec<Arc<DatagramSocket>>> = RwLock::new(Vec::new());
/// How many there are: nearly always none.
static COUNT: AtomicUsize = AtomicUsize::new(0);

pub fn add(socket: Arc<DatagramSocket>) {
    let mut sockets = SOCKETS.write();
    sockets.push(socket);
    COUNT.store(sockets.len(), Ordering::SeqCst);
}

pub fn remove(socket: &DatagramSocket) {
    let mut sockets = SOCKETS.write();
    sockets.retain(|other| !core::ptr::eq(Arc::as_ptr(other), socket));
    COUNT.store(sockets.len(), Ordering::SeqCst);
}

/// Every raw socket.
pub fn all() -> Vec<Arc<DatagramSocket>> {
    SOCKETS.read().clone()
}

/// Gives a copy to each raw socket that wants the packet; whether one does.
pub fn deliver(packet: &Packet) -> bool {
    if COUNT.load(Ordering::SeqCst) == 0 {
        return false;
    }
    let source = SocketAddr::new(packet.source, 0);
    let wants = |socket: &&Arc<DatagramSocket>| {
        socket.raw_protocol() == Some(packet.protocol)
            && (socket.common.family == Family::V4) == packet.destination.is_ipv4()
            && socket.takes(source, packet.destination)
            && !socket.filters(packet)
    };
    let takers: Vec<_> = SOCKETS.read().iter().filter(wants).cloned().collect();
    for socket in &takers {
        if packet.destination.is_ipv4() {
            let whole = Packet {
                payload: packet.to_bytes(usize::MAX),
                ..packet.clone()
            };
            socket.deliver_owned(whole, source, 0);
        } else {
            socket.deliver(packet, source, 0);
        }
    }
    !takers.is_empty()
}

/// Shows a packet of TCP to the raw sockets.
pub fn tap_tcp(summary: &Summary, bytes: &[u8]) {
    if COUNT.load(Ordering::SeqCst) == 0 {
        return;
    }
    let header = match summary.source {
        SocketAddr::V4(_) => ip::V4_HEADER,
        SocketAddr::V6(_) => ip::V6_HEADER,
    };
    deliver(&Packet {
        source: summary.source.ip(),
        destination: summary.destination.ip(),
        protocol: ip::TCP,
        ttl: 64,
        tos: 0,
        payload: bytes.get(header..).unwrap_or_default().to_vec(),
    });
}

/// The packet that the user made with its header (`IP_HDRINCL`). The kernel sets its length and checksum, and the
/// source if it is not given.
///
/// # Errors
/// `EINVAL` for what is no header.
pub fn parse(bytes: &[u8], source: IpAddr) -> Result<Packet> {
    if bytes.len() < ip::V4_HEADER {
        return Err(Errno::EINVAL);
    }
    let packet = Ipv4Packet::new_unchecked(bytes);
    let header = usize::from(packet.header_len());
    if header < ip::V4_HEADER || header > bytes.len() {
        return Err(Errno::EINVAL);
    }
    let given = IpAddr::V4(packet.src_addr());
    Ok(Packet {
        source: if given.is_unspecified() {
            source
        } else {
            given
        },
        destination: IpAddr::V4(packet.dst_addr()),
        protocol: u8::from(packet.next_header()),
        ttl: packet.hop_limit(),
        tos: packet.dscp() << 2 | packet.ecn(),
        payload: bytes.get(header..).unwrap_or_default().to_vec(),
    })
}
