//! Interfaces: what is told of them, and changing them.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::Errno;
use abi::net::Iff;
use abi::netlink::NlmFlags;
use abi::netlink::route::{
    IF_OPER_DOWN, IF_OPER_UNKNOWN, IfInfoMsg, RTM_NEWLINK, RTNLGRP_LINK, ifla,
};
use netlink::{Attributes, Builder};

use super::PROTOCOL;
use crate::net::interface::{self, Interface, TX_QUEUE_LEN};
use crate::net::netlink::packet::Packet;
use crate::net::netlink::request::{Answer, Dump, Outcome, Refusal, Request};
use crate::net::netlink::table;

/// `RTM_GETLINK` for all.
pub(super) fn dump(request: &Request<'_>) -> Outcome {
    let mut dump = Dump::new(request);
    for interface in interface::all() {
        dump.message(RTM_NEWLINK, |builder| describe(builder, interface, 0));
    }
    dump.finish()
}

/// The interface that a request means, by index or by name.
fn find<'a>(
    request: &Request<'a>,
) -> Result<(IfInfoMsg, Attributes<'a>, Option<&'static Interface>), Refusal> {
    let (info, attributes) = request.message.split::<IfInfoMsg>().ok_or(Errno::EINVAL)?;
    if let Ok(index) = u32::try_from(info.index)
        && index > 0
    {
        return Ok((info, attributes, interface::by_index(index)));
    }
    if info.index < 0 {
        return Err(Refusal::because(Errno::EINVAL, "ifindex can't be negative"));
    }
    let name = attributes.find(ifla::IFNAME).ok_or(Errno::EINVAL)?;
    let mut all = interface::all();
    let found = all.find(|interface| interface.name.as_bytes() == name.text());
    Ok((info, attributes, found))
}

/// `RTM_GETLINK` for one.
pub(super) fn get(request: &Request<'_>) -> Outcome {
    let (_, _, interface) = find(request)?;
    let interface = interface.ok_or(Errno::ENODEV)?;
    let mut builder = Builder::new();
    request.begin(&mut builder, RTM_NEWLINK, NlmFlags::empty());
    describe(&mut builder, interface, 0);
    builder.finish();
    request.reply(builder);
    Ok(Answer::Done)
}

/// `RTM_NEWLINK`: changes an interface that is there; none can be made.
pub(super) fn new(request: &Request<'_>) -> Outcome {
    let flags = request.message.flags();
    let (info, attributes, interface) = find(request)?;
    let Some(interface) = interface else {
        return match flags.contains(NlmFlags::CREATE) {
            true => Err(Refusal::because(Errno::EOPNOTSUPP, "Unknown device type")),
            false => Err(Errno::ENODEV.into()),
        };
    };
    if flags.contains(NlmFlags::EXCL) {
        return Err(Errno::EEXIST.into());
    }
    if flags.contains(NlmFlags::REPLACE) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    change(interface, &info, attributes)
}

/// `RTM_SETLINK`.
pub(super) fn set(request: &Request<'_>) -> Outcome {
    let (info, attributes, interface) = find(request)?;
    change(interface.ok_or(Errno::ENODEV)?, &info, attributes)
}

fn change(interface: &Interface, info: &IfInfoMsg, attributes: Attributes<'_>) -> Outcome {
    for attribute in attributes {
        match attribute.kind {
            ifla::MTU => {
                let mtu = attribute.read::<u32>().ok_or(Errno::ERANGE)?;
                interface.set_mtu(mtu);
            }
            ifla::IFNAME if attribute.text() == interface.name.as_bytes() => {}
            ifla::EXT_MASK => {}
            _ => return Err(Errno::EOPNOTSUPP.into()),
        }
    }
    if info.flags != 0 || info.change != 0 {
        let asked = Iff::from_bits_retain(info.flags);
        // All of them, if none is named.
        let mask = match info.change {
            0 => Iff::all(),
            mask => Iff::from_bits_retain(mask),
        };
        interface.set_flags((asked & mask) | (interface.flags() & !mask));
    }
    Ok(Answer::Done)
}

/// Tells who listens that flags of the interface have changed.
pub fn notify(interface: &Interface, changed: Iff) {
    if !table::has_listeners(&PROTOCOL, RTNLGRP_LINK) {
        return;
    }
    let mut builder = Builder::new();
    builder.begin(RTM_NEWLINK, NlmFlags::empty(), 0, 0);
    describe(&mut builder, interface, changed.bits());
    builder.finish();
    let packet = Packet::from_kernel(builder.into_bytes(), RTNLGRP_LINK);
    // It makes no difference whether anybody got it.
    let _ = table::broadcast(&PROTOCOL, &Arc::new(packet), 0);
}

fn describe(builder: &mut Builder, interface: &Interface, changed: u32) {
    let is_up = interface.is_up();
    builder.put(&IfInfoMsg {
        family: 0,
        _pad: 0,
        kind: interface.hardware,
        index: interface.index as i32,
        flags: interface.flags().bits(),
        change: changed,
    });
    builder.text(ifla::IFNAME, interface.name.as_bytes());
    builder.number(ifla::TXQLEN, TX_QUEUE_LEN as u32);
    builder.number(
        ifla::OPERSTATE,
        if is_up { IF_OPER_UNKNOWN } else { IF_OPER_DOWN },
    );
    builder.number(ifla::LINKMODE, 0_u8);
    builder.number(ifla::MTU, interface.mtu());
    builder.number(ifla::GROUP, 0_u32);
    builder.number(
        ifla::PROMISCUITY,
        u32::from(interface.flags().contains(Iff::PROMISC))
            + interface.promiscuity.load(Ordering::Relaxed),
    );
    builder.number(ifla::NUM_TX_QUEUES, 1_u32);
    builder.number(ifla::NUM_RX_QUEUES, 1_u32);
    builder.number(ifla::CARRIER, 1_u8);
    // Nothing waits to be sent; before it is first used there is no queue at all.
    let has_queue = is_up || !interface.v4_addresses().is_empty();
    builder.text(ifla::QDISC, if has_queue { b"noqueue" } else { b"noop" });
    builder.attribute(ifla::MAP, &[0; 32]);
    builder.attribute(ifla::ADDRESS, &interface.hardware_address);
    builder.attribute(ifla::BROADCAST, &[0; 6]);
    put_counters(builder, interface);
}

/// `struct rtnl_link_stats64` and `struct rtnl_link_stats`: packets and bytes received and sent, and what went wrong.
fn put_counters(builder: &mut Builder, interface: &Interface) {
    let (received, sent) = (&interface.received, &interface.sent);
    let mut counts = [0_u64; 25];
    counts[0] = received.packets.load(Ordering::Relaxed);
    counts[1] = sent.packets.load(Ordering::Relaxed);
    counts[2] = received.bytes.load(Ordering::Relaxed);
    counts[3] = sent.bytes.load(Ordering::Relaxed);
    builder.number(ifla::STATS64, counts);
    let mut short = [0_u32; 24];
    for (slot, count) in short.iter_mut().zip(counts) {
        *slot = count as u32;
    }
    builder.number(ifla::STATS, short);
}
