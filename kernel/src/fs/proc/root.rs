//! `/proc` itself: the fixed part of the tree, and a directory for each process.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::fs::{DevNum, OpenFlags};
use abi::{Errno, Result};

use super::node::{self, Node};
use super::subject::Subject;
use super::text::Text;
use super::{ironbark, net, pid, scheduling, sysctl, system, sysvipc, vmstat};
use crate::device::sysrq;
use crate::fs::dentry::Dentry;
use crate::fs::file::{DirSink, File, FileOps, FileOpsRef};
use crate::fs::inode::{Attr, ChildPolicy, FileKind, Inode, InodeFlags, InodeOps, NewInode};
use crate::fs::superblock::SuperBlock;
use crate::fs::tmpfs::TreeDir;
use crate::task::{self, Pid};

const ROOT_INO: u64 = 1;
/// Positions of processes: this plus the number. The fixed entries have smaller ones.
const FIRST_PROCESS: u64 = 1 << 16;

static NODES: &[Node] = &[
    Node::File("cmdline", 0o444, system::cmdline),
    Node::File("cpuinfo", 0o444, system::cpuinfo),
    Node::File("devices", 0o444, system::devices),
    Node::File("diskstats", 0o444, system::diskstats),
    Node::File("filesystems", 0o444, system::filesystems),
    Node::File("interrupts", 0o444, system::interrupts),
    Node::Dir("ironbark", ironbark::NODES),
    Node::Special("kmsg", 0o400, system::open_kmsg),
    Node::File("loadavg", 0o444, system::loadavg),
    Node::File("locks", 0o444, system::locks),
    Node::File("buddyinfo", 0o444, vmstat::buddyinfo),
    Node::File("meminfo", 0o444, vmstat::meminfo),
    Node::File("misc", 0o444, system::misc),
    Node::Link("mounts", mounts_link),
    Node::Dir("net", net::NODES),
    Node::File("partitions", 0o444, system::partitions),
    Node::File("schedstat", 0o444, scheduling::all_cpus),
    Node::Link("self", self_link),
    Node::File("slabinfo", 0o400, vmstat::slabinfo),
    Node::File("stat", 0o444, system::stat),
    Node::File("swaps", 0o444, vmstat::swaps),
    Node::Dir("sys", sysctl::NODES),
    Node::Dir("sysvipc", sysvipc::NODES),
    Node::Writable(
        "sysrq-trigger",
        0o200,
        |_| Err(Errno::EIO),
        |bytes| {
            // The first byte of each write is the command.
            if let Some(&command) = bytes.first() {
                sysrq::handle(command);
            }
            Ok(())
        },
    ),
    Node::Link("thread-self", thread_self_link),
    Node::File("uptime", 0o444, system::uptime),
    Node::File("version", 0o444, system::version),
    Node::File("zoneinfo", 0o444, vmstat::zoneinfo),
    Node::File("vmstat", 0o444, vmstat::vmstat),
];

fn mounts_link(out: &mut Text) -> Result<()> {
    out.bytes(b"self/mounts")
}

fn self_link(out: &mut Text) -> Result<()> {
    write!(out, "{}", task::current().process.pid)
}

fn thread_self_link(out: &mut Text) -> Result<()> {
    let me = task::current();
    write!(out, "{}/task/{}", me.process.pid, me.tid())
}

struct Root {
    directories: u32,
}

/// The tree of a new instance.
pub fn build(sb: &Arc<SuperBlock>) -> Result<Arc<Dentry>> {
    let new = NewInode {
        kind: FileKind::Dir,
        mode: 0o555,
        uid: 0,
        gid: 0,
        rdev: DevNum(0),
    };
    let directories = NODES
        .iter()
        .filter(|node| matches!(node, Node::Dir(..)))
        .count() as u32;
    let ino = sb.next_ino();
    debug_assert_eq!(ino, ROOT_INO);
    let ops = Arc::new(Root { directories });
    let inode = Inode::new(sb, ino, &new, ops, InodeFlags::DYNAMIC_ATTR);
    let root = Dentry::new_root(inode, b"/");
    node::populate(sb, &root, NODES)?;
    Ok(root)
}

