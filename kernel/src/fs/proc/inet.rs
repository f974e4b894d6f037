//! `/proc/net`: the interfaces, and the sockets of the internet families.

use alloc::sync::Arc;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::Ordering;

use abi::Result;

use super::text::Text;
use crate::net::inet::datagram::DatagramSocket;
use crate::net::inet::tcp::end::End;
use crate::net::inet::tcp::table::{self, Entry};
use crate::net::inet::{raw as raw_table, udp as udp_table};
use crate::net::interface;

pub fn dev(out: &mut Text) -> Result<()> {
    out.bytes(b"Inter-|   Receive                                                |  Transmit\n")?;
    out.bytes(b" face |bytes    packets errs drop fifo frame compressed multicast|")?;
    out.bytes(b"bytes    packets errs drop fifo colls carrier compressed\n")?;
    for interface in interface::all() {
        let count = |slot: &core::sync::atomic::AtomicU64| slot.load(Ordering::Relaxed);
        writeln!(
            out,
            "{:>6}: {:7} {:7}    0    0    0     0          0         0 {:8} {:7}    0    0    0     0       0          0",
            interface.name,
            count(&interface.received.bytes),
            count(&interface.received.packets),
            count(&interface.sent.bytes),
            count(&interface.sent.packets),
        )?;
    }
    Ok(())
}

pub fn if_inet6(out: &mut Text) -> Result<()> {
    /// Of the host itself, and for ever.
    const SCOPE_HOST: u32 = 0x10;
    const PERMANENT: u32 = 0x80;
    for interface in interface::all() {
        for own in interface.v6_addresses() {
            for byte in own.address.octets() {
                write!(out, "{byte:02x}")?;
            }
            writeln!(
                out,
                " {:02x} {:02x} {SCOPE_HOST:02x} {PERMANENT:02x} {:>8}",
                interface.index, own.prefix, interface.name
            )?;
        }
    }
    Ok(())
}

/// An address as words of the machine's order.
fn address(address: SocketAddr, is_v6: bool, out: &mut Text) -> Result<()> {
    let mut word = |bytes: &[u8]| {
        let bytes: [u8; 4] = bytes.try_into().unwrap_or_default();
        write!(out, "{:08X}", u32::from_ne_bytes(bytes))
    };
    match (address.ip(), is_v6) {
        (IpAddr::V4(ip), false) => word(&ip.octets())?,
        (IpAddr::V4(ip), true) => {
            for bytes in ip.to_ipv6_mapped().octets().chunks_exact(4) {
                word(bytes)?;
            }
        }
        (IpAddr::V6(ip), _) => {
            for bytes in ip.octets().chunks_exact(4) {
                word(bytes)?;
            }
        }
    }
    write!(out, ":{:04X}", address.port())
}

/// One line: what all protocols tell alike.
struct Line {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
    to_send: usize,
    to_read: usize,
    /// Of the socket's file; 0 where nobody has it.
    uid: u32,
    ino: u64,
}

fn line(number: usize, line: &Line, is_v6: bool, width: usize, out: &mut Text) -> Result<()> {
    write!(out, "{number:>width$}: ")?;
    address(line.local, is_v6, out)?;
    out.bytes(b" ")?;
    address(line.remote, is_v6, out)?;
    write!(
        out,
        " {:02X} {:08X}:{:08X} 00:00000000 00000000 {:5}        0 {}",
        line.state, line.to_send, line.to_read, line.uid, line.ino
    )
}

/// The address that stands for no partner.
fn nobody(is_v6: bool) -> SocketAddr {
    if is_v6 {
        SocketAddr::from(([0_u16; 8], 0))
    } else {
        SocketAddr::from(([0_u8; 4], 0))
    }
}

/// How many references there are beside the one of the listing.
fn others<T>(listed: &Arc<T>) -> usize {
    Arc::strong_count(listed).saturating_sub(1)
}

pub fn tcp(is_v6: bool, out: &mut Text) -> Result<()> {
    out.bytes(b"  sl  local_address ")?;
    if is_v6 {
        out.bytes(b"                        remote_address                       ")?;
    } else {
        out.bytes(b"rem_address   ")?;
    }
    out.bytes(b" st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n")?;
    let mut number = 0;
    let mut put =
        |local, remote, end: Option<&End>, (state, owners): (u8, usize), out: &mut Text| {
            let to_send = end.map_or(0, |end| end.unacknowledged.load(Ordering::SeqCst));
            let shown = Line {
                local,
                remote,
                state,
                to_send,
                to_read: end.map_or(0, End::readable),
                uid: end.map_or(0, |end| end.owner.uid()),
                ino: end.map_or(0, |end| end.owner.ino()),
            };
            line(number, &shown, is_v6, 4, out)?;
            number += 1;
            // No times and windows follow, as of a connection that has ended on Linux: they are smoltcp's.
            writeln!(out, " {owners} 0000000000000000")
        };
    for listener in table::all_listeners() {
        if listener.address.is_ipv6() == is_v6 {
            let local = SocketAddr::new(listener.address, listener.port);
            let end = &listener.end;
            put(
                local,
                nobody(is_v6),
                Some(end),
                (end.state(), others(&listener)),
                out,
            )?;
        }
    }
    for entry in table::all() {
        let (local, remote) = match &entry {
            Entry::Live(connection) => connection.key(),
            Entry::Waiting(waiting) => waiting.key,
        };
        if local.is_ipv6() != is_v6 {
            continue;
        }
        match entry {
            Entry::Live(connection) => {
                let end = &connection.end;
                put(
                    local,
                    remote,
                    Some(end),
                    (end.state(), others(&connection)),
                    out,
                )?;
            }
            Entry::Waiting(waiting) => {
                put(
                    local,
                    remote,
                    None,
                    (waiting.state.load(Ordering::SeqCst), others(&waiting)),
                    out,
                )?;
            }
        }
    }
    Ok(())
}

fn datagrams(sockets: &[Arc<DatagramSocket>], is_v6: bool, out: &mut Text) -> Result<()> {
    /// The states of a datagram socket: with a partner and without.
    const CONNECTED: u8 = 1;
    const UNCONNECTED: u8 = 7;
    out.bytes(b"   sl  local_address ")?;
    if is_v6 {
        out.bytes(b"                        remote_address                       ")?;
    } else {
        out.bytes(b"rem_address   ")?;
    }
    out.bytes(
        b" st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n",
    )?;
    for (number, socket) in sockets.iter().enumerate() {
        if (socket.common.family.number() == abi::socket::AF_INET6) != is_v6 {
            continue;
        }
        let peer = socket.peer();
        let mut local = socket.local().unwrap_or(nobody(is_v6));
        if let Some(protocol) = socket.raw_protocol() {
            local.set_port(u16::from(protocol));
        }
        let shown = Line {
            local,
            remote: peer.unwrap_or(nobody(is_v6)),
            state: if peer.is_some() {
                CONNECTED
            } else {
                UNCONNECTED
            },
            to_send: 0,
            to_read: socket.charge.load(Ordering::SeqCst),
            uid: socket.common.owner.uid(),
            ino: socket.common.owner.ino(),
        };
        line(number, &shown, is_v6, 5, out)?;
        let drops = socket.drops.load(Ordering::Relaxed);
        writeln!(out, " {} 0000000000000000 {drops}", others(socket))?;
    }
    Ok(())
}

pub fn udp(is_v6: bool, out: &mut Text) -> Result<()> {
    datagrams(&udp_table::all(), is_v6, out)
}

pub fn raw(is_v6: bool, out: &mut Text) -> Result<()> {
    datagrams(&raw_table::all(), is_v6, out)
}
