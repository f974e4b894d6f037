//! Netlink messages: taking them apart and building them.
//!
//! A datagram holds messages; a message is a header and a payload, often a fixed structure and attributes; an attribute
//! may nest others. [`Messages`] and [`Attributes`] walk over foreign bytes and stop at the first that does not fit, as
//! Linux does; [`Builder`] makes what the kernel sends. Nothing here knows any protocol,
//! but that one has lists of processors ([`cpu_list`]).
//!
//! References: netlink(7), RFC 3549, Linux's `Documentation/userspace-api/netlink`.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

mod build;
mod cpulist;
mod parse;

pub use build::{Builder, Nest};
pub use cpulist::cpu_list;
pub use parse::{Attribute, Attributes, Message, Messages};
