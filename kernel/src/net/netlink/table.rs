//! Port numbers and group members of each protocol.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, Ordering};

use abi::netlink::MAX_LINKS;
use abi::{Errno, Result};

use super::Protocol;
use super::packet::Packet;
use super::socket::{Delivery, NetlinkSocket, Switches};
use crate::sync::Mutex;
use crate::task;

/// The sockets of one protocol.
struct Table {
    ports: BTreeMap<u32, Arc<NetlinkSocket>>,
    /// Those in some group.
    members: Vec<Arc<NetlinkSocket>>,
}

static TABLES: [Mutex<Table>; MAX_LINKS] = [const {
    Mutex::new(Table {
        ports: BTreeMap::new(),
        members: Vec::new(),
    })
}; MAX_LINKS];

fn table_of(protocol: &Protocol) -> &'static Mutex<Table> {
    // Protocols are the kernel's own, all below the number of tables.
    &TABLES[usize::from(protocol.number) % MAX_LINKS]
}

/// Binds the socket to a port.
///
/// # Errors
/// `EADDRINUSE` if another has it, `EBUSY` if this one has got another meanwhile.
pub fn insert(socket: &NetlinkSocket, port: u32) -> Result<()> {
    let mut table = table_of(socket.protocol).lock();
    insert_locked(&mut table, socket, port)
}

fn insert_locked(table: &mut Table, socket: &NetlinkSocket, port: u32) -> Result<()> {
    if socket.bound.load(Ordering::SeqCst) {
        return match socket.port() == port {
            true => Ok(()),
            false => Err(Errno::EBUSY),
        };
    }
    // The kernel's own.
    if port == 0 || table.ports.contains_key(&port) {
        return Err(Errno::EADDRINUSE);
    }
    let counted = socket.counted().ok_or(Errno::EBADF)?;
    table.ports.insert(port, counted);
    socket.port.store(port, Ordering::SeqCst);
    socket.bound.store(true, Ordering::SeqCst);
    Ok(())
}

/// Gives the socket a port of the kernel's choice, unless it has one: the process's number, or if that is taken one
/// that no process has.
pub fn autobind(socket: &NetlinkSocket) -> Result<()> {
    /// Counts down; numbers near 0 could be mistaken for errors.
    static ROVER: AtomicI32 = AtomicI32::new(-4097);
    let mut table = table_of(socket.protocol).lock();
    if socket.bound.load(Ordering::SeqCst) {
        return Ok(());
    }
    let mut port = task::current().process.pid.0 as u32;
    while table.ports.contains_key(&port) || port == 0 {
        let next = ROVER.fetch_sub(1, Ordering::Relaxed);
        if next >= -4096 {
            ROVER.store(-4097, Ordering::Relaxed);
            continue;
        }
        port = next as u32;
    }
    insert_locked(&mut table, socket, port)
}

/// The socket at a port.
pub fn find(protocol: &Protocol, port: u32) -> Option<Arc<NetlinkSocket>> {
    table_of(protocol).lock().ports.get(&port).cloned()
}

/// Changes the groups that the socket is in.
pub fn change_groups(socket: &NetlinkSocket, change: impl FnOnce(u64) -> u64) {
    let mut table = table_of(socket.protocol).lock();
    let before = socket.groups.load(Ordering::SeqCst);
    let after = change(before);
    socket.groups.store(after, Ordering::SeqCst);
    let mut left = None;
    if before == 0 && after != 0 {
        if let Some(counted) = socket.counted() {
            table.members.push(counted);
        }
    } else if before != 0 && after == 0 {
        left = take_member(&mut table, socket);
    }
    drop(table);
    drop(left);
}

fn take_member(table: &mut Table, socket: &NetlinkSocket) -> Option<Arc<NetlinkSocket>> {
    let place = table
        .members
        .iter()
        .position(|member| core::ptr::eq(Arc::as_ptr(member), socket))?;
    Some(table.members.swap_remove(place))
}

/// Takes a socket that is being closed out of everything.
pub fn leave(socket: &NetlinkSocket) {
    let mut table = table_of(socket.protocol).lock();
    let mut port = None;
    if socket.bound.swap(false, Ordering::SeqCst) {
        port = table.ports.remove(&socket.port());
    }
    socket.groups.store(0, Ordering::SeqCst);
    let member = take_member(&mut table, socket);
    drop(table);
    drop((port, member));
}

/// Whether anybody is in the group.
pub fn has_listeners(protocol: &Protocol, group: u32) -> bool {
    let table = table_of(protocol).lock();
    let mut members = table.members.iter();
    members.any(|member| is_in(member, group))
}

fn is_in(socket: &NetlinkSocket, group: u32) -> bool {
    let bit = group
        .checked_sub(1)
        .and_then(|shift| 1_u64.checked_shl(shift));
    bit.is_some_and(|bit| socket.groups.load(Ordering::SeqCst) & bit != 0)
}

/// Sends to all of a group but those at the ports of the sender and `except`, 0 for the kernel's own messages.
///
/// # Errors
/// `ESRCH` if nobody got it, `ENOBUFS` if somebody who wants it told did not.
pub fn broadcast(protocol: &Protocol, packet: &Arc<Packet>, except: u32) -> Result<()> {
    let members: Vec<Arc<NetlinkSocket>> = {
        let table = table_of(protocol).lock();
        let members = table.members.iter();
        members
            .filter(|member| is_in(member, packet.group))
            .cloned()
            .collect()
    };
    let (mut delivered, mut failed) = (false, false);
    for member in members {
        if member.port() == except || (packet.port != 0 && member.port() == packet.port) {
            continue;
        }
        match member.try_deliver(packet.clone()) {
            Delivery::Done => delivered = true,
            Delivery::Full(_) => {
                member.overrun();
                failed |= member.has(Switches::BROADCAST_ERROR);
            }
            Delivery::Gone => {}
        }
    }
    match (failed, delivered) {
        (true, _) => Err(Errno::ENOBUFS),
        (false, true) => Ok(()),
        (false, false) => Err(Errno::ESRCH),
    }
}

/// The bound sockets of every protocol, in order of protocol and port.
pub fn all() -> Vec<Arc<NetlinkSocket>> {
    let mut all = Vec::new();
    for table in &TABLES {
        all.extend(table.lock().ports.values().cloned());
    }
    all
}
