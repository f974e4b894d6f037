//! Policy, nice value and affinity.

use alloc::sync::Arc;

use abi::{Errno, Result};
use sched::{Entity, Params};

use super::core::lock_of;
use super::wake;
use crate::arch;
use crate::task::Task;

/// The parameters of a task.
pub fn params_of(task: &Task) -> Params {
    task.sched.entity.lock().params
}

/// The priority that a task runs by, its own or one inherited, on Linux's scale (see `Params::prio`).
pub fn prio_of(task: &Task) -> u8 {
    task.sched.entity.lock().prio()
}

/// The standing in the fair class, and the weight, for `/proc`.
pub fn standing_of(task: &Task) -> (u64, u64) {
    let entity = task.sched.entity.lock();
    (entity.key.vruntime, entity.params.weight())
}

/// Changes the parameters; a queued task moves to its new place.
pub fn set_params(task: &Arc<Task>, params: Params) {
    change(task, |entity| {
        entity.params = params;
        entity.key.open_slice(&params);
    });
}

/// Changes what a task inherits from those who wait for it; a queued task moves to its new place.
pub fn set_inherited(task: &Arc<Task>, prio: u8) {
    change(task, |entity| entity.inherited = prio);
}

fn change(task: &Arc<Task>, change: impl FnOnce(&mut Entity)) {
    let mut cpu = lock_of(task);
    let queued = cpu.queue.remove(|other| Arc::ptr_eq(other, task));
    let mut entity = task.sched.entity.lock();
    change(&mut entity);
    task.sched.note_prio(entity.params.prio());
    if let Some(task) = queued {
        cpu.queue.enqueue(&entity, task.clone(), false);
    }
    drop(entity);
    wake::preempt_if_better(&cpu, task.sched.cpu());
}

/// The CPUs a task may run on, among those there are.
pub fn affinity(task: &Task) -> u64 {
    task.sched.affinity() & arch::cpu::online_mask()
}

/// Restricts a task to the CPUs of `mask`, and moves it if it is elsewhere.
///
/// # Errors
/// `EINVAL` when the mask names no CPU there is.
pub fn set_affinity(task: &Arc<Task>, mask: u64) -> Result<()> {
    if mask & arch::cpu::online_mask() == 0 {
        return Err(Errno::EINVAL);
    }
    let mut cpu = lock_of(task);
    task.sched.set_affinity(mask);
    if mask & task.sched.cpu().bit() != 0 {
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
