//! Scheduling parameters, affinity, and membarrier.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ::sched::{Params, Policy, Reservation};
use abi::{Errno, Result};

use super::process::read_extensible;
use crate::arch;
use crate::ipc::futex;
use crate::mm::user::{UserPtr, copy_in, copy_out};
use crate::sched;
use crate::task::rlimit::Resource;
use crate::task::{self, Cap, Cred, Pid, Task, current, current_arc};

const SCHED_RESET_ON_FORK: i32 = 0x4000_0000;

pub fn sys_sched_yield() -> Result<usize> {
    sched::yield_now();
    Ok(0)
}

/// The thread a scheduling call names; 0 is the caller.
fn target(pid: Pid) -> Result<Arc<Task>> {
    match pid.0 {
        ..0 => Err(Errno::EINVAL),
        0 => Ok(current_arc()),
        _ => task::find_task(pid).ok_or(Errno::ESRCH),
    }
}

/// Whether the caller's credentials are those of the thread's user.
pub(super) fn owns(cred: &Cred, task: &Task) -> bool {
    let theirs = task.cred();
    cred.euid == theirs.uid || cred.euid == theirs.euid
}

/// Threads that getpriority and setpriority name.
pub(super) fn threads_of(which: u32, who: u32) -> Result<Vec<Arc<Task>>> {
    const PRIO_PROCESS: u32 = 0;
    const PRIO_PGRP: u32 = 1;
    const PRIO_USER: u32 = 2;
    let threads = match which {
        PRIO_PROCESS if who == 0 => [current_arc()].into(),
        PRIO_PROCESS => task::find_task(Pid(who as i32)).into_iter().collect(),
        PRIO_PGRP => {
            let pgid = if who == 0 {
                current().process.pgid()
            } else {
                Pid(who as i32)
            };
            let members = task::tree::find_group(pgid).map(|group| group.members());
            members
                .into_iter()
                .flatten()
                .flat_map(|process| process.threads())
                .collect()
        }
        PRIO_USER => {
            let uid = if who == 0 {
                current().my_cred().uid
            } else {
                who
            };
            let mut threads = Vec::new();
            task::for_each_task(|task| {
                if task.cred().uid == uid && !task.is_kernel_thread() {
                    threads.push(task.clone());
                }
            });
            threads
        }
        _ => return Err(Errno::EINVAL),
    };
    if threads.is_empty() {
        Err(Errno::ESRCH)
    } else {
        Ok(threads)
    }
}

/// Answers 20 - nice, so that no answer looks like an error.
pub fn sys_getpriority(which: u32, who: u32) -> Result<usize> {
    let value = |task: &Task| 20 - i32::from(sched::params_of(task).nice);
    // The caller's own, the usual question, needs no list.
    if (which, who) == (0, 0) {
        return Ok(value(&current()) as usize);
    }
    let threads = threads_of(which, who)?;
    let best = threads.iter().map(|task| value(task)).max();
    best.map(|value| value as usize).ok_or(Errno::ESRCH)
}

pub fn sys_setpriority(which: u32, who: u32, nice: i32) -> Result<usize> {
    let nice = nice.clamp(-20, 19) as i8;
    let cred = current().cred();
    let mut failed = None;
    for task in threads_of(which, who)? {
        let mut params = sched::params_of(&task);
        let may_raise = cred.capable(Cap::SYS_NICE)
            || task.process.rlimits.soft(Resource::Nice) >= (20 - i64::from(nice)) as u64;
        if !owns(&cred, &task) && !cred.capable(Cap::SYS_NICE) {
            failed = Some(Errno::EPERM);
        } else if nice < params.nice && !may_raise {
            failed = Some(Errno::EACCES);
        } else {
            params.nice = nice;
            // As on Linux, not what others inherit from it: that follows sched_setscheduler alone. A reservation stays.
            sched::set_params(&task, params)?;
        }
    }
    failed.map_or(Ok(0), Err)
}

