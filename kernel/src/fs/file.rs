//! Open file descriptions: [`File`], and [`FileOps`], which everything that can be opened implements.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::ops::Deref;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::fs::{OpenFlags, SEEK_CUR, SEEK_END, SEEK_SET, W_OK};
use abi::poll::PollEvents;
use abi::{Errno, Result};
use bitflags::bitflags;
use spin::Once;

use crate::fs::fasync::{self, Async, FasyncList, Owner};
use crate::fs::inode::{FileKind, Inode, InodeFlags};
use crate::fs::mount::Path;
use crate::fs::notify::{self, Event};
use crate::fs::pipe::Pipe;
use crate::fs::{dnotify, lease, perm};
use crate::mm::MemoryObject;
use crate::mm::object::MappedFile;
use crate::mm::user::{IoSink, IoSource};
use crate::net::socket::Socket;
use crate::sync::census::{self, Live};
use crate::sync::{Mutex, PollTable};
use crate::task::Cred;

/// Takes directory entries from [`FileOps::readdir`].
///
/// It is called under spin locks: it neither allocates nor blocks nor touches user memory.
pub trait DirSink {
    /// Takes one entry; `next` is the position after it. `false`: no room, the entry was not taken.
    fn entry(&mut self, name: &[u8], ino: u64, kind: FileKind, next: u64) -> bool;
}

/// What an open file does. The defaults are Linux's answers for a file without the operation.
///
/// `read` and `write` advance `pos` themselves; for streams it is 0 and ignored. The VFS has checked the access
/// mode, limits and the count; -EFAULT is theirs to report only when nothing moved.
pub trait FileOps: Send + Sync + Any {
    fn read(&self, _file: &File, _sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        Err(Errno::EINVAL)
    }
    fn write(&self, _file: &File, _source: &mut IoSource<'_>, _pos: &mut u64) -> Result<usize> {
        Err(Errno::EINVAL)
    }
    /// What the file is ready for; `table`, if given, is registered with the queues that tell of changes.
    fn poll(&self, _file: &File, _table: Option<&mut PollTable>) -> PollEvents {
        PollEvents::READABLE | PollEvents::WRITABLE
    }
    fn ioctl(&self, _file: &File, _cmd: u32, _arg: usize) -> Result<usize> {
        Err(Errno::ENOTTY)
    }
    /// The memory that a mapping of the file shows.
    fn mmap(&self, _file: &File) -> Result<Arc<dyn MemoryObject>> {
        Err(Errno::ENODEV)
    }
    /// Feeds entries from `*pos` on, which it leaves at the first entry not taken.
    fn readdir(&self, _file: &File, _pos: &mut u64, _sink: &mut dyn DirSink) -> Result<()> {
        Err(Errno::ENOTDIR)
    }
    /// Whether the file has a position: `lseek`, `pread` and `pwrite` answer ESPIPE otherwise.
    fn seekable(&self) -> bool {
        false
    }
    /// Moves the position (called only if [`Self::seekable`]) and returns the new one.
    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        file.generic_llseek(offset, whence, file.inode().size(), i64::MAX as u64)
    }
    fn fsync(&self, _file: &File, _data_only: bool) -> Result<()> {
        Err(Errno::EINVAL)
    }
    /// A descriptor of the file was closed (there may be others).
    fn flush(&self, _file: &File) -> Result<()> {
        Ok(())
    }
    /// The last reference is gone.
    fn release(&self, _file: &File) {}
    /// `offset` and `len` are checked: positive, and their sum too.
    fn fallocate(&self, file: &File, _mode: u32, _offset: u64, _len: u64) -> Result<()> {
        Err(if file.inode().is_regular() {
            Errno::EOPNOTSUPP
        } else {
            Errno::ENODEV
        })
    }
    /// The status flags are about to become `flags`.
    fn set_flags(&self, _file: &File, _flags: OpenFlags) -> Result<()> {
        Ok(())
    }
    /// The pipe behind the file, for `splice` and its kin.
    fn pipe(&self) -> Option<&Pipe> {
        None
    }
    /// The socket behind the file.
    fn as_socket(&self) -> Option<&dyn Socket> {
        None
    }
    /// The lists that `O_ASYNC` puts the file in; `None` for files that have no such thing.
    fn fasync(&self, _file: &File) -> Option<[Option<&FasyncList>; 2]> {
        None
    }
    /// The list of files whose owners hear of urgent data, with `O_ASYNC` or without.
    fn urgent_owners(&self) -> Option<&FasyncList> {
        None
    }
    /// Whom `O_ASYNC` signals where nobody was named.
    fn default_owner(&self) -> Option<Owner> {
        None
    }
    /// Extra lines for `/proc/<pid>/fdinfo`.
    fn fdinfo(&self, _file: &File, _out: &mut dyn core::fmt::Write) {}
}

