//! nsfs: files that name namespaces. `/proc/<pid>/ns/uts` leads to them; `setns` takes them; they can be bound to a place.

use alloc::format;
use alloc::sync::Arc;
use core::any::Any;

use abi::fs::{DevNum, MountFlags, NSFS_MAGIC, OpenFlags};
use abi::{Errno, Result};
use spin::Once;

use crate::fs::anon;
use crate::fs::dentry::Dentry;
use crate::fs::file::{File, FileOps, FileOpsRef};
use crate::fs::inode::{FileKind, Inode, InodeFlags, InodeOps, NewInode};
use crate::fs::mount::{Mount, Path};
use crate::fs::superblock::{NewSuperBlock, SuperBlock, SuperOps};
use crate::task::UtsNamespace;
use crate::task::clone::CloneFlags;

struct NsFs;
impl SuperOps for NsFs {}

/// Keeps the namespace.
struct NsInode(Arc<UtsNamespace>);

impl InodeOps for NsInode {
    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        Ok(FileOpsRef::Static(&NsFile))
    }
}

/// An open one: it has no content.
struct NsFile;

const NS_GET_USERNS: u32 = 0xb701;
const NS_GET_PARENT: u32 = 0xb702;
const NS_GET_NSTYPE: u32 = 0xb703;
const NS_GET_OWNER_UID: u32 = 0xb704;

impl FileOps for NsFile {
    /// Without user namespaces nobody may have that which owns it; only user and PID namespaces have parents and owners.
    fn ioctl(&self, _file: &File, cmd: u32, _arg: usize) -> Result<usize> {
        match cmd {
            NS_GET_NSTYPE => Ok(CloneFlags::NEWUTS.bits() as usize),
            NS_GET_USERNS => Err(Errno::EPERM),
            NS_GET_PARENT | NS_GET_OWNER_UID => Err(Errno::EINVAL),
            _ => Err(Errno::ENOTTY),
        }
    }
}

fn mount() -> &'static Arc<Mount> {
    static MOUNT: Once<Arc<Mount>> = Once::new();
    MOUNT.call_once(|| {
        let sb = SuperBlock::new(
            NewSuperBlock {
                fs_name: "nsfs",
                magic: NSFS_MAGIC,
                block_size: 4096,
                max_bytes: i64::MAX as u64,
                flags: MountFlags::empty(),
                dev: None,
                permanent: true,
            },
            NsFs,
        );
        anon::internal_mount(&sb)
    })
}

fn new_dentry(namespace: &Arc<UtsNamespace>) -> Arc<Dentry> {
    let new = NewInode {
        kind: FileKind::Regular,
        mode: 0o444,
        uid: 0,
        gid: 0,
        rdev: DevNum(0),
    };
    let ino = u64::from(namespace.number());
    let ops = Arc::new(NsInode(namespace.clone()));
    let inode = Inode::new(&mount().sb, ino, &new, ops, InodeFlags::IMMUTABLE);
    Dentry::new_root(inode, format!("uts:[{ino}]").as_bytes())
}

/// The place of the file that names a namespace: the same one while anybody has it.
pub fn place_of(namespace: &Arc<UtsNamespace>) -> Path {
    let there = namespace.shown.lock().upgrade();
    let dentry = there.unwrap_or_else(|| {
        let fresh = new_dentry(namespace);
        let mut shown = namespace.shown.lock();
        // Somebody else may have been faster.
        let kept = shown.upgrade().unwrap_or_else(|| fresh.clone());
        let old = core::mem::replace(&mut *shown, Arc::downgrade(&kept));
        drop(shown);
        drop(old);
        kept
    });
    Path {
        mount: mount().clone(),
        dentry,
    }
}

/// The namespace that an open file names; `None` for other files.
pub fn namespace_of(file: &File) -> Option<Arc<UtsNamespace>> {
    let ops: &dyn Any = &*file.inode().ops;
    let NsInode(namespace) = ops.downcast_ref()?;
    Some(namespace.clone())
}
