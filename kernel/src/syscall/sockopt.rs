//! `getsockopt` and `setsockopt`. Local sockets have the options of `SOL_SOCKET` and no others.

use core::sync::atomic::Ordering;

use abi::socket::{AF_UNIX, Linger, SOL_SOCKET, Ucred, so};
use abi::time::Timeval;
use abi::{Errno, Result};
use zerocopy::IntoBytes;

use super::socket::{socket_file, write_address};
use crate::mm::user::{UserPtr, copy_out};
use crate::net::options::buffer_size;
use crate::net::socket_of;
use crate::net::unix::{UnixSocket, name};

/// Gives a value to the user: as much as there is room for, and the length given.
fn give(value: &[u8], out: usize, len: UserPtr<i32>, room: usize) -> Result<usize> {
    let shown = value.get(..room).unwrap_or(value);
    copy_out(out, shown)?;
    len.write(&(shown.len() as i32))?;
    Ok(0)
}

pub fn sys_getsockopt(
    fd: i32,
    level: i32,
    option: i32,
    value: usize,
    len: UserPtr<i32>,
) -> Result<usize> {
    let file = socket_file(fd)?;
    let socket = socket_of(&file)?;
    if level != SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP);
    }
    let room = usize::try_from(len.read()?).map_err(|_| Errno::EINVAL)?;
    match option {
        so::LINGER => give(socket.options.linger().as_bytes(), value, len, room),
        so::RCVTIMEO | so::RCVTIMEO_NEW => {
            give(socket.options.timeout(false).as_bytes(), value, len, room)
        }
        so::SNDTIMEO | so::SNDTIMEO_NEW => {
            give(socket.options.timeout(true).as_bytes(), value, len, room)
        }
        so::PEERCRED => {
            let nobody = Ucred {
                pid: 0,
                uid: u32::MAX,
                gid: u32::MAX,
            };
            let cred = socket.peer_cred().map_or(nobody, |cred| cred.ucred);
            give(cred.as_bytes(), value, len, room)
        }
        so::PEERGROUPS => peer_groups(socket, value, len, room),
        so::PEERNAME => {
            let peer = socket.peer().ok_or(Errno::ENOTCONN)?;
            let address = name::address_of(peer.name.get());
            if address.len() < room {
                return Err(Errno::EINVAL);
            }
            write_address(&address, value, len).map(|()| 0)
        }
        _ => {
            let number = number_of(socket, option)?;
            give(number.as_bytes(), value, len, room)
        }
    }
}

fn peer_groups(socket: &UnixSocket, value: usize, len: UserPtr<i32>, room: usize) -> Result<usize> {
    let cred = socket.peer_cred().ok_or(Errno::ENODATA)?;
    let groups = cred.groups.as_bytes();
    len.write(&(groups.len() as i32))?;
    if room < groups.len() {
        return Err(Errno::ERANGE);
    }
    copy_out(value, groups).map(|()| 0)
}

/// Options whose value is a number.
fn number_of(socket: &UnixSocket, option: i32) -> Result<i32> {
    let end = &socket.end;
    Ok(match option {
        so::TYPE => socket.kind().number() as i32,
        so::DOMAIN => i32::from(AF_UNIX),
        so::PROTOCOL => 0,
        so::ERROR => end.error.swap(0, Ordering::SeqCst),
        so::ACCEPTCONN => i32::from(end.is_listening()),
        so::PASSCRED => i32::from(end.passcred.load(Ordering::Relaxed)),
        so::SNDBUF => end.send_limit.load(Ordering::Relaxed) as i32,
        _ => return socket.options.get(option).ok_or(Errno::ENOPROTOOPT),
    })
}

pub fn sys_setsockopt(fd: i32, level: i32, option: i32, value: usize, len: i32) -> Result<usize> {
    if len < 0 {
        return Err(Errno::EINVAL);
    }
    let file = socket_file(fd)?;
    let socket = socket_of(&file)?;
    if level != SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP);
    }
    if (len as usize) < size_of::<i32>() {
        return Err(Errno::EINVAL);
    }
    let number = UserPtr::<i32>::from(value).read()?;
    match option {
        so::TYPE | so::PROTOCOL | so::DOMAIN | so::ERROR | so::SNDLOWAT => {
            return Err(Errno::ENOPROTOOPT);
        }
        so::SNDBUF | so::SNDBUFFORCE => {
            let size = buffer_size(number, option == so::SNDBUFFORCE, true)?;
            socket
                .end
                .send_limit
                .store(size as usize, Ordering::Relaxed);
            // There may be room now.
            socket.end.writers.wake_all();
        }
        so::PASSCRED => socket.end.passcred.store(number != 0, Ordering::Relaxed),
        so::LINGER => {
            if (len as usize) < size_of::<Linger>() {
                return Err(Errno::EINVAL);
            }
            socket
                .options
                .set_linger(&UserPtr::<Linger>::from(value).read()?);
        }
        so::RCVTIMEO | so::RCVTIMEO_NEW | so::SNDTIMEO | so::SNDTIMEO_NEW => {
            if (len as usize) < size_of::<Timeval>() {
                return Err(Errno::EINVAL);
            }
            let is_send = matches!(option, so::SNDTIMEO | so::SNDTIMEO_NEW);
            socket
                .options
                .set_timeout(is_send, &UserPtr::<Timeval>::from(value).read()?)?;
        }
        _ => socket.options.set(option, number)?,
    }
    Ok(0)
}
