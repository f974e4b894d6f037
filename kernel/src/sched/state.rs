//! What the scheduler keeps with a task.

use core::sync::atomic::{AtomicI16, AtomicU32, AtomicU64, Ordering};

use sched::{Entity, Params, Prio, SleepWord};

use super::deadline;

use crate::arch::cpu::CpuId;
use crate::sync::IrqSpinLock;

/// What a task does. The values are bits, so that a waker can name several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum TaskState {
    /// Runs, or would like to.
    Running = 0,
    /// Sleeps; a signal wakes it.
    Interruptible = 1,
    /// Sleeps; nothing but its condition wakes it.
    Uninterruptible = 2,
    /// Sleeps; a fatal signal wakes it.
    Killable = 4,
    /// Stopped by job control.
    Stopped = 8,
    /// Stopped for its tracer.
    Traced = 16,
    /// Gone.
    Dead = 32,
}

/// How a sleep may end besides by its condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SleepKind {
    /// By any unblocked signal.
    Interruptible,
    /// By a fatal signal.
    Killable,
    /// Not at all.
    Uninterruptible,
    /// By SIGCONT or SIGKILL: the sleep of a stopped task.
    Stopped,
    /// By the tracer: the sleep of a stopped tracee.
    Traced,
}

impl SleepKind {
    pub(super) fn state(self) -> TaskState {
        match self {
            SleepKind::Interruptible => TaskState::Interruptible,
            SleepKind::Killable => TaskState::Killable,
            SleepKind::Uninterruptible => TaskState::Uninterruptible,
            SleepKind::Stopped => TaskState::Stopped,
            SleepKind::Traced => TaskState::Traced,
        }
    }
}

/// The scheduler's part of a task.
///
/// # Invariants
/// `entity` and `affinity` change under the run queue of `cpu`, or before the task first runs; the lock of `entity`
/// itself is uncontended then and only keeps the borrow checker's promise.
pub struct SchedState {
    state: SleepWord,
    cpu: AtomicU32,
    pub(super) entity: IrqSpinLock<Entity>,
    /// The task's own priority on Linux's scale, for a look without the lock.
    own_prio: AtomicI16,
    affinity: AtomicU64,
    /// Monotonic time of the last accounting while it runs, or since which it stands in a queue.
    pub(super) since_ns: AtomicU64,
    /// Ticks that found it running in the real-time class since it last slept.
    pub(super) rt_ticks: AtomicU32,
}

impl SchedState {
    /// A task that was never run, to start on `cpu`.
    pub fn new(params: Params, affinity: u64, cpu: CpuId) -> SchedState {
        SchedState {
            state: SleepWord::new(TaskState::Uninterruptible as u32),
            cpu: AtomicU32::new(cpu.0),
            entity: IrqSpinLock::new(Entity::new(params)),
            own_prio: AtomicI16::new(params.prio()),
            affinity: AtomicU64::new(affinity),
            since_ns: AtomicU64::new(0),
            rt_ticks: AtomicU32::new(0),
        }
    }

    /// The state bits now.
    #[inline]
    pub fn bits(&self) -> u32 {
        self.state.bits()
    }

    /// What it does now.
    pub fn state(&self) -> TaskState {
        match self.bits() {
            0 => TaskState::Running,
            1 => TaskState::Interruptible,
            2 => TaskState::Uninterruptible,
            4 => TaskState::Killable,
            8 => TaskState::Stopped,
            16 => TaskState::Traced,
            _ => TaskState::Dead,
        }
    }

    #[inline]
    pub(super) fn set(&self, state: TaskState) {
        self.state.set(state as u32);
    }

    /// The word itself, for sleepers and wakers.
    #[inline]
    pub(super) fn word(&self) -> &SleepWord {
        &self.state
    }

    /// The CPU whose run queue guards it: where it runs or last ran.
    #[inline]
    pub fn cpu(&self) -> CpuId {
        CpuId(self.cpu.load(Ordering::Acquire))
    }

    pub(super) fn set_cpu(&self, cpu: CpuId) {
        self.cpu.store(cpu.0, Ordering::Release);
    }

    /// The task's own priority on Linux's scale (see `Params::prio`), without what it inherits.
    #[inline]
    pub fn own_prio(&self) -> Prio {
        self.own_prio.load(Ordering::Relaxed)
    }

    /// Whether its policy is SCHED_DEADLINE.
    #[inline]
    pub(super) fn is_deadline(&self) -> bool {
        self.own_prio() == sched::DEADLINE_PRIO
    }

    pub(super) fn note_prio(&self, prio: Prio) {
        self.own_prio.store(prio, Ordering::Relaxed);
    }

    /// It is put into a queue from outside of its CPU: there it begins to wait. Answers the time.
    #[inline]
    pub(super) fn note_queued(&self) -> u64 {
        let now = crate::time::monotonic_ns();
        self.since_ns.store(now, Ordering::Relaxed);
        now
    }

    /// The CPUs it may run on, a bit each.
    #[inline]
    pub fn affinity(&self) -> u64 {
        self.affinity.load(Ordering::Relaxed)
    }

    pub(super) fn set_affinity(&self, mask: u64) {
        self.affinity.store(mask, Ordering::Relaxed);
    }
}

impl Drop for SchedState {
    fn drop(&mut self) {
        if self.is_deadline() {
            deadline::release(self.entity.lock().params());
        }
    }
}
