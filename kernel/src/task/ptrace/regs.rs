//! Registers of a frozen tracee: the user area, and register sets.
//!
//! Segment registers other than CS and SS are not switched between threads: they read as 0 and can be set to that alone.

use abi::{Errno, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::control::Frozen;
use crate::arch::{ThreadArch, UserRegs, fpu_regset};
use crate::mm::USER_END;
use crate::mm::user::{UserPtr, copy_in, copy_out};
use crate::task::{self, try_zeroed};

const WORD: usize = size_of::<u64>();
/// Words of `struct user_regs_struct`.
const REGISTERS: usize = 27;
/// `sizeof(struct user)`, and where its debug registers are.
const USER_SIZE: usize = 928;
const DEBUG_START: usize = 848;
const DEBUG_END: usize = DEBUG_START + 8 * WORD;

const NT_PRSTATUS: usize = 1;
const NT_PRFPREG: usize = 2;
const NT_X86_XSTATE: usize = 0x202;

/// Places in `struct user_regs_struct` that are more than a copy.
const ORIG_RAX: usize = 15;
const CS: usize = 17;
const FLAGS: usize = 18;
const SS: usize = 20;
const FS_BASE: usize = 21;
const GS_BASE: usize = 22;

/// One word of `struct user_regs_struct` that is a register of the frame.
fn plain(regs: &mut UserRegs, index: usize) -> Option<&mut u64> {
    Some(match index {
        0 => &mut regs.r15,
        1 => &mut regs.r14,
        2 => &mut regs.r13,
        3 => &mut regs.r12,
        4 => &mut regs.rbp,
        5 => &mut regs.rbx,
        6 => &mut regs.r11,
        7 => &mut regs.r10,
        8 => &mut regs.r9,
        9 => &mut regs.r8,
        10 => &mut regs.rax,
        11 => &mut regs.rcx,
        12 => &mut regs.rdx,
        13 => &mut regs.rsi,
        14 => &mut regs.rdi,
        ORIG_RAX => &mut regs.orig_rax,
        16 => &mut regs.rip,
        CS => &mut regs.cs,
        19 => &mut regs.rsp,
        SS => &mut regs.ss,
        _ => return None,
    })
}

fn get(thread: &ThreadArch, regs: &mut UserRegs, index: usize) -> u64 {
    match index {
        FLAGS => thread.shown_flags(regs),
        FS_BASE => thread.fs_base(),
        GS_BASE => thread.gs_base(),
        index => plain(regs, index).map_or(0, |register| *register),
    }
}

fn set(thread: &ThreadArch, regs: &mut UserRegs, index: usize, value: u64) -> Result<()> {
    match index {
        FLAGS => thread.write_flags(regs, value),
        FS_BASE | GS_BASE if value >= USER_END as u64 => return Err(Errno::EIO),
        FS_BASE => thread.set_fs_base(value),
        GS_BASE => thread.set_gs_base(value),
        CS | SS => {
            let selector = value & 0xffff;
            if selector & 3 != 3 {
                return Err(Errno::EIO);
            }
            if let Some(register) = plain(regs, index) {
                *register = selector;
            }
        }
        index => match plain(regs, index) {
            Some(register) => *register = value,
            None if value & 0xffff != 0 => return Err(Errno::EIO),
            None => {}
        },
    }
    Ok(())
}

fn all(thread: &ThreadArch) -> [u64; REGISTERS] {
    let mut regs = thread.user_regs();
    core::array::from_fn(|index| get(thread, &mut regs, index))
}

/// Sets registers from the first on; those before one that is refused stay set, as on Linux.
fn set_some(thread: &ThreadArch, words: &[u64]) -> Result<()> {
    let mut regs = thread.user_regs();
    let result = (0..)
        .zip(words)
        .try_for_each(|(index, word)| set(thread, &mut regs, index, *word));
    thread.set_user_regs(&regs);
    result
}

/// PTRACE_PEEKUSER: stores the word at `out`. Beyond the registers only the debug registers are not 0.
///
/// # Errors
/// `EIO` for another place than a word of the user area, `EFAULT`.
pub(super) fn peek_user(frozen: &Frozen, offset: usize, out: usize) -> Result<()> {
    let thread = &frozen.task().arch;
    let value = match offset {
        offset if !offset.is_multiple_of(WORD) || offset >= USER_SIZE => return Err(Errno::EIO),
        DEBUG_START..DEBUG_END => thread.debug_register((offset - DEBUG_START) / WORD),
        offset if offset / WORD < REGISTERS => get(thread, &mut thread.user_regs(), offset / WORD),
        _ => 0,
    };
    UserPtr::<u64>::from(out).write(&value)
}

/// PTRACE_POKEUSER.
///
/// # Errors
/// `EIO` for what is no register or no value for it, `EINVAL` for a breakpoint that is refused.
pub(super) fn poke_user(frozen: &Frozen, offset: usize, value: usize) -> Result<()> {
    let thread = &frozen.task().arch;
    let value = value as u64;
    match offset {
        offset if !offset.is_multiple_of(WORD) => Err(Errno::EIO),
        DEBUG_START..DEBUG_END => thread.set_debug_register((offset - DEBUG_START) / WORD, value),
        offset if offset / WORD < REGISTERS => {
            let mut regs = thread.user_regs();
            set(thread, &mut regs, offset / WORD, value)?;
            thread.set_user_regs(&regs);
            Ok(())
        }
        _ => Err(Errno::EIO),
    }
}

/// PTRACE_GETREGS.
///
/// # Errors
/// `EFAULT`.
pub(super) fn get_regs(frozen: &Frozen, out: usize) -> Result<()> {
    UserPtr::<[u64; REGISTERS]>::from(out).write(&all(&frozen.task().arch))
}

/// PTRACE_SETREGS.
///
/// # Errors
/// `EFAULT`, and `EIO` for a value that a register cannot have.
pub(super) fn set_regs(frozen: &Frozen, from: usize) -> Result<()> {
    let words = UserPtr::<[u64; REGISTERS]>::from(from).read()?;
    set_some(&frozen.task().arch, &words)
}

/// PTRACE_GETFPREGS.
///
/// # Errors
/// `EFAULT`.
pub(super) fn get_fpregs(frozen: &Frozen, out: usize) -> Result<()> {
    copy_out(out, &fpu_regset::fxsave(&frozen.task().arch))
}

/// PTRACE_SETFPREGS.
///
/// # Errors
/// `EFAULT`, and `EINVAL` for a state that the processor would refuse.
pub(super) fn set_fpregs(frozen: &Frozen, from: usize) -> Result<()> {
    let mut bytes = [0; fpu_regset::FXSAVE_BYTES];
    copy_in(from, &mut bytes)?;
    fpu_regset::set_fxsave(&frozen.task().arch, &bytes)
}

/// `struct iovec` of PTRACE_GETREGSET: its length is set to what was moved.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Area {
    base: usize,
    len: usize,
}

