//! [`Frame`]: a packet with its header of Ethernet, as all receivers share it.

use alloc::vec::Vec;

use abi::net::{IPPROTO_TCP, IPPROTO_UDP};
use abi::packet::{
    ETH_ALEN, ETH_HLEN, ETH_P_802_2, ETH_P_802_3, ETH_P_802_3_MIN, ETH_P_ALL, ETH_P_IP, ETH_P_IPV6,
    PACKET_HOST, PACKET_MULTICAST, PACKET_OTHERHOST,
};
use smoltcp::wire::{Ipv4Packet, Ipv6Packet};

use crate::net::interface;

/// # Invariants
/// There is a whole header.
pub struct Frame {
    bytes: Vec<u8>,
    sent_as: u16,
    lacks_sums: bool,
}

/// The number at that place, in network order; 0 beyond the end.
fn word(bytes: &[u8], at: usize) -> u16 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>());
    word.map_or(0, |word| u16::from_be_bytes(*word))
}

impl Frame {
    /// The frame of a packet of IP that this machine sends to itself. `None` if there is no memory.
    pub fn around(packet: &[u8]) -> Option<Frame> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(ETH_HLEN + packet.len()).ok()?;
        let is_v4 = packet.first().is_some_and(|byte| byte >> 4 == 4);
        let protocol = if is_v4 { ETH_P_IP } else { ETH_P_IPV6 };
        bytes.extend_from_slice(&[0; 2 * ETH_ALEN]);
        bytes.extend_from_slice(&protocol.to_be_bytes());
        bytes.extend_from_slice(packet);
        let payload = bytes.get_mut(ETH_HLEN..).unwrap_or_default();
        // The sums that nothing on the way looks at are not made, but a reader expects that of the header.
        if is_v4 && let Ok(mut packet) = Ipv4Packet::new_checked(&mut *payload) {
            packet.fill_checksum();
        }
        let lacks_sums = lacks_sums(payload);
        Some(Frame {
            bytes,
            sent_as: protocol,
            lacks_sums,
        })
    }

    /// The frame that a socket sends as that protocol; with none, the header says which. `None` for what is shorter
    /// than a header.
    pub fn sent(bytes: Vec<u8>, protocol: u16, is_raw: bool) -> Option<Frame> {
        if bytes.len() < ETH_HLEN {
            return None;
        }
        let is_open = protocol == 0 || protocol == ETH_P_ALL;
        let sent_as = if is_raw && is_open {
            word(&bytes, 2 * ETH_ALEN)
        } else {
            protocol
        };
        Some(Frame {
            bytes,
            sent_as,
            lacks_sums: false,
        })
    }

    /// With the header.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// What follows the header.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(ETH_HLEN..).unwrap_or_default()
    }
    /// The address that it is from.
    pub fn source(&self) -> [u8; ETH_ALEN] {
        let source = self.bytes.get(ETH_ALEN..).unwrap_or_default();
        source.first_chunk().copied().unwrap_or_default()
    }
    /// The protocol that its sender named.
    pub fn sent_as(&self) -> u16 {
        self.sent_as
    }
    /// A sum that its protocol wants is missing, for nothing on the way looks at it.
    pub fn lacks_sums(&self) -> bool {
        self.lacks_sums
    }

    /// The protocol that its receiver sees.
    pub fn protocol(&self) -> u16 {
        let field = word(&self.bytes, 2 * ETH_ALEN);
        match field {
            ETH_P_802_3_MIN.. => field,
            // A length, and then what only Novell's frames begin with.
            _ if self.payload().starts_with(&[0xff; 2]) => ETH_P_802_3,
            _ => ETH_P_802_2,
        }
    }

    /// Whom it is to, as the loopback interface sees it: `PACKET_HOST` and its kin.
    pub fn kind(&self) -> u8 {
        let own = interface::loopback().hardware_address;
        match self.bytes.first_chunk::<ETH_ALEN>() {
            Some(to) if *to == own => PACKET_HOST,
            // The loopback interface has no address for all.
            Some([first, ..]) if first & 1 != 0 => PACKET_MULTICAST,
            _ => PACKET_OTHERHOST,
        }
    }
}

/// Whether the sum of a packet of UDP or TCP is not there.
fn lacks_sums(packet: &[u8]) -> bool {
    let (protocol, payload) = match packet.first().map(|byte| byte >> 4) {
        Some(4) => match Ipv4Packet::new_checked(packet) {
            Ok(packet) => (u8::from(packet.next_header()), packet.payload()),
            Err(_) => return false,
        },
        _ => match Ipv6Packet::new_checked(packet) {
            Ok(packet) => (u8::from(packet.next_header()), packet.payload()),
            Err(_) => return false,
        },
    };
    match i32::from(protocol) {
        IPPROTO_UDP => word(payload, 6) == 0,
        IPPROTO_TCP => word(payload, 16) == 0,
        _ => false,
    }
}
