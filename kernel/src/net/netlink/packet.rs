//! Datagrams on their way, and what they count for.

use alloc::vec::Vec;

use abi::socket::Ucred;

/// A datagram that has arrived.
pub struct Packet {
    pub data: Vec<u8>,
    /// The sender's port; 0 is the kernel.
    pub port: u32,
    /// The group that it was sent to; 0 for none.
    pub group: u32,
    pub cred: Ucred,
}

impl Packet {
    /// A datagram from the kernel.
    pub fn from_kernel(data: Vec<u8>, group: u32) -> Packet {
        Packet {
            data,
            port: 0,
            group,
            cred: Ucred {
                pid: 0,
                uid: 0,
                gid: 0,
            },
        }
    }

    /// What it counts for: its memory on Linux, so that as many fit.
    pub(super) fn charge(&self) -> usize {
        charge_of(self.data.len())
    }
}

/// What so many bytes count for.
pub(super) fn charge_of(len: usize) -> usize {
    const HEADER: usize = 256;
    const SHARED_INFO: usize = 320;
    HEADER + (len + SHARED_INFO).next_power_of_two().max(512)
}

/// A group as addresses show it: only the first 32 have a bit.
pub(super) fn group_mask(group: u32) -> u32 {
    match group {
        1..=32 => 1 << (group - 1),
        _ => 0,
    }
}
