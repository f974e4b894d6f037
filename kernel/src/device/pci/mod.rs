//! PCI: the functions that were found, in the registry and bound to their drivers.
//!
//! | module | what |
//! |---|---|
//! | this | finding, binding, windows, interrupts |
//! | `sysfs` | what a function shows of itself |

mod sysfs;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use abi::{Errno, Result};
use drivers::hal::Mmio;
use drivers::pci::{ConfigSpace, Ecam, EcamRegion, Function, PciAddress, scan};
use ksync::SpinLock;
use spin::Once;

use super::acpi::{aml, tables};
use super::irq;
use super::registry::{Device, DeviceSpec};
use crate::arch::irq::{Polarity, Trigger};

/// How a function's interrupts arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// MSI-X, all by entry 0 of its table.
    MessageTable,
    Message,
    Line,
}

/// A function with what the kernel knows of it.
pub struct PciDevice {
    pub function: Function,
    device: Once<Arc<Device>>,
    /// Windows mapped so far.
    windows: SpinLock<[Option<Mmio>; 6]>,
    irq: AtomicU32,
}

static CONFIG: Once<Ecam> = Once::new();
static DEVICES: Once<Vec<Arc<PciDevice>>> = Once::new();

/// Configuration space: by memory where the firmware describes it, by ports elsewhere.
pub fn config() -> &'static Ecam {
    CONFIG.call_once(|| {
        let regions = tables::get().pci.iter().map(|segment| EcamRegion {
            phys: segment.base,
            segment: segment.segment,
            first_bus: segment.first_bus,
            last_bus: segment.last_bus,
        });
        Ecam::new(regions.collect())
    })
}

/// Every function that was found.
pub fn devices() -> &'static [Arc<PciDevice>] {
    DEVICES.get().map_or(&[], Vec::as_slice)
}

/// Finds all functions, shows them in the registry and offers each to the drivers.
pub fn init() {
    let mut roots = alloc::vec![(0, 0)];
    for region in config().regions() {
        let first = (region.segment, region.first_bus);
        if !roots.contains(&first) {
            roots.push(first);
        }
    }
    let devices = DEVICES.call_once(|| {
        let functions = scan(config(), &roots);
        functions
            .into_iter()
            .map(|function| Arc::new(PciDevice::new(function)))
            .collect()
    });
    for device in devices {
        if let Err(error) = device.register() {
            log::warn!(
                "pci {}: not shown in sysfs: {error:?}",
                device.function.address
            );
        }
    }
    log::info!("pci: {} functions", devices.len());
    for device in devices {
        super::virtio::probe(device);
    }
}

impl PciDevice {
    fn new(function: Function) -> Self {
        let line = function.interrupt_line;
        let irq = if function.interrupt_pin.is_some() && line != 255 {
            u32::from(line)
        } else {
            0
        };
        Self {
            function,
            device: Once::new(),
            windows: SpinLock::new([const { None }; 6]),
            irq: AtomicU32::new(irq),
        }
    }

    /// The name of the function: `0000:00:03.0`.
    pub fn name(&self) -> String {
        format!("{}", self.function.address)
    }

    fn register(self: &Arc<Self>) -> Result<()> {
        let parent = match self.function.parent {
            Some(bridge) => find(bridge).and_then(|bridge| bridge.device.get().cloned()),
            None => None,
        };
        let parent = match parent {
            Some(parent) => parent,
            None => root_bus(self.function.address)?,
        };
        let device = sysfs::describe(self).add(Some(&parent))?;
        self.device.call_once(|| device);
        Ok(())
    }

    /// The function's place in the registry.
    pub fn device(&self) -> Option<&Arc<Device>> {
        self.device.get()
    }

    /// The number of the interrupt in use, else of the line the firmware noted, else 0.
    pub fn irq(&self) -> u32 {
        self.irq.load(Ordering::Relaxed)
    }

    /// Notes which driver has the function.
    pub fn set_driver(&self, driver: &'static str) {
        if let Some(device) = self.device.get() {
            device.set_driver(Some(driver));
        }
    }

    /// The registers behind window `index`, mapped once.
    pub fn window(&self, index: u8) -> Option<Mmio> {
        let place = usize::from(index);
        if let Some(Some(window)) = self.windows.lock().get(place) {
            return Some(window.clone());
        }
        let bar = self
            .function
            .bar(index)
            .filter(|bar| bar.is_memory() && bar.address != 0)?;
        let mapped = Mmio::map(bar.address, usize::try_from(bar.bytes).ok()?)?;
        self.windows.lock()[place] = Some(mapped.clone());
        Some(mapped)
    }

