//! The real-time class: higher priorities first, first in first out within one.

use alloc::vec::Vec;

use crate::heap::{Heap, Ranked};

pub(crate) struct Item<T> {
    priority: u8,
    /// Place among equals: smaller first.
    order: i64,
    value: T,
}

impl<T> Ranked for Item<T> {
    fn comes_before(&self, other: &Item<T>) -> bool {
        (other.priority, self.order) < (self.priority, other.order)
    }
}

/// A heap by priority.
pub(crate) struct RtQueue<T> {
    heap: Heap<Item<T>>,
    /// The orders given last at either end.
    first: i64,
    last: i64,
}

impl<T> RtQueue<T> {
    pub(crate) const fn new() -> RtQueue<T> {
        RtQueue {
            heap: Heap::new(),
            first: 0,
            last: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(crate) fn grow(&mut self, room: Vec<Item<T>>) -> Vec<Item<T>> {
        self.heap.grow(room)
    }

    /// `at_head` is for one that was preempted before its time.
    pub(crate) fn push(&mut self, priority: u8, value: T, at_head: bool) {
        let order = if at_head {
            self.first -= 1;
            self.first
        } else {
            self.last += 1;
            self.last
        };
        self.heap.push(Item {
            priority,
            order,
            value,
        });
    }

    pub(crate) fn highest(&self) -> Option<u8> {
        self.heap.first().map(|item| item.priority)
    }

    pub(crate) fn first(&self) -> Option<(u8, &T)> {
        self.heap.first().map(|item| (item.priority, &item.value))
    }

    /// The highest priority of those that `wanted` accepts.
    pub(crate) fn best(&self, wanted: impl Fn(&T) -> bool) -> Option<u8> {
        self.heap
            .best(|item| wanted(&item.value))
            .map(|item| item.priority)
    }

    pub(crate) fn take_best(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        self.heap
            .take_best(|item| wanted(&item.value))
            .map(|item| item.value)
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.heap.pop().map(|item| item.value)
    }

    pub(crate) fn remove(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        let item = self.heap.remove(|item| wanted(&item.value))?;
        Some(item.value)
    }

    #[cfg(test)]
    pub(crate) fn memory(&self) -> *const u8 {
        self.heap.memory()
    }
}
