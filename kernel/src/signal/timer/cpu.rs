//! Timers on CPU time, and the limits on it. The tick charges its length to the process that it finds running, and looks whether anything is
//! due; between ticks nothing is.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use abi::signal::{SigInfo, Signo};

use crate::signal::{force_to_process, send_to_process};
use crate::task::rlimit::{INFINITY, Resource};
use crate::task::{Process, Task};

/// An interval timer on one of the sums.
pub struct CpuItimer {
    /// The sum at which it fires; `u64::MAX` for never.
    expires_ns: AtomicU64,
    interval_ns: AtomicU64,
}

impl Default for CpuItimer {
    fn default() -> Self {
        Self {
            expires_ns: AtomicU64::new(u64::MAX),
            interval_ns: AtomicU64::new(0),
        }
    }
}

/// Sums of CPU time as the tick sees them, and what waits for them.
#[derive(Default)]
pub struct CpuTimers {
    /// Time in user space.
    user_ns: AtomicU64,
    /// Time in user space and in the kernel.
    total_ns: AtomicU64,
    virt: CpuItimer,
    prof: CpuItimer,
    /// Seconds at which RLIMIT_CPU sends its next SIGXCPU; 0 until the first.
    xcpu_s: AtomicU64,
    /// A POSIX timer on a CPU clock is armed.
    pub(super) has_posix: AtomicBool,
}

/// ITIMER_VIRTUAL or ITIMER_PROF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuKind {
    Virtual,
    Prof,
}

impl CpuTimers {
    fn of(&self, kind: CpuKind) -> (&CpuItimer, &AtomicU64) {
        match kind {
            CpuKind::Virtual => (&self.virt, &self.user_ns),
            CpuKind::Prof => (&self.prof, &self.total_ns),
        }
    }
}

/// Time to the next expiry (0: does not run) and interval, in nanoseconds of CPU time.
pub fn get(process: &Process, kind: CpuKind) -> (u64, u64) {
    let (timer, sum) = process.signal.timers.cpu.of(kind);
    let expires = timer.expires_ns.load(Ordering::Relaxed);
    let left = match expires {
        u64::MAX => 0,
        at => at.saturating_sub(sum.load(Ordering::Relaxed)).max(1000),
    };
    (left, timer.interval_ns.load(Ordering::Relaxed))
}

/// Sets the timer; returns what [`get`] would have.
pub fn set(process: &Process, kind: CpuKind, value_ns: u64, interval_ns: u64) -> (u64, u64) {
    let old = get(process, kind);
    let (timer, sum) = process.signal.timers.cpu.of(kind);
    let expires = match value_ns {
        0 => u64::MAX,
        ns => sum.load(Ordering::Relaxed).saturating_add(ns),
    };
    timer.interval_ns.store(interval_ns, Ordering::Relaxed);
    timer.expires_ns.store(expires, Ordering::Relaxed);
    old
}

/// The tick found `task` running for `tick_ns`. In interrupt context.
pub fn tick(task: &Task, from_user: bool, tick_ns: u64) {
    let process = &*task.process;
    let timers = &process.signal.timers.cpu;
    let total = timers.total_ns.fetch_add(tick_ns, Ordering::Relaxed) + tick_ns;
    if from_user {
        let user = timers.user_ns.fetch_add(tick_ns, Ordering::Relaxed) + tick_ns;
        check(process, &timers.virt, user, Signo::VTALRM);
    }
    check(process, &timers.prof, total, Signo::PROF);
    check_limit(process, timers, total);
    if timers.has_posix.load(Ordering::Relaxed) {
        super::posix::tick(process);
    }
}

fn check(process: &Process, timer: &CpuItimer, now: u64, signo: Signo) {
    let expires = timer.expires_ns.load(Ordering::Relaxed);
    if now < expires {
        return;
    }
    let interval = timer.interval_ns.load(Ordering::Relaxed);
    let next = if interval == 0 {
        u64::MAX
    } else {
        expires.saturating_add(interval)
    };
    // Threads of the process may tick at once on several CPUs; one of them sends.
    let won =
        timer
            .expires_ns
            .compare_exchange(expires, next, Ordering::Relaxed, Ordering::Relaxed);
    if won.is_ok() {
        let _ = send_to_process(process, SigInfo::kernel(signo));
    }
}

/// RLIMIT_CPU: SIGXCPU at the soft limit and every second after, SIGKILL at the hard one.
fn check_limit(process: &Process, timers: &CpuTimers, total_ns: u64) {
    let soft = process.rlimits.soft(Resource::Cpu);
    if soft == INFINITY {
        return;
    }
    let seconds = total_ns / abi::time::NSEC_PER_SEC;
    if seconds >= process.rlimits.get(Resource::Cpu).hard {
        let _ = force_to_process(process, SigInfo::kernel(Signo::KILL));
        return;
    }
    let due = timers.xcpu_s.load(Ordering::Relaxed).max(soft);
    if seconds >= due {
        let next = timers.xcpu_s.load(Ordering::Relaxed);
        let won =
            timers
                .xcpu_s
                .compare_exchange(next, seconds + 1, Ordering::Relaxed, Ordering::Relaxed);
        if won.is_ok() {
            let _ = send_to_process(process, SigInfo::kernel(Signo::XCPU));
        }
    }
}

/// RLIMIT_RTTIME: SIGXCPU at the soft limit, which then moves on by a second, and SIGKILL at the hard one.
pub fn realtime_tick(task: &Task, ran_ns: u64) {
    let process = &*task.process;
    if process.rlimits.soft(Resource::Rttime) == INFINITY {
        return;
    }
    let limit = process.rlimits.get(Resource::Rttime);
    let ran_us = ran_ns / 1000;
    if limit.hard != INFINITY && ran_us >= limit.hard {
        let _ = force_to_process(process, SigInfo::kernel(Signo::KILL));
    } else if ran_us >= limit.soft {
        process.rlimits.raise_soft(Resource::Rttime, 1_000_000);
        let _ = send_to_process(process, SigInfo::kernel(Signo::XCPU));
    }
}

/// SCHED_FLAG_DL_OVERRUN: SIGXCPU to the process.
pub fn deadline_overrun(task: &Task) {
    let _ = send_to_process(&task.process, SigInfo::kernel(Signo::XCPU));
}
