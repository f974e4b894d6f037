//! `/proc/ironbark`: what this kernel says of itself and Linux has no file for.

use abi::Result;

use super::node::Node;
use super::text::Text;
use crate::arch::{self, cpu::CpuId};
use crate::mm;
use crate::sync::census;
use crate::syscall::{counters, table::TABLE};
use crate::task;
use crate::time::profile;

pub static NODES: &[Node] = &[
    #[cfg(debug_assertions)]
    Node::File("locks", 0o444, crate::fs::proc::locks::show),
    Node::File("objects", 0o444, objects),
    Node::Writable("profile", 0o600, profile, |_| {
        profile::clear();
        Ok(())
    }),
    Node::File("syscalls", 0o444, syscalls),
];

/// What the sampling profiler has counted: a head, then a line for each stack of each CPU, the addresses of the kernel's
/// code innermost first. A write forgets it.
fn profile(out: &mut Text) -> Result<()> {
    writeln!(out, "period_ns {}", profile::period_ns())?;
    for cpu in 0..arch::cpu::online() as u32 {
        profile::with(CpuId(cpu), |table| {
            writeln!(out, "cpu {cpu} {} {}", table.samples(), table.lost())?;
            table.iter().try_for_each(|entry| stack(out, &entry))
        })
        .unwrap_or(Ok(()))?;
    }
    Ok(())
}

/// `count place name address...`; bytes of the name that would end it or the line are shown as `?`.
fn stack(out: &mut Text, entry: &samples::Entry<'_>) -> Result<()> {
    let place = match entry.place {
        samples::Place::Idle => "idle",
        samples::Place::User => "user",
        samples::Place::Kernel => "kernel",
    };
    write!(out, "{} {place} ", entry.count)?;
    for byte in entry.comm.iter().take_while(|byte| **byte != 0) {
        out.bytes(&[if byte.is_ascii_graphic() { *byte } else { b'?' }])?;
    }
    for frame in entry.frames {
        write!(
            out,
            " {:x}",
            arch::layout::image_start() + u64::from(*frame)
        )?;
    }
    out.bytes(b"\n")
}

/// How many objects of each kind live, the areas of all processes, and the frames by their use.
fn objects(out: &mut Text) -> Result<()> {
    for (kind, name) in census::NAMES.iter().enumerate() {
        writeln!(out, "{name} {}", census::count(kind))?;
    }
    let mut areas = 0;
    task::for_each_process(|process| {
        if let Some(mm) = process.main_thread().and_then(|thread| thread.mm()) {
            areas += mm.area_count();
        }
    });
    writeln!(out, "areas {areas}")?;
    for (name, frames) in mm::stats::frames_by_use() {
        writeln!(out, "frames-{name} {frames}")?;
    }
    Ok(())
}

/// Each system call in the table: its number, name and support, and how often it was called and failed.
fn syscalls(out: &mut Text) -> Result<()> {
    out.bytes(b"number name support calls failures note\n")?;
    for (number, row) in TABLE.iter().enumerate() {
        let Some(row) = row else { continue };
        let (calls, failures) = counters::totals(number);
        let level = row.level.as_str();
        write!(out, "{number} {} {level} {calls} {failures}", row.name)?;
        if !row.note.is_empty() {
            write!(out, " {}", row.note)?;
        }
        out.bytes(b"\n")?;
    }
    Ok(())
}
