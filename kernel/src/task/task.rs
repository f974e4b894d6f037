//! A thread.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use abi::Result;
use ksync::check::Held;

use super::cred::Cred;
use super::namespace::UtsNamespace;
use super::pid::Pid;
use super::process::Process;
use super::ptrace::TraceState;
use super::rseq::Rseq;
use super::seccomp::Seccomp;
use super::usage::ThreadUsage;
use super::user_dispatch::UserDispatch;
use crate::arch::ThreadArch;
use crate::fs::{FdTable, FsContext};
use crate::ipc::futex::FutexWait;
use crate::ipc::sem::UndoList;
use crate::mm::AddressSpace;
use crate::mm::kstack::KernelStack;
use crate::sched::SchedState;
use crate::signal::TaskSignal;
use crate::sync::census::{self, Live};
use crate::sync::{SpinLock, TaskCell, TaskRef, WaitQueue};

/// The name of a thread, at most 15 bytes and a NUL, as `PR_SET_NAME` has it.
pub type Comm = [u8; 16];

bitflags::bitflags! {
    /// Facts about a task that others ask for.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct TaskFlags: u32 {
        /// Has no user space.
        const KERNEL_THREAD = 1;
        /// Is past the point of no return in exit.
        const EXITING = 2;
        /// Has not executed a program since it was forked.
        const FORK_NO_EXEC = 4;
        /// Used super-user rights.
        const SUPERUSER = 8;
        /// `PR_SET_NO_NEW_PRIVS`.
        const NO_NEW_PRIVS = 16;
        /// Sleeps in `vfork` for its child.
        const IN_VFORK = 32;
        /// `PR_MCE_KILL_SET`: hears of broken memory as it says itself, not as the system does.
        const MCE_PROCESS = 64;
        /// With `MCE_PROCESS`: at once, not when it touches it.
        const MCE_EARLY = 128;
        /// `PR_SET_IO_FLUSHER`: others wait for its writing.
        const IO_FLUSHER = 256;
        /// Made a System V segment that its exit may orphan.
        const MADE_SEGMENT = 512;
        /// Has made children, or was given them.
        const PARENT = 1024;
    }
}

/// A thread: what runs on a CPU.
///
/// # Invariants
/// - `arch` is the first field; `sync::current` and the entry code rest on it.
/// - The cells are replaced only by the thread itself.
#[repr(C)]
pub struct Task {
    /// Registers, FPU, work bits: what the entry code and the context switch know.
    pub arch: ThreadArch,
    _live: Live<{ census::TASKS }>,
    /// The thread's number; equal to the process's for its leader, which a thread becomes by exec.
    tid: AtomicI32,
    /// The thread group.
    pub process: Arc<Process>,
    /// What the scheduler keeps.
    pub sched: SchedState,
    /// Masks, pending signals, the alternate stack.
    pub signal: TaskSignal,
    mm: TaskCell<Option<Arc<AddressSpace>>>,
    files: TaskCell<Option<Arc<FdTable>>>,
    fs: TaskCell<Option<Arc<FsContext>>>,
    uts: TaskCell<Option<Arc<UtsNamespace>>>,
    cred: TaskCell<Arc<Cred>>,
    /// What its exit takes back of semaphore operations; `None` until it asks for that.
    undo: TaskCell<Option<Arc<UndoList>>>,
    comm: SpinLock<Comm>,
    flags: AtomicU32,
    /// Where `CLONE_CHILD_CLEARTID` or `set_tid_address` wants a zero and a futex wake at exit; 0 for nowhere.
    pub clear_child_tid: AtomicUsize,
    /// Where `CLONE_CHILD_SETTID` wants the number, stored by the child itself before it first runs; 0 for nowhere.
    pub set_child_tid: AtomicUsize,
    /// Head of the robust futex list; 0 for none.
    pub robust_list: AtomicUsize,
    /// Its restartable sequences.
    pub rseq: Rseq,
    /// Which of its calls become signals.
    pub user_dispatch: UserDispatch,
    /// The system calls it gave up.
    pub seccomp: Seccomp,
    /// Its part in a futex wait.
    pub futex: FutexWait,
    /// Time used and faults taken.
    pub usage: ThreadUsage,
    /// The parent of a `vfork` sleeps here until the child execs or exits.
    pub vfork_done: SpinLock<Option<Arc<VforkDone>>>,
    /// Signal sent when the parent thread dies; 0 for none.
    pub parent_death_signal: AtomicU32,
    /// I/O priority as of `ioprio_set(2)`; 0 for none of its own.
    pub ioprio: AtomicU32,
    /// The bits of its memory policy (`set_mempolicy(2)`); 0 for none.
    pub mempolicy: AtomicU32,
    /// Timer slack in nanoseconds.
    pub timer_slack_ns: AtomicU64,
    /// What `PR_SET_TIMERSLACK` of 0 goes back to: the parent's slack at the fork.
    pub default_timer_slack_ns: AtomicU64,
    /// Nanoseconds since boot at the start.
    pub start_ns: u64,
    /// The sleeping locks it holds; known in debug kernels alone.
    pub held: Held,
    /// Its part in tracing, as tracee and as tracer.
    pub ptrace: TraceState,
    /// Where it runs in the kernel.
    pub stack: KernelStack,
}

