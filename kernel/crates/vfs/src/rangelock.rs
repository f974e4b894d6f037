//! POSIX record locks on one file: who holds which bytes, what conflicts, how ranges split and merge.

use alloc::vec::Vec;

/// A lock's strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    Shared,
    Exclusive,
}

/// Bytes `start..=end`; `end` is `u64::MAX >> 1` for "to the end, however far".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub start: u64,
    pub end: u64,
}

impl Range {
    /// The end of a range without one.
    pub const EOF: u64 = i64::MAX as u64;

    const fn overlaps(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

/// One lock that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeLock {
    /// Who holds it: locks of one owner never conflict.
    pub owner: u64,
    /// What `F_GETLK` reports as the holder's process id (-1 for an open file description).
    pub pid: i32,
    pub kind: LockKind,
    pub range: Range,
}

/// The locks of one file.
///
/// # Invariants
/// - One owner's ranges do not overlap, and touching ones of the same kind are merged.
/// - Sorted by start.
#[derive(Debug, Default)]
pub struct RangeLocks {
    held: Vec<RangeLock>,
}

/// Memory was short; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

impl RangeLocks {
    pub const fn new() -> Self {
        Self { held: Vec::new() }
    }
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
    pub fn iter(&self) -> impl Iterator<Item = &RangeLock> {
        self.held.iter()
    }

    /// The first lock that keeps `owner` from locking `range`.
    pub fn conflict(&self, owner: u64, kind: LockKind, range: Range) -> Option<&RangeLock> {
        self.held
            .iter()
            .take_while(|held| held.range.start <= range.end)
            .find(|held| {
                held.owner != owner
                    && held.range.overlaps(range)
                    && (kind == LockKind::Exclusive || held.kind == LockKind::Exclusive)
            })
    }

    /// Replaces what the owner holds in `lock.range` by `lock`. The caller has checked for conflicts.
    /// Returns whether something became weaker, so that waiters may try again.
    pub fn set(&mut self, lock: RangeLock) -> Result<bool, NoMemory> {
        self.held.try_reserve(2).map_err(|_| NoMemory)?;
        let weaker = self.cut(lock.owner, lock.range, Some(lock.kind));
        let mut merged = lock;
        self.held.retain(|held| {
            let touches = held.owner == lock.owner
                && held.kind == lock.kind
                && held.range.start <= merged.range.end.saturating_add(1)
                && merged.range.start <= held.range.end.saturating_add(1);
            if touches {
                merged.range.start = merged.range.start.min(held.range.start);
                merged.range.end = merged.range.end.max(held.range.end);
            }
            !touches
        });
        self.insert_sorted(merged);
        Ok(weaker)
    }

    /// Gives up what `owner` holds in `range`; true if there was something.
    pub fn clear(&mut self, owner: u64, range: Range) -> Result<bool, NoMemory> {
        self.held.try_reserve(1).map_err(|_| NoMemory)?;
        Ok(self.cut(owner, range, None))
    }

    /// Gives up all that `owner` holds; true if there was something.
    pub fn clear_owner(&mut self, owner: u64) -> bool {
        let before = self.held.len();
        self.held.retain(|held| held.owner != owner);
        self.held.len() != before
    }

    /// Cuts `range` out of the owner's locks; room for one more is reserved. True if a cut lock was stronger
    /// than `new`.
    fn cut(&mut self, owner: u64, range: Range, new: Option<LockKind>) -> bool {
        let mut weaker = false;
        let mut split = None;
        self.held.retain_mut(|held| {
            if held.owner != owner || !held.range.overlaps(range) {
                return true;
            }
            weaker |= match new {
                None => true,
                Some(kind) => held.kind == LockKind::Exclusive && kind == LockKind::Shared,
            };
            let left = held.range.start < range.start;
            let right = held.range.end > range.end;
            let after = Range {
                start: range.end.wrapping_add(1),
                end: held.range.end,
            };
            match (left, right) {
                (true, true) => {
                    split = Some(RangeLock {
                        range: after,
                        ..*held
                    });
                    held.range.end = range.start - 1;
                }
                (true, false) => held.range.end = range.start - 1,
                (false, true) => held.range = after,
                (false, false) => return false,
            }
            true
        });
        if let Some(lock) = split {
            self.insert_sorted(lock);
        }
        // A lock cut on its left now starts later than its neighbours may.
        self.held.sort_unstable_by_key(|held| held.range.start);
        weaker
    }

