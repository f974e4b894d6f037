//! A local socket as the calls see it.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::socket::{AF_UNIX, MsgFlags, SOL_SOCKET, Ucred, so};
use abi::{Errno, Result};
use zerocopy::IntoBytes;

use super::{UnixSocket, name};
use crate::mm::user::UserPtr;
use crate::net::message::{Incoming, Outgoing};
use crate::net::options::{Options, buffer_size};
use crate::net::socket::{NameBytes, OptionBytes, OptionValue, Socket};

impl UnixSocket {
    /// Options whose value is a number.
    fn number_of(&self, option: i32) -> Result<i32> {
        let end = &self.end;
        Ok(match option {
            so::ACCEPTCONN => i32::from(end.is_listening()),
            so::PASSCRED => i32::from(end.passcred.load(Ordering::Relaxed)),
            so::SNDBUF => end.send_limit.load(Ordering::Relaxed) as i32,
            _ => return Err(Errno::ENOPROTOOPT),
        })
    }
}

impl Socket for UnixSocket {
    fn family(&self) -> u16 {
        AF_UNIX
    }
    fn kind(&self) -> u32 {
        self.end.kind.number()
    }
    fn options(&self) -> &Options {
        &self.options
    }

    fn bind(&self, address: &[u8]) -> Result<()> {
        UnixSocket::bind(self, address)
    }
    fn listen(&self, backlog: i32) -> Result<()> {
        UnixSocket::listen(self, backlog)
    }
    fn connect(&self, address: &[u8], flags: MsgFlags) -> Result<()> {
        UnixSocket::connect(self, address, flags)
    }
    fn accept(&self, flags: MsgFlags) -> Result<Arc<dyn Socket>> {
        Ok(UnixSocket::accept(self, flags)?)
    }
    fn own_name(&self) -> Result<NameBytes> {
        let name = name::address_of(self.end.name.get());
        Ok(NameBytes::from_vec(name))
    }
    fn peer_name(&self) -> Result<NameBytes> {
        let peer = self.peer().ok_or(Errno::ENOTCONN)?;
        let name = name::address_of(peer.name.get());
        Ok(NameBytes::from_vec(name))
    }
    fn shut_down(&self, how: u32) -> Result<()> {
        UnixSocket::shut_down(self, how)
    }
    #[inline]
    fn send(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        UnixSocket::send(self, message)
    }
    #[inline]
    fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        UnixSocket::receive(self, message)
    }

    fn take_error(&self) -> Result<()> {
        self.end.take_error()
    }

    fn option(&self, level: i32, option: i32, _room: usize) -> Result<OptionBytes> {
        if level != SOL_SOCKET {
            return Err(Errno::EOPNOTSUPP);
        }
        if option == so::PEERCRED {
            let nobody = Ucred {
                pid: 0,
                uid: u32::MAX,
                gid: u32::MAX,
            };
            let cred = self.peer_cred().map_or(nobody, |cred| cred.ucred);
            return Ok(OptionBytes::from_slice(cred.as_bytes()));
        }
        let number = self.number_of(option)?;
        Ok(OptionBytes::from_slice(number.as_bytes()))
    }

    fn set_option(&self, level: i32, option: i32, value: OptionValue) -> Result<()> {
        if level != SOL_SOCKET {
            return Err(Errno::EOPNOTSUPP);
        }
        let number = UserPtr::<i32>::from(value.addr).read()?;
        match option {
            so::SNDBUF | so::SNDBUFFORCE => {
                let size = buffer_size(number, option == so::SNDBUFFORCE, true)?;
                self.end.send_limit.store(size as usize, Ordering::Relaxed);
                // There may be room now.
                self.end.writers.wake_all();
            }
            so::PASSCRED => self.end.passcred.store(number != 0, Ordering::Relaxed),
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }
}
