//! memfds: unnamed files on a tmpfs of the kernel's own, and their seals.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use abi::fs::{
    DevNum, F_ALL_SEALS, F_SEAL_EXEC, F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK,
    F_SEAL_WRITE, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, MFD_ALLOW_SEALING, MFD_NOEXEC_SEAL,
    OpenFlags,
};
use abi::{Errno, Result};
use spin::Once;

use crate::fs::anon;
use crate::fs::dentry::Dentry;
use crate::fs::file::{File, FileMode};
use crate::fs::inode::{FileKind, Inode, NewInode};
use crate::fs::mount::{Mount, Path};
use crate::fs::tmpfs;
use crate::mm::frame::FrameRef;
use crate::mm::pagecache::PageCache;
use crate::mm::space::Mappers;
use crate::mm::user::IoSource;
use crate::mm::{MemoryObject, ObjectKind, PAGE_SIZE};
use crate::task;

/// The seals of an inode: [`F_SEAL_SEAL`] alone for every file that was not made for sealing.
pub struct Seals {
    bits: AtomicU32,
    /// Shared mappings that are, or may become, writable.
    writable: AtomicI32,
    object: Once<Arc<Sealed>>,
}

impl Default for Seals {
    fn default() -> Self {
        Self {
            bits: AtomicU32::new(F_SEAL_SEAL),
            writable: AtomicI32::new(0),
            object: Once::new(),
        }
    }
}

/// The memory of a file that can be sealed: its page cache, and a count of who maps it writable.
pub struct Sealed {
    cache: Arc<PageCache>,
    inode: Weak<Inode>,
}

impl MemoryObject for Sealed {
    fn kind(&self) -> ObjectKind {
        self.cache.kind()
    }
    fn get_page(&self, index: u64, for_write: bool) -> Result<FrameRef> {
        self.cache.get_page(index, for_write)
    }
    fn resident_pages(&self, first: u64, count: usize, found: &mut dyn FnMut(u64, &FrameRef)) {
        self.cache.resident_pages(first, count, found);
    }
    fn insert_page(&self, index: u64, page: FrameRef) -> Result<()> {
        self.cache.insert_page(index, page)
    }
    fn mappers(&self) -> &Mappers {
        self.cache.mappers()
    }
    fn punch_hole(&self, start: u64, end: u64) -> Result<()> {
        if let Some(inode) = self.inode.upgrade() {
            check_fallocate(&inode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, end)?;
        }
        PageCache::punch_hole(&self.cache, start, end)
    }
    fn writable_mapping(&self, change: i32) -> Result<()> {
        let Some(inode) = self.inode.upgrade() else {
            return Ok(());
        };
        let Some(extra) = inode.extra() else {
            return Ok(());
        };
        // Of F_SEAL_FUTURE_WRITE mmap takes care: mappings from before may still be split, copied and moved.
        let forbidden = F_SEAL_WRITE;
        if change > 0 && extra.seals.bits.load(Ordering::SeqCst) & forbidden != 0 {
            return Err(Errno::EPERM);
        }
        extra.seals.writable.fetch_add(change, Ordering::SeqCst);
        Ok(())
    }
}

/// What a mapping of the file shows: the page cache, or for a file that can be sealed, the cache with a count.
pub fn object(inode: &Arc<Inode>, cache: &Arc<PageCache>) -> Arc<dyn MemoryObject> {
    match inode.extra() {
        Some(extra) if extra.seals.bits.load(Ordering::Relaxed) != F_SEAL_SEAL => {
            let make = || {
                Arc::new(Sealed {
                    cache: cache.clone(),
                    inode: Arc::downgrade(inode),
                })
            };
            extra.seals.object.call_once(make).clone()
        }
        _ => cache.clone(),
    }
}

fn mount() -> Result<&'static Arc<Mount>> {
    static MOUNT: Once<Arc<Mount>> = Once::new();
    MOUNT.try_call_once(|| {
        let sb = tmpfs::new_unlimited()?;
        anon::mount_internally(&sb)
    })
}

/// The device number that files without a place in a tree have, as users see it.
pub fn device() -> Result<u64> {
    Ok(mount()?.sb.dev.to_user())
}

/// A new memfd; `name` is what `/proc` shows after `memfd:`. Flags are checked.
pub fn create(name: &[u8], flags: u32) -> Result<Arc<File>> {
    let mount = mount()?;
    let task = task::current();
    let cred = task.my_cred();
    let no_exec = flags & MFD_NOEXEC_SEAL != 0;
    let new = NewInode {
        kind: FileKind::Regular,
        mode: if no_exec { 0o666 } else { 0o777 },
        uid: cred.fsuid,
        gid: cred.fsgid,
        rdev: DevNum(0),
    };
    let inode = tmpfs::new_inode(&mount.sb, &new)?;
    inode.set_nlink(0);
    let seals = match (no_exec, flags & MFD_ALLOW_SEALING != 0) {
        (true, _) => F_SEAL_EXEC,
        (false, true) => 0,
        (false, false) => F_SEAL_SEAL,
    };
    inode
        .extra_or_new()
        .seals
        .bits
        .store(seals, Ordering::Relaxed);
    let mut shown = Vec::from(&b"/memfd:"[..]);
    shown.extend_from_slice(name);
    shown.extend_from_slice(b" (deleted)");
    let ops = inode.ops.open(&inode, OpenFlags::RDWR)?;
    inode.get_write()?;
    mount.get_write()?;
    let path = Path {
        mount: mount.clone(),
        dentry: Dentry::new_root(inode, &shown),
    };
    let mode = FileMode::READ | FileMode::WRITE | FileMode::WRITER;
    Ok(File::new(
        path,
        ops,
        OpenFlags::RDWR | OpenFlags::LARGEFILE,
        mode,
        cred.clone(),
    ))
}

