//! Messages to and from the kernel, and between processes (`AF_NETLINK`).
//!
//! | module | what |
//! |---|---|
//! | this | the table of protocols, and making sockets |
//! | [`socket`] | [`NetlinkSocket`]: what has arrived, how much of it there may be, receiving |
//! | `packet` | datagrams on their way |
//! | [`table`] | port numbers and group members; sending to all of a group |
//! | [`send`] | what a process sends: to the kernel, a port, a group |
//! | [`request`] | requests to the kernel: acknowledgements, errors, dumps |
//! | [`connector`] | the events of processes |
//! | [`generic`] | families found by name; the figures of tasks |
//! | [`route`] | interfaces, addresses, routes |
//! | [`uevent`] | the events of devices |
//! | [`options`] | the options of `SOL_NETLINK` |
//! | [`ops`] | the file operations, and `/proc/net/netlink` |
//!
//! # Lock order
//! ```text
//! what orders a protocol's messages: connector::ORDER, uevent::SEQNUM, an interface's addresses (sleeping)
//!   table::TABLES, one a protocol (sleeping)
//!   NetlinkSocket::inbox (sleeping)
//!     spin locks: NetlinkSocket::peer
//! generic::taskstats::LISTENERS (sleeping)
//! ```
//! `TABLES` and an inbox are never held together. What the kernel sends is built with neither held.
//!
//! # Invariants
//! - A socket's port number and groups change only under its protocol's table lock, and then agree with the table.
//! - `NetlinkSocket::count` and `charge` change only under the inbox's lock: they are what conditions of waits look at.
//! - A message to the kernel is handled in its sender's context before the send returns, so that answers are there.
//!
//! References: netlink(7), RFC 3549; the behaviour of Linux 6.1.

pub mod connector;
pub mod generic;
mod ops;
mod options;
mod packet;
mod request;
pub mod route;
mod send;
mod socket;
mod table;
pub mod uevent;

use alloc::sync::Arc;

use abi::netlink::{MAX_LINKS, NETLINK_USERSOCK};
use abi::socket::{SOCK_DGRAM, SOCK_RAW};
use abi::{Errno, Result};

use crate::net::socket::Socket;
pub use ops::rows;
pub use socket::NetlinkSocket;

/// A protocol: what the kernel does with what is sent to it, and who may do what.
pub struct Protocol {
    number: u8,
    /// How many groups there are; at least 32 can be joined.
    groups: u32,
    /// Groups may be joined without CAP_NET_ADMIN.
    open_receive: bool,
    /// Others than the kernel may be sent to without CAP_NET_ADMIN.
    open_send: bool,
    /// Takes a datagram that was sent to the kernel; `None` where it does not listen.
    input: Option<fn(&send::Sent<'_>)>,
    /// Hears that a socket is closed.
    close: Option<fn(&NetlinkSocket)>,
}

static PROTOCOLS: &[&Protocol] = &[
    &route::PROTOCOL,
    &USERSOCK,
    &connector::PROTOCOL,
    &uevent::PROTOCOL,
    &generic::PROTOCOL,
];

/// Between processes alone.
static USERSOCK: Protocol = Protocol {
    number: NETLINK_USERSOCK,
    groups: 32,
    open_receive: false,
    open_send: true,
    input: None,
    close: None,
};

/// A new socket.
///
/// # Errors
/// `ESOCKTNOSUPPORT` for another type than raw and datagram, `EPROTONOSUPPORT` for a protocol that is not there.
pub fn create(kind: u32, protocol: i32) -> Result<Arc<dyn Socket>> {
    if kind != SOCK_RAW && kind != SOCK_DGRAM {
        return Err(Errno::ESOCKTNOSUPPORT);
    }
    let number = usize::try_from(protocol)
        .ok()
        .filter(|number| *number < MAX_LINKS)
        .ok_or(Errno::EPROTONOSUPPORT)?;
    let protocol = PROTOCOLS
        .iter()
        .find(|known| usize::from(known.number) == number)
        .ok_or(Errno::EPROTONOSUPPORT)?;
    Ok(NetlinkSocket::new(protocol, kind))
}
