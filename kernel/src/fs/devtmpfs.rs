//! devtmpfs: one tmpfs for the whole system in which drivers make their nodes.

use alloc::sync::Arc;

use abi::fs::{DevNum, MountFlags};
use abi::{Errno, Result};
use ksync::SpinLock;
use vfs::hash_component;

use crate::fs::dentry::{Cached, Dentry};
use crate::fs::inode::{FileKind, NewInode};
use crate::fs::superblock::{FileSystem, SuperBlock};
use crate::fs::tmpfs;

/// The type for `mount -t`. Every mount shows the same tree.
pub struct Devtmpfs;

static INSTANCE: SpinLock<Option<Arc<SuperBlock>>> = SpinLock::new(None);

fn instance() -> Result<Arc<SuperBlock>> {
    if let Some(sb) = &*INSTANCE.lock() {
        return Ok(sb.clone());
    }
    let fresh = tmpfs::new_devtmpfs()?;
    Ok(INSTANCE.lock().get_or_insert(fresh).clone())
}

impl FileSystem for Devtmpfs {
    fn name(&self) -> &'static str {
        "devtmpfs"
    }
    fn mount(&self, _source: &[u8], _flags: MountFlags, _data: &[u8]) -> Result<Arc<SuperBlock>> {
        instance()
    }
}

/// The directory and last name of a path below `/dev`; directories are made as needed.
fn resolve<'n>(root: &Arc<Dentry>, name: &'n str, make: bool) -> Result<(Arc<Dentry>, &'n str)> {
    let mut dir = root.clone();
    let mut rest = name;
    while let Some((first, tail)) = rest.split_once('/') {
        dir = match find(&dir, first) {
            Some(found) => found,
            None if make => insert(&dir, first, FileKind::Dir, DevNum(0), 0o755)?,
            None => return Err(Errno::ENOENT),
        };
        rest = tail;
    }
    Ok((dir, rest))
}

fn find(dir: &Arc<Dentry>, name: &str) -> Option<Arc<Dentry>> {
    match dir.find(name.as_bytes(), hash_component(name.as_bytes()).1) {
        Cached::Present(dentry) => Some(dentry),
        _ => None,
    }
}

fn insert(
    dir: &Arc<Dentry>,
    name: &str,
    kind: FileKind,
    rdev: DevNum,
    mode: u32,
) -> Result<Arc<Dentry>> {
    let parent = dir.inode();
    let _guard = parent.lock.lock();
    if find(dir, name).is_some() {
        return Err(Errno::EEXIST);
    }
    let new = NewInode {
        kind,
        mode,
        uid: 0,
        gid: 0,
        rdev,
    };
    let inode = parent.ops.create(parent, name.as_bytes(), &new)?;
    let dentry = Dentry::new_child(dir, name.as_bytes(), inode);
    dir.insert(&dentry, true)?;
    Ok(dentry)
}

/// Makes a node at a path below `/dev` (`null`, `pts/ptmx`); EEXIST if there is one.
pub fn create_node(name: &str, kind: FileKind, major: u32, minor: u32, mode: u32) -> Result<()> {
    let sb = instance()?;
    let (dir, last) = resolve(sb.root()?, name, true)?;
    insert(&dir, last, kind, DevNum::new(major, minor), mode).map(drop)
}

/// Makes a character device; a failure is logged.
pub fn create_char(name: &str, major: u32, minor: u32, mode: u32) {
    if let Err(error) = create_node(name, FileKind::Char, major, minor, mode) {
        log::warn!("devtmpfs: {name}: {error:?}");
    }
}

/// Makes a directory, as a mount point (`pts`, `shm`).
pub fn create_dir(name: &str) -> Result<()> {
    create_node(name, FileKind::Dir, 0, 0, 0o755)
}

/// Makes a symlink (`virtio-ports/NAME` -> `../vport0p1`).
pub fn create_symlink(name: &str, target: &str) -> Result<()> {
    let sb = instance()?;
    let (dir, last) = resolve(sb.root()?, name, true)?;
    let parent = dir.inode();
    let _guard = parent.lock.lock();
    if find(&dir, last).is_some() {
        return Err(Errno::EEXIST);
    }
    let new = NewInode {
        kind: FileKind::Symlink,
        mode: 0o777,
        uid: 0,
        gid: 0,
        rdev: DevNum(0),
    };
    let inode = parent
        .ops
        .symlink(parent, last.as_bytes(), target.as_bytes(), &new)?;
    dir.insert(&Dentry::new_child(&dir, last.as_bytes(), inode), true)
}
