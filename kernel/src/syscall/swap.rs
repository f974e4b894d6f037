//! `swapon` and `swapoff`: there is no swapping, since no file system here has its files on a device.

use abi::fs::OpenFlags;
use abi::{Errno, Result};

use crate::fs::{AT_FDCWD, OpenRequest, open};
use crate::mm::user::UserCStr;
use crate::task::{Cap, current};

/// A priority, and how to discard.
const KNOWN: u32 = 0x7fff | 0x8000 | 0x1_0000 | 0x2_0000 | 0x4_0000;

fn check_capable() -> Result<()> {
    match current().my_cred().capable(Cap::SYS_ADMIN) {
        true => Ok(()),
        false => Err(Errno::EPERM),
    }
}

/// Opens the file as for swapping.
fn check_opens(path: UserCStr) -> Result<()> {
    let request = OpenRequest::lenient(OpenFlags::RDWR.bits(), 0)?;
    open::open(AT_FDCWD, &path.read_path()?, &request).map(drop)
}

/// # Errors
/// `EINVAL` for every file: those in memory hold no swap.
pub fn sys_swapon(path: UserCStr, flags: u32) -> Result<usize> {
    if flags & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    check_capable()?;
    check_opens(path)?;
    Err(Errno::EINVAL)
}

/// # Errors
/// `EINVAL` for every file: none is swapped to.
pub fn sys_swapoff(path: UserCStr) -> Result<usize> {
    check_capable()?;
    check_opens(path)?;
    Err(Errno::EINVAL)
}
