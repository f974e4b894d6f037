//! Internet sockets over the loopback interface: what their cases share.
//!
//! | module | what |
//! |---|---|
//! | [`interface`] | interfaces by `ioctl` |
//! | [`udp`] | datagrams |
//! | [`tcp`] | streams: connecting, accepting, ending |
//! | [`stream`] | streams: bytes, readiness, files to and from |
//! | [`cork`] | streams: bytes that wait for more |
//! | [`urgent`] | streams: urgent data |
//! | [`raw`] | ICMP and raw packets |
//! | [`proc`] | `/proc/net` and `/proc/sys/net` |

pub mod cork;
pub mod interface;
pub mod proc;
pub mod raw;
pub mod stream;
pub mod tcp;
pub mod udp;
pub mod urgent;

use libc::{AF_INET, AF_INET6, SOL_SOCKET, c_int};

use crate::check::*;
use crate::sys::*;

pub type Socket = i32;

/// 127.0.0.1 and a port.
pub const LOCAL: [u8; 4] = [127, 0, 0, 1];

pub fn socket(family: c_int, kind: c_int, protocol: c_int) -> Sys<Socket> {
    sys!(SYS_socket, family, kind, protocol).map(|fd| fd as i32)
}

/// `struct sockaddr_in`.
pub fn v4(address: [u8; 4], port: u16) -> Vec<u8> {
    let mut bytes = (AF_INET as u16).to_ne_bytes().to_vec();
    bytes.extend(port.to_be_bytes());
    bytes.extend(address);
    bytes.extend([0; 8]);
    bytes
}

/// `struct sockaddr_in6`, the last two words of its address given.
pub fn v6(words: [u16; 8], port: u16) -> Vec<u8> {
    let mut bytes = (AF_INET6 as u16).to_ne_bytes().to_vec();
    bytes.extend(port.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    bytes.extend([0; 4]);
    bytes
}

/// ::1 and a port.
pub fn local6(port: u16) -> Vec<u8> {
    v6([0, 0, 0, 0, 0, 0, 0, 1], port)
}

pub fn local(port: u16) -> Vec<u8> {
    v4(LOCAL, port)
}

pub fn bind(fd: Socket, address: &[u8]) -> Sys {
    sys!(SYS_bind, fd, address.as_ptr(), address.len())
}

pub fn connect(fd: Socket, address: &[u8]) -> Sys {
    sys!(SYS_connect, fd, address.as_ptr(), address.len())
}

pub fn listen(fd: Socket, backlog: i32) -> Sys {
    sys!(SYS_listen, fd, backlog)
}

pub fn accept(fd: Socket) -> Sys<Socket> {
    sys!(SYS_accept4, fd, 0, 0, 0).map(|fd| fd as i32)
}

pub fn send(fd: Socket, bytes: &[u8], flags: i32) -> Sys {
    sys!(SYS_sendto, fd, bytes.as_ptr(), bytes.len(), flags, 0, 0)
}

pub fn send_to(fd: Socket, bytes: &[u8], address: &[u8]) -> Sys {
    sys!(
        SYS_sendto,
        fd,
        bytes.as_ptr(),
        bytes.len(),
        0,
        address.as_ptr(),
        address.len()
    )
}

pub fn recv(fd: Socket, len: usize, flags: i32) -> Sys<Vec<u8>> {
    let mut bytes = vec![0; len];
    let count = sys!(SYS_recvfrom, fd, bytes.as_mut_ptr(), len, flags, 0, 0)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Receives one datagram, and whose it is.
pub fn recv_from(fd: Socket, flags: i32) -> Sys<(Vec<u8>, Vec<u8>)> {
    let mut bytes = vec![0; 65536];
    let mut from = [0_u8; 64];
    let mut len = from.len() as u32;
    let count = sys!(
        SYS_recvfrom,
        fd,
        bytes.as_mut_ptr(),
        bytes.len(),
        flags,
        from.as_mut_ptr(),
        &mut len
    )?;
    bytes.truncate(count);
    Ok((bytes, from.get(..len as usize).unwrap_or_default().to_vec()))
}

fn name_by(number: i64, fd: Socket) -> Sys<Vec<u8>> {
    let mut bytes = [0_u8; 128];
    let mut len = bytes.len() as u32;
    let args = [
        fd as usize,
        bytes.as_mut_ptr() as usize,
        &raw mut len as usize,
    ];
    call(number, &args)?;
    Ok(bytes.get(..len as usize).unwrap_or_default().to_vec())
}

pub fn own_name(fd: Socket) -> Sys<Vec<u8>> {
    name_by(libc::SYS_getsockname, fd)
}

pub fn peer_name(fd: Socket) -> Sys<Vec<u8>> {
    name_by(libc::SYS_getpeername, fd)
}

/// The port in an address.
pub fn port_in(address: &[u8]) -> u16 {
    address
        .get(2..4)
        .map_or(0, |port| u16::from(port[0]) << 8 | u16::from(port[1]))
}

pub fn own_port(fd: Socket) -> Sys<u16> {
    Ok(port_in(&own_name(fd)?))
}

pub fn option<T: Copy>(fd: Socket, level: i32, option: i32) -> Sys<T> {
    let mut value = zeroed::<T>();
    let mut len = size_of::<T>() as u32;
    sys!(SYS_getsockopt, fd, level, option, &mut value, &mut len)?;
    Ok(value)
}

pub fn set_option<T: Copy>(fd: Socket, level: i32, option: i32, value: T) -> Sys {
    let mut value = value;
    sys!(
        SYS_setsockopt,
        fd,
        level,
        option,
        &mut value,
        size_of::<T>()
    )
}

pub fn switch(fd: Socket, name: i32) -> Sys {
    set_option(fd, SOL_SOCKET, name, 1_i32)
}

/// `SO_ERROR`.
pub fn error_of(fd: Socket) -> Sys<i32> {
    option(fd, SOL_SOCKET, libc::SO_ERROR)
}

pub fn shutdown(fd: Socket, how: i32) -> Sys {
    sys!(SYS_shutdown, fd, how)
}

/// The events that a poll for all of them finds.
pub fn events(fd: Socket) -> Sys<i16> {
    poll_one(fd, 0x3fff, 0)
}

/// Waits until one of these events is there, and answers all that are.
pub fn await_events(fd: Socket, events: i16) -> Sys<i16> {
    poll_one(fd, events, 10_000)?;
    poll_one(fd, 0x3fff, 0)
}

/// Brings the loopback interface up.
pub fn up() -> Outcome {
    interface::set_up(true)
}

/// A UDP socket bound to a port of 127.0.0.1, and the port.
pub fn udp_bound() -> Outcome<(Socket, u16)> {
    let fd = socket(AF_INET, libc::SOCK_DGRAM, 0)?;
    bind(fd, &local(0))?;
    Ok((fd, own_port(fd)?))
}

/// A TCP socket that listens on 127.0.0.1, and its port.
pub fn listener(backlog: i32) -> Outcome<(Socket, u16)> {
    let fd = socket(AF_INET, libc::SOCK_STREAM, 0)?;
    bind(fd, &local(0))?;
    listen(fd, backlog)?;
    Ok((fd, own_port(fd)?))
}

/// Two sockets connected to each other by TCP: who connected, who accepted.
pub fn tcp_pair() -> Outcome<(Socket, Socket)> {
    up()?;
    let (server, port) = listener(1)?;
    let client = socket(AF_INET, libc::SOCK_STREAM, 0)?;
    connect(client, &local(port))?;
    let accepted = accept(server)?;
    close(server)?;
    Ok((client, accepted))
}
