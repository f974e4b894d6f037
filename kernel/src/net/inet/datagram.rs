//! [`DatagramSocket`]: UDP, echo requests and raw packets. They differ in what they put before the bytes and in whose a
//! packet is; queue, addresses and waiting are the same.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicUsize, Ordering};

use abi::poll::PollEvents;
use abi::socket::{AF_INET, AF_UNSPEC, MsgFlags, SHUT_RDWR, SOCK_DGRAM, SOCK_RAW, so};
use abi::{Errno, Result};

use super::address::{self, Family};
use super::common::{Asked, Common, Header, Switches};
use super::ip::{self, Packet};
use super::ports::{self, Lease, Wish};
use super::{icmp, raw, udp};
use crate::fs::fasync::{Band, FasyncList};
use crate::net::message::{Incoming, Outgoing, Patience, Sender};
use crate::net::options::DEFAULT_BUFFER;
use crate::net::unix::{RECEIVE, SEND};
use crate::sync::census::{self, Live};
use crate::sync::{Mutex, SpinLock, WaitQueue};

/// The largest payload of a packet of each family.
const MAX_V4: usize = 65535 - ip::V4_HEADER;
const MAX_V6: usize = 65535;
/// What a datagram counts for beside its bytes: its bookkeeping on Linux.
const OVERHEAD: usize = 768;

/// What the socket sends and receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flavor {
    Udp,
    Ping,
    Raw(u8),
}

/// A packet that arrived.
struct Datagram {
    /// With `skip` bytes of header before what the user gets.
    bytes: Vec<u8>,
    skip: usize,
    source: SocketAddr,
    header: Header,
}

