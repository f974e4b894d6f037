//! Modes, operations and what `/proc` shows of them.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    strict_mode_leaves_four_calls,
    strict_mode_kills_for_any_other_call,
    strict_mode_kills_one_thread,
    strict_mode_returns_from_handlers,
    strict_mode_hides_the_counter,
    strict_mode_after_a_filter_is_einval,
    the_mode_is_told,
    unknown_modes_and_operations_are_einval,
    actions_are_told,
    sizes_of_messages_are_told,
    status_counts_filters,
    actions_are_listed,
    logged_actions_are_chosen,
    logged_actions_need_power,
];

fn exit_thread(status: i32) -> ! {
    let _ = sys!(SYS_exit, status);
    std::process::abort()
}

fn strict() -> Sys {
    sys!(SYS_prctl, libc::PR_SET_SECCOMP, 1, 0, 0, 0)
}

fn strict_mode_leaves_four_calls() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        if strict().is_err() {
            exit_thread(1);
        }
        let mut bytes = [0; 1];
        let written = write(write_end, b"x");
        let read = read(read_end, &mut bytes);
        let good = written == Ok(1) && read == Ok(1) && bytes == *b"x";
        exit_thread(if good { 7 } else { 2 })
    })?;
    equal(wait(pid)?, 7 << 8)
}

fn strict_mode_kills_for_any_other_call() -> Outcome {
    for call in [
        libc::SYS_getpid,
        libc::SYS_exit_group,
        libc::SYS_prctl,
        9999,
        -1,
    ] {
        let signal = death_of(|| {
            if sys!(SYS_seccomp, SET_MODE_STRICT, 0, 0).is_ok() {
                let _ = crate::sys::call(call, &[]);
            }
        })?;
        equal(signal, libc::SIGKILL)?;
    }
    Ok(())
}

fn strict_mode_kills_one_thread() -> Outcome {
    extern "C" fn body(_: *mut libc::c_void) -> i32 {
        if strict().is_ok() {
            let _ = sys!(SYS_getpid);
        }
        1
    }
    within(|| {
        let ended = thread(body, 0)?;
        await_word(ended, 0);
        equal(the_call()?, UNFILTERED)
    })
}

fn strict_mode_returns_from_handlers() -> Outcome {
    let (read_end, write_end) = pipe2(libc::O_NONBLOCK)?;
    let (alone, go) = pipe()?;
    let pid = fork(|| {
        let handled = catch(libc::SIGPIPE, 0);
        if handled.is_err() || close(read_end).is_err() || strict().is_err() {
            exit_thread(1);
        }
        // Until the parent has closed its own.
        let _ = read(alone, &mut [0]);
        let written = write(write_end, b"x");
        let good = written == Err(Errno(libc::EPIPE)) && hits(libc::SIGPIPE) == 1;
        exit_thread(if good { 7 } else { 2 })
    })?;
    close(read_end)?;
    write(go, &[0])?;
    equal(wait(pid)?, 7 << 8)
}

fn strict_mode_hides_the_counter() -> Outcome {
    let signal = death_of(|| {
        if strict().is_ok() {
            // SAFETY: reads a register; a signal comes.
            unsafe { std::arch::asm!("rdtsc", out("eax") _, out("edx") _) };
            exit_thread(0);
        }
    })?;
    equal(signal, libc::SIGSEGV)
}

fn strict_mode_after_a_filter_is_einval() -> Outcome {
    install(&only(CALL, ALLOW))?;
    fails(strict(), libc::EINVAL)?;
    fails(sys!(SYS_seccomp, SET_MODE_STRICT, 0, 0), libc::EINVAL)
}

fn the_mode_is_told() -> Outcome {
    let mode = || sys!(SYS_prctl, libc::PR_GET_SECCOMP, 0, 0, 0, 0);
    equal(mode()?, 0)?;
    install(&only(CALL, ALLOW))?;
    equal(mode()?, 2)
}

