//! FUTEX_LOCK_PI, FUTEX_TRYLOCK_PI and FUTEX_UNLOCK_PI: locks whose owner runs by the best priority of those who wait.
//!
//! The word is the owner's number, with FUTEX_WAITERS when the owner has to call the kernel to unlock. All contended locks
//! are in one graph under one lock: chains of inheritance go across locks and processes, and only contended locks come
//! here at all. A lock is handed over: the one who unlocks makes the first waiter the owner, in the word and in the graph,
//! before it wakes it. When an owner dies, its heir writes the word itself, since the dead may not have had the same
//! memory.

use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicUsize, Ordering};

use alloc::sync::Arc;

use ::futex::Graph;
use ::futex::pi::{Changes, Member};
use abi::futex::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};
use abi::{Errno, Result};
use sched::{Params, Prio};

use super::sleeper::{self, Ended};
use super::{Futex, table};
use crate::mm::space::FutexKey;
use crate::mm::user::UserPtr;
use crate::sched as scheduler;
use crate::sync::{CurrentTask, Mutex, MutexGuard, current, current_arc};
use crate::task::{self, Pid, Task};

/// `FutexWait::granted`: does not have it yet.
pub(super) const WAITING: u8 = 0;
/// The owner, or who moved the thread here, made it the owner and wrote the word.
pub(super) const BY_OWNER: u8 = 1;
/// The owner died: the word is yet to be written.
pub(super) const BY_DEATH: u8 = 2;

/// A task in the graph.
#[derive(Clone)]
pub(super) struct Party(pub(super) Arc<Task>);

impl Member for Party {
    fn id(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }
}

impl Party {
    fn own_prio(&self) -> Prio {
        self.0.sched.own_prio()
    }
}

type Contended = Graph<FutexKey, Party>;

