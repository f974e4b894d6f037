//! Message queues: which message a receiver gets, and which receiver a message goes to.
//!
//! A message goes straight to the first receiver that waits for its type, so that it never lies in the queue; one whose
//! buffer is too small for it is told so and waits no more. Who waits for room is the kernel's: it tries again.

use alloc::boxed::Box;
use alloc::vec::Vec;

use abi::sysv::{MSG_COPY, MSG_EXCEPT};
use abi::{Errno, Result};

use crate::list::{Chain, Fifo, Node};

/// Which messages a receiver takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The first.
    Any,
    /// The first of this type.
    Equal(i64),
    /// The first of another type.
    NotEqual(i64),
    /// The first of the lowest type, which is at most this.
    LessEqual(i64),
    /// The one at this place (`MSG_COPY`).
    At(i64),
}

impl Choice {
    /// What the type and the flags of `msgrcv` mean.
    pub const fn new(mtype: i64, flags: u32) -> Self {
        if flags & MSG_COPY != 0 {
            return Self::At(mtype);
        }
        match mtype {
            0 => Self::Any,
            ..0 => Self::LessEqual(mtype.saturating_neg()),
            _ if flags & MSG_EXCEPT != 0 => Self::NotEqual(mtype),
            _ => Self::Equal(mtype),
        }
    }

    /// Whether a message that comes now is for this receiver.
    const fn takes(self, mtype: i64) -> bool {
        match self {
            // A copy never waits.
            Self::Any | Self::At(_) => true,
            Self::Equal(wanted) => mtype == wanted,
            Self::NotEqual(other) => mtype != other,
            Self::LessEqual(most) => mtype <= most,
        }
    }
}

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// More than 0.
    pub mtype: i64,
    pub text: Vec<u8>,
}

/// Who waits for a message.
#[derive(Debug)]
pub struct Receiver<W> {
    pub choice: Choice,
    /// The longest text it takes.
    pub max: usize,
    pub who: W,
}

/// Receivers that a message was too long for.
pub type TooSmall<W> = Chain<Receiver<W>>;

/// What became of a message that fits.
#[derive(Debug)]
pub enum Sent<W> {
    /// It goes to this receiver, who has left the queue.
    To(Box<Node<Receiver<W>>>, Box<Node<Message>>),
    Queued,
    /// There is no room for its place in the queue: to be made outside of the lock.
    NoRoom(Box<Node<Message>>),
}

/// The state of a queue.
///
/// # Invariants
/// - `bytes` is the sum of the texts' lengths.
/// - No message in the queue is for a receiver that waits.
#[derive(Debug)]
pub struct Queue<W> {
    messages: Fifo<Message>,
    bytes: usize,
    receivers: Fifo<Receiver<W>>,
    /// The most bytes, and messages, that it holds (`msg_qbytes`).
    pub max_bytes: usize,
}

impl<W> Queue<W> {
    pub const fn new(max_bytes: usize) -> Self {
        Self {
            messages: Fifo::new(),
            bytes: 0,
            receivers: Fifo::new(),
            max_bytes,
        }
    }

    /// Bytes of text.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether a message with a text of this length may come in.
    pub fn fits(&self, len: usize) -> bool {
        self.bytes.saturating_add(len) <= self.max_bytes && self.messages.len() < self.max_bytes
    }

    /// Hands a message that fits to who waits for it, or puts it at the end.
    pub fn send(&mut self, message: Box<Node<Message>>, too_small: &mut TooSmall<W>) -> Sent<W> {
        let (mtype, len) = (message.value.mtype, message.value.text.len());
        let is_for = |receiver: &Receiver<W>| receiver.choice.takes(mtype);
        while let Some(receiver) = self.receivers.remove_first(is_for) {
            if receiver.value.max >= len {
                return Sent::To(receiver, message);
            }
            too_small.push(receiver);
        }
        match self.messages.push(message) {
            Ok(()) => {
                self.bytes += len;
                Sent::Queued
            }
            Err(back) => Sent::NoRoom(back),
        }
    }

