//! News of a child for its parent: the contents of SIGCHLD, and whether anybody wants them.

use alloc::sync::Arc;

use abi::signal::{SaFlags, SigInfo, Signo, cld};

use super::send::send_to_process;
use crate::task::Process;

/// Nanoseconds of a clock tick as `siginfo_t` and `times` count (`USER_HZ` is 100).
const TICK_NS: u64 = 10_000_000;

/// SIGCHLD's siginfo: the sender is the child, with its real uid and the CPU time of the whole process.
pub fn child_info(process: &Arc<Process>, code: i32, status: i32) -> SigInfo {
    let usage = process.rusage();
    let (utime, stime) = (usage.user_ns / TICK_NS, usage.system_ns / TICK_NS);
    SigInfo::child(
        code,
        process.pid.0,
        process.uid(),
        status,
        utime as i64,
        stime as i64,
    )
}

/// What becomes of a child that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildFate {
    /// It stays a zombie until the parent waits.
    Zombie,
    /// The parent has SIGCHLD set to SIG_IGN or SA_NOCLDWAIT: it is reaped at once.
    Reaped,
}

/// Tells `parent` that `process` has ended with the wait status `status`, by `exit_signal` (0 for none). The parent's
/// waiters are woken by the caller, after it has published the new state.
pub fn child_exit(
    process: &Arc<Process>,
    parent: &Arc<Process>,
    exit_signal: Option<Signo>,
    status: i32,
) -> ChildFate {
    let Some(signo) = exit_signal else {
        return ChildFate::Zombie;
    };
    let (code, value) = match status & 0x7f {
        0 => (cld::EXITED, status >> 8 & 0xff),
        signal if status & 0x80 != 0 => (cld::DUMPED, signal),
        signal => (cld::KILLED, signal),
    };
    let mut fate = ChildFate::Zombie;
    let mut wanted = true;
    if signo == Signo::CHLD {
        let action = parent.signal.hand.get().get(Signo::CHLD);
        if action.is_ignore() || action.has(SaFlags::NOCLDWAIT) {
            fate = ChildFate::Reaped;
            wanted = !action.is_ignore();
        }
    }
    if wanted {
        let mut info = child_info(process, code, value);
        info.si_signo = signo.as_i32();
        // Its code is the kernel's, so that no limit refuses it.
        let _ = send_to_process(parent, info);
    }
    fate
}