/// Operations that are either of a whole type of files, or of one open file.
#[derive(Clone)]
pub enum FileOpsRef {
    Static(&'static dyn FileOps),
    Shared(Arc<dyn FileOps>),
}

impl Deref for FileOpsRef {
    type Target = dyn FileOps;
    #[inline]
    fn deref(&self) -> &Self::Target {
        match self {
            Self::Static(ops) => *ops,
            Self::Shared(ops) => &**ops,
        }
    }
}

impl<T: FileOps> From<Arc<T>> for FileOpsRef {
    fn from(ops: Arc<T>) -> Self {
        Self::Shared(ops)
    }
}

impl From<Arc<dyn FileOps>> for FileOpsRef {
    fn from(ops: Arc<dyn FileOps>) -> Self {
        Self::Shared(ops)
    }
}

impl From<&'static dyn FileOps> for FileOpsRef {
    fn from(ops: &'static dyn FileOps) -> Self {
        Self::Static(ops)
    }
}

bitflags! {
    /// What an open file may be used for; fixed at open.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct FileMode: u32 {
        const READ = 1;
        const WRITE = 2;
        /// Opened with `O_PATH`: a place, not a file.
        const PATH = 4;
        const SEEK = 8;
        /// Counts as a writer of its inode and its mount.
        const WRITER = 16;
        /// Executed: writers are denied while it is open.
        const EXEC = 32;
        /// Made by this open (`F_CREATED_QUERY`).
        const CREATED = 64;
        /// Nobody is told of its reads and writes.
        const NO_NOTIFY = 128;
        /// Counts as a reader of its inode.
        const READER = 256;
    }
}

/// An open file description.
///
/// # Invariants
/// - `mode` holds `WRITER` exactly while the inode's and mount's writer counts include this file, and `READER`
///   while the inode's reader count does.
/// - `pos` changes under `pos_lock` when more than one reference exists.
pub struct File {
    _live: Live<{ census::FILES }>,
    path: Path,
    ops: FileOpsRef,
    mode: FileMode,
    flags: AtomicU32,
    pos: AtomicU64,
    pos_lock: Mutex<()>,
    /// The credentials of the opener.
    pub cred: Arc<Cred>,
    fasync: Once<Arc<Async>>,
}

impl File {
    /// A file over `path`. `mode` is completed from `flags` and the operations.
    pub fn new(
        path: Path,
        ops: FileOpsRef,
        flags: OpenFlags,
        mode: FileMode,
        cred: Arc<Cred>,
    ) -> Arc<Self> {
        let seek = if ops.seekable() {
            FileMode::SEEK
        } else {
            FileMode::empty()
        };
        Arc::new(Self {
            _live: Live::new(),
            path,
            ops,
            mode: mode | seek,
            flags: AtomicU32::new(flags.bits()),
            pos: AtomicU64::new(0),
            pos_lock: Mutex::new(()),
            cred,
            fasync: Once::new(),
        })
    }

