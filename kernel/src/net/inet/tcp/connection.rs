//! One connection: its stack, what has come in for it, and what both mean to its [`End`].
//!
//! # Who runs it
//! Whoever does something with a connection does so under its stack's lock, and then gives its packets to those they
//! are for, which are run next, and so on until nothing is left to answer ([`Kicks`]). Packets wait in `input`; who finds
//! the stack locked leaves them there, because who has it looks again once the lock is free:
//! ```text
//! A: input <- packet      B: unlock
//!    try to lock: held       input is not empty: run
//! ```
//! One of the two sees the other.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

use abi::poll::PollEvents;
use abi::socket::MsgFlags;
use abi::{Errno, Result};
use smoltcp::socket::tcp::{Socket, State};
use spin::Once;

use super::cork::Cork;
use super::end::{BOTH, End, state};
use super::listener::Listener;
use super::segment::Segment;
use super::settings::{Limits, Settings};
use super::stack::Stack;
use super::table::{self, Key, Kicks};
use super::urgent::{Receiving, Sending};
use super::{timer, transfer};
use crate::fs::fasync::Band;
use crate::mm::user::IoSource;
use crate::mm::{self, PAGE_SIZE};
use crate::net::inet::ports::Lease;
use crate::net::unix::{RECEIVE, SEND};
use crate::sync::{Mutex, SpinLock};
use crate::time;

/// Bytes for what comes in and what goes out, each.
const BUFFER: usize = 65536;
/// The same while connections have much memory already.
const SMALL_BUFFER: usize = 8192;

/// Bytes of all connections' buffers.
static MEMORY: AtomicUsize = AtomicUsize::new(0);

/// Bytes of memory that there are.
fn total_memory() -> usize {
    static TOTAL: Once<usize> = Once::new();
    *TOTAL.call_once(|| mm::stats().total as usize * PAGE_SIZE)
}

/// A connection's share of [`MEMORY`].
struct Charge(usize);

