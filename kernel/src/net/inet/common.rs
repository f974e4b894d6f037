//! What every socket of the internet families has: its family, its options, and those of IP.

use core::net::IpAddr;
use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};

use abi::net::{IPPROTO_IP, IPPROTO_IPV6, In6PktInfo, InPktInfo, ip, ipv6};
use abi::socket::{FIOGETOWN, FIOSETOWN, SIOCGPGRP, SIOCSPGRP, SOL_SOCKET, Ucred, so};
use abi::{Errno, Result};
use bitflags::bitflags;
use smallvec::SmallVec;
use zerocopy::{FromBytes, IntoBytes};

use super::address::Family;
use crate::fs::{File, fasync};
use crate::mm::user::UserPtr;
use crate::net::interface;
use crate::net::message::Control;
use crate::net::options::{Options, buffer_size};
use crate::net::socket::{OptionBytes, OptionValue};
use crate::task;

bitflags! {
    /// Options of IP that are on or off.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Switches: u32 {
        const PKTINFO = 1;
        const RECVTTL = 2;
        const RECVTOS = 4;
        const PKTINFO6 = 8;
        const RECVHOPLIMIT = 16;
        const RECVTCLASS = 32;
        const V6ONLY = 64;
        const HDRINCL = 128;
        const FREEBIND = 256;
    }
}

/// Whose a socket is: what its file's inode says.
#[derive(Default)]
pub struct Owner {
    ino: AtomicU64,
    uid: AtomicU32,
}

impl Owner {
    /// The socket gets a file of the caller's.
    pub fn set(&self, ino: u64) {
        self.ino.store(ino, Ordering::Relaxed);
        let uid = task::current().my_cred().fsuid;
        self.uid.store(uid, Ordering::Relaxed);
    }
    /// The file is gone.
    pub fn clear(&self) {
        self.ino.store(0, Ordering::Relaxed);
        self.uid.store(0, Ordering::Relaxed);
    }
    pub fn ino(&self) -> u64 {
        self.ino.load(Ordering::Relaxed)
    }
    pub fn uid(&self) -> u32 {
        self.uid.load(Ordering::Relaxed)
    }
}

/// # Invariants
/// `family` never changes.
pub struct Common {
    pub family: Family,
    pub options: Options,
    pub owner: Owner,
    switches: AtomicU32,
    tos: AtomicU8,
    ttl: AtomicU8,
    hop_limit: AtomicU8,
    traffic_class: AtomicU8,
    send_buffer: AtomicI32,
    receive_buffer: AtomicI32,
}

/// The hops of a packet where nothing else is asked for.
pub const HOPS: u8 = 64;

/// What a received packet says of itself beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub destination: IpAddr,
    pub ttl: u8,
    pub tos: u8,
}

/// What the control messages of a send ask for.
#[derive(Clone, Copy, Default, Debug)]
pub struct Asked {
    pub ttl: Option<u8>,
    pub tos: Option<u8>,
    pub source: Option<IpAddr>,
}

fn switch_of(level: i32, option: i32) -> Option<Switches> {
    Some(match (level, option) {
        (IPPROTO_IP, ip::PKTINFO) => Switches::PKTINFO,
        (IPPROTO_IP, ip::RECVTTL) => Switches::RECVTTL,
        (IPPROTO_IP, ip::RECVTOS) => Switches::RECVTOS,
        (IPPROTO_IP, ip::FREEBIND) => Switches::FREEBIND,
        (IPPROTO_IPV6, ipv6::RECVPKTINFO) => Switches::PKTINFO6,
        (IPPROTO_IPV6, ipv6::RECVHOPLIMIT) => Switches::RECVHOPLIMIT,
        (IPPROTO_IPV6, ipv6::RECVTCLASS) => Switches::RECVTCLASS,
        _ => return None,
    })
}

/// A number as options of IP have it: a byte is enough.
fn number_in(value: OptionValue) -> Result<i32> {
    if value.len >= size_of::<i32>() {
        return UserPtr::<i32>::from(value.addr).read();
    }
    if value.len >= 1 {
        return UserPtr::<u8>::from(value.addr).read().map(i32::from);
    }
    Err(Errno::EINVAL)
}

impl Common {
    pub fn new(family: Family, send_buffer: i32, receive_buffer: i32) -> Common {
        Common {
            family,
            options: Options::new(),
            owner: Owner::default(),
            switches: AtomicU32::new(0),
            tos: AtomicU8::new(0),
            ttl: AtomicU8::new(HOPS),
            hop_limit: AtomicU8::new(HOPS),
            traffic_class: AtomicU8::new(0),
            send_buffer: AtomicI32::new(send_buffer),
            receive_buffer: AtomicI32::new(receive_buffer),
        }
    }