    #[inline]
    pub fn path(&self) -> &Path {
        &self.path
    }
    #[inline]
    pub fn inode(&self) -> &Arc<Inode> {
        self.path.dentry.inode()
    }
    #[inline]
    pub fn ops(&self) -> &dyn FileOps {
        &*self.ops
    }
    /// The operations, if they are this file's alone or counted otherwise.
    pub fn shared_ops(&self) -> Option<&Arc<dyn FileOps>> {
        match &self.ops {
            FileOpsRef::Shared(ops) => Some(ops),
            FileOpsRef::Static(_) => None,
        }
    }
    /// The operations as a concrete type.
    pub fn ops_as<T: FileOps>(&self) -> Option<&T> {
        let any: &dyn Any = &*self.ops;
        any.downcast_ref()
    }
    #[inline]
    pub fn mode(&self) -> FileMode {
        self.mode
    }
    /// The status flags, access mode included, as `F_GETFL` gives them.
    #[inline]
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }
    pub fn set_flags(&self, flags: OpenFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }
    /// Sets or clears status flags, others untouched.
    pub fn change_flags(&self, which: OpenFlags, on: bool) {
        if on {
            self.flags.fetch_or(which.bits(), Ordering::Relaxed);
        } else {
            self.flags.fetch_and(!which.bits(), Ordering::Relaxed);
        }
    }
    #[inline]
    pub fn nonblocking(&self) -> bool {
        self.flags().contains(OpenFlags::NONBLOCK)
    }
    #[inline]
    pub fn readable(&self) -> bool {
        self.mode.contains(FileMode::READ)
    }
    #[inline]
    pub fn writable(&self) -> bool {
        self.mode.contains(FileMode::WRITE)
    }
    #[inline]
    pub fn is_path_only(&self) -> bool {
        self.mode.contains(FileMode::PATH)
    }
    #[inline]
    pub fn seekable(&self) -> bool {
        self.mode.contains(FileMode::SEEK)
    }
    #[inline]
    pub fn pos(&self) -> u64 {
        self.pos.load(Ordering::Relaxed)
    }
    pub fn set_pos(&self, pos: u64) {
        self.pos.store(pos, Ordering::Relaxed);
    }

    /// Runs `f` on the position and stores what it leaves, one user at a time if the file is shared.
    #[inline]
    pub fn with_pos<R>(self: &Arc<Self>, f: impl FnOnce(&mut u64) -> R) -> R {
        if !self.seekable() {
            return f(&mut 0);
        }
        // The descriptor table and our caller hold one reference each; more of them means sharers.
        let _guard = (Arc::strong_count(self) > 2).then(|| self.pos_lock.lock());
        let mut pos = self.pos();
        let result = f(&mut pos);
        self.set_pos(pos);
        result
    }

    /// `lseek`, one at a time if the file is shared.
    pub fn seek(self: &Arc<Self>, offset: i64, whence: u32) -> Result<u64> {
        let _guard = (Arc::strong_count(self) > 2).then(|| self.pos_lock.lock());
        self.ops.llseek(self, offset, whence)
    }

    /// `lseek` for a file of `size` bytes whose positions go up to `max`; holes are not known.
    pub fn generic_llseek(&self, offset: i64, whence: u32, size: u64, max: u64) -> Result<u64> {
        use abi::fs::{SEEK_DATA, SEEK_HOLE};
        let base = match whence {
            SEEK_SET => 0,
            SEEK_CUR if offset == 0 => return Ok(self.pos()),
            SEEK_CUR => self.pos() as i64,
            SEEK_END => size as i64,
            SEEK_DATA | SEEK_HOLE => {
                if offset < 0 || offset as u64 >= size {
                    return Err(Errno::ENXIO);
                }
                let pos = if whence == SEEK_DATA {
                    offset as u64
                } else {
                    size
                };
                self.set_pos(pos);
                return Ok(pos);
            }
            _ => return Err(Errno::EINVAL),
        };
        let pos = base.checked_add(offset).ok_or(Errno::EOVERFLOW)?;
        if pos < 0 || pos as u64 > max {
            return Err(Errno::EINVAL);
        }
        self.set_pos(pos as u64);
        Ok(pos as u64)
    }

    /// The state of `F_SETOWN`, `F_SETSIG` and `O_ASYNC`, if ever used.
    pub fn fasync(&self) -> Option<&Arc<Async>> {
        self.fasync.get()
    }
    pub fn fasync_or_new(&self) -> &Arc<Async> {
        self.fasync.call_once(Arc::default)
    }

    /// The content was read: the access time follows by the rules of the mount.
    #[inline]
    pub fn accessed(&self) {
        use abi::fs::MountFlags;
        let inode = self.inode();
        let mount = self.path.mount.flags();
        let never = self.flags().contains(OpenFlags::NOATIME)
            || inode.flags().contains(InodeFlags::NOATIME)
            || mount.contains(MountFlags::NOATIME)
            || (inode.is_dir() && mount.contains(MountFlags::NODIRATIME));
        if !never {
            inode.touch_accessed();
        }
    }

    /// The events now; registers with `table` for the next ones.
    #[inline]
    pub fn poll(&self, table: Option<&mut PollTable>) -> PollEvents {
        self.ops.poll(self, table)
    }
}

impl MappedFile for File {
    fn dev_ino(&self) -> (u64, u64) {
        let inode = self.inode();
        (inode.sb.dev.to_user(), inode.ino)
    }
    fn maps_path(&self) -> Vec<u8> {
        let root = crate::task::current().my_fs().root();
        self.path.display(&root)
    }
    fn tells_residency(&self) -> bool {
        let task = crate::task::current();
        let cred = task.my_cred();
        perm::is_owner(self.inode(), &cred) || perm::check(self.inode(), W_OK, &cred).is_ok()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if self.mode.contains(FileMode::PATH) {
            return;
        }
        let inode = self.path.dentry.inode();
        if !self.mode.contains(FileMode::NO_NOTIFY) {
            notify::file_event(
                self,
                if self.writable() {
                    Event::CLOSE_WRITE
                } else {
                    Event::CLOSE_NOWRITE
                },
            );
        }
        if let Some(extra) = inode.extra() {
            extra.locks.release_file(self);
            lease::release(self);
            dnotify::forget(self, None);
        }
        fasync::release(self);
        match &self.ops {
            FileOpsRef::Static(ops) => ops.release(self),
            FileOpsRef::Shared(ops) => ops.release(self),
        }
        if self.mode.contains(FileMode::WRITER) {
            inode.put_write();
            self.path.mount.put_write();
        }
        if self.mode.contains(FileMode::READER) {
            inode.put_read();
        }
        if self.mode.contains(FileMode::EXEC) {
            inode.allow_write();
        }
    }
}
