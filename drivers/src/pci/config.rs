//! Configuration space: 256 bytes a function by ports, 4096 by memory.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ksync::IrqSpinLock;
use pci_types::{ConfigRegionAccess, PciAddress};

use crate::hal::{Mmio, PortIo, Ports};

/// Reads and writes aligned words of configuration space; what nobody answers reads as ones.
pub trait ConfigSpace: Send + Sync {
    fn read(&self, function: PciAddress, offset: u16) -> u32;
    fn write(&self, function: PciAddress, offset: u16, value: u32);

    fn read8(&self, function: PciAddress, offset: u16) -> u8 {
        (self.read(function, offset & !3) >> (u32::from(offset & 3) * 8)) as u8
    }

    fn read16(&self, function: PciAddress, offset: u16) -> u16 {
        (self.read(function, offset & !3) >> (u32::from(offset & 2) * 8)) as u16
    }

    /// Writes one byte of a word.
    fn write8(&self, function: PciAddress, offset: u16, value: u8) {
        let half = self.read16(function, offset & !1);
        let shift = u32::from(offset & 1) * 8;
        let half = half & !(0xff << shift) | u16::from(value) << shift;
        self.write16(function, offset & !1, half);
    }

    /// Writes one half of a word. Of the status register, which shares a word with the command, nothing is cleared.
    fn write16(&self, function: PciAddress, offset: u16, value: u16) {
        let word = offset & !3;
        let shift = u32::from(offset & 2) * 8;
        let mut both = self.read(function, word);
        if word == 4 {
            both &= 0xffff;
        }
        both = both & !(0xffff << shift) | u32::from(value) << shift;
        self.write(function, word, both);
    }
}

/// Lends a configuration space to `pci_types`.
pub(super) struct Lent<'a>(pub &'a dyn ConfigSpace);

#[expect(
    unsafe_code,
    reason = "the trait's methods are unsafe to call; implementing them safely is allowed"
)]
// The trait asks for valid addresses; here any address is safe, as `ConfigSpace` is.
impl ConfigRegionAccess for Lent<'_> {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        self.0.read(address, offset & !3)
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        self.0.write(address, offset & !3, value);
    }
}

const CONFIG_ADDRESS: u16 = 0xcf8;

/// Mechanism #1: an address port and a data port, segment 0 only.
pub struct PortConfig {
    ports: IrqSpinLock<Ports>,
}

impl Default for PortConfig {
    fn default() -> Self {
        Self {
            ports: IrqSpinLock::new(Ports::new(CONFIG_ADDRESS, 8)),
        }
    }
}

impl PortConfig {
    fn select(function: PciAddress, offset: u16) -> Option<u32> {
        if function.segment() != 0 || offset >= 256 {
            return None;
        }
        let place = u32::from(function.bus()) << 16
            | u32::from(function.device()) << 11
            | u32::from(function.function()) << 8;
        Some(1 << 31 | place | u32::from(offset & 0xfc))
    }
}

impl ConfigSpace for PortConfig {
    fn read(&self, function: PciAddress, offset: u16) -> u32 {
        let Some(select) = Self::select(function, offset) else {
            return u32::MAX;
        };
        let ports = self.ports.lock();
        ports.write32(0, select);
        ports.read32(4)
    }

    fn write(&self, function: PciAddress, offset: u16, value: u32) {
        let Some(select) = Self::select(function, offset) else {
            return;
        };
        let ports = self.ports.lock();
        ports.write32(0, select);
        ports.write32(4, value);
    }
}

/// One line of the ACPI table MCFG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcamRegion {
    /// Address of bus 0 of the segment, whatever `first_bus` is.
    pub phys: u64,
    pub segment: u16,
    pub first_bus: u8,
    pub last_bus: u8,
}

const BUS_BYTES: usize = 1 << 20;

/// Memory-mapped configuration space (PCIe). A bus is mapped when it is first looked at, as a whole segment would
/// take 256 MiB of address space.
pub struct Ecam {
    regions: Vec<EcamRegion>,
    buses: IrqSpinLock<Arc<[(u16, u8, Mmio)]>>,
    fallback: PortConfig,
}

impl Ecam {
    pub fn new(regions: Vec<EcamRegion>) -> Self {
        Self {
            regions,
            buses: IrqSpinLock::new(Arc::new([])),
            fallback: PortConfig::default(),
        }
    }

    pub fn regions(&self) -> &[EcamRegion] {
        &self.regions
    }

    fn bus(&self, segment: u16, bus: u8) -> Option<Mmio> {
        let buses = self.buses.lock().clone();
        let known = buses.iter().find(|(s, b, _)| (*s, *b) == (segment, bus));
        if let Some((_, _, window)) = known {
            return Some(window.clone());
        }
        let covers =
            |r: &&EcamRegion| r.segment == segment && (r.first_bus..=r.last_bus).contains(&bus);
        let region = self.regions.iter().find(covers)?;
        let phys = region.phys.checked_add(u64::from(bus) << 20)?;
        let window = Mmio::map(phys, BUS_BYTES)?;
        let more = buses
            .iter()
            .cloned()
            .chain([(segment, bus, window.clone())])
            .collect();
        let old = core::mem::replace(&mut *self.buses.lock(), more);
        drop(old);
        Some(window)
    }

    fn place(function: PciAddress, offset: u16) -> usize {
        usize::from(function.device()) << 15
            | usize::from(function.function()) << 12
            | usize::from(offset & 0xffc)
    }
}

impl ConfigSpace for Ecam {
    fn read(&self, function: PciAddress, offset: u16) -> u32 {
        match self.bus(function.segment(), function.bus()) {
            Some(window) if offset < 4096 => window.read32(Self::place(function, offset)),
            _ => self.fallback.read(function, offset),
        }
    }

    fn write(&self, function: PciAddress, offset: u16, value: u32) {
        match self.bus(function.segment(), function.bus()) {
            Some(window) if offset < 4096 => window.write32(Self::place(function, offset), value),
            _ => self.fallback.write(function, offset, value),
        }
    }
}
