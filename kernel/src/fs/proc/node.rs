//! The fixed part of the tree: tables of files, directories and links, made into pinned dentries.

use alloc::sync::Arc;

use abi::fs::{DevNum, OpenFlags};
use abi::{Errno, Result};

use super::text::{Source, Text, TextFile};
use crate::fs::dentry::Dentry;
use crate::fs::inode::{ChildPolicy, FileKind, Inode, InodeFlags, InodeOps, NewInode, SetAttr};
use crate::fs::superblock::SuperBlock;
use crate::fs::tmpfs::TreeDir;
use crate::fs::{FileOps, FileOpsRef};

/// Makes a file's content.
pub type Show = fn(&mut Text) -> Result<()>;
/// Takes a write.
pub type Store = fn(&[u8]) -> Result<()>;

/// An entry of the fixed tree.
pub enum Node {
    /// A file that can be read.
    File(&'static str, u32, Show),
    /// A file that can also be written.
    Writable(&'static str, u32, Show, Store),
    /// A file that opens in its own way.
    Special(&'static str, u32, fn() -> Result<FileOpsRef>),
    Dir(&'static str, &'static [Node]),
    /// A symlink whose text depends on who asks.
    Link(&'static str, fn(&mut Text) -> Result<()>),
}

impl Node {
    fn name(&self) -> &'static str {
        match self {
            Self::File(name, ..)
            | Self::Writable(name, ..)
            | Self::Special(name, ..)
            | Self::Dir(name, _)
            | Self::Link(name, _) => name,
        }
    }

    fn kind_and_mode(&self) -> (FileKind, u32) {
        match self {
            Self::File(_, mode, _) | Self::Writable(_, mode, ..) | Self::Special(_, mode, _) => {
                (FileKind::Regular, *mode)
            }
            Self::Dir(..) => (FileKind::Dir, 0o555),
            Self::Link(..) => (FileKind::Symlink, 0o777),
        }
    }
}

/// The operations of an inode that stands for a [`Node`].
struct Fixed(&'static Node);

/// An open [`Node::File`] or [`Node::Writable`].
struct Functions(Show, Option<Store>);

impl Source for Functions {
    fn show(&self, out: &mut Text) -> Result<()> {
        self.0(out)
    }
    fn store(&self, bytes: &[u8]) -> Result<()> {
        self.1.ok_or(Errno::EIO)?(bytes)
    }
}

impl InodeOps for Fixed {
    fn child_policy(&self) -> ChildPolicy {
        ChildPolicy::Pinned
    }

    fn create(&self, _dir: &Arc<Inode>, _name: &[u8], _new: &NewInode) -> Result<Arc<Inode>> {
        // On Linux the lookup that comes first has said so already.
        Err(Errno::ENOENT)
    }

    fn read_link(&self, _inode: &Arc<Inode>) -> Result<Arc<[u8]>> {
        let Node::Link(_, target) = self.0 else {
            return Err(Errno::EINVAL);
        };
        let mut text = Text::default();
        target(&mut text)?;
        Ok(text.as_bytes().into())
    }

    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        Ok(match self.0 {
            Node::File(_, _, show) => Arc::new(TextFile::new(Functions(*show, None))).into(),
            Node::Writable(_, _, show, store) => {
                Arc::new(TextFile::new(Functions(*show, Some(*store)))).into()
            }
            Node::Special(_, _, open) => open()?,
            Node::Dir(..) => {
                let ops: &'static dyn FileOps = &TreeDir;
                ops.into()
            }
            Node::Link(..) => return Err(Errno::ELOOP),
        })
    }

    /// `O_TRUNC` changes nothing, and is no error.
    fn truncate(&self, _inode: &Arc<Inode>, _size: u64) -> Result<()> {
        Ok(())
    }

    fn setattr(&self, inode: &Arc<Inode>, set: &SetAttr) -> Result<()> {
        if set.mode.is_some() || set.uid.is_some() || set.gid.is_some() {
            return Err(Errno::EPERM);
        }
        inode.apply(set);
        Ok(())
    }
}

/// Makes the nodes' dentries in `dir`, to the bottom of the tree. Returns how many directories are right in it.
pub fn populate(sb: &Arc<SuperBlock>, dir: &Arc<Dentry>, nodes: &'static [Node]) -> Result<u32> {
    let mut directories = 0;
    for node in nodes {
        let (kind, mode) = node.kind_and_mode();
        let new = NewInode {
            kind,
            mode,
            uid: 0,
            gid: 0,
            rdev: DevNum(0),
        };
        let flags = InodeFlags::empty();
        let inode = Inode::new(sb, sb.next_ino(), &new, Arc::new(Fixed(node)), flags);
        let dentry = Dentry::new_child(dir, node.name().as_bytes(), inode);
        dir.insert(&dentry, true)?;
        if let Node::Dir(_, children) = node {
            directories += 1;
            let below = populate(sb, &dentry, children)?;
            dentry.inode().set_nlink(2 + below);
        }
    }
    Ok(directories)
}
