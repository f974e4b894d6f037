//! Questions to the firmware's byte code, asked where a panic is contained.
//!
//! The interpreter panics on what it has not implemented, and byte code may be wrong in any way. So each question runs
//! inside [`panic::contain`]: a panic leaves the asker without an answer and the machine that was loaded in an unknown
//! state, so it is given up and the next question loads it anew. After a few such accidents nobody asks any more.
//!
//! Nothing here is needed to boot: `sleep` and `pci` have ways to do without an answer.

use alloc::sync::Arc;
use alloc::vec::Vec;

use aml::{ControlPorts, Error, Firmware, Machine, Route};
use drivers::hal::{Mmio, PortIo, Ports};
use drivers::pci::{ConfigSpace, InterruptPin, PciAddress};

use super::tables;
use crate::arch::cpu;
use crate::device::pci;
use crate::sync::Mutex;
use crate::{panic, time};

/// Panics after which the byte code is left alone.
const MOST_ACCIDENTS: u32 = 4;
/// How long code may run for one question.
const LIMIT_NS: u64 = 2_000_000_000;

struct State {
    machine: Option<Arc<Machine>>,
    accidents: u32,
    /// Whether the firmware was told that interrupts go by the I/O APIC, and its routes can be asked for.
    has_routes: Option<bool>,
}

static STATE: Mutex<State> = Mutex::new(State {
    machine: None,
    accidents: 0,
    has_routes: None,
});

impl State {
    /// Asks the byte code; `None` when it has no answer, whatever the reason, which is logged.
    fn ask<T>(
        &mut self,
        what: &str,
        question: impl FnOnce(&Machine) -> Result<T, Error>,
    ) -> Option<T> {
        if self.accidents >= MOST_ACCIDENTS {
            return None;
        }
        let machine = match self.machine.take() {
            Some(machine) => Some(Ok(machine)),
            None => panic::contain(|| load().map(Arc::new)),
        };
        // The interpreter is out of `self` while it works: after a panic its locks may be held for ever, so that copy
        // is never dropped.
        let result = match machine {
            Some(Ok(machine)) => {
                let kept = machine.clone();
                machine.allow(LIMIT_NS);
                let result = panic::contain(|| question(&machine));
                match result {
                    Some(_) => self.machine = Some(kept),
                    None => core::mem::forget((machine, kept)),
                }
                result
            }
            Some(Err(error)) => Some(Err(error)),
            None => None,
        };
        match result {
            Some(Ok(answer)) => return Some(answer),
            Some(Err(error)) => log::warn!("ACPI: {what}: {error:?}"),
            None => {
                self.accidents += 1;
                log::warn!("ACPI: {what}: the firmware's code cannot be run");
            }
        }
        None
    }
}

/// Loads the byte code.
fn load() -> Result<Machine, Error> {
    let tables = code_tables();
    let fadt = tables::get().fadt.as_ref().ok_or(Error::Malformed)?;
    let ports = ControlPorts {
        event_a: fadt.pm1a_event,
        event_b: fadt.pm1b_event,
        control_a: fadt.pm1a_control,
        control_b: fadt.pm1b_control,
        event_bytes: fadt.pm1_event_len,
    };
    Machine::load(&tables, ports, Arc::new(Lent), LIMIT_NS)
}

/// The DSDT and the SSDTs.
fn code_tables() -> Vec<&'static [u8]> {
    let fadt = tables::get().fadt.as_ref();
    let dsdt = fadt.and_then(|fadt| tables::read_table(fadt.dsdt));
    dsdt.into_iter()
        .chain(tables::get().ssdts.iter().copied())
        .collect()
}

/// What to write to the control registers to enter a sleep state, by the interpreter.
pub fn sleep_types(state: u8) -> Option<(u8, u8)> {
    STATE
        .lock()
        .ask("sleep state", |machine| machine.sleep_types(state))
        .flatten()
}

/// The same, by looking for it in the tables.
pub fn scanned_sleep_types(state: u8) -> Option<(u8, u8)> {
    code_tables()
        .into_iter()
        .find_map(|table| aml::find_sleep_types(table, state))
}

