//! One page cache under read, write and mmap: of tmpfs files, memfds and shared anonymous memory, whose pages live
//! nowhere else, and of files on storage, whose pages come from a [`PageSource`].
//!
//! # Invariants
//! - No page of the index lies wholly past the size. Bytes past the size in the last page are zero when the size grows.
//! - The size is set before pages are cut off, and faults look at it under the index's lock; they hold their space's
//!   map shared until the page is mapped, and unmapping takes it exclusively. So nothing past the end stays mapped.
//!
//! Writers and truncates of one file exclude each other by the inode's lock (VFS); faults and readers run beside them.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::{Errno, Result};
use frames::Kind;
use ksync::SpinLock;
use pagecache::{Index, MAX_INDEX};
use smallvec::SmallVec;

use super::addr::PAGE_SIZE;
use super::frame::{self, FrameRef};
use super::object::{MemoryObject, ObjectKind};
use super::space::Mappers;
use super::user::{IoSink, IoSource};
use super::{promise, stats};

const PAGE: u64 = PAGE_SIZE as u64;
/// Pages looked up under one hold of the lock.
const BATCH: usize = 16;

type Pages = SmallVec<[Option<FrameRef>; BATCH]>;

/// Some bytes of a file in place: its pages, held; one that is not there reads as zeros.
#[derive(Default)]
pub struct PageRun {
    pages: Pages,
    /// Where the bytes begin in the first page.
    offset: usize,
    len: usize,
}

impl PageRun {
    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The bytes, to be written elsewhere.
    pub fn source(&self) -> IoSource<'_> {
        IoSource::pages(&self.pages, self.offset, self.len)
    }
}

/// Where a cache's pages come from; tmpfs and shared memory have none and start as zeros.
pub trait PageSource: Send + Sync {
    /// Fills a new page at `index` from storage; past the end with zeros. May sleep.
    fn read_page(&self, index: u64, page: &FrameRef) -> Result<()>;
}

/// What of a cache is promised memory: see `promise`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Charge {
    /// Pages come from storage and go back there.
    Nothing,
    /// So many, once and for all.
    Whole(u64),
    /// As many as there are.
    EachPage,
}

/// Who limits the pages of several caches together: a tmpfs.
pub trait PageAccount: Send + Sync {
    /// Takes a page; ENOSPC where there is none left.
    fn charge(&self) -> Result<()>;
    /// Gives pages back.
    fn uncharge(&self, pages: u64);
}

/// A page that was promised and taken from an account, and goes back unless it is kept.
#[derive(Default)]
struct Taken<'a> {
    promised: bool,
    account: Option<&'a dyn PageAccount>,
}

impl Taken<'_> {
    fn keep(mut self) {
        self.promised = false;
        self.account = None;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.promised {
            promise::give(1);
        }
        if let Some(account) = self.account {
            account.uncharge(1);
        }
    }
}

/// The cached pages of one inode.
pub struct PageCache {
    kind: ObjectKind,
    index: SpinLock<Index<FrameRef>>,
    /// Bytes. Changed under the lock of `index`, read anywhere.
    size: AtomicU64,
    source: Option<Arc<dyn PageSource>>,
    charge: Charge,
    /// Every page of the index is charged to it.
    account: Option<Arc<dyn PageAccount>>,
    mappers: Mappers,
}

impl PageCache {
    fn with(kind: ObjectKind, size: u64, charge: Charge) -> PageCache {
        PageCache {
            kind,
            index: SpinLock::new(Index::new()),
            size: AtomicU64::new(size),
            source: None,
            charge,
            account: None,
            mappers: Mappers::new(),
        }
    }

    /// An empty cache whose pages start as zeros: tmpfs, memfd.
    pub fn new_shmem() -> Result<Arc<PageCache>> {
        Ok(Arc::new(Self::with(ObjectKind::Shmem, 0, Charge::EachPage)))
    }

    /// The same, with an account for its pages.
    pub fn new_shmem_in(account: Arc<dyn PageAccount>) -> Result<Arc<PageCache>> {
        let mut cache = Self::with(ObjectKind::Shmem, 0, Charge::EachPage);
        cache.account = Some(account);
        Ok(Arc::new(cache))
    }

    /// Shared anonymous memory of `len` bytes. ENOMEM when that is more than may be promised.
    pub fn new_anonymous(len: u64) -> Result<Arc<PageCache>> {
        let pages = len.div_ceil(PAGE);
        promise::take(pages, 0)?;
        let charge = Charge::Whole(pages);
        Ok(Arc::new(Self::with(ObjectKind::Shmem, len, charge)))
    }

