//! devpts: the directory of pseudo-terminal slaves, `/dev/pts`.
//!
//! Every mount is an instance of its own, with numbers from 0 on. A slave's node appears when its master is opened
//! and goes with it. `/dev/ptmx` opens a master of the instance that is mounted on `pts` beside it; each instance has
//! a `ptmx` of its own besides.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::{Arc, Weak};
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use abi::fs::{DevNum, MountFlags, OpenFlags};
use abi::{Errno, Result};

use super::core::Tty;
use super::pty::{self, PTS_MAJOR};
use crate::fs::tmpfs::TreeDir;
use crate::fs::{
    ChildPolicy, Dentry, File, FileKind, FileMode, FileOpsRef, FileSystem, Inode, InodeFlags,
    InodeOps, Mount, NewInode, NewSuperBlock, Path, SuperBlock, SuperOps, chrdev, path, superblock,
};
use crate::sync::SpinLock;
use crate::task;

const DEVPTS_MAGIC: i64 = 0x1cd1;
/// As `/proc/sys/kernel/pty/max`.
pub const MAX_PTYS: usize = 4096;
/// Inode numbers: the root is 1, `ptmx` 2, a slave its number plus this.
const FIRST_INO: u64 = 3;

/// The largest `max=`: as many minor numbers are there (Linux's `NR_UNIX98_PTY_MAX`).
const NUMBERS: u32 = 1 << 20;

/// Options of a mount.
#[derive(Clone, Copy)]
struct Options {
    uid: Option<u32>,
    gid: Option<u32>,
    mode: u32,
    ptmx_mode: u32,
    /// How many slaves there may be; as on Linux 0 is no limit.
    max: u32,
}

const DEFAULTS: Options = Options {
    uid: None,
    gid: None,
    mode: 0o600,
    ptmx_mode: 0,
    max: NUMBERS,
};

struct Slot {
    tty: Weak<Tty>,
    dentry: Option<Arc<Dentry>>,
}

/// Pseudo-terminals of all instances.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The type for `mount -t devpts`.
pub struct Devpts;

/// One mounted directory of slaves.
struct Instance {
    slots: SpinLock<BTreeMap<u32, Slot>>,
    options: SpinLock<Options>,
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
        if COUNT.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_PTYS {
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