/// What the parent of a `vfork` waits for.
#[derive(Default)]
pub struct VforkDone {
    done: core::sync::atomic::AtomicBool,
    queue: WaitQueue,
}

impl VforkDone {
    /// Lets the parent go on.
    pub fn complete(&self) {
        // Pairs with the load in `wait`: the child has left the parent's address space before.
        self.done.store(true, Ordering::SeqCst);
        self.queue.wake_all();
    }

    /// Sleeps until the child has let go of the address space; signals stay pending, only a fatal one ends it.
    ///
    /// # Errors
    /// `EINTR` when the task is being killed.
    pub fn wait(&self) -> Result<()> {
        self.queue
            .wait_killable(|| self.done.load(Ordering::SeqCst).then_some(()))
    }
}

/// What a new task starts with.
pub struct NewTask {
    /// Its number.
    pub tid: Pid,
    /// Its thread group.
    pub process: Arc<Process>,
    /// Its address space; `None` for a kernel thread.
    pub mm: Option<Arc<AddressSpace>>,
    /// Its descriptors.
    pub files: Option<Arc<FdTable>>,
    /// Its root, working directory and umask.
    pub fs: Option<Arc<FsContext>>,
    /// Its identity.
    pub cred: Arc<Cred>,
    /// Its masks and alternate stack.
    pub signal: TaskSignal,
    /// The semaphore adjustments that it shares.
    pub undo: Option<Arc<UndoList>>,
    /// Its name.
    pub comm: Comm,
    /// Its scheduling parameters and affinity.
    pub sched: SchedState,
    /// Initial flags.
    pub flags: TaskFlags,
}

impl Task {
    /// Builds a task of the first namespace that is not runnable yet.
    ///
    /// # Errors
    /// `ENOMEM` when there is no memory for its stack.
    pub fn new(new: NewTask) -> Result<Arc<Task>> {
        Self::new_in(UtsNamespace::initial().clone(), new)
    }

