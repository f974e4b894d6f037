//! A thread group, and what its threads share.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::coredump;
use super::cred::Cred;
use super::pid::Pid;
use super::rlimit::Rlimits;
use super::task::{Comm, Task};
use super::tree::{ProcessGroup, Session};
use super::usage::{ProcessUsage, Rusage};
use crate::fs::File;
use crate::signal::SignalShared;
use crate::sync::census::{self, Live};
use crate::sync::{Mutex, SpinLock, WaitQueue};
use crate::tty::Tty;

/// The status word of `wait4`: an exit code in the second byte, or a signal in the low seven bits and 0x80 for a core.
pub type WaitStatus = u32;

/// Where a process stands. Guarded by its `links` lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// Has threads.
    Alive,
    /// All threads are gone, the status waits to be taken.
    Zombie(WaitStatus),
    /// The status was taken, or nobody wants it.
    Reaped,
}

/// Family and membership. Changed only under the tree lock as well.
pub struct Links {
    /// Who gets SIGCHLD and may wait; gone only for init and kernel threads.
    pub parent: Weak<Process>,
    /// Children, zombies included, in the order of their making.
    pub children: Vec<Arc<Process>>,
    /// The process group.
    pub group: Arc<ProcessGroup>,
    /// Alive, zombie or gone.
    pub life: Life,
}

/// Of the leader, or of whichever thread ended last without one.
pub struct Remains {
    /// Its name.
    pub comm: Comm,
    /// Its identity.
    pub cred: Arc<Cred>,
    /// Its policy, nice value and priority.
    pub params: ::sched::Params,
    /// What it had used.
    pub usage: Rusage,
}

/// A process: a thread group.
///
/// # Invariants
/// - `links` changes under the tree lock; reading needs only its own.
/// - The list of threads is `signal`'s, since signals choose among them; it is empty exactly when `life` is not `Alive`.
pub struct Process {
    _live: Live<{ census::PROCESSES }>,
    /// The number of the leader, and of the process.
    pub pid: Pid,
    /// Family and membership.
    pub links: SpinLock<Links>,
    /// Dispositions, the shared queue, stop state, timers.
    pub signal: SignalShared,
    /// What `setrlimit` sets.
    pub rlimits: Rlimits,
    /// Time and faults of threads that have exited, and of children waited for.
    pub usage: ProcessUsage,
    /// Woken when a child changes state; waiters are threads of this process.
    pub child_events: WaitQueue,
    /// Woken when this process ends: pidfds poll it.
    pub exit_event: WaitQueue,
    /// The thread with the process's number; gone once it has ended and nobody traces it.
    pub leader: SpinLock<Weak<Task>>,
    /// The thread that made it: its tracer by PTRACE_TRACEME, and the parent for `__WNOTHREAD`, while it lives.
    pub maker: SpinLock<Weak<Task>>,
    /// Tracees of all its threads.
    pub tracee_count: AtomicUsize,
    /// Held by execve against ptrace and readers of the memory map.
    pub exec_lock: Mutex<()>,
    /// The executable.
    pub exe: SpinLock<Option<Arc<File>>>,
    /// Adopts orphaned descendants (`PR_SET_CHILD_SUBREAPER`).
    pub is_subreaper: AtomicBool,
    /// Has executed a program since it was forked: its group may then not be changed by its parent.
    pub did_exec: AtomicBool,
    /// How many programs it has executed: what one asked for is not the next one's.
    pub execs: AtomicU32,
    /// The dumpable state of `PR_SET_DUMPABLE`: 0, 1 or 2.
    pub dumpable: AtomicU32,
    /// `/proc/<pid>/coredump_filter`.
    pub coredump_filter: AtomicU32,
    /// `/proc/<pid>/oom_score_adj`.
    pub oom_score_adj: AtomicI32,
    /// The personality(2) word.
    pub personality: AtomicU32,
    /// Monotonic nanoseconds at the start.
    pub start_ns: u64,
    /// What the whole process had used at its end, for the parent's wait.
    pub final_usage: SpinLock<Rusage>,
    /// The signal sent to the parent at the end; 0 for none.
    pub exit_signal: AtomicU32,
    /// The real user id of the last thread, for wait.
    pub final_uid: AtomicU32,
    /// What `/proc` shows of a zombie.
    pub remains: SpinLock<Option<Remains>>,
    /// Missing system calls that were logged already, a bit each.
    missing_calls: [AtomicU64; 8],
    /// Which of its session's controlling terminals the process has; 0 for none. As on Linux the one who takes a
    /// terminal has it, and children inherit it; processes that the session had before do not get it.
    pub tty_claim: AtomicU32,
}

