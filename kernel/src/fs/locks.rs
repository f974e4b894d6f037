//! File locks: `flock`, POSIX record locks, and those of open file descriptions. Waiting and deadlock detection
//! around the crate's ranges.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::{Errno, Result};
use ksync::SpinLock;
use vfs::{LockKind, Range, RangeLock, RangeLocks};

use crate::fs::file::File;
use crate::fs::inode::Inode;
use crate::sync::WaitQueue;

#[derive(Default)]
struct Held {
    ranges: RangeLocks,
    whole: Vec<WholeLock>,
}

/// A `flock`.
#[derive(Clone, Copy)]
struct WholeLock {
    /// The open file description.
    owner: u64,
    kind: LockKind,
    /// The process that took it.
    pid: i32,
}

/// The locks of one inode.
#[derive(Default)]
pub struct LockContext {
    held: SpinLock<Held>,
    queue: WaitQueue,
    /// Whether the inode is in [`LOCKED`].
    listed: AtomicBool,
}

/// The inodes that have had locks, and may have some: what `/proc/locks` looks at. Those that are gone are taken out
/// when the list would grow.
static LOCKED: SpinLock<Vec<Weak<Inode>>> = SpinLock::new(Vec::new());

/// A lock as `/proc/locks` shows it.
pub struct Shown {
    /// `FLOCK`, `POSIX` or `OFDLCK`.
    pub class: &'static str,
    pub kind: LockKind,
    pub pid: i32,
    pub range: Range,
}

/// Owners that wait, and for whom: a cycle among them would never end.
static WAITING: SpinLock<Vec<(u64, u64)>> = SpinLock::new(Vec::new());

/// An open file description as an owner of locks. The lowest bit tells it from a descriptor table's id.
pub fn description_owner(file: &File) -> u64 {
    core::ptr::from_ref(file) as u64 | 1
}

/// A process (its descriptor table) as an owner of POSIX locks.
pub fn process_owner(table_id: u64) -> u64 {
    table_id << 1
}

/// Whether waiting for `blocker` would close a cycle back to `owner`.
fn would_deadlock(waiting: &[(u64, u64)], owner: u64, mut blocker: u64) -> bool {
    // A chain is at most as long as there are waiters.
    for _ in 0..=waiting.len() {
        if blocker == owner {
            return true;
        }
        match waiting.iter().find(|(waiter, _)| *waiter == blocker) {
            Some((_, next)) => blocker = *next,
            None => return false,
        }
    }
    false
}

/// Removes a waiter's entry when it stops waiting.
struct Waiter(u64);

impl Waiter {
    fn enter(owner: u64, blocker: u64) -> Result<Self> {
        let mut waiting = WAITING.lock();
        if would_deadlock(&waiting, owner, blocker) {
            return Err(Errno::EDEADLK);
        }
        waiting.try_reserve(1).map_err(|_| Errno::ENOLCK)?;
        waiting.push((owner, blocker));
        Ok(Self(owner))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = WAITING.lock();
        if let Some(at) = waiting.iter().position(|(owner, _)| *owner == self.0) {
            waiting.swap_remove(at);
        }
    }
}

impl LockContext {
    /// The lock that keeps `owner` from locking the range, for `F_GETLK`.
    pub fn conflict(&self, owner: u64, kind: LockKind, range: Range) -> Option<RangeLock> {
        self.held
            .lock()
            .ranges
            .conflict(owner, kind, range)
            .copied()
    }

    /// Locks a range; EAGAIN if it is taken and `wait` is false; EDEADLK (where `detect`) if waiting would never end.
    pub fn lock_range(&self, lock: RangeLock, wait: bool, detect: bool) -> Result<()> {
        loop {
            let mut held = self.held.lock();
            let blocker = match held.ranges.conflict(lock.owner, lock.kind, lock.range) {
                None => {
                    let weaker = held.ranges.set(lock).map_err(|_| Errno::ENOLCK)?;
                    drop(held);
                    if weaker {
                        self.queue.wake_all();
                    }
                    return Ok(());
                }
                Some(blocker) => blocker.owner,
            };
            drop(held);
            if !wait {
                return Err(Errno::EAGAIN);
            }
            let _waiter = if detect {
                Some(Waiter::enter(lock.owner, blocker)?)
            } else {
                None
            };
            self.queue.wait_until(|| {
                let held = self.held.lock();
                // A new blocker means a new look for cycles.
                match held.ranges.conflict(lock.owner, lock.kind, lock.range) {
                    Some(now) if now.owner == blocker => None,
                    _ => Some(()),
                }
            })?;
        }
    }

