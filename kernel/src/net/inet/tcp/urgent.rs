//! Urgent data (`MSG_OOB`): one byte of the stream that is marked, told of ahead, and read beside the others.
//!
//! `smoltcp` has no urgent pointer, but what passes between two of it is bytes: who sends stamps the packets that its
//! stack made, and who receives looks at those that came before its stack does. A mark that went beside the packets
//! would be less work; so, however, they are as on a wire for whoever else reads or makes them, and a mark finds its
//! byte whatever is lost, sent again or cut anew.
//!
//! The pointer is to the byte behind the urgent one, as BSD and Linux have it. Positions are sequence numbers, which
//! `smoltcp` does not show: they are counted from the SYN of each side.
//!
//! | who | has |
//! |---|---|
//! | [`Sending`] | the mark that is still to be acknowledged |
//! | [`Receiving`] | the mark that was told of, and its byte |
//! | [`Shown`] | what readers, `poll` and `ioctl` see of it without the connection's lock |
//!
//! References: tcp(7), RFC 9293 3.8.5, RFC 6093.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use abi::poll::PollEvents;
use abi::socket::MsgFlags;
use abi::{Errno, Result};
use smoltcp::socket::tcp::{Socket, State};

use super::connection::Connection;
use super::end::{End, state};
use super::segment::{Segment, Summary};
use super::socket::TcpSocket;
use crate::fs::fasync::FasyncList;
use crate::net::message::Incoming;
use crate::net::unix::RECEIVE;

/// How far a sequence number lies behind another; negative before it.
fn distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

/// A count of bytes as a distance of sequence numbers.
fn sequence_count(bytes: usize) -> u32 {
    // Numbers wrap around.
    bytes as u32
}

/// The sending side of one connection.
#[derive(Default)]
pub struct Sending {
    /// The number of the first byte, once the SYN was sent.
    first: Option<u32>,
    /// How many bytes were taken to be sent.
    taken: u32,
    /// How many of them there are up to the urgent one and with it, until it is acknowledged.
    mark: Option<u32>,
}

impl Sending {
    /// So many bytes more are taken.
    pub fn take(&mut self, count: usize) {
        self.taken = self.taken.wrapping_add(sequence_count(count));
    }

    /// The last byte taken is the urgent one, in place of any other.
    pub fn mark_last(&mut self) {
        self.mark = Some(self.taken);
    }

    pub fn is_marked(&self) -> bool {
        self.mark.is_some()
    }

    /// All but the last so many bytes are acknowledged.
    pub fn settle(&mut self, left: usize) {
        let acknowledged = self.taken.wrapping_sub(sequence_count(left));
        self.mark = self.mark.filter(|mark| distance(acknowledged, *mark) > 0);
    }

    /// Points from a packet that is sent to the urgent byte, if that is not before it nor too far.
    #[inline]
    pub fn stamp(&mut self, segment: &mut Segment) {
        if self.first.is_none() || self.mark.is_some() {
            self.stamp_marked(segment);
        }
    }

    #[cold]
    fn stamp_marked(&mut self, segment: &mut Segment) {
        let Some(summary) = segment.summary() else {
            return;
        };
        let number = summary.sequence.0.cast_unsigned();
        if summary.syn {
            self.first = Some(number.wrapping_add(1));
        }
        if let (Some(first), Some(mark), false) = (self.first, self.mark, summary.rst)
            && let Ok(pointer @ 1..) = u16::try_from(distance(number, first.wrapping_add(mark)))
        {
            segment.set_urgent(pointer);
        }
    }
}

/// How far the byte at a mark is.
#[derive(Clone, Copy)]
enum Byte {
    /// It was told of, but did not come.
    Awaited,
    Here(u8),
    /// `MSG_OOB` has read it.
    Read,
}

#[derive(Clone, Copy)]
struct Mark {
    at: u32,
    byte: Byte,
}

/// The receiving side of one connection.
#[derive(Default)]
pub struct Receiving {
    /// The number of the first byte, once the SYN came.
    first: Option<u32>,
    /// How many bytes were read.
    read: u32,
    /// Until it is read past.
    mark: Option<Mark>,
    /// The end of the stream came.
    is_ended: bool,
    /// What is to be told: a new mark, and a byte that came.
    is_announced: bool,
    has_come: bool,
}

impl Receiving {
    /// A packet has come that the stack will see next.
    #[inline]
    pub fn look_at(
        &mut self,
        segment: &Segment,
        summary: &Summary,
        socket: &mut Socket<'static>,
        shown: &Shown,
    ) {
        self.is_ended |= summary.fin;
        if summary.syn {
            let is_first = matches!(
                socket.state(),
                State::Listen | State::SynSent | State::SynReceived
            );
            if is_first {
                self.first = Some(summary.sequence.0.cast_unsigned().wrapping_add(1));
            }
        } else if summary.urgent.is_some() || self.is_awaited() {
            self.look_closer(segment, summary, socket, shown);
        }
    }

    fn is_awaited(&self) -> bool {
        matches!(self.mark, Some(mark) if matches!(mark.byte, Byte::Awaited))
    }

