//! Network interfaces: what there is, whether it is up, which addresses it has, and the calls of `ioctl` that ask and
//! change it. Only the loopback interface exists.
//!
//! As on Linux it is down when the machine starts and has no address. The first time it comes up it is given
//! 127.0.0.1/8, which it keeps; ::1/128 it has while it is up.
//!
//! References: netdevice(7); `net/core/dev_ioctl.c` and `net/ipv4/devinet.c` for the errors.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::net::{
    ARPHRD_LOOPBACK, IfConf, IfReq, IfReqValue, Iff, SIOCGIFADDR, SIOCGIFBRDADDR, SIOCGIFCONF,
    SIOCGIFDSTADDR, SIOCGIFFLAGS, SIOCGIFHWADDR, SIOCGIFINDEX, SIOCGIFMAP, SIOCGIFMETRIC,
    SIOCGIFMTU, SIOCGIFNAME, SIOCGIFNETMASK, SIOCGIFTXQLEN, SIOCSIFADDR, SIOCSIFFLAGS, SIOCSIFMTU,
    SIOCSIFNETMASK, SockAddrIn,
};
use abi::socket::AF_INET;
use abi::{Errno, Result};
use zerocopy::{FromBytes, IntoBytes};

use crate::mm::user::UserPtr;
use crate::net::netlink::route::address::{self, Address};
use crate::net::netlink::route::link;
use crate::net::packet;
use crate::sync::RwLock;
use crate::task::{self, Cap};

/// The longest queue for sending, which the loopback interface only tells.
pub const TX_QUEUE_LEN: i32 = 1000;

/// An IPv4 address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct V4Address {
    pub address: Ipv4Addr,
    pub prefix: u8,
}

/// An IPv6 address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct V6Address {
    pub address: Ipv6Addr,
    pub prefix: u8,
}

/// What an interface has carried, each way.
#[derive(Default)]
pub struct Traffic {
    pub bytes: AtomicU64,
    pub packets: AtomicU64,
}

impl Traffic {
    const fn new() -> Traffic {
        Traffic {
            bytes: AtomicU64::new(0),
            packets: AtomicU64::new(0),
        }
    }

    /// Counts one packet.
    #[inline]
    pub fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.packets.fetch_add(1, Ordering::Relaxed);
    }
}

/// One interface. Interfaces do not go away.
pub struct Interface {
    pub index: u32,
    pub name: &'static str,
    /// `ARPHRD_*`.
    pub hardware: u16,
    pub hardware_address: [u8; 6],
    flags: AtomicU32,
    mtu: AtomicU32,
    v4: RwLock<Vec<V4Address>>,
    v6: RwLock<Vec<V6Address>>,
    pub received: Traffic,
    pub sent: Traffic,
    /// How many sockets want everything that passes.
    pub promiscuity: AtomicU32,
}

static LOOPBACK: Interface = Interface {
    index: 1,
    name: "lo",
    hardware: ARPHRD_LOOPBACK,
    hardware_address: [0; 6],
    flags: AtomicU32::new(Iff::LOOPBACK.bits()),
    mtu: AtomicU32::new(65536),
    v4: RwLock::new(Vec::new()),
    v6: RwLock::new(Vec::new()),
    received: Traffic::new(),
    sent: Traffic::new(),
    promiscuity: AtomicU32::new(0),
};

/// The interface whose packets come back.
pub fn loopback() -> &'static Interface {
    &LOOPBACK
}

/// Every interface, by index.
pub fn all() -> impl Iterator<Item = &'static Interface> {
    [&LOOPBACK].into_iter()
}

/// The interface with that index.
pub fn by_index(index: u32) -> Option<&'static Interface> {
    all().find(|interface| interface.index == index)
}

/// The interface with that name; what follows a NUL or a colon (an alias's label) does not count.
pub fn by_name(name: &[u8]) -> Option<&'static Interface> {
    let end = name.iter().position(|byte| matches!(byte, 0 | b':'));
    let name = name.get(..end.unwrap_or(name.len())).unwrap_or_default();
    all().find(|interface| interface.name.as_bytes() == name)
}

impl Interface {
    pub fn is_up(&self) -> bool {
        self.flags.load(Ordering::Acquire) & Iff::UP.bits() != 0
    }
    pub fn is_loopback(&self) -> bool {
        self.hardware == ARPHRD_LOOPBACK
    }

    /// The flags as they are told: `RUNNING` and `LOWER_UP` follow from `UP`.
    pub fn flags(&self) -> Iff {
        let flags = Iff::from_bits_retain(self.flags.load(Ordering::Acquire));
        if flags.contains(Iff::UP) {
            flags | Iff::RUNNING | Iff::LOWER_UP
        } else {
            flags
        }
    }

