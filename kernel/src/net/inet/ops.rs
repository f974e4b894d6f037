//! What the calls and the files of internet sockets do.

use alloc::sync::Arc;
use core::net::SocketAddr;
use core::sync::atomic::Ordering;

use abi::fs::FIONREAD;
use abi::net::{IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, ip, ipv6, tcp};
use abi::poll::PollEvents;
use abi::socket::{MsgFlags, SIOCATMARK, SIOCOUTQ, SOCK_STREAM, SOL_SOCKET, so};
use abi::{Errno, Result};
use zerocopy::IntoBytes;

use super::address::{self, Family};
use super::common::{Common, Switches};
use super::datagram::{DatagramSocket, Flavor};
use super::tcp::end::state;
use super::tcp::{TcpSocket, info};
use crate::fs::fasync::FasyncList;
use crate::fs::{File, FileOps};
use crate::mm::user::{IoSink, IoSource, UserPtr};
use crate::net::message::{Incoming, Outgoing};
use crate::net::options::Options;
use crate::net::socket::{NameBytes, OptionBytes, OptionValue, Socket};
use crate::sync::PollTable;

/// The level of raw sockets' options (`SOL_RAW`), and the one of theirs (`ICMP_FILTER`).
const SOL_RAW: i32 = 255;
const ICMP_FILTER: i32 = 1;

/// `MSG_DONTWAIT` for a file that does not block.
fn flags_of(file: &File) -> MsgFlags {
    if file.nonblocking() {
        MsgFlags::DONTWAIT
    } else {
        MsgFlags::empty()
    }
}

fn number(value: i32) -> OptionBytes {
    OptionBytes::from_slice(value.as_bytes())
}

fn read_number(value: OptionValue) -> Result<i32> {
    if value.len < size_of::<i32>() {
        return Err(Errno::EINVAL);
    }
    UserPtr::<i32>::from(value.addr).read()
}

/// Gives a count to the user of `ioctl`.
fn give(count: usize, arg: usize) -> Result<usize> {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    UserPtr::from(arg).write(&count).map(|()| 0)
}

impl FileOps for TcpSocket {
    fn read(&self, file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        if sink.remaining() == 0 {
            return Ok(0);
        }
        self.receive(&mut Incoming::new(sink, flags_of(file)))
    }

    fn write(&self, file: &File, source: &mut IoSource<'_>, _pos: &mut u64) -> Result<usize> {
        self.send(&mut Outgoing::plain(source, flags_of(file)))
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.register(&self.end.readers);
            table.register(&self.end.writers);
        }
        self.end.events(self.common.options.receive_low_water())
    }

    fn ioctl(&self, file: &File, cmd: u32, arg: usize) -> Result<usize> {
        let is_listener = self.end.state() == state::LISTEN;
        match cmd {
            FIONREAD | SIOCOUTQ if is_listener => Err(Errno::EINVAL),
            FIONREAD => give(self.end.urgent.count(self.end.readable()), arg),
            SIOCATMARK => give(usize::from(self.end.urgent.is_at_mark()), arg),
            SIOCOUTQ => give(self.end.unacknowledged.load(Ordering::SeqCst), arg),
            _ => Common::ioctl(file, cmd, arg),
        }
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
    fn release(&self, _file: &File) {
        self.close();
    }
    fn fasync(&self, _file: &File) -> Option<[Option<&FasyncList>; 2]> {
        Some([Some(&self.end.fasync), None])
    }
    fn urgent_owners(&self) -> Option<&FasyncList> {
        Some(&self.end.urgent.owned)
    }
}

impl Socket for TcpSocket {
    fn family(&self) -> u16 {
        self.common.family.number()
    }
    fn kind(&self) -> u32 {
        SOCK_STREAM
    }
    fn protocol(&self) -> i32 {
        IPPROTO_TCP
    }
    fn options(&self) -> &Options {
        &self.common.options
    }
    fn set_ino(&self, ino: u64) {
        self.end.owner.set(ino);
    }

