//! Waking sleepers, and the choice of the CPU they run on.

use alloc::sync::Arc;

use super::core::{Cpu, idle_mask, lock, lock_of};
use super::state::TaskState;
use super::{balance, deadline};
use crate::arch::{self, cpu::CpuId};
use crate::sync::current;
use crate::task::Task;
use crate::time;

/// The states a condition's wake-up ends.
const SLEEPING: u32 = TaskState::Interruptible as u32
    | TaskState::Uninterruptible as u32
    | TaskState::Killable as u32;

/// Wakes a task that sleeps for a condition; false if it does not sleep.
#[inline]
pub fn wake(task: &Arc<Task>) -> bool {
    wake_state(task, SLEEPING)
}

/// Wakes a task for a signal: any interruptible sleep ends, with `fatal` also a killable one and a stop.
pub fn wake_signal(task: &Arc<Task>, fatal: bool) -> bool {
    let states = if fatal {
        TaskState::Interruptible as u32 | TaskState::Killable as u32 | TaskState::Stopped as u32
    } else {
        TaskState::Interruptible as u32
    };
    let woken = wake_state(task, states);
    // The current task looks at its work bits by itself.
    if !woken && !core::ptr::eq(&raw const **task, &raw const *current()) {
        kick_if_running(task);
    }
    woken
}

/// Waits until a task that is about to sleep for its tracer has left its CPU, so that its registers are saved.
pub fn wait_until_off_cpu(task: &Arc<Task>) {
    loop {
        let cpu = lock_of(task);
        let runs = cpu
            .running
            .as_ref()
            .is_some_and(|running| Arc::ptr_eq(running, task));
        if !runs && task.sched.bits() == TaskState::Traced as u32 {
            return;
        }
        drop(cpu);
        super::yield_now();
    }
}

/// Makes a CPU that runs the task in user space look at its work bits.
fn kick_if_running(task: &Task) {
    let cpu = lock_of(task);
    let runs = cpu
        .running
        .as_ref()
        .is_some_and(|running| core::ptr::eq(&raw const **running, task));
    let target = task.sched.cpu();
    if runs && target != arch::cpu::current_id() {
        arch::ipi::reschedule(target);
    }
}

/// Wakes a task whose state is among `states` (a mask of [`TaskState`]s); false if it is not.
pub fn wake_state(task: &Arc<Task>, states: u32) -> bool {
    if !task.sched.word().is_asleep(states) {
        return false;
    }
    let mut cpu = lock_of(task);
    if !task.sched.word().end_sleep(states) {
        return false;
    }
    // It has not left its CPU yet, and now will not.
    if cpu
        .running
        .as_ref()
        .is_some_and(|running| Arc::ptr_eq(running, task))
    {
        return true;
    }
    let old = task.sched.cpu();
    let is_deadline = task.sched.is_deadline();
    let target = match is_deadline {
        true => wake_deadline(task),
        false => choose_cpu(task),
    };
    if target != old {
        task.sched.set_cpu(target);
        drop(cpu);
        cpu = lock(target);
        enqueue_woken(&mut cpu, task, true);
    } else {
        enqueue_woken(&mut cpu, task, false);
    }
    preempt_if_better(&cpu, target);
    if is_deadline && target == arch::cpu::current_id() {
        deadline::set_look(&cpu, &current(), time::monotonic_ns());
    }
    true
}

/// Gives a deadline task that wakes up its budget, and says where it goes: one that waits for its next period stays with
/// this CPU, which has the timer.
#[cold]
fn wake_deadline(task: &Arc<Task>) -> CpuId {
    let mut entity = task.sched.entity.lock();
    entity.wake(time::monotonic_ns());
    match entity.resumes_ns() {
        Some(_) => arch::cpu::current_id(),
        None => {
            drop(entity);
            choose_cpu(task)
        }
    }
}

fn enqueue_woken(cpu: &mut Cpu, task: &Arc<Task>, moved: bool) {
    task.sched.note_queued();
    let mut entity = task.sched.entity.lock();
    cpu.queue.place(&mut entity, !moved);
    cpu.queue.enqueue(&entity, task.clone(), false);
}

/// Puts a task that was taken out of another CPU's queue into that of `target`.
pub(super) fn enqueue_moved(task: Arc<Task>, target: CpuId) {
    let mut cpu = lock(target);
    enqueue_woken(&mut cpu, &task, true);
    preempt_if_better(&cpu, target);
}

/// Where a task should run: where it last did if that CPU idles or no allowed one does.
pub(super) fn choose_cpu(task: &Task) -> CpuId {
    let last = task.sched.cpu();
    let online = arch::cpu::online_mask();
    let allowed = match task.sched.affinity() & online {
        0 => online,
        mask => mask,
    };
    let idle = idle_mask() & allowed;
    if idle & last.bit() != 0 {
        return last;
    }
    let here = arch::cpu::current_id();
    if idle != 0 {
        let near = if idle & here.bit() != 0 {
            here.0
        } else {
            idle.trailing_zeros()
        };
        return CpuId(near);
    }
    if allowed & last.bit() != 0 {
        last
    } else {
        CpuId(allowed.trailing_zeros())
    }
}

/// Marks the CPU for rescheduling if its queue holds somebody better than who runs.
pub(super) fn preempt_if_better(cpu: &Cpu, id: CpuId) {
    let Some(running) = &cpu.running else { return };
    balance::note_waiting(cpu, id);
    if cpu.queue.urgents() > 0 {
        balance::spread(cpu, id);
    }
    if !cpu.is_idle() && !cpu.queue.should_preempt(&running.sched.entity.lock()) {
        return;
    }
    running.arch.mark(arch::WORK_RESCHED);
    if id != arch::cpu::current_id() {
        arch::ipi::reschedule(id);
    }
}
