//! Counts of call stacks: what the sampling profiler adds up where it samples, so that what it keeps grows with the
//! number of different stacks and not with time. All memory is taken when a table is made.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// The most return addresses kept of a stack; what is further out is left off.
pub const MAX_DEPTH: usize = 48;

/// What a CPU did when it was sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Halted, or on its way there.
    Idle,
    /// A program.
    User,
    /// The kernel, for a program or for itself.
    Kernel,
}

/// One stack and how often it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub place: Place,
    /// The name of the task.
    pub comm: [u8; 16],
    /// Addresses less the image's base, innermost first.
    pub frames: &'a [u32],
    pub count: u64,
}

struct Record {
    hash: u32,
    place: Place,
    comm: [u8; 16],
    start: u32,
    depth: u16,
    count: u64,
}

/// The stacks of one CPU.
///
/// # Invariants
/// - `slots` is an open-addressed hash of `records`, each slot an index plus one, never more than half full.
/// - `records` and `frames` never grow past what they were made with.
pub struct StackTable {
    slots: Vec<u32>,
    records: Vec<Record>,
    frames: Vec<u32>,
    samples: u64,
    lost: u64,
}

impl StackTable {
    /// A table for so many different stacks of `depth` frames on average.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(stacks: usize, depth: usize) -> Result<StackTable, TryReserveError> {
        let mut table = StackTable {
            slots: Vec::new(),
            records: Vec::new(),
            frames: Vec::new(),
            samples: 0,
            lost: 0,
        };
        let slots = (stacks * 2).next_power_of_two();
        table.slots.try_reserve_exact(slots)?;
        table.slots.resize(slots, 0);
        table.records.try_reserve_exact(stacks)?;
        table.frames.try_reserve_exact(stacks * depth)?;
        Ok(table)
    }

    /// Counts a stack. Allocates nothing: one that finds no room is counted as lost.
    pub fn add(&mut self, place: Place, comm: [u8; 16], frames: &[u32]) {
        self.samples += 1;
        let frames = frames.get(..MAX_DEPTH).unwrap_or(frames);
        let hash = hash(place, &comm, frames);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while let Some(index) = (self.slots[at] as usize).checked_sub(1) {
            if self.is(index, hash, place, &comm, frames) {
                self.records[index].count += 1;
                return;
            }
            at = (at + 1) & mask;
        }
        let full = self.records.len() == self.records.capacity()
            || self.frames.capacity() - self.frames.len() < frames.len();
        if full {
            self.lost += 1;
            return;
        }
        let start = self.frames.len() as u32;
        self.frames.extend_from_slice(frames);
        self.records.push(Record {
            hash,
            place,
            comm,
            start,
            depth: frames.len() as u16,
            count: 1,
        });
        self.slots[at] = self.records.len() as u32;
    }

    fn is(&self, index: usize, hash: u32, place: Place, comm: &[u8; 16], frames: &[u32]) -> bool {
        let record = &self.records[index];
        record.hash == hash
            && record.place == place
            && record.comm == *comm
            && self.frames_of(record) == frames
    }

    fn frames_of(&self, record: &Record) -> &[u32] {
        let start = record.start as usize;
        &self.frames[start..start + usize::from(record.depth)]
    }

    /// Every stack, in the order in which they were first seen.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.records.iter().map(|record| Entry {
            place: record.place,
            comm: record.comm,
            frames: self.frames_of(record),
            count: record.count,
        })
    }

    /// Samples taken, those that found no room included.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Samples that found no room.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Forgets everything, and keeps the memory.
    pub fn clear(&mut self) {
        self.slots.fill(0);
        self.records.clear();
        self.frames.clear();
        self.samples = 0;
        self.lost = 0;
    }
}

/// FNV-1a over 32-bit words.
fn hash(place: Place, comm: &[u8; 16], frames: &[u32]) -> u32 {
    let mix = |hash: u32, word: u32| (hash ^ word).wrapping_mul(0x0100_0193);
    let seed = mix(0x811c_9dc5, place as u32);
    let (words, _) = comm.as_chunks::<4>();
    let named = words
        .iter()
        .fold(seed, |hash, word| mix(hash, u32::from_le_bytes(*word)));
    let mixed = frames.iter().fold(named, |hash, &frame| mix(hash, frame));
    // The low bits choose the slot, and multiplication only carries upward.
    mixed ^ mixed >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    const SH: [u8; 16] = *b"sh\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    const LS: [u8; 16] = *b"ls\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    #[test]
    fn equal_stacks_are_counted_together_and_different_ones_apart() {
        let mut table = StackTable::new(16, 4).expect("memory");
        for _ in 0..3 {
            table.add(Place::Kernel, SH, &[1, 2, 3]);
        }
        table.add(Place::Kernel, SH, &[1, 2]);
        table.add(Place::Kernel, LS, &[1, 2, 3]);
        table.add(Place::User, SH, &[]);
        table.add(Place::Idle, SH, &[]);
        let counts: Vec<_> = table.iter().map(|e| (e.frames.len(), e.count)).collect();
        assert_eq!(counts, [(3, 3), (2, 1), (3, 1), (0, 1), (0, 1)]);
        assert_eq!((table.samples(), table.lost()), (7, 0));
    }

    #[test]
    fn what_finds_no_room_is_counted_as_lost_and_known_stacks_go_on() {
        let mut table = StackTable::new(8, 2).expect("memory");
        let room = (table.records.capacity(), table.frames.capacity());
        for frame in 0..100 {
            table.add(Place::Kernel, SH, &[frame, frame, frame]);
        }
        table.add(Place::Kernel, SH, &[0, 0, 0]);
        let kept = table.iter().count() as u64;
        assert_eq!(table.lost(), 100 - kept);
        assert_eq!(table.iter().next().map(|e| e.count), Some(2));
        assert_eq!(room, (table.records.capacity(), table.frames.capacity()));
    }

    #[test]
    fn deep_stacks_lose_their_outer_end() {
        let mut table = StackTable::new(2, MAX_DEPTH).expect("memory");
        let deep: Vec<u32> = (0..100).collect();
        table.add(Place::Kernel, SH, &deep);
        let entry = table.iter().next().expect("an entry");
        assert_eq!(entry.frames, &deep[..MAX_DEPTH]);
    }

    #[test]
    fn a_cleared_table_is_as_new() {
        let mut table = StackTable::new(4, 4).expect("memory");
        table.add(Place::User, SH, &[]);
        table.clear();
        assert_eq!((table.iter().count(), table.samples()), (0, 0));
        table.add(Place::User, SH, &[]);
        assert_eq!(table.iter().count(), 1);
    }
}
