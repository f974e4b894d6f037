//! POSIX message queues.
//!
//! | module | what |
//! |---|---|
//! | this | [`Queue`] and the limits of `/proc/sys/fs/mqueue` |
//! | `names` | the file system of queues, `mq_open`, `mq_unlink` |
//! | `transfer` | `mq_timedsend`, `mq_timedreceive`, and who sleeps in them |
//! | `notify` | `mq_notify` |
//!
//! A queue is an inode of one file system, which is mounted or not. Its state is behind a sleeping lock: messages may be
//! many, and come and go with memory.
//!
//! # Invariants
//! - A receiver sleeps only while the queue is empty, a sender only while it is full: a message goes straight to a
//!   receiver that sleeps, and one that is taken makes the first sender's take its place.

mod names;
mod notify;
mod transfer;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;

use abi::fs::OpenFlags;
use abi::mqueue::MqAttr;
use abi::poll::PollEvents;
use abi::{Errno, Result};
use sysvipc::posix::Messages;

pub use names::{init, open, unlink};
pub use notify::{Cookie, Request, notify};
pub use transfer::{Deadline, receive, send};

use super::limits::Limit;
use crate::fs::{File, FileOps};
use crate::mm::user::IoSink;
use crate::sync::{Mutex, PollTable, WaitQueue, current};
use crate::task::{Cap, Cred, Resource};
use notify::Registration;
use transfer::Sleeper;

/// What the super-user may ask for at most.
const HARD_MSGMAX: i32 = 65536;
const HARD_MSGSIZEMAX: i32 = 16 << 20;

/// Queues there may be.
pub static QUEUES_MAX: Limit = Limit::new(256, i32::MIN, i32::MAX);
/// Messages of a queue that anybody may ask for.
pub static MSG_MAX: Limit = Limit::new(10, 1, HARD_MSGMAX);
/// Bytes of a message that anybody may ask for.
pub static MSGSIZE_MAX: Limit = Limit::new(8192, 128, HARD_MSGSIZEMAX);
/// Messages of a queue whose maker does not say.
pub static MSG_DEFAULT: Limit = Limit::new(10, 1, HARD_MSGMAX);
/// Bytes of its messages.
pub static MSGSIZE_DEFAULT: Limit = Limit::new(8192, 128, HARD_MSGSIZEMAX);

/// What queues may hold, by who made them (RLIMIT_MSGQUEUE).
static PROMISED: Mutex<BTreeMap<u32, u64>> = Mutex::new(BTreeMap::new());

/// What changes of a queue.
#[derive(Default)]
struct State {
    messages: Messages,
    receivers: VecDeque<Arc<Sleeper>>,
    senders: VecDeque<Arc<Sleeper>>,
    registration: Option<Registration>,
}

/// A message queue.
pub struct Queue {
    max_messages: usize,
    max_size: usize,
    /// Whose limit it counts in, and how much.
    owner: u32,
    promised: u64,
    state: Mutex<State>,
    pollers: WaitQueue,
}

/// Bytes that a queue counts as: its messages, and what Linux needs to keep as many.
fn cost_of(messages: u64, size: u64) -> Option<u64> {
    const MESSAGE: u64 = 48;
    const PRIORITY: u64 = 48;
    let priorities = messages.min(u64::from(abi::mqueue::MQ_PRIO_MAX));
    let book = messages * MESSAGE + priorities * PRIORITY;
    messages.checked_mul(size)?.checked_add(book)
}

impl Queue {
    /// A queue of the size that is asked for.
    fn new(attr: Option<&MqAttr>, cred: &Cred) -> Result<Queue> {
        let (messages, size) = match attr {
            Some(attr) => (attr.maxmsg, attr.msgsize),
            None => (
                i64::from(MSG_DEFAULT.get().min(MSG_MAX.get())),
                i64::from(MSGSIZE_DEFAULT.get().min(MSGSIZE_MAX.get())),
            ),
        };
        let (most, largest) = match cred.capable(Cap::SYS_RESOURCE) {
            true => (HARD_MSGMAX, HARD_MSGSIZEMAX),
            false => (MSG_MAX.get(), MSGSIZE_MAX.get()),
        };
        let is_good = |value: i64, most: i32| (1..=i64::from(most)).contains(&value);
        if !is_good(messages, most) || !is_good(size, largest) {
            return Err(Errno::EINVAL);
        }
        let promised = cost_of(messages as u64, size as u64).ok_or(Errno::EOVERFLOW)?;
        let mut all = PROMISED.lock();
        let mine = all.get(&cred.uid).copied().unwrap_or(0) + promised;
        if mine > current().process.rlimits.soft(Resource::Msgqueue) {
            return Err(Errno::EMFILE);
        }
        all.insert(cred.uid, mine);
        Ok(Queue {
            max_messages: messages as usize,
            max_size: size as usize,
            owner: cred.uid,
            promised,
            state: Mutex::new(State::default()),
            pollers: WaitQueue::new(),
        })
    }

    /// What `mq_getattr` tells, but for the flags.
    pub fn attr(&self) -> MqAttr {
        MqAttr {
            maxmsg: self.max_messages as i64,
            msgsize: self.max_size as i64,
            curmsgs: self.state.lock().messages.len() as i64,
            ..MqAttr::default()
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let mut all = PROMISED.lock();
        let held = all.get(&self.owner).copied().unwrap_or(0);
        match held.saturating_sub(self.promised) {
            0 => all.remove(&self.owner),
            left => all.insert(self.owner, left),
        };
    }
}

/// The queue that a descriptor is of.
///
/// # Errors
/// `EBADF` for any other descriptor.
pub fn queue_of(file: &File) -> Result<&Queue> {
    file.ops_as::<Queue>().ok_or(Errno::EBADF)
}

/// `mq_getsetattr`: sets the flags, and answers what was before.
///
/// # Errors
/// `EBADF`, `EINVAL` for other flags.
pub fn get_set_attr(fd: i32, new: Option<&MqAttr>) -> Result<MqAttr> {
    let nonblock = OpenFlags::NONBLOCK;
    if new.is_some_and(|new| new.flags & !i64::from(nonblock.bits()) != 0) {
        return Err(Errno::EINVAL);
    }
    let file = current().my_files().get(fd)?;
    let mut old = queue_of(&file)?.attr();
    old.flags = i64::from((file.flags() & nonblock).bits());
    if let Some(new) = new {
        file.change_flags(nonblock, new.flags != 0);
        file.inode().touch_changed();
    }
    Ok(old)
}

impl FileOps for Queue {
    /// The status of the queue, as text.
    fn read(&self, file: &File, sink: &mut IoSink<'_>, pos: &mut u64) -> Result<usize> {
        let text = self.status();
        let start = usize::try_from(*pos).unwrap_or(usize::MAX);
        let before = sink.done();
        sink.put(text.as_bytes().get(start..).unwrap_or_default())?;
        let read = sink.done() - before;
        *pos += read as u64;
        file.accessed();
        Ok(read)
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.register(&self.pollers);
        }
        let held = self.state.lock().messages.len();
        let mut found = PollEvents::empty();
        if held > 0 {
            found |= PollEvents::READABLE;
        }
        if held < self.max_messages {
            found |= PollEvents::WRITABLE;
        }
        found
    }

    /// A close by whoever asked to be notified takes that back.
    fn flush(&self, _file: &File) -> Result<()> {
        self.forget_registration(&current().process);
        Ok(())
    }

    fn seekable(&self) -> bool {
        true
    }
}
