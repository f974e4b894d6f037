//! The byte queue behind a local stream socket: bytes in chunks, and what was sent along with some of them.
//!
//! Bytes of different sends share chunks, so that a stream of small sends costs no allocation each. A [`Mark`] covers
//! the bytes that ancillary data was sent with; bytes under different marks are told apart by [`StreamQueue::run_at`].
//! The queue knows nothing of what the marks carry, and neither blocks nor reaches user memory: copying is done by
//! the caller's closures.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// What short sends get.
const SMALL_CHUNK: usize = 4096;
/// What long sends get.
const LARGE_CHUNK: usize = 16384;
/// Empty chunks kept for the next sends.
const MAX_SPARE: usize = 4;
/// What a mark counts for in [`StreamQueue::charge`].
const MARK_CHARGE: usize = 256;

/// Why an append changed nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum AppendError<E> {
    /// No memory for a chunk.
    NoMemory,
    /// The copy failed.
    Copy(E),
}

struct Chunk {
    data: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        self.data.get(self.start..self.end).unwrap_or_default()
    }
}

struct Mark<A> {
    start: u64,
    end: u64,
    carried: A,
}

/// Consecutive bytes with the same mark, or none.
pub struct Run<'a, A> {
    /// How many; never 0.
    pub len: usize,
    /// What was sent along.
    pub carried: Option<&'a A>,
}

/// A queue of bytes.
///
/// # Invariants
/// - The chunks hold exactly the bytes of positions `head..tail`; none but the last is empty.
/// - Marks are in order, do not overlap, are not empty, and end after `head` and not after `tail`.
pub struct StreamQueue<A> {
    chunks: VecDeque<Chunk>,
    spare: Vec<Box<[u8]>>,
    marks: VecDeque<Mark<A>>,
    head: u64,
    tail: u64,
}

impl<A> Default for StreamQueue<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A> StreamQueue<A> {
    /// An empty queue; allocates nothing.
    pub const fn new() -> Self {
        Self {
            chunks: VecDeque::new(),
            spare: Vec::new(),
            marks: VecDeque::new(),
            head: 0,
            tail: 0,
        }
    }

