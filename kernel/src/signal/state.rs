//! What a process and a thread keep about signals.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use ::signal::{AltStack, PendingQueue};
use abi::Result;
use abi::signal::{SigSet, Signo};
use ksync::{IrqSpinLock, SpinLock};
use smallvec::SmallVec;

use super::account::{Account, Charge};
use super::hand::{HandSlot, SigHand};
use super::timer::ProcessTimers;
use crate::sync::WaitQueue;
use crate::task::Task;
use crate::task::coredump::Gathering;

/// What comes along with a pending signal.
#[derive(Debug)]
pub struct Tag {
    /// Whose RLIMIT_SIGPENDING it counts against.
    #[expect(dead_code, reason = "held for its drop")]
    pub charge: Option<Charge>,
    /// The POSIX timer that sent it, by its id and its setting's sequence number.
    pub timer: Option<(i32, u32)>,
}

/// A pending queue with its membership readable without the lock.
pub type Queue = PendingQueue<Tag>;

/// A stop of all threads, in progress or complete.
#[derive(Debug, Default)]
pub struct GroupStop {
    /// Threads that have yet to stop.
    pub remaining: usize,
    /// All threads have stopped (Linux's SIGNAL_STOP_STOPPED).
    pub stopped: bool,
    /// The stop signal, until a `wait` consumes it or SIGCONT ends the stop.
    pub signo: Option<Signo>,
    /// Continued since, until a `wait` consumes it (SIGNAL_STOP_CONTINUED).
    pub continued: bool,
    /// The parent is yet to be told, by the first thread that runs again.
    pub news: Option<StopNews>,
}

impl GroupStop {
    /// A stop is in progress or in force.
    pub fn is_on(&self) -> bool {
        self.stopped || self.remaining > 0
    }
}

/// What SIGCONT found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopNews {
    /// The process was stopped and goes on: CLD_CONTINUED.
    Continued,
    /// The stop was not complete yet: CLD_STOPPED is reported all the same.
    Stopped,
}

/// How a process is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupExit {
    /// All threads end; the wait status of the process is decided.
    Status(u32),
    /// All threads but the one in exec end.
    Exec,
}

/// The part of [`SignalShared`] under its lock.
#[derive(Default)]
pub struct Shared {
    pub queue: Queue,
    /// The threads that have not exited, the leader first.
    pub threads: SmallVec<[Arc<Task>; 1]>,
    pub stop: GroupStop,
    pub exit: Option<GroupExit>,
    /// The process is being dumped: of signals only SIGKILL counts.
    pub dump: Option<Arc<Gathering>>,
    /// Where the search for a thread to take a signal goes on.
    pub next_thread: usize,
}

/// Signals of a process.
///
/// # Invariants
/// `pending` is the set of `shared.queue`, stored under the lock.
pub struct SignalShared {
    pub hand: HandSlot,
    pub shared: IrqSpinLock<Shared>,
    pub pending: AtomicU64,
    /// Signals without a handler do nothing to init (Linux's SIGNAL_UNKILLABLE).
    pub unkillable: AtomicBool,
    /// Readers and pollers of `signalfd` wait here.
    pub arrival: WaitQueue,
    /// Somebody may wait at `arrival`.
    pub has_signalfd: AtomicBool,
    /// An exec waits here for the other threads to go.
    pub thread_gone: WaitQueue,
    pub account: IrqSpinLock<Arc<Account>>,
    pub timers: ProcessTimers,
}

impl SignalShared {
    /// Of a process with its own table of defaults, as the first ones of the system.
    pub fn new(uid: u32) -> Self {
        Self::with_hand(Arc::new(SigHand::new()), Account::of(uid))
    }

    fn with_hand(hand: Arc<SigHand>, account: Arc<Account>) -> Self {
        Self {
            hand: HandSlot::new(hand),
            shared: IrqSpinLock::new(Shared::default()),
            pending: AtomicU64::new(0),
            unkillable: AtomicBool::new(false),
            arrival: WaitQueue::new(),
            has_signalfd: AtomicBool::new(false),
            thread_gone: WaitQueue::new(),
            account: IrqSpinLock::new(account),
            timers: ProcessTimers::default(),
        }
    }

    /// Of a forked process: dispositions are copied (or shared with CLONE_SIGHAND), nothing is pending.
    pub fn fork(&self, share_hand: bool, clear_hand: bool) -> Result<Self> {
        let hand = match share_hand {
            true => self.hand.arc(),
            false => Arc::new(self.hand.get().fork(clear_hand)?),
        };
        Ok(Self::with_hand(hand, self.account.lock().clone()))
    }

    /// The process became another user's: its pending signals are charged to that one from now on.
    pub fn set_uid(&self, uid: u32) {
        let account = Account::of(uid);
        let old = core::mem::replace(&mut *self.account.lock(), account);
        drop(old);
    }

    /// The signals pending for the process as a whole.
    #[inline]
    pub fn pending(&self) -> SigSet {
        SigSet::from_bits(self.pending.load(Ordering::SeqCst))
    }

    /// How the process is ending, if it is.
    pub fn group_exit(&self) -> Option<GroupExit> {
        self.shared.lock().exit
    }

    /// A job-control stop is complete, as `/proc/<pid>/stat` shows.
    pub fn is_stopped(&self) -> bool {
        self.shared.lock().stop.stopped
    }

    /// For `wait` with WUNTRACED: the signal that stopped the process, once unless `keep`.
    pub fn take_stop_report(&self, keep: bool) -> Option<Signo> {
        let stop = &mut self.shared.lock().stop;
        if !stop.stopped {
            return None;
        }
        if keep { stop.signo } else { stop.signo.take() }
    }

