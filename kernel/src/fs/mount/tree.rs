//! Changes of the tree: mounting, binding, moving, and what these do elsewhere by propagation.

use alloc::alloc::{Layout, handle_alloc_error};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use abi::fs::{MountFlags, NSFS_MAGIC};
use abi::{Errno, Result};
use ksync::NewEntry;

use super::propagation::{self, Receiver, Relation};
use super::{Child, Mount, PER_MOUNT, Path, TREE, Tree, hash_of};
use crate::fs::dentry::Dentry;

/// The most mounts that a tree may have (`fs.mount-max`): shared mounts in shared mounts multiply.
static MAX_MOUNTS: AtomicUsize = AtomicUsize::new(100_000);

pub fn max_mounts() -> usize {
    MAX_MOUNTS.load(Ordering::Relaxed)
}

/// Sets the limit; EINVAL below 1 and beyond what Linux's has room for.
pub fn set_max_mounts(max: i64) -> Result<()> {
    let max = u32::try_from(max).map_err(|_| Errno::EINVAL)?;
    if max == 0 {
        return Err(Errno::EINVAL);
    }
    MAX_MOUNTS.store(max as usize, Ordering::Relaxed);
    Ok(())
}

/// Puts `mount` on `place`, on which nothing stands. [`TREE`] is held.
pub(super) fn attach_locked(mount: &Arc<Mount>, place: &Path) {
    place.dentry.add_mount();
    mount.links.lock().position = Some(place.clone());
    let child = Child {
        below: Arc::as_ptr(&place.dentry) as usize,
        mount: mount.clone(),
    };
    let entry = NewEntry::new(hash_of(&place.dentry), child);
    match place.mount.links.lock_for_one() {
        Ok(mut links) => links.insert(entry),
        Err(_) => handle_alloc_error(Layout::new::<Child>()),
    }
}

/// Takes `mount` from its place. [`TREE`] is held.
pub(super) fn detach_locked(mount: &Arc<Mount>) {
    let position = mount.links.lock().position.take();
    if let Some(place) = position {
        let hash = hash_of(&place.dentry);
        let is = |child: &Child| child.is_on(&place.dentry);
        let removed = place.mount.links.lock().remove(hash, is);
        place.dentry.remove_mount();
        drop(removed);
    }
}

/// `top` and all below now stand in that namespace.
pub(super) fn commit(tree: &mut Tree, top: &Arc<Mount>, namespace: u64) {
    for mount in top.subtree() {
        let old = core::mem::replace(&mut mount.links.lock().namespace, namespace);
        if old == 0 {
            tree.mounted += 1;
        }
    }
}

/// Takes mounts out of the tree and out of their groups. The answer is to be dropped after [`TREE`].
pub(super) fn dismantle(tree: &mut Tree, mounts: Vec<Arc<Mount>>) -> Vec<Arc<Mount>> {
    for mount in &mounts {
        detach_locked(mount);
        propagation::leave(tree, mount);
        let old = core::mem::replace(&mut mount.links.lock().namespace, 0);
        if old != 0 {
            tree.mounted -= 1;
        }
    }
    mounts
}

/// The topmost mount on the target of a call: ENOENT if it was removed.
fn target(place: &Path) -> Result<Path> {
    let place = place.clone().descend();
    if place.dentry.is_deleted() {
        return Err(Errno::ENOENT);
    }
    Ok(place)
}

/// Puts `source` with all below on `place`, and copies of it where that propagates to. ENOSPC changes nothing.
fn graft(tree: &mut Tree, source: &Arc<Mount>, place: &Path) -> Result<()> {
    let receivers = propagation::receivers(&place.mount, |mount| {
        mount.is_mounted() && mount.root.is_ancestor_of(&place.dentry)
    });
    let mounts = source.subtree();
    let new = mounts.len().saturating_mul(receivers.len() + 1);
    if tree.mounted.saturating_add(new) > max_mounts() {
        return Err(Errno::ENOSPC);
    }
    if place.mount.is_shared() {
        for mount in &mounts {
            propagation::share(tree, mount);
        }
    }
    let copies = copies_for(tree, source, &receivers);
    detach_locked(source);
    attach_locked(source, place);
    commit(tree, source, place.mount.namespace());
    for (receiver, copy) in receivers.iter().zip(&copies) {
        let at = Path {
            mount: receiver.mount.clone(),
            dentry: place.dentry.clone(),
        };
        slip_under(copy, &at);
        commit(tree, copy, receiver.mount.namespace());
    }
    Ok(())
}

