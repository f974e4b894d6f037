//! Which instance of devpts a `ptmx` opens, and the numbers of the slaves there.
//!
//! A `ptmx` in an instance opens masters of that; any other, as `/dev/ptmx`, those of the instance that is mounted on
//! `pts` beside it.

use alloc::format;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;

use abi::fs::{DevNum, OpenFlags};
use abi::{Errno, Result};

use super::core::Tty;
use super::devpts::{COUNT, DEVPTS_MAGIC, FIRST_INO, Instance, MAX_PTYS, NUMBERS, Slot, node};
use super::pty;
use crate::fs::{Dentry, File, FileMode, Mount, Path, SuperBlock, path};
use crate::task;

/// The mount of an instance that is on `pts` in the directory of this node.
///
/// # Errors
/// `ENOENT` without such a name, `ENODEV` if it is something else.
fn beside(node: &Path) -> Result<Arc<Mount>> {
    let dir = node.dentry.parent().ok_or(Errno::ENOENT)?;
    // The directory of a file that was bound elsewhere does not show there.
    if !node.mount.root.is_ancestor_of(&dir) {
        return Err(Errno::ENOENT);
    }
    let (_, hash) = vfs::hash_component(b"pts");
    let pts = Path {
        mount: node.mount.clone(),
        dentry: path::find_child(&dir, b"pts", hash)?,
    }
    .descend();
    let sb = &pts.mount.sb;
    let is_whole =
        sb.magic == DEVPTS_MAGIC && pts.is_mount_root() && Arc::ptr_eq(sb.root()?, &pts.mount.root);
    if is_whole {
        Ok(pts.mount)
    } else {
        Err(Errno::ENODEV)
    }
}

/// The instance whose master this `ptmx` opens: its own, or that which is mounted beside it.
///
/// # Errors
/// `ENOENT` and `ENODEV` without one.
pub fn find(ptmx: &Path) -> Result<Devices> {
    let own = &ptmx.mount.sb;
    if own.magic == DEVPTS_MAGIC {
        return Ok(Devices(own.clone()));
    }
    Ok(Devices(beside(ptmx)?.sb.clone()))
}

/// An instance, kept while terminals of it are open, mounted or not.
#[derive(Clone)]
pub struct Devices(Arc<SuperBlock>);

impl Devices {
    fn instance(&self) -> &Instance {
        self.0
            .ops_as()
            .expect("`find` answers file systems of this type only")
    }

    /// Takes the lowest free number.
    ///
    /// # Errors
    /// `ENOSPC` when all are taken.
    pub fn allocate(&self) -> Result<Number> {
        let instance = self.instance();
        let max = match instance.options.lock().max {
            0 => NUMBERS,
            max => max,
        };
        if COUNT.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_PTYS.get() {
            COUNT.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::ENOSPC);
        }
        let mut slots = instance.slots.lock();
        let index = (0..)
            .zip(slots.keys())
            .find(|(i, key)| i != *key)
            .map_or(slots.len() as u32, |(i, _)| i);
        if index >= max {
            drop(slots);
            COUNT.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::ENOSPC);
        }
        let slot = Slot {
            tty: Weak::new(),
            dentry: None,
        };
        slots.insert(index, slot);
        drop(slots);
        Ok(Number {
            devices: self.clone(),
            index,
        })
    }
}

/// A number that was taken, given back when dropped.
pub struct Number {
    devices: Devices,
    index: u32,
}

impl Drop for Number {
    fn drop(&mut self) {
        self.withdraw();
        let slot = self.devices.instance().slots.lock().remove(&self.index);
        drop(slot);
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Number {
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Makes the slave's node; it belongs to the caller.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn publish(&self, tty: &Arc<Tty>) -> Result<()> {
        let instance = self.devices.instance();
        let sb = &self.devices.0;
        let root = sb.root()?;
        let options = *instance.options.lock();
        let owner = {
            let current = task::current();
            let cred = current.my_cred();
            (
                options.uid.unwrap_or(cred.fsuid),
                options.gid.unwrap_or(cred.fsgid),
            )
        };
        let rdev = DevNum::new(tty.dev.0, tty.dev.1);
        let ino = FIRST_INO + u64::from(self.index);
        let inode = node(sb, ino, rdev, owner, options.mode);
        let name = format!("{}", self.index);
        let dentry = Dentry::new_child(root, name.as_bytes(), inode);
        root.insert(&dentry, true)?;
        let slot = Slot {
            tty: Arc::downgrade(tty),
            dentry: Some(dentry),
        };
        let old = instance.slots.lock().insert(self.index, slot);
        drop(old);
        Ok(())
    }

    /// Removes the slave's node; its number stays taken.
    pub fn withdraw(&self) {
        let mut slots = self.devices.instance().slots.lock();
        let slot = slots.get_mut(&self.index);
        let dentry = slot.and_then(|slot| slot.dentry.take());
        drop(slots);
        let Some(dentry) = dentry else { return };
        dentry.mark_deleted();
        dentry.inode().set_nlink(0);
        if let Ok(root) = self.devices.0.root() {
            root.remove(&dentry);
        }
    }

    /// `TIOCGPTPEER`: opens the slave without its path, seen through the mount that the master's node leads to; answers
    /// the descriptor.
    ///
    /// # Errors
    /// Those of an open; `ENOENT` and `ENODEV` if the instance cannot be found from `ptmx` any more.
    pub fn open_peer(&self, ptmx: &Path, flags: OpenFlags) -> Result<usize> {
        let mount = self.mount_at(ptmx)?;
        let (tty, dentry) = {
            let slots = self.devices.instance().slots.lock();
            let slot = slots.get(&self.index).ok_or(Errno::EIO)?;
            (
                slot.tty.upgrade().ok_or(Errno::EIO)?,
                slot.dentry.clone().ok_or(Errno::EIO)?,
            )
        };
        let ops = pty::open_slave(tty, flags)?;
        let mode = match flags.access_mode() {
            0 => FileMode::READ,
            1 => FileMode::WRITE,
            _ => FileMode::READ | FileMode::WRITE,
        };
        let current = task::current();
        let cred = current.my_cred().clone();
        let path = Path { mount, dentry };
        let file = File::new(path, ops.into(), flags - OpenFlags::CLOEXEC, mode, cred);
        let fd = current
            .my_files()
            .install(file, flags.contains(OpenFlags::CLOEXEC))?;
        usize::try_from(fd.0).map_err(|_| Errno::EMFILE)
    }

    /// The mount of the instance that the node leads to.
    fn mount_at(&self, ptmx: &Path) -> Result<Arc<Mount>> {
        let mut at = ptmx.clone();
        // From a node that was bound elsewhere to the place it stands on.
        while at.is_mount_root() {
            match at.mount.position() {
                Some(below) => at = below,
                None => break,
            }
        }
        let ours = |mount: &Mount| Arc::ptr_eq(&mount.sb, &self.devices.0);
        if ours(&at.mount) {
            return Ok(at.mount);
        }
        let mount = beside(&at)?;
        if ours(&mount) {
            Ok(mount)
        } else {
            Err(Errno::ENODEV)
        }
    }
}
