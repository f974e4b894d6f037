//! The messages of a POSIX message queue: by priority, and in the order of their coming within one.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub priority: u32,
    pub text: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    rank: (u32, Reverse<u64>),
    message: Message,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank)
    }
}

/// The messages of a queue.
///
/// # Invariants
/// `bytes` is the sum of the texts' lengths.
#[derive(Debug, Default)]
pub struct Messages {
    heap: BinaryHeap<Entry>,
    next: u64,
    bytes: usize,
}

impl Messages {
    pub const fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            next: 0,
            bytes: 0,
        }
    }

    /// Messages there are.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Bytes of text.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes room for a message; false without memory.
    pub fn reserve(&mut self) -> bool {
        self.heap.try_reserve(1).is_ok()
    }

    /// Puts a message behind those of its priority.
    pub fn push(&mut self, message: Message) {
        self.bytes += message.text.len();
        let rank = (message.priority, Reverse(self.next));
        self.next += 1;
        self.heap.push(Entry { rank, message });
    }

    /// Takes the oldest of the highest priority.
    pub fn pop(&mut self) -> Option<Message> {
        let message = self.heap.pop()?.message;
        self.bytes -= message.text.len();
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    proptest! {
        /// Against a list that is searched.
        #[test]
        fn the_oldest_of_the_highest_comes_first(
            calls in proptest::collection::vec(proptest::option::of((0_u32..4, 0_usize..5)), 0..80)
        ) {
            let mut queue = Messages::new();
            let mut list: Vec<(u32, usize, u8)> = Vec::new();
            for (turn, call) in calls.into_iter().enumerate() {
                match call {
                    Some((priority, len)) => {
                        list.push((priority, len, turn as u8));
                        prop_assert!(queue.reserve());
                        queue.push(Message { priority, text: vec![turn as u8; len] });
                    }
                    None => {
                        let highest = list.iter().map(|(priority, ..)| *priority).max();
                        let at = list.iter().position(|(priority, ..)| Some(*priority) == highest);
                        let want = at.map(|at| list.remove(at));
                        let got = queue.pop().map(|m| (m.priority, m.text));
                        let want = want.map(|(priority, len, turn)| (priority, vec![turn; len]));
                        prop_assert_eq!(got, want);
                    }
                }
                prop_assert_eq!(queue.len(), list.len());
                prop_assert_eq!(queue.bytes(), list.iter().map(|(_, len, _)| len).sum::<usize>());
            }
        }
    }
}
