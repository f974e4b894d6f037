//! Signals of a frozen tracee: that of its stop, the pending ones, its mask.

use abi::signal::{SIGINFO_SIZE, SigInfo, SigSet, UserSigInfo};
use abi::{Errno, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::control::Frozen;
use crate::mm::user::UserPtr;
use crate::signal;
use crate::sync::current;

/// PTRACE_GETSIGINFO.
///
/// # Errors
/// `EINVAL` in a group stop, which has no information; `EFAULT`.
pub(super) fn get(frozen: &Frozen, out: usize) -> Result<()> {
    let info = frozen.task().ptrace.stop.lock().info;
    let info = info.ok_or(Errno::EINVAL)?;
    UserPtr::<UserSigInfo>::from(out).write(&info.to_user())
}

/// PTRACE_SETSIGINFO.
///
/// # Errors
/// `EINVAL` in a group stop, `E2BIG` for one that the kernel does not carry whole, `EFAULT`.
pub(super) fn set(frozen: &Frozen, from: usize) -> Result<()> {
    let bytes = UserPtr::<UserSigInfo>::from(from).read()?;
    let signo = i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let new = SigInfo::from_user(&bytes, signo).ok_or(Errno::E2BIG)?;
    let mut stop = frozen.task().ptrace.stop.lock();
    let info = stop.info.as_mut().ok_or(Errno::EINVAL)?;
    *info = new;
    Ok(())
}

/// `struct ptrace_peeksiginfo_args`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct PeekArgs {
    offset: u64,
    flags: u32,
    count: i32,
}

/// PTRACE_PEEKSIGINFO: how many were copied.
///
/// # Errors
/// `EINVAL` for unknown flags or a negative count, `EFAULT` when not even one could be stored.
pub(super) fn peek(frozen: &Frozen, args: usize, out: usize) -> Result<usize> {
    const SHARED: u32 = 1;
    let args = UserPtr::<PeekArgs>::from(args).read()?;
    if args.flags & !SHARED != 0 || args.count < 0 {
        return Err(Errno::EINVAL);
    }
    let Ok(offset) = usize::try_from(args.offset) else {
        return Ok(0);
    };
    let wanted = args.count as usize;
    let mut copied = 0;
    while copied < wanted {
        let mut batch = [SigInfo::default(); 8];
        let room = batch.len().min(wanted - copied);
        let found = signal::peek_pending(
            frozen.task(),
            args.flags & SHARED != 0,
            offset.saturating_add(copied),
            &mut batch[..room],
        );
        for info in &batch[..found] {
            let at = out.wrapping_add(copied * SIGINFO_SIZE);
            match UserPtr::<UserSigInfo>::from(at).write(&info.to_user()) {
                Ok(()) => copied += 1,
                Err(errno) if copied == 0 => return Err(errno),
                Err(_) => return Ok(copied),
            }
        }
        if found < room || signal::pending(&current()) {
            break;
        }
    }
    Ok(copied)
}

/// PTRACE_GETSIGMASK.
///
/// # Errors
/// `EINVAL` for another size than 8; `EFAULT`.
pub(super) fn get_mask(frozen: &Frozen, size: usize, out: usize) -> Result<()> {
    check_size(size)?;
    UserPtr::<SigSet>::from(out).write(&signal::shown_mask(frozen.task()))
}

/// PTRACE_SETSIGMASK.
///
/// # Errors
/// As [`get_mask`].
pub(super) fn set_mask(frozen: &Frozen, size: usize, from: usize) -> Result<()> {
    check_size(size)?;
    signal::set_mask(frozen.task(), UserPtr::<SigSet>::from(from).read()?);
    Ok(())
}

fn check_size(size: usize) -> Result<()> {
    match size == size_of::<SigSet>() {
        true => Ok(()),
        false => Err(Errno::EINVAL),
    }
}
