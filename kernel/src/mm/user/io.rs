//! Cursors for read and write: one type each, whatever the bytes go to or come from, so that a file's `read` is
//! written once for `read`, `readv`, `pread`, `sendfile` and the kernel's own use.
//!
//! Progress is kept when a copy faults part-way: the file answers [`Cursor::outcome`], which is a short count when
//! anything moved and the error otherwise.

use core::ops::Range;

use abi::{Errno, Result};
use smallvec::SmallVec;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{UserSlice, raw};
use crate::mm::addr::{PAGE_SIZE, user_range_ok};
use crate::mm::frame::FrameRef;

/// The most one call transfers, as on Linux: `INT_MAX` rounded down to a page.
pub const MAX_RW_COUNT: usize = 0x7fff_f000;
/// `UIO_MAXIOV`.
const MAX_SEGMENTS: usize = 1024;

/// `struct iovec`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IoVec {
    pub base: usize,
    pub len: usize,
}

/// User segments still to be visited.
struct Segments {
    list: SmallVec<[IoVec; 8]>,
    next: usize,
}

impl Segments {
    /// Copies the array in and checks it: EINVAL for too many or a negative length, EFAULT for ranges outside the
    /// user half. The sum is cut at [`MAX_RW_COUNT`].
    fn import(addr: usize, count: usize) -> Result<(Segments, usize)> {
        if count > MAX_SEGMENTS {
            return Err(Errno::EINVAL);
        }
        let mut list: SmallVec<[IoVec; 8]> = SmallVec::new();
        list.try_reserve(count).map_err(|_| Errno::ENOMEM)?;
        list.resize(count, IoVec { base: 0, len: 0 });
        UserSlice::<IoVec>::new(addr, count)?.read_into(&mut list)?;
        let mut total = 0usize;
        for segment in &mut list {
            if segment.len > isize::MAX as usize {
                return Err(Errno::EINVAL);
            }
            if !user_range_ok(segment.base, segment.len) {
                return Err(Errno::EFAULT);
            }
            segment.len = segment.len.min(MAX_RW_COUNT - total);
            total += segment.len;
        }
        Ok((Segments { list, next: 0 }, total))
    }

    /// The next piece of at most `max` bytes.
    fn piece(&mut self, max: usize) -> Option<IoVec> {
        while let Some(segment) = self.list.get(self.next) {
            if segment.len != 0 {
                return Some(IoVec {
                    base: segment.base,
                    len: segment.len.min(max),
                });
            }
            self.next += 1;
        }
        None
    }

    fn advance(&mut self, bytes: usize) {
        if let Some(segment) = self.list.get_mut(self.next) {
            segment.base += bytes;
            segment.len -= bytes;
        }
    }
}

/// Where the kernel's side of a cursor is, and the user's.
enum Place<K> {
    Kernel(K),
    User(usize),
    Vector(Segments),
}

/// How far a transfer has come: `K` is the kernel's bytes, for those that have no user.
pub struct Cursor<K> {
    place: Place<K>,
    left: usize,
    done: usize,
}

/// Where read bytes go.
pub type IoSink<'a> = Cursor<&'a mut [u8]>;
/// Where written bytes come from.
pub type IoSource<'a> = Cursor<Origin<'a>>;

/// The kernel's side of a source.
pub enum Origin<'a> {
    Bytes(&'a [u8]),
    /// Pages of a file, and the place among their bytes; one that is not there reads as zeros.
    Pages(&'a [Option<FrameRef>], usize),
}

impl Origin<'_> {
    /// Takes the next `out.len()` bytes, which must be there.
    fn take(&mut self, out: &mut [u8]) {
        match self {
            Origin::Bytes(bytes) => {
                let (now, later) = bytes.split_at(out.len());
                out.copy_from_slice(now);
                *bytes = later;
            }
            Origin::Pages(pages, at) => {
                let mut filled = 0;
                while filled < out.len() {
                    let offset = *at % PAGE_SIZE;
                    let len = (out.len() - filled).min(PAGE_SIZE - offset);
                    let part = &mut out[filled..filled + len];
                    match pages.get(*at / PAGE_SIZE) {
                        Some(Some(page)) => page.read(offset, part),
                        _ => part.fill(0),
                    }
                    *at += len;
                    filled += len;
                }
            }
        }
    }
}

impl<K> Cursor<K> {
    #[inline]
    fn new(place: Place<K>, left: usize) -> Self {
        Cursor {
            place,
            left,
            done: 0,
        }
    }

    /// One user range, cut at [`MAX_RW_COUNT`]. EFAULT when it leaves the user half.
    #[inline]
    pub fn user(addr: usize, len: usize) -> Result<Self> {
        if !user_range_ok(addr, len) {
            return Err(Errno::EFAULT);
        }
        Ok(Self::new(Place::User(addr), len.min(MAX_RW_COUNT)))
    }

