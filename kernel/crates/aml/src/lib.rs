//! Asking the firmware's byte code (AML) about sleep states and interrupt routes.
//!
//! | module | what |
//! |---|---|
//! | this | [`Machine`]: the tables loaded, and what is asked of them |
//! | `handler` | lends the machine to the interpreter, within a time limit |
//! | `scan` | sleep types without an interpreter |
//!
//! The interpreter of the crate `acpi` **panics** on what it has not implemented. Whoever calls into this crate must
//! be ready for that: the kernel does it in threads whose panic ends the thread and nothing else. After a panic the
//! [`Machine`] is in an unknown state (its locks may be held) and must be left alone for good.
//!
//! References: ACPI 6.5, chapters 6.2.13 (`_PRT`), 7.4.2 (`\_Sx`), 5.8.1 (`\_PIC`).
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod handler;
mod scan;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::str::FromStr;

use acpi::aml::namespace::AmlName;
use acpi::aml::object::Object;
use acpi::aml::pci_routing::{PciRoutingTable, Pin};
use acpi::aml::resource::{InterruptPolarity, InterruptTrigger};
use acpi::aml::{AmlError, Interpreter};

use handler::Lent;
pub use handler::{ControlPorts, Firmware};
pub use scan::find_sleep_types;

/// Bytes before a table's content.
const HEADER_BYTES: usize = 36;
const REVISION: usize = 8;

/// Why a question has no answer.
#[derive(Debug)]
pub enum Error {
    Aml(AmlError),
    Registers,
    /// An object is not of the kind the specification asks for.
    Malformed,
}

impl From<AmlError> for Error {
    fn from(error: AmlError) -> Self {
        Self::Aml(error)
    }
}

pub type Result<T> = core::result::Result<T, Error>;

/// Where a PCI interrupt pin arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub gsi: u32,
    pub level: bool,
    pub active_low: bool,
}

/// A bus whose interrupt pins the firmware describes.
#[derive(Clone, Debug)]
pub struct Bus {
    pub segment: u16,
    /// Number of the root bus.
    pub root: u8,
    /// Device and function of each bridge on the way from the root bus, outermost first.
    pub bridges: Vec<(u8, u8)>,
    table: AmlName,
}

/// The firmware's byte code, loaded.
pub struct Machine {
    interpreter: Interpreter<Lent>,
    lent: Lent,
}

fn name(text: &str) -> Result<AmlName> {
    Ok(AmlName::from_str(text)?)
}

impl Machine {
    /// Loads whole tables, the DSDT first. The code may run for `limit_ns` before it is stopped.
    pub fn load(
        tables: &[&[u8]],
        ports: ControlPorts,
        firmware: Arc<dyn Firmware>,
        limit_ns: u64,
    ) -> Result<Self> {
        let dsdt = tables.first().ok_or(Error::Malformed)?;
        let revision = *dsdt.get(REVISION).ok_or(Error::Malformed)?;
        let lent = Lent::new(firmware, limit_ns);
        let registers = handler::registers(ports, &lent).map_err(|_| Error::Registers)?;
        #[expect(
            clippy::arc_with_non_send_sync,
            reason = "the interpreter takes nothing else"
        )]
        let registers = Arc::new(registers);
        let interpreter = Interpreter::new(lent.clone(), revision, registers, None);
        for table in tables {
            interpreter.load_table(table.get(HEADER_BYTES..).ok_or(Error::Malformed)?)?;
        }
        Ok(Self { interpreter, lent })
    }

    /// Lets the code run for `limit_ns` more, for another question.
    pub fn allow(&self, limit_ns: u64) {
        self.lent.allow(limit_ns);
    }

    fn integer(&self, path: AmlName) -> Result<Option<u64>> {
        let object = self.interpreter.evaluate_if_present(path, vec![])?;
        object
            .map(|object| object.as_integer().map_err(Error::Aml))
            .transpose()
    }

    /// What to write to the two control registers to enter sleep state `state` (0 to 5); `None` if there is no such
    /// state.
    pub fn sleep_types(&self, state: u8) -> Result<Option<(u8, u8)>> {
        let path = name(
            ["\\_S0", "\\_S1", "\\_S2", "\\_S3", "\\_S4", "\\_S5"][usize::from(state.min(5))],
        )?;
        let Some(object) = self.interpreter.evaluate_if_present(path, vec![])? else {
            return Ok(None);
        };
        let Object::Package(values) = &*object else {
            return Err(Error::Malformed);
        };
        let kind = |index: usize| -> Result<u8> {
            let value = values.get(index).ok_or(Error::Malformed)?.as_integer()?;
            u8::try_from(value).map_err(|_| Error::Malformed)
        };
        let first = kind(0)?;
        Ok(Some((first, kind(1).unwrap_or(first))))
    }

    /// Tells the firmware that interrupts go by the I/O APIC. Firmware without `\_PIC` knows only one way.
    pub fn use_io_apic(&self) -> Result<()> {
        let argument = Object::Integer(1).wrap();
        self.interpreter
            .evaluate_if_present(name("\\_PIC")?, vec![argument])?;
        Ok(())
    }

    /// The buses with interrupt routes.
    pub fn buses(&self) -> Result<Vec<Bus>> {
        let mut levels = Vec::new();
        self.interpreter.namespace.lock().traverse(|path, _| {
            levels.push(path.clone());
            Ok(true)
        })?;
        let mut buses = Vec::new();
        for level in levels {
            let table = name("_PRT")?.resolve(&level)?;
            if self.interpreter.namespace.lock().get(table.clone()).is_ok() {
                buses.push(self.bus(&level, table)?);
            }
        }
        Ok(buses)
    }

    fn bus(&self, device: &AmlName, table: AmlName) -> Result<Bus> {
        let mut bridges = Vec::new();
        let mut at = device.clone();
        // What has an interrupt table but no hardware id is a bridge below another device that has one.
        while !self.is_root_bridge(&at)? {
            let address = self
                .integer(name("_ADR")?.resolve(&at)?)?
                .ok_or(Error::Malformed)?;
            bridges.push(((address >> 16) as u8, address as u8));
            at = at.parent()?;
        }
        bridges.reverse();
        let number = |object: &str| -> Result<u64> {
            Ok(self.integer(name(object)?.resolve(&at)?)?.unwrap_or(0))
        };
        Ok(Bus {
            segment: number("_SEG")? as u16,
            root: number("_BBN")? as u8,
            bridges,
            table,
        })
    }

    fn is_root_bridge(&self, device: &AmlName) -> Result<bool> {
        let id = name("_HID")?.resolve(device)?;
        Ok(self.interpreter.namespace.lock().get(id).is_ok())
    }

    /// Where pin `pin` (0 for INTA) of a device on `bus` arrives.
    pub fn route(&self, bus: &Bus, device: u8, pin: u8) -> Result<Route> {
        let table = PciRoutingTable::from_prt_path(bus.table.clone(), &self.interpreter)?;
        let pin = match pin {
            0 => Pin::IntA,
            1 => Pin::IntB,
            2 => Pin::IntC,
            _ => Pin::IntD,
        };
        // Entries are for all functions of a device.
        let irq = table.route(u16::from(device), 0xffff, pin, &self.interpreter)?;
        Ok(Route {
            gsi: irq.irq,
            level: irq.trigger == InterruptTrigger::Level,
            active_low: irq.polarity == InterruptPolarity::ActiveLow,
        })
    }
}