    /// The number of the next byte to be read.
    fn next(&self) -> Option<u32> {
        Some(self.first?.wrapping_add(self.read))
    }

    #[cold]
    fn look_closer(
        &mut self,
        segment: &Segment,
        summary: &Summary,
        socket: &mut Socket<'static>,
        shown: &Shown,
    ) {
        let Some(next) = self.next().filter(|_| !summary.rst) else {
            return;
        };
        let end = next.wrapping_add(sequence_count(socket.recv_queue()));
        let room = socket.recv_capacity() - socket.recv_queue();
        let number = summary.sequence.0.cast_unsigned();
        let behind = number.wrapping_add(sequence_count(summary.length));
        let ahead = usize::try_from(distance(end, number)).unwrap_or(0);
        if distance(end, behind) < 0 || ahead > room {
            return;
        }
        if let Some(pointer) = summary.urgent {
            let at = number.wrapping_add(u32::from(pointer.saturating_sub(1)));
            let is_new = self.mark.is_none_or(|mark| distance(mark.at, at) > 0);
            if distance(end, at) >= 0 && is_new {
                self.announce(at, socket, shown);
            }
        }
        if let Some(mark) = &mut self.mark
            && matches!(mark.byte, Byte::Awaited)
            && let Ok(index) = usize::try_from(distance(number, mark.at))
            && let Some(byte) = segment.payload_byte(index)
        {
            mark.byte = Byte::Here(byte);
            self.has_come = true;
        }
    }

    /// There is a new mark. An urgent byte before it becomes one of the stream, but for one that is the next to be read:
    /// it is passed.
    fn announce(&mut self, at: u32, socket: &mut Socket<'static>, shown: &Shown) {
        if self.is_at_mark() && !shown.is_inline() {
            self.skip(socket);
        }
        self.mark = Some(Mark {
            at,
            byte: Byte::Awaited,
        });
        self.is_announced = true;
    }

    fn is_at_mark(&self) -> bool {
        self.mark.is_some() && self.mark.map(|mark| mark.at) == self.next()
    }

    /// Takes the next byte away, if it is there.
    fn skip(&mut self, socket: &mut Socket<'static>) {
        let skipped = socket.recv(|bytes| (bytes.len().min(1), bytes.len().min(1)));
        self.read = self
            .read
            .wrapping_add(sequence_count(skipped.unwrap_or_default()));
    }

    /// Reads by `drain`, which gets told how many bytes it may take at most: a read does not cross the mark, and one that
    /// begins there passes it.
    ///
    /// `is_first`: the call that reads has no bytes yet.
    ///
    /// # Errors
    /// Those of `drain`.
    pub fn read(
        &mut self,
        socket: &mut Socket<'static>,
        is_inline: bool,
        is_first: bool,
        drain: impl FnOnce(&mut Socket<'static>, usize) -> Result<usize>,
    ) -> Result<usize> {
        let mut most = usize::MAX;
        if let (Some(mark), Some(next)) = (self.mark, self.next()) {
            let ahead = usize::try_from(distance(next, mark.at)).unwrap_or(0);
            if ahead != 0 || !is_first {
                most = ahead;
            } else if !is_inline {
                self.skip(socket);
            }
        }
        let before = socket.recv_queue();
        let drained = drain(socket, most);
        self.read = self
            .read
            .wrapping_add(sequence_count(before - socket.recv_queue()));
        if let (Some(mark), Some(next)) = (self.mark, self.next())
            && distance(mark.at, next) > 0
        {
            self.mark = None;
        }
        drained
    }

    /// Reads the urgent byte; `None` if it will not come.
    ///
    /// # Errors
    /// `EINVAL` if there is none or it was read, `EAGAIN` if it has not come yet, `ENOTCONN` after a reset.
    fn take_byte(&mut self, end: &End, stays: bool) -> Result<Option<u8>> {
        let mark = self.mark.as_mut().ok_or(Errno::EINVAL)?;
        if matches!(mark.byte, Byte::Read) {
            return Err(Errno::EINVAL);
        }
        let is_closed = end.state() == state::CLOSE;
        if is_closed && !self.is_ended {
            return Err(Errno::ENOTCONN);
        }
        match mark.byte {
            Byte::Here(byte) => {
                if !stays {
                    mark.byte = Byte::Read;
                }
                Ok(Some(byte))
            }
            _ if is_closed || end.is_shut(RECEIVE) => Ok(None),
            _ => Err(Errno::EAGAIN),
        }
    }

    /// Shows where the mark is, and tells who waits what is new.
    #[inline]
    pub fn publish(&mut self, end: &End) {
        if self.mark.is_some() || end.urgent.is_marked() {
            self.publish_mark(end);
        }
    }

    #[cold]
    fn publish_mark(&mut self, end: &End) {
        let ahead = self.mark.zip(self.next()).map_or(NOWHERE, |(mark, next)| {
            usize::try_from(distance(next, mark.at)).unwrap_or(NOWHERE)
        });
        let is_here = matches!(self.mark, Some(mark) if matches!(mark.byte, Byte::Here(_)));
        end.urgent.ahead.store(ahead, Ordering::SeqCst);
        end.urgent.is_here.store(is_here, Ordering::SeqCst);
        if core::mem::take(&mut self.is_announced) {
            end.urgent.tell_owner(&end.fasync);
        }
        if core::mem::take(&mut self.has_come) {
            let events = PollEvents::PRI | PollEvents::RDBAND | PollEvents::READABLE;
            end.readers.wake_events(events);
        }
    }
}

/// No mark.
const NOWHERE: usize = usize::MAX;

/// What of urgent data is seen without the connection's lock.
///
/// # Invariants
/// Where the mark is changes under the lock of the connection's stack, or while there is no connection.
pub struct Shown {
    /// How many bytes are to be read before the urgent one.
    ahead: AtomicUsize,
    /// Its byte came, and was not read.
    is_here: AtomicBool,
    /// `SO_OOBINLINE`.
    is_inline: AtomicBool,
    /// The file, once somebody was named its owner: he gets SIGURG with or without `O_ASYNC`.
    pub owned: FasyncList,
}

impl Default for Shown {
    fn default() -> Shown {
        Shown {
            ahead: AtomicUsize::new(NOWHERE),
            is_here: AtomicBool::new(false),
            is_inline: AtomicBool::new(false),
            owned: FasyncList::default(),
        }
    }
}

/// What reading without taking finds.
pub struct View {
    /// Bytes that are passed first: an urgent one.
    pub skip: usize,
    pub len: usize,
    /// No read gets more than these.
    pub is_whole: bool,
}

impl Shown {
    /// A new connection begins.
    pub fn clear(&self) {
        self.ahead.store(NOWHERE, Ordering::SeqCst);
        self.is_here.store(false, Ordering::SeqCst);
    }

