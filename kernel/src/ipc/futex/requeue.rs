//! FUTEX_REQUEUE and FUTEX_CMP_REQUEUE.

use ::futex::Woken;
use abi::futex::FUTEX_BITSET_MATCH_ANY;
use abi::{Errno, Result};

use super::Futex;
use super::sleeper::{self, Sleeper};
use super::table::{self, Pair};

/// FUTEX_REQUEUE and FUTEX_CMP_REQUEUE: wakes up to `wake_limit` waiters of `from` and lets up to `move_limit` others wait
/// for `to`. With `expected`, only if the word of `from` still has that value.
///
/// # Errors
/// `EAGAIN` when it has not, `EFAULT`, `EINVAL`, `ENOMEM`.
pub fn requeue(
    from: Futex,
    to: Futex,
    wake_limit: usize,
    move_limit: usize,
    expected: Option<u32>,
) -> Result<usize> {
    let (key, to_key) = (from.key()?, to.key()?);
    let (a, b) = (table::index_of(key), table::index_of(to_key));
    loop {
        let mut pair = Pair::lock(a, b);
        if let Some(expected) = expected {
            match from.word.load_nofault() {
                Ok(value) if value != expected => return Err(Errno::EAGAIN),
                Ok(_) => {}
                Err(Errno::EAGAIN) => {
                    drop(pair);
                    from.word.load()?;
                    continue;
                }
                Err(errno) => return Err(errno),
            }
        }
        let (source, target) = pair.both();
        let moving = source.count(key, wake_limit.saturating_add(move_limit));
        let moving = moving.saturating_sub(wake_limit);
        if target
            .as_ref()
            .is_some_and(|target| !target.has_room(moving))
        {
            drop(pair);
            table::bucket(b).make_room(moving)?;
            continue;
        }
        let mut woken = Woken::new();
        let any = FUTEX_BITSET_MATCH_ANY;
        let first = match wake_limit {
            0 => Ok(0),
            limit => source.wake(key, any, limit, &mut woken, Sleeper::mark_woken),
        };
        // So that nobody skips the second bucket while waiters are on their way into it.
        table::bucket(b).coming(moving);
        let mut moved = 0;
        let both = first.and_then(|_| {
            source.requeue(key, target, to_key, move_limit, |sleeper| {
                sleeper.mark_moved(b);
                moved += 1;
            })
        });
        drop(pair);
        let count = woken.len();
        // Of those announced some may have stayed where they were.
        table::bucket(a).left(count + moved);
        table::bucket(b).left(moving - moved);
        sleeper::wake_all(woken);
        return both.map(|moved| count + moved).map_err(|_| Errno::EINVAL);
    }
}
