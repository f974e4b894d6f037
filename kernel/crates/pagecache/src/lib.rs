//! The index of a page cache: from page numbers to pages, as a radix tree of 64-slot nodes that is as high as the largest
//! number needs. A lookup in a file of 16 MiB passes two nodes, of 1 GiB three.
//!
//! The kernel's `mm::pagecache` puts locks, frames and files around it.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

/// log2 of the slots of a node.
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
/// Page numbers are below this: byte offsets are signed 64-bit numbers.
pub const MAX_INDEX: u64 = 1 << 52;

/// An allocation failed; the index is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoMemory;

/// A node: 64 items, or 64 children.
///
/// # Invariants
/// `used` counts the slots that are not empty, and is not zero in a tree at rest.
#[derive(Debug)]
struct Node<T> {
    used: u32,
    kind: Kind<T>,
}

#[derive(Debug)]
enum Kind<T> {
    Leaf(Vec<Option<T>>),
    Inner(Vec<Option<Node<T>>>),
}

fn empty<U>() -> Result<Vec<Option<U>>, NoMemory> {
    let mut slots = Vec::new();
    slots.try_reserve_exact(SLOTS).map_err(|_| NoMemory)?;
    slots.resize_with(SLOTS, || None);
    Ok(slots)
}

/// Sparse pages by number.
#[derive(Debug)]
pub struct Index<T> {
    root: Option<Node<T>>,
    /// Levels; items below `1 << (6 * height)` fit.
    height: u32,
    len: u64,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Index::new()
    }
}

/// The slot at `level` (0 is the leaf) for an index.
#[inline(always)]
fn slot(index: u64, level: u32) -> usize {
    (index >> (BITS * level)) as usize & (SLOTS - 1)
}

impl<T> Node<T> {
    fn new(level: u32) -> Result<Node<T>, NoMemory> {
        let kind = match level {
            0 => Kind::Leaf(empty()?),
            _ => Kind::Inner(empty()?),
        };
        Ok(Node { used: 0, kind })
    }

    fn insert(&mut self, index: u64, level: u32, item: T) -> Result<Option<T>, NoMemory> {
        let at = slot(index, level);
        match &mut self.kind {
            Kind::Leaf(items) => {
                let old = items[at].replace(item);
                self.used += u32::from(old.is_none());
                Ok(old)
            }
            Kind::Inner(children) => {
                if children[at].is_none() {
                    let mut child = Node::new(level - 1)?;
                    child.insert(index, level - 1, item)?;
                    children[at] = Some(child);
                    self.used += 1;
                    return Ok(None);
                }
                match &mut children[at] {
                    Some(child) => child.insert(index, level - 1, item),
                    None => Ok(None),
                }
            }
        }
    }

    /// Calls `f` for the items in `[first, last]`, in order, until it answers false.
    fn visit(
        &self,
        base: u64,
        level: u32,
        first: u64,
        last: u64,
        f: &mut dyn FnMut(u64, &T) -> bool,
    ) -> bool {
        let (from, to) = span(base, level, first, last);
        match &self.kind {
            Kind::Leaf(items) => (from..=to).all(|at| match &items[at] {
                Some(item) => f(base + at as u64, item),
                None => true,
            }),
            Kind::Inner(children) => (from..=to).all(|at| match &children[at] {
                Some(child) => child.visit(
                    base + ((at as u64) << (BITS * level)),
                    level - 1,
                    first,
                    last,
                    f,
                ),
                None => true,
            }),
        }
    }

    /// Removes the items in `[first, last]`.
    fn remove(&mut self, base: u64, level: u32, first: u64, last: u64, f: &mut dyn FnMut(u64, T)) {
        let (from, to) = span(base, level, first, last);
        match &mut self.kind {
            Kind::Leaf(items) => {
                for (at, slot) in (from..=to).zip(&mut items[from..=to]) {
                    if let Some(item) = slot.take() {
                        self.used -= 1;
                        f(base + at as u64, item);
                    }
                }
            }
            Kind::Inner(children) => {
                for (at, slot) in (from..=to).zip(&mut children[from..=to]) {
                    if let Some(child) = slot {
                        child.remove(
                            base + ((at as u64) << (BITS * level)),
                            level - 1,
                            first,
                            last,
                            f,
                        );
                        if child.used == 0 {
                            *slot = None;
                            self.used -= 1;
                        }
                    }
                }
            }
        }
    }
}

/// The slots of a node at `base` that `[first, last]` touches; the two overlap.
fn span(base: u64, level: u32, first: u64, last: u64) -> (usize, usize) {
    let shift = BITS * level;
    let from = first.saturating_sub(base) >> shift;
    let to = (last.saturating_sub(base) >> shift).min(SLOTS as u64 - 1);
    (from.min(SLOTS as u64 - 1) as usize, to as usize)
}

impl<T> Index<T> {
    /// An index without pages.
    pub const fn new() -> Index<T> {
        Index {
            root: None,
            height: 0,
            len: 0,
        }
    }

