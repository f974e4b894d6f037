//! The waiters of futexes whose keys share a hash bucket: those of real-time tasks first, by priority, and within one
//! priority in the order of their coming.
//!
//! The kernel keeps each [`Bucket`] under a spin lock, compares the user's word under it, and wakes what a call takes out
//! after it has dropped the lock. A bucket never allocates while it is locked: [`Bucket::push`] gives the waiter back
//! when there is no room, and [`Bucket::swap_room`] brings some.

use alloc::collections::VecDeque;

use smallvec::SmallVec;

use crate::pi::Prio;

/// Who waits for what.
#[derive(Debug)]
pub struct Waiter<K, W> {
    pub key: K,
    /// Wakes only those that name a common bit.
    pub bitset: u32,
    /// Lower goes first: see [`ORDINARY`].
    pub rank: Prio,
    /// The priority-inheriting futex that a call may move it to, and nothing else may be done with it.
    pub target: Option<K>,
    pub who: W,
}

/// The rank of all tasks that are not real-time ones. Those have theirs below: 99 less the priority, and -1 for deadline
/// tasks.
pub const ORDINARY: Prio = 100;

/// A waiter was met that the call is not made for: one that waits to be moved to a priority-inheriting futex, or one that
/// does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongKind;

/// What a wake-up takes out: a few without an allocation.
pub type Woken<W> = SmallVec<[W; 8]>;

/// The waiters of one hash bucket.
#[derive(Debug)]
pub struct Bucket<K, W> {
    waiters: VecDeque<Waiter<K, W>>,
}

