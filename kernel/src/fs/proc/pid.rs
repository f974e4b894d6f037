//! `/proc/<pid>` and `/proc/<pid>/task/<tid>`: the tables of their entries.

use alloc::sync::Arc;
use core::any::Any;

use abi::fs::{DevNum, OpenFlags};
use abi::{Errno, Result};

use super::fds::{self, FdKind};
use super::links::{self, Place};
use super::mem::Memory;
use super::root::{itoa, parse_number};
use super::subject::{Subject, Target};
use super::text::{Source, Text, TextFile};
use super::{attributes, memory, mounts, namespaces, pagemap, running, scheduling, stat, status};
use crate::fs::dentry::emit_dots;
use crate::fs::file::{DirSink, File, FileOps, FileOpsRef};
use crate::fs::inode::{
    Attr, ChildPolicy, FileKind, Inode, InodeFlags, InodeOps, InodeOpsRef, NewInode, SetAttr,
};
use crate::fs::superblock::SuperBlock;
use crate::fs::tmpfs::TreeDir;
use crate::mm::user::IoSink;
use crate::task::{Pid, Process};

type ShowOf = fn(&Target, &mut Text) -> Result<()>;
type StoreOf = fn(&Target, &[u8]) -> Result<()>;
type OpenOf = fn(&Target) -> Result<FileOpsRef>;

/// An entry of a process's directory.
enum Kind {
    /// Anybody who may open it may read it.
    Text(ShowOf),
    /// Only for those who may look into the process; checked at open, too.
    Private(ShowOf),
    Writable(ShowOf, StoreOf),
    /// Not text; for those who may look into the process.
    Special(OpenOf),
    Link(Place),
    Fds(FdKind),
    /// `ns`.
    Namespaces,
    /// `mem`.
    Memory,
    /// `task`, of processes only.
    Threads,
}

