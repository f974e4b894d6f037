//! tmpfs: names in the dentry tree, data in the page cache, nothing beneath. Also the root file system.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use abi::fs::{
    DevNum, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, MountFlags, OpenFlags, SEEK_DATA, SEEK_HOLE,
    Statfs, TMPFS_MAGIC,
};
use abi::{Errno, Result};

use crate::fs::dentry::Dentry;
use crate::fs::file::{DirSink, File, FileOps, FileOpsRef};
use crate::fs::inode::{ChildPolicy, FileKind, Inode, InodeFlags, InodeOps, NewInode, Rename};
use crate::fs::superblock::{FileSystem, NewSuperBlock, SuperBlock, SuperOps};
use crate::fs::xattr::XattrStore;
use crate::fs::{attr, fileattr};
use crate::mm::MemoryObject;
use crate::mm::pagecache::{PageAccount, PageCache};
use crate::mm::user::{IoSink, IoSource};

const PAGE: u64 = 4096;
/// The largest file: what page indices of 32 bits and signed offsets allow on Linux.
const MAX_BYTES: u64 = i64::MAX as u64;
/// What one directory entry counts in a directory's size, as on Linux (`BOGO_DIRENT_SIZE`).
const DIRENT_SIZE: u64 = 20;

/// The limits of one tmpfs and what is used of them.
pub struct TmpfsSuper {
    pages: Arc<Pages>,
    /// 0: no limit.
    max_inodes: AtomicU64,
    inodes: AtomicI64,
    mode: u32,
    uid: u32,
    gid: u32,
}

/// The pages of one tmpfs.
struct Pages {
    /// 0: no limit.
    max: AtomicU64,
    used: AtomicU64,
}

impl Pages {
    fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }
    fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
    /// Pages that may still be taken.
    fn free(&self) -> u64 {
        match self.max() {
            0 => u64::MAX,
            max => max.saturating_sub(self.used()),
        }
    }
}

impl PageAccount for Pages {
    fn charge(&self) -> Result<()> {
        let used = self.used.fetch_add(1, Ordering::Relaxed);
        if self.max() != 0 && used >= self.max() {
            self.used.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::ENOSPC);
        }
        Ok(())
    }
    fn uncharge(&self, pages: u64) {
        self.used.fetch_sub(pages, Ordering::Relaxed);
    }
}

impl TmpfsSuper {
    fn charge_inode(&self) -> Result<()> {
        let used = self.inodes.fetch_add(1, Ordering::Relaxed);
        let max = self.max_inodes.load(Ordering::Relaxed);
        if max != 0 && used.max(0) as u64 >= max {
            self.inodes.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::ENOSPC);
        }
        Ok(())
    }
}

impl SuperOps for TmpfsSuper {
    fn statfs(&self, _sb: &SuperBlock, out: &mut Statfs) -> Result<()> {
        let max_pages = self.pages.max();
        if max_pages != 0 {
            out.f_blocks = max_pages;
            out.f_bfree = self.pages.free();
            out.f_bavail = out.f_bfree;
        }
        let max_inodes = self.max_inodes.load(Ordering::Relaxed);
        if max_inodes != 0 {
            let used = self.inodes.load(Ordering::Relaxed).max(0) as u64;
            out.f_files = max_inodes;
            out.f_ffree = max_inodes.saturating_sub(used);
        }
        Ok(())
    }

    fn remount(&self, _sb: &SuperBlock, data: &[u8]) -> Result<()> {
        let options = Options::parse(data)?;
        if let Some(pages) = options.max_pages {
            if pages != 0 && self.pages.used() > pages {
                return Err(Errno::EINVAL);
            }
            self.pages.max.store(pages, Ordering::Relaxed);
        }
        if let Some(inodes) = options.max_inodes {
            if inodes != 0 && (self.inodes.load(Ordering::Relaxed).max(0) as u64) > inodes {
                return Err(Errno::EINVAL);
            }
            self.max_inodes.store(inodes, Ordering::Relaxed);
        }
        Ok(())
    }

