//! What a task does on its way out to user space when a work bit is set.

use crate::arch::{self, UserRegs};
use crate::sync::current;
use crate::{sched, signal};

/// Called by the entry code with interrupts on, again until no bit is left.
pub fn exit_to_user_work(regs: &mut UserRegs) {
    let me = current();
    let work = me.arch.work();
    if work & arch::WORK_RESCHED != 0 {
        sched::schedule();
    }
    if work & arch::WORK_SIGNAL != 0 {
        me.arch.unmark(arch::WORK_SIGNAL);
        signal::deliver(regs);
    }
}
