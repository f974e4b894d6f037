//! The frame on the user's stack: built before a handler runs, taken down by `rt_sigreturn`.
//!
//! It is byte for byte that of Linux on x86-64 (`arch/x86/kernel/signal_64.c` describes it, and `sigaction(2)`):
//! below the red zone or at the top of the alternate stack, the XSAVE image (64-byte aligned), then [`RtSigFrame`] with
//! the return address at 16n + 8, as after a call.

use ::signal::StackChoice;
use abi::signal::{
    MINSIGSTKSZ, RtSigFrame, SIGINFO_SIZE, SaFlags, SigAction, SigContext, SigInfo, SigSet,
    UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS, UContext,
};
use abi::{Errno, Result};
use core::mem::{offset_of, size_of};
use zerocopy::{FromZeros, IntoBytes};

use crate::arch::{self, UserRegs};
use crate::mm::USER_END;
use crate::mm::user::{UserPtr, copy_out};
use crate::task::CurrentTask;

/// The privilege level in a selector.
const RING_3: u16 = 3;
/// What the ABI lets a leaf function use below its stack pointer.
const RED_ZONE: u64 = 128;
const FRAME_SIZE: u64 = size_of::<RtSigFrame>() as u64;

/// CF PF AF ZF SF TF DF OF RF AC: what a handler may change through its frame.
const RESTORED_FLAGS: u64 = 0x0005_0dd5;
/// DF, RF and TF are clear when a handler starts.
const CLEARED_FLAGS: u64 = 1 << 10 | 1 << 16 | 1 << 8;

/// Where the two parts of a frame go.
struct Place {
    frame: u64,
    fpstate: u64,
}

/// Finds room for a frame on the current or the alternate stack; `None` when that would overflow the latter.
fn place(current: &CurrentTask, sp: u64, action: &SigAction, fp_size: u64) -> Option<Place> {
    let alt = *current.signal.alt_stack.lock();
    let mut on_alt = alt.contains(sp);
    let mut top = sp.wrapping_sub(RED_ZONE);
    if action.has(SaFlags::ONSTACK)
        && let StackChoice::Alternate(alt_top) = alt.choose(top)
    {
        top = alt_top;
        on_alt = true;
    }
    let fpstate = top.wrapping_sub(fp_size) & !63;
    let frame = (fpstate.wrapping_sub(FRAME_SIZE) & !15).wrapping_sub(8);
    if on_alt && !alt.spans(frame) {
        return None;
    }
    Some(Place { frame, fpstate })
}

fn uc_flags() -> u64 {
    let xstate = if arch::fpu::has_xsave() {
        UC_FP_XSTATE
    } else {
        0
    };
    xstate | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS
}

/// Builds the frame and points `regs` at the handler. `mask` is what sigreturn restores.
///
/// # Errors
/// `EFAULT` when the stack cannot hold it or there is no SA_RESTORER: the task gets a SIGSEGV.
pub(super) fn push(
    current: &CurrentTask,
    regs: &mut UserRegs,
    action: &SigAction,
    info: &SigInfo,
    mask: SigSet,
) -> Result<()> {
    if !action.has(SaFlags::RESTORER) {
        return Err(Errno::EFAULT);
    }
    let fp_size = arch::fpu::signal_frame_size() as u64;
    let place = place(current, regs.rsp, action, fp_size).ok_or(Errno::EFAULT)?;
    arch::fpu::save_to_user(place.fpstate as usize)?;
    let mut frame = RtSigFrame::new_zeroed();
    frame.pretcode = action.restorer;
    fill_context(current, regs, &mut frame.uc, mask, place.fpstate);
    let wants_info = action.has(SaFlags::SIGINFO);
    if wants_info {
        for (to, from) in frame.info.iter_mut().zip(info.bytes()) {
            *to = *from;
        }
    }
    let len = if wants_info {
        size_of::<RtSigFrame>()
    } else {
        offset_of!(RtSigFrame, info)
    };
    let bytes = frame.as_bytes().get(..len).ok_or(Errno::EFAULT)?;
    copy_out(place.frame as usize, bytes)?;
    current.signal.alt_stack.lock().disarm_if_asked();
    enter(regs, action, info.si_signo, place.frame);
    arch::fpu::reset();
    Ok(())
}

