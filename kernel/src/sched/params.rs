//! Policy, nice value and affinity.

use alloc::sync::Arc;

use abi::{Errno, Result};
use sched::{Entity, Params, Policy, Prio, Reservation};

use super::core::lock_of;
use super::{deadline, wake};
use crate::arch;
use crate::sync::current;
use crate::task::Task;
use crate::time;

/// The parameters of a task.
pub fn params_of(task: &Task) -> Params {
    *task.sched.entity.lock().params()
}

/// The priority that a task runs by, its own or one inherited, on Linux's scale (see `Params::prio`).
pub fn prio_of(task: &Task) -> Prio {
    task.sched.entity.lock().prio()
}

/// The standing in the fair class, and the weight, for `/proc`.
pub fn standing_of(task: &Task) -> (u64, u64) {
    let entity = task.sched.entity.lock();
    (entity.key.vruntime, entity.params().weight())
}

/// What is left of a deadline task's budget, and its absolute deadline, in nanoseconds; `None` for another.
pub fn budget_of(task: &Task) -> Option<(i64, u64)> {
    let entity = task.sched.entity.lock();
    (entity.params().policy == Policy::Deadline).then(|| entity.budget())
}

/// Changes the parameters; a queued task moves to its new place.
///
/// # Errors
/// `EBUSY` when they reserve more time than is left; nothing has changed.
pub fn set_params(task: &Arc<Task>, params: Params) -> Result<()> {
    let reserves = params.policy == Policy::Deadline;
    if reserves {
        deadline::prepare();
    }
    let exchanged = change(task, |entity, now| {
        let exchanged = deadline::exchange(entity.params(), &params)?;
        entity.set_params(params, now);
        Ok(exchanged)
    });
    if reserves && exchanged != Ok(true) {
        deadline::unprepare();
    }
    exchanged.map(|_| ())
}

/// A task with a reservation ends.
pub(super) fn give_up_reservation(task: &Arc<Task>) {
    let params = Params {
        policy: Policy::Normal,
        reservation: Reservation::NONE,
        ..params_of(task)
    };
    // Nothing is refused to one that asks for nothing.
    let _ = set_params(task, params);
}

/// Changes what a task inherits from those who wait for it; a queued task moves to its new place.
pub fn set_inherited(task: &Arc<Task>, prio: Prio) {
    change(task, |entity, now| entity.inherit(prio, now));
}

fn change<R>(task: &Arc<Task>, change: impl FnOnce(&mut Entity, u64) -> R) -> R {
    let mut cpu = lock_of(task);
    let queued = cpu.queue.take_out(|other| Arc::ptr_eq(other, task));
    let mut entity = task.sched.entity.lock();
    let now = time::monotonic_ns();
    let result = change(&mut entity, now);
    task.sched.note_prio(entity.params().prio());
    if let Some(task) = queued {
        cpu.queue.enqueue(&entity, task.clone(), false);
    }
    drop(entity);
    let id = task.sched.cpu();
    wake::preempt_if_better(&cpu, id);
    // Elsewhere the next tick does it.
    if task.sched.is_deadline() && id == arch::cpu::current_id() {
        deadline::set_look(&cpu, &current(), now);
    }
    result
}

/// The CPUs a task may run on, among those there are.
pub fn affinity(task: &Task) -> u64 {
    task.sched.affinity() & arch::cpu::online_mask()
}

/// Restricts a task to the CPUs of `mask`, and moves it if it is elsewhere.
///
/// # Errors
/// `EINVAL` when the mask names no CPU there is; `EBUSY` for a deadline task, which may run anywhere, if it leaves one out.
pub fn set_affinity(task: &Arc<Task>, mask: u64) -> Result<()> {
    if mask & arch::cpu::online_mask() == 0 {
        return Err(Errno::EINVAL);
    }
    let mut cpu = lock_of(task);
    if task.sched.is_deadline() && !mask & arch::cpu::online_mask() != 0 {
        return Err(Errno::EBUSY);
    }
    task.sched.set_affinity(mask);
    let id = task.sched.cpu();
    if mask & id.bit() != 0 {
        // It may go where it could not before.
        wake::preempt_if_better(&cpu, id);
        return Ok(());
    }
    if let Some(task) = cpu.queue.remove(|other| Arc::ptr_eq(other, task)) {
        let target = wake::choose_cpu(&task);
        task.sched.set_cpu(target);
        drop(cpu);
        wake::enqueue_moved(task, target);
        return Ok(());
    }
    let runs = cpu
        .running
        .as_ref()
        .is_some_and(|running| Arc::ptr_eq(running, task));
    drop(cpu);
    if runs {
        super::core::migrate_running(task);
    }
    Ok(())
}
