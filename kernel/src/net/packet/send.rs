//! Sending frames.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::packet::{ETH_ALEN, ETH_HLEN, ETH_P_802_2, ETH_P_802_3, SockAddrLl};
use abi::{Errno, Result};

use super::frame::Frame;
use super::socket::{PacketSocket, parse};
use crate::net::inet::arrive;
use crate::net::interface::{self, Interface};
use crate::net::message::Outgoing;

/// Where a frame goes.
struct Target {
    interface: &'static Interface,
    protocol: u16,
    address: [u8; ETH_ALEN],
}

/// The header of a frame to that address with `len` bytes behind it.
fn header(target: &Target, len: usize) -> [u8; ETH_HLEN] {
    let mut header = [0; ETH_HLEN];
    let own = target.interface.hardware_address;
    let field = match target.protocol {
        ETH_P_802_2 | ETH_P_802_3 => len as u16,
        protocol => protocol,
    };
    let [high, low] = field.to_be_bytes();
    let bytes = target.address.iter().chain(&own).chain([&high, &low]);
    for (slot, byte) in header.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    header
}

impl PacketSocket {
    /// # Errors
    /// `EINVAL` for a short address, `ENXIO` without an interface.
    fn target(&self, address: Option<&[u8]>) -> Result<Target> {
        let Some(address) = address else {
            let bound = self.bound();
            return Ok(Target {
                interface: interface::by_index(bound.ifindex).ok_or(Errno::ENXIO)?,
                protocol: bound.protocol,
                address: [0; ETH_ALEN],
            });
        };
        let to = parse(address)?;
        if address.len() < SockAddrLl::HEAD + usize::from(to.halen) {
            return Err(Errno::EINVAL);
        }
        let index = u32::try_from(to.ifindex).map_err(|_| Errno::ENXIO)?;
        Ok(Target {
            interface: interface::by_index(index).ok_or(Errno::ENXIO)?,
            protocol: u16::from_be_bytes(to.protocol),
            address: to.ethernet(),
        })
    }

    /// Sends a frame, which has arrived when this returns.
    ///
    /// # Errors
    /// As [`Self::target`]; `ENETDOWN`, `EMSGSIZE`, `EINVAL` for less than a header, `ENOBUFS`, `EFAULT`.
    pub(super) fn send(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        let target = self.target(message.address)?;
        if !target.interface.is_up() {
            return Err(Errno::ENETDOWN);
        }
        let len = message.data.remaining();
        let most = target.interface.mtu() as usize + if self.is_raw() { ETH_HLEN } else { 0 };
        if len > most {
            return Err(Errno::EMSGSIZE);
        }
        let mut bytes = Vec::new();
        let room = bytes.try_reserve_exact(ETH_HLEN + len);
        room.map_err(|_| Errno::ENOBUFS)?;
        if !self.is_raw() {
            bytes.extend_from_slice(&header(&target, len));
        }
        let before = bytes.len();
        bytes.resize(before + len, 0);
        message
            .data
            .take(bytes.get_mut(before..).unwrap_or_default())?;
        let frame = Frame::sent(bytes, target.protocol, self.is_raw()).ok_or(Errno::EINVAL)?;
        self.transmit(target.interface, Arc::new(frame));
        Ok(len)
    }

    fn transmit(&self, interface: &Interface, frame: Arc<Frame>) {
        let len = frame.payload().len();
        interface.sent.count(len);
        interface.received.count(len);
        super::pass(&frame, Some(self));
        arrive::input(frame.payload(), frame.protocol(), frame.kind());
    }
}
