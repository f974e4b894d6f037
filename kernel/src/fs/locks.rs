//! File locks: `flock`, POSIX record locks, and those of open file descriptions. Waiting and deadlock detection
//! around the crate's ranges.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Errno, Result};
use ksync::SpinLock;
use vfs::{LockKind, Range, RangeLock, RangeLocks};

use crate::fs::file::File;
use crate::sync::WaitQueue;

#[derive(Default)]
struct Held {
    ranges: RangeLocks,
    /// `flock` locks, by the open file description.
    whole: Vec<(u64, LockKind)>,
}

/// The locks of one inode.
#[derive(Default)]
pub struct LockContext {
    held: SpinLock<Held>,
    queue: WaitQueue,
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
            if held.whole.contains(&(owner, kind)) {
                return Ok(());
            }
            held.whole.try_reserve(1).map_err(|_| Errno::ENOLCK)?;
        }
        // A change of kind gives the old lock up first, and is not atomic, as on Linux.
        self.drop_flock(owner);
        let attempt = || {
            let mut held = self.held.lock();
            let taken = held
                .whole
                .iter()
                .any(|(_, other)| kind == LockKind::Exclusive || *other == LockKind::Exclusive);
            if taken {
                return None;
            }
            if held.whole.try_reserve(1).is_err() {
                return Some(Err(Errno::ENOLCK));
            }
            held.whole.push((owner, kind));
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
        let Some(at) = held.whole.iter().position(|(other, _)| *other == owner) else {
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
    &file.inode().extra_or_new().locks
}
