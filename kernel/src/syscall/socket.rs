//! Sockets: making, naming, connecting; sending and receiving bytes. Messages and options have files of their own.

use abi::fs::OpenFlags;
use abi::socket::{MAX_ADDRESS, MsgFlags, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_TYPE_MASK};
use abi::{Errno, Result};
use alloc::sync::Arc;
use smallvec::SmallVec;

use crate::fs::File;
use crate::mm::user::{IoSink, IoSource, UserPtr, copy_in, copy_out};
use crate::net::message::{Incoming, Outgoing};
use crate::net::scm::file_flags;
use crate::net::unix::UnixSocket;
use crate::net::{self, socket_of};
use crate::task::current;

/// An address, copied in.
pub(super) type Address = SmallVec<[u8; MAX_ADDRESS]>;

/// # Errors
/// `EINVAL` for a length that no address has, `EFAULT`.
pub(super) fn read_address(addr: usize, len: i32) -> Result<Address> {
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    if len > MAX_ADDRESS {
        return Err(Errno::EINVAL);
    }
    let mut address = Address::new();
    address.resize(len, 0);
    copy_in(addr, &mut address)?;
    Ok(address)
}

/// Gives an address to the user: as much as there is room for, and its whole length.
pub(super) fn write_address(address: &[u8], addr: usize, len: UserPtr<i32>) -> Result<()> {
    let room = usize::try_from(len.read()?).map_err(|_| Errno::EINVAL)?;
    copy_out(addr, address.get(..room).unwrap_or(address))?;
    len.write(&(address.len() as i32))
}

/// `MSG_DONTWAIT` is implied by a file that does not block.
pub(super) fn with_file_flags(file: &File, flags: u32) -> MsgFlags {
    let flags = MsgFlags::from_bits_retain(flags);
    if file.nonblocking() {
        flags | MsgFlags::DONTWAIT
    } else {
        flags
    }
}

pub(super) fn socket_file(fd: i32) -> Result<Arc<File>> {
    let file = current().my_files().get(fd)?;
    socket_of(&file)?;
    Ok(file)
}

fn split_kind(kind: u32) -> Result<(u32, OpenFlags)> {
    if kind & !SOCK_TYPE_MASK & !(SOCK_CLOEXEC | SOCK_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    Ok((kind & SOCK_TYPE_MASK, file_flags(kind)))
}

pub fn sys_socket(family: i32, kind: u32, protocol: i32) -> Result<usize> {
    let (kind, flags) = split_kind(kind)?;
    let file = net::file_of(net::create(family, kind, protocol)?, flags);
    let cloexec = flags.contains(OpenFlags::CLOEXEC);
    current()
        .my_files()
        .install(file, cloexec)
        .map(|fd| fd.to_ret())
}

pub fn sys_socketpair(
    family: i32,
    kind: u32,
    protocol: i32,
    fds: UserPtr<[i32; 2]>,
) -> Result<usize> {
    let (kind, flags) = split_kind(kind)?;
    let cloexec = flags.contains(OpenFlags::CLOEXEC);
    let task = current();
    let files = task.my_files();
    let first = files.reserve(cloexec)?;
    let second = files.reserve(cloexec)?;
    fds.write(&[first.fd().0, second.fd().0])?;
    let kind = net::pair_kind(family, kind, protocol)?;
    let (a, b) = UnixSocket::pair(kind);
    first.fill(net::file_of(a, flags));
    second.fill(net::file_of(b, flags));
    Ok(0)
}

pub fn sys_bind(fd: i32, addr: usize, len: i32) -> Result<usize> {
    let file = socket_file(fd)?;
    let address = read_address(addr, len)?;
    socket_of(&file)?.bind(&address).map(|()| 0)
}

pub fn sys_listen(fd: i32, backlog: i32) -> Result<usize> {
    let file = socket_file(fd)?;
    socket_of(&file)?.listen(backlog).map(|()| 0)
}

pub fn sys_connect(fd: i32, addr: usize, len: i32) -> Result<usize> {
    let file = socket_file(fd)?;
    let address = read_address(addr, len)?;
    let flags = with_file_flags(&file, 0);
    socket_of(&file)?.connect(&address, flags).map(|()| 0)
}

pub fn sys_accept(fd: i32, addr: usize, len: UserPtr<i32>) -> Result<usize> {
    sys_accept4(fd, addr, len, 0)
}

pub fn sys_accept4(fd: i32, addr: usize, len: UserPtr<i32>, flags: u32) -> Result<usize> {
    let file = current().my_files().get(fd)?;
    if flags & !(SOCK_CLOEXEC | SOCK_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let socket = socket_of(&file)?;
    let flags = file_flags(flags);
    let slot = current()
        .my_files()
        .reserve(flags.contains(OpenFlags::CLOEXEC))?;
    let accepted = socket.accept(with_file_flags(&file, 0))?;
    let peer = accepted.peer_name();
    let accepted = net::file_of(accepted, flags);
    if addr != 0 {
        write_address(&peer.map_err(|_| Errno::ECONNABORTED)?, addr, len)?;
    }
    Ok(slot.fill(accepted).to_ret())
}

pub fn sys_getsockname(fd: i32, addr: usize, len: UserPtr<i32>) -> Result<usize> {
    let file = socket_file(fd)?;
    write_address(&socket_of(&file)?.own_name()?, addr, len).map(|()| 0)
}

pub fn sys_getpeername(fd: i32, addr: usize, len: UserPtr<i32>) -> Result<usize> {
    let file = socket_file(fd)?;
    write_address(&socket_of(&file)?.peer_name()?, addr, len).map(|()| 0)
}

pub fn sys_shutdown(fd: i32, how: u32) -> Result<usize> {
    let file = socket_file(fd)?;
    socket_of(&file)?.shut_down(how).map(|()| 0)
}

pub fn sys_sendto(
    fd: i32,
    buf: usize,
    len: usize,
    flags: u32,
    addr: usize,
    addr_len: i32,
) -> Result<usize> {
    let mut source = IoSource::user(buf, len)?;
    let file = current().my_files().get(fd)?;
    let socket = socket_of(&file)?;
    let address = match addr {
        0 => None,
        _ => Some(read_address(addr, addr_len)?),
    };
    let mut message = Outgoing::plain(&mut source, with_file_flags(&file, flags));
    // An address of no length is none.
    message.address = address.as_deref().filter(|address| !address.is_empty());
    socket.send(&mut message)
}

pub fn sys_recvfrom(
    fd: i32,
    buf: usize,
    len: usize,
    flags: u32,
    addr: usize,
    addr_len: UserPtr<i32>,
) -> Result<usize> {
    let mut sink = IoSink::user(buf, len)?;
    let file = current().my_files().get(fd)?;
    let socket = socket_of(&file)?;
    let mut message = Incoming::new(&mut sink, with_file_flags(&file, flags));
    let received = socket.receive(&mut message)?;
    if addr != 0 {
        write_address(&message.sender.to_address(), addr, addr_len)?;
    }
    Ok(received)
}
