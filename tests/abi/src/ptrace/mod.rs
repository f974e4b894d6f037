//! ptrace and its kin: a process watches and changes another.
//!
//! | module | cases of |
//! |---|---|
//! | [`attach`] | Who traces whom, and how that ends |
//! | [`calls`] | System-call stops |
//! | [`signals`] | Signals on their way to a tracee |
//! | [`filters`] | Calls that seccomp sends to the tracer |
//! | [`group`] | Job control |
//! | [`events`] | Children, programs and ends |
//! | [`regs`] | Registers |
//! | [`memory`] | Memory, by ptrace and otherwise |
//! | [`step`] | Single steps, breakpoints and watchpoints |
//! | [`threads`] | Threads, and who may wait for what |
//! | [`kin`] | Looks without tracing |
//! | [`hostile`] | Everybody against everybody |

pub mod attach;
pub mod calls;
pub mod events;
pub mod filters;
pub mod group;
pub mod hostile;
pub mod kin;
pub mod memory;
pub mod regs;
pub mod signals;
pub mod step;
pub mod threads;

use crate::check::*;
use crate::sys::*;

/// The requests: the C libraries differ in their types.
pub mod req {
    pub const TRACEME: i32 = 0;
    pub const PEEKDATA: i32 = 2;
    pub const PEEKUSER: i32 = 3;
    pub const POKEDATA: i32 = 5;
    pub const POKEUSER: i32 = 6;
    pub const CONT: i32 = 7;
    pub const KILL: i32 = 8;
    pub const SINGLESTEP: i32 = 9;
    pub const GETREGS: i32 = 12;
    pub const SETREGS: i32 = 13;
    pub const GETFPREGS: i32 = 14;
    pub const SETFPREGS: i32 = 15;
    pub const ATTACH: i32 = 16;
    pub const DETACH: i32 = 17;
    pub const SYSCALL: i32 = 24;
    pub const ARCH_PRCTL: i32 = 30;
    pub const SYSEMU: i32 = 31;
    pub const SETOPTIONS: i32 = 0x4200;
    pub const GETEVENTMSG: i32 = 0x4201;
    pub const GETSIGINFO: i32 = 0x4202;
    pub const SETSIGINFO: i32 = 0x4203;
    pub const GETREGSET: i32 = 0x4204;
    pub const SETREGSET: i32 = 0x4205;
    pub const SEIZE: i32 = 0x4206;
    pub const INTERRUPT: i32 = 0x4207;
    pub const LISTEN: i32 = 0x4208;
    pub const PEEKSIGINFO: i32 = 0x4209;
    pub const GETSIGMASK: i32 = 0x420a;
    pub const SETSIGMASK: i32 = 0x420b;
    pub const GET_SYSCALL_INFO: i32 = 0x420e;
    pub const GET_RSEQ_CONFIGURATION: i32 = 0x420f;
}

/// `PTRACE_O_*`.
pub mod opt {
    pub const SYSGOOD: usize = 1;
    pub const FORK: usize = 2;
    pub const VFORK: usize = 4;
    pub const CLONE: usize = 8;
    pub const EXEC: usize = 16;
    pub const VFORKDONE: usize = 32;
    pub const EXIT: usize = 64;
    pub const EXITKILL: usize = 1 << 20;
}

/// `PTRACE_EVENT_*`.
pub mod event {
    pub const FORK: i32 = 1;
    pub const VFORK: i32 = 2;
    pub const CLONE: i32 = 3;
    pub const EXEC: i32 = 4;
    pub const VFORK_DONE: i32 = 5;
    pub const EXIT: i32 = 6;
    pub const STOP: i32 = 128;
}

/// `struct user_regs_struct`.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub struct Regs {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub eflags: u64,
    pub rsp: u64,
    pub ss: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
}

pub fn ptrace(request: i32, pid: i32, addr: usize, data: usize) -> Sys {
    sys!(SYS_ptrace, request, pid, addr, data)
}

