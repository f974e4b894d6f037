//! A queue of deadlines: a binary heap whose entries know their place, so that each can be taken out by its handle.
//!
//! Arming the latest deadline (the common case: time-outs that never come) costs one comparison; anything costs at
//! most the logarithm of what is armed. A wheel would arm and cancel in constant time but either loses resolution or
//! cascades; sleeps here have the clock's own resolution.
//!
//! The queue itself allocates nothing: see [`Queue::room`] and [`Queue::grow`], by which a caller that holds a spin
//! lock brings the memory from outside.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// Names an armed entry, or one that was: a handle is never used again for another entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    slot: u32,
    generation: u32,
}

impl Handle {
    /// As a number, for keeping in an integer.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The inverse of [`Handle::to_bits`].
    pub fn from_bits(bits: u64) -> Handle {
        Handle {
            slot: bits as u32,
            generation: (bits >> 32) as u32,
        }
    }
}

/// A place for an entry.
#[derive(Debug)]
struct Slot<T> {
    /// Counts the entries that have been here.
    generation: u32,
    /// Index in the heap; the next free slot if there is no entry.
    place: u32,
    value: Option<T>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    deadline: u64,
    slot: u32,
}

/// No slot.
const NONE: u32 = u32::MAX;

/// Entries in order of deadline.
///
/// # Invariants
/// - `heap[slots[s].place].slot == s` for each slot `s` with a value; slots without one form the free list.
/// - No node is later than its children (2i + 1 and 2i + 2).
#[derive(Debug)]
pub struct Queue<T> {
    heap: Vec<Node>,
    slots: Vec<Slot<T>>,
    free: u32,
}

/// Memory for a bigger queue.
pub struct Storage<T> {
    heap: Vec<Node>,
    slots: Vec<Slot<T>>,
}

impl<T> Storage<T> {
    /// Memory for `entries` entries.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(entries: usize) -> Result<Storage<T>, TryReserveError> {
        let (mut heap, mut slots) = (Vec::new(), Vec::new());
        heap.try_reserve_exact(entries)?;
        slots.try_reserve_exact(entries)?;
        Ok(Storage { heap, slots })
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue::new()
    }
}

impl<T> Queue<T> {
    /// An empty queue without memory.
    pub const fn new() -> Queue<T> {
        Queue {
            heap: Vec::new(),
            slots: Vec::new(),
            free: NONE,
        }
    }

    /// Armed entries.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is armed.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Entries that can be armed without more memory.
    pub fn room(&self) -> usize {
        self.heap.capacity().min(self.slots.capacity()) - self.heap.len()
    }

    /// All the entries that fit into the present memory.
    pub fn capacity(&self) -> usize {
        self.heap.capacity().min(self.slots.capacity())
    }

    /// Moves into `bigger`; answers the old memory, to be dropped where that may be done. Does nothing if it is smaller.
    pub fn grow(&mut self, mut bigger: Storage<T>) -> Storage<T> {
        if bigger.heap.capacity() > self.heap.capacity()
            && bigger.slots.capacity() > self.slots.capacity()
        {
            bigger.heap.append(&mut self.heap);
            bigger.slots.append(&mut self.slots);
            core::mem::swap(&mut self.heap, &mut bigger.heap);
            core::mem::swap(&mut self.slots, &mut bigger.slots);
        }
        bigger
    }

