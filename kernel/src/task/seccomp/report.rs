//! What is said about judged calls in the log, and which actions are.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::seccomp::{
    AUDIT_ARCH_X86_64, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS,
    SECCOMP_RET_KILL_THREAD, SECCOMP_RET_LOG, SECCOMP_RET_TRACE, SECCOMP_RET_TRAP,
    SECCOMP_RET_USER_NOTIF,
};
use abi::signal::Signo;
use abi::{Errno, Result};

use crate::arch::UserRegs;
use crate::task::current;
use crate::time;

/// The actions there are, the strictest first, with their names in `/proc/sys/kernel/seccomp`.
pub const ACTIONS_AVAILABLE: [(u32, &str); 8] = [
    (SECCOMP_RET_KILL_PROCESS, "kill_process"),
    (SECCOMP_RET_KILL_THREAD, "kill_thread"),
    (SECCOMP_RET_TRAP, "trap"),
    (SECCOMP_RET_ERRNO, "errno"),
    (SECCOMP_RET_USER_NOTIF, "user_notif"),
    (SECCOMP_RET_TRACE, "trace"),
    (SECCOMP_RET_LOG, "log"),
    (SECCOMP_RET_ALLOW, "allow"),
];

/// What is logged, a bit for each of the actions: all but `allow` at first.
static LOGGED: AtomicU32 = AtomicU32::new(0x7f);

/// So many lines are written within so long, as Linux's `printk_ratelimit`: programs must not flood the log.
const BURST: u32 = 10;
const INTERVAL_NS: u64 = 5_000_000_000;
static SINCE_NS: AtomicU64 = AtomicU64::new(0);
static WRITTEN: AtomicU32 = AtomicU32::new(0);

/// Whether filters may answer with this action.
pub fn is_available(action: u32) -> bool {
    ACTIONS_AVAILABLE.iter().any(|(known, _)| *known == action)
}

/// The names of the actions that are logged.
pub fn actions_logged() -> impl Iterator<Item = &'static str> {
    let logged = LOGGED.load(Ordering::Relaxed);
    let numbered = ACTIONS_AVAILABLE.iter().enumerate();
    numbered.filter_map(move |(index, (_, name))| (logged >> index & 1 != 0).then_some(*name))
}

/// Says which actions are logged.
///
/// # Errors
/// `EINVAL` for a name that is none, and for `allow`.
pub fn set_actions_logged(names: &str) -> Result<()> {
    let mut logged = 0;
    for name in names.split(' ').take_while(|name| !name.is_empty()) {
        let index = ACTIONS_AVAILABLE
            .iter()
            .position(|(action, known)| *known == name && *action != SECCOMP_RET_ALLOW);
        logged |= 1 << index.ok_or(Errno::EINVAL)?;
    }
    LOGGED.store(logged, Ordering::Relaxed);
    Ok(())
}

fn is_logged(action: u32) -> bool {
    let index = ACTIONS_AVAILABLE
        .iter()
        .position(|(known, _)| *known == action);
    // What is no action kills the process.
    LOGGED.load(Ordering::Relaxed) >> index.unwrap_or(0) & 1 != 0
}

/// Whether there is room for another line.
fn may_write() -> bool {
    let now = time::monotonic_ns();
    if now.saturating_sub(SINCE_NS.load(Ordering::Relaxed)) > INTERVAL_NS {
        SINCE_NS.store(now, Ordering::Relaxed);
        WRITTEN.store(0, Ordering::Relaxed);
    }
    WRITTEN.fetch_add(1, Ordering::Relaxed) < BURST
}

/// A filter that asked for it (or one that answered SECCOMP_RET_LOG) decided about the call in `regs`.
pub(super) fn logged(regs: &UserRegs, action: u32, requested: bool) {
    if (requested || action == SECCOMP_RET_LOG) && is_logged(action) {
        write(regs, 0, action);
    }
}

/// The call in `regs` ends its thread or process.
pub(super) fn killed(regs: &UserRegs, signo: Signo, action: u32) {
    if is_logged(action) {
        write(regs, signo.get(), action);
    }
}

fn write(regs: &UserRegs, signo: u8, action: u32) {
    if !may_write() {
        return;
    }
    let me = current();
    let cred = me.my_cred();
    let comm = me.comm();
    let comm = core::str::from_utf8(&comm).unwrap_or("?");
    log::info!(
        "seccomp: pid={} uid={} gid={} comm={:?} sig={signo} arch={AUDIT_ARCH_X86_64:x} syscall={} ip={:#x} code={action:#x}",
        me.process.pid,
        cred.uid,
        cred.gid,
        comm.trim_end_matches('\0'),
        regs.orig_rax as i32,
        regs.rip,
    );
}