fn unknown_modes_and_operations_are_einval() -> Outcome {
    for mode in [0, 3, 4, u32::MAX] {
        fails(
            sys!(SYS_prctl, libc::PR_SET_SECCOMP, mode, 0, 0, 0),
            libc::EINVAL,
        )?;
    }
    for operation in [4, 77, u32::MAX] {
        fails(sys!(SYS_seccomp, operation, 0, 0), libc::EINVAL)?;
    }
    let word = 0u64;
    fails(sys!(SYS_seccomp, SET_MODE_STRICT, 1, 0), libc::EINVAL)?;
    fails(sys!(SYS_seccomp, SET_MODE_STRICT, 0, &word), libc::EINVAL)?;
    fails(sys!(SYS_seccomp, GET_ACTION_AVAIL, 1, &word), libc::EINVAL)?;
    fails(sys!(SYS_seccomp, GET_NOTIF_SIZES, 1, &word), libc::EINVAL)
}

fn actions_are_told() -> Outcome {
    let available = |action: u32| sys!(SYS_seccomp, GET_ACTION_AVAIL, 0, &action);
    let all = [
        KILL_PROCESS,
        KILL_THREAD,
        TRAP,
        ERRNO,
        USER_NOTIF,
        TRACE,
        RET_LOG,
        ALLOW,
    ];
    for action in all {
        equal(available(action)?, 0)?;
    }
    for action in [1, 0x0001_0000, ERRNO | 1, 0x7ffd_0000, u32::MAX] {
        fails(available(action), libc::EOPNOTSUPP)?;
    }
    fails(sys!(SYS_seccomp, GET_ACTION_AVAIL, 0, 0), libc::EFAULT)
}

fn sizes_of_messages_are_told() -> Outcome {
    let mut sizes = [0u16; 4];
    equal(sys!(SYS_seccomp, GET_NOTIF_SIZES, 0, &mut sizes)?, 0)?;
    equal(sizes, [80, 24, 64, 0])?;
    fails(sys!(SYS_seccomp, GET_NOTIF_SIZES, 0, 0), libc::EFAULT)
}

fn status_counts_filters() -> Outcome {
    equal(status_line("self", "Seccomp")?.as_str(), "0")?;
    equal(status_line("self", "Seccomp_filters")?.as_str(), "0")?;
    for _ in 0..3 {
        install(&only(CALL, ALLOW))?;
    }
    equal(status_line("self", "Seccomp")?.as_str(), "2")?;
    equal(status_line("self", "Seccomp_filters")?.as_str(), "3")?;
    let pid = fork(|| {
        let _ = strict();
        let mut byte = [0; 1];
        let _ = read(0, &mut byte);
        0
    })?;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    wait(pid)?;
    Ok(())
}

const ACTIONS: &str = "/proc/sys/kernel/seccomp/actions_avail";
const LOGGED: &str = "/proc/sys/kernel/seccomp/actions_logged";

fn actions_are_listed() -> Outcome {
    let all = "kill_process kill_thread trap errno user_notif trace log allow\n";
    equal(text_of(ACTIONS)?.as_str(), all)?;
    equal(stat(&c_string(ACTIONS))?.st_mode & 0o777, 0o444)
}

fn logged_actions_are_chosen() -> Outcome {
    let before = text_of(LOGGED)?;
    check(!before.contains("allow"), "allowed calls are logged")?;
    let set = |text: &str| std::fs::write(LOGGED, text).map_err(|error| error.raw_os_error());
    let tried = (|| {
        equal(set("errno kill_process\n"), Ok(()))?;
        equal(text_of(LOGGED)?.as_str(), "kill_process errno\n")?;
        equal(set("errno allow"), Err(Some(libc::EINVAL)))?;
        equal(set("errno nothing"), Err(Some(libc::EINVAL)))?;
        equal(text_of(LOGGED)?.as_str(), "kill_process errno\n")
    })();
    let restored = set(&before);
    tried?;
    equal(restored, Ok(()))?;
    equal(text_of(LOGGED)?, before)
}

fn logged_actions_need_power() -> Outcome {
    // The file is root's, so that it opens for this one; what counts is who writes.
    let fd = open(&c_string(LOGGED), libc::O_WRONLY)?;
    become_user()?;
    fails(write(fd, b"errno"), libc::EPERM)
}
