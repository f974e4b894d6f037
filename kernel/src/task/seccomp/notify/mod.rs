//! Calls that another process answers: each waits in its caller's sleep until the listener has decided.
//!
//! A notification belongs to the thread that makes the call: it is in the list from the call until its end, and only
//! that thread takes it out. The listener changes what it says, and wakes the thread.
//!
//! | module | what |
//! |---|---|
//! | this | [`Notifier`]: asking, reading, deciding |
//! | `files` | [`AddFd`]: files that the thread is given |

mod files;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::poll::PollEvents;
use abi::seccomp::{SECCOMP_USER_NOTIF_FLAG_CONTINUE, SeccompData, SeccompNotif, SeccompNotifResp};
use abi::{Errno, Result};

pub(super) use files::AddFd;

use crate::sync::{SpinLock, WaitQueue, current};

/// Where a notification stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nobody has read it.
    New,
    /// The listener has it.
    Sent,
    /// Its call is decided.
    Replied,
}

/// What a call's thread is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// Make the call as it is.
    Continue,
    /// Do not make it: this is its answer, as `rax` holds it.
    Answer(i64),
}

/// One call that waits.
struct Notification {
    id: u64,
    tid: i32,
    data: SeccompData,
    state: State,
    reply: Reply,
    /// Files that the listener gives the call's thread, which takes them itself.
    files: VecDeque<Arc<AddFd>>,
    /// The call's thread sleeps here.
    wake: Arc<WaitQueue>,
}

#[derive(Default)]
struct Waiting {
    list: Vec<Notification>,
    next_id: u64,
    /// How often a reader may look for a new one: as on Linux, one that went away unread is still counted.
    arrived: usize,
    /// No thread has the filter any more.
    deserted: bool,
}

/// What joins a filter and its listener.
pub(super) struct Notifier {
    waiting: SpinLock<Waiting>,
    /// The listener is closed. Changed under the lock of `waiting`, read without it too: by who holds the signal lock, which
    /// interrupts take, as they do not take this one.
    closed: AtomicBool,
    /// Readers and pollers of the listener.
    listeners: WaitQueue,
    /// Once its call is read, only death takes a thread out of it (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV).
    killable_once_sent: bool,
}

/// Why a waiting thread was woken.
enum Woken {
    Reply(Reply),
    File(Arc<AddFd>),
    /// From here on it waits in another way.
    Sent,
}

impl Waiting {
    fn find(&mut self, id: u64) -> Result<&mut Notification> {
        let mut list = self.list.iter_mut();
        list.find(|one| one.id == id).ok_or(Errno::ENOENT)
    }

    fn find_sent(&mut self, id: u64) -> Result<&mut Notification> {
        let one = self.find(id)?;
        match one.state {
            State::Sent => Ok(one),
            _ => Err(Errno::EINPROGRESS),
        }
    }
}

/// The calling thread's side.
impl Notifier {
    pub(super) fn new(killable_once_sent: bool) -> Notifier {
        // Numbers that say nothing about others.
        let first = crate::device::random::next_u64();
        Notifier {
            waiting: SpinLock::new(Waiting {
                next_id: first,
                ..Waiting::default()
            }),
            closed: AtomicBool::new(false),
            listeners: WaitQueue::new(),
            killable_once_sent,
        }
    }

    /// Whether the listener is there.
    pub(super) fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Acquire)
    }

    /// The last thread with the filter is gone.
    pub(super) fn hang_up(&self) {
        self.waiting.lock().deserted = true;
        self.listeners.wake_events(PollEvents::HUP);
    }

    /// Asks the listener about the running thread's call, and sleeps until it has decided.
    ///
    /// # Errors
    /// `ENOSYS` without a listener, `ERESTARTSYS` when a signal comes first.
    pub(super) fn ask(&self, data: &SeccompData) -> Result<Reply> {
        let wake = Arc::new(WaitQueue::new());
        let id = self.enter(data, wake.clone())?;
        self.listeners.wake_events(PollEvents::READABLE);
        let mut killable = false;
        let outcome = loop {
            let look = || self.look(id, killable);
            let woken = match killable {
                true => wake.wait_killable(look),
                false => wake.wait_until(look),
            };
            match woken {
                Ok(Woken::Reply(reply)) => break Ok(reply),
                Ok(Woken::File(file)) => self.take_file(id, &file),
                Ok(Woken::Sent) => killable = true,
                Err(errno) => break Err(errno),
            }
        };
        self.leave(id);
        outcome
    }

    /// Puts the call in the list. Room for it is made outside the lock.
    fn enter(&self, data: &SeccompData, wake: Arc<WaitQueue>) -> Result<u64> {
        let mut roomier = Vec::new();
        loop {
            let mut waiting = self.waiting.lock();
            if self.closed.load(Ordering::Acquire) {
                return Err(Errno::ENOSYS);
            }
            let len = waiting.list.len();
            if len < waiting.list.capacity() {
                let id = waiting.next_id;
                waiting.next_id = id.wrapping_add(1);
                waiting.arrived = waiting.arrived.saturating_add(1);
                waiting.list.push(Notification {
                    id,
                    tid: current().tid().0,
                    data: *data,
                    state: State::New,
                    reply: Reply::Continue,
                    files: VecDeque::new(),
                    wake,
                });
                return Ok(id);
            }
            if roomier.capacity() > len {
                roomier.append(&mut waiting.list);
                core::mem::swap(&mut waiting.list, &mut roomier);
                continue;
            }
            drop(waiting);
            roomier = Vec::new();
            let wanted = (len + 1).next_power_of_two().max(4);
            roomier
                .try_reserve_exact(wanted)
                .map_err(|_| Errno::ENOMEM)?;
        }
    }

    fn look(&self, id: u64, killable: bool) -> Option<Woken> {
        let mut waiting = self.waiting.lock();
        let one = waiting.find(id).ok()?;
        if let Some(file) = one.files.pop_front() {
            return Some(Woken::File(file));
        }
        match one.state {
            State::Replied => Some(Woken::Reply(one.reply)),
            State::Sent if self.killable_once_sent && !killable => Some(Woken::Sent),
            _ => None,
        }
    }

    /// The call is over: files that it did not take come too late.
    fn leave(&self, id: u64) {
        let mut waiting = self.waiting.lock();
        let at = waiting.list.iter().position(|one| one.id == id);
        let gone = at.map(|at| waiting.list.remove(at));
        drop(waiting);
        for file in gone.iter().flat_map(|one| &one.files) {
            file.finish(Err(Errno::ESRCH));
        }
    }
}

