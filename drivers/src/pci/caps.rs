//! The capability list, and interrupts by message.

use alloc::vec::Vec;

use pci_types::PciAddress;

use super::config::ConfigSpace;
use crate::hal::Mmio;

pub const MSI: u8 = 0x05;
pub const VENDOR: u8 = 0x09;
pub const PCI_EXPRESS: u8 = 0x10;
pub const MSIX: u8 = 0x11;

/// One entry of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    pub id: u8,
    pub offset: u16,
}

/// Walks the list from `pointer`. A list that runs in a circle ends: there is room for 48 entries.
pub(super) fn walk(config: &dyn ConfigSpace, function: PciAddress, pointer: u8) -> Vec<Capability> {
    let mut found: Vec<Capability> = Vec::new();
    let mut offset = u16::from(pointer & !3);
    while offset >= 0x40 && found.len() < 48 {
        let header = config.read16(function, offset);
        let id = header as u8;
        if id == 0xff || found.iter().any(|cap| cap.offset == offset) {
            break;
        }
        found.push(Capability { id, offset });
        offset = header >> 8 & 0xfc;
    }
    found
}

/// Message-signalled interrupts, of which one message is used.
#[derive(Clone, Copy, Debug)]
pub struct Msi {
    function: PciAddress,
    offset: u16,
}

const MSI_ENABLE: u16 = 1;
const MSI_MULTIPLE: u16 = 7 << 4;
const MSI_64BIT: u16 = 1 << 7;

impl Msi {
    pub(super) fn new(function: PciAddress, offset: u16) -> Self {
        Self { function, offset }
    }

    /// From now on the function interrupts by writing `data` to `address`.
    pub fn enable(&self, config: &dyn ConfigSpace, address: u64, data: u16) {
        let control = config.read16(self.function, self.offset + 2) & !(MSI_ENABLE | MSI_MULTIPLE);
        config.write(self.function, self.offset + 4, address as u32);
        let data_offset = if control & MSI_64BIT != 0 {
            config.write(self.function, self.offset + 8, (address >> 32) as u32);
            12
        } else {
            8
        };
        config.write16(self.function, self.offset + data_offset, data);
        config.write16(self.function, self.offset + 2, control | MSI_ENABLE);
    }

    pub fn disable(&self, config: &dyn ConfigSpace) {
        let control = config.read16(self.function, self.offset + 2);
        config.write16(self.function, self.offset + 2, control & !MSI_ENABLE);
    }
}

/// Interrupts by a table of messages in one of the function's windows.
#[derive(Clone, Copy, Debug)]
pub struct Msix {
    function: PciAddress,
    offset: u16,
    /// Entries in the table.
    pub entries: u16,
    /// The window that holds the table.
    pub bar: u8,
    /// Where the table starts in it, in bytes.
    pub table: u32,
}

const MSIX_ENABLE: u16 = 1 << 15;
const MSIX_MASK_ALL: u16 = 1 << 14;
const ENTRY_BYTES: usize = 16;

impl Msix {
    pub(super) fn new(config: &dyn ConfigSpace, function: PciAddress, offset: u16) -> Self {
        let control = config.read16(function, offset + 2);
        let table = config.read(function, offset + 4);
        Self {
            function,
            offset,
            entries: (control & 0x7ff) + 1,
            bar: (table & 7) as u8,
            table: table & !7,
        }
    }

    /// Bytes of the table.
    pub fn table_bytes(&self) -> usize {
        usize::from(self.entries) * ENTRY_BYTES
    }

    /// Masks every message and switches the function over from INTx.
    pub fn enable(&self, config: &dyn ConfigSpace, table: &Mmio) {
        let control = config.read16(self.function, self.offset + 2);
        let on = control & !MSIX_MASK_ALL | MSIX_ENABLE;
        config.write16(self.function, self.offset + 2, on | MSIX_MASK_ALL);
        for entry in 0..usize::from(self.entries) {
            table.write32(entry * ENTRY_BYTES + 12, 1);
        }
        config.write16(self.function, self.offset + 2, on);
    }

    /// Message `entry` becomes a write of `data` to `address`. False where there is no such entry.
    pub fn set(&self, table: &Mmio, entry: u16, address: u64, data: u32) -> bool {
        if entry >= self.entries {
            return false;
        }
        let at = usize::from(entry) * ENTRY_BYTES;
        table.write32(at + 12, 1);
        table.write32(at, address as u32);
        table.write32(at + 4, (address >> 32) as u32);
        table.write32(at + 8, data);
        table.write32(at + 12, 0);
        true
    }

    pub fn disable(&self, config: &dyn ConfigSpace) {
        let control = config.read16(self.function, self.offset + 2);
        config.write16(self.function, self.offset + 2, control & !MSIX_ENABLE);
    }
}
