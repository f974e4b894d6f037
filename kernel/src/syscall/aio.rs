//! Asynchronous I/O.

use abi::aio::{AioSigset, IoEvent};
use abi::time::Timespec;
use abi::{Errno, Result};

use super::poll::with_mask;
use crate::fs::aio;
use crate::mm::user::UserPtr;
use crate::time;

pub fn sys_io_setup(requests: u32, context: UserPtr<usize>) -> Result<usize> {
    if context.read()? != 0 {
        return Err(Errno::EINVAL);
    }
    let id = aio::setup(requests)?;
    if let Err(errno) = context.write(&id) {
        let _ = aio::destroy(id);
        return Err(errno);
    }
    Ok(0)
}

pub fn sys_io_destroy(context: usize) -> Result<usize> {
    aio::destroy(context).map(|()| 0)
}

pub fn sys_io_submit(context: usize, count: i64, list: UserPtr<usize>) -> Result<usize> {
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    let context = aio::find(context)?;
    aio::submit(&context, list, count)
}

pub fn sys_io_cancel(context: usize, request: usize, _result: usize) -> Result<usize> {
    let context = aio::find(context)?;
    aio::cancel(&context, request).map(|()| 0)
}

fn get_events(
    context: usize,
    least: i64,
    most: i64,
    out: UserPtr<IoEvent>,
    timeout: Option<Timespec>,
) -> Result<usize> {
    let deadline_ns = match timeout {
        None => None,
        Some(timeout) => {
            let ns = timeout.to_ns().ok_or(Errno::EINVAL)?;
            Some(time::monotonic_ns().saturating_add(ns))
        }
    };
    let context = aio::find(context)?;
    if least < 0 || least > most {
        return Err(Errno::EINVAL);
    }
    let result = aio::get_events(&context, least as usize, most as usize, out, deadline_ns);
    result.map_err(|errno| match errno {
        // Not restarted, whatever the handler's flags.
        Errno::ERESTARTSYS => Errno::EINTR,
        other => other,
    })
}

pub fn sys_io_getevents(
    context: usize,
    least: i64,
    most: i64,
    out: UserPtr<IoEvent>,
    timeout: UserPtr<Timespec>,
) -> Result<usize> {
    get_events(context, least, most, out, timeout.read_opt()?)
}

pub fn sys_io_pgetevents(
    context: usize,
    least: i64,
    most: i64,
    out: UserPtr<IoEvent>,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<AioSigset>,
) -> Result<usize> {
    let timeout = timeout.read_opt()?;
    let mask = mask.read_opt()?.unwrap_or_default();
    with_mask(mask.mask as usize, mask.size as usize, || {
        get_events(context, least, most, out, timeout)
    })
}