impl Charge {
    /// The size of each buffer: less under pressure (as Linux's `tcp_mem`), none when a quarter of memory is in use.
    fn new() -> Result<(Charge, usize)> {
        let total = total_memory();
        let used = MEMORY.load(Ordering::Relaxed);
        if used > total / 4 {
            return Err(Errno::ENOBUFS);
        }
        let size = if used > total / 16 {
            SMALL_BUFFER
        } else {
            BUFFER
        };
        MEMORY.fetch_add(2 * size, Ordering::Relaxed);
        Ok((Charge(2 * size), size))
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        MEMORY.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// What a connection has while it may send or receive.
pub(super) struct Active {
    pub(super) stack: Stack,
    cork: Cork,
    sending: Sending,
    pub(super) receiving: Receiving,
    _charge: Charge,
}

impl Active {
    fn send(&mut self, source: &mut IoSource<'_>, flags: MsgFlags) -> Option<Result<usize>> {
        let segment = self.stack.segment_len();
        let socket = self.stack.socket()?;
        let sent = if self.cork.begin_send(flags.contains(MsgFlags::MORE)) {
            self.cork.take(socket, segment, source)
        } else {
            transfer::fill(socket, source)
        };
        if let Ok(count @ 1..) = sent {
            self.sending.take(count);
            let is_last = source.remaining() == 0 || flags.contains(MsgFlags::DONTWAIT);
            if is_last && flags.contains(MsgFlags::OOB) {
                // Nothing holds urgent data back.
                self.cork.release_all(socket);
                self.sending.mark_last();
            }
        }
        Some(sent)
    }

    /// A packet has come; whether it is a reset.
    fn take_in(&mut self, segment: Segment, end: &End) -> bool {
        let summary = segment.summary();
        if let (Some(summary), Some(socket)) = (&summary, self.stack.socket()) {
            self.receiving
                .look_at(&segment, summary, socket, &end.urgent);
        }
        self.stack.take_in(segment);
        summary.is_some_and(|summary| summary.rst)
    }

    /// The packets made since the last call.
    fn take_out(&mut self) -> Vec<Segment> {
        if self.sending.is_marked()
            && let Some(socket) = self.stack.socket()
        {
            self.sending.settle(socket.send_queue() + self.cork.len());
        }
        let mut segments = self.stack.take_out();
        for segment in &mut segments {
            self.sending.stamp(segment);
        }
        segments
    }

    /// Nothing more will be sent.
    fn finish(&mut self) {
        if let Some(socket) = self.stack.socket() {
            self.cork.release_all(socket);
            socket.close();
        }
    }
}

/// One connection.
///
/// # Invariants
/// It is in the [`table`] while its stack is there, and then has its lease.
pub struct Connection {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub end: Arc<End>,
    active: Mutex<Option<Active>>,
    input: SpinLock<VecDeque<Segment>>,
    lease: SpinLock<Option<Lease>>,
    /// Whom to tell that it is made; taken when that is done.
    listener: SpinLock<Option<Weak<Listener>>>,
    limits: Limits,
    /// Nobody has it any more: what comes in is refused.
    orphan: AtomicBool,
    /// Nobody ever will have it: it is reset.
    doomed: AtomicBool,
    /// It is ended by this side, which is no error to be told.
    aborted: AtomicBool,
    /// The earliest deadline that the timer knows of.
    armed_ns: AtomicU64,
}

fn number_of(state: State) -> u8 {
    match state {
        State::Closed => state::CLOSE,
        State::Listen => state::SYN_RECV,
        State::SynSent => state::SYN_SENT,
        State::SynReceived => state::SYN_RECV,
        State::Established => state::ESTABLISHED,
        State::FinWait1 => state::FIN_WAIT1,
        State::FinWait2 => state::FIN_WAIT2,
        State::CloseWait => state::CLOSE_WAIT,
        State::Closing => state::CLOSING,
        State::LastAck => state::LAST_ACK,
        State::TimeWait => state::TIME_WAIT,
    }
}

impl Connection {
    fn new(
        (local, remote): Key,
        end: Arc<End>,
        lease: Option<Lease>,
        listener: Option<&Arc<Listener>>,
        settings: &Settings,
        make: impl FnOnce(usize) -> Result<Stack>,
    ) -> Result<Arc<Connection>> {
        let (charge, size) = Charge::new()?;
        let mut stack = make(size)?;
        if let Some(socket) = stack.socket() {
            settings.apply(socket);
        }
        end.send_room.store(size, Ordering::SeqCst);
        end.unacknowledged.store(0, Ordering::SeqCst);
        let mut cork = Cork::default();
        cork.set(settings.is_corked(), false);
        Ok(Arc::new(Connection {
            local,
            remote,
            end,
            active: Mutex::new(Some(Active {
                stack,
                cork,
                sending: Sending::default(),
                receiving: Receiving::default(),
                _charge: charge,
            })),
            input: SpinLock::new(VecDeque::new()),
            lease: SpinLock::new(lease),
            listener: SpinLock::new(listener.map(Arc::downgrade)),
            limits: Limits::new(settings),
            orphan: AtomicBool::new(false),
            doomed: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
            armed_ns: AtomicU64::new(u64::MAX),
        }))
    }

    /// A connection that this side begins.
    ///
    /// # Errors
    /// `ENOBUFS`, `EINVAL`.
    pub fn connecting(
        local: SocketAddr,
        remote: SocketAddr,
        end: Arc<End>,
        settings: &Settings,
    ) -> Result<Arc<Connection>> {
        let connection = Self::new((local, remote), end, None, None, settings, |size| {
            Stack::connecting(local, remote, (size, size))
        })?;
        connection.end.reopen();
        connection.end.set_state(state::SYN_SENT);
        Ok(connection)
    }

    /// A connection for a SYN that a listener takes.
    ///
    /// # Errors
    /// `ENOBUFS`.
    pub fn listening(
        local: SocketAddr,
        remote: SocketAddr,
        lease: Lease,
        listener: &Arc<Listener>,
    ) -> Result<Arc<Connection>> {
        let end = Arc::new(End::new());
        end.set_state(state::SYN_RECV);
        let settings = listener.settings();
        Self::new(
            (local, remote),
            end,
            Some(lease),
            Some(listener),
            settings,
            |size| Stack::listening(local, (size, size)),
        )
    }

    pub fn key(&self) -> Key {
        (self.local, self.remote)
    }
    pub fn set_lease(&self, lease: Lease) {
        *self.lease.lock() = Some(lease);
    }
    pub fn take_lease(&self) -> Option<Lease> {
        self.lease.lock().take()
    }

    /// Makes the protocol do what the options say. `push`: what waits for more to be sent waits no longer.
    pub fn apply(self: &Arc<Self>, settings: &Settings, push: bool) {
        self.limits.set(settings);
        let mut kicks = Kicks::default();
        self.act_on(&mut kicks, |active| {
            active.cork.set(settings.is_corked(), push);
            if let Some(socket) = active.stack.socket() {
                settings.apply(socket);
            }
        });
        kicks.run();
    }

    /// A packet for this connection.
    pub fn push(&self, segment: Segment) {
        let mut input = self.input.lock();
        let refused = match input.try_reserve(1) {
            Ok(()) => {
                input.push_back(segment);
                None
            }
            // It is lost on the way, as packets are.
            Err(_) => Some(segment),
        };
        drop(input);
        drop(refused);
    }

    fn has_input(&self) -> bool {
        // Pairs with the other side's: see the head of the file.
        fence(Ordering::SeqCst);
        !self.input.lock().is_empty()
    }

    /// Takes in what came, unless somebody else has the stack, who will.
    pub fn run(self: &Arc<Self>, kicks: &mut Kicks) {
        while self.has_input() {
            let Some(mut active) = self.active.try_lock() else {
                return;
            };
            let done = self.turn(&mut active, kicks);
            drop(active);
            drop(done);
        }
    }

    /// A deadline has passed.
    pub fn expire(self: &Arc<Self>, kicks: &mut Kicks) {
        // An older deadline that was replaced by this one may pass as well: it changes nothing.
        if self.armed_ns.load(Ordering::SeqCst) <= time::monotonic_ns() {
            self.armed_ns.store(u64::MAX, Ordering::SeqCst);
        }
        self.act(kicks, |_| ());
    }

    /// Does something with the socket, then what follows from it; `None` if the connection is over.
    pub fn act<R>(
        self: &Arc<Self>,
        kicks: &mut Kicks,
        act: impl FnOnce(&mut Socket<'static>) -> R,
    ) -> Option<R> {
        self.act_on(kicks, |active| active.stack.socket().map(act))?
    }

    fn act_on<R>(
        self: &Arc<Self>,
        kicks: &mut Kicks,
        act: impl FnOnce(&mut Active) -> R,
    ) -> Option<R> {
        let mut active = self.active.lock();
        let answer = active.as_mut().map(act);
        let done = self.turn(&mut active, kicks);
        drop(active);
        drop(done);
        self.run(kicks);
        answer
    }

    /// As [`Self::act`], with all that others do about it.
    pub fn with<R>(self: &Arc<Self>, act: impl FnOnce(&mut Socket<'static>) -> R) -> Option<R> {
        let mut kicks = Kicks::default();
        let answer = self.act(&mut kicks, act);
        kicks.run();
        answer
    }

    /// Takes in, sends out, publishes. What it returns is to be dropped without the lock.
    fn turn(self: &Arc<Self>, slot: &mut Option<Active>, kicks: &mut Kicks) -> Option<Active> {
        let Some(active) = slot.as_mut() else {
            // Late packets of a connection that is over.
            let late = core::mem::take(&mut *self.input.lock());
            drop(late);
            return None;
        };
        let mut was_reset = false;
        loop {
            let next = self.input.lock().pop_front();
            let Some(segment) = next else { break };
            was_reset |= active.take_in(segment, &self.end);
        }
        self.see_to_orphan(active);
        if let Some(socket) = active.stack.socket() {
            active.cork.see_to(socket);
            self.limits.apply(socket);
        }
        active.stack.send_out();
        for segment in active.take_out() {
            table::deliver(segment, kicks);
        }
        self.publish(active, was_reset);
        let over = self.end_of(active);
        if let Some(waits_in) = over {
            table::retire(self, waits_in);
            return slot.take();
        }
        self.arm(active);
        None
    }

    /// What nobody will read resets the connection.
    fn see_to_orphan(&self, active: &mut Active) {
        if !self.orphan.load(Ordering::SeqCst) {
            return;
        }
        let is_doomed = self.doomed.load(Ordering::SeqCst);
        if let Some(socket) = active.stack.socket()
            && (is_doomed || socket.recv_queue() != 0)
        {
            socket.abort();
        }
    }

    /// Whether the connection is over, and in which state it is remembered.
    fn end_of(&self, active: &mut Active) -> Option<Option<u8>> {
        let socket = active.stack.socket()?;
        let is_read = socket.recv_queue() == 0;
        let orphan = self.orphan.load(Ordering::SeqCst);
        match socket.state() {
            State::Closed if is_read || orphan => Some(None),
            State::TimeWait if is_read || orphan => Some(Some(state::TIME_WAIT)),
            State::FinWait2 if orphan => Some(Some(state::FIN_WAIT2)),
            _ => None,
        }
    }

    fn arm(self: &Arc<Self>, active: &mut Active) {
        let deadlines = [active.stack.deadline_ns(), active.cork.deadline_ns()];
        if let Some(at) = deadlines.into_iter().flatten().min()
            && at < self.armed_ns.load(Ordering::SeqCst)
        {
            self.armed_ns.store(at, Ordering::SeqCst);
            timer::run_at(at, self);
        }
    }

    /// Shows the socket's state to the end, and wakes whom it concerns.
    fn publish(self: &Arc<Self>, active: &mut Active, was_reset: bool) {
        let Some(socket) = active.stack.socket() else {
            return;
        };
        let held = active.cork.len();
        let end = &self.end;
        let before = end.state();
        let was_writable = end.is_writable();
        let now = match number_of(socket.state()) {
            // The owner has nothing to do with it any more.
            state::TIME_WAIT => state::CLOSE,
            other => other,
        };
        let readable = socket.recv_queue();
        let had = end.readable.swap(readable, Ordering::SeqCst);
        let queued = socket.send_queue() + held;
        end.unacknowledged.store(queued, Ordering::SeqCst);
        let room = socket.send_capacity() - queued;
        end.send_room.store(room, Ordering::SeqCst);
        active.receiving.publish(end);
        if before != now {
            if now == state::CLOSE && !self.aborted.load(Ordering::SeqCst) {
                self.tell_why_closed(before, socket.state(), was_reset);
            }
            end.set_state(now);
        }
        let ends = match now {
            state::CLOSE => BOTH,
            state::CLOSE_WAIT | state::LAST_ACK | state::CLOSING => RECEIVE,
            _ => 0,
        };
        let news = end.shut_down(ends);
        if matches!(now, state::ESTABLISHED | state::CLOSE_WAIT) {
            self.hand_over();
        }
        if before != now || news {
            end.wake_all();
            self.tell_owner(before, now, news);
        } else {
            if readable > had {
                end.readers.wake_events(PollEvents::READABLE);
                end.fasync.tell(Band::In);
            }
            if !was_writable && end.is_writable() {
                end.writers.wake_events(PollEvents::WRITABLE);
                end.fasync.tell(Band::Out);
            }
        }
    }

    fn tell_owner(&self, before: u8, now: u8, news: bool) {
        let fasync = &self.end.fasync;
        if !fasync.is_used() {
            return;
        }
        if before == state::SYN_SENT && now == state::ESTABLISHED {
            fasync.tell(Band::Out);
        } else if now == state::CLOSE {
            fasync.tell(Band::Hup);
        } else if news {
            fasync.tell(Band::In);
        }
    }

    /// The error of a connection that ended without being closed.
    fn tell_why_closed(&self, before: u8, state: State, was_reset: bool) {
        if state == State::TimeWait || (before == state::LAST_ACK && !was_reset) {
            return;
        }
        let error = match before {
            state::SYN_SENT if was_reset => Errno::ECONNREFUSED,
            state::CLOSE_WAIT if was_reset => Errno::EPIPE,
            _ if was_reset => Errno::ECONNRESET,
            _ => Errno::ETIMEDOUT,
        };
        self.end.set_error(error);
    }

    /// Gives a connection that is made to its listener.
    fn hand_over(self: &Arc<Self>) {
        let Some(listener) = self.listener.lock().take() else {
            return;
        };
        let is_taken = listener
            .upgrade()
            .is_some_and(|listener| listener.established(self));
        if !is_taken {
            // The listener has gone: the next look at the connection ends it.
            self.aborted.store(true, Ordering::SeqCst);
            self.doomed.store(true, Ordering::SeqCst);
            self.orphan.store(true, Ordering::SeqCst);
            self.armed_ns.store(0, Ordering::SeqCst);
            timer::run_at(0, self);
        }
    }

    /// As [`Self::with`], on all that a connection has.
    pub(super) fn with_active<R>(
        self: &Arc<Self>,
        act: impl FnOnce(&mut Active) -> R,
    ) -> Option<R> {
        let mut kicks = Kicks::default();
        let answer = self.act_on(&mut kicks, act);
        kicks.run();
        answer
    }

    /// Takes bytes to be sent, as many as there is room for; `None` if the connection is over.
    pub fn send(
        self: &Arc<Self>,
        source: &mut IoSource<'_>,
        flags: MsgFlags,
    ) -> Option<Result<usize>> {
        self.with_active(|active| active.send(source, flags))
            .flatten()
    }

    /// Ends the connection with a reset; nobody has it any more.
    pub fn abandon(self: &Arc<Self>, kicks: &mut Kicks) {
        self.aborted.store(true, Ordering::SeqCst);
        self.orphan.store(true, Ordering::SeqCst);
        self.act(kicks, |socket| socket.abort());
    }

    /// As [`Self::abandon`], with all that others do about it.
    pub fn abandon_now(self: &Arc<Self>) {
        let mut kicks = Kicks::default();
        self.abandon(&mut kicks);
        kicks.run();
    }

    /// Ends the connection with a reset that its owner asked for.
    pub fn abort(self: &Arc<Self>) {
        self.aborted.store(true, Ordering::SeqCst);
        self.with(|socket| socket.abort());
    }

    /// Sends the end of what this side sends.
    pub fn finish(self: &Arc<Self>) {
        self.end.shut_down(SEND);
        let mut kicks = Kicks::default();
        self.act_on(&mut kicks, Active::finish);
        kicks.run();
        self.end.wake_all();
    }

    /// Closes the connection: nobody has it any more. What was not read is a reset to the other side.
    pub fn close(self: &Arc<Self>) {
        self.aborted.store(true, Ordering::SeqCst);
        self.orphan.store(true, Ordering::SeqCst);
        self.end.shut_down(BOTH);
        let mut kicks = Kicks::default();
        self.act_on(&mut kicks, |active| match active.stack.socket() {
            Some(socket) if socket.recv_queue() != 0 => socket.abort(),
            _ => active.finish(),
        });
        kicks.run();
    }
}
