//! ACPI: the firmware's tables, its byte code, and what both say about power and interrupts.

pub mod tables;