impl Process {
    /// A process without threads, in `group`, not published yet.
    pub fn new(
        pid: Pid,
        parent: Weak<Process>,
        group: Arc<ProcessGroup>,
        signal: SignalShared,
        rlimits: Rlimits,
    ) -> Arc<Process> {
        Arc::new(Process {
            _live: Live::new(),
            pid,
            links: SpinLock::new(Links {
                parent,
                children: Vec::new(),
                group,
                life: Life::Alive,
            }),
            signal,
            rlimits,
            usage: ProcessUsage::default(),
            child_events: WaitQueue::new(),
            exit_event: WaitQueue::new(),
            leader: SpinLock::new(Weak::new()),
            maker: SpinLock::new(Weak::new()),
            tracee_count: AtomicUsize::new(0),
            exec_lock: Mutex::new(()),
            exe: SpinLock::new(None),
            is_subreaper: AtomicBool::new(false),
            did_exec: AtomicBool::new(false),
            execs: AtomicU32::new(0),
            dumpable: AtomicU32::new(1),
            coredump_filter: AtomicU32::new(coredump::DEFAULT_FILTER),
            oom_score_adj: AtomicI32::new(0),
            personality: AtomicU32::new(0),
            start_ns: crate::time::boottime_ns(),
            final_usage: SpinLock::new(Rusage::default()),
            exit_signal: AtomicU32::new(0),
            final_uid: AtomicU32::new(0),
            remains: SpinLock::new(None),
            missing_calls: [const { AtomicU64::new(0) }; 8],
            tty_claim: AtomicU32::new(0),
        })
    }

    /// The identity of its main thread; of a zombie, what nobody may act on: the super-user's.
    pub fn cred(&self) -> Arc<Cred> {
        self.main_thread()
            .map_or_else(|| Arc::new(Cred::root()), |thread| thread.cred())
    }

    /// The parent, while it exists.
    pub fn parent(&self) -> Option<Arc<Process>> {
        self.links.lock().parent.upgrade()
    }

    /// The parent's number, 0 without one.
    pub fn ppid(&self) -> Pid {
        self.parent().map_or(Pid::NONE, |parent| parent.pid)
    }

    /// The process group.
    pub fn group(&self) -> Arc<ProcessGroup> {
        self.links.lock().group.clone()
    }

    /// The session.
    pub fn session(&self) -> Arc<Session> {
        self.links.lock().group.session.clone()
    }

    /// The controlling terminal.
    pub fn tty(&self) -> Option<Arc<Tty>> {
        self.session()
            .tty_of_claim(self.tty_claim.load(Ordering::Relaxed))
    }

    /// The process group's number.
    pub fn pgid(&self) -> Pid {
        self.links.lock().group.id
    }

    /// The session's number.
    pub fn sid(&self) -> Pid {
        self.links.lock().group.session.id
    }

    /// Threads that have not exited.
    pub fn threads(&self) -> Vec<Arc<Task>> {
        self.signal.shared.lock().threads.to_vec()
    }

    /// How many threads have not exited.
    pub fn thread_count(&self) -> usize {
        self.signal.shared.lock().threads.len()
    }

    /// The thread that stands for the process: the leader, or after its exit the oldest other.
    pub fn main_thread(&self) -> Option<Arc<Task>> {
        self.signal.shared.lock().threads.first().cloned()
    }

    /// Where it stands.
    pub fn life(&self) -> Life {
        self.links.lock().life
    }

    /// Whether this is init, which no unhandled signal kills.
    pub fn is_init(&self) -> bool {
        self.pid == Pid::INIT
    }

    /// Whether this is the process's first use of a call that is not there.
    pub fn first_missing_call(&self, number: usize) -> bool {
        let bit = 1 << (number % 64);
        match self.missing_calls.get(number / 64) {
            Some(word) => word.fetch_or(bit, Ordering::Relaxed) & bit == 0,
            None => false,
        }
    }

    /// The real user id: that of its main thread, or what it was at the end.
    pub fn real_uid(&self) -> u32 {
        match self.main_thread() {
            Some(thread) => thread.cred().uid,
            None => self.final_uid.load(Ordering::Relaxed),
        }
    }

    /// The signal sent to the parent at the end.
    pub fn exit_signal(&self) -> u32 {
        self.exit_signal.load(Ordering::Relaxed)
    }
}

/// The personality bit that turns address space randomisation off.
pub const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;

/// A change of identity: the process is dumped only as the administrator says.
pub fn clear_dumpable(process: &Process) {
    let state = coredump::suid_dumpable();
    process.dumpable.store(state, Ordering::Relaxed);
}

/// The personality bit that makes memory that can be read executable too.
pub const READ_IMPLIES_EXEC: u32 = 0x0040_0000;

static KERNEL_PROCESS: spin::Once<Arc<Process>> = spin::Once::new();

/// The process that kernel threads and idle tasks belong to; it has number 0 and is nobody's child.
pub fn kernel_process() -> Arc<Process> {
    KERNEL_PROCESS
        .call_once(|| {
            let group = Session::create(Pid::NONE);
            let ram = crate::mm::stats().total * crate::mm::PAGE_SIZE as u64;
            let limits = Rlimits::initial(ram);
            Process::new(Pid::NONE, Weak::new(), group, SignalShared::new(0), limits)
        })
        .clone()
}