    fn show_options(&self, _sb: &SuperBlock, out: &mut dyn fmt::Write) -> fmt::Result {
        let (pages, inodes) = (self.pages.max(), self.max_inodes.load(Ordering::Relaxed));
        if pages != default_pages() {
            write!(out, ",size={}k", pages * (PAGE / 1024))?;
        }
        if inodes != default_pages() {
            write!(out, ",nr_inodes={inodes}")?;
        }
        if self.mode != 0o1777 {
            write!(out, ",mode={:03o}", self.mode)?;
        }
        if self.uid != 0 {
            write!(out, ",uid={}", self.uid)?;
        }
        if self.gid != 0 {
            write!(out, ",gid={}", self.gid)?;
        }
        // Numbers of inodes have 64 bits whatever is asked for.
        out.write_str(",inode64")
    }
}

/// The tmpfs that an inode is on.
fn super_of(inode: &Inode) -> Option<&TmpfsSuper> {
    inode.sb.ops_as()
}

/// Half of the memory, as Linux's default.
fn default_pages() -> u64 {
    crate::mm::stats().total / 2
}

#[derive(Default)]
struct Options {
    max_pages: Option<u64>,
    max_inodes: Option<u64>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl Options {
    /// Reads `size=64m,nr_inodes=1k,mode=1777,...`; EINVAL for what tmpfs does not know.
    fn parse(data: &[u8]) -> Result<Self> {
        let text = core::str::from_utf8(data).map_err(|_| Errno::EINVAL)?;
        let mut options = Self::default();
        for option in text.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            match key {
                "size" => {
                    let bytes = match value.strip_suffix('%') {
                        Some(percent) => {
                            let percent: u64 = percent.parse().map_err(|_| Errno::EINVAL)?;
                            default_pages().saturating_mul(2 * PAGE) / 100 * percent
                        }
                        None => parse_size(value)?,
                    };
                    options.max_pages = Some(bytes.div_ceil(PAGE));
                }
                "nr_blocks" => options.max_pages = Some(parse_size(value)?),
                "nr_inodes" => options.max_inodes = Some(parse_size(value)?),
                "mode" => {
                    let mode = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)?;
                    options.mode = Some(mode & 0o7777);
                }
                "uid" => options.uid = Some(value.parse().map_err(|_| Errno::EINVAL)?),
                "gid" => options.gid = Some(value.parse().map_err(|_| Errno::EINVAL)?),
                "huge" | "inode32" | "inode64" | "noswap" => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(options)
    }
}

/// A number with an optional suffix k, m, g or t.
fn parse_size(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..).unwrap_or_default() {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => return Err(Errno::EINVAL),
    };
    let value: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    value.checked_mul(1 << shift).ok_or(Errno::EINVAL)
}

/// The type for `mount -t`.
pub struct Tmpfs;
/// The same under the name that the first root file system goes by.
pub struct Ramfs;

impl FileSystem for Tmpfs {
    fn name(&self) -> &'static str {
        "tmpfs"
    }
    fn mount(&self, _source: &[u8], flags: MountFlags, data: &[u8]) -> Result<Arc<SuperBlock>> {
        new_super("tmpfs", flags, Options::parse(data)?, false)
    }
}

impl FileSystem for Ramfs {
    fn name(&self) -> &'static str {
        "ramfs"
    }
    fn mount(&self, _source: &[u8], flags: MountFlags, data: &[u8]) -> Result<Arc<SuperBlock>> {
        let mut options = Options {
            mode: Some(0o755),
            ..Options::default()
        };
        options.mode = Options::parse(data)
            .ok()
            .and_then(|given| given.mode)
            .or(options.mode);
        options.max_pages = Some(0);
        options.max_inodes = Some(0);
        new_super("ramfs", flags, options, false)
    }
}

