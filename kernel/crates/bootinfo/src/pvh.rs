//! The PVH start information (`hvm_start_info`), by which QEMU's `-kernel`, Firecracker and Cloud Hypervisor start
//! a kernel. Reference: Xen, `public/arch-x86/hvm/start_info.h`.

use crate::MemoryKind;
use crate::bytes::{u32_at, u64_at};

/// First field of the structure.
pub const MAGIC: u32 = 0x336e_c578;
/// Bytes of the structure, version 1.
pub const START_INFO_SIZE: usize = 56;
/// Bytes of a module entry.
pub const MODULE_SIZE: usize = 32;
/// Bytes of a memory-map entry.
pub const MEMORY_ENTRY_SIZE: usize = 24;
/// More modules or ranges than any loader passes: counts above are corrupt.
pub const MAX_ENTRIES: u32 = 4096;

/// The start information; addresses are physical, 0 where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartInfo {
    pub modules: u64,
    pub module_count: u32,
    pub cmdline: u64,
    pub rsdp: u64,
    pub memory_map: u64,
    pub memory_map_entries: u32,
}

/// A boot module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    pub start: u64,
    pub len: u64,
    /// Physical address of its command line, or 0.
    pub cmdline: u64,
}

impl StartInfo {
    /// Decodes the structure; `None` if the magic is wrong or bytes are missing. Version 0 has no memory map.
    pub fn parse(bytes: &[u8]) -> Option<StartInfo> {
        (u32_at(bytes, 0)? == MAGIC).then_some(())?;
        let version = u32_at(bytes, 4)?;
        let has_map = version >= 1;
        let clamp = |count: u32| if count > MAX_ENTRIES { 0 } else { count };
        Some(StartInfo {
            module_count: clamp(u32_at(bytes, 12)?),
            modules: u64_at(bytes, 16)?,
            cmdline: u64_at(bytes, 24)?,
            rsdp: u64_at(bytes, 32)?,
            memory_map: if has_map { u64_at(bytes, 40)? } else { 0 },
            memory_map_entries: if has_map {
                clamp(u32_at(bytes, 48)?)
            } else {
                0
            },
        })
    }
}

/// The modules in the array `bytes`.
pub fn modules(bytes: &[u8]) -> impl Iterator<Item = Module> {
    bytes.chunks_exact(MODULE_SIZE).filter_map(|entry| {
        Some(Module {
            start: u64_at(entry, 0)?,
            len: u64_at(entry, 8)?,
            cmdline: u64_at(entry, 16)?,
        })
    })
}

/// Start, length and kind of each range in the array `bytes`.
pub fn memory_map(bytes: &[u8]) -> impl Iterator<Item = (u64, u64, MemoryKind)> {
    bytes.chunks_exact(MEMORY_ENTRY_SIZE).filter_map(|entry| {
        let kind = match u32_at(entry, 16)? {
            1 => MemoryKind::Usable,
            3 => MemoryKind::AcpiReclaimable,
            4 => MemoryKind::AcpiNvs,
            5 => MemoryKind::Bad,
            _ => MemoryKind::Reserved,
        };
        Some((u64_at(entry, 0)?, u64_at(entry, 8)?, kind))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_versions_and_refuses_other_magic() {
        let mut bytes = [0u8; START_INFO_SIZE];
        assert_eq!(StartInfo::parse(&bytes), None);
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[40] = 0x10;
        bytes[48] = 2;
        assert_eq!(StartInfo::parse(&bytes).map(|i| i.memory_map), Some(0));
        bytes[4] = 1;
        let info = StartInfo::parse(&bytes).unwrap();
        assert_eq!((info.memory_map, info.memory_map_entries), (0x10, 2));
        bytes[51] = 0xff;
        assert_eq!(StartInfo::parse(&bytes).unwrap().memory_map_entries, 0);
        assert_eq!(StartInfo::parse(&bytes[..40]), None);
    }
}
