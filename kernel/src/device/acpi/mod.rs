//! ACPI: the firmware's tables, its byte code, and what both say about power and interrupts.
//!
//! | module | what |
//! |---|---|
//! | `tables` | the static tables, read once at boot |
//! | `aml` | questions to the byte code, asked where a panic is contained |
//! | `events` | the power button |
//! | `sleep` | switching off |

pub mod aml;
pub mod events;
pub mod sleep;
pub mod tables;
