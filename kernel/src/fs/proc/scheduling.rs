//! Files about scheduling and timers: `sched`, `schedstat`, `timers`, `timerslack_ns`, and `/proc/schedstat`.

use core::sync::atomic::Ordering;

use abi::{Errno, Result};

use super::subject::{Target, comm_bytes};
use super::text::{Text, number};
use crate::arch;
use crate::sched;
use crate::signal::timer::posix::{self, Notify};
use crate::task::{Cap, Task, current};
use crate::time;

/// `schedstat`: nanoseconds on a CPU, nanoseconds of waiting for one, how often it got one.
pub fn schedstat(target: &Target, out: &mut Text) -> Result<()> {
    let Some(task) = &target.task else {
        return writeln!(out, "0 0 0");
    };
    let usage = &task.usage;
    writeln!(
        out,
        "{} {} {}",
        task.cpu_time_ns(),
        usage.waited_ns.load(Ordering::Relaxed),
        usage.runs.load(Ordering::Relaxed)
    )
}

/// A number of nanoseconds as Linux's `sched` shows it: milliseconds and six digits.
fn ms(out: &mut Text, name: &str, ns: u64) -> Result<()> {
    let (whole, part) = (ns / 1_000_000, ns % 1_000_000);
    writeln!(out, "{name:<45}:{whole:>14}.{part:06}")
}

fn count(out: &mut Text, name: &str, value: i64) -> Result<()> {
    writeln!(out, "{name:<45}:{value:>21}")
}

/// `sched`: what of it exists here.
pub fn sched(target: &Target, out: &mut Text) -> Result<()> {
    let task = target.task.as_ref().ok_or(Errno::ESRCH)?;
    out.bytes(comm_bytes(&target.comm()))?;
    let threads = target.thread_count();
    writeln!(out, " ({}, #threads: {threads})", task.tid())?;
    writeln!(out, "{:-<67}", "")?;
    let (vruntime, weight) = sched::standing_of(task);
    let usage = &task.usage;
    let voluntary = usage.voluntary_switches.load(Ordering::Relaxed);
    let involuntary = usage.involuntary_switches.load(Ordering::Relaxed);
    ms(out, "se.vruntime", vruntime)?;
    ms(out, "se.sum_exec_runtime", task.cpu_time_ns())?;
    count(out, "nr_switches", (voluntary + involuntary) as i64)?;
    count(out, "nr_voluntary_switches", voluntary as i64)?;
    count(out, "nr_involuntary_switches", involuntary as i64)?;
    count(out, "se.load.weight", weight as i64)?;
    count(out, "policy", target.params().policy as i64)?;
    count(out, "prio", i64::from(sched::prio_of(task)))?;
    if let Some((left, until)) = sched::budget_of(task) {
        count(out, "dl.runtime", left)?;
        count(out, "dl.deadline", until as i64)?;
    }
    Ok(())
}

/// `timers`: the POSIX timers of a process.
pub fn timers(target: &Target, out: &mut Text) -> Result<()> {
    let process = &target.process;
    for timer in posix::describe(process)? {
        let (signo, word, kind, id) = match &timer.notify {
            Notify::Nothing => (0, "none", "pid", process.pid),
            Notify::Process(signo) => (signo.as_i32(), "signal", "pid", process.pid),
            Notify::Thread(signo, task) => {
                let tid = task.upgrade().map_or(crate::task::Pid::NONE, |t| t.tid());
                (signo.as_i32(), "signal", "tid", tid)
            }
        };
        writeln!(out, "ID: {}", timer.id)?;
        writeln!(out, "signal: {signo}/{:016x}", timer.value)?;
        writeln!(out, "notify: {word}/{kind}.{id}")?;
        writeln!(out, "ClockID: {}", timer.clock_id)?;
    }
    Ok(())
}

/// The thread whose slack a file is about: another's is for those who may schedule it.
fn slack_of(target: &Target) -> Result<&Task> {
    let task = target.task.as_ref().ok_or(Errno::ESRCH)?;
    let is_mine = core::ptr::eq(&raw const **task, &raw const *current());
    if !is_mine && !current().my_cred().capable(Cap::SYS_NICE) {
        return Err(Errno::EPERM);
    }
    Ok(task)
}

/// `timerslack_ns`.
pub fn timer_slack(target: &Target, out: &mut Text) -> Result<()> {
    let slack = slack_of(target)?.timer_slack_ns.load(Ordering::Relaxed);
    writeln!(out, "{slack}")
}

/// 0 goes back to what the task began with.
pub fn set_timer_slack(target: &Target, bytes: &[u8]) -> Result<()> {
    let task = slack_of(target)?;
    let slack = match number(bytes)? {
        0u64 => task.default_timer_slack_ns.load(Ordering::Relaxed),
        slack => slack,
    };
    task.timer_slack_ns.store(slack, Ordering::Relaxed);
    Ok(())
}

/// `/proc/schedstat`, version 15: of its columns those that Linux counts by default.
pub fn all_cpus(out: &mut Text) -> Result<()> {
    writeln!(out, "version 15")?;
    writeln!(out, "timestamp {}", time::monotonic_ns() / sched::TICK_NS)?;
    for cpu in arch::cpu::all() {
        let sums = sched::cpu_sums(cpu);
        writeln!(
            out,
            "cpu{} 0 0 0 0 0 0 {} {} {}",
            cpu.0, sums.ran_ns, sums.waited_ns, sums.runs
        )?;
    }
    Ok(())
}