/// A copy of `source` for each receiver.
fn copies_for(tree: &mut Tree, source: &Arc<Mount>, receivers: &[Receiver]) -> Vec<Arc<Mount>> {
    let mut copies: Vec<Arc<Mount>> = Vec::with_capacity(receivers.len());
    for receiver in receivers {
        let original = receiver
            .from
            .checked_sub(1)
            .and_then(|index| copies.get(index))
            .unwrap_or(source)
            .clone();
        copies.push(copy_tree(
            tree,
            &original,
            &original.root,
            true,
            receiver.relation,
        ));
    }
    copies
}

/// Puts `copy` on `place`. What stands there already now stands on the copy, so that it is still what is seen.
fn slip_under(copy: &Arc<Mount>, place: &Path) {
    let over = place.mount.child_at(&place.dentry);
    if let Some(over) = &over {
        detach_locked(over);
    }
    attach_locked(copy, place);
    if let Some(over) = &over {
        attach_locked(over, &copy.root_path().descend());
    }
}

/// Mounts `mount`, which is new, on `place`.
pub fn attach(mount: &Arc<Mount>, place: &Path) -> Result<()> {
    let mut tree = TREE.lock();
    let place = target(place)?;
    if !place.mount.is_mounted() {
        return Err(Errno::EINVAL);
    }
    // The same file system twice at one place is refused.
    if place.is_mount_root() && Arc::ptr_eq(&place.mount.sb, &mount.sb) {
        return Err(Errno::EBUSY);
    }
    if mount.root.inode().is_dir() != place.inode().is_dir() {
        return Err(Errno::ENOTDIR);
    }
    graft(&mut tree, mount, &place)
}

/// Binds `from` at `to`; with `recursive`, what is mounted below comes along. Of what stands nowhere, files that name
/// namespaces can be bound.
pub fn bind(from: &Path, to: &Path, recursive: bool) -> Result<()> {
    let mut tree = TREE.lock();
    let to = target(to)?;
    let is_bindable = from.mount.is_mounted() || from.mount.sb.magic == NSFS_MAGIC;
    if !to.mount.is_mounted() || !is_bindable || from.mount.is_unbindable() {
        return Err(Errno::EINVAL);
    }
    if from.inode().is_dir() != to.inode().is_dir() {
        return Err(Errno::ENOTDIR);
    }
    let copy = copy_tree(
        &mut tree,
        &from.mount,
        &from.dentry,
        recursive,
        Relation::Like,
    );
    let mut unused = Vec::new();
    let done = graft(&mut tree, &copy, &to);
    if done.is_err() {
        unused = dismantle(&mut tree, copy.subtree());
    }
    drop(tree);
    drop(unused);
    done
}

/// Copies `mount` as seen from `root`, and with `recursive` what is mounted below `root` and may be copied.
fn copy_tree(
    tree: &mut Tree,
    mount: &Arc<Mount>,
    root: &Arc<Dentry>,
    recursive: bool,
    relation: Relation,
) -> Arc<Mount> {
    let top = copy_one(tree, mount, root, relation);
    if !recursive {
        return top;
    }
    let mut pairs = alloc::vec![(mount.clone(), top.clone())];
    while let Some((original, copy)) = pairs.pop() {
        for child in original.children() {
            let Some(place) = child.position() else {
                continue;
            };
            if child.is_unbindable() || !copy.root.is_ancestor_of(&place.dentry) {
                continue;
            }
            let child_copy = copy_one(tree, &child, &child.root, relation);
            attach_locked(
                &child_copy,
                &Path {
                    mount: copy.clone(),
                    dentry: place.dentry,
                },
            );
            pairs.push((child, child_copy));
        }
    }
    top
}

