//! Run queues and the switch between tasks.

use alloc::sync::Arc;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use sched::{Room, RunQueue};

use super::state::{SleepKind, TaskState};
use super::{balance, deadline, tick};
use crate::arch::{self, cpu::CpuId};
use crate::mm;
use crate::sync::{HandOverLock, IrqGuard, PerCpu, SpinGuard, current, current_arc};
use crate::task::{self, Task};
use crate::time;

/// A CPU's tasks.
pub(super) struct Cpu {
    pub(super) queue: RunQueue<Arc<Task>>,
    /// Who runs; `None` until the CPU has started.
    pub(super) running: Option<Arc<Task>>,
    /// Runs when nobody else wants to.
    idle: Option<Arc<Task>>,
    /// Who ran before the switch under way, kept until it has left its stack.
    leaving: Option<Arc<Task>>,
    /// The one that leaves is runnable, but not here: it goes to another CPU once it has left its stack.
    evicted: bool,
    pub(super) switches: u64,
    pub(super) sums: CpuSums,
}

/// What a CPU has given to tasks.
#[derive(Clone, Copy, Default, Debug)]
pub struct CpuSums {
    /// Nanoseconds for which it ran them.
    pub ran_ns: u64,
    /// Nanoseconds for which they waited.
    pub waited_ns: u64,
    /// How often one got it.
    pub runs: u64,
}

impl Cpu {
    const fn new() -> Cpu {
        Cpu {
            queue: RunQueue::new(),
            running: None,
            idle: None,
            leaving: None,
            evicted: false,
            switches: 0,
            sums: CpuSums {
                ran_ns: 0,
                waited_ns: 0,
                runs: 0,
            },
        }
    }

    /// Whether the CPU runs its idle task.
    pub(super) fn is_idle(&self) -> bool {
        match (&self.running, &self.idle) {
            (Some(running), Some(idle)) => Arc::ptr_eq(running, idle),
            _ => true,
        }
    }
}

static CPUS: PerCpu<HandOverLock<Cpu>> = crate::per_cpu!(HandOverLock::new(Cpu::new()));

/// CPUs that idle, a bit each: a hint for placement.
static IDLE_MASK: AtomicU64 = AtomicU64::new(0);
/// Tasks alive: what the queues have room for.
static TASKS: AtomicUsize = AtomicUsize::new(0);
/// So many have room in every queue of a CPU that was up when it was last made.
static ROOM: AtomicUsize = AtomicUsize::new(0);
/// So many deadline tasks have room in every queue.
static DEADLINE_ROOM: AtomicUsize = AtomicUsize::new(0);
const LEAST_ROOM: usize = 64;
/// Tasks ever started.
static SPAWNED: AtomicU64 = AtomicU64::new(0);

pub(super) fn idle_mask() -> u64 {
    IDLE_MASK.load(Ordering::Relaxed)
}

/// Whether this CPU runs its idle task. With interrupts off.
pub fn idles_here() -> bool {
    idle_mask() & arch::cpu::current_id().bit() != 0
}

/// A run queue, locked, with interrupts off.
///
/// A pair of guards bound by one pattern would not do: the last one bound is dropped first, and an interrupt between the
/// two would find the lock taken by the very CPU it interrupts, for ever.
pub(super) struct Locked {
    // Field order is drop order: the lock is released before interrupts come back.
    cpu: SpinGuard<'static, Cpu>,
    _irq: IrqGuard,
}

impl Deref for Locked {
    type Target = Cpu;
    #[inline(always)]
    fn deref(&self) -> &Cpu {
        &self.cpu
    }
}

impl DerefMut for Locked {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Cpu {
        &mut self.cpu
    }
}

/// The run queue of a CPU.
pub(super) fn lock(cpu: CpuId) -> Locked {
    let irq = IrqGuard::new();
    Locked {
        cpu: CPUS.of(cpu).lock(),
        _irq: irq,
    }
}

pub(super) fn try_lock(cpu: CpuId) -> Option<SpinGuard<'static, Cpu>> {
    CPUS.of(cpu).try_lock()
}

/// The run queue that guards a task, locked.
pub(super) fn lock_of(task: &Task) -> Locked {
    loop {
        let cpu = task.sched.cpu();
        let locked = lock(cpu);
        if task.sched.cpu() == cpu {
            return locked;
        }
    }
}

/// Makes `idle`, which must be what runs here now, this CPU's idle task.
pub fn start_on_this_cpu(idle: Arc<Task>) {
    let here = arch::cpu::current_id();
    // The room made so far is not this CPU's.
    ROOM.store(0, Ordering::Release);
    DEADLINE_ROOM.store(0, Ordering::Release);
    let mut cpu = lock(here);
    idle.sched.set(TaskState::Running);
    idle.sched.set_cpu(here);
    cpu.running = Some(idle.clone());
    cpu.idle = Some(idle);
    drop(cpu);
    IDLE_MASK.fetch_or(here.bit(), Ordering::Relaxed);
}

/// Declares that the running task is about to sleep. Its condition must be looked at after this.
#[inline]
pub fn set_sleeping(kind: SleepKind) {
    current().sched.word().sleep(kind.state() as u32);
}

