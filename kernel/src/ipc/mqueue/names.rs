//! The file system of queues, and opening them by name.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use abi::fs::{DevNum, MountFlags, OpenFlags, ResolveFlags};
use abi::mqueue::MqAttr;
use abi::{Errno, Result};
use spin::Once;
use vfs::Name;

use super::{QUEUES_MAX, Queue};

use crate::fs::namei;
use crate::fs::path::{self, Last, Parent};
use crate::fs::tmpfs::TreeDir;
use crate::fs::{
    ChildPolicy, Dentry, File, FileKind, FileOps, FileOpsRef, FileSystem, Inode, InodeFlags,
    InodeOps, Mount, NewInode, NewSuperBlock, OpenRequest, Path, SuperBlock, SuperOps, anon, open,
    perm, superblock,
};
use crate::sync::current;
use crate::task::{Cap, Cred};

const MQUEUE_MAGIC: i64 = 0x1980_0202;
/// What a name adds to the directory's size.
const DIRENT_SIZE: i64 = 20;
/// What a queue's size is told as.
const FILE_SIZE: u64 = 80;

/// Queues there are.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The type for `mount -t mqueue`. Every mount shows the same queues.
struct Mqueue;
struct Super;
impl SuperOps for Super {}

struct Root;

/// An inode that is a queue.
struct Node(Arc<Queue>);

impl FileSystem for Mqueue {
    fn name(&self) -> &'static str {
        "mqueue"
    }
    fn mount(&self, _source: &[u8], _flags: MountFlags, _data: &[u8]) -> Result<Arc<SuperBlock>> {
        Ok(mount()?.sb.clone())
    }
}

/// Makes the type known.
pub fn init() {
    superblock::register(&Mqueue);
}

/// The kernel's own mount.
fn mount() -> Result<&'static Arc<Mount>> {
    static MOUNT: Once<Arc<Mount>> = Once::new();
    MOUNT.try_call_once(|| {
        let sb = SuperBlock::new(
            NewSuperBlock {
                fs_name: "mqueue",
                magic: MQUEUE_MAGIC,
                block_size: 4096,
                max_bytes: i64::MAX as u64,
                flags: MountFlags::empty(),
                dev: None,
                permanent: true,
            },
            Super,
        );
        let new = NewInode {
            kind: FileKind::Dir,
            mode: 0o1777,
            uid: 0,
            gid: 0,
            rdev: DevNum(0),
        };
        let ops: &'static dyn InodeOps = &Root;
        let inode = Inode::new(&sb, sb.next_ino(), &new, ops, InodeFlags::empty());
        inode.set_size(2 * DIRENT_SIZE as u64);
        sb.set_root(Dentry::new_root(inode, b"/"));
        anon::mount_internally(&sb)
    })
}

/// A new queue in the directory, whose lock is held.
fn make(dir: &Arc<Inode>, new: &NewInode, attr: Option<&MqAttr>) -> Result<Arc<Inode>> {
    let me = current();
    let cred = me.my_cred();
    let room = COUNT.load(Ordering::Relaxed) < QUEUES_MAX.count();
    if !room && !cred.capable(Cap::SYS_RESOURCE) {
        return Err(Errno::ENOSPC);
    }
    let queue = Arc::new(Queue::new(attr, &cred)?);
    COUNT.fetch_add(1, Ordering::Relaxed);
    let ops = Arc::new(Node(queue));
    let inode = Inode::new(&dir.sb, dir.sb.next_ino(), new, ops, InodeFlags::empty());
    inode.set_size(FILE_SIZE);
    count_entry(dir, 1);
    Ok(inode)
}

fn count_entry(dir: &Inode, change: i64) {
    dir.set_size(dir.size().saturating_add_signed(change * DIRENT_SIZE));
    dir.touch_modified();
}

impl InodeOps for Root {
    fn child_policy(&self) -> ChildPolicy {
        ChildPolicy::Pinned
    }

