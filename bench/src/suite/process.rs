//! Fork, exec, exit, threads.

use super::{Case, Test, each};
use crate::problem::{Outcome, expect, good};
use crate::sys;

pub static TESTS: &[Test] = &[Test::new(
    "fork_exit",
    300,
    "fork(), exit_group() in the child, wait4() for it",
    fork_exit,
)
.quick()];

/// The child's status, so that it is seen to have run.
const STATUS: i32 = 7;

fn fork_exit() -> Outcome<Box<dyn Case>> {
    each(|| {
        let pid = good("fork", sys::fork())?;
        if pid == 0 {
            sys::exit(STATUS);
        }
        reap(pid, STATUS)
    })
}

/// Waits for a child that exits with `status`.
pub fn reap(pid: isize, status: i32) -> Outcome {
    let mut got = 0;
    expect("wait4", sys::wait4(pid as i32, &mut got, 0, 0), pid)?;
    expect("the child's status", got as isize, (status << 8) as isize)
}