    /// The earliest deadline.
    #[inline]
    pub fn first(&self) -> Option<u64> {
        self.heap.first().map(|node| node.deadline)
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// Gives the value back when there is no room.
    pub fn arm(&mut self, deadline: u64, value: T) -> Result<Handle, T> {
        if self.room() == 0 {
            return Err(value);
        }
        let slot = self.take_slot(value);
        self.heap.push(Node { deadline, slot });
        let place = self.heap.len() - 1;
        self.sift_up(place);
        let generation = self.slots[slot as usize].generation;
        Ok(Handle { slot, generation })
    }

    /// Takes an entry out; `None` if it is not armed any more.
    pub fn cancel(&mut self, handle: Handle) -> Option<T> {
        let slot = self.slots.get(handle.slot as usize)?;
        if slot.generation != handle.generation || slot.value.is_none() {
            return None;
        }
        let place = slot.place as usize;
        self.remove(place)
    }

    /// Takes the earliest entry out if its deadline is not after `now`.
    pub fn pop_due(&mut self, now: u64) -> Option<T> {
        if self.first()? > now {
            return None;
        }
        self.remove(0)
    }

    fn take_slot(&mut self, value: T) -> u32 {
        if self.free == NONE {
            self.slots.push(Slot {
                generation: 0,
                place: 0,
                value: Some(value),
            });
            return (self.slots.len() - 1) as u32;
        }
        let index = self.free;
        let slot = &mut self.slots[index as usize];
        self.free = slot.place;
        slot.value = Some(value);
        index
    }

    fn remove(&mut self, place: usize) -> Option<T> {
        let node = self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.sift_down(place);
            self.sift_up(place);
        }
        let slot = &mut self.slots[node.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.place = self.free;
        self.free = node.slot;
        slot.value.take()
    }

    fn set(&mut self, place: usize, node: Node) {
        self.heap[place] = node;
        self.slots[node.slot as usize].place = place as u32;
    }

    fn sift_up(&mut self, mut place: usize) {
        let node = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].deadline <= node.deadline {
                break;
            }
            self.set(place, self.heap[parent]);
            place = parent;
        }
        self.set(place, node);
    }

    fn sift_down(&mut self, mut place: usize) {
        let node = self.heap[place];
        loop {
            let mut child = 2 * place + 1;
            if child >= self.heap.len() {
                break;
            }
            if child + 1 < self.heap.len()
                && self.heap[child + 1].deadline < self.heap[child].deadline
            {
                child += 1;
            }
            if self.heap[child].deadline >= node.deadline {
                break;
            }
            self.set(place, self.heap[child]);
            place = child;
        }
        self.set(place, node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue<T>(room: usize) -> Queue<T> {
        let mut queue = Queue::new();
        queue.grow(Storage::new(room).unwrap());
        queue
    }

    #[test]
    fn pops_in_order_and_only_what_is_due() {
        let mut q = queue(8);
        for deadline in [50, 10, 40, 20, 30] {
            q.arm(deadline, deadline).unwrap();
        }
        assert_eq!(q.first(), Some(10));
        assert_eq!(q.pop_due(9), None);
        assert_eq!(
            [q.pop_due(25), q.pop_due(25), q.pop_due(25)],
            [Some(10), Some(20), None]
        );
        assert_eq!(q.len(), 3);
    }

    #[test]
    fn a_handle_cancels_its_entry_once_and_no_other() {
        let mut q = queue(8);
        let a = q.arm(1, 'a').unwrap();
        let b = q.arm(2, 'b').unwrap();
        assert_eq!(q.cancel(a), Some('a'));
        assert_eq!(q.cancel(a), None);
        let c = q.arm(3, 'c').unwrap();
        assert_eq!(q.cancel(a), None);
        assert_eq!(Handle::from_bits(c.to_bits()), c);
        assert_eq!(
            (q.cancel(b), q.cancel(c), q.len()),
            (Some('b'), Some('c'), 0)
        );
    }

    #[test]
    fn without_room_the_value_comes_back_and_growing_keeps_all() {
        let mut q = queue(1);
        while q.room() > 0 {
            q.arm(5, 0).unwrap();
        }
        let full = q.len();
        assert_eq!(q.arm(4, 7), Err(7));
        let old = q.grow(Storage::new(full + 100).unwrap());
        assert!(old.heap.capacity() <= full + 1);
        let handle = q.arm(4, 7).unwrap();
        assert_eq!(q.len(), full + 1);
        assert_eq!(q.cancel(handle), Some(7));
    }

    /// Against a sorted list, with a fixed seed.
    #[test]
    fn agrees_with_a_sorted_list_on_random_operations() {
        let mut q = queue(512);
        let mut model: Vec<(u64, u64, Handle)> = Vec::new();
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for step in 0..20_000u64 {
            match random() % 4 {
                0 | 1 if q.room() > 0 => {
                    let deadline = random() % 1000;
                    let handle = q.arm(deadline, step).unwrap();
                    model.push((deadline, step, handle));
                }
                2 if !model.is_empty() => {
                    let (_, value, handle) =
                        model.swap_remove((random() % model.len() as u64) as usize);
                    assert_eq!(q.cancel(handle), Some(value));
                }
                _ => {
                    let now = random() % 1000;
                    let due = model.iter().map(|e| e.0).filter(|&d| d <= now).min();
                    let popped = q.pop_due(now);
                    assert_eq!(popped.is_some(), due.is_some());
                    if let Some(value) = popped {
                        let at = model.iter().position(|e| e.1 == value).unwrap();
                        assert_eq!(Some(model.swap_remove(at).0), due);
                    }
                }
            }
            assert_eq!(q.first(), model.iter().map(|e| e.0).min());
        }
    }
}