fn fill_context(
    current: &CurrentTask,
    regs: &UserRegs,
    uc: &mut UContext,
    mask: SigSet,
    fpstate: u64,
) {
    uc.uc_flags = uc_flags();
    uc.uc_stack = current.signal.alt_stack.lock().frame_report();
    uc.uc_sigmask = mask;
    let fault = *current.signal.last_fault.lock();
    uc.uc_mcontext = SigContext {
        r8: regs.r8,
        r9: regs.r9,
        r10: regs.r10,
        r11: regs.r11,
        r12: regs.r12,
        r13: regs.r13,
        r14: regs.r14,
        r15: regs.r15,
        di: regs.rdi,
        si: regs.rsi,
        bp: regs.rbp,
        bx: regs.rbx,
        dx: regs.rdx,
        ax: regs.rax,
        cx: regs.rcx,
        sp: regs.rsp,
        ip: regs.rip,
        flags: regs.rflags,
        cs: regs.cs as u16,
        gs: 0,
        fs: 0,
        ss: regs.ss as u16,
        err: fault.error_code,
        trapno: fault.trapno,
        oldmask: mask.bits(),
        cr2: fault.address,
        fpstate,
        reserved1: [0; 8],
    };
}

fn enter(regs: &mut UserRegs, action: &SigAction, signo: i32, frame: u64) {
    regs.rdi = signo as u64;
    regs.rax = 0;
    regs.rsi = frame + offset_of!(RtSigFrame, info) as u64;
    regs.rdx = frame + offset_of!(RtSigFrame, uc) as u64;
    regs.rip = action.handler;
    regs.rsp = frame;
    regs.cs = u64::from(arch::USER_CS);
    regs.ss = u64::from(arch::USER_SS);
    regs.rflags &= !CLEARED_FLAGS;
}

/// `rt_sigreturn`: takes the frame down. `Err` when it is not one: the task gets a SIGSEGV.
pub(super) fn pop(current: &CurrentTask, regs: &mut UserRegs) -> Result<()> {
    let base = regs.rsp.wrapping_sub(size_of::<u64>() as u64);
    let uc_at = base.wrapping_add(offset_of!(RtSigFrame, uc) as u64);
    let uc: UContext = UserPtr::from(uc_at as usize).read()?;
    super::mask::set_blocked(current, uc.uc_sigmask);
    // A call that a stop interrupted before cannot be continued after a handler.
    drop(current.signal.restart.lock().take());
    restore(regs, &uc.uc_mcontext, uc.uc_flags)?;
    arch::fpu::restore_from_user(uc.uc_mcontext.fpstate as usize)?;
    // As on Linux, a stack that cannot be set is not an error here.
    let _ = current
        .signal
        .alt_stack
        .lock()
        .set(uc.uc_stack, regs.rsp, MINSIGSTKSZ);
    Ok(())
}

fn restore(regs: &mut UserRegs, sc: &SigContext, uc_flags: u64) -> Result<()> {
    regs.r8 = sc.r8;
    regs.r9 = sc.r9;
    regs.r10 = sc.r10;
    regs.r11 = sc.r11;
    regs.r12 = sc.r12;
    regs.r13 = sc.r13;
    regs.r14 = sc.r14;
    regs.r15 = sc.r15;
    regs.rdi = sc.di;
    regs.rsi = sc.si;
    regs.rbp = sc.bp;
    regs.rbx = sc.bx;
    regs.rdx = sc.dx;
    regs.rax = sc.ax;
    regs.rcx = sc.cx;
    regs.rsp = sc.sp;
    regs.rip = sc.ip;
    regs.rflags = regs.rflags & !RESTORED_FLAGS | sc.flags & RESTORED_FLAGS;
    // From here on this is no system call to be restarted.
    regs.orig_rax = u64::MAX;
    let strict = uc_flags & UC_STRICT_RESTORE_SS != 0;
    let ss = if strict {
        sc.ss | RING_3
    } else {
        arch::USER_SS
    };
    // Other segments would make the return to user space fault in the kernel; Linux answers that fault with SIGSEGV.
    if sc.cs | RING_3 != arch::USER_CS || ss != arch::USER_SS || sc.ip >= USER_END as u64 {
        return Err(Errno::EFAULT);
    }
    Ok(())
}

const _: () = assert!(SIGINFO_SIZE == 128 && FRAME_SIZE == 440);
