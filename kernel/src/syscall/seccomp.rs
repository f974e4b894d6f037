//! seccomp(2), and its older way in by prctl(2).

use abi::seccomp::{
    FilterFlags, SECCOMP_GET_ACTION_AVAIL, SECCOMP_GET_NOTIF_SIZES, SECCOMP_MODE_FILTER,
    SECCOMP_MODE_STRICT, SECCOMP_SET_MODE_FILTER, SECCOMP_SET_MODE_STRICT, SeccompData,
    SeccompNotif, SeccompNotifResp, SeccompNotifSizes,
};
use abi::{Errno, Result};

use crate::mm::user::UserPtr;
use crate::task::seccomp;

pub fn sys_seccomp(operation: u32, flags: u32, args: usize) -> Result<usize> {
    match operation {
        SECCOMP_SET_MODE_STRICT if flags != 0 || args != 0 => Err(Errno::EINVAL),
        SECCOMP_SET_MODE_STRICT => seccomp::set_strict().map(|()| 0),
        SECCOMP_SET_MODE_FILTER => set_filter(flags, args),
        SECCOMP_GET_ACTION_AVAIL | SECCOMP_GET_NOTIF_SIZES if flags != 0 => Err(Errno::EINVAL),
        SECCOMP_GET_ACTION_AVAIL => {
            let action = UserPtr::<u32>::from(args).read()?;
            match seccomp::is_available(action) {
                true => Ok(0),
                false => Err(Errno::EOPNOTSUPP),
            }
        }
        SECCOMP_GET_NOTIF_SIZES => {
            let sizes = SeccompNotifSizes {
                seccomp_notif: size_of::<SeccompNotif>() as u16,
                seccomp_notif_resp: size_of::<SeccompNotifResp>() as u16,
                seccomp_data: size_of::<SeccompData>() as u16,
            };
            UserPtr::from(args).write(&sizes).map(|()| 0)
        }
        _ => Err(Errno::EINVAL),
    }
}

fn set_filter(flags: u32, fprog: usize) -> Result<usize> {
    let flags = FilterFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    let both = FilterFlags::TSYNC | FilterFlags::NEW_LISTENER;
    // A number would be a thread's or a descriptor's.
    if flags.contains(both) && !flags.contains(FilterFlags::TSYNC_ESRCH) {
        return Err(Errno::EINVAL);
    }
    if flags.contains(FilterFlags::WAIT_KILLABLE_RECV) && !flags.contains(FilterFlags::NEW_LISTENER)
    {
        return Err(Errno::EINVAL);
    }
    seccomp::attach(flags, UserPtr::from(fprog))
}

/// `PR_SET_SECCOMP`.
///
/// # Errors
/// Those of prctl(2).
pub(super) fn set_mode(mode: usize, fprog: usize) -> Result<usize> {
    match u8::try_from(mode) {
        Ok(SECCOMP_MODE_STRICT) => seccomp::set_strict().map(|()| 0),
        Ok(SECCOMP_MODE_FILTER) => set_filter(0, fprog),
        _ => Err(Errno::EINVAL),
    }
}
