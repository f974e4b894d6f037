//! Calls on other processes' insides: process_vm_readv, process_vm_writev and kcmp.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Errno, Result};
use spin::Once;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::device::random;
use crate::fs::epoll::Epoll;
use crate::mm::AddressSpace;
use crate::mm::user::{IoSink, IoSource, IoVec, UserPtr, UserSlice};
use crate::task::ptrace::{self, AccessMode};
use crate::task::{Pid, Task, find_task, try_zeroed};

/// `UIO_MAXIOV`.
const MAX_SEGMENTS: usize = 1024;
/// Bytes that are moved at once.
const CHUNK: usize = 64 << 10;

/// The other process's ranges: any addresses, for what is there is found out by the copies.
fn remote_ranges(addr: usize, count: usize) -> Result<Vec<IoVec>> {
    if count > MAX_SEGMENTS {
        return Err(Errno::EINVAL);
    }
    let ranges = UserSlice::<IoVec>::new(addr, count)?.to_vec()?;
    match ranges.iter().any(|range| range.len > isize::MAX as usize) {
        true => Err(Errno::EINVAL),
        false => Ok(ranges),
    }
}

/// The memory of a process that the caller may change.
fn memory_of(pid: Pid) -> Result<Arc<AddressSpace>> {
    let task = find_task(pid).ok_or(Errno::ESRCH)?;
    if !ptrace::may_access(&task, AccessMode::RealCreds) {
        return Err(Errno::EPERM);
    }
    task.mm().ok_or(Errno::ESRCH)
}

/// The other side of a transfer of up to `wanted` bytes: its ranges and its memory, or `None` when nothing is to be moved.
fn other_side(
    pid: Pid,
    addr: usize,
    count: usize,
    wanted: usize,
) -> Result<Option<(Vec<IoVec>, Arc<AddressSpace>)>> {
    if wanted == 0 {
        return Ok(None);
    }
    let ranges = remote_ranges(addr, count)?;
    match ranges.iter().all(|range| range.len == 0) {
        true => Ok(None),
        false => Ok(Some((ranges, memory_of(pid)?))),
    }
}

/// Moves bytes between the ranges and what `copy` stands for, until one of the two ends. `copy` gets an address, a buffer
/// and how many bytes of it are wanted, and answers how many it moved, or why none.
fn transfer(
    ranges: &[IoVec],
    wanted: usize,
    mut copy: impl FnMut(usize, &mut [u8]) -> Result<usize>,
) -> Result<usize> {
    let mut buffer = try_zeroed(CHUNK.min(wanted))?;
    let mut done = 0;
    for range in ranges {
        let mut at = 0;
        while at < range.len && done < wanted {
            let len = (range.len - at).min(wanted - done).min(buffer.len());
            let part = buffer.get_mut(..len).unwrap_or_default();
            match copy(range.base.wrapping_add(at), part) {
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => return Ok(done),
                Ok(moved) => {
                    done += moved;
                    at += moved;
                    if moved < len {
                        return Ok(done);
                    }
                }
            }
        }
    }
    Ok(done)
}

/// What of nothing is a failure.
fn some(moved: usize) -> Result<usize> {
    match moved {
        0 => Err(Errno::EFAULT),
        moved => Ok(moved),
    }
}

pub fn sys_process_vm_readv(
    pid: Pid,
    local: usize,
    local_count: usize,
    remote: usize,
    remote_count: usize,
    flags: usize,
) -> Result<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let mut sink = IoSink::vector(local, local_count)?;
    let Some((ranges, mm)) = other_side(pid, remote, remote_count, sink.remaining())? else {
        return Ok(0);
    };
    transfer(&ranges, sink.remaining(), |at, buffer| {
        let read = some(mm.read_remote(at, buffer))?;
        let before = sink.done();
        let put = sink.put(buffer.get(..read).unwrap_or_default());
        match sink.done() - before {
            0 => put.map(|()| 0),
            moved => Ok(moved),
        }
    })
}

