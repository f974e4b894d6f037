//! Mounts: where file systems stand in the tree, and [`Path`], a place in it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use abi::fs::MountFlags;
use abi::{Errno, Result};
use ksync::SpinLock;

use crate::fs::dentry::Dentry;
use crate::fs::inode::Inode;
use crate::fs::superblock::SuperBlock;
use crate::sync::Mutex;

/// A place in the tree: a dentry as seen through a mount.
#[derive(Clone)]
pub struct Path {
    pub mount: Arc<Mount>,
    pub dentry: Arc<Dentry>,
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.dentry, &other.dentry) && Arc::ptr_eq(&self.mount, &other.mount)
    }
}

impl Path {
    #[inline]
    pub fn inode(&self) -> &Arc<Inode> {
        self.dentry.inode()
    }

    /// Whether this is the root of its mount.
    #[inline]
    pub fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.mount.root, &self.dentry)
    }

    /// The topmost mount on this place, or the place itself.
    pub fn descend(mut self) -> Self {
        while self.dentry.is_mountpoint() {
            let Some(mount) = self.mount.child_at(&self.dentry) else {
                break;
            };
            self = mount.root_path();
        }
        self
    }

    /// From the root of a mount to the place it stands on, as often as needed; `None` at the top.
    fn leave_mount(&self) -> Option<Path> {
        let mut at = self.mount.position()?;
        while at.is_mount_root() {
            at = at.mount.position()?;
        }
        Some(at)
    }

    /// The parent directory, not above `root`.
    pub fn parent(&self, root: &Path) -> Path {
        if self == root {
            return self.clone();
        }
        let mut at = self.clone();
        while at.is_mount_root() {
            match at.mount.position() {
                Some(below) => at = below,
                None => return at,
            }
            if at == *root {
                return at.descend();
            }
        }
        match at.dentry.parent() {
            Some(dentry) => Path {
                mount: at.mount,
                dentry,
            }
            .descend(),
            None => at,
        }
    }

    /// The text of the place as seen from `root`. The second value is false if it cannot be reached from there.
    pub fn to_bytes(&self, root: &Path) -> (Vec<u8>, bool) {
        let mut names = Vec::new();
        let mut at = self.clone();
        let reached = loop {
            if at == *root {
                break true;
            }
            if at.is_mount_root() {
                match at.leave_mount() {
                    Some(below) => {
                        at = below;
                        continue;
                    }
                    None => break false,
                }
            }
            let Some(parent) = at.dentry.parent() else {
                names.push(at.dentry.name());
                break false;
            };
            names.push(at.dentry.name());
            at.dentry = parent;
        };
        let mut out = Vec::with_capacity(names.iter().map(|name| name.len() + 1).sum());
        for name in names.iter().rev() {
            out.push(b'/');
            out.extend_from_slice(name);
        }
        if out.is_empty() {
            out.push(b'/');
        }
        (out, reached)
    }

    /// The text as `/proc` shows it: with ` (deleted)`, and plain names of things that are in no tree.
    pub fn display(&self, root: &Path) -> Vec<u8> {
        if self.mount.is_internal() && self.dentry.is_root() {
            let name = self.dentry.name();
            if !name.is_empty() {
                return name.to_vec();
            }
            // Pipes and sockets are many: they bear no names but what follows from their numbers.
            let kind = match self.mount.sb.fs_name {
                "sockfs" => "socket",
                other => other.strip_suffix("fs").unwrap_or(other),
            };
            return alloc::format!("{kind}:[{}]", self.inode().ino).into_bytes();
        }
        let (mut out, _) = self.to_bytes(root);
        if self.dentry.is_deleted() {
            out.extend_from_slice(b" (deleted)");
        }
        out
    }

    /// Whether set-id bits mean nothing here.
    pub fn mount_is_nosuid(&self) -> bool {
        self.mount.flags().contains(MountFlags::NOSUID)
    }

    /// EROFS if nothing may be changed here.
    #[inline]
    pub fn check_writable(&self) -> Result<()> {
        if self.mount.is_read_only() {
            Err(Errno::EROFS)
        } else {
            Ok(())
        }
    }
}

/// How mount events spread; kept for `/proc`, and heeded by bind (an unbindable mount cannot be bound).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Private,
    /// With the number of its peer group.
    Shared(u64),
    /// With the group it receives from.
    Slave(u64),
    Unbindable,
}

struct Links {
    /// Where it stands; `None` for the top, and once detached.
    position: Option<Path>,
    /// What stands on it, by the address of the dentry below.
    children: BTreeMap<usize, Arc<Mount>>,
    propagation: Propagation,
}

