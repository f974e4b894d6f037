//! Nodes of terminals: in `/dev`, and in the device registry, from which sysfs shows them.

use alloc::string::ToString;

use abi::{Errno, Result};

use super::consoles::{SERIAL_MINOR, TTY_MAJOR};
use super::{consoles, vt};
use crate::device::registry::{DeviceSpec, NodeKind, Subsystem, folder};
use crate::fs::devtmpfs;

/// Makes the node of a terminal; a failure is logged.
pub fn make(name: &str, major: u32, minor: u32, mode: u32) {
    devtmpfs::create_char(name, major, minor, mode);
    if let Err(error) = show(name, major, minor) {
        log::warn!("{name}: not shown in sysfs: {error:?}");
    }
}

fn show(name: &str, major: u32, minor: u32) -> Result<()> {
    // Serial ports are of the platform, as on Linux; the others are no hardware of their own.
    let parent = match major == TTY_MAJOR && minor >= SERIAL_MINOR {
        true => folder("platform/serial8250/tty")?,
        false => folder("virtual/tty")?,
    };
    let mut spec = DeviceSpec::new(name.to_string())
        .subsystem(Subsystem::Class("tty"))
        .node(NodeKind::Char, major, minor, name.to_string());
    if name == "console" {
        spec = spec.text("active", |out| {
            consoles::show_active(out);
            Ok(())
        });
    }
    if name == "tty0" {
        spec = spec.text("active", |out| {
            out.push_str(&vt::active().ok_or(Errno::ENODEV)?.name);
            Ok(())
        });
    }
    spec.add(Some(&parent)).map(drop)
}
