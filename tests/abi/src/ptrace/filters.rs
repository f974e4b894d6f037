//! Tracers and seccomp: calls that a filter sends to the tracer, and filters that a tracer suspends.

use super::*;
use crate::cases;
use crate::harness::Case;
use crate::seccomp::{CALL, ERRNO, TRACE, install, only, the_call};

pub const CASES: &[Case] = cases![
    a_filter_sends_a_call_to_the_tracer,
    a_call_for_no_tracer_is_not_there,
    a_call_for_a_tracer_without_the_option_is_not_there,
    the_tracer_skips_the_call,
    the_tracer_makes_another_call_of_it,
    what_the_tracer_made_of_it_is_filtered,
    the_entry_stop_comes_before_the_filter,
    suspended_filters_do_not_count,
];

const OPTION_SECCOMP: usize = 1 << 7;
const OPTION_SUSPEND: usize = 1 << 21;
const EVENT_SECCOMP: i32 = 7;

/// A tracee that puts a filter in place and ends with what its call answers: a value, or 100 and an error number.
fn filtered(answer: u32, options: usize) -> Outcome<i32> {
    let pid = traced(move || {
        if install(&only(CALL, answer)).is_err() {
            return 99;
        }
        match the_call() {
            Ok(value) => value as i32,
            Err(error) => 100 + error.0,
        }
    })?;
    ptrace(req::SETOPTIONS, pid, 0, options)?;
    resume(pid, 0)?;
    Ok(pid)
}

fn a_filter_sends_a_call_to_the_tracer() -> Outcome {
    let pid = filtered(TRACE | 1234, OPTION_SECCOMP)?;
    expect_event(pid, EVENT_SECCOMP)?;
    equal(message(pid)?, 1234)?;
    equal(regs_of(pid)?.orig_rax, u64::from(CALL))?;
    resume(pid, 0)?;
    expect_exit(pid, 20)
}

fn a_call_for_no_tracer_is_not_there() -> Outcome {
    let pid = fork(|| {
        if install(&only(CALL, TRACE)).is_err() {
            return 99;
        }
        the_call().map_or_else(|error| error.0, |_| 98)
    })?;
    expect_exit(pid, libc::ENOSYS)
}

fn a_call_for_a_tracer_without_the_option_is_not_there() -> Outcome {
    let pid = filtered(TRACE, opt::SYSGOOD)?;
    expect_exit(pid, 100 + libc::ENOSYS)
}

fn the_tracer_skips_the_call() -> Outcome {
    let pid = filtered(TRACE, OPTION_SECCOMP)?;
    expect_event(pid, EVENT_SECCOMP)?;
    let mut regs = regs_of(pid)?;
    regs.orig_rax = u64::MAX;
    regs.rax = 55;
    set_regs(pid, &regs)?;
    resume(pid, 0)?;
    expect_exit(pid, 55)
}

fn the_tracer_makes_another_call_of_it() -> Outcome {
    sys!(SYS_umask, 0o31)?;
    let pid = filtered(TRACE, OPTION_SECCOMP)?;
    expect_event(pid, EVENT_SECCOMP)?;
    let mut regs = regs_of(pid)?;
    // umask(077) answers what was there.
    regs.orig_rax = libc::SYS_umask as u64;
    regs.rdi = 0o77;
    set_regs(pid, &regs)?;
    resume(pid, 0)?;
    expect_exit(pid, 0o31)
}

fn what_the_tracer_made_of_it_is_filtered() -> Outcome {
    let pid = traced(|| {
        let both = install(&only(libc::SYS_getppid as u32, ERRNO | 7))
            .and_then(|_| install(&only(CALL, TRACE)));
        if both.is_err() {
            return 99;
        }
        the_call().map_or_else(|error| error.0, |_| 98)
    })?;
    ptrace(req::SETOPTIONS, pid, 0, OPTION_SECCOMP)?;
    resume(pid, 0)?;
    expect_event(pid, EVENT_SECCOMP)?;
    let mut regs = regs_of(pid)?;
    regs.orig_rax = libc::SYS_getppid as u64;
    set_regs(pid, &regs)?;
    resume(pid, 0)?;
    expect_exit(pid, 7)
}

fn the_entry_stop_comes_before_the_filter() -> Outcome {
    let pid = filtered(TRACE, OPTION_SECCOMP | opt::SYSGOOD)?;
    expect_event(pid, EVENT_SECCOMP)?;
    // From the filter's stop on only the exit is left to be stopped at.
    ptrace(req::SYSCALL, pid, 0, 0)?;
    expect_stop(pid, libc::SIGTRAP | 0x80)?;
    equal(regs_of(pid)?.rax, 20)?;
    resume(pid, 0)?;
    expect_exit(pid, 20)
}

fn suspended_filters_do_not_count() -> Outcome {
    let pid = filtered(ERRNO | 7, OPTION_SUSPEND)?;
    expect_exit(pid, 20)
}