    fn bind(&self, address: &[u8]) -> Result<()> {
        TcpSocket::bind(self, address)
    }
    fn listen(&self, backlog: i32) -> Result<()> {
        TcpSocket::listen(self, backlog)
    }
    fn connect(&self, address: &[u8], flags: MsgFlags) -> Result<()> {
        TcpSocket::connect(self, address, flags)
    }
    fn accept(&self, flags: MsgFlags) -> Result<Arc<dyn Socket>> {
        Ok(TcpSocket::accept(self, flags)?)
    }
    fn own_name(&self) -> Result<NameBytes> {
        Ok(address::format(self.common.family, self.own_address()))
    }
    fn peer_name(&self) -> Result<NameBytes> {
        Ok(address::format(self.common.family, self.peer_address()?))
    }
    fn shut_down(&self, how: u32) -> Result<()> {
        TcpSocket::shut_down(self, how)
    }
    fn send(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        TcpSocket::send(self, message)
    }
    fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        TcpSocket::receive(self, message)
    }
    fn take_error(&self) -> Result<()> {
        self.end.take_error()
    }

    fn option(&self, level: i32, option: i32, room: usize) -> Result<OptionBytes> {
        match (level, option) {
            (SOL_SOCKET, so::ACCEPTCONN) => {
                Ok(number(i32::from(self.end.state() == state::LISTEN)))
            }
            (IPPROTO_TCP, tcp::INFO) => Ok(OptionBytes::from_slice(info::of(self).as_bytes())),
            (IPPROTO_TCP, tcp::MAXSEG) => Ok(number(self.segment_size())),
            (IPPROTO_TCP, option) => Ok(number(self.settings.get(option)?)),
            _ => narrowed(self.common.option(level, option)?, level, room),
        }
    }

    fn set_option(&self, level: i32, option: i32, value: OptionValue) -> Result<()> {
        match (level, option) {
            (SOL_SOCKET, so::KEEPALIVE) => {
                let on = read_number(value)? != 0;
                self.settings.set_keep_alive(on);
                self.apply(false);
                self.common.options.set(option, i32::from(on))
            }
            (SOL_SOCKET, so::OOBINLINE) => {
                let on = read_number(value)?;
                self.end.urgent.set_inline(on != 0);
                self.common.options.set(option, on)
            }
            (SOL_SOCKET, so::REUSEADDR) => {
                let on = read_number(value)?;
                self.set_reuse(on != 0)?;
                self.common.options.set(option, on)
            }
            (IPPROTO_TCP, option) => {
                self.settings.set(option, read_number(value)?)?;
                // What waited for more goes, even where the socket stays corked.
                let push = option == tcp::NODELAY && self.settings.get(option) == Ok(1);
                self.apply(push);
                Ok(())
            }
            (IPPROTO_IPV6, ipv6::V6ONLY) => {
                let is_bound = self.own_address().port() != 0;
                set_v6only(&self.common, is_bound, value)
            }
            _ => {
                self.common.set_option(level, option, value)?;
                if matches!(
                    (level, option),
                    (IPPROTO_IP, ip::TTL) | (IPPROTO_IPV6, ipv6::UNICAST_HOPS)
                ) {
                    let any = self.own_address().ip();
                    self.settings.set_hop_limit(self.common.ttl_and_tos(any).0);
                    self.apply(false);
                }
                Ok(())
            }
        }
    }
}

impl TcpSocket {
    fn apply(&self, push: bool) {
        if let Some(connection) = self.connection() {
            connection.apply(&self.settings, push);
        }
    }

    /// `TCP_MAXSEG`: the least that every host takes, before there is a connection.
    fn segment_size(&self) -> i32 {
        const LEAST: i32 = 536;
        match self.connection() {
            Some(connection) if connection.local.is_ipv4() => 65535 - 40,
            Some(_) => 65535 - 60,
            None => LEAST,
        }
    }
}

/// # Errors
/// `EINVAL` for a socket that has an address, `ENOPROTOOPT` for one of the other family.
fn set_v6only(common: &Common, is_bound: bool, value: OptionValue) -> Result<()> {
    if common.family == Family::V4 {
        return Err(Errno::ENOPROTOOPT);
    }
    let on = read_number(value)? != 0;
    if is_bound {
        return Err(Errno::EINVAL);
    }
    common.set(Switches::V6ONLY, on);
    Ok(())
}

/// Options of IP fit in a byte where there is room for no more.
fn narrowed(bytes: OptionBytes, level: i32, room: usize) -> Result<OptionBytes> {
    let is_byte = level == IPPROTO_IP && (1..size_of::<i32>()).contains(&room);
    if is_byte
        && bytes
            .get(1..)
            .is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
    {
        return Ok(OptionBytes::from_slice(bytes.get(..1).unwrap_or_default()));
    }
    Ok(bytes)
}