/// Takes back `set_sleeping`.
#[inline]
pub fn set_running() {
    current().sched.set(TaskState::Running);
}

/// Gives up the CPU until a wake-up, if none came since `set_sleeping`.
pub fn block_current() {
    schedule();
}

/// Lets others run first.
pub fn yield_now() {
    current().arch.mark(arch::WORK_RESCHED);
    schedule_with(true);
}

/// Gives up the CPU if others should have it; for long loops in the kernel.
#[inline]
pub fn cond_resched() {
    ksync::check::may_sleep();
    if current().arch.work() & arch::WORK_RESCHED != 0 {
        schedule();
    }
}

/// Ends the running task for good.
pub fn exit_current() -> ! {
    if current().sched.is_deadline() {
        super::params::give_up_reservation(&current_arc());
    }
    TASKS.fetch_sub(1, Ordering::Relaxed);
    current().sched.set(TaskState::Dead);
    schedule();
    unreachable!("a dead task was scheduled")
}

/// Hands the CPU to the task that should have it.
pub fn schedule() {
    schedule_with(false);
}

fn schedule_with(yielding: bool) {
    ksync::check::may_sleep();
    let _irq = IrqGuard::new();
    let here = arch::cpu::current_id();
    let lock = CPUS.of(here);
    let mut cpu = lock.lock();
    let prev = current();
    prev.arch.unmark(arch::WORK_RESCHED);
    let now = time::monotonic_ns();
    tick::charge(&mut cpu, &prev, now);
    let prev_runs = prev.sched.bits() == TaskState::Running as u32;
    let prev_idles = cpu.is_idle();
    let evicted = prev_runs && !prev_idles && prev.sched.affinity() & here.bit() == 0;
    let stays = prev_runs && !prev_idles && !evicted;
    if balance::wait_elsewhere(here) {
        let urgency = stays.then(|| prev.sched.entity.lock().urgency());
        balance::pull(&mut cpu, here, urgency.flatten());
    }
    let pauses = stays && prev.sched.is_deadline() && deadline::pauses(&prev, now, yielding);
    if stays && !pauses && cpu.queue.is_empty() {
        if prev.sched.is_deadline() {
            deadline::set_look(&cpu, &prev, now);
        }
        return;
    }
    let Some(prev_arc) = cpu.running.take() else {
        return;
    };
    if stays {
        let mut entity = prev.sched.entity.lock();
        if yielding {
            // To the end of the slice: everybody with an earlier deadline goes first.
            entity.key.vruntime = entity.key.vruntime.max(entity.key.deadline);
            let params = *entity.params();
            entity.key.open_slice(&params);
        }
        let keeps_place = !entity.take_turn_over() && !yielding;
        cpu.queue.enqueue(&entity, prev_arc.clone(), keeps_place);
    }
    let next = cpu.queue.pick().or_else(|| balance::steal(&mut cpu, here));
    if let Some(next) = &next {
        note_run(&mut cpu, next, now);
    }
    let next = match next.or_else(|| cpu.idle.clone()) {
        Some(next) => next,
        None => prev_arc.clone(),
    };
    next.sched.since_ns.store(now, Ordering::Relaxed);
    balance::note_waiting(&cpu, here);
    if deadline::concerns(&cpu, &prev, &next) {
        deadline::set_look(&cpu, &next, now);
    }
    if !prev_runs && prev.sched.rt_ticks.load(Ordering::Relaxed) != 0 {
        prev.sched.rt_ticks.store(0, Ordering::Relaxed);
    }
    if Arc::ptr_eq(&next, &prev_arc) {
        cpu.running = Some(next);
        return;
    }
    task::rseq::went_off(&prev);
    count_switch(&mut cpu, &prev, prev_runs);
    note_idle(&cpu, here, &next, prev_idles);
    let next_thread: *const Task = Arc::as_ptr(&next);
    cpu.running = Some(next);
    cpu.leaving = Some(prev_arc);
    cpu.evicted = evicted;
    switch(lock, cpu, &prev, next_thread);
    finish_switch();
}

/// Changes address space, registers and stack. The run queue stays locked until the other side's `finish_switch`.
fn switch(lock: &HandOverLock<Cpu>, cpu: SpinGuard<'_, Cpu>, prev: &Task, next: *const Task) {
    // The queue's `running` keeps the incoming task alive; a borrow of it cannot outlive the guard, so the pointer
    // carries it over.
    let next = crate::sync::incoming(&cpu.running, next);
    next.with_mm(mm::switch_to);
    lock.hand_over(cpu);
    arch::switch_to(&prev.arch, &next.arch);
}

/// Moves a running task off a CPU that it may no longer use: the CPU is made to switch, and `schedule` does
/// not put a task back into the queue of a CPU it may not use.
pub(super) fn migrate_running(task: &Arc<Task>) {
    let cpu = lock_of(task);
    let target = task.sched.cpu();
    task.arch.mark(arch::WORK_RESCHED);
    drop(cpu);
    if target == arch::cpu::current_id() {
        schedule();
    } else {
        arch::ipi::reschedule(target);
    }
}