struct Entry(&'static str, u32, Kind);

static ENTRIES: &[Entry] = &[
    Entry("task", 0o555, Kind::Threads),
    Entry("fd", 0o500, Kind::Fds(FdKind::Link)),
    Entry("fdinfo", 0o555, Kind::Fds(FdKind::Info)),
    Entry("ns", 0o511, Kind::Namespaces),
    Entry("environ", 0o400, Kind::Private(memory::environ)),
    Entry("auxv", 0o400, Kind::Private(memory::auxv)),
    Entry("status", 0o444, Kind::Text(status::status)),
    Entry("personality", 0o400, Kind::Private(attributes::personality)),
    Entry("limits", 0o444, Kind::Text(attributes::limits)),
    Entry(
        "comm",
        0o644,
        Kind::Writable(attributes::comm, attributes::set_comm),
    ),
    Entry("syscall", 0o400, Kind::Private(running::syscall)),
    Entry("cmdline", 0o444, Kind::Text(memory::cmdline)),
    Entry("stat", 0o444, Kind::Text(stat::stat)),
    Entry("statm", 0o444, Kind::Text(stat::statm)),
    Entry("maps", 0o444, Kind::Private(memory::maps)),
    Entry("mem", 0o600, Kind::Memory),
    Entry("cwd", 0o777, Kind::Link(Place::Cwd)),
    Entry("root", 0o777, Kind::Link(Place::Root)),
    Entry("exe", 0o777, Kind::Link(Place::Exe)),
    Entry("mounts", 0o444, Kind::Text(mounts::mounts)),
    Entry("mountinfo", 0o444, Kind::Text(mounts::mountinfo)),
    Entry("mountstats", 0o400, Kind::Text(mounts::mountstats)),
    Entry("smaps", 0o444, Kind::Private(memory::smaps)),
    Entry("smaps_rollup", 0o444, Kind::Private(memory::smaps_rollup)),
    Entry("numa_maps", 0o444, Kind::Private(pagemap::numa_maps)),
    Entry("pagemap", 0o400, Kind::Special(pagemap::open)),
    Entry(
        "clear_refs",
        0o200,
        Kind::Writable(pagemap::unreadable, pagemap::clear_refs),
    ),
    Entry("wchan", 0o444, Kind::Text(attributes::wchan)),
    Entry("stack", 0o400, Kind::Private(running::stack)),
    Entry("sched", 0o444, Kind::Text(scheduling::sched)),
    Entry("schedstat", 0o444, Kind::Text(scheduling::schedstat)),
    Entry("timers", 0o444, Kind::Text(scheduling::timers)),
    Entry(
        "timerslack_ns",
        0o666,
        Kind::Writable(scheduling::timer_slack, scheduling::set_timer_slack),
    ),
    Entry("io", 0o400, Kind::Private(stat::io)),
    Entry("oom_score", 0o444, Kind::Text(attributes::oom_score)),
    Entry(
        "coredump_filter",
        0o644,
        Kind::Writable(attributes::coredump_filter, attributes::set_coredump_filter),
    ),
    Entry(
        "oom_adj",
        0o644,
        Kind::Writable(attributes::oom_adj, attributes::set_oom_adj),
    ),
    Entry(
        "oom_score_adj",
        0o644,
        Kind::Writable(attributes::oom_score_adj, attributes::set_oom_score_adj),
    ),
];

impl Entry {
    /// Not there for a thread.
    fn is_of_processes(&self) -> bool {
        matches!(self.2, Kind::Threads) || matches!(self.0, "timers" | "timerslack_ns")
    }

    fn file_kind(&self) -> FileKind {
        match self.2 {
            Kind::Text(_)
            | Kind::Private(_)
            | Kind::Writable(..)
            | Kind::Special(_)
            | Kind::Memory => FileKind::Regular,
            Kind::Link(_) => FileKind::Symlink,
            Kind::Fds(_) | Kind::Namespaces | Kind::Threads => FileKind::Dir,
        }
    }
}

/// The number of a process's directory. Those of what is in it follow, then those of its descriptors.
pub fn directory_ino(id: Pid) -> u64 {
    (id.0 as u64) << 32
}

/// The number of the descriptor's entry in `fd` or `fdinfo`.
pub fn fd_ino(id: Pid, kind: FdKind, fd: i32) -> u64 {
    let section = match kind {
        FdKind::Link => 1u64,
        FdKind::Info => 2,
    };
    directory_ino(id) | section << 24 | fd as u64
}

/// The number of the link in `ns` with this place in its directory.
pub fn namespace_ino(id: Pid, index: u64) -> u64 {
    directory_ino(id) | 4 << 24 | index
}

fn thread_ino(process: Pid, tid: Pid) -> u64 {
    // Threads have directories of their own: beyond those of the processes.
    directory_ino(process) | 3 << 24 | tid.0 as u64
}

/// An inode about a process, owned as Linux has it.
pub fn new_inode(
    sb: &Arc<SuperBlock>,
    ino: u64,
    kind: FileKind,
    mode: u32,
    target: &Target,
    ops: impl Into<InodeOpsRef>,
) -> Arc<Inode> {
    let (uid, gid) = target.owner(kind == FileKind::Dir && mode == 0o555);
    let new = NewInode {
        kind,
        mode,
        uid,
        gid,
        rdev: DevNum(0),
    };
    let mut flags = InodeFlags::DYNAMIC_ATTR;
    if kind == FileKind::Symlink {
        flags |= InodeFlags::MAGIC_LINK;
    }
    Inode::new(sb, ino, &new, ops, flags)
}

/// The directory of a process or thread.
pub fn inode(sb: &Arc<SuperBlock>, subject: Subject) -> Result<Arc<Inode>> {
    let target = subject.get().map_err(|_| Errno::ENOENT)?;
    let ino = match subject.whole {
        true => directory_ino(subject.id),
        false => thread_ino(target.process.pid, subject.id),
    };
    let inode = new_inode(
        sb,
        ino,
        FileKind::Dir,
        0o555,
        &target,
        Arc::new(PidDir(subject)),
    );
    let directories = ENTRIES
        .iter()
        .filter(|entry| entry.file_kind() == FileKind::Dir);
    inode.set_nlink(2 + directories.count() as u32 - u32::from(!target.whole));
    Ok(inode)
}

/// Brings the owner up to date, which changes with the process.
pub fn refresh(subject: &Subject, inode: &Inode, attr: &mut Attr) {
    if let Ok(target) = subject.get() {
        (attr.uid, attr.gid) = target.owner(inode.mode() & 0o7777 == 0o555 && inode.is_dir());
    }
}

/// What may be changed of an inode about a process: nothing that lasts, and not the mode.
pub fn set_attr(inode: &Arc<Inode>, set: &SetAttr) -> Result<()> {
    if set.mode.is_some() {
        return Err(Errno::EPERM);
    }
    inode.apply(set);
    Ok(())
}

struct PidDir(Subject);

/// The process whose directory a file is, ESRCH once it is gone; `None` for other files.
pub fn process_of(file: &File) -> Option<Result<Arc<Process>>> {
    let ops: &dyn Any = &*file.inode().ops;
    let PidDir(subject) = ops.downcast_ref()?;
    match subject.whole {
        true => Some(subject.get().map(|target| target.process)),
        false => None,
    }
}

impl PidDir {
    fn entries(&self) -> impl Iterator<Item = (u64, &'static Entry)> {
        let whole = self.0.whole;
        (0..)
            .zip(ENTRIES)
            .filter(move |(_, entry)| whole || !entry.is_of_processes())
    }
}

impl InodeOps for PidDir {
    /// ESRCH in the directory of a process that is gone: Linux's check of permissions, which comes first, says so.
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        let target = self.0.get()?;
        let (index, entry) = self
            .entries()
            .find(|(_, entry)| entry.0.as_bytes() == name)
            .ok_or(Errno::ENOENT)?;
        let ino = dir.ino + 1 + index;
        let subject = self.0.clone();
        let (kind, mode) = (entry.file_kind(), entry.1);
        let make = |ops: InodeOpsRef| new_inode(&dir.sb, ino, kind, mode, &target, ops);
        Ok(match &entry.2 {
            Kind::Link(place) => make(links::ops(subject, *place)),
            Kind::Namespaces => make(namespaces::directory(subject)),
            Kind::Memory => make(Arc::new(Memory(subject)).into()),
            Kind::Fds(of) => fds::own(make(fds::directory(subject, *of)), &target),
            Kind::Threads => {
                let inode = make(Arc::new(TaskDir(subject)).into());
                inode.set_nlink(2 + target.thread_count() as u32);
                inode
            }
            _ => make(Arc::new(PidFile { subject, entry }).into()),
        })
    }

    fn child_policy(&self) -> ChildPolicy {
        ChildPolicy::Uncached
    }

    fn create(&self, _dir: &Arc<Inode>, _name: &[u8], _new: &NewInode) -> Result<Arc<Inode>> {
        Err(Errno::ENOENT)
    }

    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        Ok(Arc::new(Listing(PidDir(self.0.clone()))).into())
    }

    fn getattr(&self, inode: &Arc<Inode>, attr: &mut Attr) -> Result<()> {
        refresh(&self.0, inode, attr);
        Ok(())
    }

    fn setattr(&self, inode: &Arc<Inode>, set: &SetAttr) -> Result<()> {
        set_attr(inode, set)
    }
}

