//! Requests that wait for a file to be ready, and the thread that completes them: who wakes a poller may do nothing but
//! wake.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::aio::{Iocb, KIOCB_KEY};
use abi::poll::PollEvents;
use abi::{Errno, Result};
use spin::Once;

use super::submit::Request;
use super::{CONTEXTS, Context, end_unmapped};
use crate::mm::user::UserPtr;
use crate::sched;
use crate::sync::{Mutex, PollTable, SpinLock, WaitQueue, WakeCallback};

/// A request that waits.
pub struct PollRequest {
    request: Request,
    events: PollEvents,
    signal: Arc<Signal>,
    /// Where it is registered, until it is done.
    _table: SpinLock<Option<PollTable>>,
}

/// What a wake-up leaves of itself.
struct Signal {
    fired: AtomicBool,
}

impl WakeCallback for Signal {
    fn wake(&self, _events: PollEvents) {
        // Pairs with the worker's swap.
        self.fired.store(true, Ordering::SeqCst);
        kick();
    }
}

/// There may be something for the worker to do.
static PENDING: AtomicBool = AtomicBool::new(false);
static WORKER: WaitQueue = WaitQueue::new();
/// Rings that are not mapped any more.
static UNMAPPED: Mutex<Vec<(u64, usize)>> = Mutex::new(Vec::new());

fn kick() {
    PENDING.store(true, Ordering::SeqCst);
    WORKER.wake_one();
}

/// Starts the worker, with the first context.
pub(super) fn start_worker() {
    static STARTED: Once<()> = Once::new();
    STARTED.call_once(|| {
        if sched::spawn_kernel_thread("aio", work).is_err() {
            log::warn!("aio: no memory for the thread that completes polls");
        }
    });
}

fn work() {
    loop {
        WORKER.wait_uninterruptible(|| PENDING.swap(false, Ordering::SeqCst).then_some(()));
        let unmapped = core::mem::take(&mut *UNMAPPED.lock());
        unmapped.into_iter().for_each(end_unmapped);
        let contexts: Vec<Arc<Context>> = CONTEXTS.lock().values().cloned().collect();
        for context in contexts {
            context.complete_polls();
        }
    }
}

/// A ring's last area is gone.
pub(super) fn note_unmapped(place: (u64, usize)) {
    UNMAPPED.lock().push(place);
    kick();
}

/// Takes a request to poll a file.
pub(super) fn add(context: &Arc<Context>, request: Request) -> Result<()> {
    let iocb = &request.iocb;
    let is_known = iocb.buf <= u64::from(u16::MAX);
    if !is_known || iocb.offset != 0 || iocb.nbytes != 0 || iocb.rw_flags != 0 {
        return Err(Errno::EINVAL);
    }
    let always = PollEvents::ERR | PollEvents::HUP;
    let events = PollEvents::from_bits_truncate(iocb.buf as u32) | always;
    let signal = Arc::new(Signal {
        fired: AtomicBool::new(false),
    });
    let mut table = PollTable::new(signal.clone());
    let found = request.file.poll(Some(&mut table)) & events;
    let mut state = context.state.lock();
    if !found.is_empty() {
        let event = request.event(i64::from(found.bits()));
        context.complete(&mut state, &event, request.eventfd.as_ref());
        drop(state);
        drop(table);
        return Ok(());
    }
    state.polls.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    let poll = Arc::new(PollRequest {
        request,
        events,
        signal: signal.clone(),
        _table: SpinLock::new(Some(table)),
    });
    state.polls.push(poll);
    drop(state);
    if signal.fired.load(Ordering::SeqCst) {
        // It came before the worker could find the request.
        kick();
    }
    Ok(())
}

impl Context {
    /// Completes the polls whose files have become ready.
    fn complete_polls(&self) {
        let mut done = Vec::new();
        let mut state = self.state.lock();
        let mut index = 0;
        while let Some(poll) = state.polls.get(index) {
            let found = match poll.signal.fired.swap(false, Ordering::SeqCst) {
                true => poll.request.file.poll(None) & poll.events,
                false => PollEvents::empty(),
            };
            if found.is_empty() {
                index += 1;
                continue;
            }
            let poll = state.polls.swap_remove(index);
            let event = poll.request.event(i64::from(found.bits()));
            self.complete(&mut state, &event, poll.request.eventfd.as_ref());
            done.push(poll);
        }
        drop(state);
        // The last reference to a file may be among them.
        drop(done);
    }
}

/// `io_cancel`: the request's event comes through the ring.
///
/// # Errors
/// `EINPROGRESS` if it is cancelled, `EINVAL` if there is none, `EFAULT`.
pub fn cancel(context: &Context, at: usize) -> Result<()> {
    let iocb = UserPtr::<Iocb>::from(at).read()?;
    if iocb.key != KIOCB_KEY {
        return Err(Errno::EINVAL);
    }
    let mut state = context.state.lock();
    let found = state
        .polls
        .iter()
        .position(|poll| poll.request.obj == at as u64);
    let poll = state.polls.swap_remove(found.ok_or(Errno::EINVAL)?);
    let event = poll.request.event(0);
    context.complete(&mut state, &event, poll.request.eventfd.as_ref());
    drop(state);
    drop(poll);
    Err(Errno::EINPROGRESS)
}
