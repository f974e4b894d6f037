//! Who has whose filters: forks, threads, programs, and all threads at once.

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    children_inherit_filters,
    children_of_vfork_inherit_filters,
    programs_keep_filters,
    threads_inherit_filters,
    a_filter_is_one_threads_alone,
    tsync_reaches_all_threads,
    tsync_takes_no_new_privs_along,
    tsync_names_a_thread_that_went_its_own_way,
    tsync_may_answer_esrch_instead,
    tsync_joins_threads_with_less,
    threads_made_after_tsync_have_it,
    many_threads_and_filters_at_once,
    filters_of_the_dead_are_let_go,
];

const DENY: u32 = ERRNO | libc::EXDEV as u32;

fn children_inherit_filters() -> Outcome {
    install(&only(CALL, DENY))?;
    within(|| {
        fails(the_call(), libc::EXDEV)?;
        within(|| fails(the_call(), libc::EXDEV))
    })
}

fn children_of_vfork_inherit_filters() -> Outcome {
    extern "C" fn child(_: *mut libc::c_void) -> i32 {
        if the_call() == Err(Errno(libc::EXDEV)) {
            7
        } else {
            2
        }
    }
    install(&only(CALL, DENY))?;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let pid = clone_run(flags, child, 0, (0, 0))?;
    equal(wait(pid)?, 7 << 8)
}

fn programs_keep_filters() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let ready = sys!(SYS_dup2, write_end, 1).is_ok() && close(read_end).is_ok();
        if !ready || install(&only(libc::SYS_mkdir as u32, DENY)).is_err() {
            return 1;
        }
        let script = c"/bin/mkdir folder; /bin/grep Seccomp: /proc/self/status";
        let argv = [
            c"sh".as_ptr(),
            c"-c".as_ptr(),
            script.as_ptr(),
            std::ptr::null(),
        ];
        let envp = [std::ptr::null::<u8>()];
        let _ = sys!(SYS_execve, c"/bin/sh", argv.as_ptr(), envp.as_ptr());
        3
    })?;
    close(write_end)?;
    let text = read_some(read_end)?;
    equal(wait(pid)?, 0)?;
    equal(String::from_utf8_lossy(&text).trim(), "Seccomp:\t2")?;
    fails(stat(c"folder"), libc::ENOENT)
}

static ANSWER: AtomicI32 = AtomicI32::new(0);
static GO: AtomicU32 = AtomicU32::new(0);
static READY: AtomicU32 = AtomicU32::new(0);

fn note_answer() {
    let answer = match the_call() {
        Ok(value) => value as i32,
        Err(errno) => -errno.0,
    };
    ANSWER.store(answer, Ordering::SeqCst);
}

extern "C" fn call_at_once(_: *mut libc::c_void) -> i32 {
    note_answer();
    0
}

/// Waits for its turn, then makes the call. Its argument is the answer of a filter of its own, or 0.
extern "C" fn call_later(own: *mut libc::c_void) -> i32 {
    if own as usize != 0 {
        let _ = install(&only(libc::SYS_getsid as u32, own as u32));
    }
    READY.fetch_add(1, Ordering::SeqCst);
    await_word(&GO, 1);
    note_answer();
    0
}

fn threads_inherit_filters() -> Outcome {
    within(|| {
        install(&only(CALL, DENY))?;
        let ended = thread(call_at_once, 0)?;
        await_word(ended, 0);
        equal(ANSWER.load(Ordering::SeqCst), -libc::EXDEV)
    })
}

fn a_filter_is_one_threads_alone() -> Outcome {
    within(|| {
        let ended = thread(call_later, 0)?;
        await_word(&READY, 1);
        install(&only(CALL, DENY))?;
        GO.store(1, Ordering::SeqCst);
        await_word(ended, 0);
        equal(ANSWER.load(Ordering::SeqCst), UNFILTERED as i32)?;
        fails(the_call(), libc::EXDEV)
    })
}

fn tsync_reaches_all_threads() -> Outcome {
    within(|| {
        let ended = thread(call_later, 0)?;
        await_word(&READY, 1);
        equal(install_with(TSYNC, &only(CALL, DENY))?, 0)?;
        GO.store(1, Ordering::SeqCst);
        await_word(ended, 0);
        equal(ANSWER.load(Ordering::SeqCst), -libc::EXDEV)
    })
}

