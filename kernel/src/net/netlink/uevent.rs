//! The events of devices (`NETLINK_KOBJECT_UEVENT`): their numbers, and who hears of them. `device::uevent` makes them.
//!
//! An event is text: `action@path`, then variables, each ended by a NUL.
//!
//! Reference: Linux `lib/kobject_uevent.c`.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use abi::netlink::NETLINK_KOBJECT_UEVENT;

use super::packet::Packet;
use super::request::{self, Answer, Outcome, Refusal, Request};
use super::send::Sent;
use super::{Protocol, table};
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

/// Sends `data`, the event's number behind it, to all who listen.
fn broadcast(mut data: Vec<u8>, seqnum: u64) {
    data.extend_from_slice(format!("SEQNUM={seqnum}\0").as_bytes());
    let packet = Packet::from_kernel(data, GROUP);
    // Whether anybody got it makes no difference.
    let _ = table::broadcast(&PROTOCOL, &Arc::new(packet), 0);
}

/// Counts an event, and sends the text that `make` gives if anybody listens.
pub fn send(make: impl FnOnce() -> Option<Vec<u8>>) {
    let mut seqnum = SEQNUM.lock();
    *seqnum += 1;
    if table::has_listeners(&PROTOCOL, GROUP)
        && let Some(data) = make()
    {
        broadcast(data, *seqnum);
    }
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
    let payload = request.message.payload;
    if payload.len() + format!("SEQNUM={}", *seqnum + 1).len() > MAX_LEN {
        return Err(Refusal::because(Errno::EINVAL, "uevent message too long"));
    }
    *seqnum += 1;
    broadcast(payload.to_vec(), *seqnum);
    Ok(Answer::Done)
}
