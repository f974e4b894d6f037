//! System-call stops.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    call_stops_come_in_pairs,
    sysgood_marks_call_stops,
    entry_may_change_the_call,
    entry_may_change_arguments,
    entry_may_skip_the_call,
    exit_may_change_the_answer,
    info_of_entry_and_exit,
    info_of_a_failure,
    info_is_cut_to_size,
    sysemu_makes_no_call,
    restart_codes_show_at_exit,
    exec_ends_with_a_call_stop,
    a_signal_may_be_given_at_a_call_stop,
    exit_group_stops_at_its_entry,
    missing_calls_stop_too,
    cont_ends_call_stops,
    kill_at_entry_prevents_the_call,
];

const ENOSYS: u64 = (-(libc::ENOSYS as i64)) as u64;

/// A tracee that makes this call and ends with the lowest byte of what it answers.
fn caller(number: i64, argument: usize) -> Outcome<i32> {
    traced(move || call(number, &[argument]).map_or_else(|errno| errno.0, |value| value as i32))
}

fn call_stops_come_in_pairs() -> Outcome {
    let pid = caller(libc::SYS_getppid, 0)?;
    to_call(pid)?;
    let entry = regs_of(pid)?;
    equal(
        (entry.orig_rax, entry.rax),
        (libc::SYS_getppid as u64, ENOSYS),
    )?;
    to_call(pid)?;
    let exit = regs_of(pid)?;
    equal(
        (exit.orig_rax, exit.rax),
        (libc::SYS_getppid as u64, getpid() as u64),
    )?;
    equal(exit.rip, entry.rip)?;
    kill_now(pid)
}

fn sysgood_marks_call_stops() -> Outcome {
    let pid = caller(libc::SYS_getppid, 0)?;
    ptrace(req::SETOPTIONS, pid, 0, opt::SYSGOOD)?;
    for message_wanted in [1, 2] {
        ptrace(req::SYSCALL, pid, 0, 0)?;
        expect_stop(pid, libc::SIGTRAP | 0x80)?;
        let info = siginfo(pid)?;
        equal(
            (info.si_signo, info.si_code),
            (libc::SIGTRAP, libc::SIGTRAP | 0x80),
        )?;
        equal(message(pid)?, message_wanted)?;
    }
    kill_now(pid)
}

fn entry_may_change_the_call() -> Outcome {
    let pid = caller(libc::SYS_getppid, 0)?;
    to_call(pid)?;
    let mut regs = regs_of(pid)?;
    regs.orig_rax = libc::SYS_getpid as u64;
    set_regs(pid, &regs)?;
    to_call(pid)?;
    equal(regs_of(pid)?.rax, pid as u64)?;
    kill_now(pid)
}

fn entry_may_change_arguments() -> Outcome {
    let pid = traced(|| exit(1))?;
    to_call(pid)?;
    let mut regs = regs_of(pid)?;
    equal(regs.orig_rax, libc::SYS_exit_group as u64)?;
    regs.rdi = 9;
    set_regs(pid, &regs)?;
    resume(pid, 0)?;
    expect_exit(pid, 9)
}

fn entry_may_skip_the_call() -> Outcome {
    let pid = caller(libc::SYS_getppid, 0)?;
    to_call(pid)?;
    let mut regs = regs_of(pid)?;
    regs.orig_rax = u64::MAX;
    regs.rax = 42;
    set_regs(pid, &regs)?;
    to_call(pid)?;
    equal(regs_of(pid)?.rax, 42)?;
    resume(pid, 0)?;
    expect_exit(pid, 42)
}

fn exit_may_change_the_answer() -> Outcome {
    let pid = caller(libc::SYS_getppid, 0)?;
    to_call(pid)?;
    to_call(pid)?;
    let mut regs = regs_of(pid)?;
    regs.rax = 43;
    set_regs(pid, &regs)?;
    resume(pid, 0)?;
    expect_exit(pid, 43)
}

/// `struct ptrace_syscall_info`.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
struct Info {
    op: u8,
    pad: [u8; 3],
    arch: u32,
    rip: u64,
    rsp: u64,
    words: [u64; 8],
}

