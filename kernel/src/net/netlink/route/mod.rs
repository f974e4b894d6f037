//! Interfaces, addresses and routes (`NETLINK_ROUTE`).
//!
//! | module | what |
//! |---|---|
//! | this | which request a message is |
//! | [`link`] | interfaces: asked for, brought up and down |
//! | [`address`] | their addresses |
//! | `table` | routes |
//!
//! There are no routes but those that follow from the interfaces' addresses, and no neighbours.
//!
//! References: rtnetlink(7), RFC 3549; `net/core/rtnetlink.c` for the errors.

pub mod address;
pub mod link;
mod table;

use abi::Errno;
use abi::netlink::route::{
    KIND_GET, KIND_MASK, RTM_BASE, RTM_GETADDR, RTM_GETLINK, RTM_GETNEIGH, RTM_GETROUTE, RTM_MAX,
    RTM_NEWLINK, RTM_SETLINK, RTNLGRP_MAX,
};
use abi::netlink::{NETLINK_ROUTE, NlmFlags};

use super::Protocol;
use super::request::{self, Answer, Dump, Outcome, Request};
use super::send::Sent;
use crate::task::Cap;

pub(super) static PROTOCOL: Protocol = Protocol {
    number: NETLINK_ROUTE,
    groups: RTNLGRP_MAX,
    open_receive: true,
    open_send: false,
    input: Some(input),
    close: None,
};

fn input(sent: &Sent<'_>) {
    request::handle(sent, handle);
}

fn handle(request: &Request<'_>) -> Outcome {
    let kind = request.message.header.kind;
    if kind > RTM_MAX {
        return Err(Errno::EOPNOTSUPP.into());
    }
    // Every request begins with a family.
    let Some(&family) = request.message.payload.first() else {
        return Ok(Answer::Done);
    };
    let asks = (kind - RTM_BASE) & KIND_MASK == KIND_GET;
    if !asks && !request.sent.capable(Cap::NET_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    // Either half of the flag will do here.
    if asks && request.message.flags().intersects(NlmFlags::DUMP) {
        return match kind {
            RTM_GETLINK => link::dump(request),
            RTM_GETADDR => address::dump(request, family),
            RTM_GETROUTE => table::dump(request, family),
            RTM_GETNEIGH => Dump::new(request).finish(),
            _ => Err(Errno::EOPNOTSUPP.into()),
        };
    }
    match kind {
        RTM_GETLINK => link::get(request),
        RTM_NEWLINK => link::new(request),
        RTM_SETLINK => link::set(request),
        RTM_GETROUTE => table::get(request),
        _ => Err(Errno::EOPNOTSUPP.into()),
    }
}
