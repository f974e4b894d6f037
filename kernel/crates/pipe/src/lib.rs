//! The ring of buffers behind a pipe: which page holds which bytes, what merges, what is one packet. Whoever uses it
//! provides the pages, the locking and the waiting.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]
extern crate alloc;

use alloc::collections::VecDeque;

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// The capacity of a new pipe, in buffers.
pub const DEFAULT_BUFFERS: usize = 16;

/// Bytes in a page, ready to be read.
#[derive(Debug)]
pub struct Buffer<P> {
    pub page: P,
    pub offset: usize,
    pub len: usize,
    /// Later bytes may be appended to the page: it belongs to the pipe alone.
    pub mergeable: bool,
    /// Read whole or cut (`O_DIRECT`).
    pub packet: bool,
}

/// What a reader's step left.
#[derive(Debug, PartialEq, Eq)]
pub enum Consumed<P> {
    /// The buffer still has bytes.
    Partly,
    /// The buffer is gone; its page may be used again if it belonged to the pipe alone.
    Whole {
        page: P,
        reusable: bool,
        packet: bool,
    },
}

/// The buffers of a pipe.
///
/// # Invariants
/// - No buffer is empty.
/// - At most `capacity` buffers, which is a power of two.
#[derive(Debug)]
pub struct Ring<P> {
    buffers: VecDeque<Buffer<P>>,
    capacity: usize,
}

impl<P> Default for Ring<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> Ring<P> {
    pub const fn new() -> Self {
        Self {
            buffers: VecDeque::new(),
            capacity: DEFAULT_BUFFERS,
        }
    }

    pub const fn capacity(&self) -> usize {
        self.capacity
    }
    pub fn used(&self) -> usize {
        self.buffers.len()
    }
    pub fn is_empty(&self) -> bool {
        self.buffers.is_empty()
    }
    pub fn is_full(&self) -> bool {
        self.buffers.len() >= self.capacity
    }
    /// Bytes in all buffers.
    pub fn bytes(&self) -> usize {
        self.buffers.iter().map(|buffer| buffer.len).sum()
    }

    /// The page, and the place in it, where `len` more bytes go if they all fit in the last buffer.
    pub fn merge_point(&self, len: usize) -> Option<(&P, usize)> {
        let last = self.buffers.back()?;
        let end = last.offset + last.len;
        (last.mergeable && !last.packet && end + len <= PAGE).then_some((&last.page, end))
    }

    /// Counts bytes that were put at the [`Self::merge_point`].
    pub fn merged(&mut self, len: usize) {
        if let Some(last) = self.buffers.back_mut() {
            last.len += len;
        }
    }

    /// Appends a buffer; gives it back if the ring is full, or memory is short.
    pub fn push(&mut self, buffer: Buffer<P>) -> Result<(), Buffer<P>> {
        if self.is_full() || buffer.len == 0 || self.buffers.try_reserve(1).is_err() {
            return Err(buffer);
        }
        self.buffers.push_back(buffer);
        Ok(())
    }

    pub fn front(&self) -> Option<&Buffer<P>> {
        self.buffers.front()
    }
    /// The `index`th buffer from the reader's side.
    pub fn get(&self, index: usize) -> Option<&Buffer<P>> {
        self.buffers.get(index)
    }
    /// Makes a buffer's page shared: nothing is appended to it any more.
    pub fn pin(&mut self, index: usize) {
        if let Some(buffer) = self.buffers.get_mut(index) {
            buffer.mergeable = false;
        }
    }

    /// Takes `len` bytes from the front buffer. A packet goes whole, read or not.
    pub fn consume(&mut self, len: usize) -> Option<Consumed<P>> {
        let front = self.buffers.front_mut()?;
        if len < front.len && !front.packet {
            front.offset += len;
            front.len -= len;
            return Some(Consumed::Partly);
        }
        let buffer = self.buffers.pop_front()?;
        Some(Consumed::Whole {
            page: buffer.page,
            reusable: buffer.mergeable,
            packet: buffer.packet,
        })
    }

    /// Sets the capacity; false if more buffers are in use.
    pub fn resize(&mut self, buffers: usize) -> bool {
        if buffers < self.buffers.len() {
            return false;
        }
        self.capacity = buffers;
        true
    }
}

