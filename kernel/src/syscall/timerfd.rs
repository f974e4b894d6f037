//! Timers and signals as descriptors.

use abi::fs::OpenFlags;
use abi::signal::SigSet;
use abi::time::{ClockId, Itimerspec, TfdTimer, Timespec};
use abi::{Errno, Result};
use alloc::sync::Arc;

use crate::fs::anon_file;
use crate::fs::signalfd::SignalFd;
use crate::fs::timerfd::TimerFd;
use crate::mm::user::UserPtr;
use crate::sync::current;
use crate::task::Cap;

/// The flags that both calls take; others are EINVAL.
fn creation_flags(raw: u32) -> Result<OpenFlags> {
    let flags = OpenFlags::from_bits(raw).ok_or(Errno::EINVAL)?;
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL);
    }
    Ok(flags)
}

pub fn sys_timerfd_create(clock: i32, flags: u32) -> Result<usize> {
    let flags = creation_flags(flags)?;
    let is_realtime = match ClockId::from_user(clock) {
        Some(ClockId::Realtime) => true,
        Some(ClockId::Monotonic | ClockId::Boottime) => false,
        Some(alarm @ (ClockId::RealtimeAlarm | ClockId::BoottimeAlarm)) => {
            if !current().my_cred().capable(Cap::WAKE_ALARM) {
                return Err(Errno::EPERM);
            }
            alarm == ClockId::RealtimeAlarm
        }
        _ => return Err(Errno::EINVAL),
    };
    let file = anon_file(
        "[timerfd]",
        TimerFd::new(is_realtime),
        OpenFlags::RDWR | flags,
    )?;
    let fd = current()
        .my_files()
        .install(file, flags.contains(OpenFlags::CLOEXEC))?;
    Ok(fd.0 as usize)
}

fn to_itimerspec((value, interval): (u64, u64)) -> Itimerspec {
    Itimerspec {
        it_interval: Timespec::from_ns(interval),
        it_value: Timespec::from_ns(value),
    }
}

pub fn sys_timerfd_settime(
    fd: i32,
    flags: u32,
    new: UserPtr<Itimerspec>,
    old: UserPtr<Itimerspec>,
) -> Result<usize> {
    let new = new.read()?;
    let flags = TfdTimer::from_bits(flags).ok_or(Errno::EINVAL)?;
    let value = new.it_value.to_ns().ok_or(Errno::EINVAL)?;
    let interval = new.it_interval.to_ns().ok_or(Errno::EINVAL)?;
    let timer = TimerFd::of(&*current().my_files().get(fd)?)?;
    let before = timer.set(flags, value, interval);
    old.write_opt(&to_itimerspec(before))?;
    Ok(0)
}

pub fn sys_timerfd_gettime(fd: i32, setting: UserPtr<Itimerspec>) -> Result<usize> {
    let timer = TimerFd::of(&*current().my_files().get(fd)?)?;
    setting.write(&to_itimerspec(timer.get()))?;
    Ok(0)
}

pub fn sys_signalfd(fd: i32, mask: UserPtr<SigSet>, size: usize) -> Result<usize> {
    sys_signalfd4(fd, mask, size, 0)
}

pub fn sys_signalfd4(fd: i32, mask: UserPtr<SigSet>, size: usize, flags: u32) -> Result<usize> {
    if size != size_of::<SigSet>() {
        return Err(Errno::EINVAL);
    }
    let mask = mask.read()?;
    let flags = creation_flags(flags)?;
    if fd != -1 {
        SignalFd::change(&*current().my_files().get(fd)?, mask)?;
        return Ok(fd as usize);
    }
    let file = anon_file(
        "[signalfd]",
        Arc::new(SignalFd::new(mask)),
        OpenFlags::RDWR | flags,
    )?;
    let fd = current()
        .my_files()
        .install(file, flags.contains(OpenFlags::CLOEXEC))?;
    Ok(fd.0 as usize)
}
