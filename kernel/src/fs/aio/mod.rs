//! Asynchronous I/O of `io_submit`.
//!
//! | module | what |
//! |---|---|
//! | this | [`Context`], the table of them, their end |
//! | `ring` | the events of completions, in memory that user space sees too |
//! | `submit` | taking requests, and doing those that need not wait |
//! | `poll` | requests that wait for a file, cancelling them, and the thread that completes them |
//! | `events` | taking completions |
//!
//! As on Linux a read or a write is done while it is submitted: a file in memory does not wait, and a pipe waits there. What
//! waits on its own is `IOCB_CMD_POLL`.
//!
//! # Lock order
//! ```text
//! Context::reader (sleeping; user memory is touched under it)
//! the map of an address space
//!   poll::UNMAPPED (sleeping)
//! CONTEXTS (sleeping)
//! Context::state (sleeping)
//!   whatever a file's poll takes
//! ```
//! An area of a ring that goes away only leaves a note: its space's map is locked then.
//!
//! # Invariants
//! - A context belongs to an address space, and ends with it, or with the mapping of its ring.
//! - Requests in flight and events in the ring together are fewer than the ring's places: a completion always has one.
//!
//! References: io_setup(2), io_submit(2), io_getevents(2), io_cancel(2), io_destroy(2).

mod events;
mod poll;
mod ring;
mod submit;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use abi::aio::IoEvent;
use abi::{Errno, Result};

pub use events::get_events;
pub use poll::cancel;
pub use submit::submit;

use crate::arch;
use crate::fs::File;
use crate::fs::eventfd::EventFd;
use crate::sync::{Mutex, WaitQueue, current};
use poll::PollRequest;
use ring::Ring;

/// Requests of all contexts (`aio-nr`), as they were asked for.
static TOTAL: AtomicU64 = AtomicU64::new(0);
/// `aio-max-nr`.
static MAX_TOTAL: AtomicU64 = AtomicU64::new(0x1_0000);

/// By address space, and by the address of the ring, by which user space names a context.
static CONTEXTS: Mutex<BTreeMap<(u64, usize), Arc<Context>>> = Mutex::new(BTreeMap::new());

/// `/proc/sys/fs/aio-nr` and `aio-max-nr`.
pub fn totals() -> (u64, u64) {
    (
        TOTAL.load(Ordering::Relaxed),
        MAX_TOTAL.load(Ordering::Relaxed),
    )
}

/// Sets `aio-max-nr`.
pub fn set_max_total(most: u64) {
    MAX_TOTAL.store(most, Ordering::Relaxed);
}

/// What changes of a context.
#[derive(Default)]
struct State {
    /// Requests that were taken and have no event yet.
    in_flight: usize,
    polls: Vec<Arc<PollRequest>>,
}

/// A context.
pub struct Context {
    requests: u64,
    ring: Arc<Ring>,
    state: Mutex<State>,
    /// Held by who takes events.
    reader: Mutex<()>,
    waiters: WaitQueue,
    /// Destroyed: who waits for events leaves.
    dead: AtomicBool,
}

impl Drop for Context {
    fn drop(&mut self) {
        TOTAL.fetch_sub(self.requests, Ordering::Relaxed);
    }
}

/// `io_setup`: the new context's id.
///
/// # Errors
/// `EINVAL`, `EAGAIN` beyond `aio-max-nr`, `ENOMEM`.
pub fn setup(requests: u32) -> Result<usize> {
    /// Events that no ring can have.
    const TOO_MANY: u32 = 0x1000_0000 / 32;
    if requests == 0 {
        return Err(Errno::EINVAL);
    }
    let cpus = arch::cpu::online_mask().count_ones();
    let places = requests.max(cpus * 4).saturating_mul(2);
    if places > TOO_MANY {
        return Err(Errno::EINVAL);
    }
    let requests = u64::from(requests);
    let total = TOTAL.fetch_add(requests, Ordering::Relaxed) + requests;
    let made = match total > MAX_TOTAL.load(Ordering::Relaxed) {
        true => Err(Errno::EAGAIN),
        false => Ring::map(places + 2),
    };
    let (id, ring) = made.inspect_err(|_| {
        TOTAL.fetch_sub(requests, Ordering::Relaxed);
    })?;
    let context = Arc::new(Context {
        requests,
        ring,
        state: Mutex::new(State::default()),
        reader: Mutex::new(()),
        waiters: WaitQueue::new(),
        dead: AtomicBool::new(false),
    });
    poll::start_worker();
    CONTEXTS
        .lock()
        .insert((current().my_mm().id(), id), context);
    Ok(id)
}

/// The caller's context.
///
/// # Errors
/// `EINVAL`.
pub fn find(id: usize) -> Result<Arc<Context>> {
    let key = (current().my_mm().id(), id);
    CONTEXTS.lock().get(&key).cloned().ok_or(Errno::EINVAL)
}

/// `io_destroy`.
///
/// # Errors
/// `EINVAL`.
pub fn destroy(id: usize) -> Result<()> {
    let mm = current().my_mm().clone();
    let context = CONTEXTS
        .lock()
        .remove(&(mm.id(), id))
        .ok_or(Errno::EINVAL)?;
    context.end();
    // The mapping may have been taken away before.
    let _ = mm.unmap(id, context.ring.len());
    Ok(())
}

/// The ring at this place is not mapped any more: its context ends, if it has not yet.
fn end_unmapped(place: (u64, usize)) {
    let context = CONTEXTS.lock().remove(&place);
    if let Some(context) = context {
        context.end();
    }
}

impl Context {
    /// Forgets what waits, and lets those go who wait for it.
    fn end(&self) {
        let polls = core::mem::take(&mut self.state.lock().polls);
        drop(polls);
        self.dead.store(true, Ordering::SeqCst);
        self.waiters.wake_all();
    }

    /// Sets a place in the ring aside for a request.
    fn reserve(&self) -> Result<()> {
        let mut state = self.state.lock();
        if self.ring.held() + state.in_flight + 1 >= self.ring.places() {
            return Err(Errno::EAGAIN);
        }
        state.in_flight += 1;
        Ok(())
    }

    /// A request gives its place back without an event.
    fn give_up(&self) {
        self.state.lock().in_flight -= 1;
    }

    /// A request has its result.
    fn complete(&self, state: &mut State, event: &IoEvent, eventfd: Option<&Arc<File>>) {
        state.in_flight -= 1;
        self.ring.push(event);
        if let Some(eventfd) = eventfd.and_then(|file| file.ops_as::<EventFd>()) {
            eventfd.signal();
        }
        self.waiters.wake_all();
    }
}
