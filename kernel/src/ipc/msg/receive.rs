//! `msgrcv`.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::sysv::{IPC_NOWAIT, IPC_READ, MSG_COPY, MSG_EXCEPT, MSG_NOERROR};
use abi::{Errno, Result};
use sysvipc::list::{Fifo, Node};
use sysvipc::msg::{Choice, Message, Receiver};

use super::super::{limits, now_seconds};
use super::{MsgQueue, QUEUES};
use crate::sync::{SpinLock, WaitQueue, current};

/// What a receiver gets.
type Letter = Box<Node<Message>>;

/// A thread that sleeps in a call.
pub struct Sleeper {
    /// Linux notes the thread as the last receiver of what is handed to a sleeper.
    pub(super) tid: i32,
    /// A message, or why there is none: `EAGAIN` to look again.
    reply: SpinLock<Option<Result<Letter>>>,
    queue: WaitQueue,
}

impl Sleeper {
    fn new() -> Arc<Sleeper> {
        Arc::new(Sleeper {
            tid: current().tid().0,
            reply: SpinLock::new(None),
            queue: WaitQueue::new(),
        })
    }

    fn take_reply(&self) -> Option<Result<Letter>> {
        self.reply.lock().take()
    }

    /// Ends the sleep. No lock of a queue is held.
    pub(super) fn finish(&self, reply: Result<Letter>) {
        *self.reply.lock() = Some(reply);
        self.queue.wake_all();
    }
}

/// A message for the user: its type, and the text up to what was asked for.
pub struct Received {
    pub mtype: i64,
    pub text: Vec<u8>,
}

/// What a call asks for.
#[derive(Clone, Copy)]
struct Request {
    choice: Choice,
    max: usize,
    flags: u32,
}

impl Request {
    fn cuts(&self) -> bool {
        self.flags & MSG_NOERROR != 0
    }
}

/// `msgrcv`.
///
/// # Errors
/// Those of msgrcv(2).
pub fn receive(id: i32, max: usize, mtype: i64, flags: u32) -> Result<Received> {
    if id < 0 || max > isize::MAX as usize {
        return Err(Errno::EINVAL);
    }
    let request = Request {
        choice: Choice::new(mtype, flags),
        max,
        flags,
    };
    if flags & MSG_COPY != 0 {
        if flags & MSG_EXCEPT != 0 || flags & IPC_NOWAIT == 0 {
            return Err(Errno::EINVAL);
        }
        return copy(id, &request);
    }
    let queue = QUEUES.get(id)?;
    loop {
        let found = match queue.try_receive(&request)? {
            Some(letter) => Ok(letter),
            None if flags & IPC_NOWAIT != 0 => Err(Errno::ENOMSG),
            None => queue.sleep(&request),
        };
        match found {
            Ok(letter) => {
                let Message { mtype, mut text } = letter.value;
                text.truncate(max);
                return Ok(Received { mtype, text });
            }
            Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// `MSG_COPY`: what is at a place of the queue, which stays there.
fn copy(id: i32, request: &Request) -> Result<Received> {
    let mut text = Vec::new();
    let most = request.max.min(limits::MSGMAX.count());
    text.try_reserve_exact(most).map_err(|_| Errno::ENOMEM)?;
    let queue = QUEUES.get(id)?;
    let state = queue.lock_for(IPC_READ)?;
    let copied = state
        .queue
        .copy(request.choice, request.max, request.cuts(), &mut text)?;
    let mtype = copied.ok_or(Errno::ENOMSG)?;
    drop(state);
    Ok(Received { mtype, text })
}

impl MsgQueue {
    fn try_receive(&self, request: &Request) -> Result<Option<Letter>> {
        let mut state = self.lock_for(IPC_READ)?;
        let found = state
            .queue
            .receive(request.choice, request.max, request.cuts())?;
        if found.is_some() {
            state.rtime = now_seconds();
            state.lrpid = current().process.pid.0;
            drop(state);
            self.senders.wake_all();
        }
        Ok(found)
    }

    /// Looks once more and joins those who wait. `EAGAIN` to begin anew.
    fn sleep(&self, request: &Request) -> Result<Letter> {
        let sleeper = Sleeper::new();
        let max = match request.cuts() {
            true => usize::MAX,
            false => request.max,
        };
        let mut node = Node::new(Receiver {
            choice: request.choice,
            max,
            who: sleeper.clone(),
        });
        loop {
            let mut state = self.lock_for(IPC_READ)?;
            if !state.queue.has_receiver_room() {
                let capacity = state.queue.wanted_receivers();
                drop(state);
                let mut roomier = Fifo::with_capacity(capacity).ok_or(Errno::ENOMEM)?;
                self.state.lock().queue.swap_receiver_room(&mut roomier);
                continue;
            }
            let found = state
                .queue
                .receive(request.choice, request.max, request.cuts())?;
            if let Some(letter) = found {
                state.rtime = now_seconds();
                state.lrpid = current().process.pid.0;
                drop(state);
                self.senders.wake_all();
                return Ok(letter);
            }
            match state.queue.wait(node) {
                Ok(()) => break,
                Err(back) => node = back,
            }
        }
        self.await_reply(&sleeper)
    }

    fn await_reply(&self, sleeper: &Arc<Sleeper>) -> Result<Letter> {
        if let Ok(reply) = sleeper.queue.wait_until(|| sleeper.take_reply()) {
            return reply;
        }
        let given_up = {
            let mut state = self.state.lock();
            state.queue.cancel(|who| Arc::ptr_eq(who, sleeper))
        };
        match given_up {
            Some(_) => Err(Errno::ERESTARTNOHAND),
            None => sleeper.queue.wait_uninterruptible(|| sleeper.take_reply()),
        }
    }
}
