//! Raw system calls, and the few shapes of them that the cases share.

use std::ffi::CString;

/// Makes a call; negative answers are errors.
pub fn call(number: libc::c_long, args: &[usize]) -> isize {
    let mut six = [0; 6];
    for (slot, &arg) in six.iter_mut().zip(args) {
        *slot = arg;
    }
    let answer: isize;
    // SAFETY: the callers pass memory of their own that outlives the call; a fork goes on in single-threaded children.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => answer,
            in("rdi") six[0],
            in("rsi") six[1],
            in("rdx") six[2],
            in("r10") six[3],
            in("r8") six[4],
            in("r9") six[5],
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    answer
}

pub fn fork() -> isize {
    call(libc::SYS_fork, &[])
}

pub fn exit(status: i32) -> ! {
    loop {
        call(libc::SYS_exit_group, &[status as usize]);
    }
}

/// The status of a child once it has ended.
pub fn wait(pid: isize) -> i32 {
    let mut status = 0_i32;
    let place = &raw mut status as usize;
    call(libc::SYS_wait4, &[pid as usize, place, 0, 0]);
    std::hint::black_box(status)
}

/// A child that runs `work`; its number.
pub fn child(work: impl FnOnce() -> i32) -> isize {
    match fork() {
        0 => exit(work()),
        pid => pid,
    }
}

/// Runs `work` in a child; its wait status.
pub fn in_child(work: impl FnOnce() -> i32) -> i32 {
    match child(work) {
        pid if pid < 0 => pid as i32,
        pid => wait(pid),
    }
}

pub fn kill(pid: isize, signal: i32) -> isize {
    call(libc::SYS_kill, &[pid as usize, signal as usize])
}

pub fn limit(what: i32, soft: u64, hard: u64) -> isize {
    let limit = [soft, hard];
    let place = limit.as_ptr() as usize;
    call(libc::SYS_prlimit64, &[0, what as usize, place, 0])
}

pub fn become_user(user: usize) {
    call(libc::SYS_setresgid, &[user, user, user]);
    call(libc::SYS_setresuid, &[user, user, user]);
}

pub fn block_all() {
    let all = u64::MAX;
    let place = &raw const all as usize;
    call(libc::SYS_rt_sigprocmask, &[2, place, 0, 8]);
}

/// Runs a program with its path as its only argument; answers only if that fails.
pub fn exec(path: &str) -> isize {
    let path = CString::new(path).unwrap_or_default();
    let arguments = [path.as_ptr() as usize, 0];
    let none = [0_usize];
    call(
        libc::SYS_execve,
        &[
            path.as_ptr() as usize,
            arguments.as_ptr() as usize,
            none.as_ptr() as usize,
        ],
    )
}

/// A call with one path.
pub fn path_call(number: libc::c_long, path: &str, rest: &[usize]) -> isize {
    let path = CString::new(path).unwrap_or_default();
    let mut args = vec![path.as_ptr() as usize];
    args.extend(rest);
    call(number, &args)
}
