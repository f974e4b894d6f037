//! The order of a directory's entries: insertion order, with positions that stay valid while entries come and go.

use alloc::vec::Vec;

/// Values in insertion order, found by the position that [`Slots::push`] gave them.
///
/// # Invariants
/// - Positions increase along `entries` and are never reused.
/// - The last entry is live, and dead ones are at most about half, so every operation is amortised O(log n).
#[derive(Debug)]
pub struct Slots<T> {
    entries: Vec<(u64, Option<T>)>,
    live: usize,
    next: u64,
}

impl<T> Slots<T> {
    /// Empty; the first position will be `first`.
    pub const fn new(first: u64) -> Self {
        Self {
            entries: Vec::new(),
            live: 0,
            next: first,
        }
    }

    pub const fn len(&self) -> usize {
        self.live
    }
    pub const fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Appends a value; `None` if memory is short.
    pub fn push(&mut self, value: T) -> Option<u64> {
        self.entries.try_reserve(1).ok()?;
        let position = self.next;
        self.next += 1;
        self.entries.push((position, Some(value)));
        self.live += 1;
        Some(position)
    }

    /// Removes the value at `position`.
    pub fn remove(&mut self, position: u64) -> Option<T> {
        let index = match self.entries.last() {
            Some((last, _)) if *last == position => self.entries.len() - 1,
            _ => self
                .entries
                .binary_search_by_key(&position, |entry| entry.0)
                .ok()?,
        };
        let value = self.entries.get_mut(index)?.1.take()?;
        self.live -= 1;
        while matches!(self.entries.last(), Some((_, None))) {
            self.entries.pop();
        }
        if self.entries.len() > 2 * self.live + 16 {
            self.entries.retain(|entry| entry.1.is_some());
        }
        Some(value)
    }

    /// Replaces the value at `position`, keeping the place.
    pub fn replace(&mut self, position: u64, value: T) -> Option<T> {
        let index = self
            .entries
            .binary_search_by_key(&position, |entry| entry.0)
            .ok()?;
        self.entries.get_mut(index)?.1.replace(value)
    }

    /// The live values at `position` and after it, in order.
    pub fn iter_from(&self, position: u64) -> impl Iterator<Item = (u64, &T)> {
        let start = self.entries.partition_point(|entry| entry.0 < position);
        self.entries[start..]
            .iter()
            .filter_map(|(at, value)| Some((*at, value.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_removals_and_compaction() {
        let mut slots = Slots::new(2);
        let mut model = std::collections::BTreeMap::new();
        let mut seed = 1u64;
        for step in 0..20_000u64 {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let pick = (seed >> 33) as usize;
            if pick % 5 < 2 && !model.is_empty() {
                let key = *model.keys().nth(pick % model.len()).unwrap();
                assert_eq!(slots.remove(key), model.remove(&key));
            } else if pick % 50 == 7 {
                for key in model.keys().copied().collect::<Vec<_>>() {
                    assert_eq!(slots.remove(key), model.remove(&key));
                }
            } else {
                let key = slots.push(step).unwrap();
                assert!(model.insert(key, step).is_none());
            }
            assert_eq!(slots.len(), model.len());
            if step % 97 == 0 {
                let from = 2 + pick as u64 % (step + 3);
                let ours: Vec<_> = slots.iter_from(from).map(|(k, v)| (k, *v)).collect();
                let theirs: Vec<_> = model.range(from..).map(|(k, v)| (*k, *v)).collect();
                assert_eq!(ours, theirs);
            }
        }
    }

    #[test]
    fn removing_twice_or_nothing_is_none() {
        let mut slots = Slots::new(2);
        let a = slots.push('a').unwrap();
        let b = slots.push('b').unwrap();
        assert_eq!(slots.remove(a), Some('a'));
        assert_eq!(slots.remove(a), None);
        assert_eq!(slots.remove(99), None);
        assert_eq!(slots.replace(b, 'c'), Some('b'));
        assert_eq!(slots.iter_from(0).collect::<Vec<_>>(), vec![(b, &'c')]);
    }

    #[test]
    fn create_and_remove_in_turn_stays_small() {
        let mut slots = Slots::new(0);
        slots.push(0);
        for _ in 0..10_000 {
            let at = slots.push(1).unwrap();
            slots.remove(at);
        }
        assert!(slots.entries.len() <= 2);
    }
}
