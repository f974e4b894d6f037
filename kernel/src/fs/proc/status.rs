//! `status`: a process or thread for people to read.

use abi::Result;

use super::stat::{code_pages, state_of};
use super::subject::{Target, comm_bytes};
use super::text::Text;
use crate::arch::{self, cpu};
use crate::mm::{PAGE_SIZE, policy};
use crate::task::{Cred, TaskFlags};
use crate::{sched, signal};

/// The file.
pub fn status(target: &Target, out: &mut Text) -> Result<()> {
    identity(target, out)?;
    memory(target, out)?;
    signals(target, out)?;
    capabilities(&target.cred(), out)?;
    if let Some(task) = &target.task {
        let bit = u32::from(task.flags().contains(TaskFlags::NO_NEW_PRIVS));
        writeln!(out, "NoNewPrivs:\t{bit}")?;
        let seccomp = &task.seccomp;
        writeln!(out, "Seccomp:\t{}", seccomp.mode())?;
        writeln!(out, "Seccomp_filters:\t{}", seccomp.filter_count())?;
        // Nothing is done about either.
        let stores = match arch::features::bypasses_stores() {
            true => "vulnerable",
            false => "not vulnerable",
        };
        writeln!(out, "Speculation_Store_Bypass:\t{stores}")?;
        out.bytes(b"SpeculationIndirectBranch:\talways enabled\n")?;
        let mask = sched::affinity(task);
        let digits = cpu::online().div_ceil(4);
        writeln!(out, "Cpus_allowed:\t{}", Mask(mask, digits))?;
        out.bytes(b"Cpus_allowed_list:\t")?;
        cpu_list(mask, out)?;
        // Of all the nodes that policies may name, there is the first.
        out.bytes(b"\nMems_allowed:\t")?;
        for _ in 1..policy::MAX_NODES / 32 {
            out.bytes(b"00000000,")?;
        }
        writeln!(out, "{:08x}\nMems_allowed_list:\t0", policy::ONLINE)?;
        let used = task.rusage();
        writeln!(out, "voluntary_ctxt_switches:\t{}", used.voluntary_switches)?;
        writeln!(
            out,
            "nonvoluntary_ctxt_switches:\t{}",
            used.involuntary_switches
        )?;
    }
    Ok(())
}

fn identity(target: &Target, out: &mut Text) -> Result<()> {
    let process = &target.process;
    let cred = target.cred();
    out.bytes(b"Name:\t")?;
    for byte in comm_bytes(&target.comm()) {
        match byte {
            b'\n' => out.bytes(b"\\n")?,
            b'\\' => out.bytes(b"\\\\")?,
            byte => out.bytes(&[*byte])?,
        }
    }
    out.bytes(b"\n")?;
    if let Some(fs) = target.task.as_ref().and_then(|task| task.fs()) {
        writeln!(out, "Umask:\t{:04o}", fs.umask())?;
    }
    let (letter, word) = state_of(target);
    let tgid = match target.is_kernel_thread() {
        true => target.id,
        false => process.pid,
    };
    writeln!(
        out,
        "State:\t{letter} ({word})\nTgid:\t{tgid}\nNgid:\t0\nPid:\t{}",
        target.id
    )?;
    let tracer = target.task.as_ref().and_then(|task| task.ptrace.tracer());
    let tracer = tracer.map_or(0, |tracer| tracer.tid().0);
    writeln!(out, "PPid:\t{}\nTracerPid:\t{tracer}", process.ppid())?;
    let c = &cred;
    writeln!(out, "Uid:\t{}\t{}\t{}\t{}", c.uid, c.euid, c.suid, c.fsuid)?;
    writeln!(out, "Gid:\t{}\t{}\t{}\t{}", c.gid, c.egid, c.sgid, c.fsgid)?;
    let files = target.task.as_ref().and_then(|task| task.files());
    write!(
        out,
        "FDSize:\t{}\nGroups:\t",
        files.map_or(0, |files| files.size())
    )?;
    for group in cred.groups.iter() {
        write!(out, "{group} ")?;
    }
    // Linux leaves the space even without groups.
    writeln!(out, "{}", if cred.groups.is_empty() { " " } else { "" })?;
    // There is one namespace of numbers.
    writeln!(out, "NStgid:\t{tgid}\nNSpid:\t{}", target.id)?;
    writeln!(
        out,
        "NSpgid:\t{}\nNSsid:\t{}",
        process.pgid(),
        process.sid()
    )?;
    writeln!(out, "Kthread:\t{}", u32::from(target.is_kernel_thread()))
}