    /// Builds a task of that namespace that is not runnable yet.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn new_in(uts: Arc<UtsNamespace>, new: NewTask) -> Result<Arc<Task>> {
        let stack = KernelStack::new()?;
        Ok(Arc::new(Task {
            arch: ThreadArch::new(stack.top())?,
            _live: Live::new(),
            tid: AtomicI32::new(new.tid.0),
            process: new.process,
            sched: new.sched,
            signal: new.signal,
            mm: TaskCell::new(new.mm),
            files: TaskCell::new(new.files),
            fs: TaskCell::new(new.fs),
            uts: TaskCell::new(Some(uts)),
            cred: TaskCell::new(new.cred),
            undo: TaskCell::new(new.undo),
            comm: SpinLock::new(new.comm),
            flags: AtomicU32::new(new.flags.bits()),
            clear_child_tid: AtomicUsize::new(0),
            set_child_tid: AtomicUsize::new(0),
            robust_list: AtomicUsize::new(0),
            rseq: Rseq::default(),
            user_dispatch: UserDispatch::default(),
            seccomp: Seccomp::default(),
            futex: FutexWait::default(),
            usage: ThreadUsage::default(),
            vfork_done: SpinLock::new(None),
            parent_death_signal: AtomicU32::new(0),
            ioprio: AtomicU32::new(0),
            mempolicy: AtomicU32::new(0),
            timer_slack_ns: AtomicU64::new(50_000),
            default_timer_slack_ns: AtomicU64::new(50_000),
            start_ns: crate::time::boottime_ns(),
            held: Held::new(),
            ptrace: TraceState::default(),
            stack,
        }))
    }

    /// The thread's number.
    #[inline]
    pub fn tid(&self) -> Pid {
        Pid(self.tid.load(Ordering::Relaxed))
    }

    /// Takes another number: the leader's, at exec.
    pub(super) fn set_tid(&self, tid: Pid) {
        self.tid.store(tid.0, Ordering::Relaxed);
    }

    /// The address space, for anybody; `None` for kernel threads and after exit.
    pub fn mm(&self) -> Option<Arc<AddressSpace>> {
        self.mm.get()
    }

    /// The descriptors, for anybody; `None` after exit.
    pub fn files(&self) -> Option<Arc<FdTable>> {
        self.files.get()
    }

    /// Its list of semaphore adjustments, for anybody; `None` if it has none.
    pub fn undo(&self) -> Option<Arc<UndoList>> {
        self.undo.get()
    }

    /// Root, working directory and umask, for anybody; `None` after exit.
    pub fn fs(&self) -> Option<Arc<FsContext>> {
        self.fs.get()
    }

    /// The host's and the domain's name, for anybody; `None` after exit.
    pub fn uts(&self) -> Option<Arc<UtsNamespace>> {
        self.uts.get()
    }

    /// The identity, for anybody.
    pub fn cred(&self) -> Arc<Cred> {
        self.cred.get()
    }

    /// The name, without its NULs.
    pub fn comm(&self) -> Comm {
        *self.comm.lock()
    }

    /// The same for an interrupt, which may have come while the name changes.
    pub fn try_comm(&self) -> Option<Comm> {
        self.comm.try_lock().map(|comm| *comm)
    }

    /// Sets the name: 15 bytes at most, the rest is cut.
    pub fn set_comm(&self, name: &[u8]) {
        *self.comm.lock() = comm_of(name);
    }

    /// The flags set now.
    pub fn flags(&self) -> TaskFlags {
        TaskFlags::from_bits_truncate(self.flags.load(Ordering::Relaxed))
    }

    /// Sets flags.
    pub fn set_flags(&self, flags: TaskFlags) {
        self.flags.fetch_or(flags.bits(), Ordering::Relaxed);
    }

    /// Clears flags.
    pub fn clear_flags(&self, flags: TaskFlags) {
        self.flags.fetch_and(!flags.bits(), Ordering::Relaxed);
    }

    /// Whether it has no user space.
    pub fn is_kernel_thread(&self) -> bool {
        self.flags().contains(TaskFlags::KERNEL_THREAD)
    }

    /// Whether this is the leader of its thread group.
    pub fn is_leader(&self) -> bool {
        self.tid() == self.process.pid
    }

    /// Tells a parent that sleeps in `vfork` that the address space is its own again.
    pub fn complete_vfork(&self) {
        if let Some(done) = self.vfork_done.lock().take() {
            done.complete();
        }
    }

    /// Runs `f` on the address space while the scheduler keeps the task from running.
    pub fn with_mm<R>(&self, f: impl FnOnce(Option<&Arc<AddressSpace>>) -> R) -> R {
        self.mm.with(|mm| f(mm.as_ref()))
    }
}