fn tsync_takes_no_new_privs_along() -> Outcome {
    static BIT: AtomicI32 = AtomicI32::new(-1);
    extern "C" fn ask(_: *mut libc::c_void) -> i32 {
        READY.fetch_add(1, Ordering::SeqCst);
        await_word(&GO, 1);
        let bit = sys!(SYS_prctl, libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
        BIT.store(bit.map_or(-1, |bit| bit as i32), Ordering::SeqCst);
        0
    }
    within(|| {
        let ended = thread(ask, 0)?;
        await_word(&READY, 1);
        no_new_privs()?;
        install_with(TSYNC, &only(CALL, DENY))?;
        GO.store(1, Ordering::SeqCst);
        await_word(ended, 0);
        equal(BIT.load(Ordering::SeqCst), 1)
    })
}

fn start_stray() -> Outcome<i32> {
    let flags = THREAD;
    let tid = clone_run(flags, call_later, DENY as usize, (0, 0))?;
    await_word(&READY, 1);
    Ok(tid)
}

fn tsync_names_a_thread_that_went_its_own_way() -> Outcome {
    within(|| {
        let tid = start_stray()?;
        equal(install_with(TSYNC, &only(CALL, DENY))? as i32, tid)?;
        equal(status_line("self", "Seccomp")?.as_str(), "0")?;
        equal(the_call()?, UNFILTERED)
    })
}

fn tsync_may_answer_esrch_instead() -> Outcome {
    within(|| {
        start_stray()?;
        let flags = TSYNC | TSYNC_ESRCH;
        fails(install_with(flags, &only(CALL, DENY)), libc::ESRCH)?;
        let flags = flags | NEW_LISTENER;
        fails(install_with(flags, &only(CALL, USER_NOTIF)), libc::ESRCH)?;
        // The descriptor that was taken for the listener is free again.
        let fds = std::fs::read_dir("/proc/self/fd")?;
        let mut links = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        let left = links.any(|link| link.to_string_lossy().contains("seccomp"));
        check(!left, "a listener is left open")?;
        equal(the_call()?, UNFILTERED)
    })
}

fn tsync_joins_threads_with_less() -> Outcome {
    within(|| {
        install(&only(libc::SYS_getpgid as u32, DENY))?;
        let ended = thread(call_later, 0)?;
        await_word(&READY, 1);
        install(&only(libc::SYS_getsid as u32, DENY))?;
        equal(install_with(TSYNC, &only(CALL, DENY))?, 0)?;
        GO.store(1, Ordering::SeqCst);
        await_word(ended, 0);
        equal(ANSWER.load(Ordering::SeqCst), -libc::EXDEV)
    })
}

fn threads_made_after_tsync_have_it() -> Outcome {
    within(|| {
        install_with(TSYNC, &only(CALL, DENY))?;
        let ended = thread(call_at_once, 0)?;
        await_word(ended, 0);
        equal(ANSWER.load(Ordering::SeqCst), -libc::EXDEV)
    })
}

fn many_threads_and_filters_at_once() -> Outcome {
    static ALLOWED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn spawn(_: *mut libc::c_void) -> i32 {
        extern "C" fn born(_: *mut libc::c_void) -> i32 {
            // Before the last TSYNC a thread may still be born without the filter, never after it.
            let last = GO.load(Ordering::SeqCst) == 1;
            if last && the_call().is_ok() {
                ALLOWED.fetch_add(1, Ordering::SeqCst);
            }
            0
        }
        for _ in 0..40 {
            if let Ok(ended) = thread(born, 0) {
                await_word(ended, 0);
            }
        }
        0
    }
    within(|| {
        let makers = [thread(spawn, 0)?, thread(spawn, 0)?];
        for _ in 0..20 {
            equal(install_with(TSYNC, &only(CALL, DENY))?, 0)?;
            GO.store(1, Ordering::SeqCst);
            let _ = sys!(SYS_sched_yield);
        }
        for ended in makers {
            await_word(ended, 0);
        }
        equal(ALLOWED.load(Ordering::SeqCst), 0)
    })
}

fn filters_of_the_dead_are_let_go() -> Outcome {
    // A long chain, made and left many times: it is taken down without a deep recursion.
    let short = [stmt(RET_K, ALLOW)];
    for _ in 0..3 {
        let pid = fork(|| {
            let mut count = 0;
            while install(&short).is_ok() {
                count += 1;
            }
            i32::from(count < 1000)
        })?;
        equal(wait(pid)?, 0)?;
    }
    Ok(())
}
