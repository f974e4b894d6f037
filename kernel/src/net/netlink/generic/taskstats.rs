//! What tasks have used (`TASKSTATS`): asked for by number, or told at each end of a thread to who registered for the
//! CPU that it ends on.
//!
//! Delays are 0 where Linux counts them only with delay accounting, but for the wait for a CPU, which is always known.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use abi::Errno;
use abi::netlink::NlmFlags;
use abi::netlink::generic::{GENL_ADMIN_PERM, GENL_START_ALLOC, Taskstats, taskstats as ts};
use netlink::{Attribute, Builder};
use zerocopy::FromZeros;

use super::{Call, Command, Family, PROTOCOL, put_header};
use crate::arch::cpu::{self, CpuMask};
use crate::mm::PAGE_SIZE;
use crate::net::netlink::request::{Answer, Outcome};
use crate::net::netlink::{NetlinkSocket, table};
use crate::per_cpu;
use crate::sync::{Mutex, PerCpu};
use crate::task::usage::Rusage;
use crate::task::{Pid, Process, Task, TaskFlags, find_process, find_task};
use crate::{sched, time};

pub(super) static FAMILY: Family = Family {
    id: GENL_START_ALLOC,
    name: "TASKSTATS",
    version: 1,
    max_attribute: ts::CMD_ATTR_MAX,
    commands: &[Command {
        number: ts::CMD_GET,
        flags: GENL_ADMIN_PERM,
        run: Some(get),
        dump: None,
    }],
    groups: &[],
};

const PAGE_KIB: u64 = PAGE_SIZE as u64 / 1024;

/// Who is told of ends, and on which CPUs: port numbers, none twice.
static LISTENERS: Mutex<Vec<(u32, u64)>> = Mutex::new(Vec::new());
/// Their number, which ends look at before they take the lock.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Messages sent from each CPU.
static NUMBERS: PerCpu<AtomicU32> = per_cpu!(AtomicU32::new(0));

/// Whether somebody is told of ends.
#[inline]
pub fn is_heard() -> bool {
    COUNT.load(Ordering::Relaxed) != 0
}

fn get(call: &Call<'_>) -> Outcome {
    let find = |kind| call.attributes.find(kind);
    if let Some(mask) = find(ts::CMD_ATTR_REGISTER_CPUMASK) {
        return listen(call, mask, true);
    }
    if let Some(mask) = find(ts::CMD_ATTR_DEREGISTER_CPUMASK) {
        return listen(call, mask, false);
    }
    let number = |attribute: Attribute<'_>| attribute.read::<u32>().ok_or(Errno::ERANGE);
    let mut builder = Builder::new();
    call.begin(&mut builder, &FAMILY, ts::CMD_NEW);
    if let Some(pid) = find(ts::CMD_ATTR_PID) {
        let pid = number(pid)?;
        let task = find_task(Pid(pid as i32)).ok_or(Errno::ESRCH)?;
        put(&mut builder, ts::TYPE_PID, pid, &of_task(&task));
    } else {
        let pid = number(find(ts::CMD_ATTR_TGID).ok_or(Errno::EINVAL)?)?;
        let process = match find_task(Pid(pid as i32)) {
            Some(task) => task.process.clone(),
            None => find_process(Pid(pid as i32)).ok_or(Errno::ESRCH)?,
        };
        put(&mut builder, ts::TYPE_TGID, pid, &of_process(&process));
    }
    builder.finish();
    call.request.reply(builder);
    Ok(Answer::Done)
}

fn put(builder: &mut Builder, kind: u16, number: u32, stats: &Taskstats) {
    let nest = builder.nest(match kind {
        ts::TYPE_PID => ts::TYPE_AGGR_PID,
        _ => ts::TYPE_AGGR_TGID,
    });
    builder.number(kind, number);
    builder.number(ts::TYPE_STATS, *stats);
    builder.end(nest);
}

