//! `/proc/ironbark`: what this kernel says of itself and Linux has no file for.

use abi::Result;

use super::node::Node;
use super::text::Text;
use crate::mm;
use crate::sync::census;
use crate::syscall::{counters, table::TABLE};
use crate::task;

pub static NODES: &[Node] = &[
    Node::File("objects", 0o444, objects),
    Node::File("syscalls", 0o444, syscalls),
];

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
