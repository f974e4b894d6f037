//! seccomp: a thread gives up system calls, for good, for itself and for what it starts.
//!
//! | module | what |
//! |---|---|
//! | this | [`Seccomp`]: what a thread keeps; strict mode; inheritance |
//! | `filter` | [`Filter`]: one program and those before it, and what they answer |
//! | `attach` | taking a filter from user space, for one thread or all |
//! | `judge` | what becomes of a call: the hook between the tracer and the handler |
//! | `notify` | calls that another process answers: what waits, and who is told |
//! | `listener` | the descriptor by which it does |
//! | `report` | the log, and what `/proc/sys/kernel/seccomp` says about it |
//!
//! # Lock order
//! ```text
//! Process::exec_lock (TSYNC against exec)
//!   the process's signal lock (who is a thread of it)
//!     Seccomp::filter (a thread's own)
//! a notifier's lock (under none of these)
//! ```
//!
//! # Invariants
//! - The mode never goes back, a filter is never taken off: [`Seccomp::filter`] is replaced by one whose chain holds the
//!   old one, and dropped with the thread.
//! - `arch::SYSCALL_SECCOMP` is set exactly in threads whose mode is not disabled, after the mode and the filter are.
//! - A thread's mode and filter change under the signal lock of its process, so that a thread that is being made has
//!   either what its maker had before a TSYNC or what came after.
//! - A program without a filter pays one test, which it shares with tracing.
//!
//! References: seccomp(2), seccomp_unotify(2).

mod attach;
mod filter;
mod judge;
mod listener;
mod notify;
mod report;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU8, Ordering};

use abi::seccomp::{SECCOMP_MODE_DISABLED, SECCOMP_MODE_FILTER, SECCOMP_MODE_STRICT};
use abi::{Errno, Result};

pub use attach::attach;
pub use judge::judge;
pub use report::{ACTIONS_AVAILABLE, actions_logged, is_available, set_actions_logged};

use self::filter::Filter;
use super::{Task, TaskFlags, current};
use crate::arch;
use crate::sync::IrqSpinLock;

/// The mode of a thread that a filter killed: it makes no more calls.
const MODE_DEAD: u8 = 3;

/// What a thread gave up.
#[derive(Default)]
pub struct Seccomp {
    mode: AtomicU8,
    /// With interrupts off, since it is taken under the signal lock, which interrupts take; for as long as the filters
    /// run, which their total length bounds.
    filter: IrqSpinLock<Option<Arc<Filter>>>,
}

impl Seccomp {
    /// The mode, as `PR_GET_SECCOMP` and `/proc/<pid>/status` show it.
    pub fn mode(&self) -> u8 {
        self.mode.load(Ordering::Acquire)
    }

    /// How many filters judge its calls.
    pub fn filter_count(&self) -> u32 {
        self.filter.lock().as_ref().map_or(0, |filter| filter.depth)
    }

    fn set_mode(&self, mode: u8) {
        self.mode.store(mode, Ordering::Release);
    }

    /// Whether the thread may go to `mode`: from none, or where it is already.
    fn may_become(&self, mode: u8) -> bool {
        [SECCOMP_MODE_DISABLED, mode].contains(&self.mode())
    }

    /// Lets go of the filters at the thread's end: it makes no more calls.
    pub fn release(&self) {
        let old = self.filter.lock().take();
        drop(old);
    }
}

/// Takes a thread, whose mode and filter are set, in.
fn assign_mode(task: &Task, mode: u8) {
    task.seccomp.set_mode(mode);
    task.arch.watch_syscalls(arch::SYSCALL_SECCOMP);
}

/// The running thread gives its new thread or process what it gave up itself. Under the signal lock of the child's
/// process, just before the child can be found there.
pub fn inherit(child: &Task) {
    let me = current();
    if me.flags().contains(TaskFlags::NO_NEW_PRIVS) {
        child.set_flags(TaskFlags::NO_NEW_PRIVS);
    }
    let mode = me.seccomp.mode();
    if mode == SECCOMP_MODE_DISABLED {
        return;
    }
    let filter = me.seccomp.filter.lock().clone();
    // The child had none: nothing is freed here.
    *child.seccomp.filter.lock() = filter;
    assign_mode(child, mode);
}

/// `SECCOMP_SET_MODE_STRICT`: from now on the thread reads, writes, exits and returns from handlers.
///
/// # Errors
/// `EINVAL` for a thread with filters.
pub fn set_strict() -> Result<()> {
    let me = current();
    let _threads = me.process.signal.shared.lock();
    if !me.seccomp.may_become(SECCOMP_MODE_STRICT) {
        return Err(Errno::EINVAL);
    }
    // Nor does it learn the time, which four calls would not tell it.
    arch::forbid_tsc(true);
    assign_mode(&me, SECCOMP_MODE_STRICT);
    Ok(())
}

const _: () = assert!(MODE_DEAD > SECCOMP_MODE_FILTER);
