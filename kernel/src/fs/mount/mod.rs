//! Mounts: where file systems stand in the tree, and how changes of the tree spread.
//!
//! | module | what |
//! |---|---|
//! | [`place`] | [`Path`]: a dentry as seen through a mount |
//! | [`tree`], [`unmount`] | what `mount`, `pivot_root` and `umount2` do to the tree |
//! | [`propagation`] | peer groups, their slaves, and who hears of a change |
//! | [`namespace`] | [`MountNamespace`]: the tree that a set of processes sees |
//!
//! # Lock order
//! ```text
//! TREE (sleeping): every change of the tree or of a group
//!   Mount::links | Group::links (spin, one at a time)
//! ```
//!
//! # Invariants
//! - `links` of mounts and groups change only under [`TREE`], whose guard the functions that change them take;
//!   readers take the spin lock alone, and walks find what stands on a place without it.
//! - A child among `links` has its `position` there, and its dentry counts one mount more.
//! - A mount outside of every namespace is in no group, copies that are being made aside.
//! - References that [`TREE`] protected are dropped after it: the last one may take a file system apart.
//!
//! References: mount(2), umount2(2), mount_namespaces(7), Documentation/filesystems/sharedsubtree.rst.

mod namespace;
mod place;
mod propagation;
mod tree;
mod unmount;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use abi::fs::MountFlags;
use abi::{Errno, Result};
use ksync::{ReadTable, Section};

use crate::fs::dentry::Dentry;
use crate::fs::superblock::SuperBlock;
use crate::sync::{Mutex, Walks};

pub use namespace::MountNamespace;
pub use place::Path;
use propagation::Propagation;
pub use propagation::{Relations, set_propagation};
pub use tree::{attach, bind, max_mounts, move_mount, pivot, remount, set_max_mounts};
pub use unmount::{UnmountFlags, unmount};

/// The flags that belong to a mount, not to its file system.
pub const PER_MOUNT: MountFlags = MountFlags::RDONLY
    .union(MountFlags::NOSUID)
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC)
    .union(ATIME)
    .union(MountFlags::NOSYMFOLLOW);

/// Those of them that say when reading changes times.
pub const ATIME: MountFlags = MountFlags::NOATIME
    .union(MountFlags::NODIRATIME)
    .union(MountFlags::RELATIME);

/// What [`TREE`] protects besides the links of all mounts.
struct Tree {
    /// The numbers of peer groups in use: the smallest free one is given out, as users may see.
    groups: BTreeSet<u32>,
    /// No smaller number is free.
    first_free: u32,
    /// How many mounts stand in namespaces.
    mounted: usize,
}

/// Serialises changes of the mount tree.
static TREE: Mutex<Tree> = Mutex::new(Tree {
    groups: BTreeSet::new(),
    first_free: 1,
    mounted: 0,
});
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

struct Links {
    /// Where it stands; `None` for the top, and once detached.
    position: Option<Path>,
    propagation: Propagation,
    /// The number of the namespace that it stands in; 0 before that and after.
    namespace: u64,
}

/// A file system, or a part of it, at a place.
pub struct Mount {
    pub id: u64,
    pub root: Arc<Dentry>,
    pub sb: Arc<SuperBlock>,
    /// What `/proc/mounts` shows first.
    pub source: Box<[u8]>,
    flags: AtomicU64,
    writers: AtomicI64,
    /// Nobody came here since `MNT_EXPIRE` marked it.
    unused: AtomicBool,
    /// What stands on it, by the dentry below; and where it stands itself.
    links: ReadTable<Child, Links, Walks>,
}

/// A mount that stands on another.
struct Child {
    /// The address of the dentry below.
    below: usize,
    mount: Arc<Mount>,
}

impl Child {
    fn is_on(&self, dentry: &Arc<Dentry>) -> bool {
        self.below == Arc::as_ptr(dentry) as usize
    }
}

impl Mount {
    /// A mount of `root`, standing nowhere yet.
    pub fn new(
        sb: &Arc<SuperBlock>,
        root: &Arc<Dentry>,
        flags: MountFlags,
        source: &[u8],
    ) -> Arc<Self> {
        sb.count_mount();
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            root: root.clone(),
            sb: sb.clone(),
            source: source.into(),
            flags: AtomicU64::new(flags.bits()),
            writers: AtomicI64::new(0),
            unused: AtomicBool::new(false),
            links: ReadTable::new(Links {
                position: None,
                propagation: Propagation::Private,
                namespace: 0,
            }),
        })
    }

    pub fn root_path(self: &Arc<Self>) -> Path {
        Path {
            mount: self.clone(),
            dentry: self.root.clone(),
        }
    }
    #[inline]
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }
    pub fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }
    #[inline]
    pub fn is_read_only(&self) -> bool {
        self.flags().contains(MountFlags::RDONLY) || self.sb.is_read_only()
    }
    /// Whether it belongs to no tree that users see (pipes, sockets, memfds).
    pub fn is_internal(&self) -> bool {
        self.flags().contains(MountFlags::KERNMOUNT)
    }
    /// The place it stands on.
    pub fn position(&self) -> Option<Path> {
        self.links.lock().position.clone()
    }
    /// Whether it stands in a namespace; not so once it is unmounted, though it may be in use.
    pub fn is_mounted(&self) -> bool {
        self.links.lock().namespace != 0
    }
    /// The mount that stands on `dentry` of this mount.
    pub fn child_at(&self, dentry: &Arc<Dentry>) -> Option<Arc<Mount>> {
        let links = self.links.lock();
        let child = links.find(hash_of(dentry), |child| child.is_on(dentry))?;
        Some(child.mount.clone())
    }
    /// The same without a lock and for as long as the section; one that is just being put there may be missed.
    #[inline]
    pub fn glance<'s>(
        &'s self,
        section: &'s Section<Walks>,
        dentry: &Arc<Dentry>,
    ) -> Option<&'s Arc<Mount>> {
        let is = |child: &Child| child.is_on(dentry);
        let child = self.links.find(section, hash_of(dentry), is)?;
        Some(&child.mount)
    }
    /// Whether `MNT_EXPIRE` has to hear of it when somebody comes here.
    #[inline]
    pub fn is_marked_unused(&self) -> bool {
        self.unused.load(Ordering::Relaxed)
    }
    /// What stands on it, oldest first.
    fn children(&self) -> Vec<Arc<Mount>> {
        let mut all: Vec<_> = {
            let links = self.links.lock();
            links.iter().map(|child| child.mount.clone()).collect()
        };
        all.sort_unstable_by_key(|mount| mount.id);
        all
    }
    fn has_children(&self) -> bool {
        !self.links.lock().is_empty()
    }
    fn namespace(&self) -> u64 {
        self.links.lock().namespace
    }

    /// Counts an open writer; EROFS if there may be none.
    pub fn get_write(&self) -> Result<()> {
        if self.is_read_only() {
            return Err(Errno::EROFS);
        }
        self.writers.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    pub fn put_write(&self) {
        self.writers.fetch_sub(1, Ordering::Relaxed);
    }

    /// This mount and all below it, parents first.
    fn subtree(self: &Arc<Self>) -> Vec<Arc<Mount>> {
        let mut all = alloc::vec![self.clone()];
        let mut next = 0;
        while let Some(mount) = all.get(next).cloned() {
            all.extend(mount.children());
            next += 1;
        }
        all
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.sb.drop_mount();
    }
}

/// Where a dentry's mount is found: dentries are some hundred bytes apart.
#[inline]
fn hash_of(dentry: &Arc<Dentry>) -> u64 {
    Arc::as_ptr(dentry) as u64 >> 6
}