impl Datagram {
    fn data(&self) -> &[u8] {
        self.bytes.get(self.skip..).unwrap_or_default()
    }
    fn charge(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

/// Its addresses.
#[derive(Clone, Copy, Default)]
struct Ends {
    /// The port is 0 while there is none.
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    /// The address was asked for, not chosen by connecting.
    bound: bool,
    /// The port was.
    port_bound: bool,
}

/// # Invariants
/// - `count` and `charge` change under `queue` and agree with it.
/// - With a `lease` it is in its protocol's table under that port; a raw socket is always in its own.
pub struct DatagramSocket {
    _live: Live<{ census::SOCKETS }>,
    this: Weak<DatagramSocket>,
    pub common: Common,
    pub flavor: Flavor,
    ends: SpinLock<Ends>,
    /// Held while binding and connecting.
    lease: Mutex<Option<Lease>>,
    queue: SpinLock<VecDeque<Arc<Datagram>>>,
    pub count: AtomicUsize,
    pub charge: AtomicUsize,
    shut: AtomicU8,
    error: AtomicI32,
    dead: AtomicBool,
    /// `ICMP_FILTER`: bits of types that are not wanted.
    filter: AtomicU32,
    pub drops: AtomicUsize,
    pub waiters: WaitQueue,
    pub fasync: FasyncList,
}

impl DatagramSocket {
    pub fn new(family: Family, flavor: Flavor) -> Arc<DatagramSocket> {
        let default = DEFAULT_BUFFER as i32;
        let socket = Arc::new_cyclic(|this| DatagramSocket {
            _live: Live::new(),
            this: this.clone(),
            common: Common::new(family, default, default),
            flavor,
            ends: SpinLock::new(Ends::default()),
            lease: Mutex::new(None),
            queue: SpinLock::new(VecDeque::new()),
            count: AtomicUsize::new(0),
            charge: AtomicUsize::new(0),
            shut: AtomicU8::new(0),
            error: AtomicI32::new(0),
            dead: AtomicBool::new(false),
            filter: AtomicU32::new(0),
            drops: AtomicUsize::new(0),
            waiters: WaitQueue::new(),
            fasync: FasyncList::default(),
        });
        if let Flavor::Raw(protocol) = flavor {
            // A protocol that is none is only sent, each packet with its header.
            socket.common.set(Switches::HDRINCL, protocol == u8::MAX);
            raw::add(socket.clone());
        }
        socket
    }

    pub fn kind(&self) -> u32 {
        match self.flavor {
            Flavor::Raw(_) => SOCK_RAW,
            _ => SOCK_DGRAM,
        }
    }
    pub fn protocol(&self) -> u8 {
        match (self.flavor, self.common.family) {
            (Flavor::Udp, _) => ip::UDP,
            (Flavor::Ping, Family::V4) => ip::ICMP,
            (Flavor::Ping, Family::V6) => ip::ICMPV6,
            (Flavor::Raw(protocol), _) => protocol,
        }
    }
    pub fn raw_protocol(&self) -> Option<u8> {
        match self.flavor {
            Flavor::Raw(protocol) if protocol != u8::MAX => Some(protocol),
            _ => None,
        }
    }
    pub fn filter(&self) -> u32 {
        self.filter.load(Ordering::Relaxed)
    }
    pub fn set_filter(&self, filter: u32) {
        self.filter.store(filter, Ordering::Relaxed);
    }
    /// Whether `ICMP_FILTER` keeps the packet away.
    pub fn filters(&self, packet: &Packet) -> bool {
        let kind = packet.payload.first().copied().unwrap_or(u8::MAX);
        packet.protocol == ip::ICMP && kind < 32 && self.filter() & 1 << kind != 0
    }

    pub fn local(&self) -> Option<SocketAddr> {
        self.ends.lock().local
    }
    pub fn peer(&self) -> Option<SocketAddr> {
        self.ends.lock().peer
    }
    pub fn is_shut(&self, direction: u8) -> bool {
        self.shut.load(Ordering::SeqCst) & direction != 0
    }

    /// How well the socket fits a packet; `None` if it does not.
    pub fn score(&self, source: SocketAddr, destination: IpAddr) -> Option<u32> {
        let ends = *self.ends.lock();
        let local = ends
            .local
            .map_or(self.common.family.any(), |local| local.ip());
        let mut score = match (local, destination) {
            (own, other) if own == other => 4,
            (IpAddr::V4(own), IpAddr::V4(_)) if own.is_unspecified() => 2,
            (IpAddr::V6(own), IpAddr::V6(_)) if own.is_unspecified() => 2,
            (IpAddr::V6(own), IpAddr::V4(_))
                if own.is_unspecified() && !self.common.has(Switches::V6ONLY) =>
            {
                1
            }
            _ => return None,
        };
        if let Some(peer) = ends.peer {
            if peer.ip() != source.ip()
                || (self.flavor == Flavor::Udp && peer.port() != source.port())
            {
                return None;
            }
            score += 4;
        }
        Some(score)
    }

    pub fn takes(&self, source: SocketAddr, destination: IpAddr) -> bool {
        self.score(source, destination).is_some()
    }

    /// A copy of a packet arrives.
    pub fn deliver(&self, packet: &Packet, source: SocketAddr, skip: usize) {
        self.deliver_owned(packet.clone(), source, skip);
    }

    /// A packet arrives; with no room it is lost.
    pub fn deliver_owned(&self, packet: Packet, source: SocketAddr, skip: usize) {
        let datagram = Arc::new(Datagram {
            header: Header {
                destination: packet.destination,
                ttl: packet.ttl,
                tos: packet.tos,
            },
            bytes: packet.payload,
            skip,
            source,
        });
        let limit = self.common.receive_buffer();
        let mut queue = self.queue.lock();
        let has_room = self.charge.load(Ordering::SeqCst) <= limit && queue.try_reserve(1).is_ok();
        if !has_room || self.dead.load(Ordering::SeqCst) {
            drop(queue);
            drop(datagram);
            self.drops.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.charge.fetch_add(datagram.charge(), Ordering::SeqCst);
        queue.push_back(datagram);
        self.count.store(queue.len(), Ordering::SeqCst);
        drop(queue);
        self.waiters.wake_events(PollEvents::READABLE);
        self.fasync.tell(Band::In);
    }

    /// What was sent did not arrive: only who has a partner hears of it.
    pub fn refused(&self, error: Errno) {
        if self.peer().is_none() {
            return;
        }
        self.error.store(error.get(), Ordering::SeqCst);
        self.waiters.wake_all();
    }

    pub fn has_error(&self) -> bool {
        self.error.load(Ordering::SeqCst) != 0
    }
    /// The pending error, taken.
    pub fn take_error(&self) -> Result<()> {
        match self.error.swap(0, Ordering::SeqCst) {
            0 => Ok(()),
            number => Err(Errno::new(number).unwrap_or(Errno::EIO)),
        }
    }

    fn wish(&self, address: IpAddr) -> Wish {
        Wish {
            address,
            v6only: self.common.has(Switches::V6ONLY),
            reuse: self.common.is_on(so::REUSEADDR),
            reuseport: self.common.is_on(so::REUSEPORT),
        }
    }

    /// Takes a port and enters the table.
    fn take_port(&self, lease: &mut Option<Lease>, address: SocketAddr) -> Result<()> {
        let wish = self.wish(address.ip());
        let this = self.this.upgrade();
        let taken = match self.flavor {
            Flavor::Raw(_) => None,
            Flavor::Udp => Some(ports::UDP.bind(address.port(), wish)?),
            Flavor::Ping => Some(ports::PING.bind(address.port(), wish)?),
        };
        let port = taken.as_ref().map_or(address.port(), |lease| lease.port);
        self.ends.lock().local = Some(SocketAddr::new(address.ip(), port));
        match (self.flavor, this) {
            (Flavor::Udp, Some(this)) => udp::add(port, this),
            (Flavor::Ping, Some(this)) => icmp::add(port, this),
            _ => {}
        }
        *lease = taken;
        Ok(())
    }

    /// # Errors
    /// `EINVAL` for a bad address or a socket that has one, `EADDRNOTAVAIL`, `EADDRINUSE`, `EACCES`.
    pub fn bind(&self, address: &[u8]) -> Result<()> {
        let address = address::parse_for_bind(self.common.family, address)?;
        if !self.common.has(Switches::FREEBIND) {
            address::check_own(address.ip())?;
        }
        let mut lease = self.lease.lock();
        if lease.is_some() {
            return Err(Errno::EINVAL);
        }
        self.take_port(&mut lease, address)?;
        let mut ends = self.ends.lock();
        ends.bound = !address.ip().is_unspecified();
        ends.port_bound = address.port() != 0;
        Ok(())
    }

    fn bind_if_needed(&self, lease: &mut Option<Lease>) -> Result<()> {
        if lease.is_some() || matches!(self.flavor, Flavor::Raw(_)) {
            return Ok(());
        }
        let any = SocketAddr::new(self.common.family.any(), 0);
        self.take_port(lease, any).map_err(|error| match error {
            Errno::EADDRINUSE => Errno::EAGAIN,
            other => other,
        })
    }

    /// # Errors
    /// `EINVAL`, `EAFNOSUPPORT`, `ENETUNREACH`, `EADDRNOTAVAIL`.
    pub fn connect(&self, address: &[u8]) -> Result<()> {
        let mut lease = self.lease.lock();
        if address::family_of(address)? == AF_UNSPEC {
            self.disconnect(&mut lease);
            return Ok(());
        }
        let peer = self.parse(address)?;
        let route = address::route(peer.ip())?;
        self.bind_if_needed(&mut lease)?;
        let mut ends = self.ends.lock();
        let port = ends.local.map_or(0, |local| local.port());
        let own = ends.local.map(|local| local.ip());
        if own.is_none_or(|own| own.is_unspecified()) {
            ends.local = Some(SocketAddr::new(route.source, port));
        }
        ends.peer = Some(SocketAddr::new(route.destination, peer.port()));
        Ok(())
    }

    fn disconnect(&self, lease: &mut Option<Lease>) {
        let mut ends = self.ends.lock();
        ends.peer = None;
        if !ends.bound {
            let port = ends.local.map_or(0, |local| local.port());
            ends.local = Some(SocketAddr::new(self.common.family.any(), port));
        }
        let keeps_port = ends.port_bound;
        drop(ends);
        self.error.store(0, Ordering::SeqCst);
        if !keeps_port {
            self.give_port_back(lease);
        }
    }

    fn give_port_back(&self, lease: &mut Option<Lease>) {
        let Some(old) = lease.take() else { return };
        match self.flavor {
            Flavor::Udp => udp::remove(old.port, self),
            Flavor::Ping => icmp::remove(old.port, self),
            Flavor::Raw(_) => {}
        }
        let mut ends = self.ends.lock();
        if let Some(local) = &mut ends.local {
            local.set_port(0);
        }
    }

    /// An address to send to: a socket of `AF_INET6` takes those of `AF_INET` too.
    fn parse(&self, address: &[u8]) -> Result<SocketAddr> {
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

    /// Bytes of the next datagram.
    pub fn next_len(&self) -> usize {
        let queue = self.queue.lock();
        queue.front().map_or(0, |datagram| datagram.data().len())
    }

    pub fn events(&self) -> PollEvents {
        let mut events = PollEvents::WRITABLE | PollEvents::WRBAND;
        if self.has_error() {
            events |= PollEvents::ERR;
        }
        if self.is_shut(RECEIVE) {
            events |= PollEvents::READABLE | PollEvents::RDHUP;
            if self.is_shut(SEND) {
                events |= PollEvents::HUP;
            }
        }
        if self.count.load(Ordering::SeqCst) != 0 {
            events |= PollEvents::READABLE;
        }
        events
    }

    /// # Errors
    /// `EINVAL` for what is no direction, `ENOTCONN`.
    pub fn shut_down(&self, how: u32) -> Result<()> {
        if how > SHUT_RDWR {
            return Err(Errno::EINVAL);
        }
        // As on Linux, a socket without a partner is shut down although it is told that it has none.
        self.shut.fetch_or((how + 1) as u8, Ordering::SeqCst);
        self.waiters.wake_all();
        match self.peer() {
            Some(_) => Ok(()),
            None => Err(Errno::ENOTCONN),
        }
    }

    /// The last reference is gone.
    pub fn close(&self) {
        self.give_port_back(&mut self.lease.lock());
        if matches!(self.flavor, Flavor::Raw(_)) {
            raw::remove(self);
        }
        self.dead.store(true, Ordering::SeqCst);
        let queue = core::mem::take(&mut *self.queue.lock());
        drop(queue);
        self.waiters.wake_all();
    }

    pub fn set_reuse(&self, on: bool) {
        if let Some(lease) = self.lease.lock().as_ref() {
            lease.set_reuse(on);
        }
    }
}
