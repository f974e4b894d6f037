//! `semop` and `semtimedop`.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicI32, Ordering};

use abi::sysv::{IPC_READ, IPC_WRITE, SEM_UNDO};
use abi::{Errno, Result};
use sysvipc::list::{Fifo, Node};
use sysvipc::sem::{self, Attempt, Ops, Waiting, Woken};

use super::super::access;
use super::{SETS, SemSet, State, undo};
use crate::sync::{SpinGuard, WaitQueue, current};

/// The call is not finished.
const PENDING: i32 = 1;

/// A thread that sleeps in a call.
pub struct Sleeper {
    /// `PENDING`, 0, or an error as a negative number. Pairs with the sleeper's load after it has joined `queue`.
    result: AtomicI32,
    queue: WaitQueue,
}

impl Sleeper {
    fn new() -> Arc<Sleeper> {
        Arc::new(Sleeper {
            result: AtomicI32::new(PENDING),
            queue: WaitQueue::new(),
        })
    }

    fn result(&self) -> Option<Result<usize>> {
        match self.result.load(Ordering::SeqCst) {
            PENDING => None,
            0 => Some(Ok(0)),
            errno => Some(Err(Errno::new(-errno).unwrap_or(Errno::EIDRM))),
        }
    }

    pub(super) fn finish(&self, result: Result<()>) {
        let word = result.map_or_else(|errno| -errno.get(), |()| 0);
        self.result.store(word, Ordering::SeqCst);
        self.queue.wake_all();
    }
}

/// Tells those whose calls were finished, after the set is unlocked.
#[inline]
pub(super) fn wake(woken: Woken<Arc<Sleeper>>) {
    if !woken.is_empty() {
        woken.for_each(|waiting| waiting.who.finish(waiting.result));
    }
}

/// A call about to sleep: made outside of the set's lock.
type Prepared = Box<Node<Waiting<Arc<Sleeper>>>>;

/// `semop`, and with a deadline on the monotonic clock `semtimedop`.
///
/// # Errors
/// Those of semop(2).
pub fn operate(id: i32, ops: Ops, deadline_ns: Option<u64>) -> Result<usize> {
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    let set = SETS.get(id)?;
    let undo = match ops.iter().any(|op| op.flags & SEM_UNDO != 0) {
        true => Some(undo::slot_for(&set)?),
        false => None,
    };
    if ops.iter().any(|op| usize::from(op.num) >= set.count) {
        return Err(Errno::EFBIG);
    }
    let wanted = match sem::alters(&ops) {
        true => IPC_WRITE,
        false => IPC_READ,
    };
    let pid = current().process.pid.0;
    let blocking = {
        let mut state = set.lock_for(wanted)?;
        match state.set.attempt(&ops, pid, undo)? {
            Attempt::Done => {
                let woken = state.update(true);
                drop(state);
                wake(woken);
                return Ok(0);
            }
            Attempt::Blocked(at) => at,
        }
    };
    let waiting = Waiting {
        ops,
        pid,
        undo,
        blocking,
        result: Ok(()),
        who: Sleeper::new(),
    };
    set.sleep(Node::new(waiting), wanted, deadline_ns)
}

impl SemSet {
    /// Locks the set for who may do this.
    ///
    /// # Errors
    /// `EACCES`, `EIDRM`.
    #[inline]
    pub(super) fn lock_for(&self, wanted: u32) -> Result<SpinGuard<'_, State>> {
        let state = self.state.lock();
        access::check(&state.perm, wanted)?;
        match state.removed {
            true => Err(Errno::EIDRM),
            false => Ok(state),
        }
    }

    /// Tries again, and joins the queue if the call still has to wait.
    fn sleep(&self, call: Prepared, wanted: u32, deadline_ns: Option<u64>) -> Result<usize> {
        let sleeper = call.value.who.clone();
        if !self.enqueue(call, wanted)? {
            return Ok(0);
        }
        let ended = sleeper
            .queue
            .wait_until_deadline(deadline_ns, || sleeper.result());
        let cause = match ended {
            Ok(Some(result)) => return result,
            Ok(None) => Errno::EAGAIN,
            // Never restarted, on Linux either.
            Err(_) => Errno::EINTR,
        };
        let given_up = {
            let mut state = self.state.lock();
            state.set.cancel(|who| Arc::ptr_eq(who, &sleeper))
        };
        match given_up {
            Some(_) => Err(cause),
            None => sleeper.queue.wait_uninterruptible(|| sleeper.result()),
        }
    }

    /// True once the call stands in the queue; false if it could be done after all.
    fn enqueue(&self, call: Prepared, wanted: u32) -> Result<bool> {
        let mut call = call;
        loop {
            let mut state = self.lock_for(wanted)?;
            let asked = &mut call.value;
            match state.set.attempt(&asked.ops, asked.pid, asked.undo)? {
                Attempt::Done => {
                    let woken = state.update(true);
                    drop(state);
                    wake(woken);
                    return Ok(false);
                }
                Attempt::Blocked(at) => asked.blocking = at,
            }
            match state.set.wait(call) {
                Ok(()) => return Ok(true),
                Err(back) => call = back,
            }
            let capacity = state.set.wanted_capacity();
            drop(state);
            let mut roomier = Fifo::with_capacity(capacity).ok_or(Errno::ENOMEM)?;
            self.state.lock().set.swap_room(&mut roomier);
        }
    }
}