/// The bytes that a call on a register set moves. `EINVAL` for one that is not there, or half a word.
fn length(kind: usize, area: Area) -> Result<usize> {
    let size = match kind {
        NT_PRSTATUS => REGISTERS * WORD,
        NT_PRFPREG => fpu_regset::FXSAVE_BYTES,
        NT_X86_XSTATE => fpu_regset::xsave_bytes().ok_or(Errno::EINVAL)?,
        _ => return Err(Errno::EINVAL),
    };
    match area.len.is_multiple_of(WORD) {
        true => Ok(area.len.min(size)),
        false => Err(Errno::EINVAL),
    }
}

/// PTRACE_GETREGSET.
///
/// # Errors
/// `EINVAL`, `EFAULT`, `ENOMEM`.
pub(super) fn get_set(frozen: &Frozen, kind: usize, area_at: usize) -> Result<()> {
    let area = UserPtr::<Area>::from(area_at).read()?;
    let len = length(kind, area)?;
    let thread = &frozen.task().arch;
    match kind {
        NT_PRSTATUS => {
            let words = all(thread);
            copy_out(area.base, words.as_bytes().get(..len).unwrap_or_default())?;
        }
        NT_PRFPREG => {
            let bytes = fpu_regset::fxsave(thread);
            copy_out(area.base, bytes.get(..len).unwrap_or_default())?;
        }
        _ => {
            let mut bytes = try_zeroed(fpu_regset::xsave_bytes().unwrap_or(0))?;
            fpu_regset::xsave(thread, &mut bytes);
            copy_out(area.base, bytes.get(..len).unwrap_or_default())?;
        }
    }
    write_len(area_at, len)
}

fn write_len(area_at: usize, len: usize) -> Result<()> {
    UserPtr::<usize>::from(area_at.wrapping_add(WORD)).write(&len)
}

/// PTRACE_SETREGSET.
///
/// # Errors
/// `EINVAL`, `EFAULT` (also for part of an FPU state), `EIO`, `ENOMEM`.
pub(super) fn set_set(frozen: &Frozen, kind: usize, area_at: usize) -> Result<()> {
    let area = UserPtr::<Area>::from(area_at).read()?;
    let len = length(kind, area)?;
    let thread = &frozen.task().arch;
    match kind {
        NT_PRSTATUS => {
            let mut words = [0_u64; REGISTERS];
            let words = &mut words[..len / WORD];
            copy_in(area.base, words.as_mut_bytes())?;
            set_some(thread, words)?;
        }
        NT_PRFPREG => {
            let mut bytes = [0; fpu_regset::FXSAVE_BYTES];
            if len != bytes.len() {
                return Err(Errno::EINVAL);
            }
            copy_in(area.base, &mut bytes)?;
            fpu_regset::set_fxsave(thread, &bytes)?;
        }
        _ => {
            let size = fpu_regset::xsave_bytes().unwrap_or(0);
            if len != size {
                return Err(Errno::EFAULT);
            }
            let mut bytes = try_zeroed(size)?;
            copy_in(area.base, &mut bytes)?;
            fpu_regset::set_xsave(thread, &bytes)?;
        }
    }
    write_len(area_at, len)
}

/// PTRACE_ARCH_PRCTL: `arch_prctl(2)` as if the tracee called it.
///
/// # Errors
/// Those of `arch_prctl(2)`.
pub(super) fn arch_prctl(frozen: &Frozen, code: usize, address: usize) -> Result<()> {
    task::thread_prctl(frozen.task(), code as u32, address)
}
