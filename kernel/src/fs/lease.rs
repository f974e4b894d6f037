//! Leases (`F_SETLEASE`): a holder hears of an open or a truncation that conflicts before it takes place, and has
//! `lease-break-time` seconds to give the lease up or to lower it.
//!
//! Holders are told as by `O_ASYNC`. Files without leases pay nothing: an open looks at them only where an inode has
//! extras, and there loads one number.
//!
//! # Ordering
//! An opener counts itself in at the inode and then looks for leases; who takes a lease puts it in the list and then
//! looks at the counts: one of them sees the other. The opener's count is a locked instruction, which on x86 no later
//! load overtakes; the fence below is the other half.
//!
//! Reference: fcntl(2), "Leases".

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering, fence};

use abi::fs::{F_RDLCK, F_UNLCK, F_WRLCK};
use abi::{Errno, Result};

use super::fasync::{Async, Band, Owner};
use super::inode::Inode;
use super::locks::description_owner;
use super::{File, FileMode};
use crate::sync::{Mutex, WaitQueue};
use crate::task::{self, Cap};
use crate::time;

/// Seconds that a holder has (`fs.lease-break-time`).
static BREAK_TIME: AtomicI32 = AtomicI32::new(45);
/// Whether leases may be taken (`fs.leases-enable`).
static ENABLED: AtomicBool = AtomicBool::new(true);

pub fn break_time() -> i32 {
    BREAK_TIME.load(Ordering::Relaxed)
}
pub fn set_break_time(seconds: i32) {
    BREAK_TIME.store(seconds, Ordering::Relaxed);
}
pub fn enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}
pub fn enable(on: bool) {
    ENABLED.store(on, Ordering::Relaxed);
}

/// What a lease keeps away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Writers.
    Read,
    /// Everybody.
    Write,
}

/// What its holder was asked for. Times are of the monotonic clock; `None`: it has for ever.
#[derive(Clone, Copy)]
enum Breaking {
    No,
    /// To lower it to a read lease.
    Downgrade(Option<u64>),
    /// To give it up.
    Unlock(Option<u64>),
}

struct Lease {
    /// The open file description, as in [`description_owner`].
    holder: u64,
    kind: Kind,
    breaking: Breaking,
    tell: Arc<Async>,
}

impl Lease {
    fn conflicts(&self, write: bool) -> bool {
        write || self.kind == Kind::Write
    }

    /// What it is, or will be once its holder has done as asked.
    fn target(&self) -> i16 {
        match (self.breaking, self.kind) {
            (Breaking::Unlock(_), _) => F_UNLCK,
            (Breaking::Downgrade(_), _) | (Breaking::No, Kind::Read) => F_RDLCK,
            (Breaking::No, Kind::Write) => F_WRLCK,
        }
    }

    fn deadline(&self) -> Option<u64> {
        match self.breaking {
            Breaking::No => None,
            Breaking::Downgrade(deadline) | Breaking::Unlock(deadline) => deadline,
        }
    }

    /// Asks the holder, unless it was asked for as much before; true if it is to be told.
    fn ask(&mut self, write: bool, deadline: Option<u64>) -> bool {
        match (write, self.breaking) {
            (true, Breaking::Unlock(_)) | (false, Breaking::Unlock(_) | Breaking::Downgrade(_)) => {
                return false;
            }
            (true, _) => self.breaking = Breaking::Unlock(deadline),
            (false, Breaking::No) => self.breaking = Breaking::Downgrade(deadline),
        }
        true
    }
}

/// The leases of one inode.
///
/// # Invariants
/// `count` is the length of `list`; `changes` grows with every change that a waiting opener looks for.
#[derive(Default)]
pub struct Leases {
    count: AtomicU32,
    changes: AtomicU32,
    list: Mutex<Vec<Lease>>,
    queue: WaitQueue,
}

impl Leases {
    fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Changes the list, drops what its holders kept too long, and wakes who waits.
    fn change<R>(&self, f: impl FnOnce(&mut Vec<Lease>) -> R) -> R {
        let mut gone = Vec::new();
        let mut list = self.list.lock();
        expire(&mut list, &mut gone);
        let result = f(&mut list);
        self.count.store(list.len() as u32, Ordering::SeqCst);
        self.changes.fetch_add(1, Ordering::SeqCst);
        drop(list);
        gone.iter().for_each(forget);
        self.queue.wake_all();
        result
    }

    /// Waits until nothing conflicts with an open for writing, or for reading only.
    fn break_for(&self, write: bool, nonblock: bool) -> Result<()> {
        let deadline = match u64::try_from(break_time()) {
            Ok(seconds @ 1..) => Some(time::monotonic_ns() + seconds * 1_000_000_000),
            _ => None,
        };
        let told: Vec<_> = self.change(|list| {
            let asked = list.iter_mut().filter(|lease| lease.conflicts(write));
            asked
                .filter_map(|lease| lease.ask(write, deadline).then(|| lease.tell.clone()))
                .collect()
        });
        for holder in told {
            holder.tell(Band::Msg);
        }
        loop {
            let seen = self.changes.load(Ordering::SeqCst);
            let mut until = None;
            let mut gone = Vec::new();
            let mut list = self.list.lock();
            expire(&mut list, &mut gone);
            self.count.store(list.len() as u32, Ordering::SeqCst);
            let mut conflicts = false;
            for lease in list.iter().filter(|lease| lease.conflicts(write)) {
                conflicts = true;
                until = until.or(lease.deadline());
            }
            drop(list);
            gone.iter().for_each(forget);
            if !conflicts {
                return Ok(());
            }
            if nonblock {
                return Err(Errno::EAGAIN);
            }
            self.queue.wait_until_deadline(until, || {
                (self.changes.load(Ordering::SeqCst) != seen).then_some(())
            })?;
        }
    }
}