fn info_of(pid: i32, size: usize) -> Sys<(usize, Info)> {
    let mut info = Info {
        words: [0x5555; 8],
        ..Info::default()
    };
    let len = sys!(SYS_ptrace, req::GET_SYSCALL_INFO, pid, size, &mut info)?;
    Ok((len, std::hint::black_box(info)))
}

fn info_of_entry_and_exit() -> Outcome {
    const ARCH: u32 = 0xc000_003e;
    let pid = caller(libc::SYS_getpgid, 0)?;
    ptrace(req::SETOPTIONS, pid, 0, opt::SYSGOOD)?;
    let (len, info) = info_of(pid, 88)?;
    equal((len, info.op, info.arch), (24, 0, ARCH))?;
    ptrace(req::SYSCALL, pid, 0, 0)?;
    expect_stop(pid, libc::SIGTRAP | 0x80)?;
    let regs = regs_of(pid)?;
    let (len, info) = info_of(pid, 88)?;
    equal((len, info.op, info.arch), (80, 1, ARCH))?;
    equal((info.rip, info.rsp), (regs.rip, regs.rsp))?;
    equal(
        info.words.get(..3).map(<[u64]>::to_vec),
        Some(vec![libc::SYS_getpgid as u64, regs.rdi, regs.rsi]),
    )?;
    ptrace(req::SYSCALL, pid, 0, 0)?;
    expect_stop(pid, libc::SIGTRAP | 0x80)?;
    let (len, info) = info_of(pid, 88)?;
    equal((len, info.op, info.words[0]), (33, 2, regs_of(pid)?.rax))?;
    equal(info.words[1] & 0xff, 0)?;
    kill_now(pid)
}

fn info_of_a_failure() -> Outcome {
    let pid = caller(libc::SYS_close, 999)?;
    ptrace(req::SETOPTIONS, pid, 0, opt::SYSGOOD)?;
    for _ in 0..2 {
        ptrace(req::SYSCALL, pid, 0, 0)?;
        expect_stop(pid, libc::SIGTRAP | 0x80)?;
    }
    let (len, info) = info_of(pid, 88)?;
    equal(
        (len, info.words[0] as i64, info.words[1] & 0xff),
        (33, -i64::from(libc::EBADF), 1),
    )?;
    kill_now(pid)
}

fn info_is_cut_to_size() -> Outcome {
    let pid = caller(libc::SYS_getppid, 0)?;
    ptrace(req::SETOPTIONS, pid, 0, opt::SYSGOOD)?;
    ptrace(req::SYSCALL, pid, 0, 0)?;
    expect_stop(pid, libc::SIGTRAP | 0x80)?;
    let (len, info) = info_of(pid, 24)?;
    equal((len, info.op, info.words[0]), (80, 1, 0x5555))?;
    equal(info_of(pid, 0)?.0, 80)?;
    kill_now(pid)
}

fn sysemu_makes_no_call() -> Outcome {
    let pid = caller(libc::SYS_getppid, 0)?;
    ptrace(req::SYSEMU, pid, 0, 0)?;
    expect_stop(pid, libc::SIGTRAP)?;
    let mut regs = regs_of(pid)?;
    equal(
        (regs.orig_rax, regs.rax),
        (libc::SYS_getppid as u64, ENOSYS),
    )?;
    regs.rax = 44;
    set_regs(pid, &regs)?;
    ptrace(req::SYSEMU, pid, 0, 0)?;
    expect_stop(pid, libc::SIGTRAP)?;
    let regs = regs_of(pid)?;
    equal((regs.orig_rax, regs.rdi), (libc::SYS_exit_group as u64, 44))?;
    kill_now(pid)
}

