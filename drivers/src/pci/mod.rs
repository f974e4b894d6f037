//! PCI: finding functions, their memory windows, capabilities and interrupts.
//!
//! | module | what |
//! |---|---|
//! | `config` | configuration space: by ports, or by memory (PCIe) |
//! | `scan` | walking buses and bridges |
//! | `bar` | decoding and sizing base address registers |
//! | `caps` | the capability list, MSI and MSI-X |
//!
//! Nothing here trusts a device: lists are walked a bounded number of steps, windows that make no sense are left out.
//!
//! References: PCI Local Bus 3.0, chapter 6; PCI Express Base 4.0, chapter 7.

mod bar;
mod caps;
mod config;
mod scan;
#[cfg(test)]
mod tests;

pub use bar::{Bar, BarKind};
pub use caps::{Capability, MSI, MSIX, Msi, Msix, PCI_EXPRESS, VENDOR};
pub use config::{ConfigSpace, Ecam, EcamRegion, PortConfig};
pub use pci_types::PciAddress;
pub use scan::{Function, InterruptPin, scan};
