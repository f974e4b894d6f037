//! Base address registers: which windows a function decodes, and how large they are.

use pci_types::{CommandRegister, PciAddress, PciHeader};

use super::config::{ConfigSpace, Lent};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    Memory { prefetchable: bool, wide: bool },
    Ports,
}

/// One window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Register number, 0 to 5; a wide window takes two.
    pub index: u8,
    pub kind: BarKind,
    /// 0 where the firmware gave it no address.
    pub address: u64,
    pub bytes: u64,
}

impl Bar {
    pub fn is_memory(&self) -> bool {
        matches!(self.kind, BarKind::Memory { .. })
    }
}

/// Size of a window whose address bits, written as ones, read back as `mask` (zero where they are fixed).
fn size_of_mask(mask: u64) -> u64 {
    // A device that keeps upper bits at zero (16-bit port decoders do) has the size of its lowest free bit.
    if mask == 0 {
        0
    } else {
        1 << mask.trailing_zeros()
    }
}

/// Reads and sizes `count` registers. Decoding is off meanwhile, as the probing values are addresses too.
pub(super) fn read_bars(
    config: &dyn ConfigSpace,
    function: PciAddress,
    count: u8,
) -> [Option<Bar>; 6] {
    let access = Lent(config);
    let mut header = PciHeader::new(function);
    let command = header.command(&access);
    let quiet = command & !(CommandRegister::IO_ENABLE | CommandRegister::MEMORY_ENABLE);
    header.update_command(&access, |_| quiet);
    let mut bars = [None; 6];
    let mut index = 0;
    while index < count.min(6) {
        let (bar, taken) = read_bar(config, function, index, count);
        bars[usize::from(index)] = bar;
        index += taken;
    }
    header.update_command(&access, |_| command);
    bars
}

fn probe(config: &dyn ConfigSpace, function: PciAddress, offset: u16) -> (u32, u32) {
    let value = config.read(function, offset);
    config.write(function, offset, u32::MAX);
    let mask = config.read(function, offset);
    config.write(function, offset, value);
    (value, mask)
}

/// One window, and how many registers it takes.
fn read_bar(
    config: &dyn ConfigSpace,
    function: PciAddress,
    index: u8,
    count: u8,
) -> (Option<Bar>, u8) {
    let offset = 0x10 + u16::from(index) * 4;
    let (low, low_mask) = probe(config, function, offset);
    if low_mask == 0 || low_mask == u32::MAX && low == u32::MAX {
        return (None, 1);
    }
    if low & 1 != 0 {
        let bytes = size_of_mask(u64::from(low_mask & 0xffff_fffc));
        let address = u64::from(low & 0xffff_fffc);
        return (window(index, BarKind::Ports, address, bytes), 1);
    }
    let prefetchable = low & 8 != 0;
    match low >> 1 & 3 {
        2 if index + 1 < count => {
            let (high, high_mask) = probe(config, function, offset + 4);
            let mask = u64::from(high_mask) << 32 | u64::from(low_mask & !15);
            let address = u64::from(high) << 32 | u64::from(low & !15);
            let kind = BarKind::Memory {
                prefetchable,
                wide: true,
            };
            (window(index, kind, address, size_of_mask(mask)), 2)
        }
        0 | 1 => {
            let kind = BarKind::Memory {
                prefetchable,
                wide: false,
            };
            let bytes = size_of_mask(u64::from(low_mask & !15));
            (window(index, kind, u64::from(low & !15), bytes), 1)
        }
        _ => (None, 1),
    }
}

fn window(index: u8, kind: BarKind, address: u64, bytes: u64) -> Option<Bar> {
    let sane = bytes != 0 && address.checked_add(bytes).is_some();
    sane.then_some(Bar {
        index,
        kind,
        address,
        bytes,
    })
}