    fn insert_sorted(&mut self, lock: RangeLock) {
        let at = self
            .held
            .partition_point(|held| held.range.start <= lock.range.start);
        self.held.insert(at, lock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LockKind::{Exclusive, Shared};

    fn lock(owner: u64, kind: LockKind, start: u64, end: u64) -> RangeLock {
        RangeLock {
            owner,
            pid: owner as i32,
            kind,
            range: Range { start, end },
        }
    }
    fn ranges(locks: &RangeLocks) -> Vec<(u64, u64, u64)> {
        locks
            .iter()
            .map(|l| (l.owner, l.range.start, l.range.end))
            .collect()
    }

    #[test]
    fn unlocking_the_middle_splits() {
        let mut locks = RangeLocks::new();
        locks.set(lock(1, Exclusive, 0, 99)).unwrap();
        assert_eq!(locks.clear(1, Range { start: 10, end: 19 }), Ok(true));
        assert_eq!(ranges(&locks), [(1, 0, 9), (1, 20, 99)]);
        assert!(
            locks
                .conflict(2, Shared, Range { start: 10, end: 19 })
                .is_none()
        );
        assert!(
            locks
                .conflict(2, Shared, Range { start: 10, end: 20 })
                .is_some()
        );
        assert!(
            locks
                .conflict(1, Exclusive, Range { start: 0, end: 99 })
                .is_none()
        );
    }

    #[test]
    fn touching_ranges_merge_only_within_kind_and_owner() {
        let mut locks = RangeLocks::new();
        locks.set(lock(1, Shared, 0, 9)).unwrap();
        locks.set(lock(1, Shared, 10, 19)).unwrap();
        locks.set(lock(2, Shared, 20, 29)).unwrap();
        assert_eq!(ranges(&locks), [(1, 0, 19), (2, 20, 29)]);
        assert_eq!(locks.set(lock(1, Exclusive, 5, 9)), Ok(false));
        assert_eq!(
            ranges(&locks),
            [(1, 0, 4), (1, 5, 9), (1, 10, 19), (2, 20, 29)]
        );
        assert_eq!(locks.set(lock(1, Shared, 0, Range::EOF)), Ok(true));
        assert_eq!(ranges(&locks), [(1, 0, Range::EOF), (2, 20, 29)]);
    }

    #[test]
    fn agrees_with_a_byte_map() {
        let mut locks = RangeLocks::new();
        let mut model = [[None::<LockKind>; 3]; 64];
        let mut seed = 3u64;
        for _ in 0..20_000 {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let r = seed >> 33;
            let (owner, start) = (r % 3, r / 3 % 64);
            let end = (start + r / 200 % 20).min(63);
            let range = Range { start, end };
            let kind = if r & 0x10000 == 0 { Shared } else { Exclusive };
            if r & 0x60000 == 0 {
                locks.clear(owner, range).unwrap();
                for byte in &mut model[start as usize..=end as usize] {
                    byte[owner as usize] = None;
                }
                continue;
            }
            let free = model[start as usize..=end as usize].iter().all(|byte| {
                (0..3)
                    .filter(|o| *o != owner as usize)
                    .all(|o| match byte[o] {
                        None => true,
                        Some(held) => held == Shared && kind == Shared,
                    })
            });
            assert_eq!(locks.conflict(owner, kind, range).is_none(), free);
            if free {
                locks
                    .set(RangeLock {
                        owner,
                        pid: 0,
                        kind,
                        range,
                    })
                    .unwrap();
                for byte in &mut model[start as usize..=end as usize] {
                    byte[owner as usize] = Some(kind);
                }
            }
        }
        assert!(locks.held.is_sorted_by_key(|l| l.range.start));
    }
}
