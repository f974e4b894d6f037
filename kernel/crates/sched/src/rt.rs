//! The real-time class: a list for each priority, first in first out, higher priorities first.

use alloc::collections::VecDeque;

const PRIORITIES: usize = 100;

pub(crate) struct RtQueue<T> {
    lists: [VecDeque<T>; PRIORITIES],
    /// Bit n: list n is not empty.
    occupied: u128,
}

impl<T> RtQueue<T> {
    pub(crate) const fn new() -> RtQueue<T> {
        RtQueue {
            lists: [const { VecDeque::new() }; PRIORITIES],
            occupied: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        if self.occupied == 0 {
            0
        } else {
            self.lists.iter().map(VecDeque::len).sum()
        }
    }

    /// `at_head` is for one that was preempted before its time.
    pub(crate) fn push(&mut self, priority: u8, value: T, at_head: bool) {
        let index = usize::from(priority).min(PRIORITIES - 1);
        if at_head {
            self.lists[index].push_front(value);
        } else {
            self.lists[index].push_back(value);
        }
        self.occupied |= 1 << index;
    }

    pub(crate) fn highest(&self) -> Option<u8> {
        (self.occupied != 0).then(|| 127 - self.occupied.leading_zeros() as u8)
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let index = usize::from(self.highest()?);
        let value = self.lists[index].pop_front();
        if self.lists[index].is_empty() {
            self.occupied &= !(1 << index);
        }
        value
    }

    pub(crate) fn remove(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        for (index, list) in self.lists.iter_mut().enumerate() {
            if let Some(place) = list.iter().position(&wanted) {
                let value = list.remove(place);
                if list.is_empty() {
                    self.occupied &= !(1 << index);
                }
                return value;
            }
        }
        None
    }
}
