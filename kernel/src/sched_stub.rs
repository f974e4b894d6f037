//! Stand-ins until the scheduler, tasks, signals and system calls are linked in.

pub mod sched {
    pub const TICK_NS: u64 = 4_000_000;
    pub fn finish_first_switch() {}
    pub fn on_reschedule_ipi() {}
    pub fn tick(_from_user: bool) {}
    pub fn cond_resched() {}
    pub fn yield_now() {}
}
pub mod syscall {
    pub fn dispatch(_regs: &mut crate::arch::UserRegs) {}
}
pub mod task {
    pub fn exit_to_user_work(_regs: &mut crate::arch::UserRegs) {}
}
pub mod signal {
    pub fn force_exception(_signo: i32, _code: i32, _addr: u64, _trapno: u64, _error: u64) {}
}
