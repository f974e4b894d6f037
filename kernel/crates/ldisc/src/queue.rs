//! The read buffer: a ring of [`BUFFER_SIZE`] bytes with a mark on each byte that ends a line.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::BUFFER_SIZE;

const MASK: usize = BUFFER_SIZE - 1;

/// # Invariants
/// Positions count bytes and wrap around at `usize`; `tail <= canon_head <= head <= tail + BUFFER_SIZE` in that
/// arithmetic. Marks are set only between `tail` and `canon_head`.
pub(crate) struct Queue {
    bytes: Box<[u8]>,
    marks: [u64; BUFFER_SIZE / 64],
    head: usize,
    tail: usize,
    canon_head: usize,
    /// The end of the buffer became readable by a mode switch and not by a line end.
    push: bool,
}

impl Queue {
    pub(crate) fn try_new() -> Option<Queue> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(BUFFER_SIZE).ok()?;
        bytes.resize(BUFFER_SIZE, 0);
        Some(Queue {
            bytes: bytes.into_boxed_slice(),
            marks: [0; BUFFER_SIZE / 64],
            head: 0,
            tail: 0,
            canon_head: 0,
            push: false,
        })
    }

    pub(crate) fn clear(&mut self) {
        self.head = 0;
        self.tail = 0;
        self.canon_head = 0;
        self.marks = [0; BUFFER_SIZE / 64];
        self.push = false;
    }

    /// Unread bytes.
    pub(crate) fn len(&self) -> usize {
        self.head.wrapping_sub(self.tail)
    }

    /// Bytes of finished lines.
    pub(crate) fn canon_len(&self) -> usize {
        self.canon_head.wrapping_sub(self.tail)
    }

    /// Bytes of the line being edited.
    pub(crate) fn edit_len(&self) -> usize {
        self.head.wrapping_sub(self.canon_head)
    }

    /// The `index`-th byte of the line being edited.
    pub(crate) fn edit_byte(&self, index: usize) -> u8 {
        self.bytes[self.canon_head.wrapping_add(index) & MASK]
    }

    /// Cuts the line being edited to `len` bytes.
    pub(crate) fn edit_truncate(&mut self, len: usize) {
        if len < self.edit_len() {
            self.head = self.canon_head.wrapping_add(len);
        }
    }

    /// Appends a byte; the caller has made sure of room, a full ring drops it.
    pub(crate) fn put(&mut self, byte: u8) {
        if self.len() < BUFFER_SIZE {
            self.bytes[self.head & MASK] = byte;
            self.head = self.head.wrapping_add(1);
        }
    }

    /// Drops the newest byte.
    pub(crate) fn drop_last(&mut self) {
        if self.edit_len() > 0 {
            self.head = self.head.wrapping_sub(1);
        }
    }

    /// Appends as much as fits of `bytes`, keeping `reserve` bytes free.
    pub(crate) fn put_slice(&mut self, bytes: &[u8], reserve: usize) -> usize {
        let count = bytes
            .len()
            .min((BUFFER_SIZE - self.len()).saturating_sub(reserve));
        let start = self.head & MASK;
        let first = count.min(BUFFER_SIZE - start);
        self.bytes[start..start + first].copy_from_slice(&bytes[..first]);
        self.bytes[..count - first].copy_from_slice(&bytes[first..count]);
        self.head = self.head.wrapping_add(count);
        count
    }

    /// Appends the byte that ends a line and makes the line readable.
    pub(crate) fn put_line_end(&mut self, byte: u8) {
        if self.len() < BUFFER_SIZE {
            self.set_mark(self.head);
            self.put(byte);
        }
        self.canon_head = self.head;
    }

    /// Line mode was switched on or off (or `EXTPROC` changed): what is buffered becomes readable as one piece.
    pub(crate) fn change_mode(&mut self, canonical: bool) {
        self.marks = [0; BUFFER_SIZE / 64];
        if canonical && self.len() > 0 {
            self.set_mark(self.head.wrapping_sub(1));
            self.canon_head = self.head;
            self.push = true;
        } else {
            self.canon_head = self.tail;
            self.push = false;
        }
    }

    /// Copies up to `out.len()` bytes regardless of lines.
    pub(crate) fn take(&mut self, out: &mut [u8]) -> usize {
        let count = out.len().min(self.len());
        self.copy_out(&mut out[..count]);
        self.tail = self.tail.wrapping_add(count);
        self.canon_head = self.tail;
        count
    }

    /// Copies from the first finished line, at most to its end. Returns the bytes copied and whether the end of
    /// the line was reached; a line end of 0 (`VEOF`) is consumed and not copied.
    pub(crate) fn take_line(&mut self, out: &mut [u8]) -> (usize, bool) {
        let limit = out.len().min(self.canon_len());
        let end = (0..limit).find(|&i| self.mark(self.tail.wrapping_add(i)));
        let Some(end) = end else {
            self.copy_out(&mut out[..limit]);
            self.tail = self.tail.wrapping_add(limit);
            return (limit, false);
        };
        let position = self.tail.wrapping_add(end);
        let keep = usize::from(self.bytes[position & MASK] != abi::termios::DISABLED_CHAR);
        self.copy_out(&mut out[..end + keep]);
        self.clear_mark(position);
        self.tail = position.wrapping_add(1);
        self.push = false;
        (end + keep, true)
    }

    /// Consumes a `VEOF` that is next in line.
    pub(crate) fn skip_eof(&mut self) {
        if self.canon_len() > 0
            && self.mark(self.tail)
            && self.bytes[self.tail & MASK] == abi::termios::DISABLED_CHAR
        {
            self.clear_mark(self.tail);
            self.tail = self.tail.wrapping_add(1);
        }
    }

    /// Bytes of finished lines without their `VEOF`s: what `TIOCINQ` tells.
    pub(crate) fn canon_count(&self) -> usize {
        (0..self.canon_len())
            .filter(|&i| {
                let position = self.tail.wrapping_add(i);
                !(self.mark(position) && self.bytes[position & MASK] == abi::termios::DISABLED_CHAR)
            })
            .count()
    }

    fn copy_out(&self, out: &mut [u8]) {
        let start = self.tail & MASK;
        let first = out.len().min(BUFFER_SIZE - start);
        let (a, b) = out.split_at_mut(first);
        a.copy_from_slice(&self.bytes[start..start + first]);
        let rest = b.len();
        b.copy_from_slice(&self.bytes[..rest]);
    }

    fn mark(&self, position: usize) -> bool {
        let bit = position & MASK;
        self.marks[bit / 64] & (1 << (bit % 64)) != 0
    }

    fn set_mark(&mut self, position: usize) {
        let bit = position & MASK;
        self.marks[bit / 64] |= 1 << (bit % 64);
    }

    fn clear_mark(&mut self, position: usize) {
        let bit = position & MASK;
        self.marks[bit / 64] &= !(1 << (bit % 64));
    }
}