    /// The same, of which only what is touched counts as promised.
    pub fn new_anonymous_noreserve(len: u64) -> Result<Arc<PageCache>> {
        let charge = Charge::EachPage;
        Ok(Arc::new(Self::with(ObjectKind::Shmem, len, charge)))
    }

    /// An empty cache over storage, with the file's size.
    #[expect(dead_code, reason = "no file system here lies on storage yet")]
    pub fn new_file(source: Arc<dyn PageSource>, size: u64) -> Result<Arc<PageCache>> {
        let mut cache = Self::with(ObjectKind::File, size, Charge::Nothing);
        cache.source = Some(source);
        Ok(Arc::new(cache))
    }

    /// Bytes.
    #[inline]
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Pages resident: `st_blocks` of a tmpfs file is eight times this.
    pub fn resident(&self) -> u64 {
        self.index.lock().len()
    }

    fn frame_kind(&self) -> Kind {
        match self.kind {
            ObjectKind::Shmem => Kind::Shmem,
            _ => Kind::Cache,
        }
    }

    fn lookup(&self, index: u64) -> Option<FrameRef> {
        self.index.lock().get(index).cloned()
    }

    /// Takes what one more page needs.
    fn charge(&self) -> Result<Taken<'_>> {
        let mut taken = Taken::default();
        if self.charge == Charge::EachPage {
            promise::take(1, 0).map_err(|_| Errno::ENOSPC)?;
            taken.promised = true;
        }
        if let Some(account) = self.account.as_deref() {
            account.charge()?;
            taken.account = Some(account);
        }
        Ok(taken)
    }

    /// Puts a new page in, unless there is one by now; answers the one that is in.
    fn insert(&self, index: u64, page: FrameRef) -> Result<FrameRef> {
        self.insert_charged(index, page, self.charge()?)
    }

    fn insert_charged(&self, index: u64, page: FrameRef, charge: Taken<'_>) -> Result<FrameRef> {
        let mut pages = self.index.lock();
        if let Some(there) = pages.get(index) {
            return Ok(there.clone());
        }
        match pages.insert(index, page.clone()) {
            Ok(_) => {
                charge.keep();
                Ok(page)
            }
            Err(_) => Err(Errno::ENOMEM),
        }
    }

    /// The page at `index`, made or read if it is not there.
    fn page(&self, index: u64) -> Result<FrameRef> {
        match self.lookup(index) {
            Some(page) => Ok(page),
            None => self.new_page(index),
        }
    }

    fn new_page(&self, index: u64) -> Result<FrameRef> {
        let page = match &self.source {
            None => frame::alloc_kind_zeroed(self.frame_kind())?,
            Some(source) => {
                let page = frame::alloc_kind(self.frame_kind())?;
                source.read_page(index, &page)?;
                page
            }
        };
        self.insert(index, page)
    }

    /// Copies from `pos` into `sink` until it is full or the file ends; holes read as zeros and stay holes.
    pub fn read(&self, sink: &mut IoSink<'_>, pos: u64) -> Result<usize> {
        let before = sink.done();
        let mut at = pos;
        let result = loop {
            let left = self.size().saturating_sub(at);
            let want = (sink.remaining() as u64).min(left);
            if want == 0 {
                break Ok(());
            }
            match self.read_batch(sink, at, want) {
                Ok(read) => at += read,
                Err(e) => break Err(e),
            }
        };
        match result {
            Err(e) if sink.done() == before => Err(e),
            _ => Ok(sink.done() - before),
        }
    }

    /// Copies up to [`BATCH`] pages.
    fn read_batch(&self, sink: &mut IoSink<'_>, pos: u64, want: u64) -> Result<u64> {
        let first = pos / PAGE;
        let last = (pos + want - 1) / PAGE;
        let count = ((last - first + 1) as usize).min(BATCH);
        let mut pages: Pages = SmallVec::new();
        {
            let index = self.index.lock();
            pages.extend((first..first + count as u64).map(|i| index.get(i).cloned()));
        }
        let mut done = 0;
        for (i, page) in pages.into_iter().enumerate() {
            let offset = ((pos + done) % PAGE) as usize;
            let len = (PAGE - offset as u64).min(want - done) as usize;
            match (page, &self.source) {
                (Some(page), _) => page.put_to(sink, offset, len)?,
                (None, Some(_)) => self.page(first + i as u64)?.put_to(sink, offset, len)?,
                (None, None) => sink.put_zeros(len)?,
            }
            done += len as u64;
        }
        Ok(done)
    }

    /// Up to `max` bytes of the file from `pos` as they lie in its pages; none at its end.
    pub fn run(&self, pos: u64, max: usize) -> Result<PageRun> {
        let want = (max as u64).min(self.size().saturating_sub(pos));
        if want == 0 {
            return Ok(PageRun::default());
        }
        let offset = (pos % PAGE) as usize;
        let count = (offset as u64 + want).div_ceil(PAGE).min(BATCH as u64);
        let first = pos / PAGE;
        let mut pages = Pages::new();
        {
            let index = self.index.lock();
            pages.extend((first..first + count).map(|i| index.get(i).cloned()));
        }
        if self.source.is_some() {
            for (i, page) in pages.iter_mut().enumerate() {
                if page.is_none() {
                    *page = Some(self.page(first + i as u64)?);
                }
            }
        }
        let len = (want as usize).min(pages.len() * PAGE_SIZE - offset);
        Ok(PageRun { pages, offset, len })
    }

    /// Copies all of `source` to `pos`, growing the file. A short count when memory runs out part-way.
    /// EFBIG past the largest offset.
    pub fn write(&self, source: &mut IoSource<'_>, pos: u64) -> Result<usize> {
        let before = source.done();
        let total = source.remaining() as u64;
        let end = pos.checked_add(total).ok_or(Errno::EFBIG)?;
        if end > i64::MAX as u64 {
            return Err(Errno::EFBIG);
        }
        let mut at = pos;
        let mut result = Ok(());
        while at < end && result.is_ok() {
            let offset = (at % PAGE) as usize;
            let len = (PAGE - offset as u64).min(end - at) as usize;
            let was = source.done();
            result = self.write_page(source, at / PAGE, offset, len);
            at += (source.done() - was) as u64;
            self.grow_to(at);
        }
        match result {
            Err(e) if source.done() == before => Err(e),
            _ => Ok(source.done() - before),
        }
    }

    fn write_page(
        &self,
        source: &mut IoSource<'_>,
        index: u64,
        offset: usize,
        len: usize,
    ) -> Result<()> {
        if let Some(page) = self.lookup(index) {
            return page.take_from(source, offset, len);
        }
        if self.source.is_some() && len < PAGE_SIZE {
            return self.page(index)?.take_from(source, offset, len);
        }
        // A new page is filled before anybody can see it, so that only what is not written need be zeroed.
        // Charged before bytes are taken: they must not be lost.
        let charge = self.charge()?;
        let page = frame::alloc_kind(self.frame_kind())?;
        page.zero(0, offset);
        let was = source.done();
        let result = page.take_from(source, offset, len);
        let moved = source.done() - was;
        page.zero(offset + moved, PAGE_SIZE);
        if moved == 0 {
            return result;
        }
        let there = self.insert_charged(index, page.clone(), charge)?;
        if there != page {
            // Somebody else's fault was faster: what was written goes into that page.
            there.copy_from(&page, offset, moved);
        }
        result
    }

    /// Makes the file at least `size` long.
    fn grow_to(&self, size: u64) {
        if size > self.size() {
            let _index = self.index.lock();
            if size > self.size() {
                self.size.store(size, Ordering::Release);
            }
        }
    }

    /// Sets the size: pages past it go, from every mapping too, and the rest of the last page becomes zeros.
    pub fn truncate(&self, size: u64) -> Result<()> {
        if size > i64::MAX as u64 {
            return Err(Errno::EFBIG);
        }
        let old = self.size();
        self.zero_tail(size.min(old));
        {
            let _index = self.index.lock();
            self.size.store(size, Ordering::Release);
        }
        if size < old {
            let first = size.div_ceil(PAGE);
            self.mappers.unmap(self, first, MAX_INDEX, true);
            self.drop_pages(first, u64::MAX);
            self.zero_tail(size);
        }
        Ok(())
    }

    /// Zeroes the rest of the page in which `size` lies.
    fn zero_tail(&self, size: u64) {
        let offset = (size % PAGE) as usize;
        if offset != 0
            && let Some(page) = self.lookup(size / PAGE)
        {
            page.zero(offset, PAGE_SIZE);
        }
    }

    /// Gives back what pages needed.
    fn uncharge(&self, pages: u64) {
        if pages == 0 {
            return;
        }
        if self.charge == Charge::EachPage {
            promise::give(pages);
        }
        if let Some(account) = &self.account {
            account.uncharge(pages);
        }
    }

    /// Takes the pages in `[first, last]` out of the index.
    fn drop_pages(&self, first: u64, last: u64) {
        let mut from = first;
        loop {
            // Frames are let go of outside of the lock, some at a time.
            let mut gone: SmallVec<[FrameRef; 64]> = SmallVec::new();
            let mut next = None;
            {
                let mut index = self.index.lock();
                let Some(start) = index.next_present(from).filter(|&i| i <= last) else {
                    break;
                };
                let end = last.min(start | 63);
                index.remove_range(start, end, |_, page| gone.push(page));
                if end < last {
                    next = Some(end + 1);
                }
            }
            self.uncharge(gone.len() as u64);
            drop(gone);
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
    }

    /// Makes `[start, end)` a hole.
    pub fn punch_hole(&self, start: u64, end: u64) -> Result<()> {
        if start >= end {
            return Ok(());
        }
        let (first, last) = (start.div_ceil(PAGE), end / PAGE);
        let zero = |index: u64, from: u64, to: u64| {
            if let Some(page) = self.lookup(index) {
                page.zero(from as usize, (to - from) as usize);
            }
        };
        if first > last {
            zero(last, start % PAGE, end % PAGE);
            return Ok(());
        }
        if !start.is_multiple_of(PAGE) {
            zero(start / PAGE, start % PAGE, PAGE);
        }
        if !end.is_multiple_of(PAGE) {
            zero(last, 0, end % PAGE);
        }
        if first < last {
            self.drop_pages(first, last - 1);
            self.mappers.unmap(self, first, last, false);
        }
        Ok(())
    }

    /// Gives every page of `[start, end)` storage (`fallocate`); does not change the size. What was added stays when
    /// memory runs out.
    pub fn allocate(&self, start: u64, end: u64) -> Result<()> {
        for index in start / PAGE..end.div_ceil(PAGE) {
            self.page(index)?;
        }
        Ok(())
    }

    /// The first byte at or after `pos` that is data (`hole == false`) or in a hole; `None` past the end.
    pub fn seek(&self, pos: u64, hole: bool) -> Option<u64> {
        let size = self.size();
        if pos >= size {
            return None;
        }
        if self.source.is_some() {
            return Some(if hole { size } else { pos });
        }
        let index = self.index.lock();
        let found = match hole {
            true => index.next_absent(pos / PAGE),
            false => index.next_present(pos / PAGE)?,
        };
        let at = (found * PAGE).max(pos);
        match hole {
            true => Some(at.min(size)),
            false => (at < size).then_some(at),
        }
    }
}

