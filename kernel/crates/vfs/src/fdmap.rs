//! Which descriptors are open: a two-level bitmap whose lowest free bit is found without a scan of what exists.

use alloc::vec::Vec;

/// A growing set of small integers.
///
/// # Invariants
/// - Bit `w` of `full` is set exactly if `open[w]` has no zero bit.
#[derive(Clone, Debug, Default)]
pub struct FdMap {
    open: Vec<u64>,
    full: Vec<u64>,
}

impl FdMap {
    pub const fn new() -> Self {
        Self {
            open: Vec::new(),
            full: Vec::new(),
        }
    }

    /// How many integers fit without growing.
    pub fn capacity(&self) -> usize {
        self.open.len() * 64
    }

    /// Makes room for `n` integers; false if memory is short.
    pub fn grow(&mut self, n: usize) -> bool {
        let words = n.div_ceil(64);
        if words <= self.open.len() {
            return true;
        }
        let fulls = words.div_ceil(64);
        if self.open.try_reserve(words - self.open.len()).is_err()
            || self
                .full
                .try_reserve(fulls.saturating_sub(self.full.len()))
                .is_err()
        {
            return false;
        }
        self.open.resize(words, 0);
        self.full.resize(fulls.max(self.full.len()), 0);
        true
    }

    /// Takes over what is in `other`, for which there must be room in this empty map.
    pub fn copy_from(&mut self, other: &FdMap) {
        for (to, from) in self.open.iter_mut().zip(&other.open) {
            *to = *from;
        }
        for (to, from) in self.full.iter_mut().zip(&other.full) {
            *to = *from;
        }
    }

    #[inline]
    pub fn contains(&self, n: usize) -> bool {
        self.open
            .get(n / 64)
            .is_some_and(|word| word >> (n % 64) & 1 != 0)
    }

    /// Adds `n`, for which there must be room.
    #[inline]
    pub fn insert(&mut self, n: usize) {
        let Some(word) = self.open.get_mut(n / 64) else {
            return;
        };
        *word |= 1 << (n % 64);
        if *word == u64::MAX
            && let Some(full) = self.full.get_mut(n / 4096)
        {
            *full |= 1 << (n / 64 % 64);
        }
    }

    #[inline]
    pub fn remove(&mut self, n: usize) {
        let Some(word) = self.open.get_mut(n / 64) else {
            return;
        };
        *word &= !(1 << (n % 64));
        if let Some(full) = self.full.get_mut(n / 4096) {
            *full &= !(1 << (n / 64 % 64));
        }
    }

    /// The lowest absent integer from `from` on; may lie beyond the capacity.
    #[inline]
    pub fn first_free(&self, from: usize) -> usize {
        let mut index = from / 64;
        let Some(&word) = self.open.get(index) else {
            return from;
        };
        let free = !word & (u64::MAX << (from % 64));
        if free != 0 {
            return index * 64 + free.trailing_zeros() as usize;
        }
        index += 1;
        // Words known to be full are skipped 64 at a time.
        while index < self.open.len() {
            let fulls = self.full.get(index / 64).copied().unwrap_or(0);
            let candidates = !fulls & (u64::MAX << (index % 64));
            if candidates == 0 {
                index = (index / 64 + 1) * 64;
                continue;
            }
            index = index / 64 * 64 + candidates.trailing_zeros() as usize;
            return match self.open.get(index) {
                Some(word) => index * 64 + (!word).trailing_zeros() as usize,
                None => self.capacity(),
            };
        }
        self.capacity().max(from)
    }

    /// The lowest member from `from` on.
    pub fn next(&self, from: usize) -> Option<usize> {
        let mut index = from / 64;
        let mut mask = u64::MAX << (from % 64);
        while let Some(&word) = self.open.get(index) {
            let hit = word & mask;
            if hit != 0 {
                return Some(index * 64 + hit.trailing_zeros() as usize);
            }
            mask = u64::MAX;
            index += 1;
        }
        None
    }

    /// The highest member below `end`.
    pub fn last_below(&self, end: usize) -> Option<usize> {
        let words = end.div_ceil(64).min(self.open.len());
        let mut mask = match end % 64 {
            partial if partial != 0 && words == end.div_ceil(64) => u64::MAX >> (64 - partial),
            _ => u64::MAX,
        };
        for (index, word) in self.open.iter().enumerate().take(words).rev() {
            let hit = word & mask;
            if hit != 0 {
                return Some(index * 64 + 63 - hit.leading_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_set() {
        let mut map = FdMap::new();
        let mut model = std::collections::BTreeSet::new();
        let mut seed = 7u64;
        for step in 0..15_000 {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let pick = (seed >> 33) as usize;
            if pick.is_multiple_of(3) && !model.is_empty() {
                let n = *model.iter().nth(pick % model.len()).unwrap();
                map.remove(n);
                model.remove(&n);
            } else {
                let n = map.first_free(pick % 50);
                let expected = (pick % 50..).find(|n| !model.contains(n)).unwrap();
                assert_eq!(n, expected, "step {step}");
                assert!(map.grow(n + 1));
                map.insert(n);
                model.insert(n);
            }
            let from = pick % 9000;
            assert_eq!(map.next(from), model.range(from..).next().copied());
            let last = model.range(..from).next_back().copied();
            assert_eq!(map.last_below(from), last);
        }
        let mut copy = FdMap::new();
        assert!(copy.grow(map.capacity()));
        copy.copy_from(&map);
        assert_eq!(copy.first_free(0), map.first_free(0));
        assert!((0..map.capacity()).all(|n| copy.contains(n) == map.contains(n)));
        assert!(model.len() > 2000);
    }

    #[test]
    fn first_free_beyond_the_capacity() {
        let mut map = FdMap::new();
        assert_eq!(map.first_free(0), 0);
        assert_eq!(map.first_free(1000), 1000);
        map.grow(64);
        for n in 0..64 {
            map.insert(n);
        }
        assert_eq!(map.first_free(3), 64);
        assert_eq!(map.first_free(64), 64);
        assert!(!map.contains(64) && map.contains(63));
    }
}
