//! The operations of packet sockets' files, and `/proc/net/packet`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::fs::FIONREAD;
use abi::packet::SOL_PACKET;
use abi::poll::PollEvents;
use abi::socket::{AF_PACKET, MsgFlags, SIOCOUTQ, SOL_SOCKET, Ucred, so};
use abi::{Errno, Result};
use zerocopy::IntoBytes;

use super::socket::PacketSocket;
use crate::fs::fasync::FasyncList;
use crate::fs::{File, FileOps};
use crate::mm::user::{IoSink, IoSource, UserPtr};
use crate::net::inet::common::Common;
use crate::net::message::{Incoming, Outgoing};
use crate::net::options::{Options, buffer_size};
use crate::net::socket::{NameBytes, OptionBytes, OptionValue, Socket};
use crate::sync::PollTable;

/// `MSG_DONTWAIT` for a file that does not block.
fn flags_of(file: &File) -> MsgFlags {
    if file.nonblocking() {
        MsgFlags::DONTWAIT
    } else {
        MsgFlags::empty()
    }
}

/// Gives a count to the user of `ioctl`.
fn give(count: usize, arg: usize) -> Result<usize> {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    UserPtr::from(arg).write(&count).map(|()| 0)
}

impl Socket for PacketSocket {
    fn family(&self) -> u16 {
        AF_PACKET
    }
    fn kind(&self) -> u32 {
        self.kind
    }
    fn options(&self) -> &Options {
        &self.options
    }
    fn set_ino(&self, ino: u64) {
        self.owner.set(ino);
    }

    fn bind(&self, address: &[u8]) -> Result<()> {
        PacketSocket::bind(self, address)
    }
    fn connect(&self, _address: &[u8], _flags: MsgFlags) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    fn own_name(&self) -> Result<NameBytes> {
        Ok(PacketSocket::own_name(self))
    }
    fn peer_name(&self) -> Result<NameBytes> {
        Err(Errno::EOPNOTSUPP)
    }
    fn shut_down(&self, _how: u32) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    fn send(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        PacketSocket::send(self, message)
    }
    fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        PacketSocket::receive(self, message)
    }
    fn take_error(&self) -> Result<()> {
        PacketSocket::take_error(self)
    }

    fn option(&self, level: i32, option: i32, _room: usize) -> Result<OptionBytes> {
        let number = match (level, option) {
            (SOL_PACKET, option) => return self.packet_option(option),
            (SOL_SOCKET, so::ACCEPTCONN) => 0,
            (SOL_SOCKET, so::SNDBUF) => self.send_buffer.load(Ordering::Relaxed),
            (SOL_SOCKET, so::LOCK_FILTER) => i32::from(self.filter.lock().is_locked()),
            (SOL_SOCKET, so::PEERCRED) => {
                let nobody = Ucred {
                    pid: 0,
                    uid: u32::MAX,
                    gid: u32::MAX,
                };
                return Ok(OptionBytes::from_slice(nobody.as_bytes()));
            }
            _ => return Err(Errno::ENOPROTOOPT),
        };
        Ok(OptionBytes::from_slice(number.as_bytes()))
    }

    fn set_option(&self, level: i32, option: i32, value: OptionValue) -> Result<()> {
        if level == SOL_PACKET {
            return self.set_packet_option(option, value);
        }
        if level != SOL_SOCKET {
            return Err(Errno::ENOPROTOOPT);
        }
        let number = UserPtr::<i32>::from(value.addr).read()?;
        match option {
            so::SNDBUF | so::SNDBUFFORCE => {
                let size = buffer_size(number, option == so::SNDBUFFORCE, true)?;
                self.send_buffer.store(size, Ordering::Relaxed);
                Ok(())
            }
            so::ATTACH_FILTER => self.attach_filter(value),
            so::DETACH_FILTER => self.detach_filter(),
            so::LOCK_FILTER => self.lock_filter(number != 0),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }
}

impl FileOps for PacketSocket {
    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }

    fn read(&self, file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        PacketSocket::receive(self, &mut Incoming::new(sink, flags_of(file)))
    }

    fn write(&self, file: &File, source: &mut IoSource<'_>, _pos: &mut u64) -> Result<usize> {
        PacketSocket::send(self, &mut Outgoing::plain(source, flags_of(file)))
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.register(&self.readers);
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

    fn release(&self, _file: &File) {
        self.close();
    }

    fn fasync(&self, _file: &File) -> Option<[Option<&FasyncList>; 2]> {
        Some([Some(&self.fasync), None])
    }
}

/// One line of `/proc/net/packet`.
pub struct Row {
    pub references: usize,
    pub kind: u32,
    pub protocol: u16,
    pub ifindex: u32,
    pub is_running: bool,
    pub charge: usize,
    pub uid: u32,
    pub ino: u64,
}

/// Every socket, the eldest first.
pub fn rows() -> Vec<Row> {
    let sockets = super::SOCKETS.read().clone();
    let row = |socket: &Arc<PacketSocket>| Row {
        // Beside the one of this listing.
        references: Arc::strong_count(socket).saturating_sub(1),
        kind: socket.kind,
        protocol: socket.bound().protocol,
        ifindex: socket.bound().ifindex,
        is_running: socket.is_running(),
        charge: socket.charge(),
        uid: socket.owner.uid(),
        ino: socket.owner.ino(),
    };
    sockets.iter().map(row).collect()
}
