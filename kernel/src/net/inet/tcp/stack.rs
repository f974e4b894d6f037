//! The protocol of one connection: a `smoltcp` socket with an interface of its own.
//!
//! `smoltcp` finds the socket that a packet is for by asking all of them, and looks at all of them for something to
//! send. Here [`table`](super::table) finds the connection, and each connection is a whole stack with one socket: its
//! work is the same however many others there are, and its lock is its own. The interface has the connection's
//! address and takes all others for its neighbours, since packets are routed outside.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use abi::{Errno, Result};
use smoltcp::iface::{
    Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet,
};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr, IpListenEndpoint};

use super::segment::Segment;
use crate::net::{self, interface};
use crate::time;

/// The largest packet: what the length in a header can say.
const MAX_PACKET: usize = 65535;
/// The least that every link carries (RFC 8200), whatever the interface is set to: headers must fit.
const MIN_PACKET: usize = 1280;

/// The two ends of the wire: what comes in, and what went out.
struct Wire {
    input: Option<Segment>,
    output: Vec<Segment>,
    mtu: usize,
}

struct Received(Segment);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let answer = f(self.0.bytes());
        self.0.recycle();
        answer
    }
}

struct Sending<'a>(&'a mut Vec<Segment>);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut segment = Segment::with_len(len);
        let answer = f(segment.bytes_mut());
        self.0.push(segment);
        answer
    }
}

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, Sending<'_>)> {
        let input = self.input.take()?;
        Some((Received(input), Sending(&mut self.output)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.output))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        // What does not leave the machine is not damaged on the way.
        capabilities.checksum = ChecksumCapabilities::ignored();
        capabilities
    }
}

/// A stack with one connection, or with none.
pub struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: Option<SocketHandle>,
    wire: Wire,
}

fn now() -> Instant {
    Instant::from_micros((time::monotonic_ns() / 1000) as i64)
}

fn buffer(len: usize) -> Result<SocketBuffer<'static>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::ENOBUFS)?;
    bytes.resize(len, 0);
    Ok(SocketBuffer::new(bytes))
}

impl Stack {
    /// A stack at that address, without a connection: it resets whatever comes.
    pub fn new(address: IpAddr) -> Stack {
        let mtu = interface::loopback().mtu() as usize;
        let mut wire = Wire {
            input: None,
            output: Vec::new(),
            mtu: mtu.clamp(MIN_PACKET, MAX_PACKET),
        };
        let mut config = Config::new(HardwareAddress::Ip);
        let mut seed = [0; 8];
        net::random(&mut seed);
        config.random_seed = u64::from_ne_bytes(seed);
        let mut interface = Interface::new(config, &mut wire, now());
        interface.update_ip_addrs(|addresses| {
            // There is room for more than one.
            let _ = addresses.push(IpCidr::new(address.into(), 0));
        });
        Stack {
            interface,
            sockets: SocketSet::new(Vec::new()),
            handle: None,
            wire,
        }
    }

    fn add(&mut self, receive: usize, send: usize) -> Result<&mut Socket<'static>> {
        let mut socket = Socket::new(buffer(receive)?, buffer(send)?);
        // An acknowledgement costs no more than a timer here.
        socket.set_ack_delay(None);
        let handle = self.sockets.add(socket);
        self.handle = Some(handle);
        Ok(self.sockets.get_mut(handle))
    }

    /// A stack that begins a connection.
    ///
    /// # Errors
    /// `ENOBUFS`, `EINVAL` for addresses that are none.
    pub fn connecting(
        local: SocketAddr,
        remote: SocketAddr,
        buffers: (usize, usize),
    ) -> Result<Stack> {
        let mut stack = Stack::new(local.ip());
        stack.add(buffers.0, buffers.1)?;
        if let Some(handle) = stack.handle {
            let socket = stack.sockets.get_mut::<Socket<'_>>(handle);
            socket
                .connect(stack.interface.context(), remote, local)
                .map_err(|_| Errno::EINVAL)?;
        }
        Ok(stack)
    }

    /// A stack that takes the connection which a SYN begins.
    ///
    /// # Errors
    /// `ENOBUFS`.
    pub fn listening(local: SocketAddr, buffers: (usize, usize)) -> Result<Stack> {
        let mut stack = Stack::new(local.ip());
        let endpoint = IpListenEndpoint {
            addr: Some(local.ip().into()),
            port: local.port(),
        };
        let socket = stack.add(buffers.0, buffers.1)?;
        socket.listen(endpoint).map_err(|_| Errno::EINVAL)?;
        Ok(stack)
    }

    pub fn socket(&mut self) -> Option<&mut Socket<'static>> {
        let handle = self.handle?;
        Some(self.sockets.get_mut(handle))
    }

    /// Bytes of a full segment.
    pub fn segment_len(&self) -> usize {
        /// Of the larger family's addresses, and TCP's own.
        const HEADERS: usize = 40 + 20;
        self.wire.mtu - HEADERS
    }

    /// A packet comes in.
    pub fn take_in(&mut self, segment: Segment) {
        self.wire.input = Some(segment);
        let taken = self
            .interface
            .poll_ingress_single(now(), &mut self.wire, &mut self.sockets);
        debug_assert!(taken != PollIngressSingleResult::None);
    }

    /// Makes all packets that are due.
    pub fn send_out(&mut self) {
        while self
            .interface
            .poll_egress(now(), &mut self.wire, &mut self.sockets)
            == PollResult::SocketStateChanged
        {}
    }

    /// The packets made since the last call.
    pub fn take_out(&mut self) -> Vec<Segment> {
        core::mem::take(&mut self.wire.output)
    }

    /// When to look again though nothing came in, in nanoseconds of monotonic time.
    pub fn deadline_ns(&mut self) -> Option<u64> {
        /// Nothing is due before, for all that is due now is done.
        const LEAST_NS: u64 = 1_000_000;
        let at = self.interface.poll_at(now(), &self.sockets)?;
        let at_ns = u64::try_from(at.total_micros()).ok()?.saturating_mul(1000);
        Some(at_ns.max(time::monotonic_ns() + LEAST_NS))
    }
}
