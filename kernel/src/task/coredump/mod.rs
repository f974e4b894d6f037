//! Core dumps: what a process leaves when a signal ends it that means "look what went wrong".
//!
//! | module | what |
//! |---|---|
//! | this | whether there is a dump, and its course |
//! | `settings` | `core_pattern`, `core_uses_pid`, `core_pipe_limit`, `suid_dumpable` |
//! | `threads` | [`Gathering`]: all threads wait in their exit until the dump is done |
//! | `image` | which memory goes into the file |
//! | `place` | the file, or the program that reads the dump |
//! | `write` | notes, headers and contents, in the order of the file |
//! | `output` | bytes on their way out: limits, holes, and the end by SIGKILL |
//!
//! How names and headers look is the crate `corefile`, tested on the host.
//!
//! # Course
//! The thread that took the signal begins the end of its process; the others are killed as by exit_group, but on their
//! way out each notes its registers and waits. Then the thread writes, in its own address space, and lets all go.
//! Signals to the process are dropped meanwhile, except SIGKILL, which ends the dump.
//!
//! # Lock order
//! ```text
//! the process's signal lock
//!   Gathering::parked
//! ```
//! While a file or a pipe is written nothing is held.
//!
//! References: core(5), signal(7).

mod image;
mod output;
mod place;
mod settings;
mod threads;
mod write;

use core::sync::atomic::Ordering;

use abi::signal::SigInfo;

pub use settings::{
    pattern, pipe_limit, set_pattern, set_pipe_limit, set_suid_dumpable, set_uses_pid,
    suid_dumpable, uses_pid,
};
pub use threads::Gathering;

use self::place::Place;
use super::rlimit::{INFINITY, Resource};
use crate::net::netlink::connector;
use crate::signal;
use crate::sync::{CurrentTask, current};

/// `/proc/<pid>/coredump_filter` of a new program: private and shared anonymous memory, ELF headers, private huge pages.
pub const DEFAULT_FILTER: u32 = 0x33;
/// The bits that the filter has.
pub const FILTER_BITS: u32 = 0x1ff;

/// Dumps the running thread's process, which `info` ends, if it is to be dumped. Its other threads end, whatever comes of
/// that; the caller ends the process.
pub fn dump(info: &SigInfo) {
    let me = current();
    if connector::is_heard() {
        connector::coredump(&me);
    }
    let mode = me.process.dumpable.load(Ordering::Relaxed);
    if mode == 0 || me.is_kernel_thread() {
        return;
    }
    let Some(gathering) = Gathering::begin(&me, info) else {
        return;
    };
    let dumped = dump_gathered(&me, info, &gathering, mode);
    signal::end_dump(&me, dumped);
    gathering.release();
}

/// Finds the place and writes; true if there is a dump, whole or cut.
fn dump_gathered(me: &CurrentTask, info: &SigInfo, gathering: &Gathering, mode: u32) -> bool {
    let limit = me.process.rlimits.soft(Resource::Core);
    let Some(place) = Place::find(me, info, mode, limit) else {
        return false;
    };
    if signal::fatal_pending(me) {
        return false;
    }
    let limit = match place {
        Place::File(_) => limit,
        // A program that reads the dump decides about its size.
        Place::Pipe { .. } => INFINITY,
    };
    let dumped = write::write(me, info, gathering, place.file(), limit);
    place.close();
    dumped
}