pub fn sys_process_vm_writev(
    pid: Pid,
    local: usize,
    local_count: usize,
    remote: usize,
    remote_count: usize,
    flags: usize,
) -> Result<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let mut source = IoSource::vector(local, local_count)?;
    let Some((ranges, mm)) = other_side(pid, remote, remote_count, source.remaining())? else {
        return Ok(0);
    };
    transfer(&ranges, source.remaining(), |at, buffer| {
        let before = source.done();
        let taken = source.take(buffer);
        let len = match source.done() - before {
            0 => return taken.map(|()| 0),
            len => len,
        };
        some(mm.write_remote(at, buffer.get(..len).unwrap_or_default()))
    })
}

const KCMP_FILE: i32 = 0;
const KCMP_VM: i32 = 1;
const KCMP_FILES: i32 = 2;
const KCMP_FS: i32 = 3;
const KCMP_SIGHAND: i32 = 4;
const KCMP_IO: i32 = 5;
const KCMP_SYSVSEM: i32 = 6;
const KCMP_EPOLL_TFD: i32 = 7;

/// `struct kcmp_epoll_slot`: which of the files that an epoll watches.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct EpollSlot {
    epoll: u32,
    target: u32,
    /// How many of the same number come before it.
    skip: u32,
}

/// Numbers that hide where objects lie, but keep an order among those of a kind.
static COOKIES: Once<[[u64; 2]; 8]> = Once::new();

/// 0 for the same object, 1 or 2 for two, by their order.
fn compare(kind: i32, one: usize, two: usize) -> usize {
    let cookies = COOKIES
        .call_once(|| core::array::from_fn(|_| [random::next_u64(), random::next_u64() | 1]));
    let [mask, factor] = cookies.get(kind as usize).copied().unwrap_or([0, 1]);
    let hidden = |address: usize| (address as u64 ^ mask).wrapping_mul(factor);
    match hidden(one).cmp(&hidden(two)) {
        core::cmp::Ordering::Equal => 0,
        core::cmp::Ordering::Less => 1,
        core::cmp::Ordering::Greater => 2,
    }
}

fn address<T>(object: Option<Arc<T>>) -> usize {
    object.map_or(0, |object| Arc::as_ptr(&object) as usize)
}

fn file_address(task: &Task, fd: usize) -> Result<usize> {
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    let files = task.files().ok_or(Errno::EBADF)?;
    Ok(Arc::as_ptr(&files.get_any(fd)?) as usize)
}

/// The file that an epoll of `task` watches.
fn epoll_target(task: &Task, slot: usize) -> Result<usize> {
    let slot: EpollSlot = UserPtr::from(slot).read()?;
    let fd = i32::try_from(slot.epoll).map_err(|_| Errno::EBADF)?;
    let files = task.files().ok_or(Errno::EBADF)?;
    let set = files.get_any(fd)?;
    let epoll = set.ops_as::<Epoll>().ok_or(Errno::EINVAL)?;
    let file = epoll.target(slot.target as i32, slot.skip);
    Ok(Arc::as_ptr(&file.ok_or(Errno::ENOENT)?) as usize)
}

pub fn sys_kcmp(pid1: Pid, pid2: Pid, kind: i32, idx1: usize, idx2: usize) -> Result<usize> {
    let one = find_task(pid1).ok_or(Errno::ESRCH)?;
    let two = find_task(pid2).ok_or(Errno::ESRCH)?;
    for task in [&one, &two] {
        if !ptrace::may_access(task, AccessMode::RealCreds) {
            return Err(Errno::EPERM);
        }
    }
    if kind == KCMP_EPOLL_TFD {
        let watched = epoll_target(&two, idx2);
        return Ok(compare(KCMP_FILE, file_address(&one, idx1)?, watched?));
    }
    let of = |task: &Task, fd: usize| {
        Ok(match kind {
            KCMP_FILE => file_address(task, fd)?,
            KCMP_VM => address(task.mm()),
            KCMP_FILES => address(task.files()),
            KCMP_FS => address(task.fs()),
            KCMP_SIGHAND => Arc::as_ptr(&task.process.signal.hand.arc()) as usize,
            // No task has a context for its I/O, which is what Linux finds of most, too.
            KCMP_IO => 0,
            KCMP_SYSVSEM => address(task.undo()),
            _ => return Err(Errno::EINVAL),
        })
    };
    Ok(compare(kind, of(&one, idx1)?, of(&two, idx2)?))
}
