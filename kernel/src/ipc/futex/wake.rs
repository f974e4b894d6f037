//! FUTEX_WAKE, FUTEX_WAKE_BITSET and FUTEX_WAKE_OP.

use ::futex::{Woken, WrongKind};
use abi::futex::{FUTEX_BITSET_MATCH_ANY, WakeOp};
use abi::{Errno, Result};

use super::sleeper::{self, Sleeper};
use super::table::{self, Pair};
use super::{Futex, pi};
use crate::mm::space::FutexKey;
use crate::mm::user::UserPtr;

/// Wakes up to `limit` waiters, one at least, and says how many.
///
/// # Errors
/// `EINVAL` for an empty bitset, a misaligned word, or when one is met who waits for a priority-inheriting futex;
/// `EFAULT`.
pub fn wake(futex: Futex, limit: usize, bitset: u32) -> Result<usize> {
    if bitset == 0 {
        return Err(Errno::EINVAL);
    }
    let key = futex.key()?;
    let count = wake_key(key, limit, bitset).map_err(|_| Errno::EINVAL)?;
    if count == 0 && pi::is_contended(key) {
        return Err(Errno::EINVAL);
    }
    Ok(count)
}

fn wake_key(key: FutexKey, limit: usize, bitset: u32) -> core::result::Result<usize, WrongKind> {
    let bucket = table::bucket(table::index_of(key));
    if bucket.is_idle() {
        return Ok(0);
    }
    let mut woken = Woken::new();
    let result = bucket
        .lock()
        .wake(key, bitset, limit.max(1), &mut woken, Sleeper::mark_woken);
    bucket.left(woken.len());
    sleeper::wake_all(woken);
    result
}

/// FUTEX_WAKE_OP: changes the second word, wakes up to `limit` waiters of the first and, if the second word's old value
/// compares as `op` says, up to `limit2` of the second.
///
/// # Errors
/// `EFAULT`, `EINVAL`.
pub fn wake_op(
    first: Futex,
    second: Futex,
    limit: usize,
    limit2: usize,
    op: WakeOp,
) -> Result<usize> {
    let (key, key2) = (first.key()?, second.key()?);
    let (a, b) = (table::index_of(key), table::index_of(key2));
    loop {
        let mut pair = Pair::lock(a, b);
        let old = match change_nofault(second.word, op) {
            Ok(old) => old,
            Err(Errno::EAGAIN) => {
                drop(pair);
                second.bring_in()?;
                continue;
            }
            Err(errno) => return Err(errno),
        };
        let mut woken = Woken::new();
        let any = FUTEX_BITSET_MATCH_ANY;
        let (queue, queue2) = pair.both();
        let first = queue.wake(key, any, limit.max(1), &mut woken, Sleeper::mark_woken);
        let count = woken.len();
        let both = if first.is_ok() && op.holds(old) {
            let queue = queue2.unwrap_or(queue);
            queue.wake(key2, any, limit2.max(1), &mut woken, Sleeper::mark_woken)
        } else {
            first
        };
        drop(pair);
        let total = woken.len();
        table::bucket(a).left(count);
        table::bucket(b).left(total - count);
        sleeper::wake_all(woken);
        return both.map(|_| total).map_err(|_| Errno::EINVAL);
    }
}

/// Applies `op` to the word in one atomic step, without sleeping; returns the old value.
fn change_nofault(word: UserPtr<u32>, op: WakeOp) -> Result<u32> {
    let mut old = word.load_nofault()?;
    loop {
        let seen = word.compare_exchange_nofault(old, op.apply(old))?;
        if seen == old {
            return Ok(old);
        }
        old = seen;
    }
}
