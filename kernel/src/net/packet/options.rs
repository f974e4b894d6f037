//! The options of `SOL_PACKET`, and memberships: what of the traffic an interface should let through.
//!
//! The loopback interface lets everything through. A membership is checked and counted all the same: `IFLA_PROMISCUITY`
//! tells how many want everything, and a socket gives back what it took.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::packet::{ETH_ALEN, PacketMreq, membership, option};
use abi::{Errno, Result};
use zerocopy::{FromZeros, IntoBytes};

use super::socket::{PacketSocket, Switches};
use crate::mm::user::{UserPtr, copy_in};
use crate::net::interface;
use crate::net::socket::{OptionBytes, OptionValue};

/// What a socket is a member of, and how many times.
#[derive(Default)]
pub(super) struct Members(Vec<(PacketMreq, u32)>);

fn switch_of(option: i32) -> Option<Switches> {
    Some(match option {
        option::AUXDATA => Switches::AUXDATA,
        option::ORIGDEV => Switches::ORIGDEV,
        option::IGNORE_OUTGOING => Switches::IGNORE_OUTGOING,
        _ => return None,
    })
}

/// # Errors
/// `EINVAL` for a request too short, or for its address.
fn read_request(value: OptionValue) -> Result<PacketMreq> {
    if value.len < size_of::<PacketMreq>() {
        return Err(Errno::EINVAL);
    }
    let mut request = PacketMreq::new_zeroed();
    copy_in(value.addr, request.as_mut_bytes())?;
    if value.len < PacketMreq::HEAD + usize::from(request.alen) {
        return Err(Errno::EINVAL);
    }
    // Bytes beyond the address do not count.
    let len = usize::from(request.alen);
    for byte in request.address.iter_mut().skip(len) {
        *byte = 0;
    }
    Ok(request)
}

/// How many more want everything of the interface.
fn count(request: &PacketMreq, comes: bool) {
    let interface = u32::try_from(request.ifindex)
        .ok()
        .and_then(interface::by_index);
    if request.kind != membership::PROMISC {
        return;
    }
    if let Some(interface) = interface {
        match comes {
            true => interface.promiscuity.fetch_add(1, Ordering::Relaxed),
            false => interface.promiscuity.fetch_sub(1, Ordering::Relaxed),
        };
    }
}

impl PacketSocket {
    /// # Errors
    /// `ENODEV`, `EINVAL` for an address that the interface cannot have, `ENOBUFS`.
    fn join(&self, request: PacketMreq) -> Result<()> {
        let index = u32::try_from(request.ifindex).map_err(|_| Errno::ENODEV)?;
        interface::by_index(index).ok_or(Errno::ENODEV)?;
        let needs_address = matches!(request.kind, membership::MULTICAST | membership::UNICAST);
        let len = usize::from(request.alen);
        if len > ETH_ALEN || (needs_address && len != ETH_ALEN) {
            return Err(Errno::EINVAL);
        }
        let mut members = self.members.lock();
        if let Some((_, times)) = members.0.iter_mut().find(|(had, _)| *had == request) {
            *times = times.saturating_add(1);
            return Ok(());
        }
        members.0.try_reserve(1).map_err(|_| Errno::ENOBUFS)?;
        members.0.push((request, 1));
        drop(members);
        count(&request, true);
        Ok(())
    }

    /// What was not joined is left as well.
    fn leave(&self, request: &PacketMreq) {
        let mut members = self.members.lock();
        let Some(at) = members.0.iter().position(|(had, _)| had == request) else {
            return;
        };
        let Some((_, times)) = members.0.get_mut(at) else {
            return;
        };
        *times -= 1;
        if *times != 0 {
            return;
        }
        members.0.swap_remove(at);
        drop(members);
        count(request, false);
    }

    pub(super) fn leave_all(&self) {
        let members = core::mem::take(&mut *self.members.lock());
        for (request, _) in &members.0 {
            count(request, false);
        }
    }

    /// # Errors
    /// `ENOPROTOOPT` for one that is not there.
    pub(super) fn packet_option(&self, option: i32) -> Result<OptionBytes> {
        if option == option::STATISTICS {
            return Ok(OptionBytes::from_slice(self.take_statistics().as_bytes()));
        }
        let switch = switch_of(option).ok_or(Errno::ENOPROTOOPT)?;
        Ok(OptionBytes::from_slice(
            i32::from(self.has(switch)).as_bytes(),
        ))
    }

    /// # Errors
    /// `ENOPROTOOPT` for one that is not there, `EINVAL`, `EFAULT`, and those of memberships.
    pub(super) fn set_packet_option(&self, option: i32, value: OptionValue) -> Result<()> {
        match option {
            option::ADD_MEMBERSHIP => self.join(read_request(value)?),
            option::DROP_MEMBERSHIP => {
                self.leave(&read_request(value)?);
                Ok(())
            }
            _ => {
                let switch = switch_of(option).ok_or(Errno::ENOPROTOOPT)?;
                let is_strict = switch == Switches::IGNORE_OUTGOING;
                let len = size_of::<i32>();
                if value.len < len || (is_strict && value.len != len) {
                    return Err(Errno::EINVAL);
                }
                let number = UserPtr::<i32>::from(value.addr).read()?;
                if is_strict && !(0..=1).contains(&number) {
                    return Err(Errno::EINVAL);
                }
                self.switch(switch, number != 0);
                Ok(())
            }
        }
    }
}
