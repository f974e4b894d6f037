//! Futexes: sleeping until another thread says that a word of user memory has changed.
//!
//! # Lock order
//! ```text
//! two buckets, the lower index first
//!   run queues (waking happens after the buckets are unlocked)
//! ```
//!
//! # Invariants
//! - A waiter compares the word and joins its bucket in one critical section; a waker changes the word before it takes
//!   the bucket's lock. So either the waiter sees the change or the waker sees the waiter.
//! - `HashBucket::waiters` is raised before the waiter reads the word and read after the waker wrote it (both behind
//!   full barriers): a waker may skip an empty bucket without its lock.
//! - User memory is touched under a bucket's lock only by accesses that never sleep.
//!
//! References: futex(2); Drepper, "Futexes Are Tricky".

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

use ::futex::{Bucket, Waiter, Woken};
use abi::futex::{
    FUTEX_BITSET_MATCH_ANY, FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS, ROBUST_LIST_LIMIT,
    RobustListHead, WakeOp,
};
use abi::{Errno, Result};

use crate::mm::space::FutexKey;
use crate::mm::user::UserPtr;
use crate::sched::{self, SleepKind};
use crate::signal;
use crate::sync::{CurrentTask, SpinGuard, SpinLock, current, current_arc};
use crate::task::Task;
use crate::time;

const BUCKETS: usize = 512;

type Queue = Bucket<FutexKey, Arc<Task>>;

#[repr(align(64))]
struct HashBucket {
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

/// A thread's part in a wait.
#[derive(Debug, Default)]
pub struct FutexWait {
    /// A waker took the thread out of its bucket. Stored under the bucket's lock.
    woken: AtomicBool,
    /// The bucket it stands in; changed by a requeue under both buckets' locks.
    bucket: AtomicU32,
}

/// A futex word as a call names it.
#[derive(Clone, Copy)]
pub struct Futex {
    pub word: UserPtr<u32>,
    /// Not shared with other address spaces (FUTEX_PRIVATE_FLAG).
    pub is_private: bool,
}

impl Futex {
    fn key(self) -> Result<FutexKey> {
        if !self.word.addr().is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        current()
            .my_mm()
            .futex_key(self.word.addr(), self.is_private)
    }
}

fn index_of(key: FutexKey) -> usize {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let (a, b) = match key {
        FutexKey::Private { space, addr } => (space, addr as u64),
        FutexKey::Shared { object, offset } => (object as u64, offset),
    };
    let mixed = (a.rotate_left(32) ^ b >> 2).wrapping_mul(MIX);
    (mixed >> 32) as usize % BUCKETS
}

impl HashBucket {
    /// Whether nobody waits here. The caller has changed the word before.
    fn is_idle(&self) -> bool {
        fence(Ordering::SeqCst);
        self.waiters.load(Ordering::Relaxed) == 0
    }

    fn left(&self, count: usize) {
        self.waiters.fetch_sub(count as u32, Ordering::Relaxed);
    }

