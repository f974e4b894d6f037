//! `io_submit`.

use alloc::sync::Arc;

use abi::aio::{
    IOCB_CMD_FDSYNC, IOCB_CMD_FSYNC, IOCB_CMD_POLL, IOCB_CMD_PREAD, IOCB_CMD_PREADV,
    IOCB_CMD_PWRITE, IOCB_CMD_PWRITEV, IOCB_FLAG_RESFD, IoEvent, Iocb, KIOCB_KEY,
};
use abi::{Errno, Result};

use super::{Context, poll};
use crate::fs::eventfd::EventFd;
use crate::fs::{File, rw};
use crate::mm::user::{IoSink, IoSource, UserPtr};
use crate::sync::current;

/// Where `key` is in a request.
const KEY_AT: usize = 8;

/// A request as the kernel keeps it.
pub(super) struct Request {
    pub iocb: Iocb,
    pub obj: u64,
    pub file: Arc<File>,
    /// Is told of the completion.
    pub eventfd: Option<Arc<File>>,
}

impl Request {
    /// Its event, with this result.
    pub fn event(&self, res: i64) -> IoEvent {
        IoEvent {
            data: self.iocb.data,
            obj: self.obj,
            res,
            res2: 0,
        }
    }
}

/// Takes requests, in the order of the array; answers how many were taken before one was bad.
///
/// # Errors
/// That of the first request.
pub fn submit(context: &Arc<Context>, list: UserPtr<usize>, count: usize) -> Result<usize> {
    for index in 0..count.min(context.ring.places()) {
        let taken = list.add(index).read().and_then(|at| one(context, at));
        match taken {
            Ok(()) => {}
            Err(errno) if index == 0 => return Err(errno),
            Err(_) => return Ok(index),
        }
    }
    Ok(count.min(context.ring.places()))
}

fn one(context: &Arc<Context>, at: usize) -> Result<()> {
    let iocb = UserPtr::<Iocb>::from(at).read()?;
    if iocb.reserved != 0 || iocb.nbytes > isize::MAX as u64 {
        return Err(Errno::EINVAL);
    }
    context.reserve()?;
    take(context, at, iocb).inspect_err(|_| context.give_up())
}

fn take(context: &Arc<Context>, at: usize, iocb: Iocb) -> Result<()> {
    let me = current();
    let file = me.my_files().get(iocb.fd as i32)?;
    let eventfd = match iocb.flags & IOCB_FLAG_RESFD != 0 {
        true => {
            let eventfd = me.my_files().get(iocb.resfd as i32)?;
            eventfd.ops_as::<EventFd>().ok_or(Errno::EINVAL)?;
            Some(eventfd)
        }
        false => None,
    };
    UserPtr::<u32>::from(at.wrapping_add(KEY_AT)).write(&KIOCB_KEY)?;
    let request = Request {
        iocb,
        obj: at as u64,
        file,
        eventfd,
    };
    if iocb.opcode == IOCB_CMD_POLL {
        return poll::add(context, request);
    }
    let result = perform(&request)?;
    let res = match result {
        Ok(done) => done as i64,
        Err(errno) if errno.is_restart() => Errno::EINTR.as_return() as i64,
        Err(errno) => errno.as_return() as i64,
    };
    let event = request.event(res);
    context.complete(&mut context.state.lock(), &event, request.eventfd.as_ref());
    Ok(())
}

/// Does what need not wait on its own. The outer error is of the request, the inner one is its result.
fn perform(request: &Request) -> Result<Result<usize>> {
    let (iocb, file) = (&request.iocb, &request.file);
    let (addr, len) = (iocb.buf as usize, iocb.nbytes as usize);
    match iocb.opcode {
        IOCB_CMD_PREAD | IOCB_CMD_PREADV => {
            if !file.readable() {
                return Err(Errno::EBADF);
            }
            check_file(file, iocb.offset)?;
            let mut sink = match iocb.opcode {
                IOCB_CMD_PREAD => IoSink::user(addr, len)?,
                _ => IoSink::vector(addr, len)?,
            };
            Ok(match file.seekable() {
                true => rw::pread(file, &mut sink, iocb.offset),
                false => rw::read(file, &mut sink),
            })
        }
        IOCB_CMD_PWRITE | IOCB_CMD_PWRITEV => {
            if !file.writable() {
                return Err(Errno::EBADF);
            }
            check_file(file, iocb.offset)?;
            let mut source = match iocb.opcode {
                IOCB_CMD_PWRITE => IoSource::user(addr, len)?,
                _ => IoSource::vector(addr, len)?,
            };
            Ok(match file.seekable() {
                true => rw::pwrite(file, &mut source, iocb.offset),
                false => rw::write(file, &mut source),
            })
        }
        IOCB_CMD_FSYNC | IOCB_CMD_FDSYNC => {
            let unused = [iocb.buf, iocb.nbytes, iocb.offset as u64];
            if unused != [0; 3] || iocb.rw_flags != 0 {
                return Err(Errno::EINVAL);
            }
            let data_only = iocb.opcode == IOCB_CMD_FDSYNC;
            // A file without the operation refuses the request.
            match file.ops().fsync(file, data_only) {
                Err(Errno::EINVAL) => Err(Errno::EINVAL),
                result => Ok(result.map(|()| 0)),
            }
        }
        _ => Err(Errno::EINVAL),
    }
}

/// What is refused at once and not a result.
fn check_file(file: &File, offset: i64) -> Result<()> {
    let is_bad = file.inode().is_dir() || (file.seekable() && offset < 0);
    match is_bad {
        true => Err(Errno::EINVAL),
        false => Ok(()),
    }
}
