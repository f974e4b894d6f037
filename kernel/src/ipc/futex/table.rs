//! The hash buckets that all waiters stand in.

use core::sync::atomic::{AtomicU32, Ordering, fence};

use ::futex::Bucket;
use abi::{Errno, Result};

use super::sleeper::Sleeper;
use crate::mm::space::FutexKey;
use crate::sync::{SpinGuard, SpinLock};

const BUCKETS: usize = 512;

pub(super) type Queue = Bucket<FutexKey, Sleeper>;

#[repr(align(64))]
pub(super) struct HashBucket {
    /// Those in `queue`, and those about to join.
    waiters: AtomicU32,
    queue: SpinLock<Queue>,
}

static TABLE: [HashBucket; BUCKETS] = [const {
    HashBucket {
        waiters: AtomicU32::new(0),
        queue: SpinLock::new(Bucket::new()),
    }
}; BUCKETS];

/// Which bucket a key's waiters stand in.
pub(super) fn index_of(key: FutexKey) -> usize {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let (a, b) = match key {
        FutexKey::Private { space, addr } => (space, addr as u64),
        FutexKey::Shared { object, offset } => (object as u64, offset),
    };
    let mixed = (a.rotate_left(32) ^ b >> 2).wrapping_mul(MIX);
    (mixed >> 32) as usize % BUCKETS
}

/// The bucket with that index; indices come from [`index_of`].
pub(super) fn bucket(index: usize) -> &'static HashBucket {
    &TABLE[index % BUCKETS]
}

impl HashBucket {
    pub(super) fn lock(&self) -> SpinGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Whether nobody waits here. The caller has changed the word before.
    pub(super) fn is_idle(&self) -> bool {
        fence(Ordering::SeqCst);
        self.waiters.load(Ordering::Relaxed) == 0
    }

    /// So many are about to join.
    pub(super) fn coming(&self, count: usize) {
        self.waiters.fetch_add(count as u32, Ordering::SeqCst);
    }

    /// So many are no longer here, or did not join.
    pub(super) fn left(&self, count: usize) {
        self.waiters.fetch_sub(count as u32, Ordering::Relaxed);
    }

    /// Makes the queue roomier, outside its lock.
    pub(super) fn make_room(&self, count: usize) -> Result<()> {
        let wanted = (self.queue.lock().len() + count).next_power_of_two().max(4);
        let mut roomier = Queue::with_capacity(wanted).ok_or(Errno::ENOMEM)?;
        self.queue.lock().swap_room(&mut roomier);
        Ok(())
    }
}

/// Two buckets locked in the order of their indices; one guard when they are the same.
pub(super) struct Pair {
    first: SpinGuard<'static, Queue>,
    second: Option<SpinGuard<'static, Queue>>,
    swapped: bool,
}

impl Pair {
    pub(super) fn lock(a: usize, b: usize) -> Pair {
        let first = bucket(a.min(b)).lock();
        let second = (a != b).then(|| bucket(a.max(b)).lock());
        Pair {
            first,
            second,
            swapped: a > b,
        }
    }

    /// The queue of `a`, and that of `b` if it is another.
    pub(super) fn both(&mut self) -> (&mut Queue, Option<&mut Queue>) {
        let (first, second) = (&mut *self.first, self.second.as_deref_mut());
        match second {
            Some(second) if self.swapped => (second, Some(first)),
            other => (first, other),
        }
    }
}
