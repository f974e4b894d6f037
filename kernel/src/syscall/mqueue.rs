//! POSIX message queues.

use alloc::boxed::Box;

use abi::mqueue::{MQ_PRIO_MAX, MqAttr};
use abi::signal::{SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD, SigEvent, Signo};
use abi::time::Timespec;
use abi::{Errno, Result};

use crate::ipc::mqueue::{self, Cookie, Deadline, Request};
use crate::mm::user::{UserCStr, UserPtr, copy_in, copy_out};
use crate::net;
use crate::net::netlink::NetlinkSocket;
use crate::task::{current, try_zeroed};

pub fn sys_mq_open(name: UserCStr, flags: u32, mode: u32, attr: UserPtr<MqAttr>) -> Result<usize> {
    let attr = attr.read_opt()?;
    let name = name.read_path()?;
    let slot = current().my_files().reserve(true)?;
    let file = mqueue::open(&name, flags, mode, attr.as_ref())?;
    let fd = slot.fd().0 as usize;
    slot.fill(file);
    Ok(fd)
}

pub fn sys_mq_unlink(name: UserCStr) -> Result<usize> {
    mqueue::unlink(&name.read_path()?).map(|()| 0)
}

fn deadline(timeout: UserPtr<Timespec>) -> Result<Deadline> {
    let ns = match timeout.read_opt()? {
        None => None,
        Some(time) => Some(time.to_ns().ok_or(Errno::EINVAL)?),
    };
    Ok(Deadline(ns))
}

pub fn sys_mq_timedsend(
    fd: i32,
    message: usize,
    len: usize,
    priority: u32,
    timeout: UserPtr<Timespec>,
) -> Result<usize> {
    let deadline = deadline(timeout)?;
    if priority >= MQ_PRIO_MAX {
        return Err(Errno::EINVAL);
    }
    let file = current().my_files().get(fd)?;
    let text = || {
        let mut text = try_zeroed(len)?;
        copy_in(message, &mut text)?;
        Ok(text.into_vec())
    };
    mqueue::send(&file, len, priority, deadline, text).map(|()| 0)
}

pub fn sys_mq_timedreceive(
    fd: i32,
    message: usize,
    len: usize,
    priority: UserPtr<u32>,
    timeout: UserPtr<Timespec>,
) -> Result<usize> {
    let deadline = deadline(timeout)?;
    let file = current().my_files().get(fd)?;
    let received = mqueue::receive(&file, len, deadline)?;
    priority.write_opt(&received.priority)?;
    copy_out(message, &received.text)?;
    Ok(received.text.len())
}

pub fn sys_mq_notify(fd: i32, event: UserPtr<SigEvent>) -> Result<usize> {
    let request = match event.read_opt()? {
        None => None,
        Some(event) => Some(request(&event)?),
    };
    let file = current().my_files().get(fd)?;
    mqueue::notify(&file, request).map(|()| 0)
}

fn request(event: &SigEvent) -> Result<Request> {
    match event.sigev_notify {
        SIGEV_NONE => Ok(Request::Nothing),
        SIGEV_SIGNAL => match event.sigev_signo {
            0 => Ok(Request::Signal(None, event.sigev_value)),
            signo => {
                let signo = Signo::new(signo).ok_or(Errno::EINVAL)?;
                Ok(Request::Signal(Some(signo), event.sigev_value))
            }
        },
        SIGEV_THREAD => {
            let mut cookie = Cookie::default();
            copy_in(event.sigev_value as usize, &mut cookie)?;
            let file = current().my_files().get(event.sigev_signo)?;
            net::socket_of(&file)?;
            let socket = file
                .ops_as::<NetlinkSocket>()
                .and_then(NetlinkSocket::counted)
                .ok_or(Errno::EINVAL)?;
            socket.await_room_for(cookie.len())?;
            let send = move |cookie: &Cookie| socket.deliver_promised(cookie.to_vec());
            Ok(Request::Thread(Box::new(send), cookie))
        }
        _ => Err(Errno::EINVAL),
    }
}

pub fn sys_mq_getsetattr(fd: i32, new: UserPtr<MqAttr>, old: UserPtr<MqAttr>) -> Result<usize> {
    let new = new.read_opt()?;
    let before = mqueue::get_set_attr(fd, new.as_ref())?;
    old.write_opt(&before)?;
    Ok(0)
}
