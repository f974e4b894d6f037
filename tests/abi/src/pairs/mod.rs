//! Pairs: what one part of the process interface does while another is at work. Each part has its own family for what it
//! does alone; two that each deviate a little make failures that nobody can explain.
//!
//! | module | what meets signals pending, threads running, timers armed |
//! |---|---|
//! | [`exec`] | execve |
//! | [`fork`] | fork |
//! | [`vfork`] | vfork, whose parent sleeps |
//! | [`wait`] | wait4 and waitid |
//! | [`stop`] | job control |
//! | [`memory`] | mprotect, munmap and copy-on-write under running threads |
//! | [`group`] | the end of a process whose threads are all over the kernel |
//! | [`orphan`] | the end of a parent, or of the thread that forked |
//! | [`signal`] | signals and threads |

pub mod exec;
pub mod fork;
pub mod group;
pub mod memory;
pub mod orphan;
pub mod signal;
pub mod stop;
pub mod vfork;
pub mod wait;

use std::sync::atomic::{AtomicU32, Ordering};

use crate::check::*;
use crate::sys::*;

/// The set with these signals as `/proc` writes it.
pub fn hex(signals: &[i32]) -> String {
    format!("{:016x}", set_of(signals))
}

/// Words in memory that processes share.
pub struct Board(usize);

impl Board {
    pub fn new() -> Sys<Board> {
        map_shared(PAGE).map(Board)
    }

    pub fn word(&self, index: usize) -> &'static AtomicU32 {
        word(self.0 + 4 * index)
    }

    pub fn set(&self, index: usize, value: u32) {
        self.word(index).store(value, Ordering::SeqCst);
    }

    pub fn get(&self, index: usize) -> u32 {
        self.word(index).load(Ordering::SeqCst)
    }

    pub fn addr(&self) -> usize {
        self.0
    }

    /// Waits until a word is not zero.
    pub fn await_set(&self, index: usize) {
        while self.get(index) == 0 {
            nap();
        }
    }
}

/// Waits until a thread of a process is in one of these states.
pub fn await_thread(pid: i32, tid: i32, states: &str) -> Outcome {
    loop {
        let text = text_of(&format!("/proc/{pid}/task/{tid}/stat"))?;
        let after = text.rsplit(") ").next().unwrap_or_default();
        if states.contains(after.chars().next().unwrap_or('?')) {
            return Ok(());
        }
        nap();
    }
}

pub fn gettid() -> i32 {
    sys!(SYS_gettid).unwrap_or(0) as i32
}

/// Sleeps for good.
pub fn sleep_on() -> ! {
    loop {
        let _ = sys!(SYS_pause);
    }
}

/// A timer that sends SIGALRM once, so many milliseconds from now.
pub fn alarm_in_ms(ms: i64) -> Sys {
    let soon = libc::itimerval {
        it_interval: zeroed(),
        it_value: libc::timeval {
            tv_sec: ms / 1000,
            tv_usec: ms % 1000 * 1000,
        },
    };
    sys!(SYS_setitimer, libc::ITIMER_REAL, &soon, 0)
}

pub fn sleep_ms(ms: i64) -> Sys {
    let time = libc::timespec {
        tv_sec: ms / 1000,
        tv_nsec: ms % 1000 * 1_000_000,
    };
    sys!(SYS_nanosleep, &time, 0)
}

pub fn kill(pid: i32, signal: i32) -> Sys {
    sys!(SYS_kill, pid, signal)
}

/// The child ends by itself with status 0.
#[track_caller]
pub fn ends_well(pid: i32) -> Outcome {
    equal(wait(pid)?, 0)
}

/// The child dies of a signal, with or without a core.
#[track_caller]
pub fn dies_of(pid: i32, signal: i32) -> Outcome {
    equal(wait(pid)? & !0x80, signal)
}
