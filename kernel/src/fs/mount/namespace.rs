//! [`MountNamespace`]: a tree of mounts, as a set of processes sees it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::fs::MountFlags;
use abi::{Errno, Result};

use super::{Mount, NEXT_ID, Path, TREE, tree};
use crate::fs::superblock::SuperBlock;

/// A tree of mounts.
pub struct MountNamespace {
    /// The mount at the very top, which cannot be unmounted; the root file system stands on it.
    top: Arc<Mount>,
}

impl MountNamespace {
    /// A namespace of `top`, which stands nowhere, alone.
    pub fn new(top: Arc<Mount>) -> Arc<Self> {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let mut tree = TREE.lock();
        tree::commit(&mut tree, &top, id);
        drop(tree);
        Arc::new(Self { top })
    }

    /// The root directory: what is topmost on the top mount's root.
    pub fn root(&self) -> Path {
        self.top.root_path().descend()
    }

    /// Shows every mount to `visit`, in the order in which they were made, while none can come or go: so that nobody
    /// who looks at the tree keeps a mount in it busy.
    pub fn each(&self, mut visit: impl FnMut(&Arc<Mount>) -> Result<()>) -> Result<()> {
        let tree = TREE.lock();
        let mut all = self.mounts();
        let done = all.iter().try_for_each(&mut visit);
        all.clear();
        drop(tree);
        done
    }

    /// The file systems that are mounted, each once.
    pub fn super_blocks(&self) -> Vec<Arc<SuperBlock>> {
        let tree = TREE.lock();
        let mounts = self.mounts();
        let mut all: Vec<Arc<SuperBlock>> = Vec::new();
        for mount in &mounts {
            if !all.iter().any(|sb| Arc::ptr_eq(sb, &mount.sb)) {
                all.push(mount.sb.clone());
            }
        }
        drop(mounts);
        drop(tree);
        all
    }

    /// Makes a file system read-only, through whatever mount it is reached.
    ///
    /// # Errors
    /// `EBUSY` while somebody writes.
    pub fn make_read_only(&self, sb: &Arc<SuperBlock>) -> Result<()> {
        let tree = TREE.lock();
        let mounts = self.mounts();
        let writes = |mount: &&Arc<Mount>| {
            Arc::ptr_eq(&mount.sb, sb) && mount.writers.load(Ordering::Relaxed) > 0
        };
        let busy = mounts.iter().any(|mount| writes(&mount));
        if !busy {
            sb.set_flags(sb.flags() | MountFlags::RDONLY);
        }
        drop(mounts);
        drop(tree);
        if busy { Err(Errno::EBUSY) } else { Ok(()) }
    }

    fn mounts(&self) -> Vec<Arc<Mount>> {
        let mut all = self.top.subtree();
        all.sort_by_key(|mount| mount.id);
        all
    }
}

impl Drop for MountNamespace {
    fn drop(&mut self) {
        let mut tree = TREE.lock();
        let gone = tree::dismantle(&mut tree, self.top.subtree());
        drop(tree);
        drop(gone);
    }
}