impl<K, W> Default for Bucket<K, W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, W> Bucket<K, W> {
    pub const fn new() -> Self {
        Self {
            waiters: VecDeque::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Whether `count` more waiters fit without an allocation.
    pub fn has_room(&self, count: usize) -> bool {
        self.waiters.capacity() - self.waiters.len() >= count
    }

    /// Moves into the memory of `roomier`, which is empty, and leaves the old memory there to be freed outside the lock.
    /// Nothing happens when it is not bigger.
    pub fn swap_room(&mut self, roomier: &mut Self) {
        if roomier.waiters.is_empty() && roomier.waiters.capacity() > self.waiters.capacity() {
            roomier.waiters.append(&mut self.waiters);
            core::mem::swap(self, roomier);
        }
    }

    /// An empty bucket for `capacity` waiters, or `None` without memory.
    pub fn with_capacity(capacity: usize) -> Option<Self> {
        let mut waiters = VecDeque::new();
        waiters.try_reserve_exact(capacity).ok()?;
        Some(Self { waiters })
    }

    /// Puts a waiter behind all of its rank; gives it back when there is no room.
    pub fn push(&mut self, waiter: Waiter<K, W>) -> Result<(), Waiter<K, W>> {
        if !self.has_room(1) {
            return Err(waiter);
        }
        let behind = self
            .waiters
            .iter()
            .rposition(|other| other.rank <= waiter.rank);
        self.waiters
            .insert(behind.map_or(0, |index| index + 1), waiter);
        Ok(())
    }
}

impl<K: PartialEq + Copy, W> Bucket<K, W> {
    /// Takes up to `limit` waiters for `key` that have a bit of `bitset`, in order. `taken` is told of each while the bucket
    /// is locked.
    ///
    /// # Errors
    /// When it meets one that waits to be moved; those before it have been taken.
    pub fn wake(
        &mut self,
        key: K,
        bitset: u32,
        limit: usize,
        woken: &mut Woken<W>,
        mut taken: impl FnMut(&W),
    ) -> Result<usize, WrongKind> {
        let mut count = 0;
        let mut index = 0;
        while count < limit {
            match self.waiters.get(index) {
                None => break,
                Some(waiter) if waiter.key == key && waiter.target.is_some() => {
                    return Err(WrongKind);
                }
                Some(waiter) if waiter.key == key && waiter.bitset & bitset != 0 => {
                    if let Some(waiter) = self.waiters.remove(index) {
                        taken(&waiter.who);
                        woken.push(waiter.who);
                        count += 1;
                    }
                }
                Some(_) => index += 1,
            }
        }
        Ok(count)
    }

    /// The first that waits for `key`.
    pub fn first(&self, key: K) -> Option<&Waiter<K, W>> {
        self.waiters.iter().find(|waiter| waiter.key == key)
    }

    /// Takes the first that waits for `key` to be moved to `target`; `None` when nobody waits for `key`.
    ///
    /// # Errors
    /// When the first waits for something else.
    pub fn take_first(&mut self, key: K, target: K) -> Result<Option<W>, WrongKind> {
        let Some(index) = self.waiters.iter().position(|waiter| waiter.key == key) else {
            return Ok(None);
        };
        if self.waiters.get(index).and_then(|waiter| waiter.target) != Some(target) {
            return Err(WrongKind);
        }
        Ok(self.waiters.remove(index).map(|waiter| waiter.who))
    }

    /// How many wait for `key`, up to `limit`.
    pub fn count(&self, key: K, limit: usize) -> usize {
        self.waiters
            .iter()
            .filter(|waiter| waiter.key == key)
            .take(limit)
            .count()
    }

    /// Moves up to `limit` waiters from `key` to `to_key`, in the same bucket (`to` is `None`) or another with room for
    /// them. They keep their order and come after those of their rank who wait there. `moved` is told of each.
    ///
    /// # Errors
    /// When it meets one that waits to be moved to a priority-inheriting futex; those before it have been moved.
    pub fn requeue(
        &mut self,
        key: K,
        to: Option<&mut Self>,
        to_key: K,
        limit: usize,
        mut moved: impl FnMut(&W),
    ) -> Result<usize, WrongKind> {
        if key == to_key {
            // They wait for the right one already; Linux counts them all the same.
            return Ok(self.count(key, limit));
        }
        let mut lost = 0;
        let mut count = 0;
        let mut index = 0;
        let mut to = to;
        // Those put at the end of the same bucket have the new key, so that they are not found again.
        while count < limit {
            match self.waiters.get(index) {
                None => break,
                Some(waiter) if waiter.key == key && waiter.target.is_some() => {
                    return Err(WrongKind);
                }
                Some(waiter) if waiter.key == key => {
                    let Some(mut waiter) = self.waiters.remove(index) else {
                        break;
                    };
                    waiter.key = to_key;
                    moved(&waiter.who);
                    count += 1;
                    let pushed = match &mut to {
                        None => self.push(waiter),
                        Some(other) => other.push(waiter),
                    };
                    lost += usize::from(pushed.is_err());
                }
                Some(_) => index += 1,
            }
        }
        debug_assert!(lost == 0, "the caller made room");
        Ok(count)
    }

    /// Takes a waiter out that gave up; `None` when a wake-up was faster.
    pub fn remove(&mut self, is_it: impl Fn(&W) -> bool) -> Option<W> {
        let index = self.waiters.iter().position(|waiter| is_it(&waiter.who))?;
        self.waiters.remove(index).map(|waiter| waiter.who)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type B = Bucket<u32, u32>;

    fn bucket(waiters: &[(u32, u32, u32)]) -> B {
        let mut bucket = B::with_capacity(64).unwrap();
        for (key, bitset, who) in waiters {
            bucket
                .push(Waiter {
                    key: *key,
                    bitset: *bitset,
                    rank: ORDINARY,
                    target: None,
                    who: *who,
                })
                .unwrap();
        }
        bucket
    }

    fn wake(bucket: &mut B, key: u32, bitset: u32, limit: usize) -> Vec<u32> {
        let mut woken = Woken::new();
        let count = bucket.wake(key, bitset, limit, &mut woken, |_| ()).unwrap();
        assert_eq!(count, woken.len());
        woken.to_vec()
    }

    #[test]
    fn waiters_wake_in_the_order_of_their_coming() {
        let mut b = bucket(&[(1, !0, 10), (2, !0, 11), (1, !0, 12), (1, !0, 13)]);
        assert_eq!(wake(&mut b, 1, !0, 2), [10, 12]);
        assert_eq!(wake(&mut b, 1, !0, 9), [13]);
        assert_eq!(wake(&mut b, 1, !0, 9), []);
        assert_eq!(b.len(), 1);
    }

    #[test]
    fn a_bitset_wakes_only_who_shares_a_bit() {
        let mut b = bucket(&[(1, 1, 10), (1, 2, 11), (1, 3, 12)]);
        assert_eq!(wake(&mut b, 1, 2, 9), [11, 12]);
        assert_eq!(wake(&mut b, 1, 4, 9), []);
        assert_eq!(wake(&mut b, 1, !0, 9), [10]);
    }

    #[test]
    fn requeue_within_a_bucket_moves_behind_those_who_wait_there() {
        let mut b = bucket(&[(1, !0, 10), (2, !0, 20), (1, !0, 11), (1, !0, 12)]);
        assert_eq!(b.requeue(1, None, 2, 2, |_| ()), Ok(2));
        assert_eq!(wake(&mut b, 2, !0, 9), [20, 10, 11]);
        assert_eq!(wake(&mut b, 1, !0, 9), [12]);
    }

    #[test]
    fn requeue_between_buckets() {
        let mut a = bucket(&[(1, !0, 10), (1, !0, 11)]);
        let mut b = bucket(&[(2, !0, 20)]);
        let mut moved = Vec::new();
        let count = a.requeue(1, Some(&mut b), 2, 1, |who| moved.push(*who));
        assert_eq!(count, Ok(1));
        assert_eq!(moved, [10]);
        assert_eq!(wake(&mut b, 2, !0, 9), [20, 10]);
        assert_eq!(a.len(), 1);
    }

    #[test]
    fn requeue_to_itself_counts_and_changes_nothing() {
        let mut b = bucket(&[(1, !0, 10), (1, !0, 11)]);
        assert_eq!(b.requeue(1, None, 1, 9, |_| ()), Ok(2));
        assert_eq!(wake(&mut b, 1, !0, 9), [10, 11]);
    }

    #[test]
    fn who_gives_up_is_not_woken() {
        let mut b = bucket(&[(1, !0, 10), (1, !0, 11)]);
        assert_eq!(b.remove(|who| *who == 10), Some(10));
        assert_eq!(b.remove(|who| *who == 10), None);
        assert_eq!(wake(&mut b, 1, !0, 9), [11]);
    }

    #[test]
    fn a_full_bucket_gives_the_waiter_back_and_takes_more_room() {
        let mut b = B::new();
        let back = b
            .push(Waiter {
                key: 1,
                bitset: 1,
                rank: ORDINARY,
                target: None,
                who: 5,
            })
            .unwrap_err();
        let mut roomier = B::with_capacity(4).unwrap();
        b.swap_room(&mut roomier);
        b.push(back).unwrap();
        let mut bigger = B::with_capacity(64).unwrap();
        b.swap_room(&mut bigger);
        assert!(b.has_room(63) && bigger.is_empty());
        assert_eq!(wake(&mut b, 1, !0, 9), [5]);
    }

    #[test]
    fn realtime_waiters_go_first_by_priority() {
        let mut b = bucket(&[(1, !0, 10), (1, !0, 11)]);
        for (rank, who) in [(89, 20), (49, 30), (89, 21)] {
            let waiter = Waiter {
                key: 1,
                bitset: !0,
                rank,
                target: None,
                who,
            };
            b.push(waiter).unwrap();
        }
        assert_eq!(wake(&mut b, 1, !0, 9), [30, 20, 21, 10, 11]);
    }

    #[test]
    fn who_waits_to_be_moved_is_neither_woken_nor_moved_elsewhere() {
        let mut b = bucket(&[(1, !0, 10)]);
        let waiter = Waiter {
            key: 1,
            bitset: !0,
            rank: ORDINARY,
            target: Some(7),
            who: 11,
        };
        b.push(waiter).unwrap();
        let mut woken = Woken::new();
        assert_eq!(b.wake(1, !0, 9, &mut woken, |_| ()), Err(WrongKind));
        assert_eq!(woken.to_vec(), [10]);
        assert_eq!(b.requeue(1, None, 2, 9, |_| ()), Err(WrongKind));
        assert_eq!(b.take_first(1, 8), Err(WrongKind));
        assert_eq!(b.take_first(1, 7), Ok(Some(11)));
        assert_eq!(b.take_first(1, 7), Ok(None));
    }
}
