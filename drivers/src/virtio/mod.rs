//! Virtio devices on modern PCI.
//!
//! | module | what |
//! |---|---|
//! | `transport` | the PCI transport with interrupt vectors |
//! | `rng` | the entropy source |
//! | `console` | consoles and named ports |
//!
//! The rings are those of `virtio-drivers`; its transport has no MSI-X vectors and its console and entropy drivers
//! wait without limit, so those parts are here.
//!
//! Reference: Virtual I/O Device (VIRTIO) 1.2.

pub mod console;
pub mod rng;
mod transport;

use devapi::{DeviceError, Result};
use virtio_drivers::transport::{DeviceStatus, Transport};

pub use transport::{PciTransport, device_type};
pub use virtio_drivers::transport::DeviceType;

const VERSION_1: u64 = 1 << 32;
const ACCESS_PLATFORM: u64 = 1 << 33;

pub(crate) fn error(error: virtio_drivers::Error) -> DeviceError {
    use virtio_drivers::Error;
    match error {
        Error::QueueFull | Error::NotReady => DeviceError::Busy,
        Error::DmaError => DeviceError::NoMemory,
        Error::Unsupported => DeviceError::Unsupported,
        Error::InvalidParam => DeviceError::Invalid,
        _ => DeviceError::Io,
    }
}

/// Resets the device and agrees on features: those of `wanted` that it has. The device must be a modern one.
fn negotiate(transport: &mut PciTransport, wanted: u64) -> Result<u64> {
    transport.reset()?;
    transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    let offered = transport.read_device_features();
    let agreed = offered & (wanted | VERSION_1 | ACCESS_PLATFORM);
    if agreed & VERSION_1 == 0 {
        return Err(DeviceError::Unsupported);
    }
    transport.write_driver_features(agreed);
    let ok = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK;
    transport.set_status(ok);
    if !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
        return Err(DeviceError::Unsupported);
    }
    Ok(agreed)
}
