//! Small tables, written out in byte code.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use super::*;

#[derive(Default)]
struct Fake {
    ports: Mutex<BTreeMap<u16, u32>>,
    now_ns: AtomicU64,
}

impl Firmware for Fake {
    fn port_read(&self, port: u16, _: u8) -> u32 {
        self.ports.lock().unwrap().get(&port).copied().unwrap_or(0)
    }
    fn port_write(&self, port: u16, _: u8, value: u32) {
        self.ports.lock().unwrap().insert(port, value);
    }
    fn memory_read(&self, _: u64, _: u8) -> u64 {
        0
    }
    fn memory_write(&self, _: u64, _: u8, _: u64) {}
    fn config_read(&self, _: pci_types::PciAddress, _: u16, _: u8) -> u32 {
        0
    }
    fn config_write(&self, _: pci_types::PciAddress, _: u16, _: u8, _: u32) {}
    fn now_ns(&self) -> u64 {
        self.now_ns.fetch_add(1_000_000, Ordering::Relaxed)
    }
    fn sleep_ns(&self, ns: u64) {
        self.now_ns.fetch_add(ns, Ordering::Relaxed);
    }
}

/// A table of this byte code.
fn table(code: &[u8]) -> Vec<u8> {
    let mut table = alloc::vec![0; HEADER_BYTES];
    table[REVISION] = 2;
    table.extend_from_slice(code);
    table
}

fn load(code: &[u8]) -> Result<Machine> {
    Machine::load(
        &[&table(code)],
        ControlPorts::default(),
        Arc::new(Fake::default()),
        1_000_000_000,
    )
}

/// A length prefix and what it measures.
fn sized(body: &[u8]) -> Vec<u8> {
    let short = body.len() + 1;
    let mut out = if short < 64 {
        alloc::vec![short as u8]
    } else {
        let long = body.len() + 2;
        alloc::vec![0x40 | (long & 15) as u8, (long >> 4) as u8]
    };
    out.extend_from_slice(body);
    out
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn package(elements: &[&[u8]]) -> Vec<u8> {
    let body = joined(&[&[elements.len() as u8], &elements.concat()]);
    joined(&[&[0x12], &sized(&body)])
}

fn named(name: &str, value: &[u8]) -> Vec<u8> {
    joined(&[&[0x08], name.as_bytes(), value])
}

fn device(name: &str, content: &[&[u8]]) -> Vec<u8> {
    let body = joined(&[name.as_bytes(), &content.concat()]);
    joined(&[&[0x5b, 0x82], &sized(&body)])
}

fn scope(name: &str, content: &[&[u8]]) -> Vec<u8> {
    let body = joined(&[name.as_bytes(), &content.concat()]);
    joined(&[&[0x10], &sized(&body)])
}

#[test]
fn sleep_types_are_read_with_and_without_the_interpreter() {
    for (elements, expected) in [
        (&[&[0x0a, 5][..], &[0x0a, 6], &[0], &[0]][..], (5, 6)),
        (&[&[0], &[0], &[0], &[0]], (0, 0)),
        (&[&[1], &[0x0b, 7, 0]], (1, 7)),
        (&[&[0x0a, 7]], (7, 7)),
    ] {
        let code = named("_S5_", &package(elements));
        assert_eq!(find_sleep_types(&table(&code), 5), Some(expected));
        assert_eq!(find_sleep_types(&table(&code), 3), None);
        let machine = load(&code).unwrap();
        assert_eq!(machine.sleep_types(5).unwrap(), Some(expected));
        assert_eq!(machine.sleep_types(3).unwrap(), None);
    }
}

#[test]
fn scanning_survives_any_cut() {
    let whole = table(&named("_S5_", &package(&[&[0x0a, 5], &[0x0a, 5]])));
    for end in 0..whole.len() {
        let found = find_sleep_types(&whole[..end], 5);
        assert!(found.is_none() || found == Some((5, 5)), "{end}");
    }
    assert_eq!(find_sleep_types(b"\x08_S5_\x12\xc0", 5), None);
    assert_eq!(
        find_sleep_types(b"\x08_S5_\x12\x06\x04\x0c\xff\xff\xff\xff", 5),
        None
    );
}

/// One entry of a routing table: device, pin, input.
fn entry(device: u8, pin: u8, gsi: u8) -> Vec<u8> {
    package(&[
        &[0x0c, 0xff, 0xff, device, 0],
        &[0x0a, pin],
        &[0],
        &[0x0a, gsi],
    ])
}

#[test]
fn interrupt_routes_are_found_on_root_buses_and_behind_bridges() {
    let root_table = named("_PRT", &package(&[&entry(3, 0, 19), &entry(3, 1, 20)]));
    let bridge_table = named("_PRT", &package(&[&entry(0, 2, 21)]));
    let bridge = device(
        "BRDG",
        &[&named("_ADR", &[0x0c, 1, 0, 0x1e, 0]), &bridge_table],
    );
    let root = device(
        "PCI0",
        &[
            &named("_HID", &[0x0c, 0x41, 0xd0, 0x0a, 0x03]),
            &named("_BBN", &[1]),
            &root_table,
            &bridge,
        ],
    );
    let machine = load(&scope("_SB_", &[&root])).unwrap();
    machine.use_io_apic().unwrap();
    let buses = machine.buses().unwrap();
    let places: Vec<_> = buses
        .iter()
        .map(|b| (b.segment, b.root, b.bridges.clone()))
        .collect();
    assert_eq!(
        places,
        [(0, 1, alloc::vec![]), (0, 1, alloc::vec![(0x1e, 1)])]
    );
    let line = |gsi| Route {
        gsi,
        level: true,
        active_low: true,
    };
    assert_eq!(machine.route(&buses[0], 3, 1).unwrap(), line(20));
    assert_eq!(machine.route(&buses[1], 0, 2).unwrap(), line(21));
    assert!(machine.route(&buses[0], 4, 0).is_err());
}

#[test]
fn broken_code_is_an_error_or_a_panic_that_can_be_contained() {
    for code in [
        &[0xfe, 0xfe][..],
        &[0x08],
        b"\x08_S5_\x12",
        &[0x5b, 0x82, 0xff],
        &[0xa2, 3, 1],
    ] {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            load(code).map(|m| m.sleep_types(5).is_ok())
        }));
        assert!(!matches!(outcome, Ok(Ok(true))) || find_sleep_types(&table(code), 5).is_none());
    }
    let machine = load(&named("_S5_", &[0x0a, 5])).unwrap();
    assert!(matches!(machine.sleep_types(5), Err(Error::Malformed)));
    assert!(matches!(load(&[]).map(|m| m.buses().unwrap().len()), Ok(0)));
    let no_tables = Machine::load(&[], ControlPorts::default(), Arc::new(Fake::default()), 1);
    assert!(matches!(no_tables, Err(Error::Malformed)));
}

#[test]
fn code_that_waits_for_ever_is_stopped() {
    // While (One) { Sleep (1000) }
    let body = joined(&[&[1], &[0x5b, 0x22, 0x0b, 0xe8, 0x03]]);
    let code = joined(&[&[0xa2], &sized(&body)]);
    assert!(catch_unwind(AssertUnwindSafe(|| load(&code).is_ok())).is_err());
}
