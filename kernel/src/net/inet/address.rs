//! Addresses as the user has them and as the kernel has them.
//!
//! Within the kernel an IPv4 address is one, whoever names it: a socket of `AF_INET6` sees it as mapped
//! (`::ffff:127.0.0.1`), and [`parse`] and [`format`] are where that is done and undone.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use abi::net::{SockAddrIn, SockAddrIn6};
use abi::socket::{AF_INET, AF_INET6, AF_UNSPEC};
use abi::{Errno, Result};
use zerocopy::{FromBytes, IntoBytes};

use crate::net::interface;
use crate::net::socket::NameBytes;

/// The two families.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn number(self) -> u16 {
        match self {
            Family::V4 => AF_INET,
            Family::V6 => AF_INET6,
        }
    }

    /// The address that stands for any.
    pub fn any(self) -> IpAddr {
        match self {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }
}

/// The family that an address begins with.
pub fn family_of(address: &[u8]) -> Result<u16> {
    let (family, _) = u16::read_from_prefix(address).map_err(|_| Errno::EINVAL)?;
    Ok(family)
}

/// The address of a socket of that family.
///
/// # Errors
/// `EINVAL` for one too short, `EAFNOSUPPORT` for another family.
pub fn parse(family: Family, address: &[u8]) -> Result<SocketAddr> {
    match family {
        Family::V4 => {
            let (address, _) = SockAddrIn::read_from_prefix(address).map_err(|_| Errno::EINVAL)?;
            if address.family != AF_INET {
                return Err(Errno::EAFNOSUPPORT);
            }
            Ok(SocketAddr::from((address.address(), address.port())))
        }
        Family::V6 => {
            if address.len() < SockAddrIn6::MIN {
                return Err(Errno::EINVAL);
            }
            let mut whole = [0; size_of::<SockAddrIn6>()];
            for (slot, byte) in whole.iter_mut().zip(address) {
                *slot = *byte;
            }
            let address = SockAddrIn6::read_from_bytes(&whole).map_err(|_| Errno::EINVAL)?;
            if address.family != AF_INET6 {
                return Err(Errno::EAFNOSUPPORT);
            }
            let ip = IpAddr::V6(address.address()).to_canonical();
            Ok(SocketAddr::new(ip, address.port()))
        }
    }
}

/// As [`parse`] for `bind`, which takes `AF_UNSPEC` for any IPv4 address.
pub fn parse_for_bind(family: Family, address: &[u8]) -> Result<SocketAddr> {
    let mut copy = NameBytes::from_slice(address);
    if family == Family::V4 && address.len() >= size_of::<SockAddrIn>() {
        let parsed = SockAddrIn::read_from_prefix(address);
        let is_any = parsed.is_ok_and(|(address, _)| {
            address.family == AF_UNSPEC && address.address().is_unspecified()
        });
        if is_any && let Some(slot) = copy.get_mut(..2) {
            slot.copy_from_slice(&AF_INET.to_ne_bytes());
        }
    }
    parse(family, &copy)
}

/// The address as a socket of that family is told it.
pub fn format(family: Family, address: SocketAddr) -> NameBytes {
    match (family, address.ip()) {
        (Family::V4, IpAddr::V4(ip)) => {
            NameBytes::from_slice(SockAddrIn::new(ip, address.port()).as_bytes())
        }
        (Family::V6, IpAddr::V6(ip)) => {
            NameBytes::from_slice(SockAddrIn6::new(ip, address.port()).as_bytes())
        }
        (Family::V6, IpAddr::V4(ip)) => {
            let ip = if ip.is_unspecified() {
                Ipv6Addr::UNSPECIFIED
            } else {
                ip.to_ipv6_mapped()
            };
            NameBytes::from_slice(SockAddrIn6::new(ip, address.port()).as_bytes())
        }
        // Sockets of `AF_INET` never have such an address.
        (Family::V4, IpAddr::V6(_)) => {
            let any = SockAddrIn::new(Ipv4Addr::UNSPECIFIED, address.port());
            NameBytes::from_slice(any.as_bytes())
        }
    }
}

/// Whether a socket may be bound to the address.
///
/// # Errors
/// `EADDRNOTAVAIL`.
pub fn check_own(address: IpAddr) -> Result<()> {
    // The loopback's network is taken for own before the interface has any address.
    let is_loopback = matches!(address, IpAddr::V4(address) if address.is_loopback());
    let is_own = address.is_unspecified() || is_loopback || owns(address);
    if is_own {
        Ok(())
    } else {
        Err(Errno::EADDRNOTAVAIL)
    }
}

/// Whether packets to the address end at an interface of ours. One that is down has its addresses still, but what is
/// sent to them is lost.
pub fn owns(address: IpAddr) -> bool {
    interface::all().any(|interface| match address {
        IpAddr::V4(address) => interface.owns_v4(address),
        IpAddr::V6(address) => interface.owns_v6(address),
    })
}

/// Where packets to an address go, and the address that they come from.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub destination: IpAddr,
    pub source: IpAddr,
}

/// The way to an address; the unspecified one leads to this machine.
///
/// # Errors
/// `ENETUNREACH`; `EADDRNOTAVAIL` for IPv6 where nothing has such an address.
pub fn route(destination: IpAddr) -> Result<Route> {
    let destination = match destination {
        IpAddr::V4(address) if address.is_unspecified() => {
            // This way needs no address of the interface.
            let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
            return Ok(Route {
                destination: here,
                source: here,
            });
        }
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    if owns(destination) {
        let source = match destination {
            // The network of the loopback interface has one address to send from.
            IpAddr::V4(address) if address.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            address => address,
        };
        return Ok(Route {
            destination,
            source,
        });
    }
    Err(match destination {
        IpAddr::V6(address) if address.is_loopback() => Errno::EADDRNOTAVAIL,
        _ => Errno::ENETUNREACH,
    })
}
