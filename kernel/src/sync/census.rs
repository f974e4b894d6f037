//! How many objects of each kind live: counted on the CPU where they come and go, so that it costs no shared cache line.
//!
//! An object holds a [`Live`]. `/proc/ironbark/objects` shows the sums; after a storm they are what they were before, or
//! something is kept.

use core::sync::atomic::{AtomicI64, Ordering};

use crate::per_cpu;
use crate::sync::PerCpu;

/// What is counted; the names are those of the file.
pub const NAMES: [&str; KINDS] = [
    "tasks",
    "processes",
    "spaces",
    "files",
    "inodes",
    "dentries",
    "pipes",
    "sockets",
    "timers",
    "uts-namespaces",
];
const KINDS: usize = 10;

pub const TASKS: usize = 0;
pub const PROCESSES: usize = 1;
pub const SPACES: usize = 2;
pub const FILES: usize = 3;
pub const INODES: usize = 4;
pub const DENTRIES: usize = 5;
pub const PIPES: usize = 6;
pub const SOCKETS: usize = 7;
pub const TIMERS: usize = 8;
pub const UTS_NAMESPACES: usize = 9;

/// Objects made less those ended, on each CPU. Only sums mean anything.
static COUNTS: PerCpu<[AtomicI64; KINDS]> = per_cpu!([const { AtomicI64::new(0) }; KINDS]);

/// Counts the object that holds it.
#[derive(Debug)]
pub struct Live<const KIND: usize>(());

impl<const KIND: usize> Live<KIND> {
    /// One more.
    #[inline]
    pub fn new() -> Self {
        change(KIND, 1);
        Live(())
    }
}

impl<const KIND: usize> Drop for Live<KIND> {
    #[inline]
    fn drop(&mut self) {
        change(KIND, -1);
    }
}

#[inline]
fn change(kind: usize, by: i64) {
    // Atomic, since an interrupt's end of an object may come between.
    if let Some(count) = COUNTS.here().get(kind) {
        count.fetch_add(by, Ordering::Relaxed);
    }
}

/// How many live of the kind with this place in [`NAMES`].
pub fn count(kind: usize) -> i64 {
    let counts = COUNTS.iter().filter_map(|counts| counts.get(kind));
    counts.map(|count| count.load(Ordering::Relaxed)).sum()
}
