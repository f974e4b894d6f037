//! Packets as an interface has them (`AF_PACKET`): sockets that see what passes, and that put frames on the interface.
//!
//! | module | what |
//! |---|---|
//! | this | making sockets, the table of them, showing them what passes |
//! | [`frame`] | a packet with its header of Ethernet |
//! | [`socket`] | [`PacketSocket`]: what it takes, what has arrived, receiving |
//! | [`send`] | sending frames |
//! | [`filter`] | which packets a socket takes: `SO_ATTACH_FILTER` |
//! | [`options`] | the options of `SOL_PACKET`; memberships |
//! | [`ops`] | the file operations, and `/proc/net/packet` |
//!
//! # The shape
//! A packet of the loopback interface leaves and comes back in one call. It is shown twice, as on Linux: as it leaves to
//! sockets for every protocol, as it comes back to those and to the sockets for its own. The internet families carry no
//! frames: one is built when somebody looks. A frame that is sent here is shown in the same way and is then parsed by
//! [`inet::arrive`](crate::net::inet::arrive), which takes nothing for granted.
//!
//! There are no rings (`PACKET_RX_RING`), no groups of sockets that share what comes (`PACKET_FANOUT`), no offloads
//! (`PACKET_VNET_HDR`) and no tags of VLANs.
//!
//! # Lock order
//! ```text
//! any lock of a sender, such as Connection::active (sleeping)
//!   SOCKETS (sleeping)
//!     spin locks: PacketSocket::bound
//!   spin locks: PacketSocket::inbox, filter, members
//! ```
//! Packets are shown with `SOCKETS` not held, and no two of these spin locks are held together.
//!
//! # Invariants
//! - A socket is in `SOCKETS` from its making to its release, and `TAPS` counts those there that have a protocol.
//! - What a socket takes changes only under `SOCKETS`' lock for writing.
//!
//! References: packet(7); the behaviour of Linux 6.1.

mod filter;
mod frame;
mod ops;
mod options;
mod send;
mod socket;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use abi::packet::{ETH_P_ALL, PACKET_OUTGOING};
use abi::socket::{SOCK_DGRAM, SOCK_RAW};
use abi::{Errno, Result};
use smallvec::SmallVec;

use crate::net::interface::Interface;
use crate::net::socket::Socket;
use crate::sync::RwLock;
use crate::task::{self, Cap};
use frame::Frame;
pub use ops::rows;
pub use socket::PacketSocket;

/// Every socket, the eldest first.
static SOCKETS: RwLock<Vec<Arc<PacketSocket>>> = RwLock::new(Vec::new());
/// How many of them take packets: nearly always none. A sender that reads an old value is one that sent before the
/// socket was there: nothing else is ordered by it.
static TAPS: AtomicUsize = AtomicUsize::new(0);

/// A new socket, which takes packets of that protocol (in network order) at once.
///
/// # Errors
/// `EPERM` without CAP_NET_RAW, `ESOCKTNOSUPPORT` for another type than raw and datagram.
pub fn create(kind: u32, protocol: i32) -> Result<Arc<dyn Socket>> {
    if !task::current().my_cred().capable(Cap::NET_RAW) {
        return Err(Errno::EPERM);
    }
    if kind != SOCK_RAW && kind != SOCK_DGRAM {
        return Err(Errno::ESOCKTNOSUPPORT);
    }
    // As on Linux, what does not fit in the field is cut off.
    let socket = PacketSocket::new(kind, u16::from_be(protocol as u16));
    change(|sockets| sockets.push(socket.clone()));
    Ok(socket)
}

/// Changes the table, or what a socket in it takes.
fn change(with: impl FnOnce(&mut Vec<Arc<PacketSocket>>)) {
    let mut sockets = SOCKETS.write();
    with(&mut sockets);
    let taps = sockets.iter().filter(|socket| socket.bound().protocol != 0);
    TAPS.store(taps.count(), Ordering::Relaxed);
}

fn remove(socket: &PacketSocket) {
    change(|sockets| sockets.retain(|other| !core::ptr::eq(Arc::as_ptr(other), socket)));
}

/// Whether anybody looks at what passes.
#[inline]
pub fn is_tapped() -> bool {
    TAPS.load(Ordering::Relaxed) != 0
}

/// Shows a packet of IP, with its header, that the loopback interface carries.
#[cold]
pub fn show(packet: &[u8]) {
    // With no memory for the frame nobody sees it, as on Linux.
    if let Some(frame) = Frame::around(packet) {
        pass(&Arc::new(frame), None);
    }
}

/// Shows a frame on its way out and on its way in. `sender` is the socket that it is from: it does not see it leave.
fn pass(frame: &Arc<Frame>, sender: Option<&PacketSocket>) {
    let takes = |socket: &&Arc<PacketSocket>| {
        let protocol = socket.bound().protocol;
        protocol == ETH_P_ALL || (protocol != 0 && protocol == frame.protocol())
    };
    let takers: SmallVec<[_; 4]> = SOCKETS.read().iter().filter(takes).cloned().collect();
    let is_sender =
        |socket: &PacketSocket| sender.is_some_and(|sender| core::ptr::eq(sender, socket));
    for socket in &takers {
        if socket.sees_outgoing() && !is_sender(socket) {
            socket.deliver(frame, PACKET_OUTGOING, frame.sent_as());
        }
    }
    for socket in &takers {
        socket.deliver(frame, frame.kind(), frame.protocol());
    }
}

/// The interface went down: those who watch it alone are told.
pub fn went_down(interface: &Interface) {
    let watches = |socket: &&Arc<PacketSocket>| {
        let bound = socket.bound();
        bound.ifindex == interface.index && bound.protocol != 0
    };
    let watchers: Vec<_> = SOCKETS.read().iter().filter(watches).cloned().collect();
    for socket in watchers {
        socket.set_error(Errno::ENETDOWN);
    }
}