    /// For `wait` with WCONTINUED: whether the process was continued, once unless `keep`.
    pub fn take_continue_report(&self, keep: bool) -> bool {
        let stop = &mut self.shared.lock().stop;
        let continued = stop.continued;
        stop.continued &= keep;
        continued
    }
}

impl Shared {
    /// Stores the queue's membership where senders and owners look without the lock.
    #[inline]
    pub fn publish(&self, pending: &AtomicU64) {
        pending.store(self.queue.set().bits(), Ordering::SeqCst);
    }
}

/// `TaskSignal::jobctl`: this thread has yet to take part in a group stop.
pub const JOBCTL_STOP_PENDING: u32 = 1;
/// A stop signal was dequeued, and no SIGCONT came since.
pub const JOBCTL_STOP_DEQUEUED: u32 = 2;
/// The thread sleeps in a stop.
pub const JOBCTL_STOPPED: u32 = 4;
/// The thread takes no more signals.
pub const JOBCTL_EXITING: u32 = 8;
/// The thread counts among those that have yet to stop (`GroupStop::remaining`).
pub const JOBCTL_STOP_CONSUME: u32 = 16;
/// A tracee is to stop for its tracer.
pub const JOBCTL_TRAP_STOP: u32 = 32;
/// A seized tracee is to stop because of news of job control.
pub const JOBCTL_TRAP_NOTIFY: u32 = 64;
/// A tracee's attacher waits for its stop.
pub const JOBCTL_TRAPPING: u32 = 128;
/// A tracee sleeps in a stop for its tracer.
pub const JOBCTL_TRACED: u32 = 256;
/// It traps again at news of job control, and takes no requests.
pub const JOBCTL_LISTENING: u32 = 512;
/// Its tracer serves itself: not even SIGKILL wakes it.
pub const JOBCTL_FROZEN: u32 = 1024;
/// The signal of the group stop is above these bits.
pub const JOBCTL_SIGNO_SHIFT: u32 = 16;

/// What a system call goes on with after a stop or an ignored signal (`restart_syscall`).
pub type RestartFn = Box<dyn FnOnce() -> Result<usize> + Send>;

/// The last fault, for the frame's `trapno`, `err` and `cr2`.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastFault {
    pub trapno: u64,
    pub error_code: u64,
    pub address: u64,
}

/// Signals of a thread.
///
/// # Invariants
/// - `pending` is the set of `queue`, stored under its lock.
/// - `blocked` is changed by the thread itself only.
pub struct TaskSignal {
    pub(super) blocked: AtomicU64,
    /// What `blocked` was before `sigtimedwait` opened it: such signals are not thrown away as ignored.
    pub(super) real_blocked: AtomicU64,
    pub(super) saved_mask: AtomicU64,
    pub(super) restore_mask: AtomicBool,
    pub(super) pending: AtomicU64,
    pub(super) queue: IrqSpinLock<Queue>,
    pub(super) jobctl: AtomicU32,
    pub(super) alt_stack: SpinLock<AltStack>,
    pub(super) restart: SpinLock<Option<RestartFn>>,
    pub(super) last_fault: SpinLock<LastFault>,
}

impl TaskSignal {
    /// Of a thread that blocks `blocked`.
    pub fn new(blocked: SigSet) -> Self {
        Self {
            blocked: AtomicU64::new(blocked.bits()),
            real_blocked: AtomicU64::new(0),
            saved_mask: AtomicU64::new(0),
            restore_mask: AtomicBool::new(false),
            pending: AtomicU64::new(0),
            queue: IrqSpinLock::new(Queue::new()),
            jobctl: AtomicU32::new(0),
            alt_stack: SpinLock::new(AltStack::NONE),
            restart: SpinLock::new(None),
            last_fault: SpinLock::new(LastFault::default()),
        }
    }

    /// Of a kernel thread, which takes no signals.
    pub fn for_kernel_thread() -> Self {
        Self::new(SigSet::FULL)
    }

    /// Of a task cloned from this one, which is the current: the mask is inherited, nothing is pending, and the
    /// alternate stack goes when the memory is shared (clone(2) without CLONE_VFORK).
    pub fn fork(&self, drop_alt_stack: bool) -> Self {
        let child = Self::new(self.blocked());
        *child.alt_stack.lock() = match drop_alt_stack {
            true => AltStack::DISARMED,
            false => *self.alt_stack.lock(),
        };
        child
    }

    #[inline]
    pub fn blocked(&self) -> SigSet {
        SigSet::from_bits(self.blocked.load(Ordering::SeqCst))
    }

    /// The signals pending for this thread alone.
    #[inline]
    pub fn pending(&self) -> SigSet {
        SigSet::from_bits(self.pending.load(Ordering::SeqCst))
    }

    #[inline]
    pub(super) fn has_jobctl(&self, bits: u32) -> bool {
        self.jobctl.load(Ordering::SeqCst) & bits != 0
    }

    /// The thread is in a job-control stop, asleep or about to be.
    pub fn is_stopped(&self) -> bool {
        self.has_jobctl(JOBCTL_STOPPED)
    }

    /// The thread is in a stop for its tracer, asleep or about to be.
    pub fn is_stopped_for_tracer(&self) -> bool {
        self.has_jobctl(JOBCTL_TRACED)
    }

    #[inline]
    pub(super) fn publish(&self, queue: &Queue) {
        self.pending.store(queue.set().bits(), Ordering::SeqCst);
    }
}

impl Default for TaskSignal {
    fn default() -> Self {
        Self::new(SigSet::EMPTY)
    }
}
