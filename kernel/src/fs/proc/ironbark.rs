//! `/proc/ironbark`: what this kernel says of itself and Linux has no file for.

use abi::Result;

use super::node::Node;
use super::text::Text;
use crate::syscall::{counters, table::TABLE};

pub static NODES: &[Node] = &[Node::File("syscalls", 0o444, syscalls)];

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
