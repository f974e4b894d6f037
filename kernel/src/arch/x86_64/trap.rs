//! Exceptions: faults of user programs become signals, page faults go to `mm`, accesses of user memory by the kernel
//! have their fix-ups, and everything else of the kernel's is a panic.

use core::fmt;
use core::sync::atomic::Ordering;

use super::thread::UserRegs;
use super::{backtrace, cpu, debug, entry, fpu, ioperm, irq, layout, msr, uaccess};
use crate::mm::fault::{self, FaultAccess};
use crate::signal;

const SIGILL: i32 = 4;
const SIGTRAP: i32 = 5;
const SIGBUS: i32 = 7;
const SIGFPE: i32 = 8;
const SIGSEGV: i32 = 11;
/// `si_code` of a signal that the kernel made for reasons of its own.
const SI_KERNEL: i32 = 0x80;

const DEBUG: u8 = 1;
const NMI: u8 = 2;
const DOUBLE_FAULT: u8 = 8;
const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;

/// Bit of a page fault's error code.
const KEY_DENIED: u64 = 1 << 5;

const RFLAGS_IF: u64 = 1 << 9;
const RFLAGS_AC: u64 = 1 << 18;

/// An exception in user space.
pub(super) extern "C" fn exception_user(regs: &mut UserRegs, vector: u8) {
    let error = core::mem::replace(&mut regs.orig_rax, u64::MAX);
    // The processor's debug status is this CPU's: before anything can move the thread.
    let trap = match vector {
        DEBUG => debug::user_trap(regs),
        _ => None,
    };
    irq::enable();
    if vector == GENERAL_PROTECTION && ioperm::pass_over_cli(regs) {
        return;
    }
    let rip = regs.rip;
    let (signo, code, addr) = match vector {
        0 => (SIGFPE, 1, rip),
        DEBUG => match trap {
            Some(code) => (SIGTRAP, code, rip),
            None => return,
        },
        3 => (SIGTRAP, SI_KERNEL, 0),
        4 | 5 | 9 | 10 | GENERAL_PROTECTION => (SIGSEGV, SI_KERNEL, 0),
        6 => (SIGILL, 2, rip),
        11 | 12 => (SIGBUS, SI_KERNEL, 0),
        16 | 19 => (SIGFPE, float_code(vector == 19), rip),
        17 => (SIGBUS, 1, 0),
        _ => {
            ::log::warn!(
                "unexpected exception {vector} (error {error:#x}) in user space at {rip:#x}"
            );
            (SIGSEGV, SI_KERNEL, 0)
        }
    };
    signal::force_exception(signo, code, addr, vector.into(), error);
}

/// `si_code` of a SIGFPE by what the unit reports, the first in Linux's order.
fn float_code(simd: bool) -> i32 {
    let flags = fpu::exception_flags(simd);
    match flags {
        f if !simd && f & 0x41 == 0x41 => 8, // stack fault: FPE_FLTSUB
        f if f & 1 != 0 => 7,                // invalid
        f if f & 4 != 0 => 3,                // divide by zero
        f if f & 8 != 0 => 4,                // overflow
        f if f & 0x12 != 0 => 5,             // underflow, denormal
        f if f & 0x20 != 0 => 6,             // precision
        _ => SI_KERNEL,
    }
}

fn access_of(error: u64) -> FaultAccess {
    FaultAccess {
        write: error & 2 != 0,
        exec: error & 0x10 != 0,
        user: error & 4 != 0,
    }
}

/// A page fault in user space.
pub(super) extern "C" fn page_fault_user(regs: &mut UserRegs) {
    let addr = msr::cr2();
    let error = core::mem::replace(&mut regs.orig_rax, u64::MAX);
    irq::enable();
    // Bit 3: a reserved bit is set in a table. Never by a user's doing.
    if error & 8 != 0 {
        panic!("corrupt page table: address {addr:#x}, error {error:#x}");
    }
    // Bit 5: the page is there, and its protection key forbids the access.
    if error & KEY_DENIED != 0 {
        signal::force_key_fault(addr, fault::key_at(addr), PAGE_FAULT.into(), error);
        return;
    }
    if let Err(e) = fault::handle(addr, access_of(error)) {
        signal::force_exception(e.signal, e.code, addr, PAGE_FAULT.into(), error);
    }
}

/// A page fault in the kernel: only right when it touches user memory by the routines made for that.
pub(super) extern "C" fn page_fault_kernel(regs: &mut UserRegs) {
    let addr = msr::cr2();
    let error = core::mem::replace(&mut regs.orig_rax, u64::MAX);
    if let Some(fixup) = uaccess::fixup_of(regs.rip) {
        // With interrupts off the caller can neither sleep nor be switched away from: it wants to know, not to wait.
        let resolvable = addr < layout::USER_END
            && regs.rflags & RFLAGS_IF != 0
            && error & (0x18 | KEY_DENIED) == 0;
        if resolvable {
            irq::enable();
            let handled = fault::handle(addr, access_of(error));
            irq::disable();
            if handled.is_ok() {
                return;
            }
        }
        regs.rip = fixup;
        regs.rax = u64::MAX;
        return;
    }
    let what = match error {
        e if e & 0x10 != 0 => "execution",
        e if e & 2 != 0 => "write",
        _ => "read",
    };
    fatal(
        regs,
        format_args!("page fault: {what} of {addr:#018x}, error {error:#x}"),
    )
}