    /// The segments of the iovec array at `addr`.
    pub fn vector(addr: usize, count: usize) -> Result<Self> {
        let (segments, left) = Segments::import(addr, count)?;
        Ok(Self::new(Place::Vector(segments), left))
    }

    /// Bytes that still fit, or are not taken yet.
    #[inline(always)]
    pub fn remaining(&self) -> usize {
        self.left
    }

    /// Bytes moved so far.
    #[inline(always)]
    pub fn done(&self) -> usize {
        self.done
    }

    /// What the file's `read` or `write` answers: the count if any byte moved, else the error.
    pub fn outcome(&self, result: Result<()>) -> Result<usize> {
        match result {
            Err(e) if self.done == 0 => Err(e),
            _ => Ok(self.done),
        }
    }

    /// Moves `count` bytes, at most those left, between the cursor and `other`. `kernel` moves them all at once; `user`
    /// moves the part in the range, from or to the address, and answers how many bytes it could. EFAULT when not all
    /// could be; what could counts as done.
    #[inline(always)]
    fn transfer<T: ?Sized>(
        &mut self,
        count: usize,
        other: &mut T,
        kernel: impl FnOnce(&mut K, &mut T),
        user: impl Fn(usize, &mut T, Range<usize>) -> usize,
    ) -> Result<()> {
        match &mut self.place {
            Place::Kernel(bytes) => {
                kernel(bytes, other);
                self.left -= count;
                self.done += count;
                Ok(())
            }
            Place::User(addr) => {
                let moved = user(*addr, other, 0..count);
                *addr += moved;
                self.left -= moved;
                self.done += moved;
                if moved < count {
                    return Err(Errno::EFAULT);
                }
                Ok(())
            }
            Place::Vector(segments) => {
                let mut at = 0;
                while at < count {
                    let piece = segments.piece(count - at).ok_or(Errno::EFAULT)?;
                    let moved = user(piece.base, other, at..at + piece.len);
                    segments.advance(moved);
                    self.left -= moved;
                    self.done += moved;
                    if moved < piece.len {
                        return Err(Errno::EFAULT);
                    }
                    at += moved;
                }
                Ok(())
            }
        }
    }
}

/// Takes the first `count` bytes off `out`.
fn split<'a>(out: &mut &'a mut [u8], count: usize) -> &'a mut [u8] {
    let (now, later) = core::mem::take(out).split_at_mut(count);
    *out = later;
    now
}

impl<'a> IoSink<'a> {
    /// Into memory of the kernel.
    pub fn kernel(out: &'a mut [u8]) -> Self {
        let left = out.len();
        Self::new(Place::Kernel(out), left)
    }

    /// Puts `bytes`, which must fit in [`Cursor::remaining`]; what does not fit is dropped. EFAULT when not all
    /// could be written; what could counts as done.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let mut bytes = &bytes[..bytes.len().min(self.left)];
        let kernel = |out: &mut &'a mut [u8], bytes: &mut &[u8]| {
            split(out, bytes.len()).copy_from_slice(bytes);
        };
        self.transfer(bytes.len(), &mut bytes, kernel, |addr, bytes, part| {
            raw::copy_out_some(addr, &bytes[part])
        })
    }

    /// Puts `count` zero bytes, or as many as fit.
    pub fn put_zeros(&mut self, count: usize) -> Result<()> {
        let count = count.min(self.left);
        let kernel = |out: &mut &'a mut [u8], (): &mut ()| split(out, count).fill(0);
        self.transfer(count, &mut (), kernel, |addr, (), part| {
            raw::zero_some(addr, part.len())
        })
    }
}

impl<'a> IoSource<'a> {
    /// From memory of the kernel.
    pub fn kernel(bytes: &'a [u8]) -> Self {
        Self::new(Place::Kernel(Origin::Bytes(bytes)), bytes.len())
    }

    /// From `len` bytes of a file's pages, `offset` bytes behind the first one's start.
    pub fn pages(pages: &'a [Option<FrameRef>], offset: usize, len: usize) -> Self {
        let len = len.min((pages.len() * PAGE_SIZE).saturating_sub(offset));
        Self::new(Place::Kernel(Origin::Pages(pages, offset)), len)
    }

    /// Keeps only `max` more bytes.
    pub fn limit(&mut self, max: usize) {
        self.left = self.left.min(max);
    }

    /// Fills `out`, which must not be longer than [`Cursor::remaining`] (EINVAL). EFAULT when not all could be
    /// read; what could counts as done.
    #[inline]
    pub fn take(&mut self, out: &mut [u8]) -> Result<()> {
        if out.len() > self.left {
            return Err(Errno::EINVAL);
        }
        let kernel = |origin: &mut Origin<'a>, out: &mut [u8]| origin.take(out);
        self.transfer(out.len(), out, kernel, |addr, out, part| {
            raw::copy_in_some(addr, &mut out[part])
        })
    }
}
