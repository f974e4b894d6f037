//! Inodes: what a file is, apart from its names. Owns the attributes, the hooks that file systems implement
//! ([`InodeOps`]) and the state that hangs on a file: page cache, locks, extended attributes, a FIFO's pipe.

use alloc::{boxed::Box, sync::Arc};
use core::any::Any;
use core::ops::Deref;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use abi::fs::{self as abi_fs, DevNum, FileTime, OpenFlags};
use abi::{Errno, Result};
use bitflags::bitflags;
use ksync::SpinLock;
use spin::Once;

use crate::fs::dnotify::DirNotify;
use crate::fs::file::FileOpsRef;
use crate::fs::lease::Leases;
use crate::fs::locks::LockContext;
use crate::fs::mount::Path;
use crate::fs::pipe::Pipe;
use crate::fs::superblock::SuperBlock;
use crate::fs::xattr::XattrStore;
use crate::mm::pagecache::PageCache;
use crate::sync::Mutex;
use crate::sync::census::{self, Live};

/// The type of a file, with the values of `d_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FileKind {
    Fifo = abi_fs::DT_FIFO,
    Char = abi_fs::DT_CHR,
    Dir = abi_fs::DT_DIR,
    Block = abi_fs::DT_BLK,
    Regular = abi_fs::DT_REG,
    Symlink = abi_fs::DT_LNK,
    Socket = abi_fs::DT_SOCK,
}

impl FileKind {
    /// The type in a mode's `S_IFMT` bits; `None` for a value that names no type.
    pub const fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode & abi_fs::S_IFMT {
            abi_fs::S_IFIFO => Self::Fifo,
            abi_fs::S_IFCHR => Self::Char,
            abi_fs::S_IFDIR => Self::Dir,
            abi_fs::S_IFBLK => Self::Block,
            abi_fs::S_IFREG => Self::Regular,
            abi_fs::S_IFLNK => Self::Symlink,
            abi_fs::S_IFSOCK => Self::Socket,
            _ => return None,
        })
    }

    /// The `S_IFMT` bits.
    pub const fn mode_bits(self) -> u32 {
        (self as u32) << 12
    }
}

bitflags! {
    /// Lasting properties of an inode.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct InodeFlags: u32 {
        /// A removed directory: nothing can be made in it.
        const DEAD = 1;
        /// [`InodeOps::revalidate`] decides at each walk whether the name is still good.
        const REVALIDATE = 2;
        /// [`InodeOps::getattr`] computes the attributes; they are not those stored here.
        const DYNAMIC_ATTR = 4;
        /// [`InodeOps::permission`] decides, not the mode alone.
        const OWN_PERMISSION = 8;
        /// No access-time updates (`chattr +A`).
        const NOATIME = 16;
        /// Has at least one extended attribute (so that writes look for `security.capability`).
        const HAS_XATTR = 32;
        /// A symlink whose [`InodeOps::follow_link`] jumps to a place (as those of `/proc/<pid>/fd`).
        const MAGIC_LINK = 64;
        /// Neither content, names nor attributes change (`chattr +i`).
        const IMMUTABLE = 128;
        /// Unnamed, but may be given a name (`O_TMPFILE` without `O_EXCL`).
        const LINKABLE = 256;
        /// Content is only appended, names are only added (`chattr +a`).
        const APPEND = 512;
        /// Not to be backed up (`chattr +d`).
        const NODUMP = 1024;
    }
}

/// How a directory's children live in the dentry cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildPolicy {
    /// The dentry tree is the directory: what it does not hold does not exist (tmpfs).
    Pinned,
    /// Looked up once, then cached, absent names too.
    Cached,
    /// Looked up every time (names that come and go without the VFS, as `/proc/<pid>`).
    Uncached,
}

/// The attributes of an inode to be made, ownership already decided.
#[derive(Clone, Copy, Debug)]
pub struct NewInode {
    pub kind: FileKind,
    /// Permission bits, without the type.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: DevNum,
}

/// The four times of a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    pub atime: FileTime,
    pub mtime: FileTime,
    pub ctime: FileTime,
    pub btime: FileTime,
}

