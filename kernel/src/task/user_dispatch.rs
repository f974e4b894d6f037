//! System call user dispatch: calls that are not made from a range of code become SIGSYS, so that a program can answer
//! another system's calls itself (`PR_SET_SYSCALL_USER_DISPATCH`).
//!
//! Neighbours: `syscall::work` asks before anybody else sees the call; a program forgets it at exec, a child at fork.
//!
//! References: prctl(2), Linux `Documentation/admin-guide/syscall-user-dispatch.rst`.

use core::sync::atomic::{AtomicUsize, Ordering};

use abi::seccomp::AUDIT_ARCH_X86_64;
use abi::signal::{SigInfo, Signo};
use abi::{Errno, Result};

use super::Task;
use crate::arch::{self, UserRegs};
use crate::mm::USER_END;
use crate::mm::user::UserPtr;
use crate::signal;
use crate::sync::{CurrentTask, current};

const PR_SYS_DISPATCH_OFF: usize = 0;
const PR_SYS_DISPATCH_ON: usize = 1;
/// What the selector's byte says: calls go through, or become signals.
const ALLOW: u8 = 0;
const BLOCK: u8 = 1;
/// `si_code` of such a SIGSYS.
const SYS_USER_DISPATCH: i32 = 2;

/// A thread's range and selector. Changed and read by the thread itself.
#[derive(Default)]
pub struct UserDispatch {
    offset: AtomicUsize,
    len: AtomicUsize,
    /// Where the byte is; 0 for none: always a signal.
    selector: AtomicUsize,
}

/// `PR_SET_SYSCALL_USER_DISPATCH`.
///
/// # Errors
/// `EINVAL` for a mode that is none or arguments that make no range, `EFAULT` for a selector that cannot be.
pub fn set(mode: usize, offset: usize, len: usize, selector: usize) -> Result<()> {
    let me = current();
    match mode {
        PR_SYS_DISPATCH_OFF if (offset, len, selector) != (0, 0, 0) => return Err(Errno::EINVAL),
        PR_SYS_DISPATCH_OFF => clear(&me),
        PR_SYS_DISPATCH_ON => {
            if offset != 0 && offset.wrapping_add(len) <= offset {
                return Err(Errno::EINVAL);
            }
            if selector >= USER_END {
                return Err(Errno::EFAULT);
            }
            let set = &me.user_dispatch;
            set.offset.store(offset, Ordering::Relaxed);
            set.len.store(len, Ordering::Relaxed);
            set.selector.store(selector, Ordering::Relaxed);
            me.arch.watch_syscalls(arch::SYSCALL_DISPATCH);
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

/// Exec and the mode OFF: all calls are calls.
pub fn clear(task: &Task) {
    task.arch.unwatch_syscalls(arch::SYSCALL_DISPATCH);
}

/// Whether the call in `regs` became a signal.
pub fn intercepts(me: &CurrentTask, regs: &mut UserRegs) -> bool {
    let set = &me.user_dispatch;
    let from_start = (regs.rip as usize).wrapping_sub(set.offset.load(Ordering::Relaxed));
    if from_start < set.len.load(Ordering::Relaxed) {
        return false;
    }
    let selector = UserPtr::<u8>::from(set.selector.load(Ordering::Relaxed));
    match selector.read_opt() {
        Ok(Some(ALLOW)) => return false,
        Ok(None | Some(BLOCK)) => {}
        Ok(Some(_)) => signal::die(&SigInfo::kernel(Signo::SYS)),
        Err(_) => signal::die(&SigInfo::kernel(Signo::SEGV)),
    }
    // The handler finds the registers as they were before the call.
    regs.rax = regs.orig_rax;
    let mut info = SigInfo::sys(regs.rip, regs.orig_rax as i32, AUDIT_ARCH_X86_64, 0);
    info.si_code = SYS_USER_DISPATCH;
    signal::force_signal(info);
    true
}
