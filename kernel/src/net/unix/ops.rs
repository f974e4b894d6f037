//! The file operations of local sockets: what `read`, `write`, `poll`, `ioctl` and the last close do.

use core::sync::atomic::Ordering;

use abi::fs::FIONREAD;
use abi::poll::PollEvents;
use abi::socket::{FIOGETOWN, FIOSETOWN, MsgFlags, SIOCGPGRP, SIOCOUTQ, SIOCSPGRP};
use abi::{Errno, Result};

use super::{Kind, RECEIVE, SEND, UnixSocket};
use crate::fs::fasync::{self, FasyncList};
use crate::fs::{File, FileOps};
use crate::mm::user::{IoSink, IoSource, UserPtr};
use crate::net::interface;
use crate::net::message::{Incoming, Outgoing};
use crate::net::socket::Socket;
use crate::sync::PollTable;

/// `MSG_DONTWAIT` for a file that does not block.
fn flags_of(file: &File) -> MsgFlags {
    if file.nonblocking() {
        MsgFlags::DONTWAIT
    } else {
        MsgFlags::empty()
    }
}

impl UnixSocket {
    /// Whether a send of some bytes would not block: a quarter of the limit at most is in use.
    fn is_writable(&self) -> bool {
        if self.end.is_listening() {
            return false;
        }
        let limit = self.end.send_limit.load(Ordering::Relaxed);
        let in_use = match self.kind() {
            Kind::Stream => {
                let peer = self.connected.get();
                peer.map_or(0, |peer| peer.charge.load(Ordering::SeqCst))
            }
            _ => self.end.sent.load(Ordering::SeqCst),
        };
        in_use <= limit / 4
    }

    fn has_input(&self) -> bool {
        self.end.bytes.load(Ordering::SeqCst) != 0 || self.end.count.load(Ordering::SeqCst) != 0
    }

    /// Bytes sent and not received (`SIOCOUTQ`).
    fn unsent(&self) -> usize {
        match (self.kind(), self.connected.get()) {
            (Kind::Stream, Some(peer)) => peer.charge.load(Ordering::SeqCst),
            (Kind::Stream, None) => 0,
            _ => self.end.sent.load(Ordering::SeqCst),
        }
    }
}

impl FileOps for UnixSocket {
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
        let partner = match self.kind() {
            Kind::Dgram => self.partner.lock().clone(),
            _ => None,
        };
        if let Some(table) = table {
            self.end.eager.store(true, Ordering::SeqCst);
            table.register(&self.end.readers);
            table.register(&self.end.writers);
            if let Some(partner) = &partner {
                table.register(&partner.room);
            }
        }
        let mut events = PollEvents::empty();
        if self.end.error.load(Ordering::SeqCst) != 0 {
            events |= PollEvents::ERR;
        }
        let is_open = self.end.is_established() || self.end.is_listening();
        if (self.end.is_shut(RECEIVE) && self.end.is_shut(SEND))
            || (self.kind().connects() && !is_open)
        {
            events |= PollEvents::HUP;
        }
        if self.end.is_shut(RECEIVE) {
            events |= PollEvents::RDHUP | PollEvents::READABLE;
        }
        if self.has_input() {
            events |= PollEvents::READABLE;
        }
        let partner_is_full = partner.is_some_and(|partner| {
            partner.is_full()
                && partner.partner_id.load(Ordering::SeqCst) != self.end.id()
                && !partner.is_dead()
        });
        if self.is_writable() && !partner_is_full {
            events |= PollEvents::WRITABLE | PollEvents::WRBAND;
        } else {
            self.end.wants_room.store(true, Ordering::SeqCst);
        }
        events
    }

    fn ioctl(&self, file: &File, cmd: u32, arg: usize) -> Result<usize> {
        let count = match cmd {
            FIONREAD if self.end.is_listening() => return Err(Errno::EINVAL),
            FIONREAD => match self.kind() {
                Kind::Stream => self.end.bytes.load(Ordering::SeqCst),
                _ => self.packet_bytes(),
            },
            SIOCOUTQ => self.unsent(),
            FIOSETOWN | SIOCSPGRP => {
                let number = UserPtr::<i32>::from(arg).read()?;
                let owner = fasync::owner_from_number(number)?;
                fasync::set_owner(file, owner);
                return Ok(0);
            }
            FIOGETOWN | SIOCGPGRP => {
                let number = fasync::owner_number(file);
                return UserPtr::from(arg).write(&number).map(|()| 0);
            }
            _ => return interface::ioctl(cmd, arg),
        };
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        UserPtr::from(arg).write(&count).map(|()| 0)
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
}
