//! Unmounting, lazy or not, and what goes along by propagation.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::{Errno, Result};
use bitflags::bitflags;

use super::{Mount, Path, TREE, Tree, propagation, tree};

bitflags! {
    /// How a mount is taken away.
    #[derive(Clone, Copy)]
    pub struct UnmountFlags: u32 {
        /// With all below, though in use.
        const LAZY = 1;
        /// Only if nobody used it since the last call that asked this.
        const EXPIRE = 2;
    }
}

/// Takes the mount whose root is `path` away. `root` is the caller's root directory.
pub fn unmount(path: Path, how: UnmountFlags, root: &Path) -> Result<()> {
    let mut tree = TREE.lock();
    if !path.is_mount_root() || !path.mount.is_mounted() || path.mount.position().is_none() {
        return Err(Errno::EINVAL);
    }
    let Path { mount, dentry } = path;
    drop(dentry);
    if how.contains(UnmountFlags::EXPIRE) {
        if Arc::ptr_eq(&mount, &root.mount) {
            return Err(Errno::EINVAL);
        }
        if mount.has_children() || Arc::strong_count(&mount) > 2 {
            return Err(Errno::EBUSY);
        }
        if !mount.unused.swap(true, Ordering::Relaxed) {
            return Err(Errno::EAGAIN);
        }
    }
    if !how.contains(UnmountFlags::LAZY) && is_busy(&mount) {
        return Err(Errno::EBUSY);
    }
    let gone = unmount_tree(&mut tree, &mount);
    drop(tree);
    drop(gone);
    Ok(())
}

/// Whether `mount`, or one that would go with it by propagation, is in use.
fn is_busy(mount: &Arc<Mount>) -> bool {
    // Two references are expected: the tree's and ours. Every open file, working directory or walk has one more.
    if mount.has_children() || Arc::strong_count(mount) > 2 {
        return true;
    }
    let Some(place) = mount.position() else {
        return false;
    };
    let others: Vec<_> = propagation::receivers(&place.mount, |_| true)
        .iter()
        .filter_map(|receiver| receiver.mount.child_at(&place.dentry))
        .collect();
    drop(place);
    others.iter().any(|other| {
        // What covers it entirely stands on it, and will take its place.
        let cover = usize::from(other.child_at(&other.root).is_some());
        other.children().len() == cover && Arc::strong_count(other) > 2 + cover
    })
}

/// Unmounts `top`, all below, and what goes with these by propagation.
fn unmount_tree(tree: &mut Tree, top: &Arc<Mount>) -> Vec<Arc<Mount>> {
    let mut gone = top.subtree();
    let also = propagation::also_unmounted(&gone);
    gone.extend(also.iter().cloned());
    let ids: BTreeSet<u64> = gone.iter().map(|mount| mount.id).collect();
    let stays = |mount: &Mount| !ids.contains(&mount.id);
    // What covered a mount that goes comes to stand where that stood.
    let mut moved = Vec::new();
    for mount in &also {
        let cover = mount.child_at(&mount.root).filter(|cover| stays(cover));
        let mut place = mount.position();
        while let Some(at) = place.take_if(|at| !stays(&at.mount)) {
            place = at.mount.position();
        }
        moved.extend(cover.zip(place));
    }
    for (cover, _) in &moved {
        tree::detach_locked(cover);
    }
    let gone = tree::dismantle(tree, gone);
    for (cover, place) in &moved {
        tree::attach_locked(cover, place);
    }
    gone
}
