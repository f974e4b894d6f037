//! What epoll_ctl(2) and epoll_wait(2) pass.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::poll::PollEvents;

bitflags! {
    /// How a file is watched, beside for what.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct EpollFlags: u32 {
        /// Wake one of several sets.
        const EXCLUSIVE = 1 << 28;
        /// Keep the system awake: there is no sleep to keep it from.
        const WAKEUP = 1 << 29;
        /// Tell once.
        const ONESHOT = 1 << 30;
        /// Tell of changes only.
        const ET = 1 << 31;
    }
}

/// `struct epoll_event`, packed on x86-64.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C, packed)]
pub struct EpollEvent {
    events: u32,
    data: u64,
}

impl EpollEvent {
    /// Events and flags as user space gave them.
    pub fn bits(self) -> u32 {
        self.events
    }

    /// The caller's own word.
    pub fn data(self) -> u64 {
        self.data
    }

    /// The flags.
    pub fn flags(self) -> EpollFlags {
        EpollFlags::from_bits_truncate(self.events)
    }

    /// The events asked for; errors and hang-ups always are.
    pub fn wanted(self) -> PollEvents {
        PollEvents::from_bits_truncate(self.events) | PollEvents::ERR | PollEvents::HUP
    }

    /// Whether a one-shot watch has told its event.
    pub fn is_disabled(self) -> bool {
        PollEvents::from_bits_truncate(self.events).is_empty()
    }

    /// Leaves the flags and asks for nothing.
    pub fn disable(&mut self) {
        self.events &= EpollFlags::all().bits();
    }

    /// The answer that tells of `found`.
    pub fn with_found(self, found: PollEvents) -> EpollEvent {
        EpollEvent {
            events: found.bits(),
            data: self.data,
        }
    }

    /// As Linux keeps it: errors and hang-ups are asked for too, but for what a disabled watch asks.
    pub fn completed(self) -> EpollEvent {
        let always = (PollEvents::ERR | PollEvents::HUP).bits();
        EpollEvent {
            events: self.events | always,
            data: self.data,
        }
    }
}

const _: () = assert!(size_of::<EpollEvent>() == 12);
