//! `stat` and `statm`: one line of numbers about a process or thread.

use core::sync::atomic::Ordering;

use abi::Result;
use abi::fs::DevNum;

use super::subject::{Target, comm_bytes};
use super::text::Text;
use crate::mm::{ExecInfo, PAGE_SIZE};
use crate::sched::TaskState;
use crate::task::process::Life;
use crate::task::ptrace;
use crate::task::usage::Rusage;
use crate::task::{Resource, TaskFlags};

/// Nanoseconds of a tick of `USER_HZ`, in which `/proc` counts.
pub const CLOCK_TICK_NS: u64 = 10_000_000;

/// Flags of Linux's `task_struct` that have a meaning here.
const PF_EXITING: u32 = 0x4;
const PF_FORKNOEXEC: u32 = 0x40;
const PF_SUPERPRIV: u32 = 0x100;
const PF_KTHREAD: u32 = 0x20_0000;

const STOPPED: (char, &str) = ('T', "stopped");
const TRACED: (char, &str) = ('t', "tracing stop");

/// The letter and word for what a task does.
pub fn state_of(target: &Target) -> (char, &'static str) {
    let Some(task) = &target.task else {
        return ('Z', "zombie");
    };
    // A main thread that has ended before others.
    if target.id == target.process.pid
        && target.whole
        && !task.is_kernel_thread()
        && ptrace::leader_has_ended(&target.process)
    {
        return ('Z', "zombie");
    }
    match task.sched.state() {
        // A stop is told before its thread has gone to sleep in it.
        TaskState::Running if task.signal.is_stopped_for_tracer() => TRACED,
        TaskState::Running if task.signal.is_stopped() => STOPPED,
        TaskState::Running => ('R', "running"),
        TaskState::Interruptible => ('S', "sleeping"),
        TaskState::Uninterruptible | TaskState::Killable => ('D', "disk sleep"),
        TaskState::Stopped => STOPPED,
        TaskState::Traced => TRACED,
        TaskState::Dead => ('X', "dead"),
    }
}

/// What the process or the one thread has used.
fn usage_of(target: &Target) -> Rusage {
    match &target.task {
        Some(task) if !target.whole || target.is_kernel_thread() => task.rusage(),
        Some(_) => target.process.rusage(),
        None => target.final_usage(),
    }
}

/// `io`: the thread's counts, or the process's with those of the children it waited for. No file system here is on
/// storage, so nothing was fetched from there or is to be written to it.
pub fn io(target: &Target, out: &mut Text) -> Result<()> {
    let mut io = usage_of(target).io;
    if target.whole {
        io.add(&target.process.usage.children.lock().io);
    }
    writeln!(out, "rchar: {}\nwchar: {}", io.read_bytes, io.written_bytes)?;
    writeln!(out, "syscr: {}\nsyscw: {}", io.reads, io.writes)?;
    writeln!(
        out,
        "read_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0"
    )
}

/// The controlling terminal's number and its foreground group.
fn terminal(target: &Target) -> (u64, i32) {
    let Some(tty) = target.process.tty() else {
        return (0, -1);
    };
    let foreground = tty
        .state
        .lock()
        .control
        .foreground
        .as_ref()
        .map(|(id, _)| id.0);
    (
        DevNum::new(tty.dev.0, tty.dev.1).to_user(),
        foreground.unwrap_or(-1),
    )
}

fn flags_of(target: &Target) -> u32 {
    let Some(task) = &target.task else {
        return PF_EXITING;
    };
    let flags = task.flags();
    [
        (TaskFlags::EXITING, PF_EXITING),
        (TaskFlags::FORK_NO_EXEC, PF_FORKNOEXEC),
        (TaskFlags::SUPERUSER, PF_SUPERPRIV),
        (TaskFlags::KERNEL_THREAD, PF_KTHREAD),
    ]
    .iter()
    .filter(|(flag, _)| flags.contains(*flag))
    .fold(0, |bits, (_, bit)| bits | bit)
}

/// Nanoseconds since boot at which it started.
fn start_ns(target: &Target) -> u64 {
    match &target.task {
        Some(task) if !target.whole || target.is_kernel_thread() => task.start_ns,
        _ => target.process.start_ns,
    }
}

/// `stat`: fields as in proc_pid_stat(5), those without a meaning here 0 as on Linux.
pub fn stat(target: &Target, out: &mut Text) -> Result<()> {
    identity(target, out)?;
    times(target, out)?;
    addresses(target, out)?;
    signals(target, out)?;
    tail(target, out)
}

/// Fields 1 to 8.
fn identity(target: &Target, out: &mut Text) -> Result<()> {
    let process = &target.process;
    write!(out, "{} (", target.id)?;
    out.bytes(comm_bytes(&target.comm()))?;
    let (tty, foreground) = terminal(target);
    let (ppid, pgid, sid) = (process.ppid(), process.pgid(), process.sid());
    let state = state_of(target).0;
    write!(out, ") {state} {ppid} {pgid} {sid} {tty} {foreground}")
}