/// Runs on the stack of the task that came in: releases the queue, and lets go of the one that left.
fn finish_switch() {
    let lock = CPUS.here();
    let mut cpu = lock.resume();
    let left = cpu.leaving.take();
    let evicted = core::mem::take(&mut cpu.evicted);
    if let (true, Some(task)) = (evicted, &left) {
        let target = super::wake::choose_cpu(task);
        task.sched.set_cpu(target);
        drop(cpu);
        super::wake::enqueue_moved(task.clone(), target);
        return;
    }
    drop(cpu);
    drop(left);
}

/// What a new task does first, called by the entry code with interrupts off.
pub fn finish_first_switch() {
    finish_switch();
}

/// A task that stood in a queue gets the CPU.
fn note_run(cpu: &mut Cpu, task: &Task, now: u64) {
    let waited = now.saturating_sub(task.sched.since_ns.load(Ordering::Relaxed));
    task.usage.count_run(waited);
    cpu.sums.waited_ns += waited;
    cpu.sums.runs += 1;
}

/// What a CPU has given to tasks since boot.
pub fn cpu_sums(cpu: CpuId) -> CpuSums {
    lock(cpu).sums
}

fn count_switch(cpu: &mut Cpu, prev: &Task, preempted: bool) {
    cpu.switches += 1;
    let counter = if preempted {
        &prev.usage.involuntary_switches
    } else {
        &prev.usage.voluntary_switches
    };
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

fn note_idle(cpu: &Cpu, here: CpuId, next: &Arc<Task>, prev_idles: bool) {
    let next_idles = cpu
        .idle
        .as_ref()
        .is_some_and(|idle| Arc::ptr_eq(idle, next));
    if next_idles != prev_idles {
        if next_idles {
            IDLE_MASK.fetch_or(here.bit(), Ordering::Relaxed);
        } else {
            IDLE_MASK.fetch_and(!here.bit(), Ordering::Relaxed);
        }
        tick::idle_changed(next_idles);
    }
}

/// Every queue gets room for so many tasks, so that nothing allocates under their locks. Waits for memory.
fn make_room(tasks: usize) {
    if tasks <= ROOM.load(Ordering::Acquire) {
        return;
    }
    let size = tasks.next_power_of_two().max(LEAST_ROOM);
    grow_queues(size, 0);
    // Pairs with the load above: who sees it need not look at the queues.
    ROOM.fetch_max(size, Ordering::Release);
}

/// The same for so many deadline tasks.
pub(super) fn make_deadline_room(tasks: usize) {
    if tasks > DEADLINE_ROOM.load(Ordering::Acquire) {
        let size = tasks.next_power_of_two().max(LEAST_ROOM);
        grow_queues(0, size);
        DEADLINE_ROOM.fetch_max(size, Ordering::Release);
    }
}

fn grow_queues(tasks: usize, deadlines: usize) {
    // Those that are still to come up have no tasks, and get theirs with the first after that.
    for cpu in arch::cpu::all() {
        let room = loop {
            match Room::new(tasks, deadlines) {
                Ok(room) => break room,
                Err(_) => cond_resched(),
            }
        };
        let mut locked = lock(cpu);
        let unused = locked.queue.grow(room);
        drop(locked);
        drop(unused);
    }
}

/// Makes a new task runnable.
pub fn spawn(task: Arc<Task>) {
    let total = TASKS.fetch_add(1, Ordering::Relaxed) + 1;
    SPAWNED.fetch_add(1, Ordering::Relaxed);
    let target = super::wake::choose_cpu(&task);
    task.sched.set_cpu(target);
    task.sched.set(TaskState::Running);
    make_room(total);
    task.sched.note_queued();
    let mut cpu = lock(target);
    let mut entity = task.sched.entity.lock();
    cpu.queue.place(&mut entity, false);
    cpu.queue.enqueue(&entity, task.clone(), false);
    drop(entity);
    super::wake::preempt_if_better(&cpu, target);
}

/// Another CPU put a task into this one's queue. The mark was set by the sender.
pub fn on_reschedule_ipi() {}

/// Nanoseconds of a running task's present stay on its CPU.
pub fn running_ns(task: &Task) -> u64 {
    let cpu = lock_of(task);
    let runs = cpu
        .running
        .as_ref()
        .is_some_and(|running| core::ptr::eq(&raw const **running, task));
    if runs {
        time::monotonic_ns().saturating_sub(task.sched.since_ns.load(Ordering::Relaxed))
    } else {
        0
    }
}

/// Tasks that run or would like to, over all CPUs.
pub fn nr_running() -> usize {
    (0..arch::cpu::online() as u32)
        .map(|id| {
            let cpu = lock(CpuId(id));
            cpu.queue.len() + usize::from(!cpu.is_idle())
        })
        .sum()
}

/// Switches since boot, over all CPUs.
pub fn nr_switches() -> u64 {
    (0..arch::cpu::online() as u32)
        .map(|id| lock(CpuId(id)).switches)
        .sum()
}

/// Tasks started since boot, threads and kernel threads included.
pub fn nr_spawned() -> u64 {
    SPAWNED.load(Ordering::Relaxed)
}
