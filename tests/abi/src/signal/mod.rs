//! Signals: dispositions, masks, queues, delivery, restart, frames, stop and continue.
//!
//! | module | cases of |
//! |---|---|
//! | [`action`] | Dispositions, masks and queues |
//! | [`info`] | What a signal tells: where it came from, and which fault it is |
//! | [`frame`] | The stack a handler runs on, and the frame there |
//! | [`wait`] | Waiting for signals, and calls that they interrupt |
//! | [`send`] | Sending: stop and continue, rights, groups and limits |

pub mod action;
pub mod frame;
pub mod info;
pub mod send;
pub mod wait;

use std::sync::atomic::AtomicUsize;

use crate::sys::*;

/// Queues a signal with a value to a process.
fn queue(pid: i32, signal: i32, value: i32) -> Sys {
    let mut info = [0_i32; 32];
    info[0] = signal;
    info[2] = libc::SI_QUEUE;
    info[4] = getpid();
    info[6] = value;
    sys!(SYS_rt_sigqueueinfo, pid, signal, &info)
}

fn value_of(info: &libc::siginfo_t) -> i32 {
    // SAFETY: the signal was queued with a value.
    unsafe { info.si_value().sival_ptr as usize as i32 }
}

static SEEN: AtomicUsize = AtomicUsize::new(0);