/// A directory whose entries come from [`List::list`]; positions from 2 on are its own.
pub trait List: Send + Sync + 'static {
    /// Feeds the entries from `pos` on; false when the sink is full.
    fn list(&self, dir: &Inode, pos: &mut u64, sink: &mut dyn DirSink) -> Result<()>;
}

/// An open directory of that kind.
pub struct Listing<L>(pub L);

impl<L: List> FileOps for Listing<L> {
    fn read(&self, _file: &File, _sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        Err(Errno::EISDIR)
    }
    fn readdir(&self, file: &File, pos: &mut u64, sink: &mut dyn DirSink) -> Result<()> {
        if !emit_dots(&file.path().dentry, pos, sink) {
            return Ok(());
        }
        self.0.list(file.inode(), pos, sink)
    }
    fn seekable(&self) -> bool {
        true
    }
    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        TreeDir.llseek(file, offset, whence)
    }
}

impl List for PidDir {
    fn list(&self, dir: &Inode, pos: &mut u64, sink: &mut dyn DirSink) -> Result<()> {
        // ENOENT is what a listing of a process that is gone gives.
        self.0.get().map_err(|_| Errno::ENOENT)?;
        for (index, entry) in self.entries() {
            let at = 2 + index;
            if at < *pos {
                continue;
            }
            let (name, ino) = (entry.0.as_bytes(), dir.ino + 1 + index);
            if !sink.entry(name, ino, entry.file_kind(), at + 1) {
                *pos = at;
                return Ok(());
            }
            *pos = at + 1;
        }
        Ok(())
    }
}

