//! What becomes of a call by what a filter answers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    errno_answers_without_the_call,
    errno_zero_is_success,
    errno_is_capped,
    kill_process_ends_all_threads,
    kill_thread_ends_the_only_one_by_sigsys,
    kill_thread_leaves_other_threads,
    unknown_answers_kill_the_process,
    trap_tells_what_was_called,
    trap_lets_the_handler_answer,
    trap_kills_where_sigsys_is_blocked,
    trap_kills_where_sigsys_is_ignored,
    trap_is_not_lost_in_a_vforked_child,
    trace_without_a_tracer_is_enosys,
    logged_calls_are_made,
    logged_calls_are_in_the_log,
    dividing_by_zero_kills,
    returning_from_a_handler_is_judged,
    restarted_calls_are_judged_as_restarts,
    calls_executed_again_are_judged_again,
];

fn errno_answers_without_the_call() -> Outcome {
    install(&only(libc::SYS_mkdirat as u32, ERRNO | libc::EXDEV as u32))?;
    let made = sys!(SYS_mkdirat, libc::AT_FDCWD, c"folder", 0o777);
    fails(made, libc::EXDEV)?;
    fails(stat(c"folder"), libc::ENOENT)
}

fn errno_zero_is_success() -> Outcome {
    install(&only(libc::SYS_mkdirat as u32, ERRNO))?;
    equal(sys!(SYS_mkdirat, libc::AT_FDCWD, c"folder", 0o777)?, 0)?;
    fails(stat(c"folder"), libc::ENOENT)
}

/// Makes [`CALL`] past the C library, which knows no errors so high.
fn raw_call() -> i64 {
    let answer: i64;
    // SAFETY: a system call with integers for arguments.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") i64::from(CALL) => answer,
            in("rdi") 0,
            in("rsi") 0,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    answer
}

fn errno_is_capped() -> Outcome {
    for (given, got) in [(4094, -4094), (4095, -4095), (4096, -4095), (0xffff, -4095)] {
        within(|| {
            install(&only(CALL, ERRNO | given))?;
            equal(raw_call(), got)
        })?;
    }
    Ok(())
}

extern "C" fn sleeper(_: *mut libc::c_void) -> i32 {
    loop {
        let _ = sys!(SYS_pause);
    }
}

extern "C" fn caller(_: *mut libc::c_void) -> i32 {
    let _ = the_call();
    0
}

fn kill_process_ends_all_threads() -> Outcome {
    let signal = death_of(|| {
        if thread(sleeper, 0).is_ok() && install(&only(CALL, KILL_PROCESS)).is_ok() {
            let _ = thread(caller, 0);
            let _ = sys!(SYS_pause);
        }
    })?;
    equal(signal, libc::SIGSYS)
}

fn kill_thread_ends_the_only_one_by_sigsys() -> Outcome {
    let signal = death_of(|| {
        if install(&only(CALL, KILL_THREAD)).is_ok() {
            let _ = the_call();
        }
    })?;
    equal(signal, libc::SIGSYS)
}

fn kill_thread_leaves_other_threads() -> Outcome {
    within(|| {
        catch(libc::SIGSYS, 0)?;
        install(&only(CALL, KILL_THREAD))?;
        let ended = thread(caller, 0)?;
        await_word(ended, 0);
        equal(hits(libc::SIGSYS), 0)
    })
}

fn unknown_answers_kill_the_process() -> Outcome {
    for answer in [
        0x0001_0000,
        0x0004_0000,
        0x7fff_ffff & 0x7ffe_0000,
        0x8001_0000,
    ] {
        let signal = death_of(|| {
            let ready = catch(libc::SIGSYS, 0).is_ok() && thread(sleeper, 0).is_ok();
            if ready && install(&only(CALL, answer)).is_ok() {
                let _ = the_call();
            }
        })?;
        equal(signal, libc::SIGSYS)?;
    }
    Ok(())
}

/// The fields of SIGSYS's information.
#[repr(C)]
#[derive(Clone, Copy)]
struct SysInfo {
    signo: i32,
    errno: i32,
    code: i32,
    pad: i32,
    call_addr: u64,
    syscall: i32,
    arch: u32,
}

static ADDRESS: AtomicU64 = AtomicU64::new(0);
static RAX: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_trap(_: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel passes both; what they point to lies on this stack.
    unsafe {
        let sys = *info.cast::<SysInfo>();
        let registers = &mut (*context).uc_mcontext.gregs;
        ADDRESS.store(registers[libc::REG_RIP as usize] as u64, Ordering::SeqCst);
        RAX.store(registers[libc::REG_RAX as usize] as u64, Ordering::SeqCst);
        if sys.call_addr == ADDRESS.load(Ordering::SeqCst) && sys.errno == 99 {
            registers[libc::REG_RAX as usize] = 4711;
        }
    }
}

fn trap_tells_what_was_called() -> Outcome {
    catch(libc::SIGSYS, 0)?;
    install(&only(CALL, TRAP | 0x1234))?;
    raw_call();
    equal(hits(libc::SIGSYS), 1)?;
    let info = last_info();
    // SAFETY: both are plain data, and the information is the longer.
    let sys = unsafe { *(&raw const info).cast::<SysInfo>() };
    equal((sys.signo, sys.code, sys.errno), (libc::SIGSYS, 1, 0x1234))?;
    equal((sys.syscall, sys.arch), (CALL as i32, ARCH))?;
    check(sys.call_addr != 0, "no address is told")
}