    pub fn has(&self, switch: Switches) -> bool {
        self.switches.load(Ordering::Relaxed) & switch.bits() != 0
    }
    pub fn set(&self, switch: Switches, on: bool) {
        if on {
            self.switches.fetch_or(switch.bits(), Ordering::Relaxed);
        } else {
            self.switches.fetch_and(!switch.bits(), Ordering::Relaxed);
        }
    }
    pub fn is_on(&self, option: i32) -> bool {
        self.options.get(option).is_some_and(|value| value != 0)
    }
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer.load(Ordering::Relaxed) as usize
    }
    /// The hops and the type of service of what is sent there.
    pub fn ttl_and_tos(&self, destination: IpAddr) -> (u8, u8) {
        let (ttl, tos) = match destination {
            IpAddr::V4(_) => (&self.ttl, &self.tos),
            IpAddr::V6(_) => (&self.hop_limit, &self.traffic_class),
        };
        (ttl.load(Ordering::Relaxed), tos.load(Ordering::Relaxed))
    }

    /// An option of `SOL_SOCKET` or of IP; `None` for one that is the protocol's.
    ///
    /// # Errors
    /// `ENOPROTOOPT`.
    pub fn option(&self, level: i32, option: i32) -> Result<OptionBytes> {
        if level == SOL_SOCKET && option == so::PEERCRED {
            let nobody = Ucred {
                pid: 0,
                uid: u32::MAX,
                gid: u32::MAX,
            };
            return Ok(OptionBytes::from_slice(nobody.as_bytes()));
        }
        let number = match level {
            SOL_SOCKET => match option {
                so::SNDBUF => self.send_buffer.load(Ordering::Relaxed),
                so::RCVBUF => self.receive_buffer.load(Ordering::Relaxed),
                _ => return Err(Errno::ENOPROTOOPT),
            },
            IPPROTO_IP | IPPROTO_IPV6 => self.ip_number(level, option)?,
            _ => return Err(Errno::ENOPROTOOPT),
        };
        Ok(OptionBytes::from_slice(number.as_bytes()))
    }

    fn ip_number(&self, level: i32, option: i32) -> Result<i32> {
        if level == IPPROTO_IPV6 && self.family == Family::V4 {
            return Err(Errno::ENOPROTOOPT);
        }
        if let Some(switch) = switch_of(level, option) {
            return Ok(i32::from(self.has(switch)));
        }
        let byte = |slot: &AtomicU8| i32::from(slot.load(Ordering::Relaxed));
        Ok(match (level, option) {
            (IPPROTO_IP, ip::TOS) => byte(&self.tos),
            (IPPROTO_IP, ip::TTL) => byte(&self.ttl),
            (IPPROTO_IPV6, ipv6::UNICAST_HOPS) => byte(&self.hop_limit),
            (IPPROTO_IPV6, ipv6::TCLASS) => byte(&self.traffic_class),
            (IPPROTO_IPV6, ipv6::V6ONLY) => i32::from(self.has(Switches::V6ONLY)),
            _ => return Err(Errno::ENOPROTOOPT),
        })
    }

    /// Sets an option of `SOL_SOCKET` or of IP.
    ///
    /// # Errors
    /// `ENOPROTOOPT`, `EINVAL` for a value out of range, `EPERM`.
    pub fn set_option(&self, level: i32, option: i32, value: OptionValue) -> Result<()> {
        match level {
            SOL_SOCKET => {
                let number = UserPtr::<i32>::from(value.addr).read()?;
                let (slot, forced, is_send) = match option {
                    so::SNDBUF | so::SNDBUFFORCE => {
                        (&self.send_buffer, option == so::SNDBUFFORCE, true)
                    }
                    so::RCVBUF | so::RCVBUFFORCE => {
                        (&self.receive_buffer, option == so::RCVBUFFORCE, false)
                    }
                    _ => return Err(Errno::ENOPROTOOPT),
                };
                slot.store(buffer_size(number, forced, is_send)?, Ordering::Relaxed);
                Ok(())
            }
            IPPROTO_IP | IPPROTO_IPV6 => self.set_ip(level, option, number_in(value)?),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn set_ip(&self, level: i32, option: i32, number: i32) -> Result<()> {
        if level == IPPROTO_IPV6 && self.family == Family::V4 {
            return Err(Errno::ENOPROTOOPT);
        }
        if let Some(switch) = switch_of(level, option) {
            self.set(switch, number != 0);
            return Ok(());
        }
        let (slot, default, least) = match (level, option) {
            (IPPROTO_IP, ip::TOS) => {
                self.tos.store(number as u8, Ordering::Relaxed);
                return Ok(());
            }
            (IPPROTO_IP, ip::TTL) => (&self.ttl, HOPS, 1),
            (IPPROTO_IPV6, ipv6::UNICAST_HOPS) => (&self.hop_limit, HOPS, 0),
            (IPPROTO_IPV6, ipv6::TCLASS) => (&self.traffic_class, 0, 0),
            _ => return Err(Errno::ENOPROTOOPT),
        };
        let byte = match number {
            -1 => default,
            number if number >= least => u8::try_from(number).map_err(|_| Errno::EINVAL)?,
            _ => return Err(Errno::EINVAL),
        };
        slot.store(byte, Ordering::Relaxed);
        Ok(())
    }

    /// The control messages that the receiver of a packet asked for.
    pub fn tell(&self, header: &Header, control: &mut alloc::vec::Vec<Control>) {
        let mut put = |level, kind, data: &[u8]| {
            control.push(Control {
                level,
                kind,
                data: SmallVec::from_slice(data),
            });
        };
        let index = interface::loopback().index as i32;
        match header.destination {
            IpAddr::V4(destination) => {
                if self.has(Switches::PKTINFO) {
                    let info = InPktInfo {
                        index,
                        spec_dst: destination.octets(),
                        address: destination.octets(),
                    };
                    put(IPPROTO_IP, ip::PKTINFO, info.as_bytes());
                }
                if self.has(Switches::RECVTTL) {
                    put(IPPROTO_IP, ip::TTL, i32::from(header.ttl).as_bytes());
                }
                if self.has(Switches::RECVTOS) {
                    put(IPPROTO_IP, ip::TOS, &[header.tos]);
                }
            }
            IpAddr::V6(_) => {
                if self.has(Switches::RECVHOPLIMIT) {
                    put(
                        IPPROTO_IPV6,
                        ipv6::HOPLIMIT,
                        i32::from(header.ttl).as_bytes(),
                    );
                }
                if self.has(Switches::RECVTCLASS) {
                    put(IPPROTO_IPV6, ipv6::TCLASS, i32::from(header.tos).as_bytes());
                }
            }
        }
        if self.has(Switches::PKTINFO6) {
            let address = match header.destination {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            };
            let info = In6PktInfo {
                address: address.octets(),
                index,
            };
            put(IPPROTO_IPV6, ipv6::PKTINFO, info.as_bytes());
        }
    }

    /// Reads the control messages of a send.
    ///
    /// # Errors
    /// `EINVAL` for one that is malformed, out of range or unknown.
    pub fn asked(&self, control: &[Control]) -> Result<Asked> {
        let mut asked = Asked::default();
        for message in control {
            let number = || i32::read_from_bytes(&message.data).map_err(|_| Errno::EINVAL);
            let byte = |number: i32| u8::try_from(number).map_err(|_| Errno::EINVAL);
            match (message.level, message.kind) {
                (IPPROTO_IP, ip::TTL) => {
                    let ttl = byte(number()?)?;
                    asked.ttl = Some(if ttl == 0 {
                        return Err(Errno::EINVAL);
                    } else {
                        ttl
                    });
                }
                (IPPROTO_IP, ip::TOS) => {
                    asked.tos = Some(match message.data.as_slice() {
                        [tos] => *tos,
                        _ => byte(number()?)?,
                    });
                }
                (IPPROTO_IP, ip::PKTINFO) => {
                    let info = InPktInfo::read_from_bytes(&message.data);
                    let info = info.map_err(|_| Errno::EINVAL)?;
                    asked.source = Some(IpAddr::V4(info.spec_dst.into()));
                }
                (IPPROTO_IPV6, ipv6::PKTINFO) => {
                    let info = In6PktInfo::read_from_bytes(&message.data);
                    let info = info.map_err(|_| Errno::EINVAL)?;
                    let address = IpAddr::V6(info.address.into());
                    asked.source = Some(address.to_canonical());
                }
                (IPPROTO_IPV6, ipv6::HOPLIMIT) => match number()? {
                    -1 => asked.ttl = None,
                    hops => asked.ttl = Some(byte(hops)?),
                },
                (IPPROTO_IPV6, ipv6::TCLASS) => match number()? {
                    -1 => asked.tos = None,
                    class => asked.tos = Some(byte(class)?),
                },
                (IPPROTO_IP | IPPROTO_IPV6, _) => return Err(Errno::EINVAL),
                _ => {}
            }
        }
        asked.source = asked.source.filter(|source| !source.is_unspecified());
        Ok(asked)
    }

    /// The calls of `ioctl` that are the same for all.
    ///
    /// # Errors
    /// `ENOTTY` for what is none of them.
    pub fn ioctl(file: &File, cmd: u32, arg: usize) -> Result<usize> {
        match cmd {
            FIOSETOWN | SIOCSPGRP => {
                let number = UserPtr::<i32>::from(arg).read()?;
                let owner = fasync::owner_from_number(number)?;
                fasync::set_owner(file, owner);
                Ok(0)
            }
            FIOGETOWN | SIOCGPGRP => {
                let number = fasync::owner_number(file);
                UserPtr::from(arg).write(&number).map(|()| 0)
            }
            _ => interface::inet_ioctl(cmd, arg),
        }
    }
}
