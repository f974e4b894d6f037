//! Oracle tests of the Linux ABI: one static program that runs alike on Linux and on Ironbark.
//!
//! `abi-tests [PREFIX]` runs the cases whose `family/name` begins with PREFIX; `--list` names them.
//! Each case is a function that answers why it fails; it runs in a process, a process group and an
//! empty folder of its own, as root, and is killed when it takes too long. Nothing asserts timing:
//! a case waits for what must happen, and the limit catches what does not.
//!
//! For each case one line of JSON is printed, and at the end a line `N passed, N failed`.
//!
//! | module | what |
//! |---|---|
//! | [`harness`] | runs cases, reports results |
//! | [`check`] | how a case says what it expects |
//! | [`sys`] | raw system calls and helpers over them |
//! | the others | one family of cases each |

mod check;
mod harness;
#[macro_use]
mod sys;

mod event;
mod file;
mod inotify;
mod memory;
mod path;
mod pipe;
mod proc;
mod process;
mod signal;
mod thread;
mod tty;
mod unix;

use harness::Family;

/// Every family, in the order in which they run.
#[rustfmt::skip]
const FAMILIES: &[Family] = &[
    ("process", process::CASES),
    ("thread", thread::CASES),
    ("signal", signal::CASES),
    ("memory", memory::CASES),
    ("file", file::CASES),
    ("path", path::CASES),
    ("pipe", pipe::CASES),
    ("proc", proc::CASES),
    ("event", event::CASES),
    ("unix", unix::CASES),
    ("inotify", inotify::CASES),
    ("tty", tty::line::CASES),
    ("tty", tty::pair::CASES),
    ("tty", tty::job::CASES),
    ("tty", tty::hangup::CASES),
];

fn main() {
    harness::main(FAMILIES);
}