/// What `stat` and `statx` report, in the kernel's terms.
#[derive(Clone, Copy, Debug)]
pub struct Attr {
    pub dev: DevNum,
    pub ino: u64,
    /// Type and permission bits.
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: DevNum,
    pub size: u64,
    /// In units of 512 bytes.
    pub blocks: u64,
    pub blksize: u32,
    pub times: Times,
}

/// A checked change of attributes; `None` leaves a field alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetAttr {
    /// Permission bits, without the type.
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub atime: Option<FileTime>,
    pub mtime: Option<FileTime>,
}

/// Where a symlink leads.
pub enum LinkTarget {
    /// A path, to be walked.
    Text(Arc<[u8]>),
    /// A place, jumped to without a walk.
    Place(Path),
}

/// The two ends of a rename, both directories locked, the checks done.
#[expect(
    dead_code,
    reason = "a file system whose directories are the dentry tree needs no names"
)]
pub struct Rename<'a> {
    pub old_dir: &'a Arc<Inode>,
    pub old_name: &'a [u8],
    pub inode: &'a Arc<Inode>,
    pub new_dir: &'a Arc<Inode>,
    pub new_name: &'a [u8],
    /// What is there already: replaced, or exchanged.
    pub target: Option<&'a Arc<Inode>>,
    pub exchange: bool,
}

/// What a file system does for an inode. The VFS has checked permissions and names and holds the directory's
/// lock for every change; the default of each hook is what Linux answers when a file system lacks it.
pub trait InodeOps: Send + Sync + Any {
    /// Finds a child; ENOENT if there is none.
    fn lookup(&self, _dir: &Arc<Inode>, _name: &[u8]) -> Result<Arc<Inode>> {
        Err(Errno::ENOENT)
    }
    fn child_policy(&self) -> ChildPolicy {
        ChildPolicy::Cached
    }
    /// Whether this inode's name still leads to it (only with [`InodeFlags::REVALIDATE`]).
    fn revalidate(&self, _inode: &Arc<Inode>) -> bool {
        true
    }
    /// Makes a file, directory, device, FIFO or socket. Directories keep their own link counts.
    fn create(&self, dir: &Arc<Inode>, _name: &[u8], new: &NewInode) -> Result<Arc<Inode>> {
        let _ = dir;
        Err(if new.kind == FileKind::Regular {
            Errno::EACCES
        } else {
            Errno::EPERM
        })
    }
    fn symlink(
        &self,
        _dir: &Arc<Inode>,
        _name: &[u8],
        _target: &[u8],
        _new: &NewInode,
    ) -> Result<Arc<Inode>> {
        Err(Errno::EPERM)
    }
    /// Makes an unnamed file with link count 0.
    fn tmpfile(&self, _dir: &Arc<Inode>, _new: &NewInode) -> Result<Arc<Inode>> {
        Err(Errno::EOPNOTSUPP)
    }
    fn link(&self, _dir: &Arc<Inode>, _name: &[u8], _inode: &Arc<Inode>) -> Result<()> {
        Err(Errno::EPERM)
    }
    fn unlink(&self, _dir: &Arc<Inode>, _name: &[u8], _inode: &Arc<Inode>) -> Result<()> {
        Err(Errno::EPERM)
    }
    /// Removes a directory; ENOTEMPTY if it has children.
    fn rmdir(&self, _dir: &Arc<Inode>, _name: &[u8], _inode: &Arc<Inode>) -> Result<()> {
        Err(Errno::EPERM)
    }
    fn rename(&self, _rename: &Rename<'_>) -> Result<()> {
        Err(Errno::EPERM)
    }
    /// The text of a symlink, as `readlink` gives it.
    fn read_link(&self, _inode: &Arc<Inode>) -> Result<Arc<[u8]>> {
        Err(Errno::EINVAL)
    }
    /// Where a walk through the symlink goes on.
    fn follow_link(&self, inode: &Arc<Inode>) -> Result<LinkTarget> {
        self.read_link(inode).map(LinkTarget::Text)
    }
    /// The operations of a new open file; devices and FIFOs never get here.
    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        Err(Errno::ENXIO)
    }
    /// Overwrites what differs from the stored attributes (only with [`InodeFlags::DYNAMIC_ATTR`]).
    fn getattr(&self, _inode: &Arc<Inode>, _attr: &mut Attr) -> Result<()> {
        Ok(())
    }
    /// Blocks in use, in units of 512 bytes.
    fn blocks(&self, _inode: &Inode) -> u64 {
        0
    }
    /// Makes a permitted change; the default stores it in the inode.
    fn setattr(&self, inode: &Arc<Inode>, set: &SetAttr) -> Result<()> {
        inode.apply(set);
        Ok(())
    }
    /// Sets the size, with the inode's lock held.
    fn truncate(&self, _inode: &Arc<Inode>, _size: u64) -> Result<()> {
        Err(Errno::EINVAL)
    }
    /// The last word on access (only with [`InodeFlags::OWN_PERMISSION`]); `mask` is of R_OK, W_OK, X_OK.
    fn permission(&self, _inode: &Arc<Inode>, _mask: u32) -> Result<()> {
        Ok(())
    }
    /// The store of extended attributes, if the file system has one in memory.
    fn xattrs<'a>(&self, _inode: &'a Inode) -> Option<&'a XattrStore> {
        None
    }
    /// Whether the file has the flags of `chattr`.
    fn has_file_flags(&self, _inode: &Inode) -> bool {
        false
    }
    /// The last name and the last user are gone.
    fn evict(&self, _inode: &Inode) {}
}

