//! [`End`]: what the owner of a TCP socket, and whoever waits for it, sees of it. It is there before the connection
//! and after it.

use core::sync::atomic::{AtomicI32, AtomicU8, AtomicUsize, Ordering};

use abi::poll::PollEvents;
use abi::{Errno, Result};

use super::urgent::Shown;
use crate::fs::fasync::FasyncList;
use crate::net::inet::common::Owner;
use crate::net::unix::{RECEIVE, SEND};
use crate::sync::WaitQueue;

pub const BOTH: u8 = RECEIVE | SEND;

/// The states, by the numbers that `TCP_INFO` and `/proc/net/tcp` give.
pub mod state {
    pub const ESTABLISHED: u8 = 1;
    pub const SYN_SENT: u8 = 2;
    pub const SYN_RECV: u8 = 3;
    pub const FIN_WAIT1: u8 = 4;
    pub const FIN_WAIT2: u8 = 5;
    pub const TIME_WAIT: u8 = 6;
    pub const CLOSE: u8 = 7;
    pub const CLOSE_WAIT: u8 = 8;
    pub const LAST_ACK: u8 = 9;
    pub const LISTEN: u8 = 10;
    pub const CLOSING: u8 = 11;
}

/// # Invariants
/// The numbers change under the lock of the connection's stack, or before there is one.
pub struct End {
    state: AtomicU8,
    shut: AtomicU8,
    /// `SO_ERROR`.
    pub error: AtomicI32,
    /// Bytes received and not read; connections that wait to be accepted.
    pub readable: AtomicUsize,
    /// Bytes sent and not acknowledged.
    pub unacknowledged: AtomicUsize,
    /// Room for what is sent.
    pub send_room: AtomicUsize,
    pub readers: WaitQueue,
    pub writers: WaitQueue,
    pub fasync: FasyncList,
    pub urgent: Shown,
    /// Kept here, since it is told of connections that nobody has accepted too.
    pub owner: Owner,
}

impl End {
    pub fn new() -> End {
        End {
            state: AtomicU8::new(state::CLOSE),
            shut: AtomicU8::new(0),
            error: AtomicI32::new(0),
            readable: AtomicUsize::new(0),
            unacknowledged: AtomicUsize::new(0),
            send_room: AtomicUsize::new(0),
            readers: WaitQueue::new(),
            writers: WaitQueue::new(),
            fasync: FasyncList::default(),
            urgent: Shown::default(),
            owner: Owner::default(),
        }
    }

    pub fn state(&self) -> u8 {
        self.state.load(Ordering::SeqCst)
    }
    pub fn set_state(&self, state: u8) {
        self.state.store(state, Ordering::SeqCst);
    }
    pub fn shut(&self) -> u8 {
        self.shut.load(Ordering::SeqCst)
    }
    pub fn is_shut(&self, direction: u8) -> bool {
        self.shut() & direction != 0
    }
    /// Shuts directions down; whether any was not.
    pub fn shut_down(&self, directions: u8) -> bool {
        self.shut.fetch_or(directions, Ordering::SeqCst) & directions != directions
    }
    /// A new connection begins.
    pub fn reopen(&self) {
        self.shut.store(0, Ordering::SeqCst);
        self.urgent.clear();
    }

    pub fn set_error(&self, error: Errno) {
        self.error.store(error.get(), Ordering::SeqCst);
    }
    pub fn has_error(&self) -> bool {
        self.error.load(Ordering::SeqCst) != 0
    }
    /// The pending error, taken.
    pub fn take_error(&self) -> Result<()> {
        if !self.has_error() {
            return Ok(());
        }
        match self.error.swap(0, Ordering::SeqCst) {
            0 => Ok(()),
            number => Err(Errno::new(number).unwrap_or(Errno::EIO)),
        }
    }

    pub fn readable(&self) -> usize {
        self.readable.load(Ordering::SeqCst)
    }
    /// Whether a third of the room for what is sent is free, as on Linux.
    pub fn is_writable(&self) -> bool {
        let used = self.unacknowledged.load(Ordering::SeqCst);
        self.send_room.load(Ordering::SeqCst) >= used / 2
    }

    pub fn wake_all(&self) {
        self.readers.wake_all();
        self.writers.wake_all();
    }

    /// What `poll` answers.
    pub fn events(&self, low_water: usize) -> PollEvents {
        let mut events = PollEvents::empty();
        let state = self.state();
        if state == state::LISTEN {
            if self.readable() != 0 {
                events |= PollEvents::READABLE;
            }
            return events;
        }
        let shut = self.shut();
        if shut == BOTH || state == state::CLOSE {
            events |= PollEvents::HUP;
        }
        if shut & RECEIVE != 0 {
            events |= PollEvents::READABLE | PollEvents::RDHUP;
        }
        if !matches!(state, state::SYN_SENT | state::SYN_RECV) {
            let hidden = usize::from(self.urgent.hides_next());
            if self.readable() >= low_water.saturating_add(hidden) {
                events |= PollEvents::READABLE;
            }
            if self.urgent.is_here() {
                events |= PollEvents::PRI;
            }
            if shut & SEND != 0 || self.is_writable() {
                events |= PollEvents::WRITABLE;
            }
        }
        if self.has_error() {
            events |= PollEvents::ERR;
        }
        events
    }
}
