//! The static ACPI tables, read once at boot: processors, interrupt controllers, fixed registers, HPET, PCI windows.
//! Anything wrong with them costs the feature and a warning.

pub use acpitables::{Fadt, PciSegment};
use acpitables::{MadtEntry, Root};
use arrayvec::ArrayVec;
use spin::Once;

use crate::boot;
use crate::mm::PhysAddr;

/// An I/O APIC.
#[derive(Clone, Copy, Debug)]
pub struct IoApic {
    pub address: u32,
    pub gsi_base: u32,
}

/// A legacy interrupt line that arrives at another input.
#[derive(Clone, Copy, Debug)]
pub struct Override {
    pub source: u8,
    pub gsi: u32,
    /// As in the MADT: polarity in bits 0 and 1, trigger in bits 2 and 3.
    pub flags: u16,
}

/// How to reset the machine.
#[derive(Clone, Copy, Debug)]
pub enum ResetRegister {
    Port(u16, u8),
    Memory(u64, u8),
}

/// What the tables say.
#[derive(Debug, Default)]
pub struct Tables {
    /// Local APIC ids of the processors that can be started.
    pub cpus: ArrayVec<u32, 256>,
    pub io_apics: ArrayVec<IoApic, 16>,
    pub overrides: ArrayVec<Override, 16>,
    pub fadt: Option<Fadt>,
    /// Physical address of the HPET's registers.
    pub hpet: Option<u64>,
    pub pci: ArrayVec<PciSegment, 16>,
    pub reset: Option<ResetRegister>,
    /// Byte code besides the DSDT.
    pub ssdts: ArrayVec<&'static [u8], 32>,
}

static TABLES: Once<Tables> = Once::new();

/// The tables; empty if there are none.
pub fn get() -> &'static Tables {
    TABLES
        .get()
        .expect("read before anything that needs them, see main.rs")
}

/// The tables, if they have been read yet.
pub fn try_get() -> Option<&'static Tables> {
    TABLES.get()
}

/// Finds and reads the tables.
pub fn init() {
    TABLES.call_once(|| {
        let mut tables = Tables::default();
        let Some(root) = find_root() else {
            log::warn!("ACPI: no root pointer; one CPU, no power off");
            return tables;
        };
        let Some(table) = read_table(root.phys) else {
            log::warn!("ACPI: the root table is unusable");
            return tables;
        };
        root.entries(table)
            .filter_map(read_table)
            .for_each(|table| tables.add(table));
        tables
    });
}

impl Tables {
    fn add(&mut self, table: &'static [u8]) {
        match &table[..4] {
            b"APIC" => acpitables::madt(table).for_each(|entry| self.add_madt(entry)),
            b"FACP" => {
                self.fadt = acpitables::fadt(table);
                self.reset = self
                    .fadt
                    .and_then(|f| f.reset)
                    .and_then(|(register, value)| {
                        match (register.space, u16::try_from(register.address)) {
                            (1, Ok(port)) => Some(ResetRegister::Port(port, value)),
                            (0, _) => Some(ResetRegister::Memory(register.address, value)),
                            _ => None,
                        }
                    });
            }
            b"SSDT" => {
                // What exceeds the list is left unused.
                let _ = self.ssdts.try_push(table);
            }
            b"HPET" => self.hpet = acpitables::hpet(table),
            b"MCFG" => acpitables::mcfg(table).for_each(|segment| {
                let _ = self.pci.try_push(segment);
            }),
            _ => {}
        }
    }

    fn add_madt(&mut self, entry: MadtEntry) {
        // What exceeds the lists is left unused.
        match entry {
            MadtEntry::Cpu { apic_id } => {
                if !self.cpus.contains(&apic_id) {
                    let _ = self.cpus.try_push(apic_id);
                }
            }
            MadtEntry::IoApic { address, gsi_base } => {
                let _ = self.io_apics.try_push(IoApic { address, gsi_base });
            }
            MadtEntry::Override { source, gsi, flags } => {
                let _ = self.overrides.try_push(Override { source, gsi, flags });
            }
        }
    }
}

/// The root pointer: from the loader, else in the BIOS area.
fn find_root() -> Option<Root> {
    let given = boot::info().rsdp.and_then(|at| {
        firmware_bytes(at, 36)
            .or_else(|| firmware_bytes(at, 20))
            .and_then(Root::from_rsdp)
    });
    given.or_else(|| {
        (0xe_0000..0x10_0000)
            .step_by(16)
            .find_map(|at| firmware_bytes(at, 36).and_then(Root::from_rsdp))
    })
}

/// A whole table with a right checksum.
pub fn read_table(phys: u64) -> Option<&'static [u8]> {
    let head = firmware_bytes(phys, acpitables::HEADER_SIZE as u64)?;
    let (signature, length) = acpitables::header(head)?;
    let table = firmware_bytes(phys, length.into())?;
    if !acpitables::checksum_ok(table) {
        let name = core::str::from_utf8(&signature).unwrap_or("????");
        log::warn!("ACPI: table {name} at {phys:#x} has a wrong checksum and is ignored");
        return None;
    }
    Some(table)
}

/// Bytes that firmware left in memory.
fn firmware_bytes(phys: u64, len: u64) -> Option<&'static [u8]> {
    crate::arch::firmware_bytes(PhysAddr(phys), len)
}
