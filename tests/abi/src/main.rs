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
mod caps;
mod chattr;
mod core;
mod cred;
mod deadline;
mod devpts;
mod dnotify;
mod event;
mod file;
mod futex;
mod handle;
mod inet;
mod inotify;
mod ioperm;
mod lease;
mod memory;
mod mount;
mod mqueue;
mod netlink;
mod packet;
mod pairs;
mod path;
mod pidfd;
mod pipe;
mod poll;
mod prctl;
mod probe;
mod proc;
mod process;
mod program;
mod ptrace;
mod rlimit;
mod rseq;
mod rtc;
mod rw;
mod sched;
mod schedule;
mod seccomp;
mod settings;
mod sigio;
mod signal;
mod swap;
mod system;
mod sysv;
mod thread;
mod timer;
mod tty;
mod unix;
mod uts;
mod walks;
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
    ("pairs", pairs::orphan::CASES),
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
    ("memory", memory::edges::CASES),
    ("memory", memory::flags::CASES),
    ("memory", memory::remap::CASES),
    ("memory", memory::hints::CASES),
    ("memory", memory::lock::CASES),
    ("memory", memory::seal::CASES),
    ("memory", memory::commit::CASES),
    ("memory", memory::races::CASES),
    ("memory", memory::sleeper::CASES),
    ("memory", memory::pkey::CASES),
    ("memory", memory::policy::CASES),
    ("memory", memory::pages::CASES),
    ("memory", memory::names::CASES),
    ("memory", memory::uffd::CASES),
    ("memory", memory::sealed::CASES),
    ("memory", memory::hostile::CASES),
    ("file", file::open::CASES),
    ("file", file::content::CASES),
    ("file", file::attributes::CASES),
    ("file", file::descriptors::CASES),
    ("path", path::CASES),
    ("devpts", devpts::CASES),
    ("lease", lease::CASES),
    ("mount", mount::CASES),
    ("handle", handle::CASES),
    ("netlink", netlink::socket::CASES),
    ("netlink", netlink::cookie::CASES),
    ("netlink", netlink::connector::CASES),
    ("netlink", netlink::generic::CASES),
    ("netlink", netlink::route::CASES),
    ("netlink", netlink::uevent::CASES),
    ("chattr", chattr::CASES),
    ("swap", swap::CASES),
    ("ioperm", ioperm::CASES),
    ("pipe", pipe::CASES),
    ("sigio", sigio::CASES),
    ("proc", proc::CASES),
    ("program", program::CASES),
    ("event", event::CASES),
    ("unix", unix::CASES),
    ("inet", inet::interface::CASES),
    ("inet", inet::udp::CASES),
    ("inet", inet::tcp::CASES),
    ("inet", inet::stream::CASES),
    ("inet", inet::cork::CASES),
    ("inet", inet::urgent::CASES),
    ("inet", inet::raw::CASES),
    ("inet", inet::proc::CASES),
    ("packet", packet::CASES),
    ("packet", packet::filter::CASES),
    ("packet", packet::send::CASES),
    ("inotify", inotify::CASES),
    ("cred", cred::CASES),
    ("sched", sched::CASES),
    ("sched", schedule::CASES),
    ("settings", settings::CASES),
    ("timer", timer::CASES),
    ("system", system::CASES),
    ("uts", uts::CASES),
    ("path", walks::CASES),
    ("xattr", xattr::CASES),
    ("poll", poll::CASES),
    ("rw", rw::CASES),
    ("tty", tty::line::CASES),
    ("tty", tty::pair::CASES),
    ("tty", tty::job::CASES),
    ("tty", tty::hangup::CASES),
    ("deadline", deadline::CASES),
    ("dnotify", dnotify::CASES),
    ("rtc", rtc::CASES),
    ("caps", caps::CASES),
    ("prctl", prctl::CASES),
    ("rlimit", rlimit::CASES),
    ("core", core::content::CASES),
    ("core", core::place::CASES),
    ("core", core::course::CASES),
    ("seccomp", seccomp::mode::CASES),
    ("seccomp", seccomp::answer::CASES),
    ("seccomp", seccomp::filter::CASES),
    ("seccomp", seccomp::wrong::CASES),
    ("seccomp", seccomp::share::CASES),
    ("seccomp", seccomp::notify::CASES),
    ("sysv", sysv::shm::CASES),
    ("sysv", sysv::sem::CASES),
    ("sysv", sysv::msg::CASES),
    ("sysv", sysv::sleep::CASES),
    ("sysv", sysv::limit::CASES),
    ("mqueue", mqueue::CASES),
    ("ptrace", ptrace::attach::CASES),
    ("ptrace", ptrace::calls::CASES),
    ("ptrace", ptrace::signals::CASES),
    ("ptrace", ptrace::group::CASES),
    ("ptrace", ptrace::events::CASES),
    ("ptrace", ptrace::filters::CASES),
    ("ptrace", ptrace::regs::CASES),
    ("ptrace", ptrace::memory::CASES),
    ("ptrace", ptrace::step::CASES),
    ("ptrace", ptrace::threads::CASES),
    ("ptrace", ptrace::kin::CASES),
    ("ptrace", ptrace::hostile::CASES),
    ("pidfd", pidfd::CASES),
    ("aio", aio::CASES),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--probe") {
        std::process::exit(probe::run(arguments));
    }
    harness::main(FAMILIES);
}
