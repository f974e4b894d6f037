//! `ioperm` and `iopl`: ports in user space.

use abi::{Errno, Result};

use crate::arch::ioperm;
use crate::task::{Cap, current};

fn check_capable() -> Result<()> {
    match current().my_cred().capable(Cap::SYS_RAWIO) {
        true => Ok(()),
        false => Err(Errno::EPERM),
    }
}

pub fn sys_ioperm(from: usize, count: usize, on: i32) -> Result<usize> {
    let end = from.checked_add(count).ok_or(Errno::EINVAL)?;
    if count == 0 || end > ioperm::PORTS {
        return Err(Errno::EINVAL);
    }
    if on != 0 {
        check_capable()?;
    }
    ioperm::set(from..end, on != 0).map(|()| 0)
}

pub fn sys_iopl(level: u32) -> Result<usize> {
    let level = match u8::try_from(level) {
        Ok(level @ 0..=3) => level,
        _ => return Err(Errno::EINVAL),
    };
    let old = ioperm::level();
    if level > old {
        check_capable()?;
    }
    if level != old {
        ioperm::set_level(level);
    }
    Ok(0)
}