    /// Bytes in the queue.
    #[inline]
    pub fn len(&self) -> usize {
        (self.tail - self.head) as usize
    }
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.tail == self.head
    }
    /// What the content counts for against a limit: marks are not free.
    #[inline]
    pub fn charge(&self) -> usize {
        self.len() + self.marks.len() * MARK_CHARGE
    }

    /// Makes the last chunk one with room, for `wanted` bytes if they are few.
    fn add_chunk(&mut self, wanted: usize) -> Result<(), ()> {
        let data = match self.spare.pop() {
            Some(data) => data,
            None => {
                let size = if wanted > SMALL_CHUNK {
                    LARGE_CHUNK
                } else {
                    SMALL_CHUNK
                };
                let mut data = Vec::new();
                data.try_reserve_exact(size).map_err(drop)?;
                data.resize(size, 0);
                data.into_boxed_slice()
            }
        };
        self.chunks.try_reserve(1).map_err(drop)?;
        self.chunks.push_back(Chunk {
            data,
            start: 0,
            end: 0,
        });
        Ok(())
    }

    fn keep_spare(&mut self, data: Box<[u8]>) {
        if self.spare.len() < MAX_SPARE && self.spare.try_reserve(1).is_ok() {
            self.spare.push(data);
        }
    }

    /// Appends `len` bytes that `copy` fills in, slice by slice; all of them or none.
    pub fn append<E>(
        &mut self,
        len: usize,
        mut copy: impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), AppendError<E>> {
        let chunks_before = self.chunks.len();
        let end_before = self.chunks.back().map_or(0, |chunk| chunk.end);
        let mut left = len;
        let mut result = Ok(());
        while left != 0 {
            let full = |chunk: &Chunk| chunk.end == chunk.data.len();
            if self.chunks.back().is_none_or(full) && self.add_chunk(left).is_err() {
                result = Err(AppendError::NoMemory);
                break;
            }
            let Some(chunk) = self.chunks.back_mut() else {
                break;
            };
            let n = left.min(chunk.data.len() - chunk.end);
            let room = chunk.data.get_mut(chunk.end..chunk.end + n);
            if let Err(error) = copy(room.unwrap_or_default()) {
                result = Err(AppendError::Copy(error));
                break;
            }
            chunk.end += n;
            left -= n;
        }
        if result.is_err() {
            while self.chunks.len() > chunks_before {
                if let Some(chunk) = self.chunks.pop_back() {
                    self.keep_spare(chunk.data);
                }
            }
            if let Some(chunk) = self.chunks.back_mut() {
                chunk.end = end_before;
            }
            return result;
        }
        self.tail += len as u64;
        Ok(())
    }

    /// Puts the last `len` bytes, which have no mark yet, under one. A mark that ends where they begin is extended
    /// instead if `joins` says that it carries the same. Without memory nothing is marked, and `carried` comes back.
    pub fn mark(
        &mut self,
        len: usize,
        carried: A,
        joins: impl Fn(&A, &A) -> bool,
    ) -> Result<(), A> {
        let start = self.tail - len as u64;
        if let Some(last) = self.marks.back_mut()
            && last.end == start
            && joins(&last.carried, &carried)
        {
            last.end = self.tail;
            return Ok(());
        }
        if self.marks.try_reserve(1).is_err() {
            return Err(carried);
        }
        self.marks.push_back(Mark {
            start,
            end: self.tail,
            carried,
        });
        Ok(())
    }

    /// The bytes from `offset` on up to where what was sent along changes; `None` at the end.
    #[inline]
    pub fn run_at(&self, offset: usize) -> Option<Run<'_, A>> {
        let at = self.head + offset as u64;
        if at >= self.tail {
            return None;
        }
        for mark in &self.marks {
            if at < mark.start {
                return Some(Run {
                    len: (mark.start - at) as usize,
                    carried: None,
                });
            }
            if at < mark.end {
                return Some(Run {
                    len: (mark.end - at) as usize,
                    carried: Some(&mark.carried),
                });
            }
        }
        Some(Run {
            len: (self.tail - at) as usize,
            carried: None,
        })
    }

    /// What was sent along with the first byte.
    pub fn first_carried_mut(&mut self) -> Option<&mut A> {
        let head = self.head;
        let mark = self.marks.front_mut()?;
        (mark.start <= head).then_some(&mut mark.carried)
    }

    /// Shows `len` bytes from `offset` on to `put`, slice by slice; they stay in the queue.
    #[inline]
    pub fn show<E>(
        &self,
        offset: usize,
        len: usize,
        mut put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut skip = offset;
        let mut left = len;
        for chunk in &self.chunks {
            if left == 0 {
                break;
            }
            let bytes = chunk.bytes();
            if skip >= bytes.len() {
                skip -= bytes.len();
                continue;
            }
            let bytes = bytes.get(skip..).unwrap_or_default();
            skip = 0;
            let bytes = bytes.get(..left).unwrap_or(bytes);
            put(bytes)?;
            left -= bytes.len();
        }
        Ok(())
    }

    /// Takes the last `len` bytes back, which have no mark.
    pub fn retract(&mut self, len: usize) {
        let mut left = len.min(self.len());
        self.tail -= left as u64;
        let mut chunks = self.chunks.len();
        while left != 0 {
            let Some(chunk) = self.chunks.back_mut() else {
                break;
            };
            let n = left.min(chunk.end - chunk.start);
            chunk.end -= n;
            left -= n;
            if chunk.start < chunk.end || chunks == 1 {
                break;
            }
            if let Some(chunk) = self.chunks.pop_back() {
                chunks -= 1;
                self.keep_spare(chunk.data);
            }
        }
    }

    /// Drops the first `len` bytes, and the marks that end with them.
    pub fn consume(&mut self, len: usize) {
        let mut left = len.min(self.len());
        self.head += left as u64;
        let mut chunks = self.chunks.len();
        while left != 0 {
            let Some(chunk) = self.chunks.front_mut() else {
                break;
            };
            let n = left.min(chunk.end - chunk.start);
            chunk.start += n;
            left -= n;
            if chunk.start < chunk.end {
                break;
            }
            if chunks == 1 {
                // The next send finds the chunk that the caches still hold.
                chunk.start = 0;
                chunk.end = 0;
            } else if let Some(chunk) = self.chunks.pop_front() {
                chunks -= 1;
                self.keep_spare(chunk.data);
            }
        }
        while self.marks.front().is_some_and(|mark| mark.end <= self.head) {
            self.marks.pop_front();
        }
    }

    /// Everything that is carried, in order.
    pub fn carried(&self) -> impl Iterator<Item = &A> {
        self.marks.iter().map(|mark| &mark.carried)
    }
}