/// Whether the caller may give the task these parameters.
fn check_change(task: &Task, old: &Params, new: &Params) -> Result<()> {
    let cred = current().cred();
    if cred.capable(Cap::SYS_NICE) {
        return Ok(());
    }
    let limit = |resource| task.process.rlimits.soft(resource);
    let nice_limit = limit(Resource::Nice);
    let raises_nice = new.nice < old.nice && nice_limit < (20 - i64::from(new.nice)) as u64;
    let rt_limit = limit(Resource::Rtprio);
    let raises_rt = new.policy.is_realtime()
        && (new.policy != old.policy && rt_limit == 0
            || new.priority > old.priority && u64::from(new.priority) > rt_limit);
    let reserves = new.policy == Policy::Deadline;
    let leaves_idle = old.policy == Policy::Idle
        && new.policy != Policy::Idle
        && nice_limit < (20 - i64::from(old.nice)) as u64;
    let unreset = old.reset_on_fork && !new.reset_on_fork;
    if !owns(&cred, task) || raises_nice || raises_rt || reserves || leaves_idle || unreset {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// What is asked for, besides the policy.
#[derive(Clone, Copy)]
struct Wanted {
    priority: i32,
    nice: i8,
    reservation: Reservation,
}

/// The parameters that these values make, if the caller may give them to the task.
fn checked(task: &Arc<Task>, policy: i32, wanted: Wanted) -> Result<Params> {
    let reset_on_fork = policy & SCHED_RESET_ON_FORK != 0;
    let policy = Policy::from_raw((policy & !SCHED_RESET_ON_FORK) as u32).ok_or(Errno::EINVAL)?;
    let range = if policy.is_realtime() { 1..=99 } else { 0..=0 };
    if !range.contains(&wanted.priority) {
        return Err(Errno::EINVAL);
    }
    let reserves = policy == Policy::Deadline;
    if reserves && !wanted.reservation.is_valid() {
        return Err(Errno::EINVAL);
    }
    let old = sched::params_of(task);
    let new = Params {
        policy,
        // Kept, without effect, under the policies that come before the fair ones.
        nice: match policy.is_fair() {
            true => wanted.nice,
            false => old.nice,
        },
        priority: wanted.priority as u8,
        reset_on_fork,
        reservation: match reserves {
            true => wanted.reservation,
            false => Reservation::NONE,
        },
    };
    check_change(task, &old, &new)?;
    // A reservation is kept by all CPUs together. One that stays as it is was looked at before.
    let stays = old.policy == policy && old.reservation == new.reservation;
    let everywhere = sched::affinity(task) == arch::cpu::online_mask();
    if reserves && !stays && !everywhere {
        return Err(Errno::EPERM);
    }
    Ok(new)
}

/// Sets policy and priority; the nice value stays.
fn set_scheduler(task: &Arc<Task>, policy: i32, priority: i32) -> Result<usize> {
    // Without a reservation, so that this is no way to SCHED_DEADLINE.
    let wanted = Wanted {
        priority,
        nice: sched::params_of(task).nice,
        reservation: Reservation::NONE,
    };
    futex::set_params(task, checked(task, policy, wanted)?)?;
    Ok(0)
}

pub fn sys_sched_setparam(pid: Pid, param: usize) -> Result<usize> {
    if param == 0 || pid.0 < 0 {
        return Err(Errno::EINVAL);
    }
    let priority = UserPtr::<i32>::from(param).read()?;
    let task = target(pid)?;
    let params = sched::params_of(&task);
    let reset = if params.reset_on_fork {
        SCHED_RESET_ON_FORK
    } else {
        0
    };
    set_scheduler(&task, params.policy as i32 | reset, priority)
}

pub fn sys_sched_getparam(pid: Pid, param: usize) -> Result<usize> {
    if param == 0 || pid.0 < 0 {
        return Err(Errno::EINVAL);
    }
    let priority = i32::from(sched::params_of(&*target(pid)?).priority);
    UserPtr::<i32>::from(param).write(&priority)?;
    Ok(0)
}

pub fn sys_sched_setscheduler(pid: Pid, policy: i32, param: usize) -> Result<usize> {
    if policy < 0 || param == 0 || pid.0 < 0 {
        return Err(Errno::EINVAL);
    }
    let priority = UserPtr::<i32>::from(param).read()?;
    set_scheduler(&target(pid)?, policy, priority)
}

pub fn sys_sched_getscheduler(pid: Pid) -> Result<usize> {
    let params = sched::params_of(&*target(pid)?);
    let reset = if params.reset_on_fork {
        SCHED_RESET_ON_FORK
    } else {
        0
    };
    Ok((params.policy as i32 | reset) as usize)
}

pub fn sys_sched_get_priority_max(policy: i32) -> Result<usize> {
    priority_bound(policy, 99)
}

pub fn sys_sched_get_priority_min(policy: i32) -> Result<usize> {
    priority_bound(policy, 1)
}

/// SCHED_DEADLINE has no priorities.
fn priority_bound(policy: i32, realtime: usize) -> Result<usize> {
    match policy {
        1 | 2 => Ok(realtime),
        0 | 3 | 5 | 6 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

pub fn sys_sched_rr_get_interval(pid: Pid, interval: usize) -> Result<usize> {
    let params = sched::params_of(&*target(pid)?);
    let ns: i64 = match params.policy {
        Policy::Fifo | Policy::Deadline => 0,
        Policy::RoundRobin => 100_000_000,
        _ => ::sched::BASE_SLICE_NS as i64,
    };
    UserPtr::<[i64; 2]>::from(interval).write(&[0, ns])?;
    Ok(0)
}

pub fn sys_sched_setaffinity(pid: Pid, len: u32, mask: usize) -> Result<usize> {
    let mut bytes = [0; 8];
    let len = (len as usize).min(bytes.len());
    copy_in(mask, &mut bytes[..len])?;
    let task = target(pid).map_err(|_| Errno::ESRCH)?;
    let cred = current().cred();
    if !owns(&cred, &task) && !cred.capable(Cap::SYS_NICE) {
        return Err(Errno::EPERM);
    }
    sched::set_affinity(&task, u64::from_le_bytes(bytes))?;
    Ok(0)
}

/// Answers the bytes written: a whole number of words that holds every possible CPU.
pub fn sys_sched_getaffinity(pid: Pid, len: u32, mask: usize) -> Result<usize> {
    if (len as usize) * 8 < arch::cpu::online() || len & 7 != 0 {
        return Err(Errno::EINVAL);
    }
    let task = target(pid).map_err(|_| Errno::ESRCH)?;
    copy_out(mask, &sched::affinity(&task).to_le_bytes())?;
    Ok(8)
}

const ATTR_SIZE_VER0: usize = 48;
const ATTR_SIZE_VER1: usize = 56;
const FLAG_RESET_ON_FORK: u64 = 1;
/// Of SCHED_DEADLINE, where it is refused: nobody gets more than was reserved. The others take it without a meaning.
const FLAG_RECLAIM: u64 = 2;
/// Of SCHED_DEADLINE; the others take it without a meaning.
const FLAG_DL_OVERRUN: u64 = 4;
const FLAG_KEEP_POLICY: u64 = 8;
const FLAG_KEEP_PARAMS: u64 = 16;
/// Utilisation clamps, both of them.
const FLAG_UTIL_CLAMP: u64 = 32 | 64;
const FLAGS_ALL: u64 = FLAG_RESET_ON_FORK
    | FLAG_RECLAIM
    | FLAG_DL_OVERRUN
    | FLAG_KEEP_POLICY
    | FLAG_KEEP_PARAMS
    | FLAG_UTIL_CLAMP;

pub fn sys_sched_setattr(pid: Pid, attr: usize, flags: u32) -> Result<usize> {
    if attr == 0 || pid.0 < 0 || flags != 0 {
        return Err(Errno::EINVAL);
    }
    let size_field = UserPtr::<u32>::from(attr);
    let size = match size_field.read()? as usize {
        0 => ATTR_SIZE_VER0,
        size => size,
    };
    if !(ATTR_SIZE_VER0..=4096).contains(&size) {
        size_field.write(&(ATTR_SIZE_VER1 as u32))?;
        return Err(Errno::E2BIG);
    }
    // Who asks for more than there is learns how much there is.
    let words = match read_extensible::<{ ATTR_SIZE_VER1 / 8 }>(attr, size) {
        Err(Errno::E2BIG) => {
            size_field.write(&(ATTR_SIZE_VER1 as u32))?;
            return Err(Errno::E2BIG);
        }
        words => words?,
    };
    let policy = (words[0] >> 32) as u32;
    let attr_flags = words[1];
    let nice = (words[2] as u32 as i32).clamp(-20, 19) as i8;
    let priority = (words[2] >> 32) as u32;
    // Clamps came with the second version of the structure.
    if attr_flags & FLAG_UTIL_CLAMP != 0 && size < ATTR_SIZE_VER1 {
        return Err(Errno::EINVAL);
    }
    let keep_policy = attr_flags & FLAG_KEEP_POLICY != 0;
    if !keep_policy && policy > i32::MAX as u32 {
        return Err(Errno::EINVAL);
    }
    let task = target(pid)?;
    if attr_flags & !FLAGS_ALL != 0 {
        return Err(Errno::EINVAL);
    }
    // As a Linux without CONFIG_UCLAMP_TASK.
    if attr_flags & FLAG_UTIL_CLAMP != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let old = sched::params_of(&task);
    let reset = match keep_policy {
        // As on Linux the flag is part of the policy.
        true => old.reset_on_fork,
        false => attr_flags & FLAG_RESET_ON_FORK != 0,
    };
    let wanted = if keep_policy {
        old.policy as u32
    } else {
        policy
    };
    let kept = attr_flags & FLAG_KEEP_PARAMS != 0;
    let policy = i32::try_from(wanted).map_err(|_| Errno::EINVAL)?;
    if policy == Policy::Deadline as i32 && !kept && attr_flags & FLAG_RECLAIM != 0 {
        return Err(Errno::EINVAL);
    }
    let policy = policy | if reset { SCHED_RESET_ON_FORK } else { 0 };
    if kept {
        return keep_params(&task, policy);
    }
    let wanted = Wanted {
        priority: i32::try_from(priority).map_err(|_| Errno::EINVAL)?,
        nice,
        reservation: Reservation {
            runtime_ns: words[3],
            deadline_ns: words[4],
            // Without one it is as long as the time to the deadline.
            period_ns: if words[5] == 0 { words[4] } else { words[5] },
            tells_overruns: attr_flags & FLAG_DL_OVERRUN != 0,
        },
    };
    futex::set_params(&task, checked(&task, policy, wanted)?)?;
    Ok(0)
}

/// SCHED_FLAG_KEEP_PARAMS: the policy is looked at with the present parameters, and nothing but the reset on fork
/// changes.
fn keep_params(task: &Arc<Task>, policy: i32) -> Result<usize> {
    let old = sched::params_of(task);
    let present = Wanted {
        priority: i32::from(old.priority),
        nice: old.nice,
        reservation: old.reservation,
    };
    let reset_on_fork = checked(task, policy, present)?.reset_on_fork;
    let params = Params {
        reset_on_fork,
        ..old
    };
    futex::set_params(task, params)?;
    Ok(0)
}

pub fn sys_sched_getattr(pid: Pid, attr: usize, size: u32, flags: u32) -> Result<usize> {
    let size = size as usize;
    if attr == 0 || pid.0 < 0 || !(ATTR_SIZE_VER0..=4096).contains(&size) || flags != 0 {
        return Err(Errno::EINVAL);
    }
    let params = sched::params_of(&*target(pid)?);
    let len = size.min(ATTR_SIZE_VER1);
    let mut words = [0u64; ATTR_SIZE_VER1 / 8];
    words[0] = len as u64 | u64::from(params.policy as u32) << 32;
    if params.reset_on_fork {
        words[1] |= FLAG_RESET_ON_FORK;
    }
    if params.reservation.tells_overruns {
        words[1] |= FLAG_DL_OVERRUN;
    }
    let nice = match params.policy {
        Policy::Fifo | Policy::RoundRobin | Policy::Deadline => 0,
        _ => params.nice,
    };
    words[3] = params.reservation.runtime_ns;
    words[4] = params.reservation.deadline_ns;
    words[5] = params.reservation.period_ns;
    words[2] = u64::from(i32::from(nice) as u32) | u64::from(params.priority) << 32;
    let mut bytes = [0; ATTR_SIZE_VER1];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    copy_out(attr, &bytes[..len])?;
    Ok(0)
}

pub fn sys_getcpu(cpu: usize, node: usize) -> Result<usize> {
    if cpu != 0 {
        UserPtr::<u32>::from(cpu).write(&arch::cpu::current_id().0)?;
    }
    if node != 0 {
        UserPtr::<u32>::from(node).write(&0)?;
    }
    Ok(0)
}
