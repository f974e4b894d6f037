//! A watched thread's system call: tracer and filters before the handler, the tracer after it.
//!
//! The order is Linux's (`syscall_trace_enter`): the tracer's entry stop comes first and may change the number and the
//! arguments; the filters judge what it left; the handler runs; the tracer's exit stop comes last and may change the
//! answer. A number of -1 after either means that the call is not made and that `rax` already holds the answer.
//!
//! References: ptrace(2) "Syscall-stops", seccomp(2).

use super::call;
use crate::arch::UserRegs;
use crate::task::ptrace;

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
    ptrace::syscall_entry() && regs.orig_rax as i32 != -1
}

/// The tracer's exit stop.
fn exit(regs: &mut UserRegs) {
    ptrace::syscall_exit(regs);
}
