//! FUTEX_WAIT and FUTEX_WAIT_BITSET.

use alloc::boxed::Box;
use core::sync::atomic::Ordering;

use ::futex::Waiter;
use abi::{Errno, Result};

use super::Futex;
use super::sleeper::{self, Ended, Sleeper};
use super::table;
use crate::mm::space::FutexKey;
use crate::signal;
use crate::sync::{CurrentTask, current, current_arc};

/// Sleeps while the word is `expected`, until `deadline_ns` of the monotonic clock.
///
/// # Errors
/// `EAGAIN` when the word is something else, `ETIMEDOUT`, a restart code when a signal came, `EFAULT`, `EINVAL`.
pub fn wait(futex: Futex, expected: u32, bitset: u32, deadline_ns: Option<u64>) -> Result<usize> {
    if bitset == 0 {
        return Err(Errno::EINVAL);
    }
    let me = current();
    enqueue(&me, futex, expected, bitset, None)?;
    let ended = sleeper::sleep(&me, deadline_ns, || me.futex.woken.load(Ordering::SeqCst));
    if !give_up(&me) {
        return Ok(0);
    }
    match ended {
        Ended::Woken => Ok(0),
        Ended::TimedOut => Err(Errno::ETIMEDOUT),
        Ended::Signal if deadline_ns.is_none() => Err(Errno::ERESTARTSYS),
        Ended::Signal => {
            let resume = move || wait(futex, expected, bitset, deadline_ns);
            Err(signal::restart_with(Box::new(resume)))
        }
    }
}

/// Compares the word and joins its bucket. `target`: the priority-inheriting futex that the thread wants to be moved to.
pub(super) fn enqueue(
    me: &CurrentTask,
    futex: Futex,
    expected: u32,
    bitset: u32,
    target: Option<FutexKey>,
) -> Result<()> {
    let key = futex.key()?;
    let index = table::index_of(key);
    me.futex.woken.store(false, Ordering::Relaxed);
    me.futex.bucket.store(index as u32, Ordering::Relaxed);
    let waiter = Waiter {
        key,
        bitset,
        rank: sleeper::rank_of(me),
        target,
        who: Sleeper::One(current_arc()),
    };
    join(futex, expected, waiter)
}

/// Compares the word and puts a waiter into the bucket of its key, in one critical section.
pub(super) fn join(
    futex: Futex,
    expected: u32,
    mut waiter: Waiter<FutexKey, Sleeper>,
) -> Result<()> {
    let bucket = table::bucket(table::index_of(waiter.key));
    loop {
        bucket.coming(1);
        let mut queue = bucket.lock();
        let missing = match futex.word.load_nofault() {
            Ok(value) if value != expected => Err(Errno::EAGAIN),
            Ok(_) => match queue.push(waiter) {
                Ok(()) => return Ok(()),
                Err(back) => {
                    waiter = back;
                    Ok(Missing::Room)
                }
            },
            Err(Errno::EAGAIN) => Ok(Missing::Page),
            Err(errno) => Err(errno),
        };
        drop(queue);
        bucket.left(1);
        match missing? {
            Missing::Room => bucket.make_room(1)?,
            Missing::Page => {
                futex.word.load()?;
            }
        }
    }
}

/// What has to be brought before the next attempt.
enum Missing {
    Room,
    Page,
}

/// Leaves the bucket; false when a waker was faster.
pub(super) fn give_up(me: &CurrentTask) -> bool {
    let mine = &raw const **me;
    sleeper::leave(
        || me.futex.woken.load(Ordering::SeqCst),
        &me.futex.bucket,
        |sleeper| matches!(sleeper, Sleeper::One(task) if core::ptr::eq(&raw const **task, mine)),
    )
}
