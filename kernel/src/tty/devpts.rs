//! devpts: the directory of pseudo-terminal slaves, `/dev/pts`.
//!
//! There is one instance, whatever is mounted where. A slave's node appears when its master is opened and goes with
//! it.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::{Arc, Weak};
use core::fmt;

use abi::fs::{DevNum, MountFlags, OpenFlags};
use abi::{Errno, Result};
use spin::Once;

use super::core::Tty;
use super::pty::{self, PTS_MAJOR};
use crate::fs::tmpfs::TreeDir;
use crate::fs::{
    ChildPolicy, Dentry, File, FileKind, FileMode, FileOpsRef, FileSystem, Inode, InodeFlags,
    InodeOps, Mount, NewInode, NewSuperBlock, Path, SuperBlock, SuperOps, chrdev, superblock,
};
use crate::sync::SpinLock;
use crate::task;

const DEVPTS_MAGIC: i64 = 0x1cd1;
/// As `/proc/sys/kernel/pty/max`.
pub const MAX_PTYS: usize = 4096;
/// Inode numbers: the root is 1, `ptmx` 2, a slave its number plus this.
const FIRST_INO: u64 = 3;

/// Options of a mount.
#[derive(Clone, Copy)]
struct Options {
    uid: Option<u32>,
    gid: Option<u32>,
    mode: u32,
    ptmx_mode: u32,
}

const DEFAULTS: Options = Options {
    uid: None,
    gid: None,
    mode: 0o600,
    ptmx_mode: 0,
};

struct Slot {
    tty: Weak<Tty>,
    dentry: Option<Arc<Dentry>>,
}

static SLOTS: SpinLock<BTreeMap<u32, Slot>> = SpinLock::new(BTreeMap::new());
static OPTIONS: SpinLock<Options> = SpinLock::new(DEFAULTS);
static INSTANCE: Once<Arc<SuperBlock>> = Once::new();

/// The type for `mount -t devpts`.
pub struct Devpts;

struct Super;
struct Root;
struct Node;

impl SuperOps for Super {
    fn remount(&self, _sb: &SuperBlock, data: &[u8]) -> Result<()> {
        set_options(data)
    }

    fn show_options(&self, _sb: &SuperBlock, out: &mut dyn fmt::Write) -> fmt::Result {
        let options = *OPTIONS.lock();
        if let Some(uid) = options.uid {
            write!(out, ",uid={uid}")?;
        }
        if let Some(gid) = options.gid {
            write!(out, ",gid={gid}")?;
        }
        write!(
            out,
            ",mode={:03o},ptmxmode={:03o}",
            options.mode, options.ptmx_mode
        )
    }
}

impl InodeOps for Root {
    fn child_policy(&self) -> ChildPolicy {
        ChildPolicy::Pinned
    }

    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        let ops: &'static dyn crate::fs::FileOps = &TreeDir;
        Ok(ops.into())
    }
}

impl InodeOps for Node {}

impl FileSystem for Devpts {
    fn name(&self) -> &'static str {
        "devpts"
    }

    fn mount(&self, _source: &[u8], _flags: MountFlags, data: &[u8]) -> Result<Arc<SuperBlock>> {
        set_options(data)?;
        let sb = instance().clone();
        if let Some(ptmx) = find_ptmx(&sb) {
            ptmx.inode().set_mode(OPTIONS.lock().ptmx_mode);
        }
        Ok(sb)
    }
}

fn find_ptmx(sb: &SuperBlock) -> Option<Arc<Dentry>> {
    let hash = vfs::hash_component(b"ptmx").1;
    match sb.root().ok()?.find(b"ptmx", hash) {
        crate::fs::dentry::Cached::Present(dentry) => Some(dentry),
        _ => None,
    }
}

/// Takes `uid=`, `gid=`, `mode=`, `ptmxmode=`, `max=` and `newinstance`, as Linux does.
fn set_options(data: &[u8]) -> Result<()> {
    let text = core::str::from_utf8(data).map_err(|_| Errno::EINVAL)?;
    let mut options = DEFAULTS;
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let number = |radix| u32::from_str_radix(value, radix).map_err(|_| Errno::EINVAL);
        match name {
            "uid" => options.uid = Some(number(10)?),
            "gid" => options.gid = Some(number(10)?),
            "mode" => options.mode = number(8)? & 0o7777,
            "ptmxmode" => options.ptmx_mode = number(8)? & 0o7777,
            "max" => drop(number(10)?),
            "newinstance" => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    *OPTIONS.lock() = options;
    Ok(())
}

fn instance() -> &'static Arc<SuperBlock> {
    INSTANCE.call_once(|| {
        let new = NewSuperBlock {
            fs_name: "devpts",
            magic: DEVPTS_MAGIC,
            block_size: 1024,
            max_bytes: i64::MAX as u64,
            flags: MountFlags::empty(),
            dev: None,
            permanent: true,
        };
        let sb = SuperBlock::new(new, Super);
        let dir = NewInode {
            kind: FileKind::Dir,
            mode: 0o755,
            uid: 0,
            gid: 0,
            rdev: DevNum(0),
        };
        let ops: &'static dyn InodeOps = &Root;
        let root = Dentry::new_root(Inode::new(&sb, 1, &dir, ops, InodeFlags::empty()), b"/");
        sb.set_root(root.clone());
        let ptmx = node(&sb, 2, DevNum::new(5, 2), (0, 0), OPTIONS.lock().ptmx_mode);
        if let Err(error) = root.insert(&Dentry::new_child(&root, b"ptmx", ptmx), true) {
            log::warn!("devpts: no ptmx node: {error:?}");
        }
        sb
    })
}

