//! SCHED_DEADLINE on several CPUs: what all reservations together may take, and when a CPU looks at its deadline tasks.
//!
//! Budgets and deadlines are the crate `sched`'s. A CPU has one time at which it looks: when the running task's budget
//! ends, or the next period of one that waits for it begins. That comes with the CPU's timer and not with the tick, so
//! that budgets are kept to the timer's precision, and periods begin on idle CPUs too.
//!
//! # Invariants
//! - A task waits for its next period in the queue of the CPU that put it there, which is the one with the timer set.
//! - [`RESERVED`] is the sum over all tasks whose policy is SCHED_DEADLINE; it changes with the policy, under the task's
//!   run queue, and with the end of the task's last reference.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use abi::{Errno, Result};
use sched::{Params, Policy, Reservation};

use super::core::{self as queues, Cpu};
use super::{tick, wake};
use crate::arch;
use crate::sync::{PerCpu, current};
use crate::task::Task;
use crate::time::timer;

/// What reservations may take of each CPU: Linux's default, 95 %.
const MOST_OF_A_CPU: u64 = Reservation::ONE_CPU * 95 / 100;

/// The bandwidth of all reservations.
static RESERVED: AtomicU64 = AtomicU64::new(0);
/// Tasks with a reservation, and attempts to become one.
static TASKS: AtomicUsize = AtomicUsize::new(0);
/// When each CPU looks next.
static LOOKS: PerCpu<AtomicU64> = crate::per_cpu!(AtomicU64::new(u64::MAX));

fn bandwidth(params: &Params) -> u64 {
    match params.policy {
        Policy::Deadline => params.reservation.bandwidth(),
        _ => 0,
    }
}

/// A task is about to ask for a reservation: makes the queues' room for it. Waits for memory.
pub(super) fn prepare() {
    let tasks = TASKS.fetch_add(1, Ordering::Relaxed) + 1;
    queues::make_deadline_room(tasks);
}

/// What was prepared did not come to be.
pub(super) fn unprepare() {
    TASKS.fetch_sub(1, Ordering::Relaxed);
}

/// Exchanges a task's reservation, if it has one, for that of its new parameters, if they bring one; under its run
/// queue. Says whether it has one only now.
///
/// # Errors
/// `EBUSY` when there is not so much left.
pub(super) fn exchange(old: &Params, new: &Params) -> Result<bool> {
    let (had, has) = (
        old.policy == Policy::Deadline,
        new.policy == Policy::Deadline,
    );
    let (before, after) = (bandwidth(old), bandwidth(new));
    if had && !has {
        release(old);
    } else if has && (before != after || !had) {
        let limit = MOST_OF_A_CPU * arch::cpu::online() as u64;
        let sum = |reserved: u64| Some(reserved - before + after).filter(|sum| *sum <= limit);
        RESERVED
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum)
            .map_err(|_| Errno::EBUSY)?;
    }
    Ok(has && !had)
}

/// A task with a reservation gives it up.
pub(super) fn release(params: &Params) {
    RESERVED.fetch_sub(bandwidth(params), Ordering::Relaxed);
    TASKS.fetch_sub(1, Ordering::Relaxed);
}

/// The running task would go on; says whether it waits for its next period instead.
#[cold]
pub(super) fn pauses(task: &Task, now: u64, yields: bool) -> bool {
    let mut entity = task.sched.entity.lock();
    entity.pause(now, yields);
    entity.resumes_ns().is_some()
}

/// Whether a switch from or to these has to set the time of the next look.
#[inline]
pub(super) fn concerns(cpu: &Cpu, prev: &Task, next: &Task) -> bool {
    prev.sched.is_deadline() || next.sched.is_deadline() || cpu.queue.next_resumption().is_some()
}

/// Sets the time of this CPU's next look, with `running` on it from `now` on. `cpu` is this CPU's queue.
#[cold]
pub(super) fn set_look(cpu: &Cpu, running: &Task, now: u64) -> u64 {
    // Who is beyond its budget already is marked, and leaves as soon as the kernel lets it.
    let end = running.sched.entity.lock().ends_ns(now);
    let end = end.filter(|end| *end > now).unwrap_or(u64::MAX);
    let at = cpu.queue.next_resumption().unwrap_or(u64::MAX).min(end);
    LOOKS.here().store(at, Ordering::Relaxed);
    if at != u64::MAX {
        timer::program(at);
    }
    at
}

/// Called by the timer interrupt. Answers when the CPU looks next, or `u64::MAX`.
pub fn interrupt(now: u64) -> u64 {
    let at = LOOKS.here().load(Ordering::Relaxed);
    if now < at { at } else { look(now) }
}

#[cold]
fn look(now: u64) -> u64 {
    let here = arch::cpu::current_id();
    let mut cpu = queues::lock(here);
    let running = current();
    if running.sched.is_deadline() && tick::charge(&mut cpu, &running, now) {
        running.arch.mark(arch::WORK_RESCHED);
    }
    while let Some(task) = cpu.queue.pick_resumed(now) {
        let mut entity = task.sched.entity.lock();
        entity.resume(now);
        task.sched.since_ns.store(now, Ordering::Relaxed);
        let copy = *entity;
        drop(entity);
        cpu.queue.enqueue(&copy, task, false);
    }
    wake::preempt_if_better(&cpu, here);
    set_look(&cpu, &running, now)
}