fn restart_codes_show_at_exit() -> Outcome {
    const ERESTARTNOHAND: i64 = 514;
    const ERESTARTSYS: i64 = 512;
    let (read_end, _write_end) = pipe()?;
    for (number, argument, code) in [
        (libc::SYS_pause, 0, ERESTARTNOHAND),
        (libc::SYS_read, read_end as usize, ERESTARTSYS),
    ] {
        let buffer = map(PAGE)?;
        let pid = traced(move || call(number, &[argument, buffer, 1]).map_or(1, |_| 0))?;
        to_call(pid)?;
        ptrace(req::SYSCALL, pid, 0, 0)?;
        await_state(pid, "S")?;
        sys!(SYS_kill, pid, libc::SIGWINCH)?;
        expect_stop(pid, libc::SIGTRAP)?;
        equal(regs_of(pid)?.rax as i64, -code)?;
        // The signal is stopped for next; without it the call begins again.
        ptrace(req::SYSCALL, pid, 0, 0)?;
        expect_stop(pid, libc::SIGWINCH)?;
        to_call(pid)?;
        let regs = regs_of(pid)?;
        equal((regs.orig_rax, regs.rax), (number as u64, ENOSYS))?;
        kill_now(pid)?;
    }
    Ok(())
}

/// Executes a program that ends well.
fn exec_true() -> i32 {
    let argv = [c"true".as_ptr(), std::ptr::null()];
    let envp: [*const i8; 1] = [std::ptr::null()];
    let _ = sys!(SYS_execve, c"/bin/true", argv.as_ptr(), envp.as_ptr());
    77
}

fn exec_ends_with_a_call_stop() -> Outcome {
    let pid = traced(exec_true)?;
    ptrace(req::SETOPTIONS, pid, 0, opt::SYSGOOD | opt::EXEC)?;
    ptrace(req::SYSCALL, pid, 0, 0)?;
    expect_stop(pid, libc::SIGTRAP | 0x80)?;
    ptrace(req::SYSCALL, pid, 0, 0)?;
    expect_event(pid, event::EXEC)?;
    equal(regs_of(pid)?.orig_rax, libc::SYS_execve as u64)?;
    ptrace(req::SYSCALL, pid, 0, 0)?;
    expect_stop(pid, libc::SIGTRAP | 0x80)?;
    let regs = regs_of(pid)?;
    equal((regs.orig_rax, regs.rax), (libc::SYS_execve as u64, 0))?;
    equal((regs.rbx, regs.rdi), (0, 0))?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn a_signal_may_be_given_at_a_call_stop() -> Outcome {
    let pid = traced(|| {
        let _ = catch(libc::SIGUSR1, 0);
        let _ = sys!(SYS_getppid);
        let info = last_info();
        i32::from(hits(libc::SIGUSR1) != 1) + 2 * i32::from(info.si_code != 0x80)
    })?;
    loop {
        to_call(pid)?;
        if regs_of(pid)?.orig_rax == libc::SYS_getppid as u64 {
            break;
        }
    }
    ptrace(req::SYSCALL, pid, 0, libc::SIGUSR1 as usize)?;
    expect_stop(pid, libc::SIGTRAP)?;
    resume(pid, 0)?;
    // It is a signal like any other, so it is stopped for.
    expect_stop(pid, libc::SIGUSR1)?;
    resume(pid, libc::SIGUSR1)?;
    expect_exit(pid, 0)
}

fn exit_group_stops_at_its_entry() -> Outcome {
    let pid = traced(|| exit(5))?;
    to_call(pid)?;
    equal(regs_of(pid)?.orig_rax, libc::SYS_exit_group as u64)?;
    ptrace(req::SYSCALL, pid, 0, 0)?;
    expect_exit(pid, 5)
}

fn missing_calls_stop_too() -> Outcome {
    let pid = caller(9999, 0)?;
    to_call(pid)?;
    equal(regs_of(pid)?.orig_rax, 9999)?;
    to_call(pid)?;
    equal(regs_of(pid)?.rax, ENOSYS)?;
    resume(pid, 0)?;
    expect_exit(pid, libc::ENOSYS)
}

fn cont_ends_call_stops() -> Outcome {
    let pid = caller(libc::SYS_getuid, 0)?;
    to_call(pid)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn kill_at_entry_prevents_the_call() -> Outcome {
    let pid = traced(|| sys!(SYS_mkdirat, libc::AT_FDCWD, c"made", 0o755).map_or(1, |_| 0))?;
    to_call(pid)?;
    equal(regs_of(pid)?.orig_rax, libc::SYS_mkdirat as u64)?;
    kill_now(pid)?;
    check(!std::path::Path::new("made").exists(), "the call was made")
}
