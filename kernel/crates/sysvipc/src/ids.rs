//! Which id a new object gets: an index in the low bits, and above it a number that tells apart those that had the index
//! one after another.
//!
//! Indices are given in a circle, so that an index is not used again at once; each time the circle begins anew the
//! sequence number goes up. The circle is half as long again as what is in use, and 64 at least.

use alloc::vec::Vec;

use abi::sysv::IPCMNI;
use abi::{Errno, Result};

/// Bits of an id that are the index.
pub const INDEX_BITS: u32 = IPCMNI.trailing_zeros();
const SHORTEST_CIRCLE: u32 = 64;
/// One more than the highest sequence number.
const SEQ_END: u32 = i32::MAX as u32 >> INDEX_BITS;

/// The index in an id.
#[inline]
pub const fn index_of(id: i32) -> usize {
    (id as u32 & (IPCMNI - 1)) as usize
}

/// The sequence number in an id.
pub const fn seq_of(id: i32) -> u16 {
    (id as u32 >> INDEX_BITS) as u16
}

/// The ids of one kind of object.
///
/// # Invariants
/// `count` is the number of bits set in `used`.
pub struct Allocator {
    used: Vec<u64>,
    count: u32,
    /// Where the search for the next index begins.
    cursor: u32,
    /// The index given last.
    last: Option<u32>,
    seq: u32,
    /// The id that the next object is to have (`*_next_id`).
    wanted: Option<i32>,
}

impl Default for Allocator {
    fn default() -> Self {
        Self::new()
    }
}

impl Allocator {
    pub const fn new() -> Self {
        Self {
            used: Vec::new(),
            count: 0,
            cursor: 0,
            last: None,
            seq: 0,
            wanted: None,
        }
    }

    /// Objects there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The highest index in use.
    pub fn highest(&self) -> Option<u32> {
        let (word, bits) = self
            .used
            .iter()
            .enumerate()
            .rfind(|(_, bits)| **bits != 0)?;
        Some(word as u32 * 64 + bits.ilog2())
    }

    /// The id that was asked for and not given yet.
    pub fn wanted(&self) -> Option<i32> {
        self.wanted
    }

    /// Asks for the next object's id; its index may still be another's.
    pub fn want(&mut self, id: Option<i32>) {
        self.wanted = id;
    }

    /// An id for a new object, of which there may be `limit`.
    ///
    /// # Errors
    /// `ENOSPC`, `ENOMEM`.
    pub fn allocate(&mut self, limit: u32) -> Result<i32> {
        if self.count >= limit.min(IPCMNI) {
            return Err(Errno::ENOSPC);
        }
        let (index, seq) = match self.wanted.take() {
            Some(id) => {
                let index = self.free_in(index_of(id) as u32, IPCMNI);
                (index.ok_or(Errno::ENOSPC)?, u32::from(seq_of(id)))
            }
            None => self.next()?,
        };
        self.mark(index)?;
        Ok((seq << INDEX_BITS | index) as i32)
    }

    /// The next index of the circle, and its sequence number.
    fn next(&mut self) -> Result<(u32, u32)> {
        let end = (self.count * 3 / 2).clamp(SHORTEST_CIRCLE, IPCMNI);
        let index = self
            .free_in(self.cursor, end)
            .or_else(|| self.free_in(0, end))
            .ok_or(Errno::ENOSPC)?;
        if self.last.is_some_and(|last| index <= last) {
            self.seq = (self.seq + 1) % SEQ_END;
        }
        self.last = Some(index);
        self.cursor = index + 1;
        Ok((index, self.seq))
    }

    fn is_used(&self, index: u32) -> bool {
        let word = self.used.get(index as usize / 64).copied().unwrap_or(0);
        word & 1 << (index % 64) != 0
    }

    fn free_in(&self, start: u32, end: u32) -> Option<u32> {
        let mut index = start;
        while index < end {
            let word = self.used.get(index as usize / 64).copied().unwrap_or(0);
            let free = !word >> (index % 64);
            if free != 0 {
                let found = index + free.trailing_zeros();
                return (found < end).then_some(found);
            }
            index = (index | 63) + 1;
        }
        None
    }

    fn mark(&mut self, index: u32) -> Result<()> {
        let word = index as usize / 64;
        if word >= self.used.len() {
            let more = word + 1 - self.used.len();
            self.used.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
            self.used.resize(word + 1, 0);
        }
        if let Some(bits) = self.used.get_mut(word) {
            *bits |= 1 << (index % 64);
            self.count += 1;
        }
        Ok(())
    }

    /// The object with this id is gone.
    pub fn free(&mut self, id: i32) {
        let index = index_of(id) as u32;
        if !self.is_used(index) {
            return;
        }
        if let Some(bits) = self.used.get_mut(index as usize / 64) {
            *bits &= !(1 << (index % 64));
            self.count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(id: i32) -> (usize, u16) {
        (index_of(id), seq_of(id))
    }

    #[test]
    fn indices_go_round_and_the_sequence_counts_the_rounds() {
        let mut ids = Allocator::new();
        let mut all = Vec::new();
        for turn in 0..200 {
            let id = ids.allocate(10).unwrap();
            ids.free(id);
            all.push(parts(id));
            assert_eq!(parts(id), (turn % 64, (turn / 64) as u16));
        }
        all.dedup();
        assert_eq!(all.len(), 200);
        assert_eq!(ids.count(), 0);
    }

    #[test]
    fn the_circle_grows_with_what_is_in_use() {
        let mut ids = Allocator::new();
        let first: Vec<_> = (0..100).map(|_| ids.allocate(1000).unwrap()).collect();
        assert_eq!(first, (0..100).collect::<Vec<_>>());
        assert_eq!(ids.highest(), Some(99));
        ids.free(first[3]);
        // Up to 99 * 3 / 2.
        for index in 100..148 {
            assert_eq!(parts(ids.allocate(1000).unwrap()).0, index);
        }
        ids.free(first[99]);
        assert_eq!(ids.highest(), Some(147));
    }

    #[test]
    fn a_limit_is_enospc_and_freeing_makes_room() {
        let mut ids = Allocator::new();
        let kept = ids.allocate(2).unwrap();
        let gone = ids.allocate(2).unwrap();
        assert_eq!(ids.allocate(2), Err(Errno::ENOSPC));
        ids.free(gone);
        ids.free(gone);
        assert_eq!(ids.count(), 1);
        assert_ne!(ids.allocate(2).unwrap(), kept);
    }

    #[test]
    fn every_index_can_be_had() {
        let mut ids = Allocator::new();
        for _ in 0..IPCMNI {
            ids.allocate(u32::MAX).unwrap();
        }
        assert_eq!(ids.allocate(u32::MAX), Err(Errno::ENOSPC));
        assert_eq!(ids.highest(), Some(IPCMNI - 1));
    }

    #[test]
    fn a_wanted_id_is_given_once() {
        let mut ids = Allocator::new();
        ids.want(Some(5 << INDEX_BITS | 70));
        assert_eq!(parts(ids.allocate(9).unwrap()), (70, 5));
        assert_eq!(parts(ids.allocate(9).unwrap()), (0, 0));
        ids.want(Some(70));
        assert_eq!(parts(ids.allocate(9).unwrap()), (71, 0));
    }
}
