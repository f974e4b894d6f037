//! Processes: fork, vfork, clone, clone3, wait, exit, groups and sessions.
//!
//! | module | cases of |
//! |---|---|
//! | [`clone`] | fork, vfork, clone and clone3 |
//! | [`wait`] | wait4 and waitid |
//! | [`exit`] | The end of processes, and who is told of it |
//! | [`group`] | Process groups and sessions |

pub mod clone;
pub mod exit;
pub mod group;
pub mod wait;

use crate::check::*;
use crate::sys::*;

fn paused() -> Sys<i32> {
    fork(|| {
        loop {
            let _ = sys!(SYS_pause);
        }
    })
}

fn kill_and_wait(pid: i32) -> Outcome {
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    equal(wait(pid)?, libc::SIGKILL)
}
