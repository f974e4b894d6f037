//! The checks of builds that do not check.

use super::{Kind, Sort};

/// A lock's class: nothing.
pub struct LockClass;

/// A lock being taken: nothing.
#[derive(Clone, Copy)]
pub struct Attempt;

/// The locks held: not known.
#[derive(Default)]
pub struct Held;

impl Held {
    /// An empty record.
    pub const fn new() -> Held {
        Held
    }
}

impl LockClass {
    /// The class of locks made here.
    #[inline(always)]
    pub const fn here(_sort: Sort) -> LockClass {
        LockClass
    }

    /// Before a lock is waited for.
    #[inline(always)]
    pub fn before(&self, _lock: *const (), _kind: Kind) -> Attempt {
        Attempt
    }

    /// Before a lock is tried.
    #[inline(always)]
    pub fn trying(&self) -> Attempt {
        Attempt
    }

    /// Once it is held.
    #[inline(always)]
    pub fn acquired(&self, _lock: *const (), _kind: Kind, _attempt: Attempt, _waited: bool) {}

    /// Before it is given up.
    #[inline(always)]
    pub fn released(&self, _lock: *const (), _kind: Kind) {}
}

/// Where the caller may go to sleep.
#[inline(always)]
pub fn may_sleep() {}

/// Where the caller touches user memory.
#[inline(always)]
pub fn may_fault() {}

/// Where the caller takes memory.
#[inline(always)]
pub fn may_allocate() {}
