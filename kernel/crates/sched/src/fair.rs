//! The fair class: each task has a virtual run time, which advances the slower the more weight it has, and a virtual
//! deadline one slice later. The earliest deadline runs.

use alloc::vec::Vec;

use crate::heap::{Heap, Ranked};
use crate::params::{NICE_0_WEIGHT, Params};

/// How long a task of nice 0 may run before another with the same claim does.
pub const BASE_SLICE_NS: u64 = 3_000_000;

/// A task's standing in the fair class, kept with the task between its stays in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FairKey {
    /// Nanoseconds run, scaled by weight.
    pub vruntime: u64,
    /// Until when, on the same scale, the current slice lasts.
    pub deadline: u64,
}

impl FairKey {
    /// Charges `ran_ns`; says whether the slice is used up, and then opens the next.
    pub fn charge(&mut self, ran_ns: u64, params: &Params) -> bool {
        self.vruntime = self.vruntime.wrapping_add(scaled(ran_ns, params));
        let used_up = before(self.deadline, self.vruntime) || self.deadline == self.vruntime;
        if used_up {
            self.open_slice(params);
        }
        used_up
    }

    /// Starts a slice at the present virtual time.
    pub fn open_slice(&mut self, params: &Params) {
        self.deadline = self.vruntime.wrapping_add(scaled(BASE_SLICE_NS, params));
    }
}

fn scaled(ns: u64, params: &Params) -> u64 {
    match params.weight() {
        NICE_0_WEIGHT => ns,
        weight => (u128::from(ns) * u128::from(NICE_0_WEIGHT) / u128::from(weight)) as u64,
    }
}

/// Whether virtual time `a` comes before `b`; the clock wraps.
pub(crate) fn before(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) < 0
}

pub(crate) struct Item<T> {
    key: FairKey,
    /// Order of arrival among equal deadlines.
    sequence: u64,
    value: T,
}

impl<T> Ranked for Item<T> {
    fn comes_before(&self, other: &Item<T>) -> bool {
        if self.key.deadline == other.key.deadline {
            before(self.sequence, other.sequence)
        } else {
            before(self.key.deadline, other.key.deadline)
        }
    }
}

/// A heap by deadline.
pub(crate) struct FairQueue<T> {
    heap: Heap<Item<T>>,
    sequence: u64,
    /// The virtual time of the queue: never moves back; newcomers start here.
    pub(crate) now: u64,
}

impl<T> FairQueue<T> {
    pub(crate) const fn new() -> FairQueue<T> {
        FairQueue {
            heap: Heap::new(),
            sequence: 0,
            now: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(crate) fn grow(&mut self, room: Vec<Item<T>>) -> Vec<Item<T>> {
        self.heap.grow(room)
    }

    pub(crate) fn push(&mut self, key: FairKey, value: T) {
        self.sequence = self.sequence.wrapping_add(1);
        self.heap.push(Item {
            key,
            sequence: self.sequence,
            value,
        });
    }

    pub(crate) fn peek(&self) -> Option<&FairKey> {
        self.heap.first().map(|item| &item.key)
    }

    pub(crate) fn pop(&mut self) -> Option<(FairKey, T)> {
        let item = self.heap.pop()?;
        if before(self.now, item.key.vruntime) {
            self.now = item.key.vruntime;
        }
        Some((item.key, item.value))
    }

    /// Takes out an item that `wanted` accepts.
    pub(crate) fn remove(&mut self, wanted: impl Fn(&T) -> bool) -> Option<(FairKey, T)> {
        let item = self.heap.remove(|item| wanted(&item.value))?;
        Some((item.key, item.value))
    }
}