fn trap_lets_the_handler_answer() -> Outcome {
    let handler = on_trap as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as usize;
    handle(libc::SIGSYS, handler, libc::SA_SIGINFO, &[])?;
    install(&only(CALL, TRAP | 99))?;
    equal(raw_call(), 4711)?;
    // The handler sees the number where it was before the call.
    equal(RAX.load(Ordering::SeqCst), u64::from(CALL))
}

fn trap_kills_where_sigsys_is_blocked() -> Outcome {
    let signal = death_of(|| {
        let ready = catch(libc::SIGSYS, 0).is_ok() && block(&[libc::SIGSYS]).is_ok();
        if ready && install(&only(CALL, TRAP)).is_ok() {
            let _ = the_call();
        }
    })?;
    equal(signal, libc::SIGSYS)
}

fn trap_kills_where_sigsys_is_ignored() -> Outcome {
    let signal = death_of(|| {
        let ready = handle(libc::SIGSYS, libc::SIG_IGN, 0, &[]).is_ok();
        if ready && install(&only(CALL, TRAP)).is_ok() {
            let _ = the_call();
        }
    })?;
    equal(signal, libc::SIGSYS)
}

fn trap_is_not_lost_in_a_vforked_child() -> Outcome {
    extern "C" fn child(_: *mut libc::c_void) -> i32 {
        let _ = the_call();
        3
    }
    within(|| {
        install(&only(CALL, TRAP))?;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let pid = clone_run(flags, child, 0, (0, 0))?;
        let status = wait(pid)?;
        equal(libc::WTERMSIG(status), libc::SIGSYS)
    })
}

fn trace_without_a_tracer_is_enosys() -> Outcome {
    install(&only(CALL, TRACE | 5))?;
    fails(the_call(), libc::ENOSYS)
}

fn logged_calls_are_made() -> Outcome {
    install_with(LOG, &only(CALL, RET_LOG))?;
    equal(the_call()?, UNFILTERED)
}

fn logged_calls_are_in_the_log() -> Outcome {
    sys!(SYS_syslog, 5, 0, 0)?;
    install(&only(CALL, RET_LOG))?;
    let mut text = vec![0u8; 1 << 20];
    // A kernel may write only so many lines within some seconds.
    for _ in 0..70 {
        the_call()?;
        let len = sys!(SYS_syslog, 3, text.as_mut_ptr(), text.len())?;
        let log = String::from_utf8_lossy(text.get(..len).unwrap_or_default());
        if log.contains(&format!("syscall={CALL}")) {
            return Ok(());
        }
        let time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        sys!(SYS_nanosleep, &time, 0)?;
    }
    // Where auditing is off, the log says nothing about calls at all.
    skip("the log says nothing about filtered calls")
}

fn dividing_by_zero_kills() -> Outcome {
    const DIV_X: u16 = 0x3c;
    let signal = death_of(|| {
        let program = [
            stmt(LD_W_ABS, 0),
            jump(JEQ_K, CALL, 1, 0),
            stmt(RET_K, ALLOW),
            stmt(DIV_X, 0),
            stmt(RET_K, ALLOW),
        ];
        if install(&program).is_ok() {
            let _ = the_call();
        }
    })?;
    equal(signal, libc::SIGSYS)
}

fn returning_from_a_handler_is_judged() -> Outcome {
    let signal = death_of(|| {
        let ready = catch(libc::SIGUSR1, 0).is_ok();
        if ready && install(&only(libc::SYS_rt_sigreturn as u32, KILL_PROCESS)).is_ok() {
            let _ = raise(libc::SIGUSR1);
        }
    })?;
    equal(signal, libc::SIGSYS)
}

fn restarted_calls_are_judged_as_restarts() -> Outcome {
    let answer = ERRNO | libc::EXDEV as u32;
    let pid = fork(|| {
        if install(&only(libc::SYS_restart_syscall as u32, answer)).is_err() {
            return 1;
        }
        let time = libc::timespec {
            tv_sec: 1000,
            tv_nsec: 0,
        };
        let slept = sys!(SYS_nanosleep, &time, 0);
        if slept == Err(Errno(libc::EXDEV)) {
            7
        } else {
            2
        }
    })?;
    await_state(pid, "S")?;
    sys!(SYS_kill, pid, libc::SIGSTOP)?;
    wait_with(pid, libc::WUNTRACED)?;
    sys!(SYS_kill, pid, libc::SIGCONT)?;
    equal(wait(pid)?, 7 << 8)
}

fn calls_executed_again_are_judged_again() -> Outcome {
    // The handler takes the call away: when it is executed again, it is not there.
    extern "C" fn forbid(_: i32) {
        let _ = install(&only(libc::SYS_read as u32, ERRNO | libc::EXDEV as u32));
    }
    let (read_end, _write_end) = pipe()?;
    let pid = fork(|| {
        let handler = forbid as extern "C" fn(i32) as usize;
        if handle(libc::SIGUSR1, handler, libc::SA_RESTART, &[]).is_err() {
            return 1;
        }
        let mut byte = [0; 1];
        let got = read(read_end, &mut byte);
        if got == Err(Errno(libc::EXDEV)) { 7 } else { 2 }
    })?;
    await_state(pid, "S")?;
    sys!(SYS_kill, pid, libc::SIGUSR1)?;
    equal(wait(pid)?, 7 << 8)
}