impl Drop for PageCache {
    fn drop(&mut self) {
        let pages = self.index.get_mut().len();
        self.uncharge(pages);
        if let Charge::Whole(promised) = self.charge {
            promise::give(promised);
        }
    }
}

impl MemoryObject for PageCache {
    fn kind(&self) -> ObjectKind {
        self.kind
    }

    fn get_page(&self, index: u64, for_write: bool) -> Result<FrameRef> {
        let _ = for_write;
        loop {
            if index >= self.size().div_ceil(PAGE) {
                return Err(Errno::EFAULT);
            }
            let page = match self.lookup(index) {
                Some(page) => page,
                None => {
                    if self.source.is_some() {
                        stats::count_major();
                    }
                    self.new_page(index)?
                }
            };
            // A truncate may have come between: what it cut off must not come back.
            if index < self.size().div_ceil(PAGE) {
                return Ok(page);
            }
            self.drop_pages(index, index);
        }
    }

    fn resident_pages(&self, first: u64, count: usize, found: &mut dyn FnMut(u64, &FrameRef)) {
        let end = (first + count as u64).min(self.size().div_ceil(PAGE));
        if first >= end {
            return;
        }
        self.index.lock().for_range(first, end - 1, |index, page| {
            found(index, page);
            true
        });
    }

    fn insert_page(&self, index: u64, page: FrameRef) -> Result<()> {
        if index >= self.size().div_ceil(PAGE) {
            return Err(Errno::EFAULT);
        }
        match self.insert(index, page.clone())? == page {
            true => Ok(()),
            false => Err(Errno::EEXIST),
        }
    }

    fn mappers(&self) -> &Mappers {
        &self.mappers
    }

    fn punch_hole(&self, start: u64, end: u64) -> Result<()> {
        PageCache::punch_hole(self, start, end)
    }
}
