//! The Rust side of `entry.s`: binds names and offsets, sets the system-call registers, and does the slow way out.

use core::mem::offset_of;
use core::sync::atomic::Ordering;

use super::thread::{self, LOCAL_FPU, UserRegs, WORK_EXIT};
use super::{cpu, descriptors, fpu, irq, msr, trap};

core::arch::global_asm!(
    include_str!("entry.s"),
    user_rsp = const cpu::USER_RSP,
    rsp0 = const cpu::RSP0,
    current = const cpu::CURRENT,
    user_ss = const descriptors::USER_SS as i32,
    user_cs = const descriptors::USER_CS as i32,
    dispatch = sym syscall,
    exit_slow = sym exit_slow,
    exception_user = sym trap::exception_user,
    exception_kernel = sym trap::exception_kernel,
    page_fault_user = sym trap::page_fault_user,
    page_fault_kernel = sym trap::page_fault_kernel,
    bad_iret = sym trap::bad_iret,
    bad_iret_signal = sym trap::bad_iret_signal,
    interrupt = sym irq::interrupt,
    paranoid = sym trap::paranoid,
    finish_first_switch = sym finish_first_switch,
);

const _: () = {
    assert!(offset_of!(UserRegs, rdi) == 112);
    assert!(offset_of!(UserRegs, rip) == 128);
    assert!(offset_of!(UserRegs, cs) == 136);
    assert!(size_of::<UserRegs>() == 168);
};

unsafe extern "C" {
    fn syscall_entry();
    fn syscall32_entry();
    pub(super) static exception_stubs: u8;
    pub(super) static interrupt_stubs: u8;
    pub(super) fn switch_stacks(save: *mut u64, load: u64);
    pub(super) fn user_thread_start();
    pub(super) fn kernel_thread_start();
    pub(super) fn enter_user_asm(regs: *mut UserRegs) -> !;
}

extern "C" fn syscall(regs: &mut UserRegs) {
    crate::syscall::dispatch(regs);
}

extern "C" fn finish_first_switch() {
    crate::sched::finish_first_switch();
}

/// The way out when something is to be done first. Entered and left with interrupts off.
extern "C" fn exit_slow(regs: &mut UserRegs) {
    let thread = thread::current();
    while thread.work.load(Ordering::Acquire) & WORK_EXIT != 0 {
        irq::enable();
        crate::task::exit_to_user_work(regs);
        irq::disable();
    }
    if thread.local.load(Ordering::Relaxed) & LOCAL_FPU != 0 {
        fpu::load(thread);
    }
}

/// Sets this CPU's system-call registers.
pub(super) fn init_syscalls() {
    /// IF, DF, TF, AC, NT, IOPL, RF, ID and the arithmetic flags, as Linux.
    const MASK: u64 = 0x25_7fd5;
    let star = u64::from(descriptors::USER_CS32) << 48 | u64::from(descriptors::KERNEL_CS) << 32;
    // SAFETY: every 64-bit processor has these; the entry follows the ABI that they set up. EFER keeps its other bits.
    unsafe {
        msr::write(msr::STAR, star);
        msr::write(msr::LSTAR, syscall_entry as *const () as u64);
        msr::write(msr::CSTAR, syscall32_entry as *const () as u64);
        msr::write(msr::FMASK, MASK);
        msr::write(msr::EFER, msr::read(msr::EFER) | 1);
    }
}