    /// Gives up a range.
    pub fn unlock_range(&self, owner: u64, range: Range) -> Result<()> {
        let freed = self
            .held
            .lock()
            .ranges
            .clear(owner, range)
            .map_err(|_| Errno::ENOLCK)?;
        if freed {
            self.queue.wake_all();
        }
        Ok(())
    }

    /// Takes, changes, or with `None` gives up, the `flock` of an open file description.
    pub fn flock(&self, file: &File, kind: Option<LockKind>, wait: bool) -> Result<()> {
        let owner = description_owner(file);
        let Some(kind) = kind else {
            self.drop_flock(owner);
            return Ok(());
        };
        {
            let mut held = self.held.lock();
            let same = |lock: &WholeLock| (lock.owner, lock.kind) == (owner, kind);
            if held.whole.iter().any(same) {
                return Ok(());
            }
            held.whole.try_reserve(1).map_err(|_| Errno::ENOLCK)?;
        }
        // A change of kind gives the old lock up first, and is not atomic, as on Linux.
        self.drop_flock(owner);
        let pid = crate::task::current().process.pid.0;
        let attempt = || {
            let mut held = self.held.lock();
            let taken = held
                .whole
                .iter()
                .any(|other| [kind, other.kind].contains(&LockKind::Exclusive));
            if taken {
                return None;
            }
            if held.whole.try_reserve(1).is_err() {
                return Some(Err(Errno::ENOLCK));
            }
            held.whole.push(WholeLock { owner, kind, pid });
            Some(Ok(()))
        };
        if wait {
            self.queue.wait_until(attempt)?
        } else {
            attempt().unwrap_or(Err(Errno::EAGAIN))
        }
    }

    fn drop_flock(&self, owner: u64) {
        let mut held = self.held.lock();
        let Some(at) = held.whole.iter().position(|lock| lock.owner == owner) else {
            return;
        };
        held.whole.swap_remove(at);
        drop(held);
        self.queue.wake_all();
    }

    /// A descriptor was closed: its table's POSIX locks on the file go, whichever descriptor took them.
    pub fn release_owner(&self, table_id: u64) {
        self.release(process_owner(table_id));
    }

    fn release(&self, owner: u64) {
        let mut held = self.held.lock();
        if held.ranges.is_empty() {
            return;
        }
        let freed = held.ranges.clear_owner(owner);
        drop(held);
        if freed {
            self.queue.wake_all();
        }
    }

    /// The last reference to an open file description is gone, and its locks with it.
    pub fn release_file(&self, file: &File) {
        let owner = description_owner(file);
        self.release(owner);
        self.drop_flock(owner);
    }
}

/// The lock state of a file, made on first use.
pub fn context(file: &Arc<File>) -> &LockContext {
    let inode = file.inode();
    let context = &inode.extra_or_new().locks;
    // Pairs with nothing: only one of several that come at once lists the inode.
    if !context.listed.load(Ordering::Relaxed) && !context.listed.swap(true, Ordering::Relaxed) {
        let mut locked = LOCKED.lock();
        if locked.len() == locked.capacity() {
            locked.retain(|inode| inode.strong_count() > 0);
        }
        match locked.try_reserve(1) {
            Ok(()) => locked.push(Arc::downgrade(inode)),
            // It is not shown then, unless the next lock finds memory.
            Err(_) => context.listed.store(false, Ordering::Relaxed),
        }
    }
    context
}

/// Calls `show` with each lock that is held and its inode, until it fails. Those that only wait are left out.
pub fn for_each(mut show: impl FnMut(&Inode, Shown) -> Result<()>) -> Result<()> {
    let mut at = 0;
    loop {
        // One inode after the other, so that neither list is locked while the other or the text grows.
        let inode = match LOCKED.lock().get(at) {
            Some(inode) => inode.upgrade(),
            None => return Ok(()),
        };
        at += 1;
        let Some(inode) = inode else { continue };
        let Some(extra) = inode.extra() else { continue };
        let mut number = 0;
        while let Some(lock) = extra.locks.nth(number) {
            show(&inode, lock)?;
            number += 1;
        }
    }
}

impl LockContext {
    fn nth(&self, number: usize) -> Option<Shown> {
        let held = self.held.lock();
        let whole = held.whole.iter().map(|lock| Shown {
            class: "FLOCK",
            kind: lock.kind,
            pid: lock.pid,
            range: Range {
                start: 0,
                end: Range::EOF,
            },
        });
        let ranges = held.ranges.iter().map(|lock| Shown {
            class: if lock.pid < 0 { "OFDLCK" } else { "POSIX" },
            kind: lock.kind,
            pid: lock.pid,
            range: lock.range,
        });
        whole.chain(ranges).nth(number)
    }
}
