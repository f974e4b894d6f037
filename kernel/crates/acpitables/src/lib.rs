//! The static ACPI tables that are needed before there is an interpreter: RSDP, RSDT/XSDT, MADT, FADT, HPET, MCFG.
//! Works on bytes and believes none of them: a table that is short or whose checksum is wrong is no table, an entry
//! that does not fit ends its table.
//!
//! The crate `acpi`, which runs AML, reads these tables by unaligned pointers and trusts their lengths; at boot, where
//! nothing may fail, these few lines are the safer way.
//!
//! Reference: ACPI specification 6.5, chapter 5.2.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

/// Bytes of a table's header.
pub const HEADER_SIZE: usize = 36;

fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(
        bytes.get(at..at.checked_add(2)?)?.try_into().ok()?,
    ))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(
        bytes.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(
        bytes.get(at..at.checked_add(8)?)?.try_into().ok()?,
    ))
}

/// Whether the bytes add up to zero.
pub fn checksum_ok(bytes: &[u8]) -> bool {
    bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)) == 0
}

/// The root table: where it is, and whether its entries are 8 bytes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    pub phys: u64,
    pub wide: bool,
}

impl Root {
    /// Reads the root pointer: 20 bytes of the first revision, 36 of later ones.
    pub fn from_rsdp(bytes: &[u8]) -> Option<Root> {
        let first = bytes.get(..20)?;
        if !first.starts_with(b"RSD PTR ") || !checksum_ok(first) {
            return None;
        }
        if u8_at(first, 15)? >= 2
            && let Some(second) = bytes.get(..36)
            && checksum_ok(second)
            && let Some(phys) = u64_at(second, 24)
            && phys != 0
        {
            return Some(Root { phys, wide: true });
        }
        Some(Root {
            phys: u32_at(first, 16)?.into(),
            wide: false,
        })
    }

    /// The addresses in the root table `table`.
    pub fn entries<'a>(&self, table: &'a [u8]) -> impl Iterator<Item = u64> + use<'a> {
        let wide = self.wide;
        let body = table.get(HEADER_SIZE..).unwrap_or_default();
        body.chunks_exact(if wide { 8 } else { 4 })
            .filter_map(move |entry| {
                if wide {
                    u64_at(entry, 0)
                } else {
                    u32_at(entry, 0).map(u64::from)
                }
            })
    }
}

/// Signature and length of a table, from its header.
pub fn header(bytes: &[u8]) -> Option<([u8; 4], u32)> {
    let signature = bytes.get(..4)?.try_into().ok()?;
    let length = u32_at(bytes, 4)?;
    (length as usize >= HEADER_SIZE && length <= 16 << 20).then_some((signature, length))
}

/// What the MADT lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadtEntry {
    /// A processor that can be started.
    Cpu {
        apic_id: u32,
    },
    IoApic {
        address: u32,
        gsi_base: u32,
    },
    Override {
        source: u8,
        gsi: u32,
        flags: u16,
    },
}

/// The entries of a MADT that matter. Processors that are not enabled are left out.
pub fn madt(table: &[u8]) -> impl Iterator<Item = MadtEntry> {
    let mut rest = table.get(HEADER_SIZE + 8..).unwrap_or_default();
    core::iter::from_fn(move || {
        loop {
            let (kind, len) = (u8_at(rest, 0)?, usize::from(u8_at(rest, 1)?));
            if len < 2 {
                return None;
            }
            let entry = rest.get(..len)?;
            rest = &rest[len..];
            if let Some(found) = madt_entry(kind, entry) {
                return Some(found);
            }
        }
    })
}

fn madt_entry(kind: u8, entry: &[u8]) -> Option<MadtEntry> {
    const ENABLED: u32 = 1;
    match kind {
        0 if u32_at(entry, 4)? & ENABLED != 0 && u8_at(entry, 3)? != 0xff => Some(MadtEntry::Cpu {
            apic_id: u8_at(entry, 3)?.into(),
        }),
        1 => Some(MadtEntry::IoApic {
            address: u32_at(entry, 4)?,
            gsi_base: u32_at(entry, 8)?,
        }),
        2 => Some(MadtEntry::Override {
            source: u8_at(entry, 3)?,
            gsi: u32_at(entry, 4)?,
            flags: u16_at(entry, 8)?,
        }),
        9 if u32_at(entry, 8)? & ENABLED != 0 && u32_at(entry, 4)? != u32::MAX => {
            Some(MadtEntry::Cpu {
                apic_id: u32_at(entry, 4)?,
            })
        }
        _ => None,
    }
}

/// A register given as a generic address: space 0 is memory, 1 ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Register {
    pub space: u8,
    pub address: u64,
}

fn register(table: &[u8], at: usize) -> Option<Register> {
    let found = Register {
        space: u8_at(table, at)?,
        address: u64_at(table, at + 4)?,
    };
    (found.address != 0).then_some(found)
}

/// The fixed description table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fadt {
    pub dsdt: u64,
    pub sci_interrupt: u16,
    pub smi_command: u32,
    pub acpi_enable: u8,
    pub pm1a_event: u16,
    pub pm1b_event: u16,
    pub pm1a_control: u16,
    pub pm1b_control: u16,
    pub pm1_event_len: u8,
    pub pm_timer: u16,
    /// The timer counts 32 bits, not 24.
    pub pm_timer_32: bool,
    /// CMOS index of the century; 0 if there is none.
    pub century: u8,
    /// Fixed-hardware power button.
    pub power_button: bool,
    /// There is no legacy keyboard controller (from revision 2 on).
    pub no_keyboard_controller: bool,
    /// There is no CMOS clock.
    pub no_cmos_rtc: bool,
    pub hardware_reduced: bool,
    pub reset: Option<(Register, u8)>,
}

