//! Who waits for a futex, and the sleep itself.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use ::futex::{ORDINARY, Woken};
use ::sched::Prio;

use super::table;
use super::waitv::Vector;
use crate::sched::{self, SleepKind};
use crate::signal;
use crate::sync::{CurrentTask, current_arc};
use crate::task::Task;
use crate::time;

/// A thread's part in a wait.
#[derive(Debug, Default)]
pub struct FutexWait {
    /// A waker took the thread out of its bucket. Stored under the bucket's lock.
    pub(super) woken: AtomicBool,
    /// The bucket it stands in; changed by a requeue under both buckets' locks.
    pub(super) bucket: AtomicU32,
    /// How it came by the priority-inheriting futex that it waits for: `pi::WAITING` and so on. Changed under the graph's
    /// lock.
    pub(super) granted: AtomicU8,
    /// Somebody waits, or will, for a priority-inheriting futex that this thread holds. Set under the graph's lock before
    /// `is_gone` is looked at.
    pub(super) is_wanted: AtomicBool,
    /// The thread exits and gives no more futexes on. Set before `is_wanted` is looked at.
    pub(super) is_gone: AtomicBool,
}

/// What stands in a bucket.
#[derive(Clone)]
pub(super) enum Sleeper {
    /// A thread that waits for one word.
    One(Arc<Task>),
    /// A thread that waits for many, and which of them this is.
    Many(Arc<Vector>, usize),
}

impl Sleeper {
    /// Says that a wake-up took it out; under its bucket's lock.
    pub(super) fn mark_woken(&self) {
        match self {
            // Pairs with the waiter's load after it has published that it sleeps.
            Sleeper::One(task) => task.futex.woken.store(true, Ordering::SeqCst),
            Sleeper::Many(vector, slot) => vector.mark_woken(*slot),
        }
    }

    /// Says that it stands in another bucket now; under both buckets' locks.
    pub(super) fn mark_moved(&self, bucket: usize) {
        match self {
            Sleeper::One(task) => task.futex.bucket.store(bucket as u32, Ordering::SeqCst),
            Sleeper::Many(vector, slot) => vector.mark_moved(*slot, bucket),
        }
    }

    pub(super) fn task(&self) -> &Arc<Task> {
        match self {
            Sleeper::One(task) => task,
            Sleeper::Many(vector, _) => vector.task(),
        }
    }
}

/// The place in a bucket that a task's own priority gives it.
pub(super) fn rank_of(task: &Task) -> Prio {
    task.sched.own_prio().min(ORDINARY)
}

/// Wakes those taken out, after all locks are gone.
pub(super) fn wake_all(woken: Woken<Sleeper>) {
    for sleeper in woken {
        sched::wake(sleeper.task());
    }
}

/// Why a sleep is over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Woken,
    TimedOut,
    Signal,
}

/// Sleeps until `is_over`, a signal, or `deadline_ns` of the monotonic clock.
#[inline]
pub(super) fn sleep(
    me: &CurrentTask,
    deadline_ns: Option<u64>,
    is_over: impl Fn() -> bool,
) -> Ended {
    let timer = deadline_ns.map(|at| sched::WakeTimer::arm(current_arc(), at));
    let ended = loop {
        sched::set_sleeping(SleepKind::Interruptible);
        if is_over() {
            break Ended::Woken;
        }
        if signal::pending(me) {
            break Ended::Signal;
        }
        if deadline_ns.is_some_and(|at| time::monotonic_ns() >= at) {
            break Ended::TimedOut;
        }
        sched::block_current();
    };
    sched::set_running();
    drop(timer);
    ended
}

/// Leaves the bucket that `bucket` names at any time, where a requeue may change it; false when a wake-up, which `is_woken`
/// tells of, was faster.
pub(super) fn leave(
    is_woken: impl Fn() -> bool,
    bucket: &AtomicU32,
    is_it: impl Fn(&Sleeper) -> bool,
) -> bool {
    loop {
        if is_woken() {
            return false;
        }
        let index = bucket.load(Ordering::SeqCst);
        let place = table::bucket(index as usize);
        let mut queue = place.lock();
        if bucket.load(Ordering::SeqCst) != index {
            continue;
        }
        let removed = queue.remove(&is_it);
        drop(queue);
        if removed.is_some() {
            place.left(1);
            return true;
        }
    }
}