/// Operations that are either of a whole type of files, or of one inode.
pub enum InodeOpsRef {
    Static(&'static dyn InodeOps),
    Shared(Arc<dyn InodeOps>),
}

impl Deref for InodeOpsRef {
    type Target = dyn InodeOps;
    #[inline]
    fn deref(&self) -> &Self::Target {
        match self {
            Self::Static(ops) => *ops,
            Self::Shared(ops) => &**ops,
        }
    }
}

impl<T: InodeOps> From<Arc<T>> for InodeOpsRef {
    fn from(ops: Arc<T>) -> Self {
        Self::Shared(ops)
    }
}

impl From<&'static dyn InodeOps> for InodeOpsRef {
    fn from(ops: &'static dyn InodeOps) -> Self {
        Self::Static(ops)
    }
}

/// What few inodes need; allocated on first use.
#[derive(Default)]
pub struct InodeExtra {
    pub locks: LockContext,
    pub leases: Leases,
    pub dnotify: DirNotify,
    pub xattrs: XattrStore,
    /// The pipe behind a FIFO while it is open.
    pub fifo: SpinLock<Option<Arc<Pipe>>>,
    /// What a socket's name is bound to.
    pub socket: SpinLock<Option<Arc<dyn Any + Send + Sync>>>,
    /// What memfds forbid.
    pub seals: crate::fs::memfd::Seals,
    /// Watches on this inode (inotify).
    pub watches: SpinLock<Option<Arc<dyn crate::fs::notify::Watcher>>>,
}

/// A file.
///
/// # Invariants
/// - `kind`, `rdev` and `ino` never change; the type bits of `mode` equal `kind` (those of anonymous files are 0).
/// - Names change only under `lock` of the directory; data and size of a regular file only under its own `lock`.
/// - `write_count` > 0 counts writers, < 0 counts those who execute the file.
pub struct Inode {
    _live: Live<{ census::INODES }>,
    pub ino: u64,
    pub kind: FileKind,
    pub rdev: DevNum,
    pub sb: Arc<SuperBlock>,
    pub ops: InodeOpsRef,
    mode: AtomicU32,
    uid: AtomicU32,
    gid: AtomicU32,
    nlink: AtomicU32,
    flags: AtomicU32,
    write_count: AtomicI32,
    /// Open files that only read a regular file.
    read_count: AtomicU32,
    size: AtomicU64,
    times: SpinLock<Times>,
    /// Serialises changes of a directory's names and of a file's data (`i_rwsem`).
    pub lock: Mutex<()>,
    mapping: Once<Arc<PageCache>>,
    extra: Once<Box<InodeExtra>>,
}

