//! Virtio devices on PCI, bound to what uses them.
//!
//! | module | what |
//! |---|---|
//! | this | finding the driver, interrupts |
//! | `ports` | named console ports as `/dev/virtio-ports/NAME` |

mod ports;

pub use ports::on_console;

use alloc::format;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use devapi::DeviceError;
use drivers::virtio::console::VirtioConsole;
use drivers::virtio::rng::VirtioRng;
use drivers::virtio::{DeviceType, PciTransport, device_type};
use spin::Once;

use super::irq::Handler;
use super::pci::{self, Interrupt, PciDevice};
use super::random;
use super::registry::{DeviceSpec, Subsystem};

/// A handler for a device that does not exist yet: interrupts must be led somewhere before the device starts.
struct Late<T>(Once<Arc<T>>);

impl Handler for Late<VirtioRng> {
    fn interrupt(&self) -> bool {
        let has_bytes = self.0.get().is_some_and(|rng| rng.interrupt());
        if has_bytes {
            random::source_has_bytes();
        }
        has_bytes
    }
}

impl Handler for Late<VirtioConsole> {
    fn interrupt(&self) -> bool {
        self.0
            .get()
            .is_some_and(|console| console.interrupt(&mut ports::changed))
    }
}

/// Starts the driver for a virtio device, if it is one that has a driver here. A device that does not start costs a
/// line in the log.
pub fn probe(device: &Arc<PciDevice>) {
    let Some(kind) = device_type(&device.function) else {
        return;
    };
    let (driver, started) = match kind {
        DeviceType::EntropySource => ("virtio_rng", start_rng(device)),
        DeviceType::Console => ("virtio_console", start_console(device)),
        _ => return,
    };
    match started {
        Ok(()) => {
            device.set_driver("virtio-pci");
            show(device, kind, driver);
        }
        Err(error) => {
            log::warn!(
                "virtio {}: {driver} does not start: {error:?}",
                device.function.address
            );
            device.quiesce();
        }
    }
}

/// The device's registers, with interrupts led to `handler`.
fn transport(
    device: &Arc<PciDevice>,
    handler: Arc<dyn Handler>,
) -> Result<PciTransport, DeviceError> {
    device.enable();
    let map = &mut |index| device.window(index);
    let mut transport = PciTransport::new(pci::config(), &device.function, map)?;
    // A handler that was led an interrupt keeps it for good, so the device is quiet first.
    transport.reset()?;
    match device.request_interrupt(handler) {
        Ok(Interrupt::MessageTable) => transport.use_vector(0),
        Ok(Interrupt::Message | Interrupt::Line) => {}
        Err(error) => {
            log::warn!(
                "virtio {}: no interrupt: {error:?}",
                device.function.address
            );
            return Err(DeviceError::Unsupported);
        }
    }
    Ok(transport)
}

fn start_rng(device: &Arc<PciDevice>) -> Result<(), DeviceError> {
    let late = Arc::new(Late(Once::new()));
    let rng = Arc::new(VirtioRng::new(transport(device, late.clone())?)?);
    late.0.call_once(|| rng.clone());
    random::register_source(rng);
    Ok(())
}

fn start_console(device: &Arc<PciDevice>) -> Result<(), DeviceError> {
    let late = Arc::new(Late(Once::new()));
    let console = VirtioConsole::new(transport(device, late.clone())?)?;
    late.0.call_once(|| console.clone());
    // Messages that came before the handler knew the device.
    console.interrupt(&mut || ());
    ports::add_device(console);
    Ok(())
}

/// Shows the virtio device below its PCI function: `virtio0`.
fn show(device: &Arc<PciDevice>, kind: DeviceType, driver: &'static str) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let Some(parent) = device.device() else {
        return;
    };
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let spec = DeviceSpec::new(format!("virtio{number}"))
        .subsystem(Subsystem::Bus("virtio"))
        .fixed("device", format!("{:#06x}", kind as u8))
        .fixed(
            "vendor",
            format!("{:#06x}", device.function.subsystem_vendor),
        )
        .fixed(
            "modalias",
            format!(
                "virtio:d{:08X}v{:08X}",
                kind as u8, device.function.subsystem_vendor
            ),
        );
    match spec.add(Some(parent)) {
        Ok(shown) => shown.set_driver(Some(driver)),
        Err(error) => log::warn!("virtio{number}: not shown in sysfs: {error:?}"),
    }
}
