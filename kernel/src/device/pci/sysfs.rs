//! What a PCI function shows of itself in sysfs, in Linux's formats.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write;

use abi::Errno;
use drivers::pci::{Bar, BarKind, Function};

use super::PciDevice;
use crate::device::registry::{Attribute, Content, DeviceSpec, Subsystem};

/// Flags of a resource, as in Linux's `ioport.h`: kind, prefetchable, sized by alignment, 64-bit.
const PORTS: u64 = 0x100;
const MEMORY: u64 = 0x200;
const PREFETCH: u64 = 0x2000;
const SIZE_ALIGN: u64 = 0x4_0000;
const MEMORY_64: u64 = 0x10_0000;

fn resource(bar: &Bar) -> (u64, u64, u64) {
    // The lowest bits are those of the register itself.
    let flags = match bar.kind {
        BarKind::Ports => PORTS | 1,
        BarKind::Memory { prefetchable, wide } => {
            let prefetch = if prefetchable { PREFETCH | 8 } else { 0 };
            MEMORY | prefetch | if wide { MEMORY_64 | 4 } else { 0 }
        }
    };
    (
        bar.address,
        bar.address + (bar.bytes - 1),
        flags | SIZE_ALIGN,
    )
}

/// Six windows and the expansion ROM, which is not used here.
fn resources(function: &Function, out: &mut String) -> core::fmt::Result {
    for index in 0..7 {
        let (start, end, flags) = function.bar(index).map_or((0, 0, 0), resource);
        let newline = if index < 6 { "\n" } else { "" };
        write!(out, "{start:#018x} {end:#018x} {flags:#018x}{newline}")?;
    }
    Ok(())
}

fn modalias(f: &Function) -> String {
    format!(
        "pci:v{:08X}d{:08X}sv{:08X}sd{:08X}bc{:02X}sc{:02X}i{:02X}",
        f.vendor,
        f.device,
        f.subsystem_vendor,
        f.subsystem_device,
        f.class,
        f.subclass,
        f.interface
    )
}

/// The function as a device of the registry.
pub(super) fn describe(device: &Arc<PciDevice>) -> DeviceSpec {
    let f = &device.function;
    let address = f.address;
    let class = u32::from(f.class) << 16 | u32::from(f.subclass) << 8 | u32::from(f.interface);
    let (for_irq, for_resources) = (Arc::downgrade(device), Arc::downgrade(device));
    DeviceSpec::new(device.name())
        .subsystem(Subsystem::Bus("pci"))
        .fixed("vendor", format!("{:#06x}", f.vendor))
        .fixed("device", format!("{:#06x}", f.device))
        .fixed("subsystem_vendor", format!("{:#06x}", f.subsystem_vendor))
        .fixed("subsystem_device", format!("{:#06x}", f.subsystem_device))
        .fixed("class", format!("{class:#08x}"))
        .fixed("revision", format!("{:#04x}", f.revision))
        .fixed("modalias", modalias(f))
        .text("irq", move |out| {
            let device = for_irq.upgrade().ok_or(Errno::ENODEV)?;
            write!(out, "{}", device.irq()).map_err(|_| Errno::ENOMEM)
        })
        .text("resource", move |out| {
            let device = for_resources.upgrade().ok_or(Errno::ENODEV)?;
            resources(&device.function, out).map_err(|_| Errno::ENOMEM)
        })
        .attribute(Attribute {
            name: Cow::Borrowed("config"),
            mode: 0o600,
            content: Content::Binary {
                bytes: 256,
                read: Box::new(move |offset, out| super::read_config(address, offset, out)),
            },
            store: None,
        })
}
