//! Addresses of interfaces: what is told of them.

use alloc::sync::Arc;

use abi::netlink::NlmFlags;
use abi::netlink::route::{
    IFA_F_PERMANENT, IfAddrMsg, IfaCacheInfo, RT_SCOPE_HOST, RT_SCOPE_UNIVERSE, RTM_DELADDR,
    RTM_NEWADDR, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, ifa,
};
use abi::socket::{AF_INET, AF_INET6};
use netlink::Builder;

use super::PROTOCOL;
use crate::net::interface::{self, Interface, V4Address, V6Address};
use crate::net::netlink::packet::Packet;
use crate::net::netlink::request::{Dump, Outcome, Request};
use crate::net::netlink::table;

/// An address of either family.
#[derive(Clone, Copy)]
pub enum Address {
    V4(V4Address),
    V6(V6Address),
}

/// `RTM_GETADDR` for all of a family, or of both.
pub(super) fn dump(request: &Request<'_>, family: u8) -> Outcome {
    let wants = |other: u16| {
        let family = u16::from(family);
        // Families without addresses of their own mean all.
        family == other || (family != AF_INET && family != AF_INET6)
    };
    let mut dump = Dump::new(request);
    for interface in interface::all().filter(|_| wants(AF_INET)) {
        for own in interface.v4_addresses() {
            dump.message(RTM_NEWADDR, |builder| {
                describe(builder, interface, Address::V4(own));
            });
        }
    }
    for interface in interface::all().filter(|_| wants(AF_INET6)) {
        for own in interface.v6_addresses() {
            dump.message(RTM_NEWADDR, |builder| {
                describe(builder, interface, Address::V6(own));
            });
        }
    }
    dump.finish()
}

/// Tells who listens that an interface has an address more, or less.
pub fn notify(interface: &Interface, address: Address, is_new: bool) {
    let group = match address {
        Address::V4(_) => RTNLGRP_IPV4_IFADDR,
        Address::V6(_) => RTNLGRP_IPV6_IFADDR,
    };
    if !table::has_listeners(&PROTOCOL, group) {
        return;
    }
    let kind = if is_new { RTM_NEWADDR } else { RTM_DELADDR };
    let mut builder = Builder::new();
    builder.begin(kind, NlmFlags::empty(), 0, 0);
    describe(&mut builder, interface, address);
    builder.finish();
    let packet = Packet::from_kernel(builder.into_bytes(), group);
    // It makes no difference whether anybody got it.
    let _ = table::broadcast(&PROTOCOL, &Arc::new(packet), 0);
}

fn describe(builder: &mut Builder, interface: &Interface, address: Address) {
    let (family, prefix, is_local) = match address {
        Address::V4(own) => (AF_INET, own.prefix, own.address.is_loopback()),
        Address::V6(own) => (AF_INET6, own.prefix, own.address.is_loopback()),
    };
    builder.put(&IfAddrMsg {
        family: family as u8,
        prefix,
        flags: IFA_F_PERMANENT as u8,
        scope: if is_local {
            RT_SCOPE_HOST
        } else {
            RT_SCOPE_UNIVERSE
        },
        index: interface.index,
    });
    match address {
        Address::V4(own) => {
            builder.attribute(ifa::ADDRESS, &own.address.octets());
            builder.attribute(ifa::LOCAL, &own.address.octets());
            builder.text(ifa::LABEL, interface.name.as_bytes());
        }
        Address::V6(own) => builder.attribute(ifa::ADDRESS, &own.address.octets()),
    }
    builder.number(ifa::FLAGS, IFA_F_PERMANENT);
    // It lasts for ever; when it was given is not kept.
    let lasts = IfaCacheInfo {
        preferred: u32::MAX,
        valid: u32::MAX,
        created: 0,
        updated: 0,
    };
    builder.number(ifa::CACHEINFO, lasts);
}
