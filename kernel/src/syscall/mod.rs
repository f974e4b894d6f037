//! System calls: from a number to a handler.
//!
//! | module | what |
//! |---|---|
//! | `table` | the single source: number, name, arguments, handler, support level, note |
//! | `args` | what register values become: integers, pointers, strings |
//! | `counters` | calls and failures of each, a CPU at a time |
//! | `work` | tracers and filters between a watched thread's call and its handler |
//! | families | thin handlers: decode in ABI order, refuse unknown bits, call one subsystem, copy out |
//!
//! Nobody imports this module but `arch` (the dispatcher) and `fs::proc` (the counters).
//!
//! # Invariants
//! - A handler runs with interrupts on and no lock held.
//! - No argument can panic a handler; an answer outside `-4095..0` is success.
//! - Restart codes leave a handler only as errors, and never reach user space: they bring `WORK_SIGNAL` with them.

mod aio;
mod args;
pub mod counters;
pub mod table;

pub mod cred;
mod epoll;
mod fd;
mod file;
mod futex;
mod handle;
mod inotify;
mod ioperm;
mod ioprio;
mod limits;
mod mempolicy;
mod message;
pub mod mm;
mod mount;
mod mqueue;
mod path;
mod pidfd;
mod pipe;
mod pkey;
mod poll;
mod prctl;
mod prctl_mm;
mod process;
mod random;
mod remote;
mod rseq;
mod sched;
mod seccomp;
mod signal;
mod socket;
mod sockopt;
mod stat;
mod swap;
mod system;
mod sysv;
mod time;
mod timerfd;
mod work;
mod xattr;

pub use table::row;

use abi::{Errno, Result};

use crate::arch::{self, UserRegs};
use crate::sync::current;

/// What a table row runs.
pub type Handler = fn(&mut UserRegs) -> Result<usize>;

/// The call that was asked for: the register's lower half, as on Linux.
#[inline]
fn number(regs: &UserRegs) -> usize {
    regs.orig_rax as u32 as usize
}

/// Runs the call that `regs.orig_rax` names and stores its answer in `regs.rax`.
#[inline]
pub fn dispatch(regs: &mut UserRegs) {
    if current().arch.syscall_work() == 0 {
        call(regs);
    } else {
        work::dispatch(regs);
    }
}

/// Calls the handler, whoever watches.
#[inline(always)]
fn call(regs: &mut UserRegs) {
    let number = number(regs);
    let counters = counters::here();
    match table::HANDLERS.get(number) {
        Some(handler) => {
            counters.called(number);
            match handler(regs) {
                Ok(value) => regs.rax = value as u64,
                Err(errno) => failed(regs, number, errno),
            }
        }
        None => regs.rax = Errno::ENOSYS.as_return() as u64,
    }
}

#[inline(never)]
fn failed(regs: &mut UserRegs, number: usize, errno: Errno) {
    regs.rax = errno.as_return() as u64;
    if errno.is_restart() {
        // The signal may have been taken by another thread since; the restart is due all the same.
        current().arch.mark(arch::WORK_SIGNAL);
    } else {
        counters::here().failed(number);
    }
}

/// The handler of numbers without a call: says so once per process and call in the log.
fn missing(regs: &mut UserRegs) -> Result<usize> {
    let number = number(regs);
    let task = current();
    if task.process.first_missing_call(number) {
        let name = row(number).map_or("?", |row| row.name);
        let comm = task.comm();
        let comm = core::str::from_utf8(&comm)
            .unwrap_or("?")
            .trim_end_matches('\0');
        log::info!(
            "{comm}[{}]: system call {name} ({number}) is not implemented",
            task.tid()
        );
    }
    Err(Errno::ENOSYS)
}
