//! Files about the machine, time and devices.

use alloc::sync::Arc;

use abi::poll::PollEvents;
use abi::{Errno, Result};
use vfs::{LockKind, Range};

use super::stat::CLOCK_TICK_NS;
use super::text::Text;
use crate::arch::{cpu, cpuinfo, irq};
use crate::device::registry::{self, Content, NodeKind};
use crate::device::rtc;
use crate::fs::file::{File, FileOps, FileOpsRef};
use crate::fs::{chrdev, locks, superblock};
use crate::mm::user::IoSink;
use crate::sched::{self, TaskState};
use crate::sync::PollTable;
use crate::task::{self, pid};
use crate::{boot, system, time};

pub fn cmdline(out: &mut Text) -> Result<()> {
    writeln!(out, "{}", boot::info().cmdline.as_str())
}

pub fn cpuinfo(out: &mut Text) -> Result<()> {
    for id in cpu::all() {
        cpuinfo::write(id, out).map_err(|_| Errno::ENOMEM)?;
    }
    Ok(())
}

pub fn version(out: &mut Text) -> Result<()> {
    let build = crate::BUILD_ID;
    writeln!(
        out,
        "{} version {} ({build}) {}",
        system::SYSNAME,
        system::RELEASE,
        system::VERSION
    )
}

pub fn filesystems(out: &mut Text) -> Result<()> {
    for fs in superblock::types() {
        let mark = if fs.needs_device() { "" } else { "nodev" };
        writeln!(out, "{mark}\t{}", fs.name())?;
    }
    Ok(())
}

pub fn devices(out: &mut Text) -> Result<()> {
    out.bytes(b"Character devices:\n")?;
    for (major, name) in chrdev::list() {
        writeln!(out, "{major:3} {name}")?;
    }
    // No driver serves block devices.
    out.bytes(b"\nBlock devices:\n")
}

/// `misc`: minor numbers of the major number 10, and their names.
pub fn misc(out: &mut Text) -> Result<()> {
    let mut result = Ok(());
    registry::for_each(&mut |device| {
        if let Some(node) = device.node().filter(|node| node.major == 10)
            && result.is_ok()
        {
            result = writeln!(out, "{:3} {}", node.minor, device.name());
        }
    });
    result
}

/// `partitions`: block devices with their sizes in KiB; empty without any, as on Linux.
pub fn partitions(out: &mut Text) -> Result<()> {
    let mut result = Ok(());
    let mut first = true;
    registry::for_each(&mut |device| {
        let Some(node) = device.node().filter(|node| node.kind == NodeKind::Block) else {
            return;
        };
        let Some(sectors) = sectors(device) else {
            return;
        };
        if core::mem::take(&mut first) && result.is_ok() {
            result = out.bytes(b"major minor  #blocks  name\n\n");
        }
        if result.is_ok() {
            let (major, minor, blocks) = (node.major, node.minor, sectors / 2);
            result = writeln!(out, "{major:4}  {minor:7} {blocks:10} {}", node.name);
        }
    });
    result
}

/// The size of a block device in sectors, as its attribute says.
fn sectors(device: &registry::Device) -> Option<u64> {
    let size = device
        .attributes()
        .iter()
        .find(|attribute| attribute.name == "size")?;
    let Content::Text(show) = &size.content else {
        return None;
    };
    let mut text = alloc::string::String::new();
    show(&mut text).ok()?;
    text.trim().parse().ok()
}

/// `driver/rtc`: the calendar clock.
pub fn rtc(out: &mut Text) -> Result<()> {
    out.bytes(rtc::proc_text()?.as_bytes())
}

/// `diskstats`: the statistics that each block device keeps in its attribute `stat`.
pub fn diskstats(out: &mut Text) -> Result<()> {
    let mut result = Ok(());
    registry::for_each(&mut |device| {
        let Some(node) = device.node().filter(|node| node.kind == NodeKind::Block) else {
            return;
        };
        let stat = device
            .attributes()
            .iter()
            .find(|attribute| attribute.name == "stat");
        if let Some(Content::Text(show)) = stat.map(|stat| &stat.content) {
            let mut text = alloc::string::String::new();
            if show(&mut text).is_ok() && result.is_ok() {
                result = write!(out, "{:4} {:7} {}", node.major, node.minor, node.name);
                for field in text.split_ascii_whitespace() {
                    result = result.and_then(|()| write!(out, " {field}"));
                }
                result = result.and_then(|()| out.bytes(b"\n"));
            }
        }
    });
    result
}