fn new_super(
    fs_name: &'static str,
    flags: MountFlags,
    options: Options,
    permanent: bool,
) -> Result<Arc<SuperBlock>> {
    let ops = TmpfsSuper {
        pages: Arc::new(Pages {
            max: AtomicU64::new(options.max_pages.unwrap_or_else(default_pages)),
            used: AtomicU64::new(0),
        }),
        max_inodes: AtomicU64::new(options.max_inodes.unwrap_or_else(default_pages)),
        inodes: AtomicI64::new(1),
        mode: options.mode.unwrap_or(0o1777),
        uid: options.uid.unwrap_or(0),
        gid: options.gid.unwrap_or(0),
    };
    let new = NewInode {
        kind: FileKind::Dir,
        mode: ops.mode,
        uid: ops.uid,
        gid: ops.gid,
        rdev: DevNum(0),
    };
    let magic = if fs_name == "ramfs" {
        abi::fs::RAMFS_MAGIC
    } else {
        TMPFS_MAGIC
    };
    let sb = SuperBlock::new(
        NewSuperBlock {
            fs_name,
            magic,
            block_size: PAGE as u32,
            max_bytes: MAX_BYTES,
            flags,
            dev: None,
            permanent,
        },
        ops,
    );
    let dir: &'static dyn InodeOps = &TmpfsDir;
    let root = Inode::new(&sb, sb.next_ino(), &new, dir, InodeFlags::empty());
    root.set_size(2 * DIRENT_SIZE);
    sb.set_root(Dentry::new_root(root, b"/"));
    Ok(sb)
}

/// The first root file system: an ordinary tmpfs, but never taken apart. Its root's mode is the archive's to say.
pub fn new_rootfs() -> Result<Arc<SuperBlock>> {
    new_super("rootfs", MountFlags::empty(), Options::default(), true)
}

/// The tmpfs behind devtmpfs.
pub fn new_devtmpfs() -> Result<Arc<SuperBlock>> {
    let options = Options {
        mode: Some(0o755),
        ..Options::default()
    };
    new_super("devtmpfs", MountFlags::empty(), options, true)
}

/// The tmpfs of files that have no place in a tree (memfds): nothing but memory limits it.
pub fn new_unlimited() -> Result<Arc<SuperBlock>> {
    let options = Options {
        max_pages: Some(0),
        max_inodes: Some(0),
        ..Options::default()
    };
    new_super("tmpfs", MountFlags::empty(), options, true)
}

struct TmpfsDir;
struct TmpfsFile;
struct TmpfsSpecial;
struct TmpfsSymlink {
    target: Arc<[u8]>,
}

/// An inode of any kind on a tmpfs.
pub fn new_inode(sb: &Arc<SuperBlock>, new: &NewInode) -> Result<Arc<Inode>> {
    if let Some(tmpfs) = sb.ops_as::<TmpfsSuper>() {
        tmpfs.charge_inode()?;
    }
    let ops: &'static dyn InodeOps = match new.kind {
        FileKind::Dir => &TmpfsDir,
        FileKind::Regular => &TmpfsFile,
        _ => &TmpfsSpecial,
    };
    let inode = Inode::new(sb, sb.next_ino(), new, ops, InodeFlags::empty());
    if new.kind == FileKind::Dir {
        inode.set_size(2 * DIRENT_SIZE);
    }
    Ok(inode)
}

/// A directory got (`+1`) or lost (`-1`) an entry.
fn count_entry(dir: &Inode, change: i64) {
    let size = dir.size();
    dir.set_size(size.saturating_add_signed(change * DIRENT_SIZE as i64));
    dir.touch_modified();
}