    fn create(&self, dir: &Arc<Inode>, _name: &[u8], new: &NewInode) -> Result<Arc<Inode>> {
        match new.kind {
            FileKind::Regular => make(dir, new, None),
            _ => Err(Errno::EPERM),
        }
    }

    fn unlink(&self, dir: &Arc<Inode>, _name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        inode.drop_nlink();
        count_entry(dir, -1);
        Ok(())
    }

    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        let ops: &'static dyn FileOps = &TreeDir;
        Ok(ops.into())
    }
}

impl InodeOps for Node {
    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        Ok(self.0.clone().into())
    }

    /// The size means nothing.
    fn truncate(&self, inode: &Arc<Inode>, size: u64) -> Result<()> {
        inode.set_size(size);
        Ok(())
    }

    fn evict(&self, _inode: &Inode) {
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The root of the kernel's own mount, and the name, which is one component.
fn place(name: &[u8]) -> Result<(Path, &[u8])> {
    match name {
        b"" => return Err(Errno::ENOENT),
        b"." | b".." => return Err(Errno::EACCES),
        _ if name.contains(&b'/') => return Err(Errno::EACCES),
        _ => {}
    }
    let mount = mount()?;
    let root = Path {
        mount: mount.clone(),
        dentry: mount.sb.root()?.clone(),
    };
    Ok((root, name))
}

/// `mq_open`, but for the descriptor.
///
/// # Errors
/// Those of mq_open(3).
pub fn open(name: &[u8], flags: u32, mode: u32, attr: Option<&MqAttr>) -> Result<Arc<File>> {
    let (root, name) = place(name)?;
    let me = current();
    let cred = me.my_cred();
    let wanted = OpenFlags::from_bits_retain(flags);
    let kept = OpenFlags::from_bits_retain(0o3) | OpenFlags::NONBLOCK;
    let request = OpenRequest {
        flags: wanted & kept,
        mode,
        resolve: ResolveFlags::empty(),
    };
    let guard = root.inode().lock.lock();
    let (_, hash) = vfs::hash_component(name);
    let found = match path::find_locked(&root.dentry, name, hash) {
        Ok(dentry) => Some(dentry),
        Err(Errno::ENOENT) => None,
        Err(errno) => return Err(errno),
    };
    let mut place = root.clone();
    let Some(dentry) = found else {
        if !wanted.contains(OpenFlags::CREAT) {
            return Err(Errno::ENOENT);
        }
        place.dentry = create(&root, name, mode & !me.my_fs().umask(), attr, &cred)?;
        drop(guard);
        return open::open_made(place, &request, &cred);
    };
    drop(guard);
    if wanted.contains(OpenFlags::CREAT | OpenFlags::EXCL) {
        return Err(Errno::EEXIST);
    }
    if wanted.access_mode() == 3 {
        return Err(Errno::EINVAL);
    }
    place.dentry = dentry;
    open::open_place(place, &request, &cred)
}

fn create(
    root: &Path,
    name: &[u8],
    mode: u32,
    attr: Option<&MqAttr>,
    cred: &Cred,
) -> Result<Arc<Dentry>> {
    let dir = root.inode();
    perm::check_create(dir, cred)?;
    let new = NewInode {
        kind: FileKind::Regular,
        mode: mode & 0o7777,
        uid: cred.fsuid,
        gid: cred.fsgid,
        rdev: DevNum(0),
    };
    let dentry = Dentry::new_child(&root.dentry, name, make(dir, &new, attr)?);
    root.dentry.insert(&dentry, true)?;
    Ok(dentry)
}

/// `mq_unlink`.
///
/// # Errors
/// Those of mq_unlink(3).
pub fn unlink(name: &[u8]) -> Result<()> {
    let (dir, name) = place(name)?;
    let parent = Parent {
        dir,
        last: Last::Name(Name::from_slice(name)),
        slash: false,
    };
    namei::unlink(&parent, &current().my_cred())
}
