//! procfs: the state of the kernel and of its processes, as text.
//!
//! | module | what |
//! |---|---|
//! | `text` | [`Text`], what a file's content is written to, and the open file that shows it |
//! | `node` | the part of the tree that never changes: tables of files, directories and links |
//! | `root` | `/proc` itself: the fixed part, `self`, and a directory for each process |
//! | `subject` | which process or thread a directory is of, and who may look into it |
//! | `pid` | `/proc/<pid>` and `/proc/<pid>/task/<tid>`: their tables of entries |
//! | `stat`, `status` | `stat`, `statm` and `status` |
//! | `mem` | `mem` |
//! | `running` | `syscall` and `stack` |
//! | `memory` | `maps`, `smaps`, `cmdline`, `environ`, `auxv` |
//! | `attributes` | `limits`, `comm`, `oom_score`, `wchan` and other small files |
//! | `scheduling` | `sched`, `schedstat`, `timers`, `timerslack_ns` |
//! | `links`, `fds` | `exe`, `cwd`, `root`; `fd` and `fdinfo` |
//! | `namespaces` | `ns` |
//! | `net`, `inet`, `netlink`, `packet` | `/proc/net` |
//! | `mounts` | `mounts`, `mountinfo`, `mountstats` |
//! | `system` | files about the machine, time and devices |
//! | `vmstat` | files about memory as a whole |
//! | `sysctl` | `/proc/sys` |
//! | `sysvipc` | `/proc/sysvipc`, and the limits of it in `/proc/sys/kernel` |
//! | `ironbark` | `/proc/ironbark` |
//! | `locks` | `/proc/ironbark/locks`, in debug kernels |
//!
//! The fixed part is a tree of pinned dentries. Directories of processes, and what is in them, are looked up anew in
//! each walk: they come and go without the VFS.
//!
//! # Lock order
//! ```text
//! TextFile::content (sleeping)
//!   everything that making content looks at; no two of its locks at once
//! ```
//!
//! # Invariants
//! - An inode holds a process only weakly: a directory that is kept open keeps nothing alive but a number.
//! - Content is made as a whole when a file is read from its start, and later reads see the rest of the same content.
//! - Nothing is shown that the kernel does not know: a file or line of Linux without a meaning here is absent.
//! - Rights to look into a process are checked when the file is opened and again when content is made.
//!
//! References: proc(5), proc_pid(5), proc_sys(5); Linux `Documentation/filesystems/proc.rst`.

mod attributes;
mod fds;
mod inet;
mod ironbark;
mod links;
#[cfg(debug_assertions)]
mod locks;
mod mem;
mod memory;
mod mounts;
mod namespaces;
mod net;
mod netlink;
mod node;
mod packet;
mod pagemap;
mod pid;
mod root;
mod running;
mod scheduling;
mod stat;
mod status;
mod subject;
mod sysctl;
mod system;
mod sysvipc;
mod text;
mod vmstat;

use alloc::sync::Arc;

use abi::Result;
use abi::fs::MountFlags;
use spin::Once;

use crate::fs::superblock::{self, FileSystem, NewSuperBlock, SuperBlock, SuperOps};

pub use pid::process_of;
pub(in crate::fs) use text::{Source, Text, TextFile};

const PROC_MAGIC: i64 = 0x9fa0;

/// The type for `mount -t`. Every mount shows the same tree.
pub struct Proc;

struct Super;
impl SuperOps for Super {}

static INSTANCE: Once<Arc<SuperBlock>> = Once::new();

impl FileSystem for Proc {
    fn name(&self) -> &'static str {
        "proc"
    }
    fn mount(&self, _source: &[u8], _flags: MountFlags, _data: &[u8]) -> Result<Arc<SuperBlock>> {
        INSTANCE.try_call_once(build).cloned()
    }
}

fn build() -> Result<Arc<SuperBlock>> {
    let new = NewSuperBlock {
        fs_name: "proc",
        magic: PROC_MAGIC,
        block_size: 1024,
        max_bytes: i64::MAX as u64,
        flags: MountFlags::empty(),
        dev: None,
        permanent: true,
    };
    let sb = SuperBlock::new(new, Super);
    sb.set_root(root::build(&sb)?);
    Ok(sb)
}

/// Makes the type known.
pub fn init() {
    superblock::register(&Proc);
}
