//! Futexes beyond waiting and waking: what waits, how, and locks with priority inheritance.
//!
//! | module | what |
//! |---|---|
//! | [`plain`] | keys, clocks, restarts, FUTEX_WAKE_OP, the order of waking |
//! | [`many`] | futex_waitv, and the calls of Linux 6.7 |
//! | [`pi`] | FUTEX_LOCK_PI and its kin |
//! | [`requeue`] | FUTEX_WAIT_REQUEUE_PI and FUTEX_CMP_REQUEUE_PI |

pub mod many;
pub mod pi;
pub mod plain;
pub mod requeue;

use std::sync::atomic::Ordering;

use crate::check::*;
use crate::sys::*;

pub const WAITERS: u32 = 0x8000_0000;
pub const OWNER_DIED: u32 = 0x4000_0000;
const PRIVATE: i32 = 128;
const REALTIME: i32 = 256;

/// A call whose last three arguments do not matter.
pub fn futex(addr: usize, op: i32, value: u32) -> Sys {
    sys!(SYS_futex, addr, op, value, 0, 0, 0)
}

pub fn load(addr: usize) -> u32 {
    word(addr).load(Ordering::SeqCst)
}

pub fn store(addr: usize, value: u32) {
    word(addr).store(value, Ordering::SeqCst);
}

/// The time on a clock, so many milliseconds from now.
pub fn in_ms(clock: i32, ms: i64) -> Sys<libc::timespec> {
    let mut time = zeroed::<libc::timespec>();
    sys!(SYS_clock_gettime, clock, &mut time)?;
    let ns = time.tv_nsec + ms * 1_000_000;
    time.tv_sec += ns.div_euclid(1_000_000_000);
    time.tv_nsec = ns.rem_euclid(1_000_000_000);
    Ok(time)
}

/// A child that runs `body` and sleeps in it; answers once it does.
pub fn sleeper(body: impl FnOnce() -> i32) -> Outcome<i32> {
    let pid = fork(body)?;
    await_state(pid, "S")?;
    Ok(pid)
}

/// The child has ended with status 0.
#[track_caller]
pub fn ends_well(pid: i32) -> Outcome {
    equal(wait(pid)?, 0)
}

/// 0 if the call answers this, a status that says so if not.
pub fn status_of(got: Sys, want: Sys) -> i32 {
    match (got, want) {
        (got, want) if got == want => 0,
        (Err(Errno(errno)), _) => errno,
        (Ok(_), _) => 200,
    }
}
