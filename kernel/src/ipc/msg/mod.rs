//! Message queues.
//!
//! | module | what |
//! |---|---|
//! | this | [`MsgQueue`], `msgget`, `msgsnd` |
//! | `receive` | `msgrcv`, and who sleeps in it |
//! | `control` | `msgctl` |

mod control;
mod receive;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::sysv::{IPC_MODE, IPC_NOWAIT, IPC_WRITE};
use abi::{Errno, Result};
use sysvipc::list::{Fifo, Node};
use sysvipc::msg::{Message, Queue, Sent, TooSmall};
use sysvipc::perm::Perm;

pub use control::{remove, set, stat, usage};
pub use receive::receive;

use super::ids::{Ids, Object, Request};
use super::{access, limits, now_seconds};
use crate::sync::{SpinGuard, SpinLock, WaitQueue, current};
use receive::Sleeper;

/// What changes of a queue.
struct State {
    perm: Perm,
    queue: Queue<Arc<Sleeper>>,
    stime: i64,
    rtime: i64,
    ctime: i64,
    lspid: i32,
    lrpid: i32,
    /// No longer there for anybody.
    removed: bool,
}

/// A message queue.
pub struct MsgQueue {
    id: i32,
    state: SpinLock<State>,
    /// Who waits for room.
    senders: WaitQueue,
}

impl Object for MsgQueue {
    fn id(&self) -> i32 {
        self.id
    }
    fn set_id(&mut self, id: i32) {
        self.id = id;
    }
}

static QUEUES: Ids<MsgQueue> = Ids::new();

/// All queues: for `/proc/sysvipc`, and for the next id.
pub fn queues() -> &'static Ids<MsgQueue> {
    &QUEUES
}

/// `msgget`.
///
/// # Errors
/// Those of msgget(2).
pub fn get(key: i32, flags: u32) -> Result<i32> {
    let request = Request {
        key,
        flags,
        limit: limits::MSGMNI.get() as u32,
    };
    let make = || {
        Ok(MsgQueue {
            id: -1,
            state: SpinLock::new(State {
                perm: access::new_perm(key, flags),
                queue: Queue::new(limits::MSGMNB.count()),
                stime: 0,
                rtime: 0,
                ctime: now_seconds(),
                lspid: 0,
                lrpid: 0,
                removed: false,
            }),
            senders: WaitQueue::new(),
        })
    };
    let check = |queue: &MsgQueue| access::check(&queue.state.lock().perm, flags & IPC_MODE);
    QUEUES.obtain(&request, make, check)
}

/// `msgsnd`: the text has been copied in.
///
/// # Errors
/// Those of msgsnd(2).
pub fn send(id: i32, mtype: i64, text: Vec<u8>, flags: u32) -> Result<()> {
    let queue = QUEUES.get(id)?;
    let mut message = Some(Node::new(Message { mtype, text }));
    loop {
        // Whoever cannot wait asks once.
        let step = match queue.try_send(&mut message)? {
            Step::Full if flags & IPC_NOWAIT != 0 => return Err(Errno::EAGAIN),
            Step::Full => queue
                .senders
                .wait_until(|| match queue.try_send(&mut message) {
                    Ok(Step::Full) => None,
                    other => Some(other),
                })
                .map_err(|_| Errno::ERESTARTNOHAND)??,
            step => step,
        };
        match step {
            Step::NoRoom(capacity) => queue.make_room(capacity)?,
            _ => return Ok(()),
        }
    }
}

/// How far an attempt to send has come.
enum Step {
    Sent,
    Full,
    /// The list of messages has to be made longer, outside of the lock.
    NoRoom(usize),
}

impl MsgQueue {
    /// Locks the queue for who may do this.
    ///
    /// # Errors
    /// `EACCES`, `EIDRM`.
    fn lock_for(&self, wanted: u32) -> Result<SpinGuard<'_, State>> {
        let state = self.state.lock();
        access::check(&state.perm, wanted)?;
        match state.removed {
            true => Err(Errno::EIDRM),
            false => Ok(state),
        }
    }

    fn make_room(&self, capacity: usize) -> Result<()> {
        let mut roomier = Fifo::with_capacity(capacity).ok_or(Errno::ENOMEM)?;
        self.state.lock().queue.swap_message_room(&mut roomier);
        Ok(())
    }

    /// Sends the message, which is taken, if there is room for it.
    fn try_send(&self, message: &mut Option<Box<Node<Message>>>) -> Result<Step> {
        let mut state = self.lock_for(IPC_WRITE)?;
        let Some(taken) = message.take_if(|node| state.queue.fits(node.value.text.len())) else {
            return Ok(Step::Full);
        };
        let mut too_small = TooSmall::new();
        let sent = state.queue.send(taken, &mut too_small);
        match &sent {
            Sent::NoRoom(_) => {}
            Sent::To(receiver, _) => {
                state.note_sent();
                state.rtime = now_seconds();
                state.lrpid = receiver.value.who.tid;
            }
            Sent::Queued => state.note_sent(),
        }
        let capacity = state.queue.wanted_messages();
        drop(state);
        too_small.for_each(|receiver| receiver.who.finish(Err(Errno::E2BIG)));
        Ok(match sent {
            Sent::NoRoom(back) => {
                *message = Some(back);
                Step::NoRoom(capacity)
            }
            Sent::To(receiver, message) => {
                receiver.value.who.finish(Ok(message));
                Step::Sent
            }
            Sent::Queued => Step::Sent,
        })
    }
}

impl State {
    fn note_sent(&mut self) {
        self.stime = now_seconds();
        self.lspid = current().process.pid.0;
    }
}
