//! Mounted file systems ([`SuperBlock`]) and the registry of their types ([`FileSystem`]).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use abi::fs::{DevNum, MountFlags, Statfs};
use abi::{Errno, Result};
use ksync::SpinLock;
use spin::Once;

use crate::fs::dentry::Dentry;
use crate::fs::handle::HandleTable;
use crate::sync::Mutex;

/// A type of file systems, as `mount -t` names it.
pub trait FileSystem: Send + Sync {
    fn name(&self) -> &'static str;
    /// Whether it needs a block device (`/proc/filesystems` marks the others `nodev`).
    fn needs_device(&self) -> bool {
        false
    }
    /// Makes, or finds again, the file system that `source` and `data` name.
    fn mount(&self, source: &[u8], flags: MountFlags, data: &[u8]) -> Result<Arc<SuperBlock>>;
}

/// What a file system does as a whole.
pub trait SuperOps: Send + Sync + Any {
    fn statfs(&self, _sb: &SuperBlock, _out: &mut Statfs) -> Result<()> {
        Ok(())
    }
    fn sync(&self, _sb: &SuperBlock) -> Result<()> {
        Ok(())
    }
    /// New options of a remount.
    fn remount(&self, _sb: &SuperBlock, _data: &[u8]) -> Result<()> {
        Ok(())
    }
    /// The options of `/proc/mounts`, each with its leading comma.
    fn show_options(&self, _sb: &SuperBlock, _out: &mut dyn fmt::Write) -> fmt::Result {
        Ok(())
    }
}

/// A mounted file system.
pub struct SuperBlock {
    pub fs_name: &'static str,
    pub magic: i64,
    pub dev: DevNum,
    pub block_size: u32,
    /// The largest file.
    pub max_bytes: u64,
    pub ops: Box<dyn SuperOps>,
    flags: AtomicU64,
    next_ino: AtomicU64,
    /// Mounts of it; the last one takes the tree apart.
    mounts: AtomicUsize,
    /// Not taken apart when the last mount goes (kernel-internal trees, and one-instance file systems).
    permanent: bool,
    root: Once<Arc<Dentry>>,
    /// Serialises renames between directories (`s_vfs_rename_mutex`).
    pub rename_lock: Mutex<()>,
    handles: Once<Box<HandleTable>>,
}

/// The parts of a new [`SuperBlock`] that its type decides.
pub struct NewSuperBlock {
    pub fs_name: &'static str,
    pub magic: i64,
    pub block_size: u32,
    pub max_bytes: u64,
    pub flags: MountFlags,
    /// The device, or `None` for a number of its own.
    pub dev: Option<DevNum>,
    pub permanent: bool,
}

static NEXT_ANON_MINOR: AtomicU32 = AtomicU32::new(1);

impl SuperBlock {
    /// A file system without a root yet: [`Self::set_root`] comes next.
    pub fn new(new: NewSuperBlock, ops: impl SuperOps) -> Arc<Self> {
        let own = || DevNum::new(0, NEXT_ANON_MINOR.fetch_add(1, Ordering::Relaxed));
        Arc::new(Self {
            fs_name: new.fs_name,
            magic: new.magic,
            dev: new.dev.unwrap_or_else(own),
            block_size: new.block_size,
            max_bytes: new.max_bytes,
            ops: Box::new(ops),
            flags: AtomicU64::new(new.flags.bits()),
            next_ino: AtomicU64::new(1),
            mounts: AtomicUsize::new(0),
            permanent: new.permanent,
            root: Once::new(),
            rename_lock: Mutex::new(()),
            handles: Once::new(),
        })
    }

    pub fn set_root(&self, root: Arc<Dentry>) {
        self.root.call_once(|| root);
    }
    /// The root; ENXIO before [`Self::set_root`].
    pub fn root(&self) -> Result<&Arc<Dentry>> {
        self.root.get().ok_or(Errno::ENXIO)
    }
    /// The next free inode number.
    pub fn next_ino(&self) -> u64 {
        self.next_ino.fetch_add(1, Ordering::Relaxed)
    }
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }
    pub fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }
    #[inline]
    pub fn is_read_only(&self) -> bool {
        self.flags().contains(MountFlags::RDONLY)
    }
    /// The file handles, made on first use.
    pub fn handles(&self) -> &HandleTable {
        self.handles.call_once(Box::default)
    }
    /// The operations as a concrete type.
    pub fn ops_as<T: SuperOps>(&self) -> Option<&T> {
        let any: &dyn Any = &*self.ops;
        any.downcast_ref()
    }

    pub fn statfs(&self) -> Result<Statfs> {
        let dev = self.dev.to_user();
        let mut out = Statfs {
            f_type: self.magic,
            f_bsize: i64::from(self.block_size),
            f_frsize: i64::from(self.block_size),
            f_namelen: 255,
            f_fsid: [dev as i32, (dev >> 32) as i32],
            ..Statfs::default()
        };
        self.ops.statfs(self, &mut out)?;
        Ok(out)
    }

    pub(super) fn count_mount(&self) {
        self.mounts.fetch_add(1, Ordering::Relaxed);
    }
    pub(super) fn drop_mount(&self) {
        if self.mounts.fetch_sub(1, Ordering::AcqRel) != 1 || self.permanent {
            return;
        }
        if let Err(error) = self.ops.sync(self) {
            log::warn!(
                "{}: writing back at unmount failed: {error:?}",
                self.fs_name
            );
        }
        if let Some(root) = self.root.get() {
            root.tear_down();
        }
    }
}

static TYPES: SpinLock<Vec<&'static dyn FileSystem>> = SpinLock::new(Vec::new());

/// Adds a type to those that `mount` knows.
pub fn register(fs: &'static dyn FileSystem) {
    TYPES.lock().push(fs);
}

/// The type of that name.
pub fn find(name: &[u8]) -> Option<&'static dyn FileSystem> {
    TYPES
        .lock()
        .iter()
        .copied()
        .find(|fs| fs.name().as_bytes() == name)
}

/// All types, in the order of their registration.
pub fn types() -> Vec<&'static dyn FileSystem> {
    TYPES.lock().clone()
}