/// A text file about a process.
struct PidFile {
    subject: Subject,
    entry: &'static Entry,
}

impl InodeOps for PidFile {
    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        let target = self.subject.get()?;
        match self.entry.2 {
            Kind::Private(_) => target.check_read()?,
            Kind::Special(open) => {
                target.check_read()?;
                return open(&target);
            }
            _ => {}
        }
        let source = PidFile {
            subject: self.subject.clone(),
            entry: self.entry,
        };
        Ok(Arc::new(TextFile::new(source)).into())
    }

    fn truncate(&self, _inode: &Arc<Inode>, _size: u64) -> Result<()> {
        Ok(())
    }

    fn getattr(&self, inode: &Arc<Inode>, attr: &mut Attr) -> Result<()> {
        refresh(&self.subject, inode, attr);
        Ok(())
    }

    fn setattr(&self, inode: &Arc<Inode>, set: &SetAttr) -> Result<()> {
        set_attr(inode, set)
    }
}

impl Source for PidFile {
    fn show(&self, out: &mut Text) -> Result<()> {
        let target = self.subject.get()?;
        match self.entry.2 {
            Kind::Text(show) | Kind::Writable(show, _) => show(&target, out),
            Kind::Private(show) => {
                target.check_read()?;
                show(&target, out)
            }
            Kind::Special(_)
            | Kind::Link(_)
            | Kind::Fds(_)
            | Kind::Namespaces
            | Kind::Memory
            | Kind::Threads => Err(Errno::EINVAL),
        }
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        let Kind::Writable(_, store) = self.entry.2 else {
            return Err(Errno::EIO);
        };
        store(&self.subject.get()?, bytes)
    }
}

/// `/proc/<pid>/task`.
struct TaskDir(Subject);

impl InodeOps for TaskDir {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        self.0.get()?;
        let tid = parse_number(name).ok_or(Errno::ENOENT)?;
        let thread = self.0.thread(Pid(tid)).ok_or(Errno::ENOENT)?;
        inode(&dir.sb, thread)
    }

    fn child_policy(&self) -> ChildPolicy {
        ChildPolicy::Uncached
    }

    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        Ok(Arc::new(Listing(TaskDir(self.0.clone()))).into())
    }

    fn getattr(&self, inode: &Arc<Inode>, attr: &mut Attr) -> Result<()> {
        refresh(&self.0, inode, attr);
        if let Ok(target) = self.0.get() {
            attr.nlink = 2 + target.thread_count() as u32;
        }
        Ok(())
    }

    fn setattr(&self, inode: &Arc<Inode>, set: &SetAttr) -> Result<()> {
        set_attr(inode, set)
    }
}

impl List for TaskDir {
    fn list(&self, _dir: &Inode, pos: &mut u64, sink: &mut dyn DirSink) -> Result<()> {
        let target = self.0.get().map_err(|_| Errno::ENOENT)?;
        let mut tids: alloc::vec::Vec<_> = target.threads().iter().map(|task| task.tid()).collect();
        if target.leader_is_gone() {
            tids.push(target.process.pid);
        }
        tids.sort_unstable();
        for tid in tids {
            let at = 2 + tid.0 as u64;
            if at < *pos {
                continue;
            }
            let ino = thread_ino(target.process.pid, tid);
            if !sink.entry(itoa(tid.0 as u64).text(), ino, FileKind::Dir, at + 1) {
                *pos = at;
                return Ok(());
            }
            *pos = at + 1;
        }
        Ok(())
    }
}
