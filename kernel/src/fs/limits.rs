//! The resource limits of the running process that file operations obey.

use abi::signal::Signo;

use crate::signal;
use crate::task;
use crate::task::rlimit::Resource;

/// `RLIMIT_FSIZE` in bytes.
pub fn file_size() -> u64 {
    task::current().process.rlimits.soft(Resource::Fsize)
}

/// Tells the running thread that it went over [`file_size`].
pub fn send_sigxfsz() {
    send(Signo::XFSZ);
}

/// Tells the running thread that it wrote to nobody.
pub fn send_sigpipe() {
    send(Signo::PIPE);
}

fn send(signo: Signo) {
    // As if the thread had sent it itself (SI_USER). A standard signal is always accepted.
    let _ = signal::send_to_current(signal::info_from_current(signo, false));
}
