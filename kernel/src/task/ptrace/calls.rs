//! PTRACE_GET_SYSCALL_INFO: what a system-call stop was for, in one structure.

use abi::{Errno, Result};

use super::control::Frozen;
use super::state::{Event, SIGTRAP};
use super::stop::{MESSAGE_ENTRY, MESSAGE_EXIT};
use crate::arch::UserRegs;
use crate::mm::user::copy_out;

/// `op`.
const OP_ENTRY: u8 = 1;
const OP_EXIT: u8 = 2;
const OP_SECCOMP: u8 = 3;
/// AUDIT_ARCH_X86_64.
const ARCH: u32 = 0xc000_003e;
/// `sizeof(struct ptrace_syscall_info)`, and how much of it each kind of stop fills.
const SIZE: usize = 88;
const HEADER: usize = 24;
const ENTRY: usize = HEADER + 7 * 8;
const EXIT: usize = HEADER + 9;
const SECCOMP: usize = ENTRY + 4;
/// The largest error number.
const MAX_ERRNO: u64 = 4095;

/// The structure in the making.
struct Info {
    bytes: [u8; SIZE],
    len: usize,
}

impl Info {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(place) = self.bytes.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
            self.len = end;
        }
    }

    fn put_call(&mut self, regs: &UserRegs) {
        let number = regs.orig_rax as i32 as u64;
        for word in [
            number, regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9,
        ] {
            self.put(&word.to_ne_bytes());
        }
    }
}

/// Copies as much of the structure as fits into `size` bytes at `out`; answers how much of it was filled.
///
/// # Errors
/// `EFAULT`.
pub(super) fn info(frozen: &Frozen, size: usize, out: usize) -> Result<usize> {
    let task = frozen.task();
    let (code, message) = {
        let stop = task.ptrace.stop.lock();
        (stop.info.map_or(0, |info| info.si_code), stop.message)
    };
    let regs = task.arch.user_regs();
    let op = match (code, message) {
        (code, MESSAGE_ENTRY) if code == SIGTRAP | 0x80 => OP_ENTRY,
        (code, MESSAGE_EXIT) if code == SIGTRAP | 0x80 => OP_EXIT,
        (code, _) if code == SIGTRAP | (Event::Seccomp as i32) << 8 => OP_SECCOMP,
        _ => 0,
    };
    let mut info = Info {
        bytes: [0; SIZE],
        len: 0,
    };
    info.put(&[op, 0, 0, 0]);
    info.put(&ARCH.to_ne_bytes());
    info.put(&regs.rip.to_ne_bytes());
    info.put(&regs.rsp.to_ne_bytes());
    match op {
        OP_ENTRY => info.put_call(&regs),
        OP_EXIT => {
            let failed = regs.rax.wrapping_neg().wrapping_sub(1) < MAX_ERRNO;
            info.put(&regs.rax.to_ne_bytes());
            info.put(&[u8::from(failed)]);
        }
        OP_SECCOMP => {
            info.put_call(&regs);
            info.put(&(message as u32).to_ne_bytes());
        }
        _ => {}
    }
    debug_assert!([HEADER, ENTRY, EXIT, SECCOMP].contains(&info.len));
    let bytes = info.bytes.get(..info.len.min(size)).ok_or(Errno::EFAULT)?;
    copy_out(out, bytes)?;
    Ok(info.len)
}