/// `locks`: the file locks that are held.
pub fn locks(out: &mut Text) -> Result<()> {
    let mut number = 0;
    locks::for_each(|inode, lock| {
        number += 1;
        let kind = match lock.kind {
            LockKind::Exclusive => "WRITE",
            LockKind::Shared => "READ",
        };
        let (class, pid, dev) = (lock.class, lock.pid, inode.sb.dev);
        let (major, minor, ino) = (dev.major(), dev.minor(), inode.ino);
        write!(
            out,
            "{number}: {class:6} ADVISORY  {kind} {pid} {major:02x}:{minor:02x}:{ino} "
        )?;
        match lock.range.end {
            Range::EOF => writeln!(out, "{} EOF", lock.range.start),
            end => writeln!(out, "{} {end}", lock.range.start),
        }
    })
}

fn hundredths(ns: u64, out: &mut Text) -> Result<()> {
    write!(out, "{}.{:02}", ns / 1_000_000_000, ns / 10_000_000 % 100)
}

pub fn uptime(out: &mut Text) -> Result<()> {
    hundredths(time::boottime_ns(), out)?;
    out.bytes(b" ")?;
    hundredths(cpu::all().map(|id| sched::cpu_times(id).idle_ns).sum(), out)?;
    out.bytes(b"\n")
}

pub fn loadavg(out: &mut Text) -> Result<()> {
    for load in sched::load_averages() {
        write!(out, "{}.{:02} ", load / 100, load % 100)?;
    }
    let mut tasks = 0;
    task::for_each_task(|_| tasks += 1);
    writeln!(out, "{}/{tasks} {}", sched::nr_running(), pid::last())
}

/// `stat`. Interrupts are not timed apart from what they interrupt, and no hypervisor is asked: those columns are 0.
pub fn stat(out: &mut Text) -> Result<()> {
    let times: alloc::vec::Vec<_> = cpu::all().map(|id| (id, sched::cpu_times(id))).collect();
    let mut row = |name: &dyn core::fmt::Display, columns: [u64; 4]| -> Result<()> {
        write!(out, "cpu{name}")?;
        for ns in columns {
            write!(out, " {}", ns / CLOCK_TICK_NS)?;
        }
        out.bytes(b" 0 0 0 0 0 0\n")
    };
    let columns = |t: &sched::CpuTimes| [t.user_ns, t.nice_ns, t.system_ns, t.idle_ns];
    let total = times.iter().fold([0; 4], |sum, (_, times)| {
        let mine = columns(times);
        core::array::from_fn(|i| sum[i] + mine[i])
    });
    // The sum's name is followed by two spaces.
    row(&" ", total)?;
    for (id, times) in &times {
        row(&id.0, columns(times))?;
    }
    let interrupts: u64 = cpu::all().map(irq::total).sum();
    writeln!(out, "intr {interrupts}")?;
    writeln!(out, "ctxt {}", sched::nr_switches())?;
    let boot_s = time::realtime_ns().saturating_sub(time::boottime_ns()) / 1_000_000_000;
    writeln!(out, "btime {boot_s}\nprocesses {}", sched::nr_spawned())?;
    let mut blocked = 0;
    task::for_each_task(|task| {
        blocked += u32::from(task.sched.state() == TaskState::Uninterruptible);
    });
    writeln!(
        out,
        "procs_running {}\nprocs_blocked {blocked}",
        sched::nr_running()
    )
}

pub fn interrupts(out: &mut Text) -> Result<()> {
    out.bytes(b"           ")?;
    for id in cpu::all() {
        let start = out.len();
        write!(out, "CPU{}", id.0)?;
        out.pad(start, 11)?;
    }
    out.bytes(b"\n")?;
    let counts = |vector: u8, out: &mut Text| -> Result<()> {
        cpu::all().try_for_each(|id| write!(out, " {:10}", irq::count(id, vector)))
    };
    let mut result = Ok(());
    crate::device::irq::for_each(|entry| {
        if result.is_err() {
            return;
        }
        result = write!(out, "{:3}:", entry.number).and_then(|()| counts(entry.vector, out));
        result = result.and_then(|()| {
            let (controller, number) = (entry.controller, entry.number);
            writeln!(
                out,
                " {controller:>8} {number:3}-{:<8}  {}",
                entry.trigger, entry.names
            )
        });
    });
    result?;
    for (vector, name, description) in irq::SYSTEM_VECTORS {
        write!(out, "{name:>3}:")?;
        counts(vector, out)?;
        writeln!(out, "   {description}")?;
    }
    writeln!(out, "ERR: {:10}", irq::stray())
}

/// `kmsg`: what `syslog(2)` reads, as a file.
pub fn open_kmsg() -> Result<FileOpsRef> {
    crate::log::syslog::syslog(1, 0, 0)?;
    Ok(Arc::new(Kmsg).into())
}

struct Kmsg;

impl FileOps for Kmsg {
    fn read(&self, file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        use crate::log::syslog;
        if file.nonblocking() && !syslog::has_unread() {
            return Err(Errno::EAGAIN);
        }
        syslog::read_into(sink)
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        crate::log::syslog::poll(table)
    }
}
