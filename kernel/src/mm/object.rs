//! What a file mapping maps.

use alloc::vec::Vec;
use core::any::Any;

use abi::{Errno, Result};

use super::addr::PhysAddr;
use super::frame::FrameRef;
use super::kmap::CachePolicy;
use super::space::Mappers;

/// Which resident-set counter its pages count in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectKind {
    /// Pages of a file on a file system.
    File,
    /// tmpfs, memfd, shared anonymous memory.
    Shmem,
    /// Memory of a device: physical addresses without frames behind them, in no counter.
    Device,
}

/// The pages of an inode, or of shared anonymous memory: what `mmap` maps and page faults ask.
pub trait MemoryObject: Send + Sync + Any {
    /// Which counter.
    fn kind(&self) -> ObjectKind;

    /// The page at `index`, brought in if need be; may sleep. `for_write`: it will be written through a shared
    /// mapping, so holes get storage and the page becomes dirty. EFAULT past the end (SIGBUS), ENOMEM, ENOSPC, EIO.
    fn get_page(&self, index: u64, for_write: bool) -> Result<FrameRef>;

    /// Calls `found` for each page of `[first, first + count)` that is resident and inside the file, without
    /// sleeping: fault-around and mincore.
    fn resident_pages(&self, first: u64, count: usize, found: &mut dyn FnMut(u64, &FrameRef));

    /// The physical page at `index` for [`ObjectKind::Device`].
    fn device_page(&self, index: u64) -> Result<PhysAddr> {
        let _ = index;
        Err(Errno::EFAULT)
    }

    /// Puts a page in where there is none (`userfaultfd`). EEXIST where there is one, EFAULT past the end.
    fn insert_page(&self, index: u64, page: FrameRef) -> Result<()> {
        let _ = (index, page);
        Err(Errno::EINVAL)
    }

    /// How the CPU caches [`ObjectKind::Device`] pages that are not RAM.
    fn device_policy(&self) -> CachePolicy {
        CachePolicy::Uncached
    }

    /// Who maps the object, for unmapping on truncate.
    fn mappers(&self) -> &Mappers;

    /// `msync(MS_SYNC)` of a byte range.
    fn sync(&self, start: u64, end: u64) -> Result<()> {
        let _ = (start, end);
        Ok(())
    }

    /// `madvise(MADV_REMOVE)`. EOPNOTSUPP where holes are not.
    fn punch_hole(&self, start: u64, end: u64) -> Result<()> {
        let _ = (start, end);
        Err(Errno::EOPNOTSUPP)
    }

    /// Pages of shared mappings that are or may become writable come (positive) or go (negative); memfd seals count
    /// these. EPERM when sealed against writing.
    fn writable_mapping(&self, change: i32) -> Result<()> {
        let _ = change;
        Ok(())
    }
}

/// The open file behind a mapping, for `/proc/<pid>/maps` and for keeping the file open. Files implement it.
pub trait MappedFile: Send + Sync + Any {
    /// Device and inode numbers.
    fn dev_ino(&self) -> (u64, u64);
    /// The path as `maps` shows it.
    fn maps_path(&self) -> Vec<u8>;
    /// An area shows it: a new one, a child's copy, or a part of one that was split.
    fn area_added(&self) {}
    /// An area is gone. Called with the map of the area's space locked.
    fn area_removed(&self) {}
    /// Whether the running task may know which of its pages others have brought in: who owns it or may write it.
    fn tells_residency(&self) -> bool {
        true
    }
}
