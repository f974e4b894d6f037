//! Single steps of a frozen tracee. The processor does them by the trap flag; what is to be known here is whose flag it
//! is, and that a step over `syscall` ends after the call.

use crate::arch;
use crate::task::Task;

/// The longest instruction.
const MAX_INSTRUCTION: usize = 15;

/// The tracee's next instruction, or next branch, traps.
pub(super) fn enable(task: &Task, to_branch: bool) {
    let mut regs = task.arch.user_regs();
    let sets_tf = loads_flags(task, regs.rip);
    task.arch.enable_step(&mut regs, to_branch, sets_tf);
    task.arch.set_user_regs(&regs);
    task.arch.watch_syscalls(arch::SYSCALL_STEP);
}

/// No more steps.
pub(super) fn disable(task: &Task) {
    let mut regs = task.arch.user_regs();
    task.arch.disable_step(&mut regs);
    task.arch.set_user_regs(&regs);
    task.arch.unwatch_syscalls(arch::SYSCALL_STEP);
}

/// Whether the instruction is one that loads the flags: `popf` or `iret`.
fn loads_flags(task: &Task, rip: u64) -> bool {
    let mut bytes = [0; MAX_INSTRUCTION];
    let Ok(at) = usize::try_from(rip) else {
        return false;
    };
    let read = task.mm().map_or(0, |mm| mm.read_remote(at, &mut bytes));
    let instruction = bytes.get(..read).unwrap_or_default();
    let is_prefix = |byte: &u8| matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3);
    let opcode = instruction.iter().find(|byte| !is_prefix(byte));
    matches!(opcode, Some(0x9d | 0xcf))
}