fn node(
    sb: &Arc<SuperBlock>,
    ino: u64,
    rdev: DevNum,
    (uid, gid): (u32, u32),
    mode: u32,
) -> Arc<Inode> {
    let new = NewInode {
        kind: FileKind::Char,
        mode,
        uid,
        gid,
        rdev,
    };
    let ops: &'static dyn InodeOps = &Node;
    Inode::new(sb, ino, &new, ops, InodeFlags::empty())
}

/// Takes the lowest free number.
///
/// # Errors
/// `ENOSPC` when all are taken.
pub fn allocate() -> Result<u32> {
    let mut slots = SLOTS.lock();
    if slots.len() >= MAX_PTYS {
        return Err(Errno::ENOSPC);
    }
    let index = (0..)
        .zip(slots.keys())
        .find(|(i, key)| i != *key)
        .map(|(i, _)| i);
    let index = index.unwrap_or(slots.len() as u32);
    slots.insert(
        index,
        Slot {
            tty: Weak::new(),
            dentry: None,
        },
    );
    Ok(index)
}

/// Gives a number back.
pub fn release(index: u32) {
    let slot = SLOTS.lock().remove(&index);
    drop(slot);
}

/// Makes a slave's node; it belongs to the caller.
///
/// # Errors
/// `ENOMEM`.
pub fn publish(index: u32, tty: &Arc<Tty>) -> Result<()> {
    let sb = instance();
    let root = sb.root()?;
    let options = *OPTIONS.lock();
    let owner = {
        let current = task::current();
        let cred = current.my_cred();
        (
            options.uid.unwrap_or(cred.fsuid),
            options.gid.unwrap_or(cred.fsgid),
        )
    };
    let rdev = DevNum::new(tty.dev.0, tty.dev.1);
    let inode = node(sb, FIRST_INO + u64::from(index), rdev, owner, options.mode);
    let name = format!("{index}");
    let dentry = Dentry::new_child(root, name.as_bytes(), inode);
    root.insert(&dentry, true)?;
    let slot = Slot {
        tty: Arc::downgrade(tty),
        dentry: Some(dentry),
    };
    let old = SLOTS.lock().insert(index, slot);
    drop(old);
    Ok(())
}

/// Removes a slave's node; its number stays taken.
pub fn withdraw(index: u32) {
    let dentry = SLOTS
        .lock()
        .get_mut(&index)
        .and_then(|slot| slot.dentry.take());
    let Some(dentry) = dentry else { return };
    dentry.mark_deleted();
    dentry.inode().set_nlink(0);
    if let Ok(root) = instance().root() {
        root.remove(&dentry);
    }
}

fn slave(dev: DevNum) -> Option<Arc<Tty>> {
    let index = ((dev.major() - PTS_MAJOR) << 20) | dev.minor();
    SLOTS.lock().get(&index)?.tty.upgrade()
}

/// Opens `/dev/pts/<n>`.
fn open_pts(dev: DevNum, _inode: &Arc<Inode>, flags: OpenFlags) -> Result<FileOpsRef> {
    let tty = slave(dev).ok_or(Errno::EIO)?;
    Ok(pty::open_slave(tty, flags)?.into())
}

/// `TIOCGPTPEER`: opens a slave without its path; answers the descriptor.
///
/// # Errors
/// Those of an open.
pub fn open_peer(index: u32, flags: OpenFlags) -> Result<usize> {
    let (tty, dentry) = {
        let slots = SLOTS.lock();
        let slot = slots.get(&index).ok_or(Errno::EIO)?;
        (
            slot.tty.upgrade().ok_or(Errno::EIO)?,
            slot.dentry.clone().ok_or(Errno::EIO)?,
        )
    };
    let ops = pty::open_slave(tty, flags)?;
    static MOUNT: Once<Arc<Mount>> = Once::new();
    let mount = MOUNT.call_once(|| {
        let sb = instance();
        let root = sb.root().expect("the instance is made with its root");
        Mount::new(sb, root, MountFlags::KERNMOUNT, b"devpts")
    });
    let mode = match flags.access_mode() {
        0 => FileMode::READ,
        1 => FileMode::WRITE,
        _ => FileMode::READ | FileMode::WRITE,
    };
    let current = task::current();
    let path = Path {
        mount: mount.clone(),
        dentry,
    };
    let cred = current.my_cred().clone();
    let file = File::new(path, ops.into(), flags - OpenFlags::CLOEXEC, mode, cred);
    let fd = current
        .my_files()
        .install(file, flags.contains(OpenFlags::CLOEXEC))?;
    usize::try_from(fd.0).map_err(|_| Errno::EMFILE)
}

/// Registers the file system, its directory and the device numbers.
pub fn init() {
    superblock::register(&Devpts);
    chrdev::register(PTS_MAJOR, 0..1 << 20, "pts", open_pts);
    if let Err(error) = crate::fs::devtmpfs::create_dir("pts") {
        log::warn!("devpts: {error:?}");
    }
}

/// Numbers in use, for `/proc/sys/kernel/pty/nr`.
pub fn count() -> usize {
    SLOTS.lock().len()
}
