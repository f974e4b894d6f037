//! Messages: `sendmsg`, `recvmsg` and their kin, which pass addresses and control messages beside the bytes.

use abi::socket::{MAX_ADDRESS, MMsgHdr, MsgFlags, MsgHdr};
use abi::time::Timespec;
use abi::{Errno, Result};

use super::socket::{Address, read_address, socket_file, with_file_flags};
use crate::fs::File;
use crate::mm::user::{IoSink, IoSource, UserPtr, copy_out};
use crate::net::message::{Incoming, Outgoing};
use crate::net::scm::{self, ControlBuffer};
use crate::net::socket_of;
use crate::time;

/// The most segments of one message, and messages of one call.
const MAX_COUNT: usize = 1024;

/// Copies a header in, its name's length within bounds.
fn read_header(addr: UserPtr<MsgHdr>) -> Result<MsgHdr> {
    let mut header = addr.read()?;
    if header.name == 0 {
        header.namelen = 0;
    }
    if header.namelen < 0 {
        return Err(Errno::EINVAL);
    }
    header.namelen = header.namelen.min(MAX_ADDRESS as i32);
    if header.iovlen > MAX_COUNT {
        return Err(Errno::EMSGSIZE);
    }
    Ok(header)
}

fn send_one(file: &File, addr: UserPtr<MsgHdr>, flags: u32) -> Result<usize> {
    let header = read_header(addr)?;
    let address = match header.namelen {
        0 => Address::new(),
        len => read_address(header.name, len)?,
    };
    let mut source = IoSource::vector(header.iov, header.iovlen)?;
    if header.controllen > i32::MAX as usize {
        return Err(Errno::ENOBUFS);
    }
    let requests = scm::read_requests(header.control, header.controllen)?;
    socket_of(file)?.send(&mut Outgoing {
        data: &mut source,
        address: Some(&*address).filter(|address| !address.is_empty()),
        flags: with_file_flags(file, flags),
        files: requests.files,
        cred: requests.cred,
        control: requests.other,
    })
}

fn receive_one(file: &File, addr: UserPtr<MsgHdr>, flags: u32) -> Result<usize> {
    const FLAGS: usize = core::mem::offset_of!(MsgHdr, flags);
    const NAMELEN: usize = core::mem::offset_of!(MsgHdr, namelen);
    const CONTROLLEN: usize = core::mem::offset_of!(MsgHdr, controllen);
    let header = read_header(addr)?;
    let mut sink = IoSink::vector(header.iov, header.iovlen)?;
    let mut message = Incoming::new(&mut sink, with_file_flags(file, flags));
    let received = socket_of(file)?.receive(&mut message)?;
    let mut told = message.told;
    let mut control = ControlBuffer::new(header.control, header.controllen);
    if let Some(cred) = &message.cred {
        control.put_credentials(cred)?;
    }
    if !message.files.is_empty() {
        control.put_files(&message.files, message.flags)?;
    }
    for extra in &message.control {
        control.put(extra.level, extra.kind, &extra.data)?;
    }
    if control.truncated {
        told |= MsgFlags::CTRUNC;
    }
    told |= message.flags & MsgFlags::CMSG_CLOEXEC;
    if header.name != 0 {
        let sender = message.sender.to_address();
        let room = header.namelen as usize;
        copy_out(header.name, sender.get(..room).unwrap_or(&sender))?;
        addr.field::<i32>(NAMELEN).write(&(sender.len() as i32))?;
    }
    addr.field::<u32>(FLAGS).write(&told.bits())?;
    addr.field::<usize>(CONTROLLEN).write(&control.used)?;
    Ok(received)
}

fn refuse_kernel_flags(flags: u32) -> Result<()> {
    if flags & MsgFlags::CMSG_COMPAT.bits() != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

pub fn sys_sendmsg(fd: i32, message: UserPtr<MsgHdr>, flags: u32) -> Result<usize> {
    refuse_kernel_flags(flags)?;
    let file = socket_file(fd)?;
    send_one(&file, message, flags)
}

pub fn sys_recvmsg(fd: i32, message: UserPtr<MsgHdr>, flags: u32) -> Result<usize> {
    refuse_kernel_flags(flags)?;
    let file = socket_file(fd)?;
    receive_one(&file, message, flags)
}

/// Runs `one` for each message until one fails, and stores its count; an error after the first message is not told.
fn for_each_message(
    messages: UserPtr<MMsgHdr>,
    count: u32,
    mut one: impl FnMut(UserPtr<MsgHdr>, usize) -> Result<Option<usize>>,
) -> Result<usize> {
    const LEN: usize = core::mem::offset_of!(MMsgHdr, len);
    let mut done = 0;
    let mut result = Ok(());
    while done < (count as usize).min(MAX_COUNT) {
        let at = messages.add(done);
        result = match one(at.cast(), done) {
            Ok(Some(len)) => at.field::<u32>(LEN).write(&(len as u32)),
            Ok(None) => break,
            Err(error) => Err(error),
        };
        if result.is_err() {
            break;
        }
        done += 1;
    }
    match result {
        Err(error) if done == 0 => Err(error),
        _ => Ok(done),
    }
}

pub fn sys_sendmmsg(fd: i32, messages: UserPtr<MMsgHdr>, count: u32, flags: u32) -> Result<usize> {
    refuse_kernel_flags(flags)?;
    let file = socket_file(fd)?;
    for_each_message(messages, count, |message, _| {
        send_one(&file, message, flags).map(Some)
    })
}

pub fn sys_recvmmsg(
    fd: i32,
    messages: UserPtr<MMsgHdr>,
    count: u32,
    flags: u32,
    timeout: UserPtr<Timespec>,
) -> Result<usize> {
    refuse_kernel_flags(flags)?;
    let limit = timeout.read_opt()?;
    let end = match &limit {
        None => None,
        Some(limit) => {
            let ns = limit.to_ns().ok_or(Errno::EINVAL)?;
            Some(time::monotonic_ns().saturating_add(ns))
        }
    };
    let file = socket_file(fd)?;
    socket_of(&file)?.take_error()?;
    let wait_for_one = flags & MsgFlags::WAITFORONE.bits() != 0;
    let mut flags = flags & !MsgFlags::WAITFORONE.bits();
    let result = for_each_message(messages, count, |message, done| {
        // Nothing is waited for beside urgent data.
        if done != 0 && flags & MsgFlags::OOB.bits() != 0 {
            return Ok(None);
        }
        // The time is looked at between messages only, as on Linux.
        if done != 0 && end.is_some_and(|end| time::monotonic_ns() >= end) {
            return Ok(None);
        }
        let received = receive_one(&file, message, flags)?;
        if wait_for_one {
            flags |= MsgFlags::DONTWAIT.bits();
        }
        Ok(Some(received))
    });
    if let Some(end) = end {
        let left = end.saturating_sub(time::monotonic_ns());
        timeout.write(&Timespec::from_ns(left))?;
    }
    result
}