    /// Lets the function answer at its windows and use memory.
    pub fn enable(&self) {
        self.function.enable(config());
    }

    /// Stops the function's use of memory.
    pub fn quiesce(&self) {
        self.function.quiesce(config());
    }

    /// Leads the function's interrupts to `handler`, by the best way there is.
    pub fn request_interrupt(&self, handler: Arc<dyn irq::Handler>) -> Result<Interrupt> {
        let name = self.name();
        if let Some(msix) = self.function.msix(config()) {
            let table = self
                .window(msix.bar)
                .and_then(|window| window.window(msix.table as usize, msix.table_bytes()));
            if let Some(table) = table {
                let (number, address, data) = irq::request_message("PCI-MSIX", &name, handler)?;
                self.function.set_intx(config(), false);
                msix.enable(config(), &table);
                msix.set(&table, 0, address, data);
                self.irq.store(number, Ordering::Relaxed);
                return Ok(Interrupt::MessageTable);
            }
        }
        if let Some(msi) = self.function.msi() {
            let (number, address, data) = irq::request_message("PCI-MSI", &name, handler)?;
            self.function.set_intx(config(), false);
            msi.enable(config(), address, data as u16);
            self.irq.store(number, Ordering::Relaxed);
            return Ok(Interrupt::Message);
        }
        let (gsi, trigger, polarity) = self.line().ok_or(Errno::ENODEV)?;
        let number = irq::request_line(gsi, trigger, polarity, &name, handler)?;
        self.function.set_intx(config(), true);
        self.irq.store(number, Ordering::Relaxed);
        Ok(Interrupt::Line)
    }

    /// Where the function's interrupt pin arrives: by the firmware's routing table, else by the number that the
    /// firmware noted for the old interrupt controllers, which the I/O APIC mirrors.
    fn line(&self) -> Option<(u32, Trigger, Polarity)> {
        let pin = self.function.interrupt_pin?;
        if let Some(route) = aml::route(&self.way_from_root(), pin) {
            let trigger = if route.level {
                Trigger::Level
            } else {
                Trigger::Edge
            };
            let polarity = if route.active_low {
                Polarity::Low
            } else {
                Polarity::High
            };
            return Some((route.gsi, trigger, polarity));
        }
        let line = self.function.interrupt_line;
        if line == 0 || line >= 16 {
            return None;
        }
        let (gsi, _, _) = crate::arch::irq::isa_to_gsi(line);
        // PCI interrupts are level-triggered; on the old numbers the chip set turns them to active high.
        Some((gsi, Trigger::Level, Polarity::High))
    }

    /// The addresses of the bridges from the root bus down to the function, and its own last.
    fn way_from_root(&self) -> Vec<PciAddress> {
        let mut way = alloc::vec![self.function.address];
        let mut parent = self.function.parent;
        while let Some(bridge) = parent {
            way.push(bridge);
            parent = find(bridge).and_then(|device| device.function.parent);
            if way.len() > 32 {
                break;
            }
        }
        way.reverse();
        way
    }
}

fn find(address: PciAddress) -> Option<&'static Arc<PciDevice>> {
    devices()
        .iter()
        .find(|device| device.function.address == address)
}

/// The directory of a root bus: `pci0000:00`.
fn root_bus(address: PciAddress) -> Result<Arc<Device>> {
    let name = format!("pci{:04x}:{:02x}", address.segment(), address.bus());
    let top = super::registry::root();
    let known = || {
        top.children()
            .iter()
            .find(|child| child.name() == name)
            .cloned()
    };
    if let Some(bus) = known() {
        return Ok(bus);
    }
    match DeviceSpec::new(name.clone()).add(None) {
        Err(Errno::EEXIST) => known().ok_or(Errno::ENOENT),
        other => other,
    }
}

/// Reads configuration space on behalf of a user: the first 64 bytes, or all of it for the privileged.
pub(super) fn read_config(function: PciAddress, offset: u64, out: &mut [u8]) -> Result<usize> {
    let mut count = 0;
    for (i, byte) in out.iter_mut().enumerate() {
        let Ok(at) = u16::try_from(offset + i as u64) else {
            break;
        };
        if at >= 256 {
            break;
        }
        *byte = config().read8(function, at);
        count += 1;
    }
    Ok(count)
}