impl Inode {
    /// A new inode with link count 1 (2 for a directory) and all times now.
    pub fn new(
        sb: &Arc<SuperBlock>,
        ino: u64,
        new: &NewInode,
        ops: impl Into<InodeOpsRef>,
        flags: InodeFlags,
    ) -> Arc<Self> {
        let now = now();
        Arc::new(Self {
            _live: Live::new(),
            ino,
            kind: new.kind,
            rdev: new.rdev,
            sb: sb.clone(),
            ops: ops.into(),
            mode: AtomicU32::new(new.kind.mode_bits() | (new.mode & abi_fs::S_IALLUGO)),
            uid: AtomicU32::new(new.uid),
            gid: AtomicU32::new(new.gid),
            nlink: AtomicU32::new(if new.kind == FileKind::Dir { 2 } else { 1 }),
            flags: AtomicU32::new(flags.bits()),
            write_count: AtomicI32::new(0),
            read_count: AtomicU32::new(0),
            size: AtomicU64::new(0),
            times: SpinLock::new(Times {
                atime: now,
                mtime: now,
                ctime: now,
                btime: now,
            }),
            lock: Mutex::new(()),
            mapping: Once::new(),
            extra: Once::new(),
        })
    }

    #[inline]
    pub fn is_dir(&self) -> bool {
        self.kind == FileKind::Dir
    }
    #[inline]
    pub fn is_regular(&self) -> bool {
        self.kind == FileKind::Regular
    }
    #[inline]
    pub fn is_symlink(&self) -> bool {
        self.kind == FileKind::Symlink
    }

