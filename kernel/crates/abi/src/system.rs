//! Structures of uname(2) and sysinfo(2).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The part of a personality that names a system, and the one for programs of 32 bits.
pub const PER_MASK: u32 = 0xff;
/// See [`PER_MASK`].
pub const PER_LINUX32: u32 = 8;
/// The personality bit for programs that know no release newer than 2.6.
pub const UNAME26: u32 = 0x0002_0000;

/// `struct new_utsname`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs, reason = "the fields are uname(2)'s")]
pub struct Utsname {
    pub sysname: [u8; 65],
    pub nodename: [u8; 65],
    pub release: [u8; 65],
    pub version: [u8; 65],
    pub machine: [u8; 65],
    pub domainname: [u8; 65],
}

impl Default for Utsname {
    fn default() -> Self {
        let name = [0; 65];
        Utsname {
            sysname: name,
            nodename: name,
            release: name,
            version: name,
            machine: name,
            domainname: name,
        }
    }
}

/// `struct sysinfo`. Sizes are in units of `mem_unit` bytes.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs, reason = "the fields are sysinfo(2)'s")]
pub struct Sysinfo {
    pub uptime: i64,
    pub loads: [u64; 3],
    pub total_ram: u64,
    pub free_ram: u64,
    pub shared_ram: u64,
    pub buffer_ram: u64,
    pub total_swap: u64,
    pub free_swap: u64,
    pub processes: u16,
    pub pad: [u16; 3],
    pub total_high: u64,
    pub free_high: u64,
    pub mem_unit: u32,
    pub tail: u32,
}

const _: () = assert!(size_of::<Utsname>() == 390 && size_of::<Sysinfo>() == 112);
