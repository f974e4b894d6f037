//! What a process sends: to the kernel, to a port, to a group.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::netlink::SockAddrNl;
use abi::socket::{AF_NETLINK, AF_UNSPEC, MsgFlags};
use abi::{Errno, Result};
use zerocopy::FromBytes;

use super::packet::Packet;
use super::socket::{Delivery, NetlinkSocket, Peer};
use super::table;
use crate::net::message::{Outgoing, Patience};
use crate::net::scm;
use crate::task::{self, Cap};

/// What Linux subtracts from the send buffer for the largest message.
const MAX_OVERHEAD: usize = 32;

/// A datagram that the kernel was sent.
pub struct Sent<'a> {
    pub socket: &'a Arc<NetlinkSocket>,
    pub data: &'a [u8],
    /// It bore an address: then the socket's maker needs the rights too, lest a program with more of them is
    /// made to write where it did not mean to.
    pub addressed: bool,
}

impl Sent<'_> {
    /// Whether the sender may do what needs this capability.
    pub fn capable(&self, cap: Cap) -> bool {
        (!self.addressed || self.socket.opener.capable(cap))
            && task::current().my_cred().capable(cap)
    }
}

fn is_admin() -> bool {
    task::current().my_cred().capable(Cap::NET_ADMIN)
}

/// # Errors
/// `EINVAL` for a wrong length or family.
pub fn parse(address: &[u8]) -> Result<SockAddrNl> {
    let (address, _) = SockAddrNl::read_from_prefix(address).map_err(|_| Errno::EINVAL)?;
    if address.family != AF_NETLINK {
        return Err(Errno::EINVAL);
    }
    Ok(address)
}

/// The lowest group of a mask; an address can name one only.
fn group_of(mask: u32) -> u32 {
    match mask {
        0 => 0,
        mask => mask.trailing_zeros() + 1,
    }
}

impl NetlinkSocket {
    fn may_send(&self) -> bool {
        self.protocol.open_send || is_admin()
    }

    pub(super) fn connect_to(&self, address: &[u8]) -> Result<()> {
        let (family, _) = u16::read_from_prefix(address).map_err(|_| Errno::EINVAL)?;
        if family == AF_UNSPEC {
            *self.peer.lock() = Peer::default();
            return Ok(());
        }
        let address = parse(address)?;
        if (address.pid != 0 || address.groups != 0) && !self.may_send() {
            return Err(Errno::EPERM);
        }
        table::autobind(self)?;
        *self.peer.lock() = Peer {
            port: address.pid,
            group: group_of(address.groups),
            connected: true,
        };
        Ok(())
    }

    pub(super) fn send_packet(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        if message.flags.contains(MsgFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let len = message.data.remaining();
        if len == 0 {
            return Err(Errno::ENODATA);
        }
        let target = match message.address {
            None => *self.peer.lock(),
            Some(address) => {
                let address = parse(address)?;
                let (port, group) = (address.pid, group_of(address.groups));
                if (port != 0 || group != 0) && !self.may_send() {
                    return Err(Errno::EPERM);
                }
                Peer {
                    port,
                    group,
                    connected: false,
                }
            }
        };
        table::autobind(self)?;
        let limit = self.send_buffer.load(Ordering::Relaxed) as usize;
        if len > limit.saturating_sub(MAX_OVERHEAD) {
            return Err(Errno::EMSGSIZE);
        }
        let mut data = Vec::new();
        data.try_reserve_exact(len).map_err(|_| Errno::ENOBUFS)?;
        data.resize(len, 0);
        message.data.take(&mut data)?;
        let packet = Packet {
            data,
            port: self.port(),
            group: target.group,
            cred: message.cred.unwrap_or_else(scm::own_credentials),
        };
        let addressed = message.address.is_some();
        let patience = Patience::new(message.flags, self.options.send_timeout_ns());
        self.dispatch(Arc::new(packet), target.port, addressed, patience)?;
        Ok(len)
    }

    /// To the group, if one is named, and then in any case to the port.
    fn dispatch(
        &self,
        packet: Arc<Packet>,
        port: u32,
        addressed: bool,
        patience: Patience,
    ) -> Result<()> {
        if packet.group != 0 {
            // Whether anybody got it is not told, on Linux too.
            let _ = table::broadcast(self.protocol, &packet, port);
        }
        if port != 0 {
            return self.unicast(packet, port, patience);
        }
        let input = self.protocol.input.ok_or(Errno::ECONNREFUSED)?;
        let socket = self.counted().ok_or(Errno::EBADF)?;
        input(&Sent {
            socket: &socket,
            data: &packet.data,
            addressed,
        });
        Ok(())
    }

    fn unicast(&self, packet: Arc<Packet>, port: u32, mut patience: Patience) -> Result<()> {
        let mut packet = packet;
        loop {
            let target = table::find(self.protocol, port).ok_or(Errno::ECONNREFUSED)?;
            let peer = *target.peer.lock();
            if peer.connected && peer.port != self.port() {
                return Err(Errno::ECONNREFUSED);
            }
            match target.try_deliver(packet) {
                Delivery::Done => return Ok(()),
                Delivery::Gone => return Err(Errno::ECONNREFUSED),
                Delivery::Full(back) => packet = back,
            }
            target.await_room(&packet, &mut patience)?;
        }
    }

    /// The kernel sends to this socket; what finds no room is lost, and the socket is told.
    pub fn reply(&self, data: Vec<u8>) {
        if let Delivery::Full(_) = self.try_deliver(Arc::new(Packet::from_kernel(data, 0))) {
            self.overrun();
        }
    }
}