    /// How many messages a roomier queue should have room for.
    pub fn wanted_messages(&self) -> usize {
        self.messages.wanted_capacity()
    }

    /// See [`Fifo::swap_room`].
    pub fn swap_message_room(&mut self, roomier: &mut Fifo<Message>) {
        self.messages.swap_room(roomier);
    }

    /// The place of the message that a receiver gets.
    fn find(&self, choice: Choice) -> Option<usize> {
        let types = || self.messages.iter().map(|message| message.mtype);
        match choice {
            Choice::At(place) => usize::try_from(place).ok().filter(|at| *at < self.len()),
            Choice::LessEqual(most) => {
                let (at, lowest) = types().enumerate().min_by_key(|(_, mtype)| *mtype)?;
                (lowest <= most).then_some(at)
            }
            _ => types().position(|mtype| choice.takes(mtype)),
        }
    }

    /// Takes the message out that a receiver gets; `None` if there is none. `cut`: a text longer than `max` is the
    /// caller's to cut.
    ///
    /// # Errors
    /// `E2BIG` for a longer text otherwise.
    pub fn receive(
        &mut self,
        choice: Choice,
        max: usize,
        cut: bool,
    ) -> Result<Option<Box<Node<Message>>>> {
        let Some(at) = self.find(choice) else {
            return Ok(None);
        };
        let len = self.messages.get(at).map_or(0, |found| found.text.len());
        if len > max && !cut {
            return Err(Errno::E2BIG);
        }
        let node = self.messages.remove(at);
        if node.is_some() {
            self.bytes -= len;
        }
        Ok(node)
    }

    /// Copies the message at a place into `text`, for which that has room; answers its type.
    ///
    /// # Errors
    /// As [`Self::receive`], and `EINVAL` for a text that is to be cut: a copy is a whole one.
    pub fn copy(
        &self,
        choice: Choice,
        max: usize,
        cut: bool,
        text: &mut Vec<u8>,
    ) -> Result<Option<i64>> {
        let Some(found) = self.find(choice).and_then(|at| self.messages.get(at)) else {
            return Ok(None);
        };
        let len = found.text.len();
        if len > max && !cut {
            return Err(Errno::E2BIG);
        }
        if len > max.min(text.capacity()) {
            return Err(Errno::EINVAL);
        }
        text.extend_from_slice(&found.text);
        Ok(Some(found.mtype))
    }

    /// Whether another receiver can wait without an allocation.
    pub fn has_receiver_room(&self) -> bool {
        self.receivers.has_room()
    }

    /// How many receivers a roomier queue should have room for.
    pub fn wanted_receivers(&self) -> usize {
        self.receivers.wanted_capacity()
    }

    /// See [`Fifo::swap_room`].
    pub fn swap_receiver_room(&mut self, roomier: &mut Fifo<Receiver<W>>) {
        self.receivers.swap_room(roomier);
    }

    /// Puts a receiver at the end of those who wait; gives it back when there is no room.
    pub fn wait(
        &mut self,
        receiver: Box<Node<Receiver<W>>>,
    ) -> core::result::Result<(), Box<Node<Receiver<W>>>> {
        self.receivers.push(receiver)
    }

    /// Takes a receiver out that gave up; `None` when it was served before.
    pub fn cancel(&mut self, is_it: impl Fn(&W) -> bool) -> Option<Box<Node<Receiver<W>>>> {
        self.receivers.remove_first(|receiver| is_it(&receiver.who))
    }

    /// Takes all receivers out: they are to look again, or to leave.
    pub fn drain_receivers(&mut self) -> Chain<Receiver<W>> {
        self.receivers.drain()
    }

    /// Takes all messages out: the queue is removed.
    pub fn drain_messages(&mut self) -> Chain<Message> {
        self.bytes = 0;
        self.messages.drain()
    }
}

#[cfg(test)]
#[path = "msg_tests.rs"]
mod tests;
