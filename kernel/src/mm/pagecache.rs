//! One page cache under read, write and mmap.

use alloc::sync::Arc;

use abi::{Errno, Result};

use super::frame::FrameRef;
use super::object::{MemoryObject, ObjectKind};
use super::space::Mappers;
use super::user::{IoSink, IoSource};

/// Where a cache's pages come from; tmpfs and shared memory have none and start as zeros.
pub trait PageSource: Send + Sync {
    /// Fills a new page at `index` from storage. May sleep.
    fn read_page(&self, index: u64, page: &FrameRef) -> Result<()>;
}

/// The cached pages of one inode.
pub struct PageCache {
    mappers: Mappers,
}

impl PageCache {
    /// An empty cache whose pages start as zeros: tmpfs, memfd, shared anonymous.
    pub fn new_shmem() -> Result<Arc<PageCache>> {
        Err(Errno::ENOMEM)
    }

    /// An empty cache over storage, with the file's size.
    pub fn new_file(source: Arc<dyn PageSource>, size: u64) -> Result<Arc<PageCache>> {
        let _ = (source, size);
        Err(Errno::ENOMEM)
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        0
    }

    /// Pages resident: `st_blocks` of a tmpfs file is eight times this.
    pub fn resident(&self) -> u64 {
        0
    }

    /// Copies from `pos` into `sink` until it is full or the file ends; holes read as zeros and stay holes.
    pub fn read(&self, sink: &mut IoSink<'_>, pos: u64) -> Result<usize> {
        let _ = (sink, pos);
        Err(Errno::EIO)
    }

    /// Copies all of `source` to `pos`, growing the file. A short count when memory runs out part-way.
    pub fn write(&self, source: &mut IoSource<'_>, pos: u64) -> Result<usize> {
        let _ = (source, pos);
        Err(Errno::EIO)
    }

    /// Sets the size: pages past it go, from every mapping too, and the rest of the last page becomes zeros.
    pub fn truncate(&self, size: u64) -> Result<()> {
        let _ = size;
        Err(Errno::EIO)
    }

    /// Makes `[start, end)` a hole.
    pub fn punch_hole(&self, start: u64, end: u64) -> Result<()> {
        let _ = (start, end);
        Err(Errno::EIO)
    }

    /// Gives every page of `[start, end)` storage (`fallocate`); does not change the size.
    pub fn allocate(&self, start: u64, end: u64) -> Result<()> {
        let _ = (start, end);
        Err(Errno::EIO)
    }

    /// The first byte at or after `pos` that is data (`hole == false`) or in a hole; `None` past the end.
    pub fn seek(&self, pos: u64, hole: bool) -> Option<u64> {
        let _ = (pos, hole);
        None
    }
}

impl MemoryObject for PageCache {
    fn kind(&self) -> ObjectKind {
        ObjectKind::Shmem
    }

    fn size(&self) -> u64 {
        PageCache::size(self)
    }

    fn get_page(&self, index: u64, for_write: bool) -> Result<FrameRef> {
        let _ = (index, for_write);
        Err(Errno::ENOMEM)
    }

    fn resident_pages(&self, first: u64, count: usize, found: &mut dyn FnMut(u64, &FrameRef)) {
        let _ = (first, count, found);
    }

    fn mappers(&self) -> &Mappers {
        &self.mappers
    }
}
