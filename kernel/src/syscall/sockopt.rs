//! `getsockopt` and `setsockopt`: what sockets of every family have of `SOL_SOCKET`; the rest is the family's.

use abi::netlink::SOL_NETLINK;
use abi::socket::{Linger, SOL_SOCKET, so};
use abi::time::Timeval;
use abi::{Errno, Result};
use zerocopy::IntoBytes;

use super::socket::{socket_file, write_address};
use crate::mm::user::{UserPtr, copy_out};
use crate::net::socket::{OptionBytes, OptionValue, Socket};
use crate::net::socket_of;
use crate::net::unix::UnixSocket;

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
        // Most levels of a family look at its length after the name of the option.
        let room = usize::try_from(len.read()?).map_err(|_| Errno::EINVAL)?;
        let bytes = socket.option(level, option, room)?;
        if level == SOL_NETLINK {
            // In whole words; the length is told in full, for those who ask how much there is.
            give(&bytes, value, len, room - room % size_of::<u32>())?;
            return len.write(&(bytes.len() as i32)).map(|()| 0);
        }
        return give(&bytes, value, len, room);
    }
    let room = usize::try_from(len.read()?).map_err(|_| Errno::EINVAL)?;
    match option {
        so::PEERGROUPS => peer_groups(file.ops_as::<UnixSocket>(), value, len, room),
        so::PEERNAME => {
            let address = socket.peer_name()?;
            if address.len() < room {
                return Err(Errno::EINVAL);
            }
            write_address(&address, value, len).map(|()| 0)
        }
        _ => give(&common(socket, option, room)?, value, len, room),
    }
}

/// An option of `SOL_SOCKET` with a value of a fixed size.
fn common(socket: &dyn Socket, option: i32, room: usize) -> Result<OptionBytes> {
    let options = socket.options();
    let bytes = OptionBytes::from_slice;
    let number = match option {
        so::LINGER => return Ok(bytes(options.linger().as_bytes())),
        so::RCVTIMEO | so::RCVTIMEO_NEW => return Ok(bytes(options.timeout(false).as_bytes())),
        so::SNDTIMEO | so::SNDTIMEO_NEW => return Ok(bytes(options.timeout(true).as_bytes())),
        so::TYPE => socket.kind() as i32,
        so::DOMAIN => i32::from(socket.family()),
        so::PROTOCOL => socket.protocol(),
        so::ERROR => socket.take_error().map_or_else(Errno::get, |()| 0),
        _ => match socket.option(SOL_SOCKET, option, room) {
            Err(Errno::ENOPROTOOPT) => options.get(option).ok_or(Errno::ENOPROTOOPT)?,
            answer => return answer,
        },
    };
    Ok(bytes(number.as_bytes()))
}

fn peer_groups(
    socket: Option<&UnixSocket>,
    value: usize,
    len: UserPtr<i32>,
    room: usize,
) -> Result<usize> {
    let cred = socket.and_then(UnixSocket::peer_cred);
    let cred = cred.ok_or(Errno::ENODATA)?;
    let groups = cred.groups.as_bytes();
    len.write(&(groups.len() as i32))?;
    if room < groups.len() {
        return Err(Errno::ERANGE);
    }
    copy_out(value, groups).map(|()| 0)
}

pub fn sys_setsockopt(fd: i32, level: i32, option: i32, value: usize, len: i32) -> Result<usize> {
    if len < 0 {
        return Err(Errno::EINVAL);
    }
    let len = len as usize;
    let file = socket_file(fd)?;
    let socket = socket_of(&file)?;
    let given = OptionValue { addr: value, len };
    if level != SOL_SOCKET {
        return socket.set_option(level, option, given).map(|()| 0);
    }
    if len < size_of::<i32>() {
        return Err(Errno::EINVAL);
    }
    let options = socket.options();
    let number = UserPtr::<i32>::from(value).read()?;
    match option {
        so::TYPE | so::PROTOCOL | so::DOMAIN | so::ERROR | so::SNDLOWAT => {
            return Err(Errno::ENOPROTOOPT);
        }
        so::LINGER => {
            if len < size_of::<Linger>() {
                return Err(Errno::EINVAL);
            }
            options.set_linger(&UserPtr::<Linger>::from(value).read()?);
        }
        so::RCVTIMEO | so::RCVTIMEO_NEW | so::SNDTIMEO | so::SNDTIMEO_NEW => {
            if len < size_of::<Timeval>() {
                return Err(Errno::EINVAL);
            }
            let is_send = matches!(option, so::SNDTIMEO | so::SNDTIMEO_NEW);
            options.set_timeout(is_send, &UserPtr::<Timeval>::from(value).read()?)?;
        }
        _ => match socket.set_option(SOL_SOCKET, option, given) {
            Err(Errno::ENOPROTOOPT) => options.set(option, number)?,
            answer => answer?,
        },
    }
    Ok(0)
}
