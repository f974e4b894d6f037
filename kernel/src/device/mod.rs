//! Devices: what is there, how it is found, and which driver has it.
//!
//! | module | what |
//! |---|---|
//! | `registry` | the tree of devices that sysfs shows |
//! | `random` | the kernel's random generator |
//! | `power` | power off, restart, halt |
//! | `acpi` | static tables, AML and the power button |
#![deny(unsafe_code)]

pub mod acpi;
pub mod power;
pub mod random;
pub mod registry;

/// Finds the devices and starts their drivers. Runs once, in a task, with interrupts and timers working.
pub fn init() {}
