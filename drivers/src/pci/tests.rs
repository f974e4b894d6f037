//! Scanning a fake bus, also one that lies.

use alloc::vec::Vec;

use super::*;
use crate::hal::testing::use_host;
use crate::testing::FakeConfig;

fn at(bus: u8, device: u8, function: u8) -> PciAddress {
    PciAddress::new(0, bus, device, function)
}

fn found(config: &FakeConfig) -> Vec<PciAddress> {
    scan(config, &[(0, 0)])
        .iter()
        .map(|function| function.address)
        .collect()
}

#[test]
fn functions_are_found_on_buses_and_behind_bridges() {
    let config = FakeConfig::default();
    config.add(at(0, 0, 0), 0x8086, 0x29c0, 0x0600_0000);
    config.add(at(0, 31, 0), 0x8086, 0x2918, 0x0601_0000);
    config.set(at(0, 31, 0), 0x0c, 0x0080_0000, 0);
    config.add(at(0, 31, 2), 0x8086, 0x2922, 0x0106_0100);
    // A single-function device: what answers at function 1 is an echo.
    config.add(at(0, 0, 1), 0x8086, 0x29c0, 0x0600_0000);
    // A bridge to bus 2, and one back to bus 0.
    config.add(at(0, 1, 0), 0x1b36, 0x000c, 0x0604_0000);
    config.set(at(0, 1, 0), 0x0c, 0x0001_0000, 0);
    config.set(at(0, 1, 0), 0x18, 0x0002_0200, 0);
    config.add(at(2, 0, 0), 0x1af4, 0x1041, 0x0200_0001);
    config.add(at(2, 4, 0), 0x1b36, 0x000c, 0x0604_0000);
    config.set(at(2, 4, 0), 0x0c, 0x0001_0000, 0);
    config.set(at(2, 4, 0), 0x18, 0x0002_0202, 0);
    let expected = [
        at(0, 0, 0),
        at(0, 1, 0),
        at(0, 31, 0),
        at(0, 31, 2),
        at(2, 0, 0),
        at(2, 4, 0),
    ];
    assert_eq!(found(&config), expected);
    let all = scan(&config, &[(0, 0)]);
    assert_eq!(all[4].parent, Some(at(0, 1, 0)));
    assert_eq!(all[3].parent, None);
    assert_eq!((all[3].class, all[3].subclass, all[3].interface), (1, 6, 1));
}

#[test]
fn windows_are_sized_and_their_addresses_kept() {
    let config = FakeConfig::default();
    let f = at(0, 3, 0);
    config.add(f, 0x1234, 0x5678, 0);
    config.set(f, 4, 0x0000_0007, 0xffff);
    config.set(f, 0x10, 0xc001, 0xffe0);
    config.set(f, 0x14, 0xfeb0_0000, 0xffff_f000);
    config.set(f, 0x18, 0x0000_000c, 0xffff_c000);
    config.set(f, 0x1c, 0x0000_0080, 0xffff_ffff);
    // A wide window larger than 4 GiB.
    config.set(f, 0x20, 0x0000_0004, 0);
    config.set(f, 0x24, 0x0000_0100, 0xffff_fff0);
    let function = scan(&config, &[(0, 0)]).remove(0);
    let memory = |prefetchable, wide| BarKind::Memory { prefetchable, wide };
    let bar = |index, kind, address, bytes| {
        Some(Bar {
            index,
            kind,
            address,
            bytes,
        })
    };
    assert_eq!(
        function.bars,
        [
            bar(0, BarKind::Ports, 0xc000, 32),
            bar(1, memory(false, false), 0xfeb0_0000, 4096),
            bar(2, memory(true, true), 0x80_0000_0000, 0x4000),
            None,
            bar(4, memory(false, true), 0x100_0000_0000, 1 << 36),
            None,
        ]
    );
    assert_eq!(config.read(f, 0x10), 0xc001);
    assert_eq!(config.read(f, 0x1c), 0x80);
    assert_eq!(config.read(f, 4), 7, "decoding is on again");
}

#[test]
fn windows_that_make_no_sense_are_left_out() {
    let config = FakeConfig::default();
    let f = at(0, 3, 0);
    config.add(f, 0x1234, 0x5678, 0);
    // Reserved type; wide in the last register; no writable address bit; all ones.
    config.set(f, 0x10, 0x0000_0006, 0xffff_f000);
    config.set(f, 0x14, 0x0000_0008, 0);
    config.set(f, 0x18, u32::MAX, 0);
    config.set(f, 0x1c, 0x0000_0001, 0);
    config.set(f, 0x24, 0x0000_0004, 0xffff_f000);
    let function = scan(&config, &[(0, 0)]).remove(0);
    assert_eq!(function.bars, [None; 6]);
}

#[test]
fn a_circular_capability_list_ends() {
    let config = FakeConfig::default();
    let f = at(0, 3, 0);
    config.add(f, 0x1234, 0x5678, 0);
    config.add_capabilities(f, &[&[0x05], &[0x11]]);
    config.set(f, 0x60, 0x4011, 0);
    let function = scan(&config, &[(0, 0)]).remove(0);
    let ids: Vec<_> = function.capabilities.iter().map(|cap| cap.id).collect();
    assert_eq!(ids, [MSI, MSIX]);
    assert!(function.msi().is_some());
    // A null capability that points to itself.
    config.set(f, 0x40, 0x4000, 0);
    assert_eq!(scan(&config, &[(0, 0)])[0].capabilities.len(), 1);
}

#[test]
fn msi_is_programmed_in_both_widths() {
    for (control, data_offset) in [(0x0080_0005, 12), (0x0000_0005, 8)] {
        let config = FakeConfig::default();
        let f = at(0, 3, 0);
        config.add(f, 0x1234, 0x5678, 0);
        config.add_capabilities(f, &[&[control, 0, 0, 0]]);
        let msi = scan(&config, &[(0, 0)])[0].msi().unwrap();
        msi.enable(&config, 0xfee0_1000, 0x4041);
        assert_eq!(config.read(f, 0x44), 0xfee0_1000);
        assert_eq!(config.read(f, 0x40 + data_offset) & 0xffff, 0x4041);
        assert_eq!(config.read(f, 0x40) >> 16 & 1, 1);
        msi.disable(&config);
        assert_eq!(config.read(f, 0x40) >> 16 & 1, 0);
    }
}

#[test]
fn a_dead_bus_reads_as_empty() {
    use_host();
    assert!(scan(&FakeConfig::default(), &[(0, 0), (0, 0), (3, 255)]).is_empty());
    // Nothing can be mapped on the host, so every access answers ones or falls back to ports of segment 0 only.
    let ecam = Ecam::new(alloc::vec![EcamRegion {
        phys: u64::MAX,
        segment: 1,
        first_bus: 0,
        last_bus: 255
    }]);
    assert_eq!(ecam.read(PciAddress::new(1, 9, 0, 0), 0), u32::MAX);
}

#[test]
fn pins_swizzle_through_bridges() {
    assert_eq!(InterruptPin::from_register(0), None);
    assert_eq!(InterruptPin::from_register(1), Some(InterruptPin::A));
    assert_eq!(InterruptPin::from_register(5), None);
    assert_eq!(InterruptPin::D.through_bridge(1), InterruptPin::A);
    assert_eq!(InterruptPin::A.through_bridge(6), InterruptPin::C);
}
