//! What a connection holds back: bytes short of a full segment that its owner has said more will follow, by `TCP_CORK`
//! or `MSG_MORE`. The protocol does not know of them before they may go.
//!
//! | what lets them go | how much |
//! |---|---|
//! | so many bytes that they fill a segment, or half of the buffer | whole segments |
//! | the option taken back, `TCP_NODELAY` set, a send without `MSG_MORE` | all |
//! | 200 ms after the first of them came | all |
//! | the end of what this side sends | all |
//!
//! Linux, too, lets half of what the other side takes go at once, whatever is asked for (`forced_push`), and sends the
//! rest when the timer that asks for a window's opening fires (`tcp_check_probe_timer`).

use alloc::vec::Vec;

use abi::{Errno, Result};
use smoltcp::socket::tcp::Socket;

use crate::mm::user::IoSource;
use crate::time;

/// How long bytes are held back at most: Linux's `TCP_RTO_MIN`.
const LONGEST_NS: u64 = 200_000_000;

/// # Invariants
/// What is held has room in the socket's buffer.
#[derive(Default)]
pub struct Cork {
    /// `TCP_CORK`.
    is_set: bool,
    /// The last send said that more follows.
    more: bool,
    held: Vec<u8>,
    /// When what is held goes, if there is any.
    due_ns: u64,
}

impl Cork {
    /// Sets `TCP_CORK`. `push` lets go what is held by now all the same.
    pub fn set(&mut self, on: bool, push: bool) {
        self.is_set = on;
        if push {
            self.due_ns = 0;
        }
    }

    /// A send says whether more follows. Whether its bytes must come here.
    pub fn begin_send(&mut self, more: bool) -> bool {
        self.more = more;
        self.is_set || more || !self.held.is_empty()
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// When to look again.
    pub fn deadline_ns(&self) -> Option<u64> {
        (!self.held.is_empty()).then_some(self.due_ns)
    }

    /// Takes as much of the source as there is room for, and lets full segments go.
    ///
    /// # Errors
    /// `EFAULT` and `ENOBUFS`, if nothing was taken.
    pub fn take(
        &mut self,
        socket: &mut Socket<'static>,
        segment: usize,
        source: &mut IoSource<'_>,
    ) -> Result<usize> {
        let room = socket.send_capacity() - socket.send_queue() - self.held.len();
        let len = room.min(source.remaining());
        let (old, before) = (self.held.len(), source.done());
        self.held.try_reserve(len).map_err(|_| Errno::ENOBUFS)?;
        self.held.resize(old + len, 0);
        let result = source.take(self.held.get_mut(old..).unwrap_or_default());
        let taken = source.done() - before;
        self.held.truncate(old + taken);
        if old == 0 {
            self.due_ns = time::monotonic_ns().saturating_add(LONGEST_NS);
        }
        let segment = segment.min(socket.send_capacity() / 2).max(1);
        let full = self.held.len() - self.held.len() % segment;
        if full != 0 {
            self.release(socket, full);
            self.due_ns = time::monotonic_ns().saturating_add(LONGEST_NS);
        }
        result.map(|()| taken).or_else(|error| match taken {
            0 => Err(error),
            _ => Ok(taken),
        })
    }

    /// Lets go what nothing holds back any more.
    pub fn see_to(&mut self, socket: &mut Socket<'static>) {
        if self.held.is_empty() {
            return;
        }
        if !(self.is_set || self.more) || self.due_ns <= time::monotonic_ns() {
            self.release_all(socket);
        }
    }

    pub fn release_all(&mut self, socket: &mut Socket<'static>) {
        self.release(socket, self.held.len());
    }

    fn release(&mut self, socket: &mut Socket<'static>, len: usize) {
        let mut given = 0;
        // The room may be in two pieces. There is none if the connection is over, as for bytes that it has already.
        while let Ok(count @ 1..) = socket.send_slice(self.held.get(given..len).unwrap_or_default())
        {
            given += count;
        }
        self.held.drain(..len);
    }
}
