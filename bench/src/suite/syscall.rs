//! Calls that do next to nothing: the way into the kernel and back.

use super::{Case, Test, each};
use crate::problem::{Outcome, expect};
use crate::sys;

pub static TESTS: &[Test] = &[Test::new("getpid", 20_000, "getpid()", getpid).quick()];

fn getpid() -> Outcome<Box<dyn Case>> {
    let pid = sys::getpid();
    each(move || expect("getpid", sys::getpid(), pid))
}
