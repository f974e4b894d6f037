//! Walking buses and bridges.

use alloc::vec::Vec;

use pci_types::{
    CommandRegister, EndpointHeader, HeaderType, PciAddress, PciHeader, PciPciBridgeHeader,
};

use super::bar::{Bar, read_bars};
use super::caps::{self, Capability, MSI, MSIX, Msi, Msix};
use super::config::{ConfigSpace, Lent};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterruptPin {
    A,
    B,
    C,
    D,
}

impl InterruptPin {
    pub fn from_register(value: u8) -> Option<Self> {
        [Self::A, Self::B, Self::C, Self::D]
            .get(usize::from(value.checked_sub(1)?))
            .copied()
    }

    pub fn index(self) -> u8 {
        self as u8
    }

    /// The pin of the bridge that the pin of a device behind it comes out at.
    pub fn through_bridge(self, device: u8) -> Self {
        [Self::A, Self::B, Self::C, Self::D][usize::from((self.index() + device) % 4)]
    }
}

/// A PCI function as it was found.
#[derive(Clone, Debug)]
pub struct Function {
    pub address: PciAddress,
    pub vendor: u16,
    pub device: u16,
    pub subsystem_vendor: u16,
    pub subsystem_device: u16,
    pub class: u8,
    pub subclass: u8,
    pub interface: u8,
    pub revision: u8,
    pub bars: [Option<Bar>; 6],
    pub capabilities: Vec<Capability>,
    pub interrupt_pin: Option<InterruptPin>,
    /// What the firmware noted; an interrupt number of the old controllers, 255 for none.
    pub interrupt_line: u8,
    /// The bus behind a bridge.
    pub secondary_bus: Option<u8>,
    /// Where the bridge that leads here sits, unless this is on a root bus.
    pub parent: Option<PciAddress>,
}

impl Function {
    pub fn capability(&self, id: u8) -> Option<Capability> {
        self.capabilities.iter().find(|cap| cap.id == id).copied()
    }

    pub fn msi(&self) -> Option<Msi> {
        self.capability(MSI)
            .map(|cap| Msi::new(self.address, cap.offset))
    }

    pub fn msix(&self, config: &dyn ConfigSpace) -> Option<Msix> {
        self.capability(MSIX)
            .map(|cap| Msix::new(config, self.address, cap.offset))
    }

    /// The window of register `index`.
    pub fn bar(&self, index: u8) -> Option<&Bar> {
        self.bars.get(usize::from(index))?.as_ref()
    }

    /// Lets the function answer at its windows and read and write memory by itself.
    pub fn enable(&self, config: &dyn ConfigSpace) {
        let on = CommandRegister::IO_ENABLE
            | CommandRegister::MEMORY_ENABLE
            | CommandRegister::BUS_MASTER_ENABLE;
        PciHeader::new(self.address).update_command(Lent(config), |command| command | on);
    }

    /// Stops the function's DMA and interrupts by line.
    pub fn quiesce(&self, config: &dyn ConfigSpace) {
        PciHeader::new(self.address).update_command(Lent(config), |command| {
            command & !CommandRegister::BUS_MASTER_ENABLE | CommandRegister::INTERRUPT_DISABLE
        });
    }

    /// Interrupts by line on or off; messages are not touched.
    pub fn set_intx(&self, config: &dyn ConfigSpace, on: bool) {
        PciHeader::new(self.address).update_command(Lent(config), |mut command| {
            command.set(CommandRegister::INTERRUPT_DISABLE, !on);
            command
        });
    }
}

/// Finds every function on the root buses and behind their bridges. Bridges whose bus number goes back to a bus seen
/// before are not followed.
pub fn scan(config: &dyn ConfigSpace, roots: &[(u16, u8)]) -> Vec<Function> {
    let mut found = Vec::new();
    let mut seen: Vec<(u16, u8)> = Vec::new();
    let mut todo: Vec<(u16, u8, Option<PciAddress>)> = roots
        .iter()
        .rev()
        .map(|&(segment, bus)| (segment, bus, None))
        .collect();
    while let Some((segment, bus, parent)) = todo.pop() {
        if seen.contains(&(segment, bus)) {
            continue;
        }
        seen.push((segment, bus));
        let start = found.len();
        scan_bus(config, segment, bus, parent, &mut found);
        for function in &found[start..] {
            if let Some(behind) = function.secondary_bus {
                todo.push((segment, behind, Some(function.address)));
            }
        }
    }
    found
}

fn scan_bus(
    config: &dyn ConfigSpace,
    segment: u16,
    bus: u8,
    parent: Option<PciAddress>,
    found: &mut Vec<Function>,
) {
    for device in 0..32 {
        let first = PciAddress::new(segment, bus, device, 0);
        if !is_present(config, first) {
            continue;
        }
        let several = PciHeader::new(first).has_multiple_functions(Lent(config));
        for number in 0..if several { 8 } else { 1 } {
            let address = PciAddress::new(segment, bus, device, number);
            if is_present(config, address) {
                found.push(read_function(config, address, parent));
            }
        }
    }
}

fn is_present(config: &dyn ConfigSpace, address: PciAddress) -> bool {
    let (vendor, _) = PciHeader::new(address).id(Lent(config));
    vendor != 0xffff && vendor != 0
}

fn read_function(
    config: &dyn ConfigSpace,
    address: PciAddress,
    parent: Option<PciAddress>,
) -> Function {
    let header = PciHeader::new(address);
    let (vendor, device) = header.id(Lent(config));
    let (revision, class, subclass, interface) = header.revision_and_class(Lent(config));
    let kind = header.header_type(Lent(config));
    let has_list = header.status(Lent(config)).has_capability_list();
    let pointer = if has_list {
        config.read8(address, 0x34)
    } else {
        0
    };
    let bar_count = match kind {
        HeaderType::Endpoint => 6,
        HeaderType::PciPciBridge => 2,
        _ => 0,
    };
    let subsystem = EndpointHeader::from_header(PciHeader::new(address), Lent(config));
    let (subsystem_device, subsystem_vendor) =
        subsystem.map_or((0, 0), |endpoint| endpoint.subsystem(Lent(config)));
    let bridge = PciPciBridgeHeader::from_header(header, Lent(config));
    let secondary_bus = bridge
        .map(|b| b.secondary_bus_number(Lent(config)))
        .filter(|&bus| bus != 0);
    Function {
        address,
        vendor,
        device,
        subsystem_vendor,
        subsystem_device,
        class,
        subclass,
        interface,
        revision,
        bars: read_bars(config, address, bar_count),
        capabilities: caps::walk(config, address, pointer),
        interrupt_pin: InterruptPin::from_register(config.read8(address, 0x3d)),
        interrupt_line: config.read8(address, 0x3c),
        secondary_bus,
        parent,
    }
}
