//! TCP.
//!
//! | module | what |
//! |---|---|
//! | [`socket`] | a socket as its owner has it: binding, listening, connecting, closing |
//! | [`transfer`] | sending and receiving |
//! | [`cork`] | what is held back because more follows |
//! | [`end`] | what those who wait see: state, errors, readiness |
//! | [`settings`] | options |
//! | [`connection`] | one connection: who runs its protocol, and what comes of it |
//! | [`listener`] | what a SYN makes, and what waits to be accepted |
//! | [`table`] | whose a packet is |
//! | [`stack`] | the protocol: `smoltcp`, one for each connection |
//! | [`segment`] | a packet |
//! | [`timer`] | what is due at a time |
//! | [`urgent`] | urgent data: what is marked and read beside the stream |
//! | [`info`] | `TCP_INFO` |

pub mod connection;
mod cork;
pub mod end;
pub mod info;
pub mod listener;
pub mod segment;
mod settings;
pub mod socket;
mod stack;
pub mod table;
mod timer;
mod transfer;
mod urgent;

pub use segment::{Segment, Summary};
pub use socket::TcpSocket;

use super::ip::Packet;
use table::Kicks;

/// A packet that was not made here; others have seen it.
pub fn input(packet: &Packet) {
    let mut kicks = Kicks::default();
    table::accept(Segment::from(packet), &mut kicks);
    kicks.run();
}