/// The number of buffers for a capacity asked in bytes: whole pages, a power of two. `None`: too large.
pub fn buffers_for(bytes: usize) -> Option<usize> {
    if bytes > 1 << 31 {
        return None;
    }
    Some(bytes.max(1).div_ceil(PAGE).next_power_of_two())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    type Page = Rc<RefCell<Vec<u8>>>;

    /// Writes as the kernel does: small writes merge or take one page, so they are never split.
    fn write(ring: &mut Ring<Page>, bytes: &[u8], packet: bool) -> usize {
        let mut done = 0;
        if !packet && let Some((page, at)) = ring.merge_point(bytes.len() % PAGE) {
            let n = bytes.len() % PAGE;
            page.borrow_mut()[at..at + n].copy_from_slice(&bytes[..n]);
            ring.merged(n);
            done = n;
        }
        while done < bytes.len() && !ring.is_full() {
            let n = (bytes.len() - done).min(PAGE);
            let mut data = bytes[done..done + n].to_vec();
            data.resize(PAGE, 0);
            let page = Rc::new(RefCell::new(data));
            ring.push(Buffer {
                page,
                offset: 0,
                len: n,
                mergeable: !packet,
                packet,
            })
            .unwrap();
            done += n;
        }
        done
    }

    fn read(ring: &mut Ring<Page>, max: usize) -> Vec<u8> {
        let mut out = vec![];
        while let Some(front) = ring.front() {
            let n = front.len.min(max - out.len());
            out.extend_from_slice(&front.page.borrow()[front.offset..front.offset + n]);
            match ring.consume(n) {
                Some(Consumed::Whole { packet: true, .. }) => break,
                _ if out.len() == max => break,
                _ => {}
            }
        }
        out
    }

    #[test]
    fn bytes_come_out_in_order() {
        let mut ring = Ring::new();
        let mut model = VecDeque::new();
        let mut seed = 5u64;
        let mut next = 0u8;
        for _ in 0..5000 {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let len = 1 + (seed >> 33) as usize % 9000;
            if seed >> 62 & 1 == 0 {
                let bytes: Vec<u8> = (0..len).map(|i| next.wrapping_add(i as u8)).collect();
                let n = write(&mut ring, &bytes, false);
                next = next.wrapping_add(n as u8);
                model.extend(&bytes[..n]);
            } else {
                let got = read(&mut ring, len);
                let expected: Vec<u8> = model.drain(..got.len()).collect();
                assert_eq!(got, expected);
                assert_eq!(got.len(), got.len().max(len.min(got.len() + model.len())));
            }
            assert_eq!(ring.bytes(), model.len());
            assert!(ring.used() <= ring.capacity());
        }
    }

    #[test]
    fn small_writes_share_a_page() {
        let mut ring = Ring::new();
        for _ in 0..1000 {
            assert_eq!(write(&mut ring, b"abcd", false), 4);
        }
        assert_eq!(ring.used(), 1);
        assert!(ring.merge_point(96).is_some() && ring.merge_point(97).is_none());
    }

    #[test]
    fn packets_stay_apart_and_are_cut() {
        let mut ring = Ring::new();
        write(&mut ring, b"one", true);
        write(&mut ring, b"three", true);
        assert_eq!(read(&mut ring, 2), b"on");
        assert_eq!(read(&mut ring, 100), b"three");
        assert!(ring.is_empty());
    }

    #[test]
    fn shrinking_below_what_is_used_fails() {
        let mut ring = Ring::new();
        for _ in 0..3 {
            write(&mut ring, &[0; PAGE], false);
        }
        assert!(!ring.resize(2));
        assert!(ring.resize(4));
        write(&mut ring, &[0; PAGE], false);
        assert!(ring.is_full());
    }

    #[test]
    fn sizes_round_up() {
        for (bytes, buffers) in [
            (0, 1),
            (1, 1),
            (4096, 1),
            (4097, 2),
            (65536, 16),
            (65537, 32),
            (1 << 20, 256),
        ] {
            assert_eq!(buffers_for(bytes), Some(buffers));
        }
        assert_eq!(buffers_for((1 << 31) + 1), None);
    }
}