/// The seals that hold.
fn seals(inode: &Inode) -> u32 {
    inode.extra().map_or(F_SEAL_SEAL, |extra| {
        extra.seals.bits.load(Ordering::Relaxed)
    })
}

/// Whether the file can have seals at all: regular files on a tmpfs.
fn can_seal(inode: &Inode) -> bool {
    inode.is_regular() && inode.sb.ops_as::<tmpfs::TmpfsSuper>().is_some()
}

/// `F_GET_SEALS`.
pub fn get(file: &File) -> Result<usize> {
    let inode = file.inode();
    if can_seal(inode) {
        Ok(seals(inode) as usize)
    } else {
        Err(Errno::EINVAL)
    }
}

/// `F_ADD_SEALS`.
pub fn add(file: &File, new: u32) -> Result<usize> {
    let inode = file.inode();
    if !file.writable() {
        return Err(Errno::EPERM);
    }
    if new & !F_ALL_SEALS != 0 || !can_seal(inode) {
        return Err(Errno::EINVAL);
    }
    let _guard = inode.lock.lock();
    let old = seals(inode);
    if old & F_SEAL_SEAL != 0 {
        return Err(Errno::EPERM);
    }
    if new & F_SEAL_WRITE != 0 && old & F_SEAL_WRITE == 0 && has_writable_mappings(inode) {
        return Err(Errno::EBUSY);
    }
    let mut all = old | new;
    if new & F_SEAL_EXEC != 0 && inode.mode() & 0o111 != 0 {
        // A file that is executable stays so: it is sealed against every change.
        all |= F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
    }
    inode
        .extra_or_new()
        .seals
        .bits
        .store(all, Ordering::Relaxed);
    Ok(0)
}

/// Whether somebody maps the file shared and writable.
fn has_writable_mappings(inode: &Inode) -> bool {
    inode
        .extra()
        .is_some_and(|extra| extra.seals.writable.load(Ordering::SeqCst) > 0)
}

/// EPERM if a seal forbids the write, which is cut at the end of a file that may not grow.
#[inline]
pub fn check_write(inode: &Inode, pos: u64, source: &mut IoSource<'_>) -> Result<()> {
    let Some(extra) = inode.extra() else {
        return Ok(());
    };
    let seals = extra.seals.bits.load(Ordering::Relaxed);
    if seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) != 0 {
        return Err(Errno::EPERM);
    }
    let end = pos.saturating_add(source.remaining() as u64);
    let size = inode.size();
    if seals & F_SEAL_GROW != 0 && end > size {
        // Linux writes page by page, and the first that does not fit ends it.
        let fits = (size & !(PAGE_SIZE as u64 - 1)).saturating_sub(pos);
        if fits == 0 {
            return Err(Errno::EPERM);
        }
        source.limit(fits as usize);
    }
    Ok(())
}

/// Whether new shared mappings that only read must stay so.
pub fn forbids_future_writes(inode: &Inode) -> bool {
    seals(inode) & F_SEAL_FUTURE_WRITE != 0
}

/// EPERM if a seal forbids the new size.
pub fn check_truncate(inode: &Inode, size: u64) -> Result<()> {
    let seals = seals(inode);
    let shrinks = size < inode.size() && seals & F_SEAL_SHRINK != 0;
    let grows = size > inode.size() && seals & F_SEAL_GROW != 0;
    if shrinks || grows {
        Err(Errno::EPERM)
    } else {
        Ok(())
    }
}

/// EPERM if a seal forbids the allocation or hole.
pub fn check_fallocate(inode: &Inode, mode: u32, end: u64) -> Result<()> {
    let seals = seals(inode);
    let punches = mode & FALLOC_FL_PUNCH_HOLE != 0;
    if punches && seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) != 0 {
        return Err(Errno::EPERM);
    }
    let grows = !punches && mode & FALLOC_FL_KEEP_SIZE == 0 && end > inode.size();
    if grows && seals & F_SEAL_GROW != 0 {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// EPERM if the execute bits may not change.
pub fn check_chmod(inode: &Inode, mode: u32) -> Result<()> {
    let sealed = inode
        .extra()
        .is_some_and(|extra| extra.seals.bits.load(Ordering::Relaxed) & F_SEAL_EXEC != 0);
    if sealed && (mode ^ inode.mode()) & 0o111 != 0 {
        Err(Errno::EPERM)
    } else {
        Ok(())
    }
}