/// The listener's side.
impl Notifier {
    /// Waits for a call and takes it. As on Linux it waits also when nobody has the filter any more.
    ///
    /// # Errors
    /// `EINTR` when a signal comes first; `ENOENT` when the call went away meanwhile.
    pub(super) fn receive(&self) -> Result<SeccompNotif> {
        let arrived = || {
            let mut waiting = self.waiting.lock();
            waiting.arrived = waiting.arrived.checked_sub(1)?;
            Some(())
        };
        self.listeners
            .wait_until(arrived)
            .map_err(|_| Errno::EINTR)?;
        let mut waiting = self.waiting.lock();
        let mut list = waiting.list.iter_mut();
        let one = list.find(|one| one.state == State::New);
        let one = one.ok_or(Errno::ENOENT)?;
        one.state = State::Sent;
        let notif = SeccompNotif {
            id: one.id,
            pid: one.tid as u32,
            flags: 0,
            data: one.data,
        };
        if self.killable_once_sent {
            one.wake.wake_all();
        }
        drop(waiting);
        self.listeners.wake_events(PollEvents::WRITABLE);
        Ok(notif)
    }

    /// What [`Self::receive`] took did not reach its reader: it can be taken again.
    pub(super) fn give_back(&self, id: u64) {
        let mut waiting = self.waiting.lock();
        if let Ok(one) = waiting.find(id) {
            one.state = State::New;
            waiting.arrived = waiting.arrived.saturating_add(1);
        }
        drop(waiting);
        self.listeners.wake_events(PollEvents::READABLE);
    }

    /// Decides a call.
    ///
    /// # Errors
    /// `ENOENT` for one that is gone, `EINPROGRESS` for one that is not read or is decided.
    pub(super) fn reply(&self, resp: &SeccompNotifResp) -> Result<()> {
        let mut waiting = self.waiting.lock();
        let one = waiting.find_sent(resp.id)?;
        one.state = State::Replied;
        one.reply = match resp.flags & SECCOMP_USER_NOTIF_FLAG_CONTINUE {
            0 if resp.error != 0 => Reply::Answer(i64::from(resp.error)),
            0 => Reply::Answer(resp.val),
            _ => Reply::Continue,
        };
        one.wake.wake_all();
        Ok(())
    }

    /// Whether a call that was read is still to be decided.
    ///
    /// # Errors
    /// `ENOENT` when it is not.
    pub(super) fn check(&self, id: u64) -> Result<()> {
        let mut waiting = self.waiting.lock();
        waiting.find_sent(id).map_err(|_| Errno::ENOENT).map(drop)
    }

    /// The listener is closed: calls that wait are not there (ENOSYS), and so are those to come.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting.lock();
        self.closed.store(true, Ordering::Release);
        for one in &mut waiting.list {
            if one.state != State::Replied {
                one.state = State::Replied;
                one.reply = Reply::Answer(Errno::ENOSYS.as_return() as i64);
            }
            one.wake.wake_all();
        }
    }

    /// What a poller of the listener finds.
    pub(super) fn poll(&self, register: impl FnOnce(&WaitQueue)) -> PollEvents {
        register(&self.listeners);
        let waiting = self.waiting.lock();
        let mut found = PollEvents::empty();
        for one in &waiting.list {
            match one.state {
                State::New => found |= PollEvents::IN | PollEvents::RDNORM,
                State::Sent => found |= PollEvents::OUT | PollEvents::WRNORM,
                State::Replied => {}
            }
        }
        found.set(PollEvents::HUP, waiting.deserted);
        found
    }
}