/// Lowers and removes what was not given up in time.
fn expire(list: &mut Vec<Lease>, gone: &mut Vec<Lease>) {
    let now = time::monotonic_ns();
    let mut at = 0;
    while let Some(lease) = list.get_mut(at) {
        let late = lease.deadline().is_some_and(|deadline| deadline <= now);
        match lease.breaking {
            Breaking::Unlock(_) if late => gone.push(list.swap_remove(at)),
            Breaking::Downgrade(_) if late => {
                (lease.kind, lease.breaking) = (Kind::Read, Breaking::No);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// With a lease goes who is told of what.
fn forget(lease: &Lease) {
    lease.tell.set_owner(None);
    lease.tell.set_signal(0);
}

/// An open or truncation is about to use the inode; the caller is counted in if it opens.
///
/// # Errors
/// `EAGAIN` with `nonblock`, `ERESTARTSYS`.
#[inline]
pub fn break_for(inode: &Inode, write: bool, nonblock: bool) -> Result<()> {
    match inode.extra() {
        Some(extra) if !extra.leases.is_empty() => extra.leases.break_for(write, nonblock),
        _ => Ok(()),
    }
}

/// `F_GETLEASE`.
pub fn get(file: &File) -> i16 {
    let holder = description_owner(file);
    let Some(extra) = file.inode().extra() else {
        return F_UNLCK;
    };
    if extra.leases.is_empty() {
        return F_UNLCK;
    }
    extra.leases.change(|list| {
        list.iter()
            .find(|lease| lease.holder == holder)
            .map_or(F_UNLCK, Lease::target)
    })
}

/// `F_SETLEASE` by the descriptor `fd`.
///
/// # Errors
/// `EACCES` for a file of others, `EINVAL`, `EAGAIN` where somebody has it open, or there is no lease to give up.
pub fn set(file: &File, fd: i32, kind: i32) -> Result<()> {
    let kind = match i16::try_from(kind) {
        Ok(F_RDLCK) => Some(Kind::Read),
        Ok(F_WRLCK) => Some(Kind::Write),
        Ok(F_UNLCK) => None,
        _ => return Err(Errno::EINVAL),
    };
    let inode = file.inode();
    let cred = task::current();
    let cred = cred.my_cred();
    if cred.fsuid != inode.uid() && !cred.capable(Cap::LEASE) {
        return Err(Errno::EACCES);
    }
    if !inode.is_regular() {
        return Err(Errno::EINVAL);
    }
    match kind {
        None if remove(file) => Ok(()),
        None => Err(Errno::EAGAIN),
        Some(kind) => take(file, fd, kind),
    }
}

fn take(file: &File, fd: i32, kind: Kind) -> Result<()> {
    let inode = file.inode();
    let holder = description_owner(file);
    let leases = &inode.extra_or_new().leases;
    let state = file.fasync_or_new();
    leases.change(|list| {
        check_opens(file, kind)?;
        let others = || list.iter().filter(|lease| lease.holder != holder);
        let pending = |lease: &Lease| matches!(lease.breaking, Breaking::Unlock(_));
        if others().any(|lease| kind == Kind::Write || pending(lease)) {
            return Err(Errno::EAGAIN);
        }
        match list.iter_mut().find(|lease| lease.holder == holder) {
            Some(own) => {
                own.kind = kind;
                if matches!((own.breaking, kind), (Breaking::Downgrade(_), Kind::Read)) {
                    own.breaking = Breaking::No;
                }
            }
            None if !enabled() => return Err(Errno::EINVAL),
            None => {
                list.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                list.push(Lease {
                    holder,
                    kind,
                    breaking: Breaking::No,
                    tell: state.clone(),
                });
                leases.count.store(list.len() as u32, Ordering::SeqCst);
                fence(Ordering::SeqCst);
                if let Err(error) = check_opens(file, kind) {
                    list.pop();
                    return Err(error);
                }
            }
        }
        state.set_fd(fd);
        if state.owner().is_none() {
            state.set_owner(Some(Owner::current()));
        }
        Ok(())
    })
}

/// A read lease needs a file without writers, a write lease one that nobody else has open.
fn check_opens(file: &File, kind: Kind) -> Result<()> {
    let inode = file.inode();
    let (writers, readers) = (inode.writers(), inode.readers());
    let fits = match kind {
        Kind::Read => writers <= 0,
        Kind::Write if file.mode().contains(FileMode::WRITE) => (writers, readers) == (1, 0),
        Kind::Write => (writers, readers) == (0, 1),
    };
    if fits { Ok(()) } else { Err(Errno::EAGAIN) }
}

/// Gives up the file's lease; false if there is none.
fn remove(file: &File) -> bool {
    let holder = description_owner(file);
    let Some(extra) = file.inode().extra() else {
        return false;
    };
    if extra.leases.is_empty() {
        return false;
    }
    let removed = extra.leases.change(|list| {
        let at = list.iter().position(|lease| lease.holder == holder)?;
        Some(list.swap_remove(at))
    });
    removed.iter().for_each(forget);
    removed.is_some()
}

/// The last reference to the file is gone.
pub fn release(file: &File) {
    remove(file);
}