fn copy_one(
    tree: &mut Tree,
    mount: &Arc<Mount>,
    root: &Arc<Dentry>,
    relation: Relation,
) -> Arc<Mount> {
    let flags = mount.flags() - MountFlags::KERNMOUNT;
    let copy = Mount::new(&mount.sb, root, flags, &mount.source);
    propagation::relate(tree, &copy, mount, relation);
    copy
}

/// Moves the mount whose root is `from` to `to`.
pub fn move_mount(from: &Path, to: &Path) -> Result<()> {
    let mut tree = TREE.lock();
    let to = target(to)?;
    let position = from.mount.position().ok_or(Errno::EINVAL)?;
    if !to.mount.is_mounted() || !from.mount.is_mounted() || !from.is_mount_root() {
        return Err(Errno::EINVAL);
    }
    if from.inode().is_dir() != to.inode().is_dir() || position.mount.is_shared() {
        return Err(Errno::EINVAL);
    }
    let has_unbindable = || {
        let all = from.mount.subtree();
        all.iter().any(|mount| mount.is_unbindable())
    };
    if to.mount.is_shared() && has_unbindable() {
        return Err(Errno::EINVAL);
    }
    let mut above = Some(to.mount.clone());
    while let Some(mount) = above {
        if Arc::ptr_eq(&mount, &from.mount) {
            return Err(Errno::ELOOP);
        }
        above = mount.position().map(|place| place.mount);
    }
    graft(&mut tree, &from.mount, &to)
}

/// Changes flags of the mount; to read-only only while nobody writes.
pub fn remount(mount: &Arc<Mount>, flags: MountFlags) -> Result<()> {
    let _tree = TREE.lock();
    if !mount.is_mounted() {
        return Err(Errno::EINVAL);
    }
    let to_read_only = flags.contains(MountFlags::RDONLY) && !mount.is_read_only();
    if to_read_only && mount.writers.load(Ordering::Relaxed) > 0 {
        return Err(Errno::EBUSY);
    }
    mount.set_flags((mount.flags() - PER_MOUNT) | (flags & PER_MOUNT));
    Ok(())
}

/// Swaps the root mount: `new_root` becomes the top, the old top stands on `put_old` (`pivot_root`).
pub fn pivot(old_root: &Path, new_root: &Path, put_old: &Path) -> Result<()> {
    let _tree = TREE.lock();
    let put_old = target(put_old)?;
    let old_position = old_root.mount.position();
    let new_position = new_root.mount.position();
    let shared = |place: &Option<Path>| place.as_ref().is_some_and(|at| at.mount.is_shared());
    if put_old.mount.is_shared() || shared(&old_position) || shared(&new_position) {
        return Err(Errno::EINVAL);
    }
    if !old_root.mount.is_mounted() || !new_root.mount.is_mounted() {
        return Err(Errno::EINVAL);
    }
    if new_root.dentry.is_deleted() {
        return Err(Errno::ENOENT);
    }
    if Arc::ptr_eq(&old_root.mount, &new_root.mount) || Arc::ptr_eq(&old_root.mount, &put_old.mount)
    {
        return Err(Errno::EBUSY);
    }
    if !old_root.is_mount_root() || !new_root.is_mount_root() || new_position.is_none() {
        return Err(Errno::EINVAL);
    }
    let old_position = old_position.ok_or(Errno::EINVAL)?;
    if !put_old.is_below(new_root) || !new_root.is_below(old_root) {
        return Err(Errno::EINVAL);
    }
    detach_locked(&new_root.mount);
    detach_locked(&old_root.mount);
    attach_locked(&new_root.mount, &old_position);
    attach_locked(&old_root.mount, &put_old);
    Ok(())
}
