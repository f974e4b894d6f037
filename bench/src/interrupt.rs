//! Ctrl-C: the running test is given up, and what is finished is kept.

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: i32) {
    ASKED.store(true, Ordering::Relaxed);
}

/// From now on Ctrl-C is noted instead of ending this process; the tests' processes it still ends.
pub fn listen() {
    // SAFETY: the handler does no more than store a flag.
    unsafe { libc::signal(libc::SIGINT, note as *const () as libc::sighandler_t) };
}

/// In a child: Ctrl-C ends it.
pub fn forget() {
    // SAFETY: the default action is always valid.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
}

pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