/// What only the running task may ask of itself: views without locks or counts, and changes.
impl crate::sync::CurrentTask {
    /// The descriptors.
    ///
    /// # Panics
    /// In a task without any: kernel threads do no file calls through descriptors.
    #[inline(always)]
    pub fn my_files(&self) -> OwnRef<'_, FdTable> {
        OwnRef(self.files.borrow())
    }

    /// Root, working directory and umask.
    #[inline(always)]
    pub fn my_fs(&self) -> OwnRef<'_, FsContext> {
        OwnRef(self.fs.borrow())
    }

    /// The host's and the domain's name.
    #[inline(always)]
    pub fn my_uts(&self) -> OwnRef<'_, UtsNamespace> {
        OwnRef(self.uts.borrow())
    }

    /// The address space.
    #[inline(always)]
    pub fn my_mm(&self) -> OwnRef<'_, AddressSpace> {
        OwnRef(self.mm.borrow())
    }

    /// The identity.
    #[inline(always)]
    pub fn my_cred(&self) -> TaskRef<'_, Arc<Cred>> {
        self.cred.borrow()
    }

    /// Replaces the identity.
    pub fn set_cred(&self, cred: Arc<Cred>) {
        self.cred.replace(cred);
    }

    /// Replaces the address space and returns the old one. The caller switches to the new one.
    pub fn replace_mm(&self, mm: Option<Arc<AddressSpace>>) -> Option<Arc<AddressSpace>> {
        self.mm.replace(mm)
    }

    /// Replaces the descriptors and returns the old ones.
    pub fn replace_files(&self, files: Option<Arc<FdTable>>) -> Option<Arc<FdTable>> {
        self.files.replace(files)
    }

    /// Its list of semaphore adjustments, made if need be.
    pub fn undo_list(&self) -> Arc<UndoList> {
        let there = self.undo.borrow().clone();
        there.unwrap_or_else(|| {
            let fresh = Arc::<UndoList>::default();
            self.undo.replace(Some(fresh.clone()));
            fresh
        })
    }

    /// Gives its list of semaphore adjustments away.
    pub fn take_undo(&self) -> Option<Arc<UndoList>> {
        self.undo.replace(None)
    }

    /// Replaces root, working directory and umask.
    pub fn replace_fs(&self, fs: Option<Arc<FsContext>>) -> Option<Arc<FsContext>> {
        self.fs.replace(fs)
    }

    /// Replaces the namespace of the host's name and returns the old one.
    pub fn replace_uts(&self, uts: Option<Arc<UtsNamespace>>) -> Option<Arc<UtsNamespace>> {
        self.uts.replace(uts)
    }
}

/// The running task's view of something it has until it exits.
pub struct OwnRef<'a, T>(TaskRef<'a, Option<Arc<T>>>);

impl<T> core::ops::Deref for OwnRef<'_, T> {
    type Target = Arc<T>;
    #[inline(always)]
    fn deref(&self) -> &Arc<T> {
        self.0
            .as_ref()
            .expect("asked only by tasks with a user space that have not exited")
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        super::pid::release(self.tid());
    }
}

/// A name cut to what a thread's name may have.
pub fn comm_of(name: &[u8]) -> Comm {
    let mut comm = [0; 16];
    let len = name.len().min(15);
    comm[..len].copy_from_slice(&name[..len]);
    comm
}

/// Boxes a slice of zeroed bytes, for callers whose size the user chose.
pub fn try_zeroed(len: usize) -> Result<Box<[u8]>> {
    let mut bytes = alloc::vec::Vec::new();
    bytes
        .try_reserve_exact(len)
        .map_err(|_| abi::Errno::ENOMEM)?;
    bytes.resize(len, 0);
    Ok(bytes.into_boxed_slice())
}
