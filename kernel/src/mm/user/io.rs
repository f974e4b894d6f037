//! Cursors for read and write: one type each, whatever the bytes go to or come from, so that a file's `read` is
//! written once for `read`, `readv`, `pread`, `sendfile` and the kernel's own use.
//!
//! Progress is kept when a copy faults part-way: the file answers [`IoSink::outcome`], which is a short count when
//! anything moved and the error otherwise.

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

enum Target<'a> {
    Kernel(&'a mut [u8]),
    User(usize),
    Vector(Segments),
}

/// Where read bytes go.
pub struct IoSink<'a> {
    target: Target<'a>,
    left: usize,
    done: usize,
}

impl<'a> IoSink<'a> {
    /// Into memory of the kernel.
    pub fn kernel(out: &'a mut [u8]) -> Self {
        let left = out.len();
        IoSink {
            target: Target::Kernel(out),
            left,
            done: 0,
        }
    }

    /// Into one user range, cut at [`MAX_RW_COUNT`]. EFAULT when it leaves the user half.
    #[inline]
    pub fn user(addr: usize, len: usize) -> Result<IoSink<'static>> {
        if !user_range_ok(addr, len) {
            return Err(Errno::EFAULT);
        }
        Ok(IoSink {
            target: Target::User(addr),
            left: len.min(MAX_RW_COUNT),
            done: 0,
        })
    }

    /// Into the segments of the iovec array at `addr`.
    pub fn vector(addr: usize, count: usize) -> Result<IoSink<'static>> {
        let (segments, left) = Segments::import(addr, count)?;
        Ok(IoSink {
            target: Target::Vector(segments),
            left,
            done: 0,
        })
    }

    /// Bytes that still fit.
    #[inline(always)]
    pub fn remaining(&self) -> usize {
        self.left
    }

    /// Bytes put so far.
    #[inline(always)]
    pub fn done(&self) -> usize {
        self.done
    }

    /// Keeps only room for `max` more bytes.
    pub fn limit(&mut self, max: usize) {
        self.left = self.left.min(max);
    }

    /// What the file's `read` answers: the count if any byte moved, else the error.
    pub fn outcome(&self, result: Result<()>) -> Result<usize> {
        match result {
            Err(e) if self.done == 0 => Err(e),
            _ => Ok(self.done),
        }
    }

    /// Puts `bytes`, which must fit in [`IoSink::remaining`]; what does not fit is dropped. EFAULT when not all
    /// could be written; what could counts as done.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let mut bytes = &bytes[..bytes.len().min(self.left)];
        while !bytes.is_empty() {
            let (want, moved) = match &mut self.target {
                Target::Kernel(out) => {
                    let (now, later) = core::mem::take(out).split_at_mut(bytes.len());
                    now.copy_from_slice(bytes);
                    *out = later;
                    (bytes.len(), bytes.len())
                }
                Target::User(addr) => {
                    let n = raw::copy_out_some(*addr, bytes);
                    *addr += n;
                    (bytes.len(), n)
                }
                Target::Vector(segments) => {
                    let Some(piece) = segments.piece(bytes.len()) else {
                        return Err(Errno::EFAULT);
                    };
                    let n = raw::copy_out_some(piece.base, &bytes[..piece.len]);
                    segments.advance(n);
                    (piece.len, n)
                }
            };
            self.left -= moved;
            self.done += moved;
            if moved < want {
                return Err(Errno::EFAULT);
            }
            bytes = &bytes[moved..];
        }
        Ok(())
    }

    /// Puts `count` zero bytes, or as many as fit.
    pub fn put_zeros(&mut self, count: usize) -> Result<()> {
        let mut count = count.min(self.left);
        while count != 0 {
            let (want, moved) = match &mut self.target {
                Target::Kernel(out) => {
                    let (now, later) = core::mem::take(out).split_at_mut(count);
                    now.fill(0);
                    *out = later;
                    (count, count)
                }
                Target::User(addr) => {
                    let n = raw::zero_some(*addr, count);
                    *addr += n;
                    (count, n)
                }
                Target::Vector(segments) => {
                    let Some(piece) = segments.piece(count) else {
                        return Err(Errno::EFAULT);
                    };
                    let n = raw::zero_some(piece.base, piece.len);
                    segments.advance(n);
                    (piece.len, n)
                }
            };
            self.left -= moved;
            self.done += moved;
            if moved < want {
                return Err(Errno::EFAULT);
            }
            count -= moved;
        }
        Ok(())
    }
}

