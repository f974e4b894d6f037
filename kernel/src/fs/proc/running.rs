//! What a thread is doing in the kernel: `syscall` and `stack`.

use abi::{Errno, Result};

use super::subject::Target;
use super::text::Text;
use crate::arch::backtrace;
use crate::ksyms;
use crate::sched::TaskState;
use crate::task::{Cap, current};

/// The most frames that `stack` shows.
const STACK_DEPTH: usize = 64;

/// `syscall`: the call that a sleeping thread is in, its arguments, stack and instruction pointers.
pub fn syscall(target: &Target, out: &mut Text) -> Result<()> {
    let Some(task) = &target.task else {
        // Nothing is left that could be in a call.
        return writeln!(out, "-1 0x0 0x0");
    };
    if task.is_kernel_thread() {
        return writeln!(out, "0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0");
    }
    let is_current = core::ptr::eq(&raw const **task, &raw const *current());
    if !is_current && task.sched.state() == TaskState::Running {
        return writeln!(out, "running");
    }
    let regs = task.arch.user_regs();
    match regs.orig_rax as i32 {
        number @ 0.. => {
            write!(out, "{number}")?;
            for argument in [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] {
                write!(out, " {argument:#x}")?;
            }
        }
        none => write!(out, "{none}")?,
    }
    writeln!(out, " {:#x} {:#x}", regs.rsp, regs.rip)
}

/// `stack`: where in the kernel a sleeping thread is; for the super-user.
pub fn stack(target: &Target, out: &mut Text) -> Result<()> {
    if !current().my_cred().capable(Cap::SYS_ADMIN) {
        return Err(Errno::EACCES);
    }
    let Some(task) = &target.task else {
        return Ok(());
    };
    if task.sched.state() == TaskState::Running {
        return Ok(());
    }
    let mut result = Ok(());
    backtrace::walk_from(task.arch.saved_frame().1, STACK_DEPTH, |address| {
        if result.is_ok() {
            result = match ksyms::find_sized(address) {
                Some((name, offset, size)) => {
                    writeln!(out, "[<0>] {name}+{offset:#x}/{size:#x}")
                }
                None => writeln!(out, "[<0>] {address:#x}"),
            };
        }
    });
    result
}
