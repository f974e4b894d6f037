//! poll, ppoll, select and pselect6.

use alloc::boxed::Box;
use alloc::vec::Vec;

use abi::poll::{PollEvents, PollFd};
use abi::signal::SigSet;
use abi::time::{Timespec, Timeval};
use abi::{Errno, Result};

use crate::fs::poll::{self, Patience, Polled};
use crate::mm::user::{UserPtr, UserSlice, copy_in, copy_out};
use crate::signal::{self, mask};
use crate::task::{Resource, current, try_zeroed};

/// The files of an array of `pollfd`.
fn gather(fds: &[PollFd]) -> Result<Vec<Polled>> {
    let me = current();
    let files = me.my_files();
    let mut entries = poll::entries(fds.len())?;
    for entry in fds {
        let wanted = PollEvents::from_bits_truncate(u32::from(entry.events as u16));
        entries.push(match entry.fd {
            ..0 => Polled::answered(PollEvents::empty()),
            fd => match files.get(fd) {
                Ok(file) => Polled::new(file, wanted),
                Err(_) => Polled::answered(PollEvents::NVAL),
            },
        });
    }
    Ok(entries)
}

fn poll_fds(fds: usize, count: u32, patience: Patience) -> Result<usize> {
    if u64::from(count) > current().process.rlimits.soft(Resource::Nofile) {
        return Err(Errno::EINVAL);
    }
    let slice = UserSlice::<PollFd>::new(fds, count as usize)?;
    let list = slice.to_vec()?;
    let mut entries = gather(&list)?;
    let ready = poll::wait(&mut entries, patience)?;
    for (index, entry) in entries.iter().enumerate() {
        // Only the answer is written: others may share the rest.
        if let Some(place) = slice.get(index) {
            place.field::<i16>(6).write(&(entry.found.bits() as i16))?;
        }
    }
    Ok(ready)
}

pub fn sys_poll(fds: usize, count: u32, timeout_ms: i32) -> Result<usize> {
    let patience = match timeout_ms {
        ..0 => Patience::Endless,
        ms => Patience::of_ns(ms as u64 * 1_000_000),
    };
    poll_restarting(fds, count, patience)
}

/// A signal without a handler lets the call go on to the same deadline.
fn poll_restarting(fds: usize, count: u32, patience: Patience) -> Result<usize> {
    match poll_fds(fds, count, patience) {
        Err(Errno::EINTR) => Err(signal::restart_with(Box::new(move || {
            poll_restarting(fds, count, patience)
        }))),
        other => other,
    }
}

/// Runs a wait under another signal mask, if there is one.
pub(super) fn with_mask(
    mask_at: usize,
    size: usize,
    wait: impl FnOnce() -> Result<usize>,
) -> Result<usize> {
    mask::begin_temporary_from_user(UserPtr::<SigSet>::from(mask_at), size)?;
    let result = wait();
    let interrupted = result == Err(Errno::EINTR);
    mask::end_temporary(interrupted);
    if interrupted {
        Err(Errno::ERESTARTNOHAND)
    } else {
        result
    }
}

fn patience_of(timeout: usize) -> Result<Patience> {
    match timeout {
        0 => Ok(Patience::Endless),
        at => {
            let ns = UserPtr::<Timespec>::from(at)
                .read()?
                .to_ns()
                .ok_or(Errno::EINVAL)?;
            Ok(Patience::of_ns(ns))
        }
    }
}

pub fn sys_ppoll(
    fds: usize,
    count: u32,
    timeout: usize,
    mask_at: usize,
    size: usize,
) -> Result<usize> {
    let patience = patience_of(timeout)?;
    let result = with_mask(mask_at, size, || poll_fds(fds, count, patience));
    tell_time_left(timeout, patience);
    result
}

/// Stores what is left of the time; a caller whose memory is read-only does without.
fn tell_time_left(timeout: usize, patience: Patience) {
    if timeout != 0 && patience != Patience::Endless {
        let left = Timespec::from_ns(patience.left_ns());
        let _ = UserPtr::<Timespec>::from(timeout).write(&left);
    }
}

const SELECT_READ: PollEvents = PollEvents::IN
    .union(PollEvents::RDNORM)
    .union(PollEvents::RDBAND)
    .union(PollEvents::HUP)
    .union(PollEvents::ERR);
const SELECT_WRITE: PollEvents = PollEvents::OUT
    .union(PollEvents::WRNORM)
    .union(PollEvents::WRBAND)
    .union(PollEvents::ERR);
const SELECT_EXCEPT: PollEvents = PollEvents::PRI;
const SELECT_KINDS: [PollEvents; 3] = [SELECT_READ, SELECT_WRITE, SELECT_EXCEPT];

