//! What a task does on its way out to user space when a work bit is set.

use core::sync::atomic::Ordering;

use abi::signal::{SigInfo, Signo};

use crate::arch::{self, UserRegs};
use crate::mm::user::UserPtr;
use crate::sync::{CurrentTask, current};
use crate::{mm, sched, signal};

/// Called by the entry code with interrupts on, again until no bit is left.
pub fn exit_to_user_work(regs: &mut UserRegs) {
    let me = current();
    let work = me.arch.work();
    if work & arch::WORK_RESCHED != 0 {
        sched::schedule();
    }
    if work & arch::WORK_NOTIFY != 0 {
        me.arch.unmark(arch::WORK_NOTIFY);
        store_child_tid(&me);
    }
    if work & arch::WORK_RSEQ != 0 {
        me.arch.unmark(arch::WORK_RSEQ);
        if !super::rseq::resume(&me, regs) {
            signal::force_signal(SigInfo::kernel(Signo::SEGV));
        }
    }
    if work & arch::WORK_MEMORY != 0 {
        me.arch.unmark(arch::WORK_MEMORY);
        // The first process cannot be killed, and others may need it to go on.
        if !me.process.is_init() {
            // False: it is to die, which the signal sees to.
            let _ = mm::oom::pay_back();
        }
    }
    if work & arch::WORK_SIGNAL != 0 {
        me.arch.unmark(arch::WORK_SIGNAL);
        signal::deliver(regs);
    }
}

/// `CLONE_CHILD_SETTID`: a new thread stores its number in its own memory before it runs; a bad address is ignored.
fn store_child_tid(me: &CurrentTask) {
    let at = me.set_child_tid.swap(0, Ordering::Relaxed);
    if at != 0 {
        let _ = UserPtr::<i32>::from(at).write(&me.tid().0);
    }
}