/// Any other exception in the kernel.
pub(super) extern "C" fn exception_kernel(regs: &mut UserRegs, vector: u8) {
    let error = core::mem::replace(&mut regs.orig_rax, u64::MAX);
    // A non-canonical user address is a protection or stack fault.
    if matches!(vector, GENERAL_PROTECTION | 12 | 17)
        && let Some(fixup) = uaccess::fixup_of(regs.rip)
    {
        regs.rip = fixup;
        regs.rax = u64::MAX;
        return;
    }
    fatal(
        regs,
        format_args!("{} (vector {vector}), error {error:#x}", name_of(vector)),
    )
}

/// NMI, double fault, machine check, and debug exceptions of the kernel's, on stacks of their own.
pub(super) extern "C" fn paranoid(regs: &mut UserRegs, vector: u8) {
    if vector == DEBUG {
        debug::kernel_trap();
        return;
    }
    if vector == NMI {
        if crate::panic::is_panicking() {
            cpu::halt_forever();
        }
        cpu::local().interrupts[usize::from(NMI)].fetch_add(1, Ordering::Relaxed);
        ::log::warn!("NMI of unknown cause on CPU {}", cpu::current_id().0);
        return;
    }
    let hint = if vector == DOUBLE_FAULT {
        " (kernel stack overflow?)"
    } else {
        ""
    };
    fatal(
        regs,
        format_args!("{}{hint}, cr2 {:#x}", name_of(vector), msr::cr2()),
    )
}

/// The return to user space faulted, on registers that a signal handler or debugger had set. The frame that the processor
/// could not return with lies where `regs.rsp` points; it and the user's other registers become a frame at the top of
/// the kernel stack, as if the user's next instruction had faulted.
pub(super) extern "C" fn bad_iret(regs: &mut UserRegs) -> *mut UserRegs {
    // SAFETY: the five words that `iretq` was to pop, on this kernel stack.
    let frame = unsafe { (regs.rsp as *const [u64; 5]).read() };
    let mut user = *regs;
    [user.rip, user.cs, user.rflags, user.rsp, user.ss] = frame;
    let top = super::thread::current().regs_address() as *mut UserRegs;
    // SAFETY: the top of this thread's stack, above the frames of this function and of the fault.
    unsafe { top.write(user) };
    top
}

pub(super) extern "C" fn bad_iret_signal(regs: &mut UserRegs) {
    let error = core::mem::replace(&mut regs.orig_rax, u64::MAX);
    // What the processor refused must not be tried again should the signal be ignored.
    regs.cs = super::descriptors::USER_CS.into();
    regs.ss = super::descriptors::USER_SS.into();
    irq::enable();
    signal::force_exception(SIGSEGV, SI_KERNEL, 0, GENERAL_PROTECTION.into(), error);
    irq::disable();
}

fn name_of(vector: u8) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug exception",
        2 => "NMI",
        3 => "breakpoint",
        6 => "invalid opcode",
        8 => "double fault",
        12 => "stack fault",
        13 => "general protection fault",
        18 => "machine check",
        _ => "exception",
    }
}

/// Registers as a panic shows them.
struct Shown<'a>(&'a UserRegs);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = self.0;
        writeln!(
            f,
            "rip {:016x} cs {:x} rflags {:x} rsp {:016x}",
            r.rip, r.cs, r.rflags, r.rsp
        )?;
        writeln!(
            f,
            "rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}",
            r.rax, r.rbx, r.rcx, r.rdx
        )?;
        writeln!(
            f,
            "rsi {:016x} rdi {:016x} rbp {:016x} r8  {:016x}",
            r.rsi, r.rdi, r.rbp, r.r8
        )?;
        writeln!(
            f,
            "r9  {:016x} r10 {:016x} r11 {:016x} r12 {:016x}",
            r.r9, r.r10, r.r11, r.r12
        )?;
        write!(
            f,
            "r13 {:016x} r14 {:016x} r15 {:016x} cr3 {:x}",
            r.r13,
            r.r14,
            r.r15,
            msr::cr3()
        )
    }
}

/// The kernel itself faulted.
fn fatal(regs: &UserRegs, what: fmt::Arguments<'_>) -> ! {
    let ac = if regs.rflags & RFLAGS_AC != 0 {
        ", user access open"
    } else {
        ""
    };
    backtrace::start_from(regs.rip, regs.rbp);
    panic!("{what}{ac}\n{}", Shown(regs))
}

/// The address of a vector's stub: they are 16 bytes apart.
pub(super) fn handler_of(vector: u8) -> u64 {
    match vector {
        0..32 => (&raw const entry::exception_stubs) as u64 + u64::from(vector) * 16,
        _ => (&raw const entry::interrupt_stubs) as u64 + (u64::from(vector) - 32) * 16,
    }
}
