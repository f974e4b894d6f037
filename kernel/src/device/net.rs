//! What the network has of devices: its interfaces in `/sys/class/net`, and random numbers.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use abi::net::Iff;
use abi::{Errno, Result};

use super::random;
use super::registry::{DeviceSpec, Subsystem, folder};
use crate::net;
use crate::net::interface::{self, Interface, TX_QUEUE_LEN};

/// Gives the network its random numbers, and shows every interface.
///
/// # Errors
/// `ENOMEM`.
pub fn init() -> Result<()> {
    net::set_random(random::fill);
    for interface in interface::all() {
        show(interface)?;
    }
    Ok(())
}

fn put(out: &mut String, value: core::fmt::Arguments<'_>) -> Result<()> {
    out.write_fmt(value).map_err(|_| Errno::ENOMEM)
}

fn show(interface: &'static Interface) -> Result<()> {
    let address = interface.hardware_address.map(|byte| format!("{byte:02x}"));
    DeviceSpec::new(interface.name)
        .subsystem(Subsystem::Class("net"))
        .fixed("addr_len", "6")
        .fixed("address", address.join(":"))
        .fixed("broadcast", address.join(":"))
        .fixed("dev_id", "0x0")
        .fixed("ifindex", format!("{}", interface.index))
        .fixed("iflink", format!("{}", interface.index))
        .fixed("type", format!("{}", interface.hardware))
        .fixed("tx_queue_len", format!("{TX_QUEUE_LEN}"))
        .text("flags", |out| {
            let shown = interface.flags() & !(Iff::RUNNING | Iff::LOWER_UP);
            put(out, format_args!("{:#x}", shown.bits()))
        })
        .text("mtu", |out| put(out, format_args!("{}", interface.mtu())))
        // An interface without a physical side does not know more.
        .text("operstate", |out| {
            let state = if interface.is_up() { "unknown" } else { "down" };
            put(out, format_args!("{state}"))
        })
        .text("carrier", |out| {
            if interface.is_up() {
                put(out, format_args!("1"))
            } else {
                Err(Errno::EINVAL)
            }
        })
        .add(Some(&folder("virtual/net")?))?;
    Ok(())
}
