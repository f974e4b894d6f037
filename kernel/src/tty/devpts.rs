//! devpts: the directory of pseudo-terminal slaves, `/dev/pts`.
//!
//! Every mount is an instance of its own, with numbers from 0 on. A slave's node appears when its master is opened
//! and goes with it. Each instance has a `ptmx` of its own; how that in `/dev` finds one is in `ptmx`.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use abi::fs::{DevNum, MountFlags, OpenFlags};
use abi::{Errno, Result};

use super::core::Tty;
use super::pty::{self, PTS_MAJOR};
use crate::fs::tmpfs::TreeDir;
use crate::fs::{
    ChildPolicy, Dentry, FileKind, FileOpsRef, FileSystem, Inode, InodeFlags, InodeOps, NewInode,
    NewSuperBlock, Path, SuperBlock, SuperOps, chrdev, superblock,
};
use crate::sync::SpinLock;
use crate::system::Setting;

pub(super) const DEVPTS_MAGIC: i64 = 0x1cd1;
/// As `/proc/sys/kernel/pty/max`.
pub static MAX_PTYS: Setting = Setting::new(4096, (0, i32::MAX as usize));
/// Inode numbers: the root is 1, `ptmx` 2, a slave its number plus this.
pub(super) const FIRST_INO: u64 = 3;

/// The largest `max=`: as many minor numbers are there (Linux's `NR_UNIX98_PTY_MAX`).
pub(super) const NUMBERS: u32 = 1 << 20;

/// Options of a mount.
#[derive(Clone, Copy)]
pub(super) struct Options {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mode: u32,
    ptmx_mode: u32,
    /// How many slaves there may be; as on Linux 0 is no limit.
    pub max: u32,
}

const DEFAULTS: Options = Options {
    uid: None,
    gid: None,
    mode: 0o600,
    ptmx_mode: 0,
    max: NUMBERS,
};

pub(super) struct Slot {
    pub tty: Weak<Tty>,
    pub dentry: Option<Arc<Dentry>>,
}

/// Pseudo-terminals of all instances.
pub(super) static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The type for `mount -t devpts`.
pub struct Devpts;

/// One mounted directory of slaves.
pub(super) struct Instance {
    pub slots: SpinLock<BTreeMap<u32, Slot>>,
    pub options: SpinLock<Options>,
}

struct Root;
struct Node;

impl SuperOps for Instance {
    fn remount(&self, sb: &SuperBlock, data: &[u8]) -> Result<()> {
        let options = parse(data)?;
        *self.options.lock() = options;
        if let Some(ptmx) = find_ptmx(sb) {
            ptmx.inode().set_mode(options.ptmx_mode);
        }
        Ok(())
    }

    fn show_options(&self, _sb: &SuperBlock, out: &mut dyn fmt::Write) -> fmt::Result {
        let options = *self.options.lock();
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
        )?;
        if options.max < NUMBERS {
            write!(out, ",max={}", options.max)?;
        }
        Ok(())
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
        new_instance(parse(data)?)
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
fn parse(data: &[u8]) -> Result<Options> {
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
            "max" => {
                options.max = number(10)
                    .ok()
                    .filter(|n| *n <= NUMBERS)
                    .ok_or(Errno::EINVAL)?
            }
            "newinstance" => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(options)
}

fn new_instance(options: Options) -> Result<Arc<SuperBlock>> {
    let new = NewSuperBlock {
        fs_name: "devpts",
        magic: DEVPTS_MAGIC,
        block_size: 1024,
        max_bytes: i64::MAX as u64,
        flags: MountFlags::empty(),
        dev: None,
        permanent: false,
    };
    let instance = Instance {
        slots: SpinLock::new(BTreeMap::new()),
        options: SpinLock::new(options),
    };
    let sb = SuperBlock::new(new, instance);
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
    let ptmx = node(&sb, 2, DevNum::new(5, 2), (0, 0), options.ptmx_mode);
    root.insert(&Dentry::new_child(&root, b"ptmx", ptmx), true)?;
    Ok(sb)
}

pub(super) fn node(
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

/// Opens `/dev/pts/<n>`. A node of that number elsewhere leads nowhere.
fn open_pts(dev: DevNum, node: &Path, flags: OpenFlags) -> Result<FileOpsRef> {
    let inode = node.inode();
    let instance: &Instance = inode.sb.ops_as().ok_or(Errno::EIO)?;
    let index = ((dev.major() - PTS_MAJOR) << 20) | dev.minor();
    let tty = {
        let slots = instance.slots.lock();
        slots.get(&index).and_then(|slot| slot.tty.upgrade())
    };
    Ok(pty::open_slave(tty.ok_or(Errno::EIO)?, flags)?.into())
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
    COUNT.load(Ordering::Relaxed)
}