/// Where the pin of a function arrives; `way` leads from a function on a root bus, maybe a bridge, to the function.
pub fn route(way: &[PciAddress], pin: InterruptPin) -> Option<Route> {
    let mut state = STATE.lock();
    if state.has_routes.is_none() {
        let told = state.ask("interrupt model", Machine::use_io_apic).is_some();
        state.has_routes = Some(told);
    }
    if state.has_routes != Some(true) {
        return None;
    }
    let accidents = state.accidents;
    let route = state.ask("interrupt route", |machine| find_route(machine, way, pin));
    if state.accidents > accidents {
        // The same code would panic for every other device.
        state.has_routes = Some(false);
    }
    route
}

/// Goes from the function up to the first bus that has a table; each bridge on the way turns the pins.
fn find_route(machine: &Machine, way: &[PciAddress], pin: InterruptPin) -> Result<Route, Error> {
    let buses = machine.buses()?;
    let mut pin = pin;
    for depth in (0..way.len()).rev() {
        let bridges = way.iter().take(depth).map(|b| (b.device(), b.function()));
        let Some((at, root)) = way.get(depth).zip(way.first()) else {
            break;
        };
        let bus = buses.iter().find(|bus| {
            bus.segment == root.segment()
                && bus.root == root.bus()
                && bus.bridges.iter().copied().eq(bridges.clone())
        });
        if let Some(bus) = bus {
            return machine.route(bus, at.device(), pin.index());
        }
        pin = pin.through_bridge(at.device());
    }
    Err(Error::Malformed)
}

/// The machine as byte code may reach it.
struct Lent;

impl Firmware for Lent {
    fn port_read(&self, port: u16, bytes: u8) -> u32 {
        let ports = Ports::new(port, bytes.into());
        match bytes {
            1 => ports.read8(0).into(),
            2 => ports.read16(0).into(),
            _ => ports.read32(0),
        }
    }

    fn port_write(&self, port: u16, bytes: u8, value: u32) {
        let ports = Ports::new(port, bytes.into());
        match bytes {
            1 => ports.write8(0, value as u8),
            2 => ports.write16(0, value as u16),
            _ => ports.write32(0, value),
        }
    }

    fn memory_read(&self, address: u64, bytes: u8) -> u64 {
        // Mappings stay for good, but only the few questions above are asked.
        let Some(window) = Mmio::map(address, bytes.into()) else {
            return u64::MAX;
        };
        match bytes {
            1 => window.read8(0).into(),
            2 => window.read16(0).into(),
            4 => window.read32(0).into(),
            _ => window.read64(0),
        }
    }

    fn memory_write(&self, address: u64, bytes: u8, value: u64) {
        let Some(window) = Mmio::map(address, bytes.into()) else {
            return;
        };
        match bytes {
            1 => window.write8(0, value as u8),
            2 => window.write16(0, value as u16),
            4 => window.write32(0, value as u32),
            _ => window.write64(0, value),
        }
    }

    fn config_read(&self, function: PciAddress, offset: u16, bytes: u8) -> u32 {
        match bytes {
            1 => pci::config().read8(function, offset).into(),
            2 => pci::config().read16(function, offset).into(),
            _ => pci::config().read(function, offset),
        }
    }

    fn config_write(&self, function: PciAddress, offset: u16, bytes: u8, value: u32) {
        match bytes {
            1 => pci::config().write8(function, offset, value as u8),
            2 => pci::config().write16(function, offset, value as u16),
            _ => pci::config().write(function, offset, value),
        }
    }

    fn now_ns(&self) -> u64 {
        time::monotonic_ns()
    }

    fn sleep_ns(&self, ns: u64) {
        // The stack below may be abandoned, so this task must stay on its CPU meanwhile: no real sleep.
        let end_ns = time::monotonic_ns().saturating_add(ns.min(LIMIT_NS));
        while time::monotonic_ns() < end_ns {
            cpu::relax();
        }
    }
}