    /// Makes the queue roomier, outside its lock.
    fn make_room(&self, count: usize) -> Result<()> {
        let wanted = (self.queue.lock().len() + count).next_power_of_two().max(4);
        let mut roomier = Queue::with_capacity(wanted).ok_or(Errno::ENOMEM)?;
        self.queue.lock().swap_room(&mut roomier);
        Ok(())
    }
}

/// Wakes those taken out, after all locks are gone.
fn wake_all(woken: Woken<Arc<Task>>) {
    for task in woken {
        sched::wake(&task);
    }
}

fn mark_woken(task: &Arc<Task>) {
    // Pairs with the waiter's load after it has published that it sleeps.
    task.futex.woken.store(true, Ordering::SeqCst);
}

/// FUTEX_WAIT and FUTEX_WAIT_BITSET: sleeps while the word is `expected`, until `deadline_ns` of the monotonic clock.
///
/// # Errors
/// `EAGAIN` when the word is something else, `ETIMEDOUT`, a restart code when a signal came, `EFAULT`, `EINVAL`.
pub fn wait(futex: Futex, expected: u32, bitset: u32, deadline_ns: Option<u64>) -> Result<usize> {
    if bitset == 0 {
        return Err(Errno::EINVAL);
    }
    let me = current();
    enqueue(&me, futex, expected, bitset)?;
    let ended = sleep(&me, deadline_ns);
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

/// Compares the word and joins its bucket; returns with the thread marked as sleeping.
fn enqueue(me: &CurrentTask, futex: Futex, expected: u32, bitset: u32) -> Result<()> {
    let key = futex.key()?;
    let index = index_of(key);
    let bucket = &TABLE[index];
    me.futex.woken.store(false, Ordering::Relaxed);
    me.futex.bucket.store(index as u32, Ordering::Relaxed);
    loop {
        bucket.waiters.fetch_add(1, Ordering::SeqCst);
        let mut queue = bucket.queue.lock();
        let again = match futex.word.load_nofault() {
            Ok(value) if value != expected => Err(Errno::EAGAIN),
            Ok(_) if !queue.has_room(1) => Ok(Missing::Room),
            Ok(_) => {
                sched::set_sleeping(SleepKind::Interruptible);
                // There is room, as was just seen under the lock.
                let _ = queue.push(Waiter {
                    key,
                    bitset,
                    who: current_arc(),
                });
                return Ok(());
            }
            Err(Errno::EAGAIN) => Ok(Missing::Page),
            Err(errno) => Err(errno),
        };
        drop(queue);
        bucket.left(1);
        match again? {
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

enum Ended {
    Woken,
    TimedOut,
    Signal,
}

fn sleep(me: &CurrentTask, deadline_ns: Option<u64>) -> Ended {
    let timer = deadline_ns.map(|at| sched::WakeTimer::arm(current_arc(), at));
    let ended = loop {
        if me.futex.woken.load(Ordering::SeqCst) {
            break Ended::Woken;
        }
        if signal::pending(me) {
            break Ended::Signal;
        }
        if deadline_ns.is_some_and(|at| time::monotonic_ns() >= at) {
            break Ended::TimedOut;
        }
        sched::block_current();
        sched::set_sleeping(SleepKind::Interruptible);
    };
    sched::set_running();
    drop(timer);
    ended
}

/// Leaves the bucket; false when a waker was faster.
fn give_up(me: &CurrentTask) -> bool {
    loop {
        if me.futex.woken.load(Ordering::SeqCst) {
            return false;
        }
        let index = me.futex.bucket.load(Ordering::SeqCst);
        let Some(bucket) = TABLE.get(index as usize) else {
            return true;
        };
        let mut queue = bucket.queue.lock();
        if me.futex.bucket.load(Ordering::SeqCst) != index {
            continue;
        }
        let mine = &raw const **me;
        let removed = queue.remove(|task| core::ptr::eq(&raw const **task, mine));
        drop(queue);
        if removed.is_some() {
            bucket.left(1);
            return true;
        }
    }
}

/// FUTEX_WAKE and FUTEX_WAKE_BITSET: wakes up to `limit` waiters, one at least, and says how many.
///
/// # Errors
/// `EINVAL` for an empty bitset or a misaligned word, `EFAULT`.
pub fn wake(futex: Futex, limit: usize, bitset: u32) -> Result<usize> {
    if bitset == 0 {
        return Err(Errno::EINVAL);
    }
    Ok(wake_key(futex.key()?, limit, bitset))
}

fn wake_key(key: FutexKey, limit: usize, bitset: u32) -> usize {
    let bucket = &TABLE[index_of(key)];
    if bucket.is_idle() {
        return 0;
    }
    let mut woken = Woken::new();
    let count = bucket
        .queue
        .lock()
        .wake(key, bitset, limit.max(1), &mut woken, mark_woken);
    bucket.left(count);
    wake_all(woken);
    count
}

/// Two buckets locked in the order of their indices; one guard when they are the same.
struct Pair {
    first: SpinGuard<'static, Queue>,
    second: Option<SpinGuard<'static, Queue>>,
    swapped: bool,
}

impl Pair {
    fn lock(a: usize, b: usize) -> Pair {
        let first = TABLE[a.min(b)].queue.lock();
        let second = (a != b).then(|| TABLE[a.max(b)].queue.lock());
        Pair {
            first,
            second,
            swapped: a > b,
        }
    }

    /// The queue of `a`, and that of `b` if it is another.
    fn both(&mut self) -> (&mut Queue, Option<&mut Queue>) {
        let (first, second) = (&mut *self.first, self.second.as_deref_mut());
        match second {
            Some(second) if self.swapped => (second, Some(first)),
            other => (first, other),
        }
    }
}

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
    let (a, b) = (index_of(key), index_of(to_key));
    loop {
        // So that nobody skips the second bucket while waiters are on their way into it.
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
            TABLE[b].make_room(moving)?;
            continue;
        }
        let mut woken = Woken::new();
        let any = FUTEX_BITSET_MATCH_ANY;
        let count = match wake_limit {
            0 => 0,
            limit => source.wake(key, any, limit, &mut woken, mark_woken),
        };
        TABLE[b].waiters.fetch_add(moving as u32, Ordering::SeqCst);
        let moved = source.requeue(key, target, to_key, move_limit, |task| {
            task.futex.bucket.store(b as u32, Ordering::SeqCst);
        });
        drop(pair);
        // Waiters that stay in the same bucket were counted twice for a moment.
        TABLE[a].left(count + moving);
        wake_all(woken);
        return Ok(count + moved);
    }
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
    let (a, b) = (index_of(key), index_of(key2));
    loop {
        let mut pair = Pair::lock(a, b);
        let old = match change_nofault(second.word, op) {
            Ok(old) => old,
            Err(Errno::EAGAIN) => {
                drop(pair);
                // Brings the page in for writing and leaves the word as it is.
                let value = second.word.load()?;
                second.word.compare_exchange(value, value)?;
                continue;
            }
            Err(errno) => return Err(errno),
        };
        let mut woken = Woken::new();
        let any = FUTEX_BITSET_MATCH_ANY;
        let (queue, queue2) = pair.both();
        let count = queue.wake(key, any, limit.max(1), &mut woken, mark_woken);
        let count2 = if op.holds(old) {
            queue2
                .unwrap_or(queue)
                .wake(key2, any, limit2.max(1), &mut woken, mark_woken)
        } else {
            0
        };
        drop(pair);
        TABLE[a].left(count);
        TABLE[b].left(count2);
        wake_all(woken);
        return Ok(count + count2);
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

/// CLONE_CHILD_CLEARTID: zeroes the word at an exiting thread's `clear_child_tid` and wakes one waiter. A bad address is
/// nobody's fault any more.
pub fn clear_and_wake(addr: usize) {
    let word: UserPtr<u32> = UserPtr::from(addr);
    if word.write(&0).is_ok() {
        let _ = wake(
            Futex {
                word,
                is_private: false,
            },
            1,
            FUTEX_BITSET_MATCH_ANY,
        );
    }
}

/// Marks every robust mutex that the exiting thread holds as left by a dead owner, and wakes one waiter of each.
pub fn exit_robust_list(me: &CurrentTask) {
    let head_addr = me.robust_list.swap(0, Ordering::Relaxed);
    if head_addr != 0 {
        // The list is the program's; where it is broken, the walk ends.
        let _ = walk_robust_list(me.tid().0 as u32, head_addr as u64);
    }
}

fn walk_robust_list(tid: u32, head_addr: u64) -> Result<()> {
    let head: RobustListHead = UserPtr::from(head_addr as usize).read()?;
    let word_of = |entry: u64| (entry & !1).wrapping_add_signed(head.futex_offset) as usize;
    let (pending, pending_pi) = (head.list_op_pending & !1, head.list_op_pending & 1 != 0);
    let mut entry = head.list;
    for _ in 0..ROBUST_LIST_LIMIT {
        let at = entry & !1;
        if at == head_addr {
            break;
        }
        // Read before the mutex is released: its memory may be gone after.
        let next: Result<u64> = UserPtr::from(at as usize).read();
        if at != pending {
            release_dead(tid, word_of(entry), entry & 1 != 0, false)?;
        }
        entry = next?;
        sched::cond_resched();
    }
    if pending != 0 {
        release_dead(tid, word_of(pending), pending_pi, true)?;
    }
    Ok(())
}

/// `pending`: the thread died between taking the mutex off its list and unlocking it, or the other way round.
fn release_dead(tid: u32, addr: usize, is_pi: bool, pending: bool) -> Result<()> {
    if !addr.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let word: UserPtr<u32> = UserPtr::from(addr);
    let futex = Futex {
        word,
        is_private: false,
    };
    let mut value = word.load()?;
    loop {
        let owner = value & FUTEX_TID_MASK;
        if pending && !is_pi && owner == 0 {
            wake(futex, 1, FUTEX_BITSET_MATCH_ANY)?;
            return Ok(());
        }
        if owner != tid {
            return Ok(());
        }
        let seen = word.compare_exchange(value, value & FUTEX_WAITERS | FUTEX_OWNER_DIED)?;
        if seen == value {
            break;
        }
        value = seen;
    }
    if !is_pi && value & FUTEX_WAITERS != 0 {
        wake(futex, 1, FUTEX_BITSET_MATCH_ANY)?;
    }
    Ok(())
}