fn add_times(stats: &mut Taskstats, used: &Rusage) {
    stats.utime += used.user_ns / 1000;
    stats.stime += used.system_ns / 1000;
    stats.nvcsw += used.voluntary_switches;
    stats.nivcsw += used.involuntary_switches;
    stats.cpu_run_real_total += used.user_ns + used.system_ns;
    stats.cpu_scaled_run_real_total = stats.cpu_run_real_total;
}

fn add_waits(stats: &mut Taskstats, task: &Task) {
    stats.cpu_count += task.usage.runs.load(Ordering::Relaxed);
    stats.cpu_delay_total += task.usage.waited_ns.load(Ordering::Relaxed);
    stats.cpu_run_virtual_total += task.cpu_time_ns();
}

/// The figures of a thread.
fn of_task(task: &Task) -> Taskstats {
    let mut stats = Taskstats::new_zeroed();
    stats.version = ts::VERSION;
    let used = task.rusage();
    add_times(&mut stats, &used);
    add_waits(&mut stats, task);
    stats.utimescaled = stats.utime;
    stats.stimescaled = stats.stime;
    stats.minflt = used.minor_faults;
    stats.majflt = used.major_faults;
    let now = time::boottime_ns();
    let age_ns = now.saturating_sub(task.start_ns);
    stats.etime = age_ns / 1000;
    stats.tgetime = now.saturating_sub(task.process.start_ns) / 1000;
    stats.btime64 = (time::realtime_ns() / 1_000_000_000).saturating_sub(age_ns / 1_000_000_000);
    stats.btime = u32::try_from(stats.btime64).unwrap_or(u32::MAX);
    identify(&mut stats, task);
    if let Some(mm) = task.mm() {
        let totals = mm.totals();
        stats.hiwater_rss = totals.rss_peak.max(totals.rss()) * PAGE_KIB;
        stats.hiwater_vm = totals.peak.max(totals.total) * PAGE_KIB;
    }
    // In whole KiB, which for the calls is Linux's way too.
    let whole = |count: u64| count & !1023;
    stats.read_char = whole(used.io.read_bytes);
    stats.write_char = whole(used.io.written_bytes);
    stats.read_syscalls = whole(used.io.reads);
    stats.write_syscalls = whole(used.io.writes);
    stats
}

fn identify(stats: &mut Taskstats, task: &Task) {
    let (params, cred) = (sched::params_of(task), task.cred());
    stats.nice = params.nice as u8;
    stats.sched = params.policy as u8;
    stats.pid = task.tid().0 as u32;
    stats.tgid = task.process.pid.0 as u32;
    (stats.uid, stats.gid) = (cred.uid, cred.gid);
    stats.ppid = task
        .process
        .parent()
        .map_or(0, |parent| parent.pid.0 as u32);
    for (slot, byte) in stats.comm.iter_mut().zip(task.comm()) {
        *slot = byte;
    }
    let flags = task.flags();
    if task.is_leader() && flags.contains(TaskFlags::FORK_NO_EXEC) {
        stats.flag |= ts::AFORK;
    }
    if flags.contains(TaskFlags::SUPERUSER) {
        stats.flag |= ts::ASU;
    }
}

/// The figures that make sense for a whole process: those of its threads, ended ones included.
fn of_process(process: &Arc<Process>) -> Taskstats {
    let mut stats = Taskstats::new_zeroed();
    stats.version = ts::VERSION;
    let exited = *process.usage.exited.lock();
    add_times(&mut stats, &exited);
    let now = time::boottime_ns();
    for task in process.threads() {
        add_times(&mut stats, &task.rusage());
        add_waits(&mut stats, &task);
        stats.etime += now.saturating_sub(task.start_ns) / 1000;
    }
    stats
}

