//! [`DatagramSocket`]: UDP, echo requests and raw packets. They differ in what they put before the bytes and in whose a
//! packet is; queue, addresses and waiting are the same.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicUsize, Ordering};

use abi::poll::PollEvents;
use abi::socket::{AF_UNSPEC, SHUT_RDWR, SOCK_DGRAM, SOCK_RAW, so};
use abi::{Errno, Result};

use super::address::{self, Family};
use super::common::{Common, Header, Switches};
use super::ip::{self, Packet};
use super::ports::{self, Lease, Wish};
use super::{icmp, raw, udp};
use crate::fs::fasync::{Band, FasyncList};
use crate::net::options::DEFAULT_BUFFER;
use crate::net::unix::{RECEIVE, SEND};
use crate::sync::census::{self, Live};
use crate::sync::{Mutex, SpinLock, WaitQueue};

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
pub(super) struct Datagram {
    /// With `skip` bytes of header before what the user gets.
    bytes: Vec<u8>,
    skip: usize,
    pub(super) source: SocketAddr,
    pub(super) header: Header,
}

impl Datagram {
    pub(super) fn data(&self) -> &[u8] {
        self.bytes.get(self.skip..).unwrap_or_default()
    }
    pub(super) fn charge(&self) -> usize {
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
    pub(super) lease: Mutex<Option<Lease>>,
    pub(super) queue: SpinLock<VecDeque<Arc<Datagram>>>,
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

    pub(super) fn bind_if_needed(&self, lease: &mut Option<Lease>) -> Result<()> {
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