/// Decodes a FADT. Fields that the table's revision does not have are zero.
pub fn fadt(table: &[u8]) -> Option<Fadt> {
    let word32 = |at| u32_at(table, at).unwrap_or(0);
    let port = |at| u16::try_from(word32(at)).unwrap_or(0);
    table.get(HEADER_SIZE + 4)?;
    let flags = word32(112);
    let revision = u8_at(table, 8)?;
    let boot_flags = if revision >= 2 {
        u16_at(table, 109).unwrap_or(0)
    } else {
        0
    };
    let has_reset = revision >= 2 && flags & 1 << 10 != 0;
    Some(Fadt {
        dsdt: u64_at(table, 140)
            .filter(|&x| x != 0)
            .unwrap_or(word32(40).into()),
        sci_interrupt: u16_at(table, 46).unwrap_or(0),
        smi_command: word32(48),
        acpi_enable: u8_at(table, 52).unwrap_or(0),
        pm1a_event: port(56),
        pm1b_event: port(60),
        pm1a_control: port(64),
        pm1b_control: port(68),
        pm_timer: port(76),
        pm1_event_len: u8_at(table, 88).unwrap_or(0),
        century: u8_at(table, 108).unwrap_or(0),
        pm_timer_32: flags & 1 << 8 != 0,
        power_button: flags & 1 << 4 == 0,
        no_keyboard_controller: revision >= 3 && boot_flags & 1 << 1 == 0,
        no_cmos_rtc: boot_flags & 1 << 5 != 0,
        hardware_reduced: flags & 1 << 20 != 0,
        reset: if has_reset {
            register(table, 116).zip(u8_at(table, 128))
        } else {
            None
        },
    })
}

/// The HPET's registers in memory.
pub fn hpet(table: &[u8]) -> Option<u64> {
    register(table, 40)
        .filter(|r| r.space == 0)
        .map(|r| r.address)
}

/// A PCI Express configuration window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciSegment {
    pub base: u64,
    pub segment: u16,
    pub first_bus: u8,
    pub last_bus: u8,
}

/// The windows of an MCFG.
pub fn mcfg(table: &[u8]) -> impl Iterator<Item = PciSegment> {
    let body = table.get(HEADER_SIZE + 8..).unwrap_or_default();
    body.chunks_exact(16).filter_map(|entry| {
        let segment = PciSegment {
            base: u64_at(entry, 0)?,
            segment: u16_at(entry, 8)?,
            first_bus: u8_at(entry, 10)?,
            last_bus: u8_at(entry, 11)?,
        };
        (segment.base != 0 && segment.first_bus <= segment.last_bus).then_some(segment)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
        bytes[at] = 0;
        bytes[at] = 0u8.wrapping_sub(bytes.iter().fold(0, |s: u8, &b| s.wrapping_add(b)));
        bytes
    }

    #[test]
    fn the_root_pointer_needs_signature_and_checksum() {
        let mut bytes = b"RSD PTR \0OEMOEM\0\x34\x12\0\0".to_vec();
        assert_eq!(Root::from_rsdp(&bytes), None);
        bytes = sealed(bytes, 8);
        assert_eq!(
            Root::from_rsdp(&bytes),
            Some(Root {
                phys: 0x1234,
                wide: false
            })
        );
        assert_eq!(Root::from_rsdp(&bytes[..19]), None);
    }

    #[test]
    fn a_later_revision_is_used_only_if_whole() {
        let mut bytes = sealed(b"RSD PTR \0OEMOEM\x02\x34\x12\0\0".to_vec(), 8);
        assert_eq!(Root::from_rsdp(&bytes).map(|r| r.wide), Some(false));
        bytes.extend(36u32.to_le_bytes());
        bytes.extend(0x5678u64.to_le_bytes());
        bytes.extend([0; 4]);
        assert_eq!(Root::from_rsdp(&bytes).map(|r| r.wide), Some(false));
        let bytes = sealed(bytes, 32);
        assert_eq!(
            Root::from_rsdp(&bytes),
            Some(Root {
                phys: 0x5678,
                wide: true
            })
        );
    }

    #[test]
    fn the_madt_lists_enabled_processors_and_controllers() {
        let mut table = vec![0; HEADER_SIZE + 8];
        table.extend([0, 8, 0, 5, 1, 0, 0, 0]);
        table.extend([0, 8, 0, 6, 0, 0, 0, 0]);
        table.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 24, 0, 0, 0]);
        table.extend([2, 10, 0, 0, 2, 0, 0, 0, 0xd, 0]);
        table.extend([9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        table.extend([77, 4, 0, 0]);
        let found: Vec<_> = madt(&table).collect();
        assert_eq!(
            found,
            [
                MadtEntry::Cpu { apic_id: 5 },
                MadtEntry::IoApic {
                    address: 0xfec0_0000,
                    gsi_base: 24
                },
                MadtEntry::Override {
                    source: 0,
                    gsi: 2,
                    flags: 0xd
                },
                MadtEntry::Cpu { apic_id: 0x100 },
            ]
        );
        for len in 0..table.len() {
            let _ = madt(&table[..len]).count();
        }
        let mut endless = table;
        endless[HEADER_SIZE + 9] = 0;
        assert_eq!(madt(&endless).count(), 0);
    }

    #[test]
    fn short_tables_have_defaults_and_never_panic() {
        let table = vec![0xff; 300];
        for len in 0..table.len() {
            let _ = fadt(&table[..len]);
            let _ = hpet(&table[..len]);
            let _ = mcfg(&table[..len]).count();
            let _ = header(&table[..len]);
        }
        assert_eq!(fadt(&[0; 30]), None);
        assert_eq!(header(&[b'A'; 36]), None);
    }
}