    /// Brings the interface up or takes it down, and sets those of its flags that may be set.
    pub fn set_flags(&self, asked: Iff) {
        const SETTABLE: Iff = Iff::UP
            .union(Iff::DEBUG)
            .union(Iff::NOARP)
            .union(Iff::ALLMULTI)
            .union(Iff::PROMISC);
        let was_up = self.is_up();
        let is_up = asked.contains(Iff::UP);
        let before = self.flags();
        let kept = self.flags.load(Ordering::Acquire) & !SETTABLE.bits();
        if is_up && !was_up {
            self.add_own_addresses();
        }
        self.flags
            .store(kept | (asked & SETTABLE).bits(), Ordering::Release);
        if was_up && !is_up {
            let gone = core::mem::take(&mut *self.v6.write());
            for own in gone {
                address::notify(self, Address::V6(own), false);
            }
            packet::went_down(self);
        }
        if self.flags() != before {
            link::notify(self, before ^ self.flags());
        }
    }

    /// What comes with being up.
    fn add_own_addresses(&self) {
        if !self.is_loopback() {
            return;
        }
        let mut v4 = self.v4.write();
        if v4.is_empty() {
            let own = V4Address {
                address: Ipv4Addr::LOCALHOST,
                prefix: 8,
            };
            v4.push(own);
            address::notify(self, Address::V4(own), true);
        }
        drop(v4);
        let mut v6 = self.v6.write();
        if v6.is_empty() {
            let own = V6Address {
                address: Ipv6Addr::LOCALHOST,
                prefix: 128,
            };
            v6.push(own);
            address::notify(self, Address::V6(own), true);
        }
    }

    pub fn mtu(&self) -> u32 {
        self.mtu.load(Ordering::Relaxed)
    }
    pub fn set_mtu(&self, mtu: u32) {
        self.mtu.store(mtu, Ordering::Relaxed);
    }
    pub fn v4_addresses(&self) -> Vec<V4Address> {
        self.v4.read().clone()
    }
    pub fn v6_addresses(&self) -> Vec<V6Address> {
        self.v6.read().clone()
    }

    /// Whether packets to the address end here: on the loopback interface a whole network does.
    pub fn owns_v4(&self, address: Ipv4Addr) -> bool {
        self.v4.read().iter().any(|own| {
            own.address == address || (self.is_loopback() && own.network_contains(address))
        })
    }
    pub fn owns_v6(&self, address: Ipv6Addr) -> bool {
        self.v6.read().iter().any(|own| own.address == address)
    }

    fn first_v4(&self) -> Result<V4Address> {
        self.v4.read().first().copied().ok_or(Errno::EADDRNOTAVAIL)
    }

    /// Replaces the first address, with the mask that its class has.
    ///
    /// # Errors
    /// `EINVAL` for an address that no host has.
    fn set_v4(&self, address: Ipv4Addr) -> Result<()> {
        let [class, ..] = address.octets();
        let prefix = match class {
            0..=127 => 8,
            128..=191 => 16,
            192..=223 => 24,
            _ => return Err(Errno::EINVAL),
        };
        let mut v4 = self.v4.write();
        v4.truncate(0);
        if !address.is_unspecified() {
            v4.push(V4Address { address, prefix });
        }
        Ok(())
    }

    /// # Errors
    /// `EADDRNOTAVAIL` without an address, `EINVAL` for bits with holes.
    fn set_mask(&self, mask: Ipv4Addr) -> Result<()> {
        let bits = u32::from(mask);
        if bits.leading_ones() != bits.count_ones() {
            return Err(Errno::EINVAL);
        }
        let mut v4 = self.v4.write();
        let first = v4.first_mut().ok_or(Errno::EADDRNOTAVAIL)?;
        first.prefix = bits.leading_ones() as u8;
        Ok(())
    }
}

impl V4Address {
    pub fn mask(&self) -> Ipv4Addr {
        let bits = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32)));
        Ipv4Addr::from(bits.unwrap_or(0))
    }
    fn network_contains(&self, address: Ipv4Addr) -> bool {
        let mask = u32::from(self.mask());
        u32::from(address) & mask == u32::from(self.address) & mask
    }
}

fn admin() -> Result<()> {
    if task::current().my_cred().capable(Cap::NET_ADMIN) {
        return Ok(());
    }
    Err(Errno::EPERM)
}

