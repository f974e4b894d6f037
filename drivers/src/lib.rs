//! Device drivers: each knows its device and the traits of `devapi`, and nothing of the kernel.
//!
//! | module | what |
//! |---|---|
//! | `hal` | registers, I/O ports, DMA memory and rings: all that is unsafe |
//! | `pci` | finding PCI functions, their memory windows, capabilities and interrupts |
//! | `rtc` | the CMOS clock |
//! | `virtio` | the virtio PCI transport, entropy source and console |
//! | `framebuffer` | the loader's linear framebuffer |
//! | `i8042` | the PS/2 controller and keyboard |
//! | `uart` | the 16550 serial port |
//! | `testing` | a bus of fake devices for the tests of drivers |
//!
//! Every wait has a limit: a device that does not answer costs an error, never a hang.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod framebuffer;
pub mod hal;
pub mod i8042;
pub mod pci;
pub mod rtc;
#[cfg(test)]
mod testing;
pub mod uart;
pub mod virtio;