/// Adds CPUs that the sender hears of, or takes some away.
fn listen(call: &Call<'_>, list: Attribute<'_>, on: bool) -> Outcome {
    /// The longest list, with the number of processors that Linux has it from.
    const LONGEST: usize = 100 + 6 * 64;
    if list.value.len() > LONGEST {
        return Err(Errno::E2BIG.into());
    }
    let text = core::str::from_utf8(list.text()).map_err(|_| Errno::EINVAL)?;
    let mask = netlink::cpu_list(text).ok_or(Errno::EINVAL)?;
    if list.value.is_empty() || mask & !CpuMask::online().0 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let port = call.request.sent.socket.port();
    let mut listeners = LISTENERS.lock();
    match listeners.iter_mut().find(|(other, _)| *other == port) {
        Some((_, cpus)) if on => *cpus |= mask,
        Some((_, cpus)) => *cpus &= !mask,
        None if on => listeners.push((port, mask)),
        None => {}
    }
    listeners.retain(|(_, cpus)| *cpus != 0);
    COUNT.store(listeners.len(), Ordering::Relaxed);
    Ok(Answer::Done)
}

/// The socket is closed.
pub(super) fn forget(socket: &NetlinkSocket) {
    if !is_heard() {
        return;
    }
    let port = socket.port();
    let mut listeners = LISTENERS.lock();
    listeners.retain(|(other, _)| *other != port);
    COUNT.store(listeners.len(), Ordering::Relaxed);
}

/// A thread's figures at its end, taken while its memory is there.
pub struct Ending(Box<Taskstats>);

impl Ending {
    /// Those of a thread that begins to end, if somebody wants them.
    #[inline]
    pub fn begin(task: &Task) -> Option<Ending> {
        is_heard().then(|| Ending::take(task))
    }

    #[cold]
    fn take(task: &Task) -> Ending {
        let mut stats = Box::new(of_task(task));
        if let Some(exe) = task.process.exe.lock().as_ref() {
            let inode = exe.inode();
            stats.exe_dev = inode.sb.dev.to_user();
            stats.exe_inode = inode.ino;
        }
        Ending(stats)
    }

    /// The thread has ended with this status, and is in no list any more; `is_last` of its process.
    pub fn tell(self, task: &Task, status: u32, is_last: bool) {
        let here = cpu::current_id().0;
        let ports: Vec<u32> = {
            let listeners = LISTENERS.lock();
            let told = listeners.iter().filter(|(_, cpus)| cpus >> here & 1 != 0);
            told.map(|(port, _)| *port).collect()
        };
        if ports.is_empty() {
            return;
        }
        let mut stats = *self.0;
        stats.exitcode = status;
        if is_last {
            stats.flag |= ts::AGROUP;
        }
        let mut builder = Builder::new();
        let number = NUMBERS.here().fetch_add(1, Ordering::Relaxed);
        builder.begin(FAMILY.id, NlmFlags::empty(), number, 0);
        put_header(&mut builder, &FAMILY, ts::CMD_NEW);
        put(&mut builder, ts::TYPE_PID, stats.pid, &stats);
        if is_last && let Some(whole) = of_ended(&task.process, &stats) {
            put(&mut builder, ts::TYPE_TGID, stats.tgid, &whole);
        }
        builder.finish();
        let data = builder.into_bytes();
        for port in ports {
            if let Some(socket) = table::find(&PROTOCOL, port) {
                socket.reply(data.clone());
            }
        }
    }
}

/// The figures of a process whose last thread has ended with `last`, if it had others. Waits of threads that ended
/// before are not kept.
fn of_ended(process: &Process, last: &Taskstats) -> Option<Taskstats> {
    let mut whole = Taskstats::new_zeroed();
    let exited = *process.usage.exited.lock();
    add_times(&mut whole, &exited);
    if (whole.utime, whole.stime, whole.nvcsw) == (last.utime, last.stime, last.nvcsw) {
        return None;
    }
    whole.version = ts::VERSION;
    whole.etime = last.etime;
    whole.cpu_count = last.cpu_count;
    whole.cpu_delay_total = last.cpu_delay_total;
    whole.cpu_run_virtual_total = last.cpu_run_virtual_total;
    Some(whole)
}
