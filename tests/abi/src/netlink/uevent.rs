//! The events of devices: `NETLINK_KOBJECT_UEVENT`.

use libc::{EACCES, EINVAL, EPERM, NETLINK_KOBJECT_UEVENT, O_WRONLY};

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    a_write_to_uevent_is_told,
    arguments_of_events_are_told,
    malformed_events_are_refused,
    events_are_made_up_by_the_administrator,
    everybody_may_listen_to_devices,
];

/// A device that every kernel has.
const NULL: &str = "/devices/virtual/mem/null";

fn trigger(text: &str) -> Sys {
    let path = c_string(&format!("/sys{NULL}/uevent"));
    let fd = open(&path, O_WRONLY)?;
    let written = write(fd, text.as_bytes());
    close(fd)?;
    written
}

fn count() -> Outcome<u64> {
    let text = text_of("/sys/kernel/uevent_seqnum")?;
    some(text.trim().parse().ok(), "a number")
}

/// The strings of the next event about the device.
fn next(fd: i32) -> Outcome<Vec<String>> {
    loop {
        let got = receive(fd)?;
        equal(got.from, (0, 1))?;
        check(got.bytes.ends_with(b"\0"), "it ends with a NUL")?;
        let strings: Vec<String> = text(&got.bytes).split('\0').map(str::to_owned).collect();
        if strings
            .iter()
            .any(|string| string == &format!("DEVPATH={NULL}"))
        {
            return Ok(strings);
        }
    }
}

fn a_write_to_uevent_is_told() -> Outcome {
    let (fd, _) = bound(NETLINK_KOBJECT_UEVENT, 1)?;
    for action in [
        "add", "change", "remove", "move", "online", "offline", "bind", "unbind",
    ] {
        let before = count()?;
        equal(trigger(action)?, action.len())?;
        let strings = next(fd)?;
        equal(strings[0].as_str(), format!("{action}@{NULL}"))?;
        equal(strings[1].as_str(), format!("ACTION={action}"))?;
        equal(strings[2].as_str(), format!("DEVPATH={NULL}"))?;
        for wanted in [
            "SUBSYSTEM=mem",
            "SYNTH_UUID=0",
            "MAJOR=1",
            "MINOR=3",
            "DEVNAME=null",
        ] {
            check(strings.iter().any(|string| string == wanted), wanted)?;
        }
        let last = some(strings.last(), "a number")?;
        let number = last
            .strip_prefix("SEQNUM=")
            .and_then(|text| text.parse().ok());
        check(number.is_some_and(|number: u64| number > before), last)?;
    }
    equal(trigger("change\n")?, 7)?;
    equal(next(fd)?[1].as_str(), "ACTION=change")
}

fn arguments_of_events_are_told() -> Outcome {
    let (fd, _) = bound(NETLINK_KOBJECT_UEVENT, 1)?;
    let uuid = "12345678-90ab-cdef-1234-567890abcdef";
    trigger(&format!("change {uuid}"))?;
    let strings = next(fd)?;
    check(strings.contains(&format!("SYNTH_UUID={uuid}")), "the UUID")?;
    trigger(&format!("change {uuid} A=1 b2=xyz\n"))?;
    let strings = next(fd)?;
    for wanted in ["SYNTH_ARG_A=1", "SYNTH_ARG_b2=xyz"] {
        check(strings.iter().any(|string| string == wanted), wanted)?;
    }
    Ok(())
}

fn malformed_events_are_refused() -> Outcome {
    let (fd, _) = bound(NETLINK_KOBJECT_UEVENT, 1)?;
    let uuid = "12345678-90ab-cdef-1234-567890abcdef";
    fails(trigger("nothing"), EINVAL)?;
    fails(trigger("Add"), EINVAL)?;
    fails(trigger("change 12345"), EINVAL)?;
    fails(trigger(&format!("change {uuid} A")), EINVAL)?;
    fails(trigger(&format!("change {uuid} A=_")), EINVAL)?;
    trigger("online")?;
    equal(next(fd)?[1].as_str(), "ACTION=online")?;
    within(|| {
        become_user()?;
        fails(trigger("change"), EACCES)
    })
}

fn events_are_made_up_by_the_administrator() -> Outcome {
    let (fd, _) = bound(NETLINK_KOBJECT_UEVENT, 1)?;
    let (sender, _) = bound(NETLINK_KOBJECT_UEVENT, 0)?;
    let event = format!("made@up\0DEVPATH={NULL}\0");
    let bytes = message(20, REQUEST | ACK, 1, event.as_bytes());
    send(sender, &bytes)?;
    let ack = messages_of(&receive(sender)?.bytes)?;
    equal(ack.first().map(Message::error), Some(0))?;
    let strings = next(fd)?;
    equal(strings[0].as_str(), "made@up")?;
    check(
        strings
            .last()
            .is_some_and(|text| text.starts_with("SEQNUM=")),
        "numbered",
    )?;
    let long = vec![b'x'; 2048];
    send(sender, &message(20, REQUEST, 1, &long))?;
    let refusal = messages_of(&receive(sender)?.bytes)?;
    equal(refusal.first().map(Message::error), Some(EINVAL))?;
    within(|| {
        let (sender, _) = bound(NETLINK_KOBJECT_UEVENT, 0)?;
        become_user()?;
        send(sender, &bytes)?;
        let refusal = messages_of(&receive(sender)?.bytes)?;
        equal(refusal.first().map(Message::error), Some(EPERM))
    })
}

fn everybody_may_listen_to_devices() -> Outcome {
    within(|| {
        become_user()?;
        bound(NETLINK_KOBJECT_UEVENT, 1)?;
        Ok(())
    })
}
