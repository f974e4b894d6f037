//! The events of devices (`NETLINK_KOBJECT_UEVENT`): one is sent for each that comes, and for each that a process asks for
//! by writing to `uevent` in sysfs.
//!
//! An event is text: `action@path`, then variables, each ended by a NUL.
//!
//! Reference: Linux `Documentation/ABI/testing/sysfs-uevent`, `lib/kobject_uevent.c`.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::str::SplitAsciiWhitespace;

use abi::netlink::NETLINK_KOBJECT_UEVENT;
use abi::{Errno, Result};

use super::request::{self, Answer, Outcome, Refusal, Request};
use super::send::Sent;
use super::socket::Packet;
use super::{Protocol, table};
use crate::device::registry::Device;
use crate::fs::sysfs;
use crate::sync::Mutex;
use crate::task::Cap;

pub(super) static PROTOCOL: Protocol = Protocol {
    number: NETLINK_KOBJECT_UEVENT,
    groups: 1,
    open_receive: true,
    open_send: false,
    input: Some(input),
    close: None,
};

const GROUP: u32 = 1;
/// What a message may be long, its number included.
const MAX_LEN: usize = 2048;

/// How many events there have been. Held while one is sent, so that they arrive in order.
static SEQNUM: Mutex<u64> = Mutex::new(0);

/// `/sys/kernel/uevent_seqnum`.
pub fn seqnum() -> u64 {
    *SEQNUM.lock()
}

const ACTIONS: [&str; 8] = [
    "add", "remove", "change", "move", "online", "offline", "bind", "unbind",
];

/// Sends `data`, the event's number behind it, to all who listen.
fn broadcast(mut data: Vec<u8>, seqnum: u64) {
    data.extend_from_slice(format!("SEQNUM={seqnum}\0").as_bytes());
    let packet = Packet::from_kernel(data, GROUP);
    // Whether anybody got it makes no difference.
    let _ = table::broadcast(&PROTOCOL, &Arc::new(packet), 0);
}

fn send(device: &Device, action: &str, extra: &str) {
    let Some(subsystem) = device.subsystem() else {
        return;
    };
    let mut seqnum = SEQNUM.lock();
    *seqnum += 1;
    if !table::has_listeners(&PROTOCOL, GROUP) {
        return;
    }
    let path = device.path();
    let name = subsystem.name();
    let mut text = format!(
        "{action}@/devices/{path}\nACTION={action}\nDEVPATH=/devices/{path}\nSUBSYSTEM={name}\n{extra}"
    );
    if sysfs::uevent(device, &mut text).is_err() {
        return;
    }
    let data = text.replace('\n', "\0").into_bytes();
    broadcast(data, *seqnum);
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

/// An event that a process makes up, for all who listen.
fn input(sent: &Sent<'_>) {
    request::handle(sent, forward);
}

fn forward(request: &Request<'_>) -> Outcome {
    if !request.sent.capable(Cap::SYS_ADMIN) {
        let why = "missing CAP_SYS_ADMIN capability";
        return Err(Refusal::because(Errno::EPERM, why));
    }
    let mut seqnum = SEQNUM.lock();
    let data = request.message.payload.to_vec();
    if data.len() + format!("SEQNUM={}", *seqnum + 1).len() > MAX_LEN {
        return Err(Refusal::because(Errno::EINVAL, "uevent message too long"));
    }
    *seqnum += 1;
    broadcast(data, *seqnum);
    Ok(Answer::Done)
}