/// Fields 9 to 22.
fn times(target: &Target, out: &mut Text) -> Result<()> {
    let used = usage_of(target);
    let children = match target.whole {
        true => *target.process.usage.children.lock(),
        false => Rusage::default(),
    };
    write!(out, " {}", flags_of(target))?;
    write!(out, " {} {}", used.minor_faults, children.minor_faults)?;
    write!(out, " {} {}", used.major_faults, children.major_faults)?;
    for ns in [
        used.user_ns,
        used.system_ns,
        children.user_ns,
        children.system_ns,
    ] {
        write!(out, " {}", ns / CLOCK_TICK_NS)?;
    }
    let params = target.params();
    // What a task inherits from those who wait for it shows, as on Linux.
    let prio = match &target.task {
        Some(task) => crate::sched::prio_of(task),
        None => params.prio(),
    };
    let priority = i32::from(prio) - 100;
    let threads = target.thread_count();
    let start = start_ns(target) / CLOCK_TICK_NS;
    write!(out, " {priority} {} {threads} 0 {start}", params.nice)
}

/// Fields 23 to 30.
fn addresses(target: &Target, out: &mut Text) -> Result<()> {
    let limit = target.process.rlimits.soft(Resource::Rss);
    let Some(mm) = target.mm() else {
        return write!(out, " 0 0 {limit} 0 0 0 0 0");
    };
    let totals = mm.totals();
    write!(
        out,
        " {} {} {limit}",
        totals.total * PAGE_SIZE as u64,
        totals.rss()
    )?;
    if !target.may_read() {
        return write!(out, " 1 1 0 0 0");
    }
    let exec = mm.exec_info();
    // The stack and instruction pointers are shown of nobody who runs, as on Linux.
    write!(
        out,
        " {} {} {} 0 0",
        exec.start_code, exec.end_code, exec.start_stack
    )
}

/// Fields 31 to 34.
fn signals(target: &Target, out: &mut Text) -> Result<()> {
    const SHOWN: u64 = 0x7fff_ffff;
    let (ignored, caught) = target.process.signal.hand.get().ignored_and_caught();
    let (pending, blocked) = match &target.task {
        Some(task) => (task.signal.pending().bits(), task.signal.blocked().bits()),
        None => (0, 0),
    };
    for bits in [pending, blocked, ignored.bits(), caught.bits()] {
        write!(out, " {}", bits & SHOWN)?;
    }
    Ok(())
}

/// Fields 35 to 52.
fn tail(target: &Target, out: &mut Text) -> Result<()> {
    let process = &target.process;
    let permitted = target.may_read();
    let sleeps = target
        .task
        .as_ref()
        .is_some_and(|t| t.sched.state() != TaskState::Running);
    let exit_signal = match target.whole {
        true => process.exit_signal.load(Ordering::Relaxed).cast_signed(),
        false => -1,
    };
    let cpu = target.task.as_ref().map_or(0, |task| task.sched.cpu().0);
    let params = target.params();
    write!(
        out,
        " {} 0 0 {exit_signal} {cpu}",
        u32::from(permitted && sleeps)
    )?;
    write!(out, " {} {} 0 0 0", params.priority, params.policy as u32)?;
    match target.mm().filter(|_| permitted) {
        Some(mm) => {
            let exec = mm.exec_info();
            write!(
                out,
                " {} {} {}",
                exec.start_data, exec.end_data, exec.start_brk
            )?;
            write!(out, " {} {}", exec.arg_start, exec.arg_end)?;
            write!(out, " {} {}", exec.env_start, exec.env_end)?;
        }
        None => write!(out, " 0 0 0 0 0 0 0")?,
    }
    let status = match process.life() {
        Life::Zombie(status) if permitted && target.task.is_none() => status,
        _ => 0,
    };
    writeln!(out, " {status}")
}

/// Pages that the program's code touches; a program may say nonsense of where its code is.
pub fn code_pages(exec: &ExecInfo) -> u64 {
    let last = exec.end_code.saturating_add(PAGE_SIZE - 1) / PAGE_SIZE;
    last.saturating_sub(exec.start_code / PAGE_SIZE) as u64
}

/// `statm`: sizes in pages.
pub fn statm(target: &Target, out: &mut Text) -> Result<()> {
    let Some(mm) = target.mm() else {
        return writeln!(out, "0 0 0 0 0 0 0");
    };
    let totals = mm.totals();
    let code = code_pages(&mm.exec_info());
    let shared = totals.rss_file + totals.rss_shmem;
    let data = totals.data + totals.stack;
    writeln!(
        out,
        "{} {} {shared} {code} 0 {data} 0",
        totals.total,
        totals.rss()
    )
}