/// The value of a request that is a number.
fn number_of(value: i32) -> IfReqValue {
    let mut bytes = IfReqValue::default();
    if let Some(slot) = bytes.0.get_mut(..4) {
        slot.copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

/// The value of a request that is an address.
fn address_value(address: Ipv4Addr) -> IfReqValue {
    let mut bytes = IfReqValue::default();
    let address = SockAddrIn::new(address, 0);
    if let Some(slot) = bytes.0.get_mut(..size_of::<SockAddrIn>()) {
        slot.copy_from_slice(address.as_bytes());
    }
    bytes
}

fn number_in(value: &IfReqValue) -> i32 {
    i32::read_from_prefix(&value.0).map_or(0, |(number, _)| number)
}

/// # Errors
/// `EINVAL` for another family.
fn address_in(value: &IfReqValue) -> Result<Ipv4Addr> {
    let (address, _) = SockAddrIn::read_from_prefix(&value.0).map_err(|_| Errno::EINVAL)?;
    if address.family != AF_INET {
        return Err(Errno::EINVAL);
    }
    Ok(address.address())
}

/// The calls on interfaces that every socket takes.
///
/// # Errors
/// `ENOTTY` for what is none of them, `ENODEV`, `EPERM`, `EINVAL`, `EFAULT`.
pub fn ioctl(cmd: u32, arg: usize) -> Result<usize> {
    if cmd == SIOCGIFCONF {
        return list(UserPtr::from(arg));
    }
    let user = UserPtr::<IfReq>::from(arg);
    if cmd == SIOCGIFNAME {
        let mut request = user.read()?;
        let index = u32::try_from(number_in(&request.value)).map_err(|_| Errno::ENODEV)?;
        request.set_name(by_index(index).ok_or(Errno::ENODEV)?.name);
        return user.write(&request).map(|()| 0);
    }
    match cmd {
        SIOCGIFFLAGS | SIOCGIFMETRIC | SIOCGIFMTU | SIOCGIFHWADDR | SIOCGIFMAP | SIOCGIFINDEX
        | SIOCGIFTXQLEN => {
            let mut request = user.read()?;
            let interface = by_name(&request.name).ok_or(Errno::ENODEV)?;
            request.value = tell(interface, cmd);
            user.write(&request).map(|()| 0)
        }
        SIOCSIFFLAGS | SIOCSIFMTU => {
            let request = user.read()?;
            let interface = by_name(&request.name);
            admin()?;
            let interface = interface.ok_or(Errno::ENODEV)?;
            if cmd == SIOCSIFMTU {
                let mtu = number_in(&request.value);
                interface.set_mtu(u32::try_from(mtu).map_err(|_| Errno::EINVAL)?);
            } else {
                let low = number_in(&request.value) as u32 & 0xffff;
                interface.set_flags(Iff::from_bits_retain(low));
            }
            Ok(0)
        }
        _ => Err(Errno::ENOTTY),
    }
}

fn tell(interface: &Interface, cmd: u32) -> IfReqValue {
    match cmd {
        SIOCGIFFLAGS => number_of((interface.flags().bits() & 0xffff) as i32),
        SIOCGIFMTU => number_of(interface.mtu() as i32),
        SIOCGIFINDEX => number_of(interface.index as i32),
        SIOCGIFTXQLEN => number_of(TX_QUEUE_LEN),
        SIOCGIFHWADDR => {
            let mut value = number_of(i32::from(interface.hardware));
            if let Some(slot) = value.0.get_mut(2..8) {
                slot.copy_from_slice(&interface.hardware_address);
            }
            value
        }
        // A metric is never set, and there is no bus address.
        _ => IfReqValue::default(),
    }
}

/// The calls on an interface's addresses, which sockets of the internet families take.
///
/// # Errors
/// As [`ioctl`]; `EADDRNOTAVAIL` for an interface without an address.
pub fn inet_ioctl(cmd: u32, arg: usize) -> Result<usize> {
    let user = UserPtr::<IfReq>::from(arg);
    match cmd {
        SIOCGIFADDR | SIOCGIFBRDADDR | SIOCGIFDSTADDR | SIOCGIFNETMASK => {
            let mut request = user.read()?;
            let interface = by_name(&request.name).ok_or(Errno::ENODEV)?;
            let first = interface.first_v4()?;
            request.value = address_value(match cmd {
                // A broadcast address is one that was given, and nobody gives it.
                SIOCGIFBRDADDR => Ipv4Addr::UNSPECIFIED,
                SIOCGIFNETMASK => first.mask(),
                _ => first.address,
            });
            user.write(&request).map(|()| 0)
        }
        SIOCSIFADDR | SIOCSIFNETMASK => {
            let request = user.read()?;
            admin()?;
            let address = address_in(&request.value)?;
            let interface = by_name(&request.name).ok_or(Errno::ENODEV)?;
            if cmd == SIOCSIFADDR {
                interface.set_v4(address)?;
                // As on Linux, an interface with an address is meant to be used.
                interface.set_flags(interface.flags() | Iff::UP);
            } else {
                interface.set_mask(address)?;
            }
            Ok(0)
        }
        _ => ioctl(cmd, arg),
    }
}

/// `SIOCGIFCONF`: the interfaces that have an IPv4 address; the length alone where there is no buffer.
fn list(user: UserPtr<IfConf>) -> Result<usize> {
    let mut conf = user.read()?;
    let room = usize::try_from(conf.len).map_err(|_| Errno::EINVAL)?;
    let mut used = 0;
    for interface in all() {
        for own in interface.v4_addresses() {
            let mut request = IfReq::default();
            request.set_name(interface.name);
            request.value = address_value(own.address);
            if conf.buffer == 0 {
                used += size_of::<IfReq>();
            } else if room - used >= size_of::<IfReq>() {
                UserPtr::from(conf.buffer.wrapping_add(used)).write(&request)?;
                used += size_of::<IfReq>();
            }
        }
    }
    conf.len = i32::try_from(used).unwrap_or(i32::MAX);
    user.write(&conf).map(|()| 0)
}
