//! seccomp: modes, filters, threads, and calls that another process answers.
//!
//! Filters of these cases look at one call that nothing else of the program makes, so that the case
//! goes on with all others.

pub mod answer;
pub mod filter;
pub mod mode;
pub mod notify;
pub mod share;
pub mod wrong;

use crate::check::*;
use crate::sys::*;

pub const SET_MODE_STRICT: u32 = 0;
pub const SET_MODE_FILTER: u32 = 1;
pub const GET_ACTION_AVAIL: u32 = 2;
pub const GET_NOTIF_SIZES: u32 = 3;

pub const TSYNC: u32 = 1;
pub const LOG: u32 = 2;
pub const SPEC_ALLOW: u32 = 4;
pub const NEW_LISTENER: u32 = 8;
pub const TSYNC_ESRCH: u32 = 16;
pub const WAIT_KILLABLE_RECV: u32 = 32;

pub const KILL_PROCESS: u32 = 0x8000_0000;
pub const KILL_THREAD: u32 = 0;
pub const TRAP: u32 = 0x0003_0000;
pub const ERRNO: u32 = 0x0005_0000;
pub const USER_NOTIF: u32 = 0x7fc0_0000;
pub const TRACE: u32 = 0x7ff0_0000;
pub const RET_LOG: u32 = 0x7ffc_0000;
pub const ALLOW: u32 = 0x7fff_0000;

pub const ARCH: u32 = 0xc000_003e;

/// A call that no library makes by itself, and that a filter of a case is about.
pub const CALL: u32 = libc::SYS_getpriority as u32;

/// `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Insn {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

#[repr(C)]
pub struct Program {
    len: u16,
    filter: *const Insn,
}

pub fn stmt(code: u16, k: u32) -> Insn {
    jump(code, k, 0, 0)
}

pub fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Insn {
    Insn { code, jt, jf, k }
}

pub const LD_W_ABS: u16 = 0x20;
pub const LD_IMM: u16 = 0x00;
pub const JEQ_K: u16 = 0x15;
pub const RET_K: u16 = 0x06;

/// Answers `answer` for one call and allows all others.
pub fn only(call: u32, answer: u32) -> [Insn; 4] {
    [
        stmt(LD_W_ABS, 0),
        jump(JEQ_K, call, 0, 1),
        stmt(RET_K, answer),
        stmt(RET_K, ALLOW),
    ]
}

/// Answers `answer` for [`CALL`] if the word at `offset` of its data is `value`.
pub fn if_word(offset: u32, value: u32, answer: u32) -> [Insn; 6] {
    [
        stmt(LD_W_ABS, 0),
        jump(JEQ_K, CALL, 0, 3),
        stmt(LD_W_ABS, offset),
        jump(JEQ_K, value, 0, 1),
        stmt(RET_K, answer),
        stmt(RET_K, ALLOW),
    ]
}

/// Puts a program in place.
pub fn install_with(flags: u32, insns: &[Insn]) -> Sys {
    let program = Program {
        len: insns.len() as u16,
        filter: insns.as_ptr(),
    };
    sys!(SYS_seccomp, SET_MODE_FILTER, flags, &program)
}

pub fn install(insns: &[Insn]) -> Sys {
    install_with(0, insns)
}

/// Makes [`CALL`]; without a filter it answers 20.
pub fn the_call() -> Sys {
    sys!(SYS_getpriority, libc::PRIO_PROCESS, 0)
}

pub const UNFILTERED: usize = 20;

pub fn no_new_privs() -> Sys {
    sys!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

/// A line's value in `/proc/PID/status`.
pub fn status_line(pid: &str, name: &str) -> Outcome<String> {
    let text = text_of(&format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = some(line, "the line is missing")?;
    Ok(value.trim_start_matches(':').trim().to_owned())
}
