//! Calls that name a process by a descriptor.

use abi::mman::advice;
use abi::signal::{SigInfo, UserSigInfo, si};
use abi::{Errno, Result};
use alloc::sync::Arc;

use super::mm;
use super::signal::send_checked;
use crate::mm::AddressSpace;
use crate::mm::user::{UserPtr, UserSlice};
use crate::task::{self, Cap, Pid, current, pidfd};

pub fn sys_pidfd_open(pid: Pid, flags: u32) -> Result<usize> {
    pidfd::open(pid, flags)
}

pub fn sys_pidfd_send_signal(
    fd: i32,
    sig: i32,
    info: UserPtr<UserSigInfo>,
    flags: u32,
) -> Result<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let process = pidfd::signal_target(fd)?;
    let info = match info.read_opt()? {
        None => None,
        Some(told) => {
            let info = SigInfo::from_user(&told, sig).ok_or(Errno::E2BIG)?;
            // The number counts that the information says.
            if told.first_chunk() != Some(&sig.to_ne_bytes()) {
                return Err(Errno::EINVAL);
            }
            let forged = info.si_code >= 0 || info.si_code == si::TKILL;
            if forged && current().tid() != process.pid {
                return Err(Errno::EPERM);
            }
            Some(info)
        }
    };
    pidfd::check_there(&process)?;
    send_checked(&process, sig, info).map(|()| 0)
}

pub fn sys_pidfd_getfd(pidfd: i32, fd: i32, flags: u32) -> Result<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    pidfd::get_fd(pidfd, fd)
}

/// Segments of a call at most.
const MAX_SEGMENTS: usize = 1024;

pub fn sys_process_madvise(
    fd: i32,
    segments: usize,
    count: usize,
    behavior: u32,
    flags: u32,
) -> Result<usize> {
    if flags != 0 || count > MAX_SEGMENTS {
        return Err(Errno::EINVAL);
    }
    let segments = UserSlice::<[usize; 2]>::new(segments, count)?.to_vec()?;
    if segments.iter().any(|[_, len]| *len > isize::MAX as usize) {
        return Err(Errno::EINVAL);
    }
    let process = pidfd::process_of(fd)?;
    pidfd::check_there(&process)?;
    if !matches!(behavior, advice::COLD | advice::PAGEOUT | advice::WILLNEED) {
        return Err(Errno::EINVAL);
    }
    let mm = pidfd::memory_of(&process)?;
    let is_mine = Arc::ptr_eq(&mm, &current().my_mm());
    if !is_mine && !current().my_cred().capable(Cap::SYS_NICE) {
        return Err(Errno::EPERM);
    }
    let mut done = 0;
    for [addr, len] in segments {
        match mm.advise(addr, len, behavior) {
            Ok(()) => done += len,
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}

pub fn sys_process_mrelease(fd: i32, flags: u32) -> Result<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let process = pidfd::process_of(fd)?;
    pidfd::check_there(&process)?;
    let mm = process.threads().iter().find_map(|thread| thread.mm());
    let mm = mm.ok_or(Errno::ESRCH)?;
    if !mm::dies(&process) || is_used_by_others(&mm) {
        return Err(Errno::EINVAL);
    }
    mm.reap()?;
    Ok(0)
}

/// Whether a process that goes on living has this memory.
fn is_used_by_others(mm: &Arc<AddressSpace>) -> bool {
    let mut used = false;
    task::for_each_process(|process| {
        used = used
            || !mm::dies(process)
                && process
                    .threads()
                    .iter()
                    .any(|thread| thread.mm().is_some_and(|other| Arc::ptr_eq(&other, mm)));
    });
    used
}
