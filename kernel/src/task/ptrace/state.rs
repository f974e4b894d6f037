//! What a thread keeps about tracing: as a tracee and as a tracer.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use abi::signal::SigInfo;

use crate::sync::{IrqSpinLock, SpinLock, WaitQueue};
use crate::task::{Cred, Task};

/// Something that a tracee stops at; the values are the ABI's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Event {
    /// A child by fork.
    Fork = 1,
    /// A child by vfork.
    Vfork = 2,
    /// A child or thread by clone.
    Clone = 3,
    /// A program was executed.
    Exec = 4,
    /// A vfork child has let go of the memory.
    VforkDone = 5,
    /// The thread is about to end.
    Exit = 6,
    /// A seccomp filter asks the tracer.
    Seccomp = 7,
    /// A stop of a seized tracee: INTERRUPT, job control, a new child.
    Stop = 128,
}

impl Event {
    /// The stop's code: what `si_code` shows.
    pub(super) fn code(self) -> i32 {
        SIGTRAP | (self as i32) << 8
    }
}

pub(super) const SIGTRAP: i32 = 5;

bitflags::bitflags! {
    /// `PTRACE_O_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Options: u32 {
        /// Bit 7 is set in the code of system-call stops.
        const TRACESYSGOOD = 1;
        const TRACEFORK = 1 << 1;
        const TRACEVFORK = 1 << 2;
        const TRACECLONE = 1 << 3;
        const TRACEEXEC = 1 << 4;
        const TRACEVFORKDONE = 1 << 5;
        const TRACEEXIT = 1 << 6;
        const TRACESECCOMP = 1 << 7;
        /// The tracee dies with the tracer.
        const EXITKILL = 1 << 20;
        /// Filters do not count.
        const SUSPEND_SECCOMP = 1 << 21;
    }
}

/// In `flags`: traced.
const TRACED: u32 = 1 << 30;
/// In `flags`: by SEIZE.
const SEIZED: u32 = 1 << 31;

/// A tracee's tracer.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) tracer: Weak<Task>,
    /// Who the tracer was when it attached: what a set-uid program may gain depends on it.
    pub(super) cred: Arc<Cred>,
}

/// What a stop shows.
#[derive(Default)]
pub(super) struct Stop {
    /// The wait status's code until somebody has waited for it; then what the tracee goes on with.
    pub(super) code: i32,
    /// The signal of the stop; none in a group stop of a tracee that was not seized.
    pub(super) info: Option<SigInfo>,
    /// PTRACE_GETEVENTMSG's answer.
    pub(super) message: u64,
}

/// The threads that a thread traces.
#[derive(Default)]
pub(super) struct Tracees {
    pub(super) list: Vec<Arc<Task>>,
    /// The thread is ending and gets no more.
    pub(super) closed: bool,
}

/// A thread's part in tracing. See the module's head for locks.
#[derive(Default)]
pub struct TraceState {
    /// `Options`, TRACED, SEIZED.
    flags: AtomicU32,
    pub(super) link: SpinLock<Option<Link>>,
    pub(super) stop: IrqSpinLock<Stop>,
    /// The thread has ended; it stays for its tracer to wait for.
    pub(super) ended: AtomicBool,
    /// Its wait status then.
    pub(super) status: AtomicU32,
    /// Who attached while the thread was stopped waits here for it to be TRACED.
    pub(super) settled: WaitQueue,
    pub(super) tracees: SpinLock<Tracees>,
}

impl TraceState {
    /// Whether somebody traces the thread.
    #[inline]
    pub fn is_traced(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & TRACED != 0
    }

    /// Whether the tracer seized it.
    pub fn is_seized(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & SEIZED != 0
    }

    /// The options in force; none of a thread that is not traced.
    pub(super) fn options(&self) -> Options {
        Options::from_bits_truncate(self.flags.load(Ordering::SeqCst))
    }

    pub(super) fn set_options(&self, options: Options) {
        let kept = self.flags.load(Ordering::SeqCst) & (TRACED | SEIZED);
        self.flags.store(kept | options.bits(), Ordering::SeqCst);
    }

    /// Under the tree lock and the signal lock.
    pub(super) fn set_traced(&self, seized: bool, options: Options) {
        let kind = if seized { TRACED | SEIZED } else { TRACED };
        self.flags.store(kind | options.bits(), Ordering::SeqCst);
    }

    /// Under the tree lock and the signal lock.
    pub(super) fn set_untraced(&self) {
        self.flags.store(0, Ordering::SeqCst);
    }

    /// The tracer.
    pub fn tracer(&self) -> Option<Arc<Task>> {
        self.link.lock().as_ref()?.tracer.upgrade()
    }

    /// The threads that it traces.
    pub fn list(&self) -> Vec<Arc<Task>> {
        self.tracees.lock().list.clone()
    }

    /// Whether an event stops the thread.
    pub fn wants(&self, event: Event) -> bool {
        match event {
            Event::Stop => false,
            event => self.options().bits() >> event as u32 & 1 != 0,
        }
    }

    /// Whether the tracer keeps seccomp's filters from counting.
    pub fn suspends_seccomp(&self) -> bool {
        self.options().contains(Options::SUSPEND_SECCOMP)
    }
}
