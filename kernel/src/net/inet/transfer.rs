//! Sending and receiving datagrams.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::sync::atomic::Ordering;

use abi::socket::{AF_INET, MsgFlags};
use abi::{Errno, Result};

use super::address::{self, Family};
use super::common::{Asked, Switches};
use super::datagram::{Datagram, DatagramSocket, Flavor};
use super::ip::{self, Packet};
use super::{icmp, raw, udp};
use crate::net::message::{Incoming, Outgoing, Patience, Sender};
use crate::net::unix::{RECEIVE, SEND};

/// The largest payload of a packet of each family.
const MAX_V4: usize = 65535 - ip::V4_HEADER;
const MAX_V6: usize = 65535;

impl DatagramSocket {
    /// An address to send to: a socket of `AF_INET6` takes those of `AF_INET` too.
    pub(super) fn parse(&self, address: &[u8]) -> Result<SocketAddr> {
        let is_v4 = address::family_of(address)? == AF_INET;
        let parsed = match self.common.family {
            Family::V6 if is_v4 => address::parse(Family::V4, address)?,
            family => address::parse(family, address)?,
        };
        if self.common.has(Switches::V6ONLY) && parsed.is_ipv4() {
            return Err(Errno::ENETUNREACH);
        }
        Ok(parsed)
    }

    /// # Errors
    /// `EDESTADDRREQ`, `EMSGSIZE`, `EPIPE`, the pending error, those of the address.
    pub fn send(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        if message.flags.contains(MsgFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let len = message.data.remaining();
        if len > MAX_V6 {
            return Err(Errno::EMSGSIZE);
        }
        let target = match message.address {
            Some(address) => self.parse(address)?,
            None => self.peer().ok_or(Errno::EDESTADDRREQ)?,
        };
        if self.flavor == Flavor::Udp && target.port() == 0 {
            return Err(Errno::EINVAL);
        }
        let asked = self.common.asked(&message.control)?;
        let route = address::route(target.ip())?;
        let target = SocketAddr::new(route.destination, target.port());
        self.bind_if_needed(&mut self.lease.lock())?;
        self.take_error()?;
        if self.is_shut(SEND) {
            return Err(Errno::EPIPE);
        }
        let local = self.local();
        let own = local
            .map(|local| local.ip())
            .filter(|own| !own.is_unspecified());
        let source = asked.source.or(own).unwrap_or(route.source);
        if source.is_ipv4() != target.is_ipv4() {
            return Err(Errno::ENETUNREACH);
        }
        if asked.source.is_some_and(|source| !address::owns(source)) {
            return Err(Errno::EINVAL);
        }
        let from = SocketAddr::new(source, local.map_or(0, |local| local.port()));
        let packet = self.build(message, len, (from, target), &asked)?;
        ip::output(packet);
        Ok(len)
    }

    /// The packet of a send.
    fn build(
        &self,
        message: &mut Outgoing<'_, '_>,
        len: usize,
        (from, to): (SocketAddr, SocketAddr),
        asked: &Asked,
    ) -> Result<Packet> {
        let before = if self.flavor == Flavor::Udp {
            udp::HEADER
        } else {
            0
        };
        let with_header = self.common.has(Switches::HDRINCL);
        let most = if to.is_ipv4() { MAX_V4 } else { MAX_V6 };
        let most = if with_header { MAX_V6 } else { most };
        if before + len > most {
            return Err(Errno::EMSGSIZE);
        }
        let mut payload = Vec::new();
        payload
            .try_reserve_exact(before + len)
            .map_err(|_| Errno::ENOBUFS)?;
        if self.flavor == Flavor::Udp {
            payload.extend_from_slice(&udp::header(from.port(), to.port(), len));
        }
        payload.resize(before + len, 0);
        message
            .data
            .take(payload.get_mut(before..).unwrap_or_default())?;
        if with_header {
            return raw::parse(&payload, from.ip());
        }
        let (ttl, tos) = self.common.ttl_and_tos(to.ip());
        let mut packet = Packet {
            source: from.ip(),
            destination: to.ip(),
            protocol: self.protocol(),
            ttl: asked.ttl.unwrap_or(ttl),
            tos: asked.tos.unwrap_or(tos),
            payload,
        };
        match self.flavor {
            Flavor::Ping => icmp::make_request(&mut packet, from.port())?,
            Flavor::Raw(ip::ICMPV6) if to.is_ipv6() => icmp::seal(&mut packet),
            _ => {}
        }
        Ok(packet)
    }

    /// # Errors
    /// The pending error, `EAGAIN`, `EFAULT`, `EOPNOTSUPP` for urgent data.
    pub fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        if message.flags.contains(MsgFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        if message.flags.contains(MsgFlags::ERRQUEUE) {
            return Err(Errno::EAGAIN);
        }
        let mut patience = Patience::new(message.flags, self.common.options.receive_timeout_ns());
        let datagram = loop {
            self.take_error()?;
            if let Some(datagram) = self.next(message.flags.contains(MsgFlags::PEEK)) {
                break datagram;
            }
            if self.is_shut(RECEIVE) && !matches!(patience, Patience::None) {
                return Ok(0);
            }
            patience.wait(&self.waiters, || {
                self.count.load(Ordering::SeqCst) != 0 || self.is_shut(RECEIVE) || self.has_error()
            })?;
        };
        let data = datagram.data();
        let count = data.len().min(message.data.remaining());
        if count < data.len() {
            message.told |= MsgFlags::TRUNC;
        }
        message.data.put(data.get(..count).unwrap_or_default())?;
        message.sender = Sender::Address(address::format(self.common.family, datagram.source));
        self.common.tell(&datagram.header, &mut message.control);
        Ok(if message.flags.contains(MsgFlags::TRUNC) {
            data.len()
        } else {
            count
        })
    }

    fn next(&self, peeks: bool) -> Option<Arc<Datagram>> {
        let mut queue = self.queue.lock();
        if peeks {
            return queue.front().cloned();
        }
        let datagram = queue.pop_front()?;
        self.count.store(queue.len(), Ordering::SeqCst);
        self.charge.fetch_sub(datagram.charge(), Ordering::SeqCst);
        Some(datagram)
    }
}
