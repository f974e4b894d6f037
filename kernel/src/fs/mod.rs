//! The virtual file system.
//!
//! | module | what |
//! |---|---|
//! | [`inode`] | [`Inode`]: a file apart from its names; [`InodeOps`] is what file systems implement |
//! | [`dentry`] | [`Dentry`]: names; the tree that walks run on, and for tmpfs the directories themselves |
//! | [`mount`] | [`Mount`], [`Path`], [`MountNamespace`]: file systems at places of the tree |
//! | [`superblock`] | [`SuperBlock`] and the registry of [`FileSystem`] types |
//! | [`path`], `text` | the path walk, and what it walks along |
//! | [`namei`] | create, remove, link, rename |
//! | [`open`] | opening, truncating, programs for `execve` |
//! | [`attr`], [`perm`], [`xattr`], [`fileattr`], [`limits`] | attributes, permissions, extended attributes, limits |
//! | [`file`], [`fd`], [`rw`], [`fasync`] | open file descriptions and [`FileOps`], descriptor tables, reads and writes |
//! | [`handle`] | file handles |
//! | [`context`] | a process's root, working directory and umask |
//! | [`locks`], [`lease`] | flock, POSIX and OFD locks; leases |
//! | [`notify`], [`inotify`], [`dnotify`] | the one place that hears of what happens to files; who asks it |
//! | [`pipe`], [`fifo`], [`splice`] | pipes, FIFOs, bytes moved between files |
//! | [`userfaultfd`] | faults that a program sees to itself |
//! | [`tmpfs`], [`devtmpfs`], [`memfd`], [`anon`] | file systems in memory, files without a name |
//! | [`nsfs`] | files that name namespaces |
//! | [`proc`], [`sysfs`] | the kernel, its processes and its devices as files |
//! | [`aio`] | asynchronous I/O of `io_submit` |
//! | [`timerfd`], [`signalfd`] | timers and signals as descriptors |
//! | [`chrdev`], [`memdev`], [`kmsg`] | device numbers and their drivers, memory devices, the log |
//! | [`initramfs`] | the boot modules become the root file system |
//!
//! # Lock order
//! ```text
//! mount::TREE (sleeping)
//!   SuperBlock::rename_lock (sleeping)
//!     Inode::lock of directories, ancestors first (sleeping)
//!       Inode::lock of a file (sleeping)
//!         Pipe::state (sleeping)
//!           spin locks: a dentry's children -> its place; FdTable; Mount::links; Inode::times
//! ```
//! `File::pos_lock` is outermost, `FdTable::inner` is never held across anything else.
//!
//! # Invariants
//! - A name leads to at most one dentry, and a directory has at most one dentry.
//! - References are dropped outside of spin locks: the last one may tear files down.
//! - A walk reads directories without locks, in a section of [`Walks`](crate::sync::Walks); what leaves a directory is let go of after the
//!   sections that may have found it. In a section nothing is waited for and no lock is taken.
//!
//! References: POSIX.1-2024, path_resolution(7), pipe(7), fcntl(2), mount(2), inode(7); initramfs buffer format.

pub mod aio;
pub mod anon;
pub mod attr;
pub mod chrdev;
pub mod context;
pub mod dentry;
pub mod devtmpfs;
pub mod dnotify;
pub mod epoll;
pub mod eventfd;
pub mod fasync;
pub mod fd;
pub mod fifo;
pub mod file;
pub mod fileattr;
pub mod handle;
pub mod initramfs;
pub mod inode;
pub mod inotify;
pub mod kmsg;
pub mod lease;
pub mod limits;
pub mod locks;
pub mod memdev;
pub mod memfd;
pub mod mount;
pub mod namei;
pub mod notify;
pub mod nsfs;
pub mod open;
pub mod path;
pub mod perm;
pub mod pipe;
pub mod poll;
pub mod proc;
pub mod rw;
pub mod signalfd;
pub mod splice;
pub mod superblock;
pub mod sysfs;
mod text;
pub mod timerfd;
pub mod tmpfs;
pub mod userfaultfd;
pub mod xattr;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use abi::fs::MountFlags;
use abi::{Errno, Result};
use spin::Once;

pub use abi::fs::{AT_FDCWD, OpenFlags};
pub use anon::anon_file;
pub use context::FsContext;
pub use dentry::Dentry;
pub use fd::{FdTable, Reserved};
pub use file::{DirSink, File, FileMode, FileOps, FileOpsRef};
pub use inode::{ChildPolicy, FileKind, Inode, InodeFlags, InodeOps, NewInode};
pub use mount::{Mount, MountNamespace, Path};
pub use open::{OpenRequest, open_exec_at};
pub use path::LookupFlags;
pub use superblock::{FileSystem, NewSuperBlock, SuperBlock, SuperOps};

static ROOT: Once<Arc<MountNamespace>> = Once::new();

/// Makes the root file system and the memory devices. Runs once, when memory works; needs no task.
pub fn init() -> Result<()> {
    superblock::register(&tmpfs::Tmpfs);
    superblock::register(&tmpfs::Ramfs);
    superblock::register(&devtmpfs::Devtmpfs);
    proc::init();
    sysfs::init();
    crate::ipc::mqueue::init();
    let sb = tmpfs::new_rootfs()?;
    let mount = Mount::new(&sb, sb.root()?, MountFlags::empty(), b"rootfs");
    ROOT.call_once(|| MountNamespace::new(mount));
    memdev::init();
    kmsg::init();
    Ok(())
}

/// The first namespace; ENXIO before [`init`].
pub fn root_namespace() -> Result<&'static Arc<MountNamespace>> {
    ROOT.get().ok_or(Errno::ENXIO)
}

/// Root, working directory and umask of the first process.
pub fn initial_context() -> Result<Arc<FsContext>> {
    let namespace = root_namespace()?;
    Ok(FsContext::new(namespace.root(), namespace.clone()))
}

/// Unpacks every boot module. A bad one costs a line on the console and what it has from there on, as on Linux: the rest
/// may do. The error is the last such line, for when it does not.
pub fn unpack_modules() -> core::result::Result<(), String> {
    let root = root_namespace().map_err(|error| format!("{error}"))?.root();
    let mut all = Ok(());
    for (index, module) in crate::boot::info().modules.iter().enumerate() {
        let mut unpacker = initramfs::Unpacker::new(root.dentry.clone());
        match crate::boot::consume_module(index, |left| unpacker.step(left)) {
            Some(Ok(entries)) => log::info!("initramfs: {entries} entries, {} bytes", module.len),
            Some(Err(line)) => {
                let line = format!("Initramfs unpacking failed: {line}");
                log::error!("{line}");
                all = Err(line);
            }
            None => {}
        }
    }
    all
}

/// Opens `/dev/console` as descriptors 0, 1 and 2 of the running task, whose table is empty.
pub fn open_console() -> Result<()> {
    let request = OpenRequest::lenient((OpenFlags::RDWR).bits(), 0)?;
    let file = open::open(AT_FDCWD, b"/dev/console", &request)?;
    let task = crate::task::current();
    for _ in 0..3 {
        task.my_files().install(file.clone(), false)?;
    }
    Ok(())
}
