//! What drivers need of the machine, and the only place here with unsafe code.
//!
//! | module | what |
//! |---|---|
//! | `platform` | the trait by which the kernel lends address space and DMA memory |
//! | `mmio` | a window of device registers with bounds |
//! | `port` | x86 I/O ports |
//! | `dma` | memory that a device reads and writes |
//! | `ring` | virtio rings whose buffers they own |
//!
//! Everything given out is safe to use: a window checks its bounds, DMA memory is touched by copies while no device
//! has it, a ring keeps its buffers as long as the device may write to them.
#![expect(
    unsafe_code,
    reason = "registers, ports and memory shared with devices"
)]

mod dma;
mod mmio;
mod platform;
mod port;
mod ring;

pub use dma::DmaBuffer;
pub use mmio::Mmio;
#[cfg(test)]
pub use mmio::Registers;
pub use platform::{Platform, Waiter, now_ns, set_platform, wait_for};
pub use port::{PortIo, Ports};
pub use ring::{Ring, Used, VirtioHal};

#[cfg(test)]
pub use dma::testing;
