//! Routes: those that follow from the interfaces' addresses.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use abi::Errno;
use abi::netlink::NlmFlags;
use abi::netlink::route::{
    RT_SCOPE_HOST, RT_SCOPE_LINK, RT_SCOPE_UNIVERSE, RT_TABLE_LOCAL, RT_TABLE_MAIN, RTM_F_CLONED,
    RTM_NEWROUTE, RTN_BROADCAST, RTN_LOCAL, RTPROT_KERNEL, RtMsg, rta,
};
use abi::socket::{AF_INET, AF_INET6};
use netlink::Builder;

use crate::net::interface::{self, Interface, V4Address};
use crate::net::netlink::request::{Answer, Dump, Outcome, Request};

/// A route of the local table.
struct Route {
    family: u16,
    kind: u8,
    scope: u8,
    prefix: u8,
    destination: Vec<u8>,
    source: Option<Vec<u8>>,
    index: u32,
}

fn v4_route(interface: &Interface, own: V4Address, to: (Ipv4Addr, u8), kind: u8) -> Route {
    Route {
        family: AF_INET,
        kind,
        scope: match kind {
            RTN_BROADCAST => RT_SCOPE_LINK,
            _ => RT_SCOPE_HOST,
        },
        prefix: to.1,
        destination: to.0.octets().to_vec(),
        source: Some(own.address.octets().to_vec()),
        index: interface.index,
    }
}

/// What follows from an IPv4 address: its network, where the interface keeps all of it, itself, the broadcast address.
fn v4_routes(interface: &Interface, own: V4Address) -> Vec<Route> {
    let mask = u32::from(own.mask());
    let network = Ipv4Addr::from(u32::from(own.address) & mask);
    let last = Ipv4Addr::from(u32::from(own.address) | !mask);
    let mut routes = Vec::new();
    if own.prefix < 32 && interface.is_loopback() {
        routes.push(v4_route(interface, own, (network, own.prefix), RTN_LOCAL));
    }
    routes.push(v4_route(interface, own, (own.address, 32), RTN_LOCAL));
    // What is local stays so while the interface is down.
    if own.prefix < 31 && interface.is_up() {
        routes.push(v4_route(interface, own, (last, 32), RTN_BROADCAST));
    }
    routes
}

fn all_routes(family: u8) -> Vec<Route> {
    let family = u16::from(family);
    let mut routes = Vec::new();
    for interface in interface::all() {
        if family != AF_INET6 {
            for own in interface.v4_addresses() {
                routes.extend(v4_routes(interface, own));
            }
        }
        if family != AF_INET {
            routes.extend(interface.v6_addresses().iter().map(|own| Route {
                family: AF_INET6,
                kind: RTN_LOCAL,
                scope: RT_SCOPE_UNIVERSE,
                prefix: own.prefix,
                destination: own.address.octets().to_vec(),
                source: None,
                index: interface.index,
            }));
        }
    }
    routes
}

/// `RTM_GETROUTE` for all of a family, or of both.
pub(super) fn dump(request: &Request<'_>, family: u8) -> Outcome {
    let mut dump = Dump::new(request);
    for route in all_routes(family) {
        dump.message(RTM_NEWROUTE, |builder| describe(builder, &route, 0));
    }
    dump.finish()
}

/// `RTM_GETROUTE` for one IPv4 address: how it is reached.
pub(super) fn get(request: &Request<'_>) -> Outcome {
    let (question, attributes) = request.message.split::<RtMsg>().ok_or(Errno::EINVAL)?;
    if u16::from(question.family) != AF_INET {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let asked = match attributes.find(rta::DST) {
        Some(attribute) => attribute.read::<[u8; 4]>().ok_or(Errno::ERANGE)?,
        None => [0; 4],
    };
    let destination = Ipv4Addr::from(asked);
    let interface = interface::all()
        .find(|interface| interface.owns_v4(destination))
        .ok_or(Errno::ENETUNREACH)?;
    let own = V4Address {
        address: destination,
        prefix: 32,
    };
    let mut route = v4_route(interface, own, (destination, 32), RTN_LOCAL);
    route.scope = RT_SCOPE_UNIVERSE;
    let mut builder = Builder::new();
    request.begin(&mut builder, RTM_NEWROUTE, NlmFlags::empty());
    describe(&mut builder, &route, RTM_F_CLONED);
    builder.finish();
    request.reply(builder);
    Ok(Answer::Done)
}

fn describe(builder: &mut Builder, route: &Route, flags: u32) {
    let is_answer = flags & RTM_F_CLONED != 0;
    // Which table an answer is from is not told.
    let table = match is_answer {
        true => RT_TABLE_MAIN,
        false => RT_TABLE_LOCAL,
    };
    builder.put(&RtMsg {
        family: route.family as u8,
        dst_len: route.prefix,
        src_len: 0,
        tos: 0,
        table,
        protocol: if is_answer { 0 } else { RTPROT_KERNEL },
        scope: route.scope,
        kind: route.kind,
        flags,
    });
    builder.number(rta::TABLE, u32::from(table));
    builder.attribute(rta::DST, &route.destination);
    if let Some(source) = &route.source {
        builder.attribute(rta::PREFSRC, source);
    } else {
        // The metric that IPv6 has for what the kernel made.
        builder.number(rta::PRIORITY, 0_u32);
    }
    builder.number(rta::OIF, route.index);
}
