//! Which CPU takes a task that waits for another one: an idle CPU takes any, and every CPU the most urgent one.
//!
//! Deadline and real-time tasks are urgent: as many of them run as there are CPUs, those that come first, wherever they
//! were put. A CPU with more of them than it can run has another one switch; a CPU that switches takes over what comes
//! before all that it could run itself.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use sched::Urgency;

use super::core::{self as queues, Cpu, try_lock};
use crate::arch::{self, cpu::CpuId};
use crate::task::Task;

/// The CPUs for which urgent tasks wait that could run elsewhere, a bit each: a hint.
static WAITING: AtomicU64 = AtomicU64::new(0);

/// Takes a waiting task of another CPU that may run on `here`. The caller holds its own queue, so others are only
/// tried: two thieves never wait for each other.
pub(super) fn steal(own: &mut Cpu, here: CpuId) -> Option<Arc<Task>> {
    for victim in others(here) {
        let Some(mut other) = try_lock(victim) else {
            continue;
        };
        let taken = other.queue.remove(|task| may_run_on(task, here));
        if let Some(task) = taken {
            task.sched.set_cpu(here);
            let mut entity = task.sched.entity.lock();
            own.queue.place(&mut entity, false);
            drop(entity);
            return Some(task);
        }
    }
    None
}

/// The other CPUs, from the next one on.
fn others(here: CpuId) -> impl Iterator<Item = CpuId> {
    let online = arch::cpu::online() as u32;
    (1..online).map(move |step| CpuId((here.0 + step) % online))
}

fn may_run_on(task: &Task, cpu: CpuId) -> bool {
    task.sched.affinity() & cpu.bit() != 0
}

/// Keeps the hint of who waits where; under the queue's lock.
#[inline]
pub(super) fn note_waiting(cpu: &Cpu, id: CpuId) {
    let waits = cpu.queue.urgents() > 0 && could_go(cpu, id);
    if waits != (WAITING.load(Ordering::Relaxed) & id.bit() != 0) {
        match waits {
            true => WAITING.fetch_or(id.bit(), Ordering::Relaxed),
            false => WAITING.fetch_and(!id.bit(), Ordering::Relaxed),
        };
    }
}

/// Whether one of the urgent tasks that wait there may run elsewhere. Only the first is looked at.
#[cold]
fn could_go(cpu: &Cpu, id: CpuId) -> bool {
    let elsewhere = arch::cpu::online_mask() & !id.bit();
    let first = cpu.queue.first_urgent();
    cpu.queue.urgents() > 1 || first.is_some_and(|(_, task)| task.sched.affinity() & elsewhere != 0)
}

/// Whether urgent tasks wait for another CPU than this one.
#[inline]
pub(super) fn wait_elsewhere(here: CpuId) -> bool {
    WAITING.load(Ordering::Relaxed) & !here.bit() != 0
}

/// Takes over the most urgent task that waits for another CPU, if it comes before all that this one could run: `running`
/// is what runs and would go on. The caller holds its own queue, so others are only tried.
#[cold]
pub(super) fn pull(own: &mut Cpu, here: CpuId, running: Option<Urgency>) {
    let mine = own.queue.first_urgent().map(|(urgency, _)| urgency);
    let mut best = [mine, running].into_iter().flatten().min();
    let mut from = None;
    for id in others(here) {
        let Some(other) = try_lock(id) else { continue };
        let first = other.queue.most_urgent(|task| may_run_on(task, here));
        if let Some(first) = first.filter(|first| own.queue.would_run(*first))
            && best.is_none_or(|best| first < best)
        {
            best = Some(first);
            from = Some(id);
        }
    }
    let Some((id, mut other)) = from.and_then(|id| Some((id, try_lock(id)?))) else {
        return;
    };
    // It may have found another CPU meanwhile.
    if other.queue.most_urgent(|task| may_run_on(task, here)) != best {
        return;
    }
    if let Some(task) = other.queue.take_most_urgent(|task| may_run_on(task, here)) {
        note_waiting(&other, id);
        task.sched.set_cpu(here);
        let entity = *task.sched.entity.lock();
        own.queue.enqueue(&entity, task, false);
    }
}

/// More urgent tasks may be runnable here than the CPU can run: has another CPU switch, which then takes one over. One
/// that idles is best, then one that runs no urgent task, then that with the least urgent one.
#[cold]
pub(super) fn spread(cpu: &Cpu, here: CpuId) {
    let urgency_of = |running: &Arc<Task>| running.sched.entity.lock().urgency();
    let (Some((first, task)), Some(running)) = (cpu.queue.first_urgent(), &cpu.running) else {
        return;
    };
    let mine = match cpu.is_idle() {
        true => None,
        false => urgency_of(running),
    };
    // Who waits on: the first of the queue, or the one that it displaces.
    let (urgency, task) = match mine {
        Some(mine) if mine <= first => (first, task),
        Some(mine) => (mine, running),
        None if cpu.queue.urgents() > 1 => (first, task),
        None => return,
    };
    let standing = |id: CpuId| {
        let other = try_lock(id)?;
        match other.is_idle() {
            true => Some((0, None)),
            false => match other.running.as_ref().and_then(urgency_of) {
                None => Some((1, None)),
                Some(theirs) if urgency < theirs => Some((2, Some(core::cmp::Reverse(theirs)))),
                Some(_) => None,
            },
        }
    };
    let allowed = others(here).filter(|id| may_run_on(task, *id));
    let ranked = allowed.filter_map(|id| Some((standing(id)?, id.0)));
    let Some(target) = ranked.min().map(|(_, id)| CpuId(id)) else {
        return;
    };
    if let Some(other) = queues::try_lock(target)
        && let Some(running) = &other.running
    {
        running.arch.mark(arch::WORK_RESCHED);
        arch::ipi::reschedule(target);
    }
}
