//! Which driver serves a device number.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use abi::fs::{DevNum, OpenFlags};
use abi::{Errno, Result};
use ksync::RwSpinLock;

use crate::fs::file::FileOpsRef;
use crate::fs::mount::Path;

/// Opens one device; the place is that of the node by which it was reached.
pub type Open = fn(dev: DevNum, node: &Path, flags: OpenFlags) -> Result<FileOpsRef>;

#[derive(Clone, Copy)]
struct Range {
    last: u32,
    name: &'static str,
    open: Open,
}

type Table = RwSpinLock<BTreeMap<u32, Range>>;
static CHAR: Table = RwSpinLock::new(BTreeMap::new());
static BLOCK: Table = RwSpinLock::new(BTreeMap::new());

fn add(table: &Table, major: u32, minors: core::ops::Range<u32>, name: &'static str, open: Open) {
    if let Some(last) = minors.end.checked_sub(1) {
        let range = Range {
            last: DevNum::new(major, last).0,
            name,
            open,
        };
        table
            .write()
            .insert(DevNum::new(major, minors.start).0, range);
    }
}

fn find(table: &Table, dev: DevNum) -> Result<Open> {
    let table = table.read();
    match table.range(..=dev.0).next_back() {
        Some((_, range)) if dev.0 <= range.last => Ok(range.open),
        _ => Err(Errno::ENXIO),
    }
}

/// Serves the character devices `major:minors`.
pub fn register(major: u32, minors: core::ops::Range<u32>, name: &'static str, open: Open) {
    add(&CHAR, major, minors, name, open);
}

/// Serves the block devices `major:minors`.
pub fn register_block(major: u32, minors: core::ops::Range<u32>, name: &'static str, open: Open) {
    add(&BLOCK, major, minors, name, open);
}

/// The operations of a character device; ENXIO if nobody serves it.
pub fn open(node: &Path, flags: OpenFlags) -> Result<FileOpsRef> {
    let dev = node.inode().rdev;
    find(&CHAR, dev)?(dev, node, flags)
}

/// The operations of a block device; ENXIO if nobody serves it.
pub fn open_block(node: &Path, flags: OpenFlags) -> Result<FileOpsRef> {
    let dev = node.inode().rdev;
    find(&BLOCK, dev)?(dev, node, flags)
}

/// Major numbers and names for `/proc/devices`: characters, then blocks.
pub fn list() -> (Vec<(u32, &'static str)>, Vec<(u32, &'static str)>) {
    let names = |table: &Table| {
        let mut all: Vec<_> = table
            .read()
            .iter()
            .map(|(dev, range)| (DevNum(*dev).major(), range.name))
            .collect();
        all.dedup();
        all
    };
    (names(&CHAR), names(&BLOCK))
}
