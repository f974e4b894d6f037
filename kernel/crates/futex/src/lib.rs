//! The waiters of futexes whose keys share a hash bucket, in the order of their coming.
//!
//! The kernel keeps each [`Bucket`] under a spin lock, compares the user's word under it, and wakes what a call takes out
//! after it has dropped the lock. A bucket never allocates while it is locked: [`Bucket::push`] gives the waiter back
//! when there is no room, and [`Bucket::swap_room`] brings some.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::collections::VecDeque;

use smallvec::SmallVec;

/// Who waits for what.
#[derive(Debug)]
pub struct Waiter<K, W> {
    pub key: K,
    /// Wakes only those that name a common bit.
    pub bitset: u32,
    pub who: W,
}

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

    /// Puts a waiter at the end; gives it back when there is no room.
    pub fn push(&mut self, waiter: Waiter<K, W>) -> Result<(), Waiter<K, W>> {
        if !self.has_room(1) {
            return Err(waiter);
        }
        self.waiters.push_back(waiter);
        Ok(())
    }
}

impl<K: PartialEq + Copy, W> Bucket<K, W> {
    /// Takes up to `limit` waiters for `key` that have a bit of `bitset`, oldest first. `taken` is told of each while the
    /// bucket is locked.
    pub fn wake(
        &mut self,
        key: K,
        bitset: u32,
        limit: usize,
        woken: &mut Woken<W>,
        mut taken: impl FnMut(&W),
    ) -> usize {
        let mut count = 0;
        let mut index = 0;
        while count < limit {
            match self.waiters.get(index) {
                None => break,
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
        count
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
    /// them. They keep their order and come after those who wait there. `moved` is told of each.
    pub fn requeue(
        &mut self,
        key: K,
        to: Option<&mut Self>,
        to_key: K,
        limit: usize,
        mut moved: impl FnMut(&W),
    ) -> usize {
        if key == to_key {
            // They wait for the right one already; Linux counts them all the same.
            return self.count(key, limit);
        }
        let mut taken: SmallVec<[Waiter<K, W>; 0]> = SmallVec::new();
        let mut count = 0;
        let mut index = 0;
        let mut to = to;
        // Those put at the end of the same bucket have the new key, so that they are not found again.
        while count < limit {
            match self.waiters.get(index) {
                None => break,
                Some(waiter) if waiter.key == key => {
                    let Some(mut waiter) = self.waiters.remove(index) else {
                        break;
                    };
                    waiter.key = to_key;
                    moved(&waiter.who);
                    count += 1;
                    match &mut to {
                        None => self.waiters.push_back(waiter),
                        Some(other) => {
                            if let Err(back) = other.push(waiter) {
                                taken.push(back);
                            }
                        }
                    }
                }
                Some(_) => index += 1,
            }
        }
        debug_assert!(taken.is_empty(), "the caller made room");
        count
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
                    who: *who,
                })
                .unwrap();
        }
        bucket
    }

    fn wake(bucket: &mut B, key: u32, bitset: u32, limit: usize) -> Vec<u32> {
        let mut woken = Woken::new();
        let count = bucket.wake(key, bitset, limit, &mut woken, |_| ());
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
        assert_eq!(b.requeue(1, None, 2, 2, |_| ()), 2);
        assert_eq!(wake(&mut b, 2, !0, 9), [20, 10, 11]);
        assert_eq!(wake(&mut b, 1, !0, 9), [12]);
    }

    #[test]
    fn requeue_between_buckets() {
        let mut a = bucket(&[(1, !0, 10), (1, !0, 11)]);
        let mut b = bucket(&[(2, !0, 20)]);
        let mut moved = Vec::new();
        assert_eq!(a.requeue(1, Some(&mut b), 2, 1, |who| moved.push(*who)), 1);
        assert_eq!(moved, [10]);
        assert_eq!(wake(&mut b, 2, !0, 9), [20, 10]);
        assert_eq!(a.len(), 1);
    }

    #[test]
    fn requeue_to_itself_counts_and_changes_nothing() {
        let mut b = bucket(&[(1, !0, 10), (1, !0, 11)]);
        assert_eq!(b.requeue(1, None, 1, 9, |_| ()), 2);
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
}
