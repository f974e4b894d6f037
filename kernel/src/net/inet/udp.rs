//! UDP: whose a datagram is.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use abi::Errno;
use abi::socket::so;

use super::datagram::DatagramSocket;
use super::icmp::{self, Unreachable};
use super::ip::{self, Packet};
use crate::sync::RwLock;

/// Bytes of the header: two ports, length, checksum.
pub const HEADER: usize = 8;

/// The sockets by port, the last bound first.
static SOCKETS: RwLock<BTreeMap<u16, Vec<Arc<DatagramSocket>>>> = RwLock::new(BTreeMap::new());

pub fn add(port: u16, socket: Arc<DatagramSocket>) {
    SOCKETS.write().entry(port).or_default().insert(0, socket);
}

pub fn remove(port: u16, socket: &DatagramSocket) {
    let mut sockets = SOCKETS.write();
    if let Some(list) = sockets.get_mut(&port) {
        list.retain(|other| !core::ptr::eq(Arc::as_ptr(other), socket));
        if list.is_empty() {
            sockets.remove(&port);
        }
    }
}

/// Every socket that has a port, by it.
pub fn all() -> Vec<Arc<DatagramSocket>> {
    SOCKETS.read().values().flatten().cloned().collect()
}

/// The socket that fits best; among those that share a port, one by who sends.
fn find(source: SocketAddr, destination: SocketAddr) -> Option<Arc<DatagramSocket>> {
    let sockets = SOCKETS.read();
    let list = sockets.get(&destination.port())?;
    let score = |socket: &Arc<DatagramSocket>| socket.score(source, destination.ip());
    let best = list.iter().filter_map(score).max()?;
    let mut matching = list.iter().filter(|socket| score(socket) == Some(best));
    let first = matching.next()?;
    if !first.common.is_on(so::REUSEPORT) {
        return Some(first.clone());
    }
    let others = matching.clone().count();
    match usize::from(source.port()) % (others + 1) {
        0 => Some(first.clone()),
        turn => matching.nth(turn - 1).cloned(),
    }
}

/// The header before the bytes.
pub fn header(source: u16, destination: u16, len: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let words = [source, destination, (HEADER + len) as u16];
    for (slot, word) in header.chunks_exact_mut(2).zip(words) {
        slot.copy_from_slice(&word.to_be_bytes());
    }
    header
}

/// A datagram arrived.
pub fn input(packet: Packet) {
    if packet.payload.len() < HEADER {
        return;
    }
    let Some((source, destination)) = ip::ends(&packet) else {
        return;
    };
    match find(source, destination) {
        Some(socket) => socket.deliver_owned(packet, source, HEADER),
        None => icmp::unreachable(&packet, Unreachable::Port),
    }
}

/// Nobody was there to take what `own` sent to `other`.
pub fn refused(own: SocketAddr, other: SocketAddr) {
    if let Some(socket) = find(other, own) {
        socket.refused(Errno::ECONNREFUSED);
    }
}
