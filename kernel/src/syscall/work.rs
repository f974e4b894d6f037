//! A watched thread's system call: tracer and filters before the handler, the tracer after it.
//!
//! The order is Linux's (`syscall_trace_enter`): the thread's own dispatch, by which a call becomes a signal, comes first
//! and hides the call from everybody else. Then the tracer's entry stop, which may change the number and the arguments;
//! the filters judge what it left; the handler runs; the tracer's exit stop comes last and may change the answer. A
//! number of -1 after either means that the call is not made and that `rax` already holds the answer.
//!
//! A tracer changes the registers behind the reference that this thread has to them, so a stop is followed by a
//! `black_box`: nothing read before it is relied on.
//!
//! References: ptrace(2) "Syscall-stops", seccomp(2).

use core::hint::black_box;

use super::call;
use crate::arch::{self, UserRegs};
use crate::sync::current;
use crate::task::{ptrace, seccomp, user_dispatch};

/// Runs the call of a thread whose `syscall_work` is not empty.
#[cold]
pub(super) fn dispatch(regs: &mut UserRegs) {
    let me = current();
    let dispatches = me.arch.syscall_work() & arch::SYSCALL_DISPATCH != 0;
    if dispatches && user_dispatch::intercepts(&me, regs) {
        return;
    }
    if enter(regs) {
        call(regs);
    }
    ptrace::syscall_exit(regs);
}

/// The tracer's entry stop and the filters; false when the call is not to be made.
fn enter(regs: &mut UserRegs) -> bool {
    if !ptrace::syscall_entry() {
        return false;
    }
    let regs = black_box(regs);
    // Asked now, since the stop may have been long: another thread may have brought filters meanwhile.
    let me = current();
    let filtered = me.arch.syscall_work() & arch::SYSCALL_SECCOMP != 0;
    if filtered && !me.ptrace.suspends_seccomp() && !seccomp::judge(regs) {
        return false;
    }
    regs.orig_rax as i32 != -1
}