/// A file system, or a part of it, at a place.
///
/// # Invariants
/// - `links` change only under [`TREE`]; readers take the spin lock alone.
/// - A child in `children` has its `position` there, and its dentry counts one mount more.
pub struct Mount {
    pub id: u64,
    pub root: Arc<Dentry>,
    pub sb: Arc<SuperBlock>,
    /// What `/proc/mounts` shows first.
    pub source: Box<[u8]>,
    flags: AtomicU64,
    writers: AtomicI64,
    links: SpinLock<Links>,
}

/// Serialises changes of the mount tree.
static TREE: Mutex<()> = Mutex::new(());
static NEXT_ID: AtomicU64 = AtomicU64::new(1);
static NEXT_GROUP: AtomicU64 = AtomicU64::new(1);

/// The flags that belong to a mount, not to its file system.
pub const PER_MOUNT: MountFlags = MountFlags::RDONLY
    .union(MountFlags::NOSUID)
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC)
    .union(MountFlags::NOATIME)
    .union(MountFlags::NODIRATIME)
    .union(MountFlags::RELATIME)
    .union(MountFlags::NOSYMFOLLOW);

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
            links: SpinLock::new(Links {
                position: None,
                children: BTreeMap::new(),
                propagation: Propagation::Private,
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
    pub fn propagation(&self) -> Propagation {
        self.links.lock().propagation
    }
    /// The mount that stands on `dentry` of this mount.
    pub fn child_at(&self, dentry: &Arc<Dentry>) -> Option<Arc<Mount>> {
        self.links.lock().children.get(&key(dentry)).cloned()
    }
    fn children(&self) -> Vec<Arc<Mount>> {
        self.links.lock().children.values().cloned().collect()
    }
    fn has_children(&self) -> bool {
        !self.links.lock().children.is_empty()
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
    pub fn subtree(self: &Arc<Self>) -> Vec<Arc<Mount>> {
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

fn key(dentry: &Arc<Dentry>) -> usize {
    Arc::as_ptr(dentry) as usize
}

/// Puts `mount` on `place`, which must be topmost there. [`TREE`] is held.
fn attach_locked(mount: &Arc<Mount>, place: &Path) {
    place.dentry.add_mount();
    mount.links.lock().position = Some(place.clone());
    let old = place
        .mount
        .links
        .lock()
        .children
        .insert(key(&place.dentry), mount.clone());
    debug_assert!(old.is_none(), "a mount always stands on the topmost one");
}

/// Takes `mount` from its place. [`TREE`] is held.
fn detach_locked(mount: &Arc<Mount>) {
    let position = mount.links.lock().position.take();
    if let Some(place) = position {
        let removed = place
            .mount
            .links
            .lock()
            .children
            .remove(&key(&place.dentry));
        place.dentry.remove_mount();
        drop(removed);
    }
}

/// Mounts `mount` on `place`.
pub fn attach(mount: &Arc<Mount>, place: &Path) -> Result<()> {
    let _tree = TREE.lock();
    let place = place.clone().descend();
    if place.dentry.is_deleted() {
        return Err(Errno::ENOENT);
    }
    if mount.root.inode().is_dir() != place.inode().is_dir() {
        return Err(Errno::ENOTDIR);
    }
    attach_locked(mount, &place);
    Ok(())
}

/// Binds `from` at `to`; with `recursive`, what is mounted below comes along.
pub fn bind(from: &Path, to: &Path, recursive: bool) -> Result<()> {
    let _tree = TREE.lock();
    if from.mount.is_internal() || from.mount.propagation() == Propagation::Unbindable {
        return Err(Errno::EINVAL);
    }
    let to = to.clone().descend();
    if from.inode().is_dir() != to.inode().is_dir() {
        return Err(Errno::ENOTDIR);
    }
    if to.dentry.is_deleted() {
        return Err(Errno::ENOENT);
    }
    let copy = copy_tree_locked(&from.mount, &from.dentry, recursive);
    attach_locked(&copy, &to);
    Ok(())
}

/// Copies `mount` as seen from `root`, and with `recursive` what is mounted below `root`.
fn copy_tree_locked(mount: &Arc<Mount>, root: &Arc<Dentry>, recursive: bool) -> Arc<Mount> {
    let top = copy_one(mount, root);
    if !recursive {
        return top;
    }
    let mut pairs = alloc::vec![(mount.clone(), top.clone())];
    while let Some((original, copy)) = pairs.pop() {
        for child in original.children() {
            let Some(place) = child.position() else {
                continue;
            };
            let skipped = child.propagation() == Propagation::Unbindable
                || !copy.root.is_ancestor_of(&place.dentry);
            if skipped {
                continue;
            }
            let child_copy = copy_one(&child, &child.root);
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

fn copy_one(mount: &Arc<Mount>, root: &Arc<Dentry>) -> Arc<Mount> {
    let copy = Mount::new(&mount.sb, root, mount.flags(), &mount.source);
    copy.links.lock().propagation = mount.propagation();
    copy
}

/// Moves the mount whose root is `from` to `to`.
pub fn move_mount(from: &Path, to: &Path) -> Result<()> {
    let _tree = TREE.lock();
    let position = from.mount.position();
    if !from.is_mount_root() || position.is_none() {
        return Err(Errno::EINVAL);
    }
    if matches!(position, Some(place) if matches!(place.mount.propagation(), Propagation::Shared(_)))
    {
        return Err(Errno::EINVAL);
    }
    let to = to.clone().descend();
    if from.inode().is_dir() != to.inode().is_dir() {
        return Err(Errno::ENOTDIR);
    }
    let mut above = Some(to.mount.clone());
    while let Some(mount) = above {
        if Arc::ptr_eq(&mount, &from.mount) {
            return Err(Errno::ELOOP);
        }
        above = mount.position().map(|place| place.mount);
    }
    detach_locked(&from.mount);
    attach_locked(&from.mount, &to);
    Ok(())
}

/// Takes the mount whose root is `path` away. `lazy` detaches it though it is in use.
pub fn unmount(path: Path, lazy: bool) -> Result<()> {
    let _tree = TREE.lock();
    if !path.is_mount_root() {
        return Err(Errno::EINVAL);
    }
    let Path { mount, dentry } = path;
    drop(dentry);
    if mount.position().is_none() {
        return Err(Errno::EINVAL);
    }
    if lazy {
        for mount in mount.subtree().iter().rev() {
            detach_locked(mount);
        }
        return Ok(());
    }
    // Two references are expected: the tree's and ours. Every open file, working directory or walk has one more.
    if mount.has_children() || Arc::strong_count(&mount) > 2 {
        return Err(Errno::EBUSY);
    }
    detach_locked(&mount);
    Ok(())
}

/// Changes the propagation of `mount`, or of its whole subtree.
pub fn set_propagation(mount: &Arc<Mount>, flag: MountFlags, recursive: bool) {
    let _tree = TREE.lock();
    let mounts = if recursive {
        mount.subtree()
    } else {
        alloc::vec![mount.clone()]
    };
    for mount in mounts {
        let mut links = mount.links.lock();
        links.propagation = match (flag, links.propagation) {
            (MountFlags::SHARED, Propagation::Shared(group)) => Propagation::Shared(group),
            (MountFlags::SHARED, _) => {
                Propagation::Shared(NEXT_GROUP.fetch_add(1, Ordering::Relaxed))
            }
            (MountFlags::SLAVE, Propagation::Shared(group)) => Propagation::Slave(group),
            (MountFlags::SLAVE, other) => other,
            (MountFlags::UNBINDABLE, _) => Propagation::Unbindable,
            _ => Propagation::Private,
        };
    }
}

/// Changes flags of the mount; to read-only only while nobody writes.
pub fn remount(mount: &Arc<Mount>, flags: MountFlags) -> Result<()> {
    let _tree = TREE.lock();
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
    if !old_root.is_mount_root() || !new_root.is_mount_root() {
        return Err(Errno::EINVAL);
    }
    if Arc::ptr_eq(&old_root.mount, &new_root.mount) || Arc::ptr_eq(&old_root.mount, &put_old.mount)
    {
        return Err(Errno::EBUSY);
    }
    let old_position = old_root.mount.position();
    if new_root.mount.position().is_none() || old_position.is_none() {
        return Err(Errno::EINVAL);
    }
    // `put_old` must lie at or below the new root.
    let mut at = put_old.clone();
    while !Arc::ptr_eq(&at.mount, &new_root.mount) {
        at = at.mount.position().ok_or(Errno::EINVAL)?;
    }
    detach_locked(&new_root.mount);
    detach_locked(&old_root.mount);
    if let Some(place) = old_position {
        attach_locked(&new_root.mount, &place);
    }
    attach_locked(&old_root.mount, put_old);
    Ok(())
}

/// A tree of mounts, as a set of processes sees it.
pub struct MountNamespace {
    /// The mount at the very top, which cannot be unmounted; the root file system stands on it.
    pub top: Arc<Mount>,
}

impl MountNamespace {
    pub fn new(top: Arc<Mount>) -> Arc<Self> {
        Arc::new(Self { top })
    }

    /// The root directory: what is topmost on the top mount's root.
    pub fn root(&self) -> Path {
        self.top.root_path().descend()
    }

    /// Every mount, parents first.
    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        let _tree = TREE.lock();
        let mut all = self.top.subtree();
        all.sort_by_key(|mount| mount.id);
        all
    }
}

impl Drop for MountNamespace {
    fn drop(&mut self) {
        let _tree = TREE.lock();
        for mount in self.top.subtree().iter().rev() {
            detach_locked(mount);
        }
    }
}
