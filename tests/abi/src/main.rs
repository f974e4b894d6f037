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

mod cred;
mod devpts;
mod dnotify;
mod event;
mod file;
mod futex;
mod inotify;
mod lease;
mod memory;
mod mount;
mod pairs;
mod path;
mod pipe;
mod poll;
mod probe;
mod proc;
mod process;
mod rseq;
mod rw;
mod sched;
mod schedule;
mod sigio;
mod signal;
mod system;
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
    ("futex", futex::plain::CASES),
    ("futex", futex::many::CASES),
    ("futex", futex::pi::CASES),
    ("futex", futex::requeue::CASES),
    ("rseq", rseq::CASES),
    ("pairs", pairs::exec::CASES),
    ("pairs", pairs::fork::CASES),
    ("pairs", pairs::vfork::CASES),
    ("pairs", pairs::wait::CASES),
    ("pairs", pairs::stop::CASES),
    ("pairs", pairs::memory::CASES),
    ("pairs", pairs::group::CASES),
    ("pairs", pairs::signal::CASES),
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
    ("sched", schedule::CASES),
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
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--probe") {
        std::process::exit(probe::run(arguments));
    }
    harness::main(FAMILIES);
}
