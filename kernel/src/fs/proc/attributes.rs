//! Small files about a process: `limits`, `comm`, `coredump_filter`, `oom_score`, `oom_score_adj`, `personality`, `wchan`.

use core::sync::atomic::Ordering;

use abi::{Errno, Result};

use super::subject::{Target, comm_bytes};
use super::text::{Text, c_number, number};
use crate::arch::backtrace;
use crate::net::netlink::connector;
use crate::task::rlimit::INFINITY;
use crate::task::{Cap, Resource, coredump, current};

/// Names and units, in the order of the resources' numbers.
const LIMITS: [(&str, &str); 16] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

/// The scales of `oom_adj` and `oom_score_adj`.
const OOM_DISABLE: i32 = -17;
const OOM_ADJUST_MAX: i32 = 15;
const OOM_SCORE_ADJ_MAX: i32 = 1000;

/// The most frames that `wchan` looks through.
const WCHAN_DEPTH: usize = 16;

/// `limits`.
pub fn limits(target: &Target, out: &mut Text) -> Result<()> {
    fn value(value: u64, out: &mut Text) -> Result<()> {
        match value {
            INFINITY => write!(out, "{:<20} ", "unlimited"),
            value => write!(out, "{value:<20} "),
        }
    }
    writeln!(
        out,
        "{:<25} {:<20} {:<20} {:<10}",
        "Limit", "Soft Limit", "Hard Limit", "Units"
    )?;
    for (index, (name, unit)) in (0..).zip(LIMITS) {
        let Some(resource) = Resource::from_raw(index) else {
            continue;
        };
        let limit = target.process.rlimits.get(resource);
        write!(out, "{name:<25} ")?;
        value(limit.soft, out)?;
        value(limit.hard, out)?;
        match unit {
            "" => out.bytes(b"\n")?,
            unit => writeln!(out, "{unit:<10}")?,
        }
    }
    Ok(())
}

/// `comm`.
pub fn comm(target: &Target, out: &mut Text) -> Result<()> {
    out.bytes(comm_bytes(&target.comm()))?;
    out.bytes(b"\n")
}

/// A thread may be named by the threads of its process.
pub fn set_comm(target: &Target, bytes: &[u8]) -> Result<()> {
    if !target.is_mine() {
        return Err(Errno::EINVAL);
    }
    let task = target.task.as_ref().ok_or(Errno::ESRCH)?;
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    // Linux copies as much as fits, newline and all.
    task.set_comm(name);
    if connector::is_heard() {
        connector::comm(task);
    }
    Ok(())
}

/// `oom_score`: how bad the process is, as a share of all memory in thousandths, up to twice that.
pub fn oom_score(target: &Target, out: &mut Text) -> Result<()> {
    let total = crate::mm::stats().total.max(1) as i64;
    let adj = i64::from(target.process.oom_score_adj.load(Ordering::Relaxed));
    let points = match target.mm() {
        Some(mm) if adj > -1000 => mm.badness_pages() as i64 + adj * total / 1000,
        _ => i64::MIN,
    };
    let score = match points {
        i64::MIN => 0,
        points => (1000 + points.saturating_mul(1000) / total) * 2 / 3,
    };
    writeln!(out, "{}", score.max(0))
}

/// `oom_score_adj`.
pub fn oom_score_adj(target: &Target, out: &mut Text) -> Result<()> {
    writeln!(
        out,
        "{}",
        target.process.oom_score_adj.load(Ordering::Relaxed)
    )
}

/// Raising is free, and lowering to 0; beyond that, lowering takes a capability.
pub fn set_oom_score_adj(target: &Target, bytes: &[u8]) -> Result<()> {
    let value: i32 = number(bytes)?;
    if !(-1000..=1000).contains(&value) {
        return Err(Errno::EINVAL);
    }
    let adj = &target.process.oom_score_adj;
    if value < adj.load(Ordering::Relaxed).min(0) && !current().my_cred().capable(Cap::SYS_RESOURCE)
    {
        return Err(Errno::EACCES);
    }
    adj.store(value, Ordering::Relaxed);
    Ok(())
}

/// `coredump_filter`: nothing for who has no memory to dump.
pub fn coredump_filter(target: &Target, out: &mut Text) -> Result<()> {
    if target.mm().is_none() {
        return Ok(());
    }
    let filter = target.process.coredump_filter.load(Ordering::Relaxed);
    writeln!(out, "{filter:08x}")
}

/// Takes numbers as C writes them; bits without a meaning are dropped.
pub fn set_coredump_filter(target: &Target, bytes: &[u8]) -> Result<()> {
    let value = c_number(bytes)?;
    if target.mm().is_none() {
        return Err(Errno::ESRCH);
    }
    let filter = value & coredump::FILTER_BITS;
    target
        .process
        .coredump_filter
        .store(filter, Ordering::Relaxed);
    Ok(())
}

/// `oom_adj`: the same on the scale of old, from -17 to 15.
pub fn oom_adj(target: &Target, out: &mut Text) -> Result<()> {
    let adj = target.process.oom_score_adj.load(Ordering::Relaxed);
    let old = match adj {
        OOM_SCORE_ADJ_MAX => OOM_ADJUST_MAX,
        adj => adj * -OOM_DISABLE / OOM_SCORE_ADJ_MAX,
    };
    writeln!(out, "{}", old.min(OOM_ADJUST_MAX))
}

/// Sets it on the scale of old.
pub fn set_oom_adj(target: &Target, bytes: &[u8]) -> Result<()> {
    let old: i32 = number(bytes)?;
    if !(-16..=OOM_ADJUST_MAX).contains(&old) && old != OOM_DISABLE {
        return Err(Errno::EINVAL);
    }
    let value = match old {
        OOM_ADJUST_MAX => OOM_SCORE_ADJ_MAX,
        old => old * OOM_SCORE_ADJ_MAX / -OOM_DISABLE,
    };
    let adj = &target.process.oom_score_adj;
    if value < adj.load(Ordering::Relaxed) && !current().my_cred().capable(Cap::SYS_RESOURCE) {
        return Err(Errno::EACCES);
    }
    adj.store(value, Ordering::Relaxed);
    Ok(())
}

/// `personality`.
pub fn personality(target: &Target, out: &mut Text) -> Result<()> {
    writeln!(
        out,
        "{:08x}",
        target.process.personality.load(Ordering::Relaxed)
    )
}

/// `wchan`: the function of the kernel in which the thread sleeps, or 0.
pub fn wchan(target: &Target, out: &mut Text) -> Result<()> {
    let sleeps = |task: &&alloc::sync::Arc<crate::task::Task>| {
        task.sched.state() != crate::sched::TaskState::Running
    };
    let task = target
        .task
        .as_ref()
        .filter(|_| target.may_read())
        .filter(sleeps);
    let mut found = None;
    if let Some(task) = task {
        backtrace::walk_from(task.arch.saved_frame().1, WCHAN_DEPTH, |address| {
            let name = crate::ksyms::find(address).map_or("", |(name, _)| name);
            // How it sleeps is the same everywhere; where is asked.
            let inner = ["kernel::sched::", "kernel::sync::", "core::", "alloc::"];
            if found.is_none() && !inner.iter().any(|prefix| name.contains(prefix)) {
                found = Some(name).filter(|name| !name.is_empty());
            }
        });
    }
    out.bytes(found.unwrap_or("0").as_bytes())
}