/// The number that a name is, written as the kernel writes it.
pub fn parse_number(name: &[u8]) -> Option<i32> {
    let text = core::str::from_utf8(name).ok()?;
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// Every process and kernel thread, by number.
fn everybody() -> Vec<Pid> {
    let mut all = Vec::new();
    task::for_each_process(|process| all.push(process.pid));
    task::for_each_task(|task| {
        if task.is_kernel_thread() && task.process.pid.0 == 0 && task.tid().0 > 0 {
            all.push(task.tid());
        }
    });
    all.retain(|id| id.0 > 0);
    all.sort_unstable();
    all.dedup();
    all
}

impl InodeOps for Root {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        let number = parse_number(name).ok_or(Errno::ENOENT)?;
        let subject = Subject::find(Pid(number)).ok_or(Errno::ENOENT)?;
        pid::inode(&dir.sb, subject)
    }

    fn child_policy(&self) -> ChildPolicy {
        ChildPolicy::Uncached
    }

    fn create(&self, _dir: &Arc<Inode>, _name: &[u8], _new: &NewInode) -> Result<Arc<Inode>> {
        Err(Errno::ENOENT)
    }

    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        let ops: &'static dyn FileOps = &RootDir;
        Ok(ops.into())
    }

    fn getattr(&self, _inode: &Arc<Inode>, attr: &mut Attr) -> Result<()> {
        let mut processes = 0;
        task::for_each_process(|_| processes += 1);
        attr.nlink = 2 + self.directories + processes;
        Ok(())
    }
}

struct RootDir;

impl FileOps for RootDir {
    fn read(
        &self,
        _file: &File,
        _sink: &mut crate::mm::user::IoSink<'_>,
        _pos: &mut u64,
    ) -> Result<usize> {
        Err(Errno::EISDIR)
    }

    fn readdir(&self, file: &File, pos: &mut u64, sink: &mut dyn DirSink) -> Result<()> {
        if *pos < FIRST_PROCESS {
            let mut counted = Counted { sink, full: false };
            file.path().dentry.read_children(pos, &mut counted)?;
            if counted.full {
                return Ok(());
            }
            *pos = FIRST_PROCESS;
        }
        for id in everybody() {
            let at = FIRST_PROCESS + id.0 as u64;
            if at < *pos {
                continue;
            }
            let mut digits = itoa(id.0 as u64);
            if !sink.entry(digits.text(), pid::directory_ino(id), FileKind::Dir, at + 1) {
                *pos = at;
                return Ok(());
            }
            *pos = at + 1;
        }
        Ok(())
    }

    fn seekable(&self) -> bool {
        true
    }

    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        TreeDir.llseek(file, offset, whence)
    }
}

/// Tells whether a sink was full.
struct Counted<'a> {
    sink: &'a mut dyn DirSink,
    full: bool,
}

impl DirSink for Counted<'_> {
    fn entry(&mut self, name: &[u8], ino: u64, kind: FileKind, next: u64) -> bool {
        let taken = self.sink.entry(name, ino, kind, next);
        self.full |= !taken;
        taken
    }
}

/// A number's digits.
pub struct Digits([u8; 20], usize);

impl Digits {
    pub fn text(&mut self) -> &[u8] {
        self.0.get(self.1..).unwrap_or_default()
    }
}

/// The decimal digits of a number, without an allocation: names in directory listings.
pub fn itoa(mut value: u64) -> Digits {
    let mut digits = Digits([0; 20], 20);
    loop {
        digits.1 -= 1;
        if let Some(slot) = digits.0.get_mut(digits.1) {
            *slot = b'0' + (value % 10) as u8;
        }
        value /= 10;
        if value == 0 || digits.1 == 0 {
            return digits;
        }
    }
}
