//! Tasks and processes: their making (clone), change (exec), end (exit) and the news of it (wait).
//!
//! | module | what |
//! |---|---|
//! | `task` | [`Task`]: a thread |
//! | `process` | [`Process`]: a thread group and what its threads share |
//! | `pidfd` | descriptors that name a process |
//! | `pid` | numbers, and finding tasks, processes, groups and sessions by them |
//! | `tree` | who is whose parent, process groups and sessions |
//! | `cred` | user and group ids, capabilities |
//! | `clone` | fork, vfork, clone and clone3 |
//! | `exec` | execve: load plan, new address space, the stack a program starts with |
//! | `init` | idle tasks and the first process |
//! | `helper` | programs that the kernel starts by itself |
//! | `coredump` | what a process that went wrong leaves |
//! | `ptrace` | threads that watch and change others |
//! | `exit`, `wait` | the end of threads and processes, zombies, and wait4 and waitid |
//! | `namespace` | [`UtsNamespace`]: the host's name, as a set of tasks sees it |
//! | `rseq`, `membarrier` | restartable sequences, and barriers on other CPUs |
//! | `rlimit`, `usage` | limits, and times used |
//! | `seccomp` | system calls given up for good |
//! | `user_dispatch` | calls that become signals |
//! | `user_return` | what a task does on its way out to user space |
//!
//! # Lock order
//! ```text
//! Process::exec_lock (sleeping)
//!   tree lock (one, spinning: parents, children, threads, groups, sessions)
//!     pid table
//!     a process's signal lock
//!       run queues
//! ```
//!
//! # Invariants
//! - A `Task` runs on its own kernel stack and belongs to one `Process` for good.
//! - Everything a `CLONE_*` flag may share is behind an `Arc` of its own, so that sharing is cloning the `Arc`.
//! - A process is a zombie from its last thread's exit until its parent (or a reaper) takes its status.

pub mod clone;
pub mod coredump;
pub mod cred;
pub mod exec;
pub mod exit;
mod helper;
pub mod init;
mod initargs;
pub mod membarrier;
pub mod namespace;
pub mod pid;
pub mod pidfd;
pub mod process;
pub mod ptrace;
pub mod rlimit;
pub mod rseq;
pub mod seccomp;
#[expect(clippy::module_inception, reason = "what it holds is a task")]
mod task;
pub mod tree;
pub mod usage;
pub mod user_dispatch;
mod user_return;
pub mod wait;

pub use cred::{Cap, CapSet, Cred, Gid, Uid};
pub use namespace::UtsNamespace;
pub use pid::{Pid, find_process, find_task, for_each_process, for_each_task};
pub use process::{Process, clear_dumpable};
pub use rlimit::Resource;
pub use task::{Comm, NewTask, Task, TaskFlags, comm_of, try_zeroed};
pub use user_return::exit_to_user_work;

pub use crate::sync::{CurrentTask, current, current_arc};

/// `arch_prctl(2)`: the segment bases of the running thread, or of a tracee that does not run.
///
/// # Errors
/// `EPERM` for a base outside user space, `EINVAL` for another code, `EFAULT`.
pub fn thread_prctl(task: &Task, code: u32, address: usize) -> abi::Result<()> {
    const ARCH_SET_GS: u32 = 0x1001;
    const ARCH_SET_FS: u32 = 0x1002;
    const ARCH_GET_FS: u32 = 0x1003;
    const ARCH_GET_GS: u32 = 0x1004;
    let thread = &task.arch;
    let out = crate::mm::user::UserPtr::<u64>::from(address);
    match code {
        ARCH_SET_GS | ARCH_SET_FS if address >= crate::mm::USER_END => {
            return Err(abi::Errno::EPERM);
        }
        ARCH_SET_GS => thread.set_gs_base(address as u64),
        ARCH_SET_FS => thread.set_fs_base(address as u64),
        ARCH_GET_FS => out.write(&thread.fs_base())?,
        ARCH_GET_GS => out.write(&thread.gs_base())?,
        _ => return Err(abi::Errno::EINVAL),
    }
    Ok(())
}

/// In a debug kernel, keeps the record of the deepest kernel stack.
fn note_stack_depth(task: &Task) {
    if cfg!(debug_assertions) {
        let comm = task.comm();
        let name = comm.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = core::str::from_utf8(name).unwrap_or("?");
        crate::mm::kstack::note_depth(task.arch.stack_top(), name);
    }
}