/// The three sets of a select, as bytes; a null one is empty.
struct FdSets {
    addrs: [usize; 3],
    sets: [Box<[u8]>; 3],
}

impl FdSets {
    fn read(count: usize, addrs: [usize; 3]) -> Result<FdSets> {
        let len = count.div_ceil(64) * 8;
        let mut sets = [try_zeroed(len)?, try_zeroed(len)?, try_zeroed(len)?];
        for (set, addr) in sets.iter_mut().zip(addrs) {
            if addr != 0 {
                copy_in(addr, set)?;
            }
        }
        Ok(FdSets { addrs, sets })
    }

    /// The kinds of events asked of a descriptor.
    fn asked(&self, fd: usize) -> PollEvents {
        let has = |set: &[u8]| {
            set.get(fd / 8)
                .is_some_and(|byte| byte & 1 << (fd % 8) != 0)
        };
        SELECT_KINDS
            .iter()
            .zip(&self.sets)
            .filter(|(_, set)| has(set))
            .fold(PollEvents::empty(), |all, (kind, _)| all | *kind)
    }

    /// Leaves only what was found, and counts it.
    fn answer(&mut self, fd: usize, found: PollEvents) -> usize {
        let mut count = 0;
        for (set, kind) in self.sets.iter_mut().zip(SELECT_KINDS) {
            let Some(byte) = set.get_mut(fd / 8) else {
                continue;
            };
            let bit = 1 << (fd % 8);
            if *byte & bit != 0 {
                if found.intersects(kind) {
                    count += 1;
                } else {
                    *byte &= !bit;
                }
            }
        }
        count
    }

    fn write(&self) -> Result<()> {
        for (set, addr) in self.sets.iter().zip(self.addrs) {
            if addr != 0 {
                copy_out(addr, set)?;
            }
        }
        Ok(())
    }
}

fn select(count: i32, addrs: [usize; 3], patience: Patience) -> Result<usize> {
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    let me = current();
    let count = count.min(me.my_files().size());
    let mut sets = FdSets::read(count, addrs)?;
    let asked: Vec<usize> = (0..count)
        .filter(|fd| !sets.asked(*fd).is_empty())
        .collect();
    let mut entries = poll::entries(asked.len())?;
    for fd in &asked {
        let file = me.my_files().get(*fd as i32)?;
        entries.push(Polled::new(file, sets.asked(*fd)));
    }
    // What a hang-up means is in the sets: alone it wakes nobody.
    for (entry, fd) in entries.iter_mut().zip(&asked) {
        entry.wanted = sets.asked(*fd);
    }
    poll::wait(&mut entries, patience)?;
    let ready = asked
        .iter()
        .zip(&entries)
        .map(|(fd, entry)| sets.answer(*fd, entry.found))
        .sum();
    sets.write()?;
    Ok(ready)
}

pub fn sys_select(
    count: i32,
    read: usize,
    write: usize,
    except: usize,
    timeout: usize,
) -> Result<usize> {
    let patience = match timeout {
        0 => Patience::Endless,
        at => {
            let time = UserPtr::<Timeval>::from(at).read()?;
            Patience::of_ns(select_ns(&time)?)
        }
    };
    let result = select(count, [read, write, except], patience);
    if timeout != 0 && patience != Patience::Endless {
        let left = patience.left_ns() / 1_000;
        let left = Timeval {
            tv_sec: (left / 1_000_000) as i64,
            tv_usec: (left % 1_000_000) as i64,
        };
        // As for `tell_time_left`.
        let _ = UserPtr::<Timeval>::from(timeout).write(&left);
    }
    result.map_err(|errno| {
        if errno == Errno::EINTR {
            Errno::ERESTARTNOHAND
        } else {
            errno
        }
    })
}

/// Linux takes microseconds beyond a second here.
fn select_ns(time: &Timeval) -> Result<u64> {
    let seconds = u64::try_from(time.tv_sec).map_err(|_| Errno::EINVAL)?;
    let micros = u64::try_from(time.tv_usec).map_err(|_| Errno::EINVAL)?;
    Ok(seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(micros.saturating_mul(1_000)))
}

pub fn sys_pselect6(
    count: i32,
    read: usize,
    write: usize,
    except: usize,
    timeout: usize,
    mask_and_size: usize,
) -> Result<usize> {
    let patience = patience_of(timeout)?;
    let (mask_at, size) = match mask_and_size {
        0 => (0, 8),
        at => {
            let pair = UserPtr::<[usize; 2]>::from(at).read()?;
            (pair[0], pair[1])
        }
    };
    let sets = [read, write, except];
    let result = with_mask(mask_at, size, || select(count, sets, patience));
    tell_time_left(timeout, patience);
    result
}
