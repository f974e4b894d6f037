//! epoll and eventfd.

use abi::epoll::{EpollEvent, EpollFlags};
use abi::fs::OpenFlags;
use abi::poll::PollEvents;
use abi::signal::SigSet;
use abi::time::Timespec;
use abi::{Errno, Result};

use crate::fs::epoll::{self, Epoll};
use crate::fs::eventfd;
use crate::fs::poll::Patience;
use crate::mm::user::UserPtr;
use crate::signal::mask;
use crate::task::current;

pub fn sys_epoll_create(size: i32) -> Result<usize> {
    if size <= 0 {
        return Err(Errno::EINVAL);
    }
    sys_epoll_create1(0)
}

pub fn sys_epoll_create1(flags: u32) -> Result<usize> {
    let cloexec = OpenFlags::CLOEXEC.bits();
    if flags & !cloexec != 0 {
        return Err(Errno::EINVAL);
    }
    let file = epoll::create()?;
    let fd = current().my_files().install(file, flags & cloexec != 0)?;
    Ok(fd.0 as usize)
}

/// Events that a watch with EPOLLEXCLUSIVE may ask for.
fn allowed_with_exclusive() -> u32 {
    let events = PollEvents::IN | PollEvents::OUT | PollEvents::ERR | PollEvents::HUP;
    let flags = EpollFlags::EXCLUSIVE | EpollFlags::WAKEUP | EpollFlags::ET;
    events.bits() | flags.bits()
}

pub fn sys_epoll_ctl(epfd: i32, op: u32, fd: i32, event: usize) -> Result<usize> {
    const ADD: u32 = 1;
    const DEL: u32 = 2;
    const MOD: u32 = 3;
    let event = match op {
        DEL => None,
        _ => Some(UserPtr::<EpollEvent>::from(event).read()?.completed()),
    };
    let me = current();
    let set = me.my_files().get(epfd)?;
    let file = me.my_files().get(fd)?;
    let epoll = set.ops_as::<Epoll>().ok_or(Errno::EINVAL)?;
    if alloc::sync::Arc::ptr_eq(&set, &file) {
        return Err(Errno::EINVAL);
    }
    if let Some(event) = event
        && event.flags().contains(EpollFlags::EXCLUSIVE)
        && (op == MOD
            || event.bits() & !allowed_with_exclusive() != 0
            || file.ops_as::<Epoll>().is_some())
    {
        return Err(Errno::EINVAL);
    }
    match (op, event) {
        (ADD, Some(event)) => epoll.add(&file, fd, event)?,
        (MOD, Some(event)) => epoll.modify(&file, fd, event)?,
        (DEL, _) => epoll.remove(&file, fd)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

fn wait(epfd: i32, events: usize, max: i32, patience: Patience) -> Result<usize> {
    const MAX_EVENTS: i32 = i32::MAX / size_of::<EpollEvent>() as i32;
    if !(1..=MAX_EVENTS).contains(&max) {
        return Err(Errno::EINVAL);
    }
    let set = current().my_files().get(epfd)?;
    let epoll = set.ops_as::<Epoll>().ok_or(Errno::EINVAL)?;
    let ready = epoll.wait(max as usize, patience)?;
    let to = UserPtr::<EpollEvent>::from(events);
    for (index, event) in ready.iter().enumerate() {
        to.add(index).write(event)?;
    }
    Ok(ready.len())
}

pub fn sys_epoll_wait(epfd: i32, events: usize, max: i32, timeout_ms: i32) -> Result<usize> {
    wait(epfd, events, max, patience_of_ms(timeout_ms))
}

fn patience_of_ms(ms: i32) -> Patience {
    match ms {
        ..0 => Patience::Endless,
        ms => Patience::of_ns(ms as u64 * 1_000_000),
    }
}

fn wait_masked(
    [epfd, max]: [i32; 2],
    events: usize,
    patience: Patience,
    [mask_at, size]: [usize; 2],
) -> Result<usize> {
    mask::begin_temporary_from_user(UserPtr::<SigSet>::from(mask_at), size)?;
    let result = wait(epfd, events, max, patience);
    mask::end_temporary(result == Err(Errno::EINTR));
    result
}

pub fn sys_epoll_pwait(
    epfd: i32,
    events: usize,
    max: i32,
    timeout_ms: i32,
    mask_at: usize,
    size: usize,
) -> Result<usize> {
    wait_masked(
        [epfd, max],
        events,
        patience_of_ms(timeout_ms),
        [mask_at, size],
    )
}

pub fn sys_epoll_pwait2(
    epfd: i32,
    events: usize,
    max: i32,
    timeout: usize,
    mask_at: usize,
    size: usize,
) -> Result<usize> {
    let patience = match timeout {
        0 => Patience::Endless,
        at => {
            let ns = UserPtr::<Timespec>::from(at)
                .read()?
                .to_ns()
                .ok_or(Errno::EINVAL)?;
            Patience::of_ns(ns)
        }
    };
    wait_masked([epfd, max], events, patience, [mask_at, size])
}

pub fn sys_eventfd(count: u32) -> Result<usize> {
    sys_eventfd2(count, 0)
}

pub fn sys_eventfd2(count: u32, flags: u32) -> Result<usize> {
    const SEMAPHORE: u32 = 1;
    let cloexec = OpenFlags::CLOEXEC.bits();
    let nonblocking = OpenFlags::NONBLOCK.bits();
    if flags & !(SEMAPHORE | cloexec | nonblocking) != 0 {
        return Err(Errno::EINVAL);
    }
    let status = OpenFlags::from_bits_truncate(flags & nonblocking);
    let file = eventfd::create(count, flags & SEMAPHORE != 0, status)?;
    let fd = current().my_files().install(file, flags & cloexec != 0)?;
    Ok(fd.0 as usize)
}