    pub fn set_inline(&self, on: bool) {
        self.is_inline.store(on, Ordering::SeqCst);
    }
    pub fn is_inline(&self) -> bool {
        self.is_inline.load(Ordering::SeqCst)
    }

    fn ahead(&self) -> usize {
        self.ahead.load(Ordering::SeqCst)
    }
    fn is_marked(&self) -> bool {
        self.ahead() != NOWHERE
    }
    /// `SIOCATMARK`.
    pub fn is_at_mark(&self) -> bool {
        self.ahead() == 0
    }
    /// Whether the next byte is one that reads pass.
    pub fn hides_next(&self) -> bool {
        self.is_at_mark() && !self.is_inline()
    }
    /// Whether `MSG_OOB` finds its byte.
    pub fn is_here(&self) -> bool {
        self.is_here.load(Ordering::SeqCst)
    }

    /// What of so many bytes `FIONREAD` counts: those before the urgent one.
    pub fn count(&self, readable: usize) -> usize {
        let ahead = self.ahead();
        if ahead >= readable || self.is_inline() {
            readable
        } else {
            ahead
        }
    }

    /// What a read finds that begins now, with so many bytes received.
    pub fn view(&self, readable: usize) -> View {
        let ahead = self.ahead();
        let skip = usize::from(readable != 0 && self.hides_next());
        let rest = readable - skip;
        let is_whole = (1..=rest).contains(&ahead);
        View {
            skip,
            len: if is_whole { ahead } else { rest },
            is_whole,
        }
    }

    /// Signals the owner, and by `O_ASYNC` those who chose a signal of their own.
    fn tell_owner(&self, fasync: &FasyncList) {
        if self.owned.tell_urgent() {
            fasync.tell_chosen();
        }
    }
}

impl Connection {
    /// As [`Receiving::read`]; `None` if the connection is over.
    pub fn receive(
        self: &Arc<Self>,
        is_first: bool,
        drain: impl FnOnce(&mut Socket<'static>, usize) -> Result<usize>,
    ) -> Option<Result<usize>> {
        let is_inline = self.end.urgent.is_inline();
        self.with_active(|active| {
            let socket = active.stack.socket()?;
            Some(active.receiving.read(socket, is_inline, is_first, drain))
        })
        .flatten()
    }
}

impl TcpSocket {
    /// `MSG_OOB`: never waits.
    ///
    /// # Errors
    /// `EINVAL` if there is no urgent byte, it was read, or it is in the stream (`SO_OOBINLINE`); `EAGAIN` if it has not
    /// come yet; `ENOTCONN` after a reset, `EFAULT`.
    pub fn receive_urgent(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        let connection = self.connection().ok_or(Errno::EINVAL)?;
        if self.end.urgent.is_inline() {
            return Err(Errno::EINVAL);
        }
        let stays = message.flags.contains(MsgFlags::PEEK);
        let taken = connection
            .with_active(|active| active.receiving.take_byte(&self.end, stays))
            .unwrap_or(Err(Errno::EINVAL))?;
        let Some(byte) = taken else {
            return Ok(0);
        };
        message.told |= MsgFlags::OOB;
        if message.data.remaining() == 0 {
            message.told |= MsgFlags::TRUNC;
            return Ok(0);
        }
        if !message.flags.contains(MsgFlags::TRUNC) {
            message.data.put(&[byte])?;
        }
        Ok(1)
    }
}
