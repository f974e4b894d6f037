//! Queues that are changed under spin locks: their nodes are allocated before and freed after, room is made outside.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

/// A value with a place in a [`Fifo`] or a [`Chain`].
#[derive(Debug, PartialEq, Eq)]
pub struct Node<T> {
    pub value: T,
    next: Option<Box<Node<T>>>,
}

impl<T> Node<T> {
    /// A node by itself.
    pub fn new(value: T) -> Box<Self> {
        Box::new(Self { value, next: None })
    }
}

/// Values in the order of their coming.
#[derive(Debug)]
pub struct Fifo<T> {
    nodes: VecDeque<Box<Node<T>>>,
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Fifo<T> {
    pub const fn new() -> Self {
        Self {
            nodes: VecDeque::new(),
        }
    }

    /// An empty one for `capacity` nodes, or `None` without memory.
    pub fn with_capacity(capacity: usize) -> Option<Self> {
        let mut nodes = VecDeque::new();
        nodes.try_reserve_exact(capacity).ok()?;
        Some(Self { nodes })
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether another node fits without an allocation.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.nodes.len() < self.nodes.capacity()
    }

    /// What a roomier queue should have.
    pub fn wanted_capacity(&self) -> usize {
        (self.nodes.len() + 1).next_power_of_two().max(4)
    }

    /// Moves into the memory of `roomier`, which is empty, and leaves the old memory there, to be freed outside of the
    /// lock. Nothing happens when that is not bigger.
    pub fn swap_room(&mut self, roomier: &mut Self) {
        if roomier.nodes.is_empty() && roomier.nodes.capacity() > self.nodes.capacity() {
            roomier.nodes.append(&mut self.nodes);
            core::mem::swap(self, roomier);
        }
    }

    /// Puts a node at the end; gives it back when there is no room.
    pub fn push(&mut self, node: Box<Node<T>>) -> Result<(), Box<Node<T>>> {
        if !self.has_room() {
            return Err(node);
        }
        self.nodes.push_back(node);
        Ok(())
    }

    pub fn get(&self, index: usize) -> Option<&T> {
        self.nodes.get(index).map(|node| &node.value)
    }

    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.nodes.get_mut(index).map(|node| &mut node.value)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.nodes.iter().map(|node| &node.value)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.nodes.iter_mut().map(|node| &mut node.value)
    }

    /// Takes a node out.
    pub fn remove(&mut self, index: usize) -> Option<Box<Node<T>>> {
        self.nodes.remove(index)
    }

    /// Takes the first node out that `is_it` names.
    pub fn remove_first(&mut self, is_it: impl Fn(&T) -> bool) -> Option<Box<Node<T>>> {
        let index = self.nodes.iter().position(|node| is_it(&node.value))?;
        self.remove(index)
    }

    /// Takes everything out.
    pub fn drain(&mut self) -> Chain<T> {
        let mut all = Chain::new();
        while let Some(node) = self.nodes.pop_front() {
            all.push(node);
        }
        all
    }
}

/// Nodes that were taken out of a [`Fifo`], on their way out of the lock.
#[derive(Debug)]
pub struct Chain<T> {
    /// The one added last.
    last: Option<Box<Node<T>>>,
}

impl<T> Default for Chain<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Chain<T> {
    pub const fn new() -> Self {
        Self { last: None }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    pub fn push(&mut self, mut node: Box<Node<T>>) {
        node.next = self.last.take();
        self.last = Some(node);
    }

    fn pop(&mut self) -> Option<Box<Node<T>>> {
        let mut node = self.last.take()?;
        self.last = node.next.take();
        Some(node)
    }

    /// The one added last.
    pub fn newest(&self) -> Option<&T> {
        self.last.as_ref().map(|node| &node.value)
    }

    /// Calls `f` on each, the one added first first.
    pub fn for_each(mut self, mut f: impl FnMut(T)) {
        let mut forward = Chain::new();
        while let Some(node) = self.pop() {
            forward.push(node);
        }
        while let Some(node) = forward.pop() {
            f(node.value);
        }
    }
}

/// One at a time: a long chain must not be dropped by recursion.
impl<T> Drop for Chain<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_takes_only_what_it_has_room_for() {
        let mut queue = Fifo::new();
        let back = queue.push(Node::new(1)).unwrap_err();
        let mut roomier = Fifo::with_capacity(queue.wanted_capacity()).unwrap();
        queue.swap_room(&mut roomier);
        queue.push(back).unwrap();
        for value in 2..=4 {
            queue.push(Node::new(value)).unwrap();
        }
        assert!(!queue.has_room() && queue.push(Node::new(5)).is_err());
        let mut more = Fifo::with_capacity(queue.wanted_capacity()).unwrap();
        queue.swap_room(&mut more);
        assert!(queue.has_room() && more.is_empty());
        assert_eq!(queue.iter().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(queue.remove_first(|value| *value == 3).unwrap().value, 3);
        assert_eq!(queue.len(), 3);
    }

    #[test]
    fn a_chain_keeps_the_order_and_can_be_long() {
        let mut queue = Fifo::with_capacity(100_000).unwrap();
        for value in 0..100_000 {
            queue.push(Node::new(value)).unwrap();
        }
        let chain = queue.drain();
        assert!(!chain.is_empty() && queue.is_empty());
        let mut next = 0;
        chain.for_each(|value| {
            assert_eq!(value, next);
            next += 1;
        });
        assert_eq!(next, 100_000);
    }
}