impl FileOps for DatagramSocket {
    fn read(&self, file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        self.receive(&mut Incoming::new(sink, flags_of(file)))
    }

    fn write(&self, file: &File, source: &mut IoSource<'_>, _pos: &mut u64) -> Result<usize> {
        self.send(&mut Outgoing::plain(source, flags_of(file)))
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.register(&self.waiters);
        }
        self.events()
    }

    fn ioctl(&self, file: &File, cmd: u32, arg: usize) -> Result<usize> {
        match cmd {
            FIONREAD => give(self.next_len(), arg),
            // What is sent has arrived.
            SIOCOUTQ => give(0, arg),
            _ => Common::ioctl(file, cmd, arg),
        }
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
    fn release(&self, _file: &File) {
        self.close();
    }
    fn fasync(&self, _file: &File) -> Option<[Option<&FasyncList>; 2]> {
        Some([Some(&self.fasync), None])
    }
}

impl Socket for DatagramSocket {
    fn family(&self) -> u16 {
        self.common.family.number()
    }
    fn kind(&self) -> u32 {
        DatagramSocket::kind(self)
    }
    fn protocol(&self) -> i32 {
        i32::from(DatagramSocket::protocol(self))
    }
    fn options(&self) -> &Options {
        &self.common.options
    }
    fn set_ino(&self, ino: u64) {
        self.common.owner.set(ino);
    }

    fn bind(&self, address: &[u8]) -> Result<()> {
        DatagramSocket::bind(self, address)
    }
    fn connect(&self, address: &[u8], _flags: MsgFlags) -> Result<()> {
        DatagramSocket::connect(self, address)
    }
    fn own_name(&self) -> Result<NameBytes> {
        let any = SocketAddr::new(self.common.family.any(), 0);
        let own = self.local().unwrap_or(any);
        Ok(address::format(self.common.family, own))
    }
    fn peer_name(&self) -> Result<NameBytes> {
        let peer = self.peer().ok_or(Errno::ENOTCONN)?;
        Ok(address::format(self.common.family, peer))
    }
    fn shut_down(&self, how: u32) -> Result<()> {
        DatagramSocket::shut_down(self, how)
    }
    fn send(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        DatagramSocket::send(self, message)
    }
    fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        DatagramSocket::receive(self, message)
    }
    fn take_error(&self) -> Result<()> {
        DatagramSocket::take_error(self)
    }

    fn option(&self, level: i32, option: i32, room: usize) -> Result<OptionBytes> {
        let is_raw = matches!(self.flavor, Flavor::Raw(_));
        match (level, option) {
            (SOL_SOCKET, so::ACCEPTCONN) => Ok(number(0)),
            (IPPROTO_IP, ip::HDRINCL) if is_raw => {
                Ok(number(i32::from(self.common.has(Switches::HDRINCL))))
            }
            (SOL_RAW, ICMP_FILTER) if is_raw => {
                Ok(OptionBytes::from_slice(self.filter().as_bytes()))
            }
            (IPPROTO_UDP, _) if self.flavor == Flavor::Udp => Err(Errno::ENOPROTOOPT),
            _ => narrowed(self.common.option(level, option)?, level, room),
        }
    }

    fn set_option(&self, level: i32, option: i32, value: OptionValue) -> Result<()> {
        let is_raw = matches!(self.flavor, Flavor::Raw(_));
        match (level, option) {
            (IPPROTO_IP, ip::HDRINCL) if is_raw => {
                let on = read_number(value)? != 0;
                self.common.set(Switches::HDRINCL, on);
                Ok(())
            }
            (SOL_RAW, ICMP_FILTER) if is_raw => {
                self.set_filter(read_number(value)? as u32);
                Ok(())
            }
            (SOL_SOCKET, so::REUSEADDR) => {
                let on = read_number(value)?;
                self.set_reuse(on != 0);
                self.common.options.set(option, on)
            }
            (IPPROTO_IPV6, ipv6::V6ONLY) => {
                let is_bound = self.local().is_some_and(|local| local.port() != 0);
                set_v6only(&self.common, is_bound, value)
            }
            _ => self.common.set_option(level, option, value),
        }
    }
}