impl InodeOps for TmpfsDir {
    #[inline]
    fn child_policy(&self) -> ChildPolicy {
        ChildPolicy::Pinned
    }
    fn create(&self, dir: &Arc<Inode>, _name: &[u8], new: &NewInode) -> Result<Arc<Inode>> {
        let inode = new_inode(&dir.sb, new)?;
        fileattr::inherit(dir, &inode);
        if new.kind == FileKind::Dir {
            dir.inc_nlink();
        }
        count_entry(dir, 1);
        Ok(inode)
    }
    fn tmpfile(&self, dir: &Arc<Inode>, new: &NewInode) -> Result<Arc<Inode>> {
        let inode = new_inode(&dir.sb, new)?;
        fileattr::inherit(dir, &inode);
        inode.set_nlink(0);
        Ok(inode)
    }
    fn symlink(
        &self,
        dir: &Arc<Inode>,
        _name: &[u8],
        target: &[u8],
        new: &NewInode,
    ) -> Result<Arc<Inode>> {
        if let Some(tmpfs) = super_of(dir) {
            tmpfs.charge_inode()?;
        }
        let ops = Arc::new(TmpfsSymlink {
            target: target.into(),
        });
        let inode = Inode::new(&dir.sb, dir.sb.next_ino(), new, ops, InodeFlags::empty());
        inode.set_size(target.len() as u64);
        count_entry(dir, 1);
        Ok(inode)
    }
    fn link(&self, dir: &Arc<Inode>, _name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        inode.inc_nlink();
        inode.touch_changed();
        count_entry(dir, 1);
        Ok(())
    }
    fn unlink(&self, dir: &Arc<Inode>, _name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        inode.drop_nlink();
        inode.touch_changed();
        count_entry(dir, -1);
        Ok(())
    }
    fn rmdir(&self, dir: &Arc<Inode>, _name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        inode.set_nlink(0);
        inode.touch_changed();
        dir.drop_nlink();
        count_entry(dir, -1);
        Ok(())
    }
    fn rename(&self, rename: &Rename<'_>) -> Result<()> {
        let Rename {
            old_dir,
            inode,
            new_dir,
            target,
            exchange,
            ..
        } = rename;
        let moved_dirs = i32::from(inode.is_dir());
        let mut gained = moved_dirs;
        if let Some(target) = target {
            gained -= i32::from(target.is_dir());
            if !exchange {
                if target.is_dir() {
                    target.set_nlink(0);
                } else {
                    target.drop_nlink();
                }
            }
            target.touch_changed();
        }
        // Directories count in their parents' links: what the new one gains the old one loses; a replaced
        // directory is lost to both.
        new_dir.set_nlink(new_dir.nlink().saturating_add_signed(gained));
        let lost = if *exchange { gained } else { moved_dirs };
        old_dir.set_nlink(old_dir.nlink().saturating_add_signed(-lost));
        if !exchange {
            count_entry(old_dir, -1);
            if target.is_none() {
                count_entry(new_dir, 1);
            }
        }
        old_dir.touch_modified();
        new_dir.touch_modified();
        inode.touch_changed();
        Ok(())
    }
    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        let ops: &'static dyn FileOps = &TreeDir;
        Ok(ops.into())
    }
    fn xattrs<'a>(&self, inode: &'a Inode) -> Option<&'a XattrStore> {
        Some(&inode.extra_or_new().xattrs)
    }
    fn has_file_flags(&self, inode: &Inode) -> bool {
        inode.sb.magic == TMPFS_MAGIC
    }
    fn evict(&self, inode: &Inode) {
        uncharge(inode);
    }
}

/// Gives back what an inode counted; its pages are counted as long as they are there.
fn uncharge(inode: &Inode) {
    if let Some(tmpfs) = super_of(inode) {
        tmpfs.inodes.fetch_sub(1, Ordering::Relaxed);
    }
}

impl InodeOps for TmpfsSpecial {
    fn xattrs<'a>(&self, inode: &'a Inode) -> Option<&'a XattrStore> {
        Some(&inode.extra_or_new().xattrs)
    }
    fn evict(&self, inode: &Inode) {
        uncharge(inode);
    }
}

