//! Files without a place in the tree: those of eventfd, epoll and their like, and the mounts they live on.

use alloc::format;
use alloc::sync::Arc;

use abi::Result;
use abi::fs::{ANON_INODE_FS_MAGIC, DevNum, MountFlags, OpenFlags};
use spin::Once;

use crate::fs::dentry::Dentry;
use crate::fs::file::{File, FileMode, FileOpsRef};
use crate::fs::inode::{FileKind, Inode, InodeFlags, InodeOps, NewInode};
use crate::fs::mount::{Mount, Path};
use crate::fs::superblock::{NewSuperBlock, SuperBlock, SuperOps};
use crate::task;

struct AnonFs;
impl SuperOps for AnonFs {}
struct AnonInode;
impl InodeOps for AnonInode {}

/// A mount that is in no tree, with a plain directory as root.
pub fn internal_mount(sb: &Arc<SuperBlock>) -> Arc<Mount> {
    let new = NewInode {
        kind: FileKind::Dir,
        mode: 0o755,
        uid: 0,
        gid: 0,
        rdev: DevNum(0),
    };
    let ops: &'static dyn InodeOps = &AnonInode;
    let inode = Inode::new(sb, sb.next_ino(), &new, ops, InodeFlags::empty());
    let root = Dentry::new_root(inode, b"/");
    sb.set_root(root.clone());
    Mount::new(sb, &root, MountFlags::KERNMOUNT, sb.fs_name.as_bytes())
}

/// A mount that is in no tree, of a file system that has a root.
pub fn mount_internally(sb: &Arc<SuperBlock>) -> Result<Arc<Mount>> {
    Ok(Mount::new(
        sb,
        sb.root()?,
        MountFlags::KERNMOUNT,
        sb.fs_name.as_bytes(),
    ))
}

struct Anon {
    mount: Arc<Mount>,
    inode: Arc<Inode>,
}

/// All anonymous files share one inode, as on Linux.
fn anon() -> &'static Anon {
    static ANON: Once<Anon> = Once::new();
    ANON.call_once(|| {
        let sb = SuperBlock::new(
            NewSuperBlock {
                fs_name: "anon_inodefs",
                magic: ANON_INODE_FS_MAGIC,
                block_size: 4096,
                max_bytes: i64::MAX as u64,
                flags: MountFlags::empty(),
                dev: None,
                permanent: true,
            },
            AnonFs,
        );
        let mount = internal_mount(&sb);
        let new = NewInode {
            kind: FileKind::Regular,
            mode: 0o600,
            uid: 0,
            gid: 0,
            rdev: DevNum(0),
        };
        let ops: &'static dyn InodeOps = &AnonInode;
        let inode = Inode::new(&sb, sb.next_ino(), &new, ops, InodeFlags::empty());
        inode.set_anonymous();
        Anon { mount, inode }
    })
}

/// A file that is only reached by its descriptor; `name` is what `/proc` shows, as `[eventfd]`. The access mode is in
/// `flags`.
pub fn anon_file(name: &str, ops: impl Into<FileOpsRef>, flags: OpenFlags) -> Result<Arc<File>> {
    let anon = anon();
    let shown = format!("anon_inode:{name}");
    let dentry = Dentry::new_root(anon.inode.clone(), shown.as_bytes());
    let mode = match flags.access_mode() {
        0 => FileMode::READ,
        1 => FileMode::WRITE,
        _ => FileMode::READ | FileMode::WRITE,
    };
    let path = Path {
        mount: anon.mount.clone(),
        dentry,
    };
    let cred = task::current().my_cred().clone();
    let mode = mode | FileMode::NO_NOTIFY;
    Ok(File::new(
        path,
        ops.into(),
        flags - OpenFlags::CLOEXEC,
        mode,
        cred,
    ))
}
