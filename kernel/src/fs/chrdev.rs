//! Which driver serves a character device's number.

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

static RANGES: RwSpinLock<BTreeMap<u32, Range>> = RwSpinLock::new(BTreeMap::new());

/// Serves the devices `major:minors`.
pub fn register(major: u32, minors: core::ops::Range<u32>, name: &'static str, open: Open) {
    if let Some(last) = minors.end.checked_sub(1) {
        let range = Range {
            last: DevNum::new(major, last).0,
            name,
            open,
        };
        RANGES
            .write()
            .insert(DevNum::new(major, minors.start).0, range);
    }
}

fn find(dev: DevNum) -> Result<Open> {
    let ranges = RANGES.read();
    match ranges.range(..=dev.0).next_back() {
        Some((_, range)) if dev.0 <= range.last => Ok(range.open),
        _ => Err(Errno::ENXIO),
    }
}

/// The operations of a character device; ENXIO if nobody serves it.
pub fn open(node: &Path, flags: OpenFlags) -> Result<FileOpsRef> {
    let dev = node.inode().rdev;
    find(dev)?(dev, node, flags)
}

/// Major numbers and names, for `/proc/devices`.
pub fn list() -> Vec<(u32, &'static str)> {
    let mut all: Vec<_> = RANGES
        .read()
        .iter()
        .map(|(dev, range)| (DevNum(*dev).major(), range.name))
        .collect();
    all.dedup();
    all
}