    /// Pages in it.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn fits(&self, index: u64) -> bool {
        self.height * BITS >= 64 || index >> (self.height * BITS) == 0
    }

    /// The page at `index`.
    #[inline]
    pub fn get(&self, index: u64) -> Option<&T> {
        if !self.fits(index) {
            return None;
        }
        let mut node = self.root.as_ref()?;
        let mut level = self.height - 1;
        loop {
            match &node.kind {
                Kind::Leaf(items) => return items[slot(index, 0)].as_ref(),
                Kind::Inner(children) => node = children[slot(index, level)].as_ref()?,
            }
            level -= 1;
        }
    }

    /// Puts a page in; answers the one that was there.
    pub fn insert(&mut self, index: u64, item: T) -> Result<Option<T>, NoMemory> {
        let mut height = self.height.max(1);
        while height * BITS < 64 && index >> (height * BITS) != 0 {
            height += 1;
        }
        while self.root.is_some() && self.height < height {
            let mut taller = Node::new(self.height)?;
            if let Kind::Inner(children) = &mut taller.kind {
                children[0] = self.root.take();
                taller.used = 1;
            }
            self.root = Some(taller);
            self.height += 1;
        }
        if self.root.is_none() {
            self.root = Some(Node::new(height - 1)?);
            self.height = height;
        }
        let level = self.height - 1;
        let result = match &mut self.root {
            Some(root) => root.insert(index, level, item),
            None => Ok(None),
        };
        match &result {
            Ok(None) => self.len += 1,
            Ok(Some(_)) => {}
            Err(_) => self.shrink(),
        }
        result
    }

    /// Drops a root without anything in it.
    fn shrink(&mut self) {
        if self.root.as_ref().is_some_and(|r| r.used == 0) {
            self.root = None;
            self.height = 0;
        }
    }

    /// Takes a page out.
    pub fn remove(&mut self, index: u64) -> Option<T> {
        let mut found = None;
        self.remove_range(index, index, |_, item| found = Some(item));
        found
    }

    /// Takes the pages in `[first, last]` out.
    pub fn remove_range(&mut self, first: u64, last: u64, mut f: impl FnMut(u64, T)) {
        if first > last || !self.fits(first) {
            return;
        }
        let mut removed = 0;
        let level = self.height.saturating_sub(1);
        if let Some(root) = &mut self.root {
            root.remove(0, level, first, last, &mut |index, item| {
                removed += 1;
                f(index, item);
            });
        }
        self.len -= removed;
        self.shrink();
    }

    /// Calls `f` for the pages in `[first, last]`, in order, until it answers false.
    pub fn for_range(&self, first: u64, last: u64, mut f: impl FnMut(u64, &T) -> bool) {
        if first > last || !self.fits(first) {
            return;
        }
        if let Some(root) = &self.root {
            root.visit(0, self.height - 1, first, last, &mut f);
        }
    }

    /// The first page at or after `index`.
    pub fn next_present(&self, index: u64) -> Option<u64> {
        let mut found = None;
        self.for_range(index, u64::MAX, |at, _| {
            found = Some(at);
            false
        });
        found
    }

    /// The first number at or after `index` without a page.
    pub fn next_absent(&self, index: u64) -> u64 {
        let mut expected = index;
        self.for_range(index, u64::MAX, |at, _| {
            let run = at == expected;
            expected += u64::from(run);
            run
        });
        expected
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64),
        Remove(u64),
        RemoveRange(u64, u64),
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![
            0u64..200,
            0u64..100_000,
            any::<u64>().prop_map(|n| n % MAX_INDEX)
        ]
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => number().prop_map(Op::Insert),
            1 => number().prop_map(Op::Remove),
            1 => (number(), number()).prop_map(|(a, b)| Op::RemoveRange(a, b)),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_map(ops in prop::collection::vec(op(), 1..200), probes in prop::collection::vec(number(), 20)) {
            let mut index = Index::new();
            let mut model = BTreeMap::new();
            for (n, op) in ops.into_iter().enumerate() {
                match op {
                    Op::Insert(i) => prop_assert_eq!(index.insert(i, n), Ok(model.insert(i, n))),
                    Op::Remove(i) => prop_assert_eq!(index.remove(i), model.remove(&i)),
                    Op::RemoveRange(a, b) => {
                        let mut gone = Vec::new();
                        index.remove_range(a, b, |i, v| gone.push((i, v)));
                        let inside: Vec<_> = match a <= b {
                            true => model.range(a..=b).map(|(k, v)| (*k, *v)).collect(),
                            false => Vec::new(),
                        };
                        model.retain(|k, _| !(a..=b).contains(k));
                        prop_assert_eq!(gone, inside);
                    }
                }
                prop_assert_eq!(index.len(), model.len() as u64);
            }
            for i in probes.into_iter().chain(model.keys().copied().collect::<Vec<_>>()) {
                prop_assert_eq!(index.get(i), model.get(&i));
                prop_assert_eq!(index.next_present(i), model.range(i..).next().map(|(k, _)| *k));
                let mut absent = i;
                while model.contains_key(&absent) {
                    absent += 1;
                }
                prop_assert_eq!(index.next_absent(i), absent);
            }
        }
    }

    #[test]
    fn an_emptied_index_holds_no_nodes() {
        let mut index = Index::new();
        index.insert(1 << 40, ()).expect("memory");
        index.insert(3, ()).expect("memory");
        index.remove_range(0, u64::MAX, |_, ()| ());
        assert!(index.root.is_none() && index.is_empty());
    }
}