fn memory(target: &Target, out: &mut Text) -> Result<()> {
    let Some(mm) = target.mm() else {
        return Ok(());
    };
    let totals = mm.totals();
    let page = PAGE_SIZE as u64;
    let code = code_pages(&mm.exec_info()).min(totals.exec);
    let rows = [
        ("VmPeak", totals.peak.max(totals.total)),
        ("VmSize", totals.total),
        ("VmLck", totals.locked),
        // Nothing pins pages, nothing is swapped.
        ("VmPin", 0),
        ("VmHWM", totals.rss_peak.max(totals.rss())),
        ("VmRSS", totals.rss()),
        ("RssAnon", totals.rss_anon),
        ("RssFile", totals.rss_file),
        ("RssShmem", totals.rss_shmem),
        ("VmData", totals.data),
        ("VmStk", totals.stack),
        ("VmExe", code),
        ("VmLib", totals.exec - code),
        ("VmPTE", totals.tables),
        ("VmSwap", 0),
    ];
    for (name, pages) in rows {
        writeln!(out, "{name}:\t{:8} kB", pages * page / 1024)?;
    }
    dump(target, out)
}

/// Whether it is being dumped, and whether it may have huge pages.
fn dump(target: &Target, out: &mut Text) -> Result<()> {
    let is_dumped = target.process.signal.shared.lock().dump.is_some();
    writeln!(out, "CoreDumping:\t{}", u32::from(is_dumped))?;
    let takes_huge = target.mm().is_some_and(|mm| !mm.refuses_huge());
    writeln!(out, "THP_enabled:\t{}", u32::from(takes_huge))
}

fn signals(target: &Target, out: &mut Text) -> Result<()> {
    let process = &target.process;
    let (queued, limit) = signal::queue_usage(process);
    let threads = target.thread_count();
    writeln!(out, "Threads:\t{threads}\nSigQ:\t{queued}/{limit}")?;
    let (pending, blocked) = match &target.task {
        Some(task) => (task.signal.pending().bits(), task.signal.blocked().bits()),
        None => (0, 0),
    };
    let (ignored, caught) = process.signal.hand.get().ignored_and_caught();
    let rows = [
        ("SigPnd", pending),
        ("ShdPnd", process.signal.pending().bits()),
        ("SigBlk", blocked),
        ("SigIgn", ignored.bits()),
        ("SigCgt", caught.bits()),
    ];
    for (name, bits) in rows {
        writeln!(out, "{name}:\t{bits:016x}")?;
    }
    Ok(())
}

fn capabilities(cred: &Cred, out: &mut Text) -> Result<()> {
    let rows = [
        ("CapInh", cred.inheritable),
        ("CapPrm", cred.permitted),
        ("CapEff", cred.effective),
        ("CapBnd", cred.bounding),
        ("CapAmb", cred.ambient),
    ];
    for (name, set) in rows {
        writeln!(out, "{name}:\t{:016x}", set.0)?;
    }
    Ok(())
}

/// A set of CPUs as Linux prints bitmaps: groups of 32 bits, separated by commas.
struct Mask(u64, usize);

impl core::fmt::Display for Mask {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Mask(mask, digits) = *self;
        if digits <= 8 {
            return write!(f, "{mask:0digits$x}");
        }
        write!(
            f,
            "{:0width$x},{:08x}",
            mask >> 32,
            mask & 0xffff_ffff,
            width = digits - 8
        )
    }
}

/// A set of CPUs as ranges: `0-1,3`.
pub fn cpu_list(mask: u64, out: &mut Text) -> Result<()> {
    let mut at = 0;
    let mut comma = "";
    while at < 64 {
        if mask >> at & 1 == 0 {
            at += 1;
            continue;
        }
        let first = at;
        while at < 64 && mask >> at & 1 == 1 {
            at += 1;
        }
        match at - 1 {
            last if last == first => write!(out, "{comma}{first}")?,
            last => write!(out, "{comma}{first}-{last}")?,
        }
        comma = ",";
    }
    Ok(())
}