pub fn regs_of(pid: i32) -> Sys<Regs> {
    let mut regs = Regs::default();
    sys!(SYS_ptrace, req::GETREGS, pid, 0, &mut regs)?;
    Ok(std::hint::black_box(regs))
}

pub fn set_regs(pid: i32, regs: &Regs) -> Sys {
    sys!(SYS_ptrace, req::SETREGS, pid, 0, regs)
}

pub fn message(pid: i32) -> Sys<u64> {
    let mut message = 0_u64;
    sys!(SYS_ptrace, req::GETEVENTMSG, pid, 0, &mut message)?;
    Ok(std::hint::black_box(message))
}

pub fn siginfo(pid: i32) -> Sys<libc::siginfo_t> {
    let mut info = zeroed::<libc::siginfo_t>();
    sys!(SYS_ptrace, req::GETSIGINFO, pid, 0, &mut info)?;
    Ok(info)
}

/// Starts a process that asks to be traced, stops, and runs the body when it is let go; it is at
/// that stop.
pub fn traced(body: impl FnOnce() -> i32) -> Outcome<i32> {
    let pid = fork(|| {
        if ptrace(req::TRACEME, 0, 0, 0).is_err() {
            return 99;
        }
        let _ = raise(libc::SIGSTOP);
        body()
    })?;
    expect_stop(pid, libc::SIGSTOP)?;
    Ok(pid)
}

/// A process that sleeps until it is killed.
pub fn paused() -> Sys<i32> {
    fork(|| {
        loop {
            let _ = sys!(SYS_pause);
        }
    })
}

/// The next status of a tracee.
pub fn next(pid: i32) -> Sys<i32> {
    wait_with(pid, libc::__WALL)
}

/// Nothing of the tracee is to be waited for.
#[track_caller]
pub fn nothing(pid: i32) -> Outcome {
    equal(sys!(SYS_wait4, pid, 0, libc::__WALL | libc::WNOHANG, 0)?, 0)
}

/// The tracee's next stop must be with this signal and no event.
#[track_caller]
pub fn expect_stop(pid: i32, signal: i32) -> Outcome {
    expect_status(pid, signal << 8 | 0x7f)
}

/// The tracee's next stop must be for this event.
#[track_caller]
pub fn expect_event(pid: i32, event: i32) -> Outcome {
    expect_status(pid, event << 16 | libc::SIGTRAP << 8 | 0x7f)
}

/// The tracee's next stop must be a PTRACE_EVENT_STOP with this signal.
#[track_caller]
pub fn expect_event_stop(pid: i32, signal: i32) -> Outcome {
    expect_status(pid, event::STOP << 16 | signal << 8 | 0x7f)
}

#[track_caller]
pub fn expect_exit(pid: i32, code: i32) -> Outcome {
    expect_status(pid, code << 8)
}

#[track_caller]
pub fn expect_status(pid: i32, status: i32) -> Outcome {
    let got = next(pid)?;
    check(
        got == status,
        &format!("status {got:#x}, but {status:#x} is expected"),
    )
}

pub fn resume(pid: i32, signal: i32) -> Sys {
    ptrace(req::CONT, pid, 0, signal as usize)
}

/// Lets it run to the next system-call stop, whose signal is SIGTRAP.
#[track_caller]
pub fn to_call(pid: i32) -> Outcome {
    ptrace(req::SYSCALL, pid, 0, 0)?;
    expect_stop(pid, libc::SIGTRAP)
}

pub fn kill_now(pid: i32) -> Outcome {
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    loop {
        let status = next(pid)?;
        if !libc::WIFSTOPPED(status) {
            return equal(status, libc::SIGKILL);
        }
    }
}

/// The number behind a name in `/proc/PID/status`.
pub fn status_of(pid: i32, name: &str) -> Outcome<i64> {
    let text = text_of(&format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.trim_start_matches(':').trim().parse().ok());
    some(number, "no such line")
}
