//! futex_waitv: waiting for one of many words.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use ::futex::Waiter;
use abi::futex::FUTEX_BITSET_MATCH_ANY;
use abi::{Errno, Result};

use super::Futex;
use super::sleeper::{self, Ended, Sleeper};
use super::{table, wait};
use crate::sync::{current, current_arc};
use crate::task::Task;

/// No word was woken yet.
const NONE: u32 = u32::MAX;

/// A word and the value that it must have.
#[derive(Clone, Copy)]
pub struct Wanted {
    pub futex: Futex,
    pub expected: u32,
}

/// What the waiters of one call share.
pub(super) struct Vector {
    task: Arc<Task>,
    /// The first word that was woken, or `NONE`.
    woken: AtomicU32,
    slots: Vec<Slot>,
}

struct Slot {
    /// Changed by a requeue under both buckets' locks.
    bucket: AtomicU32,
    /// 1 once a wake-up took it out.
    is_out: AtomicU32,
}

impl Vector {
    pub(super) fn task(&self) -> &Arc<Task> {
        &self.task
    }

    pub(super) fn mark_woken(&self, slot: usize) {
        if let Some(slot) = self.slots.get(slot) {
            slot.is_out.store(1, Ordering::SeqCst);
        }
        // Pairs with the waiter's load after it has published that it sleeps. The first one stays.
        let _ = self
            .woken
            .compare_exchange(NONE, slot as u32, Ordering::SeqCst, Ordering::SeqCst);
    }

    pub(super) fn mark_moved(&self, slot: usize, bucket: usize) {
        if let Some(slot) = self.slots.get(slot) {
            slot.bucket.store(bucket as u32, Ordering::SeqCst);
        }
    }

    fn woken(&self) -> Option<usize> {
        let slot = self.woken.load(Ordering::SeqCst);
        (slot != NONE).then_some(slot as usize)
    }

    /// Leaves the buckets of the first `joined` words.
    fn give_up(this: &Arc<Vector>, joined: usize) {
        for (index, slot) in this.slots.iter().enumerate().take(joined) {
            sleeper::leave(
                || slot.is_out.load(Ordering::SeqCst) != 0,
                &slot.bucket,
                |sleeper| matches!(sleeper, Sleeper::Many(other, at) if *at == index && Arc::ptr_eq(other, this)),
            );
        }
    }
}

/// Sleeps while every word has its value, until `deadline_ns` of the monotonic clock; answers the index of one that was
/// woken.
///
/// # Errors
/// `EAGAIN` when a word is something else, `ETIMEDOUT`, a restart code when a signal came, `EFAULT`, `EINVAL`, `ENOMEM`.
pub fn wait_any(wanted: &[Wanted], deadline_ns: Option<u64>) -> Result<usize> {
    let me = current();
    let mut keys = Vec::new();
    let mut slots = Vec::new();
    keys.try_reserve_exact(wanted.len())
        .and_then(|()| slots.try_reserve_exact(wanted.len()))
        .map_err(|_| Errno::ENOMEM)?;
    for one in wanted {
        let key = one.futex.key()?;
        keys.push(key);
        slots.push(Slot {
            bucket: AtomicU32::new(table::index_of(key) as u32),
            is_out: AtomicU32::new(0),
        });
    }
    let vector = Arc::new(Vector {
        task: current_arc(),
        woken: AtomicU32::new(NONE),
        slots,
    });
    for (index, (one, key)) in wanted.iter().zip(keys).enumerate() {
        let waiter = Waiter {
            key,
            bitset: FUTEX_BITSET_MATCH_ANY,
            rank: sleeper::rank_of(&me),
            target: None,
            who: Sleeper::Many(vector.clone(), index),
        };
        if let Err(errno) = wait::join(one.futex, one.expected, waiter) {
            Vector::give_up(&vector, index);
            return vector.woken().ok_or(errno);
        }
    }
    let ended = sleeper::sleep(&me, deadline_ns, || vector.woken().is_some());
    Vector::give_up(&vector, wanted.len());
    if let Some(index) = vector.woken() {
        return Ok(index);
    }
    match ended {
        Ended::TimedOut => Err(Errno::ETIMEDOUT),
        // The time is absolute, so that the call can be made again as it is.
        Ended::Woken | Ended::Signal => Err(Errno::ERESTARTSYS),
    }
}
