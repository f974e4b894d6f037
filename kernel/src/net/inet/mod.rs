//! Sockets of the internet families (`AF_INET`, `AF_INET6`), over the loopback interface.
//!
//! | module | what |
//! |---|---|
//! | this | making sockets |
//! | `ops` | what the calls and the files of both kinds of sockets do |
//! | [`address`] | addresses of users and of the kernel; routes |
//! | [`common`] | options, those of IP too |
//! | [`ports`] | who has which port |
//! | [`tcp`] | streams |
//! | [`datagram`] | UDP, echo requests, raw packets: one kind of socket |
//! | `transfer` | sending and receiving datagrams |
//! | [`udp`], [`icmp`], [`raw`] | whose a packet is, and what each protocol adds |
//! | [`ip`] | packets, checksums, handing over |
//! | [`arrive`] | packets that came as bytes |
//!
//! # The shape
//! A packet is handed over in the call that sends it: there is no queue between the two ends but the receiver's own.
//! TCP is `smoltcp`'s, one instance for each connection; its packets are bytes as on a wire. Those of the other
//! protocols carry their addresses beside them and become bytes for raw sockets and those of
//! [`packet`](crate::net::packet) only.
//!
//! # Lock order
//! ```text
//! TcpSocket::bound, DatagramSocket::lease (sleeping)
//!   Connection::active (sleeping; held across user memory; never two of them)
//!     Listener::lease (sleeping)
//!       Ports::table (sleeping)
//!         the tables of connections, listeners, UDP, echo requests, raw sockets, packet sockets (sleeping)
//!           tcp::timer::DEADLINES (sleeping)
//!             spin locks: Connection::input, Listener::ready, the queue and the addresses of a datagram socket
//! ```
//! Leases are dropped outside of the tables' locks.
//!
//! # Invariants
//! - Who delivers to a connection does not wait for its lock: see [`tcp::connection`].
//! - Nothing here runs in interrupts or with them off.
//!
//! References: ip(7), ipv6(7), tcp(7), udp(7), raw(7), icmp(7); RFC 9293, 768, 792, 4443; the behaviour of Linux 6.18.

pub mod address;
pub mod arrive;
pub mod common;
pub mod datagram;
pub mod icmp;
pub mod ip;
mod ops;
pub mod ports;
pub mod raw;
pub mod tcp;
mod transfer;
pub mod udp;

use alloc::sync::Arc;

use abi::net::{IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_IP, IPPROTO_MAX, IPPROTO_TCP, IPPROTO_UDP};
use abi::socket::{SOCK_DGRAM, SOCK_RAW, SOCK_STREAM};
use abi::{Errno, Result};

use crate::net::socket::Socket;
use crate::task::{self, Cap};
use address::Family;
use datagram::{DatagramSocket, Flavor};
use tcp::TcpSocket;

/// A new socket.
///
/// # Errors
/// `EINVAL` for a number that is no protocol, `ESOCKTNOSUPPORT`, `EPROTONOSUPPORT`, `EPERM` for a raw socket without
/// CAP_NET_RAW, `EACCES` for echo requests by who is in no group that may.
pub fn create(family: Family, kind: u32, protocol: i32) -> Result<Arc<dyn Socket>> {
    if !(0..IPPROTO_MAX).contains(&protocol) {
        return Err(Errno::EINVAL);
    }
    let echo = match family {
        Family::V4 => IPPROTO_ICMP,
        Family::V6 => IPPROTO_ICMPV6,
    };
    match (kind, protocol) {
        (SOCK_STREAM, IPPROTO_IP | IPPROTO_TCP) => Ok(TcpSocket::new(family)),
        (SOCK_DGRAM, IPPROTO_IP | IPPROTO_UDP) => Ok(DatagramSocket::new(family, Flavor::Udp)),
        (SOCK_DGRAM, protocol) if protocol == echo => {
            icmp::may_ping()?;
            Ok(DatagramSocket::new(family, Flavor::Ping))
        }
        (SOCK_RAW, IPPROTO_IP) => Err(Errno::EPROTONOSUPPORT),
        (SOCK_RAW, protocol) => {
            if !task::current().my_cred().capable(Cap::NET_RAW) {
                return Err(Errno::EPERM);
            }
            let protocol = u8::try_from(protocol).map_err(|_| Errno::EPROTONOSUPPORT)?;
            Ok(DatagramSocket::new(family, Flavor::Raw(protocol)))
        }
        (SOCK_STREAM | SOCK_DGRAM, _) => Err(Errno::EPROTONOSUPPORT),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}
