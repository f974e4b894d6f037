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

mod aio;
mod cred;
mod devpts;
mod dnotify;
mod event;
mod file;
mod inotify;
mod lease;
mod memory;
mod mount;
mod mqueue;
mod path;
mod pidfd;
mod pipe;
mod poll;
mod proc;
mod process;
mod rw;
mod sched;
mod sigio;
mod signal;
mod system;
mod sysv;
mod thread;
mod timer;
mod tty;
mod unix;
mod xattr;

use harness::Family;

/// Every family, in the order in which they run.
#[rustfmt::skip]
const FAMILIES: &[Family] = &[
    ("process", process::clone::CASES),
    ("process", process::wait::CASES),
    ("process", process::exit::CASES),
    ("process", process::group::CASES),
    ("thread", thread::CASES),
    ("signal", signal::action::CASES),
    ("signal", signal::info::CASES),
    ("signal", signal::frame::CASES),
    ("signal", signal::wait::CASES),
    ("signal", signal::send::CASES),
    ("memory", memory::map::CASES),
    ("memory", memory::size::CASES),
    ("memory", memory::advice::CASES),
    ("memory", memory::share::CASES),
    ("file", file::open::CASES),
    ("file", file::content::CASES),
    ("file", file::attributes::CASES),
    ("file", file::descriptors::CASES),
    ("path", path::CASES),
    ("devpts", devpts::CASES),
    ("lease", lease::CASES),
    ("mount", mount::CASES),
    ("pipe", pipe::CASES),
    ("sigio", sigio::CASES),
    ("proc", proc::CASES),
    ("event", event::CASES),
    ("unix", unix::CASES),
    ("inotify", inotify::CASES),
    ("cred", cred::CASES),
    ("sched", sched::CASES),
    ("timer", timer::CASES),
    ("system", system::CASES),
    ("xattr", xattr::CASES),
    ("poll", poll::CASES),
    ("rw", rw::CASES),
    ("tty", tty::line::CASES),
    ("tty", tty::pair::CASES),
    ("tty", tty::job::CASES),
    ("tty", tty::hangup::CASES),
    ("dnotify", dnotify::CASES),
    ("sysv", sysv::shm::CASES),
    ("sysv", sysv::sem::CASES),
    ("sysv", sysv::msg::CASES),
    ("sysv", sysv::sleep::CASES),
    ("sysv", sysv::limit::CASES),
    ("mqueue", mqueue::CASES),
    ("pidfd", pidfd::CASES),
    ("aio", aio::CASES),
];

fn main() {
    harness::main(FAMILIES);
}
