//! Timers that send signals: `setitimer`, `timer_create`, RLIMIT_CPU.
//!
//! | module | what |
//! |---|---|
//! | `itimer` | ITIMER_REAL, on the clock |
//! | `cpu` | ITIMER_VIRTUAL, ITIMER_PROF, RLIMIT_CPU and timers on CPU clocks, looked at by the tick |
//! | `posix` | `timer_create` and its kin |
//!
//! # Lock order
//! ```text
//! ProcessTimers::posix, ::real, ::guests (task context; ticks only try)
//!   a timer's state (interrupts off: its callback runs in interrupts)
//!     SignalShared::shared (sending)
//!     the CPU's queue of deadlines (arming, cancelling)
//! ```
//!
//! # Invariants
//! - A callback object is freed in task context only: whoever drops the last other reference waits until no interrupt
//!   holds one ([`retire`]).

pub mod cpu;
pub mod itimer;
pub mod posix;

use alloc::sync::Arc;

use crate::arch;
use crate::sync::SpinLock;
use crate::task::Process;

/// The timers of a process.
#[derive(Default)]
pub struct ProcessTimers {
    pub(super) real: SpinLock<Option<Arc<itimer::RealTimer>>>,
    pub(super) posix: SpinLock<posix::Table>,
    pub(super) guests: SpinLock<posix::Guests>,
    pub(super) cpu: cpu::CpuTimers,
}

/// Drops a callback object once the interrupt that may be running it has let go of it.
fn retire<T>(object: Arc<T>) {
    while Arc::strong_count(&object) > 1 {
        arch::cpu::relax();
    }
}

/// The process has ended: nothing may fire any more.
pub(super) fn process_exit(process: &Process) {
    itimer::disarm(process);
    posix::end_all(process);
}

/// execve deletes POSIX timers; interval timers go on.
pub(super) fn exec_reset(process: &Process) {
    posix::delete_all(process);
}
