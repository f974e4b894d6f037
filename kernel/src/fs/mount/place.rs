//! [`Path`]: a place in the tree, and the ways up, down and across mounts.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::fs::MountFlags;
use abi::{Errno, Result};

use super::Mount;
use crate::fs::dentry::Dentry;
use crate::fs::inode::Inode;

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

    /// The topmost mount on this place, or the place itself. Who comes here uses it: what `MNT_EXPIRE` marked is
    /// no longer unused.
    pub fn descend(self) -> Self {
        self.cross(|mount| {
            if mount.unused.load(Ordering::Relaxed) {
                mount.unused.store(false, Ordering::Relaxed);
            }
        })
    }

    /// As [`Self::descend`], for the call that asks whether anybody used the mount.
    pub fn descend_unseen(self) -> Self {
        self.cross(|_| {})
    }

    fn cross(mut self, seen: impl Fn(&Mount)) -> Self {
        while self.dentry.is_mountpoint() {
            let Some(mount) = self.mount.child_at(&self.dentry) else {
                break;
            };
            seen(&mount);
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

    /// Whether it lies at or below `root`.
    pub fn is_below(&self, root: &Path) -> bool {
        let mut at = self.clone();
        while !Arc::ptr_eq(&at.mount, &root.mount) {
            match at.mount.position() {
                Some(below) => at = below,
                None => return false,
            }
        }
        root.dentry.is_ancestor_of(&at.dentry)
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
