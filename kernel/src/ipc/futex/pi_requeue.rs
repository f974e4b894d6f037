//! FUTEX_WAIT_REQUEUE_PI and FUTEX_CMP_REQUEUE_PI: condition variables of priority-inheriting mutexes. A waiter sleeps on the
//! first word until it is moved to the second, a priority-inheriting futex, and wakes when it has that.

use core::sync::atomic::Ordering;

use abi::futex::FUTEX_BITSET_MATCH_ANY;
use abi::{Errno, Result};

use super::pi::{self, BY_OWNER, Claim, Finish, Locked, Party, WAITING};
use super::sleeper::Ended;
use super::{Futex, table, wait as plain};
use crate::mm::space::FutexKey;
use crate::sync::current;

/// Sleeps while the word is `expected`, to be moved to `target`, until `deadline_ns` of the monotonic clock; has `target`
/// when it returns without an error.
///
/// # Errors
/// `EAGAIN` when the word is something else, or when a signal came after the move; `ERESTARTNOINTR` when it came before;
/// `ETIMEDOUT`, `EFAULT`, `EINVAL`.
pub fn wait(futex: Futex, expected: u32, deadline_ns: Option<u64>, target: Futex) -> Result<usize> {
    if futex.word.addr() == target.word.addr() {
        return Err(Errno::EINVAL);
    }
    let me = current();
    let key = target.key()?;
    me.futex.granted.store(WAITING, Ordering::Relaxed);
    plain::enqueue(&me, futex, expected, FUTEX_BITSET_MATCH_ANY, Some(key))?;
    let ended = pi::sleep(&me, deadline_ns);
    // Who moves a waiter does it under the graph's lock: it now has the futex, waits for it, or was not moved.
    match pi::finish(&me, key, target.word)? {
        Finish::Has => Ok(0),
        Finish::GaveUp if ended == Ended::TimedOut => Err(Errno::ETIMEDOUT),
        Finish::GaveUp => Err(Errno::EAGAIN),
        Finish::DidNotWait => match (leave(), ended) {
            (true, Ended::TimedOut) => Err(Errno::ETIMEDOUT),
            (true, _) => Err(Errno::ERESTARTNOINTR),
            // Moved between the two looks.
            (false, _) => after_late_move(key, target, ended),
        },
    }
}

/// Leaves the bucket under the graph's lock; false when the thread was moved before.
fn leave() -> bool {
    let me = current();
    let _graph = Locked::lock();
    let index = me.futex.bucket.load(Ordering::SeqCst);
    let bucket = table::bucket(index as usize);
    let mine = &raw const *me;
    let removed = bucket
        .lock()
        .remove(|sleeper| core::ptr::eq(&raw const **sleeper.task(), mine));
    if removed.is_some() {
        bucket.left(1);
    }
    removed.is_some()
}

fn after_late_move(key: FutexKey, target: Futex, ended: Ended) -> Result<usize> {
    match pi::finish(&current(), key, target.word)? {
        Finish::Has => Ok(0),
        _ if ended == Ended::TimedOut => Err(Errno::ETIMEDOUT),
        _ => Err(Errno::EAGAIN),
    }
}

/// Gives `to` to the first waiter of `from` if it is free, and lets up to `move_limit` others wait for it; only if the word
/// of `from` is `expected`. Answers how many were given it or moved.
///
/// # Errors
/// `EAGAIN` when it is something else, `EINVAL` when a waiter does not wait for this, `EDEADLK`, and those of
/// FUTEX_LOCK_PI.
pub fn cmp_requeue(from: Futex, to: Futex, move_limit: usize, expected: u32) -> Result<usize> {
    let (key, to_key) = (from.key()?, to.key()?);
    if key == to_key {
        return Err(Errno::EINVAL);
    }
    loop {
        let mut graph = Locked::lock();
        let first = match first_waiter(from, key, to_key, expected) {
            Err(Absent::Page) => {
                drop(graph);
                from.word.load()?;
                continue;
            }
            Err(Absent::Error(errno)) => return Err(errno),
            Ok(None) => return Ok(0),
            Ok(Some(first)) => first,
        };
        let claimed = pi::claim(&graph, to_key, to.word, &first.0, move_limit > 0)?;
        let (owner, given) = match claimed {
            Claim::Taken => (first, 1),
            Claim::Held(owner) => (owner, 0),
            Claim::Absent => {
                drop(graph);
                to.bring_in()?;
                continue;
            }
            Claim::Changed => continue,
        };
        if given == 1 {
            take(key, to_key, |_| true)?;
            owner.0.futex.is_wanted.store(true, Ordering::SeqCst);
        }
        let moved = move_waiters(&mut graph, key, to_key, &owner, move_limit + 1 - given);
        if given == 1 {
            pi::grant(&owner, BY_OWNER);
        }
        return moved.map(|moved| moved + given);
    }
}

enum Absent {
    Page,
    Error(Errno),
}

/// The first waiter, which stays where it is, if the word is `expected`.
fn first_waiter(
    from: Futex,
    key: FutexKey,
    to_key: FutexKey,
    expected: u32,
) -> core::result::Result<Option<Party>, Absent> {
    let queue = table::bucket(table::index_of(key)).lock();
    match from.word.load_nofault() {
        Ok(value) if value != expected => return Err(Absent::Error(Errno::EAGAIN)),
        Ok(_) => {}
        Err(Errno::EAGAIN) => return Err(Absent::Page),
        Err(errno) => return Err(Absent::Error(errno)),
    }
    match queue.first(key) {
        None => Ok(None),
        Some(waiter) if waiter.target == Some(to_key) => Ok(Some(Party(waiter.who.task().clone()))),
        Some(_) => Err(Absent::Error(Errno::EINVAL)),
    }
}

/// Takes the first waiter out of its bucket; under the graph's lock, so that it cannot leave by itself meanwhile. One that
/// `may_go` refuses stays.
fn take(
    key: FutexKey,
    to_key: FutexKey,
    may_go: impl FnOnce(&Party) -> bool,
) -> Result<Option<Party>> {
    let bucket = table::bucket(table::index_of(key));
    let mut queue = bucket.lock();
    let Some(first) = queue.first(key) else {
        return Ok(None);
    };
    let party = Party(first.who.task().clone());
    if !may_go(&party) {
        return Err(Errno::EDEADLK);
    }
    let taken = queue.take_first(key, to_key);
    drop(queue);
    taken.map_err(|_| Errno::EINVAL)?;
    bucket.left(1);
    Ok(Some(party))
}

fn move_waiters(
    graph: &mut Locked,
    key: FutexKey,
    to_key: FutexKey,
    owner: &Party,
    limit: usize,
) -> Result<usize> {
    let mut moved = 0;
    while moved < limit {
        let may_wait = |waiter: &Party| !graph.would_deadlock(to_key, owner, waiter);
        let Some(waiter) = take(key, to_key, may_wait)? else {
            break;
        };
        graph.wait(to_key, owner, &waiter)?;
        moved += 1;
    }
    Ok(moved)
}