static GRAPH: Mutex<Contended> = Mutex::new(Graph::new());
/// The futexes in `GRAPH`: wake-ups need not look when there are none.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The graph, locked. What its tasks inherit is the scheduler's to know before it is unlocked.
pub(super) struct Locked(MutexGuard<'static, Contended>);

impl Deref for Locked {
    type Target = Contended;
    fn deref(&self) -> &Contended {
        &self.0
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut Contended {
        &mut self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        COUNT.store(self.0.len(), Ordering::Relaxed);
    }
}

impl Locked {
    pub(super) fn lock() -> Locked {
        Locked(GRAPH.lock())
    }

    /// Lets `task` wait for the futex that `owner` holds.
    pub(super) fn wait(&mut self, key: FutexKey, owner: &Party, task: &Party) -> Result<()> {
        let mut changes = Changes::new();
        let (one, other) = ((owner, owner.own_prio()), (task, task.own_prio()));
        let result = self.0.wait(key, one, other, &mut changes);
        apply(changes);
        result.map_err(|_| Errno::EDEADLK)
    }

    /// Takes a waiter out; false when it does not wait (any more).
    pub(super) fn cancel(&mut self, task: &Party) -> bool {
        let mut changes = Changes::new();
        let was_waiting = self.0.cancel(task, &mut changes);
        apply(changes);
        was_waiting
    }

    /// Makes the first waiter the owner and wakes it.
    fn hand_over(&mut self, key: FutexKey, how: u8) {
        let mut changes = Changes::new();
        let heir = self.0.hand_over(key, how == BY_DEATH, &mut changes);
        if let Some(heir) = &heir {
            heir.0.futex.is_wanted.store(true, Ordering::SeqCst);
        }
        apply(changes);
        if let Some(heir) = heir {
            grant(&heir, how);
        }
    }
}

fn apply(changes: Changes<Party>) {
    for (party, inherited) in changes {
        scheduler::set_inherited(&party.0, inherited);
    }
}

/// Tells a waiter that it has the futex.
pub(super) fn grant(party: &Party, how: u8) {
    // Pairs with the waiter's load after it has published that it sleeps.
    party.0.futex.granted.store(how, Ordering::SeqCst);
    scheduler::wake(&party.0);
}

/// Whether somebody waits for the futex here.
pub(super) fn is_contended(key: FutexKey) -> bool {
    COUNT.load(Ordering::Relaxed) != 0 && Locked::lock().owner(key).is_some()
}

/// What came of an attempt to have a futex.
pub(super) enum Claim {
    /// It was free; the word names the one who wanted it.
    Taken,
    /// Somebody has it, and FUTEX_WAITERS is set.
    Held(Party),
    /// The word's page has to be brought in, without the graph's lock.
    Absent,
    /// The word changed meanwhile.
    Changed,
}

/// Tries to have the futex for `task`. `mark`: even if it is free, set FUTEX_WAITERS.
///
/// # Errors
/// `EDEADLK` when it has it already, `EINVAL` when word and waiters do not agree, `ESRCH` when the owner does not exist,
/// `EPERM` when it is a kernel thread, `EFAULT`.
pub(super) fn claim(
    graph: &Contended,
    key: FutexKey,
    word: UserPtr<u32>,
    task: &Task,
    mark: bool,
) -> Result<Claim> {
    let value = match word.load_nofault() {
        Err(Errno::EAGAIN) => return Ok(Claim::Absent),
        value => value?,
    };
    let tid = task.tid().0 as u32;
    let holder = value & FUTEX_TID_MASK;
    if holder == tid {
        return Err(Errno::EDEADLK);
    }
    if table::bucket(table::index_of(key))
        .lock()
        .first(key)
        .is_some()
    {
        return Err(Errno::EINVAL);
    }
    let known = graph.owner(key);
    if known.is_none() && holder == 0 {
        let waiters = if mark { FUTEX_WAITERS } else { 0 };
        let new = value & FUTEX_OWNER_DIED | tid | waiters;
        return change(word, value, new, || Ok(Claim::Taken));
    }
    if let Some((owner, true)) = known {
        let died = holder == 0 && value & FUTEX_OWNER_DIED != 0;
        if !died && holder != owner.0.tid().0 as u32 {
            return Err(Errno::EINVAL);
        }
    }
    let marked = value | FUTEX_WAITERS;
    change(word, value, marked, || match known {
        Some((owner, _)) => Ok(Claim::Held(owner.clone())),
        None => find_owner(word, marked),
    })
}

/// Changes the word from `old` to `new` and goes on with `then`, unless it is not there or something else.
fn change(
    word: UserPtr<u32>,
    old: u32,
    new: u32,
    then: impl FnOnce() -> Result<Claim>,
) -> Result<Claim> {
    if old == new {
        return then();
    }
    match word.compare_exchange_nofault(old, new) {
        Ok(seen) if seen == old => then(),
        Ok(_) => Ok(Claim::Changed),
        Err(Errno::EAGAIN) => Ok(Claim::Absent),
        Err(errno) => Err(errno),
    }
}

/// The task that an uncontended futex's word names.
fn find_owner(word: UserPtr<u32>, value: u32) -> Result<Claim> {
    if let Some(task) = task::find_task(Pid((value & FUTEX_TID_MASK) as i32)) {
        if task.is_kernel_thread() {
            return Err(Errno::EPERM);
        }
        // One of the two sees the other: here that it goes, or there, in `exit`, that it is wanted.
        task.futex.is_wanted.store(true, Ordering::SeqCst);
        if !task.futex.is_gone.load(Ordering::SeqCst) {
            return Ok(Claim::Held(Party(task)));
        }
    }
    // It is gone. What it had to do about the word it has done by now.
    match word.load_nofault() {
        Ok(seen) if seen == value => Err(Errno::ESRCH),
        Ok(_) => Ok(Claim::Changed),
        Err(Errno::EAGAIN) => Ok(Claim::Absent),
        Err(errno) => Err(errno),
    }
}

/// FUTEX_LOCK_PI, FUTEX_LOCK_PI2 and, with `try_only`, FUTEX_TRYLOCK_PI: until `deadline_ns` of the monotonic clock.
///
/// # Errors
/// Those of [`claim`]; `EAGAIN` when it is held and may not be waited for, `EDEADLK` when its owner waits for the caller,
/// `ETIMEDOUT`, `ERESTARTNOINTR` when a signal came.
pub fn lock(futex: Futex, deadline_ns: Option<u64>, try_only: bool) -> Result<usize> {
    let me = current();
    let key = futex.key()?;
    me.futex.granted.store(WAITING, Ordering::Relaxed);
    loop {
        let mut graph = Locked::lock();
        match claim(&graph, key, futex.word, &me, false)? {
            Claim::Taken => return Ok(0),
            Claim::Held(_) if try_only => return Err(Errno::EAGAIN),
            Claim::Held(owner) => {
                graph.wait(key, &owner, &Party(current_arc()))?;
                break;
            }
            Claim::Absent => {
                drop(graph);
                futex.bring_in()?;
            }
            Claim::Changed => {}
        }
    }
    let ended = sleep(&me, deadline_ns);
    match finish(&me, key, futex.word)? {
        Finish::Has => Ok(0),
        Finish::GaveUp | Finish::DidNotWait if ended == Ended::TimedOut => Err(Errno::ETIMEDOUT),
        Finish::GaveUp | Finish::DidNotWait => Err(Errno::ERESTARTNOINTR),
    }
}

/// Sleeps until the futex is the thread's, or no longer.
pub(super) fn sleep(me: &CurrentTask, deadline_ns: Option<u64>) -> Ended {
    sleeper::sleep(me, deadline_ns, || {
        me.futex.granted.load(Ordering::SeqCst) != WAITING
    })
}

/// How a wait ended, whatever ended the sleep.
pub(super) enum Finish {
    /// The thread owns the futex.
    Has,
    /// It waited in the graph and does no more.
    GaveUp,
    /// It was not in the graph.
    DidNotWait,
}

/// Settles what became of the running thread's wait for the futex.
///
/// # Errors
/// `EFAULT` when the futex was left by a dead owner and its word cannot be written.
pub(super) fn finish(me: &CurrentTask, key: FutexKey, word: UserPtr<u32>) -> Result<Finish> {
    let mut graph = Locked::lock();
    match me.futex.granted.load(Ordering::SeqCst) {
        WAITING => Ok(match graph.cancel(&Party(current_arc())) {
            true => Finish::GaveUp,
            false => Finish::DidNotWait,
        }),
        BY_DEATH => {
            drop(graph);
            let written = inherit_word(word, me.tid());
            Locked::lock().settle(key);
            written.map(|()| Finish::Has)
        }
        _ => Ok(Finish::Has),
    }
}

/// Writes the heir's number into the word of a futex whose owner died.
fn inherit_word(word: UserPtr<u32>, tid: Pid) -> Result<()> {
    let new = FUTEX_OWNER_DIED | FUTEX_WAITERS | tid.0 as u32;
    let mut old = word.load()?;
    loop {
        let seen = word.compare_exchange(old, new)?;
        if seen == old {
            return Ok(());
        }
        old = seen;
    }
}

/// FUTEX_UNLOCK_PI.
///
/// # Errors
/// `EPERM` when the caller does not have it, `EINVAL` when word and waiters do not agree, `EFAULT`.
pub fn unlock(futex: Futex) -> Result<usize> {
    let me = current();
    let tid = me.tid().0 as u32;
    loop {
        let value = futex.word.load()?;
        if value & FUTEX_TID_MASK != tid {
            return Err(Errno::EPERM);
        }
        let key = futex.key()?;
        let mut graph = Locked::lock();
        let heir = match graph.owner(key) {
            Some((owner, _)) if !core::ptr::eq(&raw const *owner.0, &raw const *me) => {
                return Err(Errno::EINVAL);
            }
            Some(_) => graph.first(key),
            None if table::bucket(table::index_of(key))
                .lock()
                .first(key)
                .is_some() =>
            {
                return Err(Errno::EINVAL);
            }
            None => None,
        };
        let new = heir.map_or(0, |heir| FUTEX_WAITERS | heir.0.tid().0 as u32);
        match futex.word.compare_exchange_nofault(value, new) {
            Ok(seen) if seen == value => {
                graph.hand_over(key, BY_OWNER);
                return Ok(0);
            }
            // FUTEX_WAITERS may come at any time.
            Ok(_) => {}
            Err(Errno::EAGAIN) => {
                drop(graph);
                futex.bring_in()?;
            }
            Err(errno) => return Err(errno),
        }
    }
}

/// The thread exits, or executes a program: what others wait for goes to the first of them. After its robust list.
pub fn exit(me: &CurrentTask, is_end: bool) {
    let state = &me.futex;
    state.is_gone.store(true, Ordering::SeqCst);
    if state.is_wanted.swap(false, Ordering::SeqCst) {
        let mine = Party(current_arc());
        let mut graph = Locked::lock();
        while let Some(key) = graph.owned_by(&mine) {
            graph.hand_over(key, BY_DEATH);
        }
    }
    if !is_end {
        state.is_gone.store(false, Ordering::SeqCst);
    }
}

/// Changes a task's scheduling parameters, and what others inherit from it.
///
/// # Errors
/// `EBUSY` when they reserve more time than is left; nothing has changed.
pub fn set_params(task: &Arc<Task>, params: Params) -> Result<()> {
    let mut graph = Locked::lock();
    scheduler::set_params(task, params)?;
    let mut changes = Changes::new();
    graph
        .0
        .set_own(&Party(task.clone()), params.prio(), &mut changes);
    apply(changes);
    Ok(())
}