impl InodeOps for TmpfsSymlink {
    fn read_link(&self, _inode: &Arc<Inode>) -> Result<Arc<[u8]>> {
        Ok(self.target.clone())
    }
    fn blocks(&self, _inode: &Inode) -> u64 {
        // As on Linux a short target is kept in the inode, a longer one in a page.
        if self.target.len() < 128 {
            0
        } else {
            PAGE / 512
        }
    }
    fn xattrs<'a>(&self, inode: &'a Inode) -> Option<&'a XattrStore> {
        Some(&inode.extra_or_new().xattrs)
    }
    fn evict(&self, inode: &Inode) {
        uncharge(inode);
    }
}

/// The page cache of a regular file, made on first use.
pub fn cache(inode: &Arc<Inode>) -> Result<&Arc<PageCache>> {
    if let Some(cache) = inode.page_cache() {
        return Ok(cache);
    }
    let fresh = match super_of(inode) {
        Some(tmpfs) => PageCache::new_shmem_in(tmpfs.pages.clone())?,
        None => PageCache::new_shmem()?,
    };
    Ok(inode.page_cache_or(|| fresh))
}

/// Gives a new file its content; for the archives that the root file system is unpacked from.
pub fn fill(inode: &Arc<Inode>, content: &[u8]) -> Result<()> {
    let cache = cache(inode)?;
    let mut done = 0;
    while let Some(rest) = content.get(done..).filter(|rest| !rest.is_empty()) {
        done += cache.write(&mut IoSource::kernel(rest), done as u64)?;
    }
    inode.set_size(content.len() as u64);
    Ok(())
}

impl InodeOps for TmpfsFile {
    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        let ops: &'static dyn FileOps = &TmpfsFileOps;
        Ok(ops.into())
    }
    fn blocks(&self, inode: &Inode) -> u64 {
        inode
            .page_cache()
            .map_or(0, |cache| cache.resident() * (PAGE / 512))
    }
    fn truncate(&self, inode: &Arc<Inode>, size: u64) -> Result<()> {
        if size != inode.size() || inode.page_cache().is_some() {
            let cache = cache(inode)?;
            cache.truncate(size)?;
            inode.set_size(size);
        }
        inode.touch_modified();
        Ok(())
    }
    fn xattrs<'a>(&self, inode: &'a Inode) -> Option<&'a XattrStore> {
        Some(&inode.extra_or_new().xattrs)
    }
    fn has_file_flags(&self, inode: &Inode) -> bool {
        inode.sb.magic == TMPFS_MAGIC
    }
    fn evict(&self, inode: &Inode) {
        uncharge(inode);
    }
}

/// Regular files of tmpfs.
pub struct TmpfsFileOps;

impl TmpfsFileOps {
    /// Cuts `source` to what the size limit of the file system leaves room for; ENOSPC for none.
    fn check_space(inode: &Inode, source: &mut IoSource<'_>, pos: u64) -> Result<()> {
        let Some(tmpfs) = super_of(inode) else {
            return Ok(());
        };
        let free = tmpfs.pages.free();
        let len = source.remaining() as u64;
        let wanted = (pos % PAGE + len).div_ceil(PAGE);
        if wanted <= free {
            return Ok(());
        }
        // Some of the pages may be there already: what is certain is the rest of a page that is, and `free` more.
        let in_page = if pos < inode.size() || !pos.is_multiple_of(PAGE) {
            PAGE - pos % PAGE
        } else {
            0
        };
        let room = in_page.saturating_add(free.saturating_mul(PAGE));
        if room == 0 {
            return Err(Errno::ENOSPC);
        }
        source.limit(usize::try_from(room).unwrap_or(usize::MAX));
        Ok(())
    }
}

impl FileOps for TmpfsFileOps {
    #[inline]
    fn read(&self, file: &File, sink: &mut IoSink<'_>, pos: &mut u64) -> Result<usize> {
        let inode = file.inode();
        let n = match inode.page_cache() {
            Some(cache) => cache.read(sink, *pos)?,
            None => 0,
        };
        *pos += n as u64;
        file.accessed();
        Ok(n)
    }

