//! The operations of netlink sockets' files, and `/proc/net/netlink`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::netlink::SockAddrNl;
use abi::poll::PollEvents;
use abi::socket::{
    AF_NETLINK, FIOGETOWN, FIOSETOWN, MsgFlags, SIOCGPGRP, SIOCSPGRP, SOL_SOCKET, Ucred, so,
};
use abi::{Errno, Result};
use zerocopy::IntoBytes;

use super::packet::group_mask;
use super::send::parse;
use super::socket::{NetlinkSocket, Switches};
use super::{PROTOCOLS, table};
use crate::fs::fasync::{self, FasyncList};
use crate::fs::{File, FileOps};
use crate::mm::user::{IoSink, IoSource, UserPtr};
use crate::net::interface;
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

pub(super) fn address(pid: u32, groups: u32) -> NameBytes {
    let address = SockAddrNl {
        family: AF_NETLINK,
        _pad: 0,
        pid,
        groups,
    };
    NameBytes::from_slice(address.as_bytes())
}

impl Socket for NetlinkSocket {
    fn family(&self) -> u16 {
        AF_NETLINK
    }
    fn kind(&self) -> u32 {
        self.kind
    }
    fn protocol(&self) -> i32 {
        i32::from(self.protocol.number)
    }
    fn bind(&self, bytes: &[u8]) -> Result<()> {
        let wanted = parse(bytes)?;
        if wanted.groups != 0 {
            self.check_may_join()?;
            self.switch(Switches::HAS_GROUPS, true);
        }
        if self.bound.load(Ordering::SeqCst) {
            if wanted.pid != self.port() {
                return Err(Errno::EINVAL);
            }
        } else if wanted.pid != 0 {
            table::insert(self, wanted.pid)?;
        } else {
            table::autobind(self)?;
        }
        table::change_groups(self, |groups| {
            groups & !u64::from(u32::MAX) | u64::from(wanted.groups)
        });
        Ok(())
    }

    fn connect(&self, address: &[u8], _flags: MsgFlags) -> Result<()> {
        self.connect_to(address)
    }
    fn own_name(&self) -> Result<NameBytes> {
        let groups = self.groups.load(Ordering::SeqCst);
        Ok(address(self.port(), groups as u32))
    }
    fn peer_name(&self) -> Result<NameBytes> {
        let peer = *self.peer.lock();
        Ok(address(peer.port, group_mask(peer.group)))
    }
    fn shut_down(&self, _how: u32) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    fn send(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        self.send_packet(message)
    }
    fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        self.receive_packet(message)
    }
    fn take_error(&self) -> Result<()> {
        self.take_error()
    }
    fn options(&self) -> &Options {
        &self.options
    }
    fn set_ino(&self, ino: u64) {
        self.ino.store(ino, Ordering::Relaxed);
    }

    fn option(&self, level: i32, option: i32, room: usize) -> Result<OptionBytes> {
        if level != SOL_SOCKET {
            return self.netlink_option(level, option, room);
        }
        let number = match option {
            so::ACCEPTCONN => 0,
            so::PASSCRED => i32::from(self.passcred.load(Ordering::Relaxed)),
            so::SNDBUF => self.send_buffer.load(Ordering::Relaxed),
            so::PEERCRED => {
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
        if level != SOL_SOCKET {
            return self.set_netlink_option(level, option, value);
        }
        let number = UserPtr::<i32>::from(value.addr).read()?;
        match option {
            so::SNDBUF | so::SNDBUFFORCE => {
                let size = buffer_size(number, option == so::SNDBUFFORCE, true)?;
                self.send_buffer.store(size, Ordering::Relaxed);
            }
            so::PASSCRED => self.passcred.store(number != 0, Ordering::Relaxed),
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }
}

impl FileOps for NetlinkSocket {
    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }

    fn read(&self, file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        if sink.remaining() == 0 {
            return Ok(0);
        }
        self.receive_packet(&mut Incoming::new(sink, flags_of(file)))
    }

    fn write(&self, file: &File, source: &mut IoSource<'_>, _pos: &mut u64) -> Result<usize> {
        self.send_packet(&mut Outgoing::plain(source, flags_of(file)))
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.register(&self.readers);
        }
        // What is sent does not wait here: there is always room.
        let mut events = PollEvents::WRITABLE | PollEvents::WRBAND;
        if self.error.load(Ordering::SeqCst) != 0 {
            events |= PollEvents::ERR;
        }
        if self.has_input() {
            events |= PollEvents::READABLE;
        }
        events
    }

    fn ioctl(&self, file: &File, cmd: u32, arg: usize) -> Result<usize> {
        match cmd {
            FIOSETOWN | SIOCSPGRP => {
                let number = UserPtr::<i32>::from(arg).read()?;
                let owner = fasync::owner_from_number(number)?;
                fasync::set_owner(file, owner);
                Ok(0)
            }
            FIOGETOWN | SIOCGPGRP => {
                let number = fasync::owner_number(file);
                UserPtr::from(arg).write(&number).map(|()| 0)
            }
            _ => interface::ioctl(cmd, arg),
        }
    }

    fn release(&self, _file: &File) {
        self.close();
    }

    fn fasync(&self, _file: &File) -> Option<[Option<&FasyncList>; 2]> {
        Some([Some(&self.fasync), None])
    }
}

/// One line of `/proc/net/netlink`.
pub struct Row {
    pub protocol: u8,
    pub port: u32,
    pub groups: u32,
    pub charge: usize,
    pub is_dumping: bool,
    pub references: usize,
    pub drops: u32,
    pub ino: u64,
}

/// The sockets of each protocol: the kernel's own, and those that are bound.
pub fn rows() -> Vec<Row> {
    let own = PROTOCOLS
        .iter()
        .filter(|protocol| protocol.input.is_some())
        .map(|protocol| Row {
            protocol: protocol.number,
            port: 0,
            groups: 0,
            charge: 0,
            is_dumping: false,
            references: 2,
            drops: 0,
            ino: 0,
        });
    let mut rows: Vec<Row> = own.collect();
    rows.extend(table::all().iter().map(|socket| Row {
        protocol: socket.protocol.number,
        port: socket.port(),
        groups: socket.groups.load(Ordering::SeqCst) as u32,
        charge: socket.charge(),
        is_dumping: socket.is_dumping(),
        references: Arc::strong_count(socket),
        drops: socket.drops(),
        ino: socket.ino.load(Ordering::Relaxed),
    }));
    rows.sort_by_key(|row| (row.protocol, row.port));
    rows
}