    /// Type and permission bits.
    #[inline]
    pub fn mode(&self) -> u32 {
        self.mode.load(Ordering::Relaxed)
    }
    #[inline]
    pub fn uid(&self) -> u32 {
        self.uid.load(Ordering::Relaxed)
    }
    #[inline]
    pub fn gid(&self) -> u32 {
        self.gid.load(Ordering::Relaxed)
    }
    #[inline]
    pub fn nlink(&self) -> u32 {
        self.nlink.load(Ordering::Relaxed)
    }
    #[inline]
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }
    /// Pairs with [`Self::size`]: data is written before the size that covers it.
    pub fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }
    /// Replaces the permission bits. What `stat` shows as the type stays, be it none.
    pub fn set_mode(&self, mode: u32) {
        let kept = self.mode.load(Ordering::Relaxed) & !abi_fs::S_IALLUGO;
        self.mode
            .store(kept | (mode & abi_fs::S_IALLUGO), Ordering::Relaxed);
    }
    /// Drops the type bits from what `stat` shows: the inode of anonymous files has none.
    pub fn set_anonymous(&self) {
        self.mode.store(0o600, Ordering::Relaxed);
    }
    pub fn set_nlink(&self, nlink: u32) {
        self.nlink.store(nlink, Ordering::Relaxed);
    }
    pub fn inc_nlink(&self) {
        self.nlink.fetch_add(1, Ordering::Relaxed);
    }
    pub fn drop_nlink(&self) {
        let n = self.nlink();
        self.nlink.store(n.saturating_sub(1), Ordering::Relaxed);
    }

    #[inline]
    pub fn flags(&self) -> InodeFlags {
        InodeFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }
    pub fn set_flag(&self, flag: InodeFlags) {
        self.flags.fetch_or(flag.bits(), Ordering::Relaxed);
    }

    /// Puts `new` in the place of those of `which` that are set; under `lock`.
    pub fn replace_flags(&self, which: InodeFlags, new: InodeFlags) {
        self.flags
            .fetch_and(!(which - new).bits(), Ordering::Relaxed);
        self.set_flag(new);
    }
    /// EPERM for a file whose attributes are not to change.
    pub fn check_changeable(&self) -> Result<()> {
        match self
            .flags()
            .intersects(InodeFlags::IMMUTABLE | InodeFlags::APPEND)
        {
            true => Err(Errno::EPERM),
            false => Ok(()),
        }
    }

    pub fn times(&self) -> Times {
        *self.times.lock()
    }
    pub fn update_times(&self, change: impl FnOnce(&mut Times)) {
        change(&mut self.times.lock());
    }
    /// A directory's or file's content changed.
    pub fn touch_modified(&self) {
        let now = now();
        let mut times = self.times.lock();
        times.mtime = now;
        times.ctime = now;
    }
    /// The attributes or link count changed.
    pub fn touch_changed(&self) {
        let now = now();
        self.times.lock().ctime = now;
    }
    /// The content was read: relatime rules (older than the last change, or than a day).
    pub fn touch_accessed(&self) {
        const DAY_S: i64 = 24 * 3600;
        let now = now();
        let mut times = self.times.lock();
        let stale = times.atime <= times.mtime || times.atime <= times.ctime;
        if stale || now.sec - times.atime.sec >= DAY_S {
            times.atime = now;
        }
    }

    /// Stores a change that has been checked.
    pub fn apply(&self, set: &SetAttr) {
        if let Some(uid) = set.uid {
            self.uid.store(uid, Ordering::Relaxed);
        }
        if let Some(gid) = set.gid {
            self.gid.store(gid, Ordering::Relaxed);
        }
        if let Some(mode) = set.mode {
            self.set_mode(mode);
        }
        let now = now();
        let mut times = self.times.lock();
        times.ctime = now;
        if let Some(atime) = set.atime {
            times.atime = atime;
        }
        if let Some(mtime) = set.mtime {
            times.mtime = mtime;
        }
    }

    /// The attributes as `stat` reports them.
    pub fn attr(self: &Arc<Self>) -> Result<Attr> {
        let mut attr = Attr {
            dev: self.sb.dev,
            ino: self.ino,
            mode: self.mode(),
            nlink: self.nlink(),
            uid: self.uid(),
            gid: self.gid(),
            rdev: self.rdev,
            size: self.size(),
            blocks: if self.is_dir() {
                0
            } else {
                self.ops.blocks(self)
            },
            blksize: self.sb.block_size,
            times: self.times(),
        };
        if self.flags().contains(InodeFlags::DYNAMIC_ATTR) {
            self.ops.getattr(self, &mut attr)?;
        }
        Ok(attr)
    }

    /// The page cache, if something has made one.
    #[inline]
    pub fn page_cache(&self) -> Option<&Arc<PageCache>> {
        self.mapping.get()
    }
    /// The page cache, made by `make` on first use.
    pub fn page_cache_or(&self, make: impl FnOnce() -> Arc<PageCache>) -> &Arc<PageCache> {
        self.mapping.call_once(make)
    }

    /// The rarely used state, if any.
    #[inline]
    pub fn extra(&self) -> Option<&InodeExtra> {
        self.extra.get().map(|extra| &**extra)
    }
    /// The rarely used state, made on first use.
    pub fn extra_or_new(&self) -> &InodeExtra {
        self.extra.call_once(Box::default)
    }

    /// Counts a writer; ETXTBSY while the file is being executed.
    pub fn get_write(&self) -> Result<()> {
        self.write_count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n >= 0).then_some(n + 1)
            })
            .map(drop)
            .map_err(|_| Errno::ETXTBSY)
    }
    /// Counts an open file that only reads in, or out.
    pub fn get_read(&self) {
        self.read_count.fetch_add(1, Ordering::SeqCst);
    }
    pub fn put_read(&self) {
        self.read_count.fetch_sub(1, Ordering::SeqCst);
    }
    pub fn readers(&self) -> u32 {
        self.read_count.load(Ordering::SeqCst)
    }
    pub fn put_write(&self) {
        self.write_count.fetch_sub(1, Ordering::Relaxed);
    }
    /// Forbids writers while the file is executed; ETXTBSY if there are some.
    pub fn deny_write(&self) -> Result<()> {
        self.write_count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n <= 0).then_some(n - 1)
            })
            .map(drop)
            .map_err(|_| Errno::ETXTBSY)
    }
    pub fn allow_write(&self) {
        self.write_count.fetch_add(1, Ordering::Relaxed);
    }
    /// Writers now open (negative: executions).
    pub fn writers(&self) -> i32 {
        self.write_count.load(Ordering::Relaxed)
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        // A second handle to the operations is not needed: `evict` sees the inode as it was.
        if let InodeOpsRef::Static(ops) = self.ops {
            ops.evict(self);
        } else if let InodeOpsRef::Shared(ops) = &self.ops {
            let ops = ops.clone();
            ops.evict(self);
        }
    }
}

/// The time stamps are taken from the real-time clock.
pub fn now() -> FileTime {
    FileTime::from_ns(crate::time::realtime_ns())
}
