//! I/O priorities: kept for each thread and inherited. Nothing here queues I/O by them, as on a Linux whose devices
//! have no scheduler.

use core::sync::atomic::Ordering;

use ::sched::Policy;
use abi::{Errno, Result};

use super::sched::{owns, threads_of};
use crate::sched;
use crate::task::{Cap, Task, current};

const CLASS_SHIFT: u32 = 13;
const LEVELS: u32 = 8;

const CLASS_NONE: u32 = 0;
const CLASS_RT: u32 = 1;
const CLASS_BE: u32 = 2;
const CLASS_IDLE: u32 = 3;

const WHO_PROCESS: u32 = 1;

/// EINVAL for what is no priority, EPERM for the real-time class without the power for it.
fn check(ioprio: u32) -> Result<()> {
    let (class, level) = (ioprio >> CLASS_SHIFT, ioprio & ((1 << CLASS_SHIFT) - 1));
    match class {
        CLASS_NONE if level == 0 => Ok(()),
        CLASS_RT | CLASS_BE => {
            let cred = current().cred();
            if class == CLASS_RT && !cred.capable(Cap::SYS_ADMIN) && !cred.capable(Cap::SYS_NICE) {
                return Err(Errno::EPERM);
            }
            if level < LEVELS {
                Ok(())
            } else {
                Err(Errno::EINVAL)
            }
        }
        CLASS_IDLE => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

/// The priority that was set, or the one that follows from the thread's nice value and policy.
fn effective(task: &Task) -> u32 {
    let set = task.ioprio.load(Ordering::Relaxed);
    if set >> CLASS_SHIFT != CLASS_NONE {
        return set;
    }
    let params = sched::params_of(task);
    let class = match params.policy {
        Policy::Idle => CLASS_IDLE,
        Policy::Fifo | Policy::RoundRobin | Policy::Deadline => CLASS_RT,
        Policy::Normal | Policy::Batch => CLASS_BE,
    };
    // Forty nice values make eight levels.
    (class << CLASS_SHIFT) | ((i32::from(params.nice) + 20) / 5) as u32
}

/// `IOPRIO_WHO_*` count from 1 what `PRIO_*` count from 0.
fn whom(which: u32) -> Result<u32> {
    which.checked_sub(1).ok_or(Errno::EINVAL)
}

pub fn sys_ioprio_set(which: u32, who: u32, ioprio: u32) -> Result<usize> {
    check(ioprio)?;
    let cred = current().cred();
    for task in threads_of(whom(which)?, who)? {
        if !owns(&cred, &task) && !cred.capable(Cap::SYS_NICE) {
            return Err(Errno::EPERM);
        }
        task.ioprio.store(ioprio, Ordering::Relaxed);
    }
    Ok(0)
}

/// Of one thread, what was set; of a group or a user, the best of what holds.
pub fn sys_ioprio_get(which: u32, who: u32) -> Result<usize> {
    let of = match which {
        WHO_PROCESS => |task: &Task| task.ioprio.load(Ordering::Relaxed),
        _ => effective,
    };
    let threads = threads_of(whom(which)?, who)?;
    let best = threads.iter().map(|task| of(task)).min();
    best.map(|ioprio| ioprio as usize).ok_or(Errno::ESRCH)
}
