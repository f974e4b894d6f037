//! Devices: what is there, how it is found, and which driver has it.
//!
//! | module | what |
//! |---|---|
//! | `registry` | the tree of devices that sysfs shows |
//! | `acpi` | static tables, byte code, the power button, switching off |
//! | `pci` | finding functions and binding them to drivers |
//! | `virtio` | virtio devices: entropy, consoles, named ports |
//! | `irq` | interrupts of devices: messages, and lines that are shared |
//! | `dma` | memory that devices reach; the machine as drivers see it |
//! | `random` | the kernel's random generator |
//! | `rtc` | the calendar clock: `/dev/rtc0` |
//! | `misc` | `/dev/hwrng`, and the memory devices in the registry |
//! | `cpu` | the processors in the registry |
//! | `node` | the one node of memory in the registry |
//! | `power` | power off, restart, halt |
//! | `uevent` | telling of devices that come |
//! | `sysrq` | the commands of `/proc/sysrq-trigger` |
//!
//! # Lock order
//! ```text
//! acpi::aml::STATE
//! virtio::ports::KNOWN
//!   irq::ENTRIES, dma::BLOCKS
//!     a driver's own spin lock
//!       random's (see there)
//! ```
//!
//! # Invariants
//! - Nothing found wrong with a device or a table stops the boot: it costs the device and a line in the log.
//! - Every wait for a device has a limit.
#![deny(unsafe_code)]

pub mod acpi;
mod cpu;
mod dma;
pub mod irq;
mod misc;
mod net;
mod node;
pub mod pci;
pub mod power;
pub mod random;
pub mod registry;
pub mod rtc;
pub mod sysrq;
pub mod uevent;
pub mod virtio;

/// Lends the machine to drivers. Before the first driver, the serial port's included.
pub fn init_early() {
    dma::init();
}

/// Finds the devices and starts their drivers. Runs once, in a task, with interrupts and timers working, after the
/// other processors are up and devtmpfs is there.
pub fn init() {
    init_early();
    if let Err(error) = cpu::init() {
        log::warn!("the processors are not shown in sysfs: {error:?}");
    }
    if let Err(error) = node::init() {
        log::warn!("the node of memory is not shown in sysfs: {error:?}");
    }
    acpi::events::init();
    misc::init();
    if let Err(error) = net::init() {
        log::warn!("interfaces are not shown in sysfs: {error:?}");
    }
    rtc::init();
    pci::init();
}