enum Origin<'a> {
    Kernel(&'a [u8]),
    /// Pages of a file, and the place among their bytes; one that is not there reads as zeros.
    Pages(&'a [Option<FrameRef>], usize),
    User(usize),
    Vector(Segments),
}

/// Where written bytes come from.
pub struct IoSource<'a> {
    origin: Origin<'a>,
    left: usize,
    done: usize,
}

impl<'a> IoSource<'a> {
    /// From memory of the kernel.
    pub fn kernel(bytes: &'a [u8]) -> Self {
        IoSource {
            left: bytes.len(),
            origin: Origin::Kernel(bytes),
            done: 0,
        }
    }

    /// From `len` bytes of a file's pages, `offset` bytes behind the first one's start.
    pub fn pages(pages: &'a [Option<FrameRef>], offset: usize, len: usize) -> Self {
        IoSource {
            left: len.min((pages.len() * PAGE_SIZE).saturating_sub(offset)),
            origin: Origin::Pages(pages, offset),
            done: 0,
        }
    }

    /// From one user range, cut at [`MAX_RW_COUNT`]. EFAULT when it leaves the user half.
    #[inline]
    pub fn user(addr: usize, len: usize) -> Result<IoSource<'static>> {
        if !user_range_ok(addr, len) {
            return Err(Errno::EFAULT);
        }
        Ok(IoSource {
            origin: Origin::User(addr),
            left: len.min(MAX_RW_COUNT),
            done: 0,
        })
    }

    /// From the segments of the iovec array at `addr`.
    pub fn vector(addr: usize, count: usize) -> Result<IoSource<'static>> {
        let (segments, left) = Segments::import(addr, count)?;
        Ok(IoSource {
            origin: Origin::Vector(segments),
            left,
            done: 0,
        })
    }

    /// Bytes not taken yet.
    #[inline(always)]
    pub fn remaining(&self) -> usize {
        self.left
    }

    /// Bytes taken so far.
    #[inline(always)]
    pub fn done(&self) -> usize {
        self.done
    }

    /// Keeps only `max` more bytes.
    pub fn limit(&mut self, max: usize) {
        self.left = self.left.min(max);
    }

    /// What the file's `write` answers: the count if any byte moved, else the error.
    pub fn outcome(&self, result: Result<()>) -> Result<usize> {
        match result {
            Err(e) if self.done == 0 => Err(e),
            _ => Ok(self.done),
        }
    }

    /// Drops `count` bytes unread, as a null device does.
    pub fn skip(&mut self, count: usize) {
        let mut count = count.min(self.left);
        self.left -= count;
        self.done += count;
        match &mut self.origin {
            Origin::Kernel(bytes) => *bytes = &bytes[count..],
            Origin::Pages(_, at) => *at += count,
            Origin::User(addr) => *addr += count,
            Origin::Vector(segments) => {
                while let Some(piece) = segments.piece(count) {
                    if piece.len == 0 {
                        break;
                    }
                    segments.advance(piece.len);
                    count -= piece.len;
                }
            }
        }
    }

    /// Fills `out`, which must not be longer than [`IoSource::remaining`] (EINVAL). EFAULT when not all could be
    /// read; what could counts as done.
    #[inline]
    pub fn take(&mut self, out: &mut [u8]) -> Result<()> {
        if out.len() > self.left {
            return Err(Errno::EINVAL);
        }
        let mut filled = 0;
        while filled < out.len() {
            let rest = &mut out[filled..];
            let (want, moved) = match &mut self.origin {
                Origin::Kernel(bytes) => {
                    let (now, later) = bytes.split_at(rest.len());
                    rest.copy_from_slice(now);
                    *bytes = later;
                    (rest.len(), now.len())
                }
                Origin::Pages(pages, at) => {
                    let offset = *at % PAGE_SIZE;
                    let len = rest.len().min(PAGE_SIZE - offset);
                    match pages.get(*at / PAGE_SIZE) {
                        Some(Some(page)) => page.read(offset, &mut rest[..len]),
                        _ => rest[..len].fill(0),
                    }
                    *at += len;
                    (len, len)
                }
                Origin::User(addr) => {
                    let n = raw::copy_in_some(*addr, rest);
                    *addr += n;
                    (rest.len(), n)
                }
                Origin::Vector(segments) => {
                    let Some(piece) = segments.piece(rest.len()) else {
                        return Err(Errno::EFAULT);
                    };
                    let n = raw::copy_in_some(piece.base, &mut rest[..piece.len]);
                    segments.advance(n);
                    (piece.len, n)
                }
            };
            self.left -= moved;
            self.done += moved;
            if moved < want {
                return Err(Errno::EFAULT);
            }
            filled += moved;
        }
        Ok(())
    }
}
