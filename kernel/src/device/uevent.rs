//! Telling of devices: one event for each that comes, and for each that is asked for by writing to its `uevent` in sysfs.
//!
//! Reference: Linux `Documentation/ABI/testing/sysfs-uevent`.

use alloc::format;
use alloc::string::String;
use core::str::SplitAsciiWhitespace;

use abi::{Errno, Result};

use super::registry::Device;
use crate::fs::sysfs;
use crate::net::netlink::uevent;

const ACTIONS: [&str; 8] = [
    "add", "remove", "change", "move", "online", "offline", "bind", "unbind",
];

fn send(device: &Device, action: &str, extra: &str) {
    let Some(subsystem) = device.subsystem() else {
        return;
    };
    uevent::send(|| {
        let path = device.path();
        let name = subsystem.name();
        let mut text = format!(
            "{action}@/devices/{path}\nACTION={action}\nDEVPATH=/devices/{path}\nSUBSYSTEM={name}\n{extra}"
        );
        sysfs::uevent(device, &mut text).ok()?;
        Some(text.replace('\n', "\0").into_bytes())
    });
}

/// A device has come.
pub fn added(device: &Device) {
    send(device, "add", "");
}

/// A write to a device's `uevent`: an action, and maybe a UUID and variables.
///
/// # Errors
/// `EINVAL`.
pub fn synthesise(device: &Device, written: &[u8]) -> Result<()> {
    let text = core::str::from_utf8(written).map_err(|_| Errno::EINVAL)?;
    let text = text.trim_end_matches(['\n', '\0']);
    let (action, arguments) = text.split_once(' ').unwrap_or((text, ""));
    if !ACTIONS.contains(&action) {
        return Err(Errno::EINVAL);
    }
    let extra = match arguments {
        "" => String::from("SYNTH_UUID=0\n"),
        arguments => variables(arguments.split_ascii_whitespace())?,
    };
    send(device, action, &extra);
    Ok(())
}

fn variables(mut words: SplitAsciiWhitespace<'_>) -> Result<String> {
    let uuid = words.next().filter(|word| is_uuid(word));
    let mut text = format!("SYNTH_UUID={}\n", uuid.ok_or(Errno::EINVAL)?);
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric());
    for word in words {
        let (key, value) = word.split_once('=').ok_or(Errno::EINVAL)?;
        if !is_word(key) || !is_word(value) {
            return Err(Errno::EINVAL);
        }
        text.push_str(&format!("SYNTH_ARG_{key}={value}\n"));
    }
    Ok(text)
}

fn is_uuid(word: &str) -> bool {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    word.len() == 36
        && word.bytes().enumerate().all(|(at, byte)| match byte {
            b'-' => DASHES.contains(&at),
            other => other.is_ascii_hexdigit() && !DASHES.contains(&at),
        })
}
