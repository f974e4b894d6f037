//! A binary heap whose memory is made by the caller, outside of the lock that it stands under.

use alloc::vec::Vec;

/// Items with an order of their own.
pub(crate) trait Ranked {
    fn comes_before(&self, other: &Self) -> bool;
}

/// The item before all others is the first.
pub(crate) struct Heap<I> {
    items: Vec<I>,
}

impl<I: Ranked> Heap<I> {
    pub(crate) const fn new() -> Heap<I> {
        Heap { items: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn first(&self) -> Option<&I> {
        self.items.first()
    }

    /// Moves to `room`, an empty vector, if that is larger; answers the memory that is not needed any more.
    pub(crate) fn grow(&mut self, mut room: Vec<I>) -> Vec<I> {
        if room.capacity() <= self.items.capacity() {
            return room;
        }
        room.append(&mut self.items);
        core::mem::replace(&mut self.items, room)
    }

    /// Allocates only beyond the room that there is.
    pub(crate) fn push(&mut self, item: I) {
        self.items.push(item);
        self.sift_up(self.items.len() - 1);
    }

    pub(crate) fn pop(&mut self) -> Option<I> {
        self.take(0)
    }

    /// Takes out the first item in heap order that `wanted` accepts.
    pub(crate) fn remove(&mut self, wanted: impl Fn(&I) -> bool) -> Option<I> {
        let index = self.items.iter().position(wanted)?;
        self.take(index)
    }

    /// The first of all items that `wanted` accepts. Looks at each.
    pub(crate) fn best(&self, wanted: impl Fn(&I) -> bool) -> Option<&I> {
        self.items.get(self.best_index(wanted)?)
    }

    /// Takes that one out.
    pub(crate) fn take_best(&mut self, wanted: impl Fn(&I) -> bool) -> Option<I> {
        let index = self.best_index(wanted)?;
        self.take(index)
    }

    fn best_index(&self, wanted: impl Fn(&I) -> bool) -> Option<usize> {
        let mut best: Option<usize> = None;
        for (index, item) in self.items.iter().enumerate() {
            if wanted(item) && best.is_none_or(|best| item.comes_before(&self.items[best])) {
                best = Some(index);
            }
        }
        best
    }

    fn take(&mut self, index: usize) -> Option<I> {
        if index >= self.items.len() {
            return None;
        }
        let item = self.items.swap_remove(index);
        if index < self.items.len() {
            self.sift_down(index);
            self.sift_up(index);
        }
        Some(item)
    }

    fn sift_up(&mut self, mut index: usize) {
        while index > 0 {
            let parent = (index - 1) / 2;
            if !self.items[index].comes_before(&self.items[parent]) {
                break;
            }
            self.items.swap(index, parent);
            index = parent;
        }
    }

    fn sift_down(&mut self, mut index: usize) {
        loop {
            let mut first = index;
            for child in [2 * index + 1, 2 * index + 2] {
                if child < self.items.len() && self.items[child].comes_before(&self.items[first]) {
                    first = child;
                }
            }
            if first == index {
                return;
            }
            self.items.swap(index, first);
            index = first;
        }
    }

    #[cfg(test)]
    pub(crate) fn memory(&self) -> *const u8 {
        self.items.as_ptr().cast()
    }
}