    fn write(&self, file: &File, source: &mut IoSource<'_>, pos: &mut u64) -> Result<usize> {
        let inode = file.inode();
        let cache = cache(inode)?;
        let _guard = inode.lock.lock();
        if file.flags().contains(OpenFlags::APPEND) {
            *pos = inode.size();
        }
        crate::fs::memfd::check_write(inode, *pos, source)?;
        crate::fs::rw::limit_write(inode, source, *pos)?;
        Self::check_space(inode, source, *pos)?;
        // By who writes, not by who opened.
        crate::fs::perm::drop_privileges_on_write(inode, &crate::task::current().my_cred());
        let written = cache.write(source, *pos)?;
        *pos += written as u64;
        if *pos > inode.size() {
            inode.set_size(*pos);
        }
        inode.touch_modified();
        Ok(written)
    }

    fn mmap(&self, file: &File) -> Result<Arc<dyn MemoryObject>> {
        let inode = file.inode();
        Ok(crate::fs::memfd::object(inode, cache(inode)?))
    }

    fn seekable(&self) -> bool {
        true
    }

    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        let inode = file.inode();
        let size = inode.size();
        if whence != SEEK_DATA && whence != SEEK_HOLE {
            return file.generic_llseek(offset, whence, size, MAX_BYTES);
        }
        if offset < 0 || offset as u64 >= size {
            return Err(Errno::ENXIO);
        }
        let found = match inode.page_cache() {
            Some(cache) => cache.seek(offset as u64, whence == SEEK_HOLE),
            None if whence == SEEK_HOLE => Some(offset as u64),
            None => None,
        };
        let pos = match found {
            Some(pos) => pos.min(size),
            None if whence == SEEK_HOLE => size,
            None => return Err(Errno::ENXIO),
        };
        if whence == SEEK_DATA && pos >= size {
            return Err(Errno::ENXIO);
        }
        file.set_pos(pos);
        Ok(pos)
    }

    fn fsync(&self, _file: &File, _data_only: bool) -> Result<()> {
        // Memory is all there is to be written to.
        Ok(())
    }

    fn fallocate(&self, file: &File, mode: u32, offset: u64, len: u64) -> Result<()> {
        const KNOWN: u32 = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
        if mode & !KNOWN != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let inode = file.inode();
        let cache = cache(inode)?;
        let _guard = inode.lock.lock();
        let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
        crate::fs::memfd::check_fallocate(inode, mode, end)?;
        if mode & FALLOC_FL_PUNCH_HOLE != 0 {
            cache.punch_hole(offset, end)?;
            inode.touch_modified();
            return Ok(());
        }
        let grows = mode & FALLOC_FL_KEEP_SIZE == 0 && end > inode.size();
        if grows {
            attr::check_size_limit(inode, end)?;
        }
        let wanted = end.div_ceil(PAGE) - offset / PAGE;
        if super_of(inode)
            .is_some_and(|tmpfs| wanted > tmpfs.pages.free().saturating_add(cache.resident()))
        {
            return Err(Errno::ENOSPC);
        }
        cache.allocate(offset, end)?;
        if grows {
            cache.truncate(end)?;
            inode.set_size(end);
        }
        inode.touch_modified();
        Ok(())
    }
}

/// Open directories of file systems whose directories are the dentry tree.
pub struct TreeDir;

impl FileOps for TreeDir {
    fn read(&self, _file: &File, _sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        Err(Errno::EISDIR)
    }
    fn readdir(&self, file: &File, pos: &mut u64, sink: &mut dyn DirSink) -> Result<()> {
        file.path().dentry.read_children(pos, sink)
    }
    fn seekable(&self) -> bool {
        true
    }
    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        // A position in a directory is a cookie: only going back to one, or staying, has a meaning.
        match whence {
            abi::fs::SEEK_SET | abi::fs::SEEK_CUR => {
                file.generic_llseek(offset, whence, 0, i64::MAX as u64)
            }
            _ => Err(Errno::EINVAL),
        }
    }
    fn fsync(&self, _file: &File, _data_only: bool) -> Result<()> {
        Ok(())
    }
}
