//! The course of a dump: which signals, what the parent hears, and what happens meanwhile.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    these_signals_dump,
    other_signals_do_not,
    the_parent_is_told,
    waitid_tells_too,
    caught_and_ignored_signals_do_not_dump,
    a_signal_from_outside_dumps,
    a_stopped_process_dumps_when_it_goes_on,
    a_thread_may_be_the_one_to_dump,
    sleeping_threads_are_no_hindrance,
    a_dead_leader_is_no_hindrance,
    a_child_of_vfork_dumps_alone,
    programs_after_exec_dump,
    sigkill_ends_a_dump,
    other_signals_do_not_end_a_dump,
    a_file_limit_cuts_the_dump,
    two_processes_dump_at_once,
    abort_of_the_library_dumps,
    exhausted_stacks_dump,
];

fn these_signals_dump() -> Outcome {
    let signals = [
        libc::SIGQUIT,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGABRT,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGSEGV,
        libc::SIGXCPU,
        libc::SIGXFSZ,
        libc::SIGSYS,
    ];
    for signal in signals {
        let status = status_of(|| {
            let _ = raise(signal);
        })?;
        equal(
            (libc::WTERMSIG(status), libc::WCOREDUMP(status)),
            (signal, true),
        )?;
        check(exists("core"), "there is no file")?;
        sys!(SYS_unlink, c"core")?;
    }
    Ok(())
}

fn other_signals_do_not() -> Outcome {
    for signal in [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGKILL,
        libc::SIGTERM,
        libc::SIGUSR1,
        libc::SIGPIPE,
        40,
    ] {
        let status = status_of(|| {
            let _ = raise(signal);
        })?;
        equal(status, signal)?;
        check(!exists("core"), "there is a file")?;
    }
    Ok(())
}

fn the_parent_is_told() -> Outcome {
    const CLD_DUMPED: i32 = 3;
    block(&[libc::SIGCHLD])?;
    let status = status_of(|| die_with(0))?;
    equal(status, libc::SIGILL | 0x80)?;
    let info = take(&[libc::SIGCHLD])?;
    equal(info.si_code, CLD_DUMPED)?;
    // SAFETY: it is a child's.
    equal(unsafe { info.si_status() }, libc::SIGILL)
}

fn waitid_tells_too() -> Outcome {
    const CLD_DUMPED: i32 = 3;
    let pid = fork(|| {
        let _ = limit_core(u64::MAX);
        die_with(0)
    })?;
    let mut info = zeroed::<libc::siginfo_t>();
    sys!(SYS_waitid, libc::P_PID, pid, &mut info, libc::WEXITED, 0)?;
    equal(info.si_code, CLD_DUMPED)
}

fn caught_and_ignored_signals_do_not_dump() -> Outcome {
    let status = status_of(|| {
        let _ = catch(libc::SIGQUIT, 0);
        let _ = handle(libc::SIGABRT, libc::SIG_IGN, 0, &[]);
        let _ = block(&[libc::SIGXCPU]);
        for signal in [libc::SIGQUIT, libc::SIGABRT, libc::SIGXCPU] {
            let _ = raise(signal);
        }
    })?;
    equal(status, 0)?;
    check(!exists("core"), "there is a file")
}

fn pausing() -> Sys<i32> {
    fork(|| {
        let _ = be_dumpable();
        loop {
            let _ = sys!(SYS_pause);
        }
    })
}

fn a_signal_from_outside_dumps() -> Outcome {
    let pid = pausing()?;
    await_state(pid, "S")?;
    sys!(SYS_kill, pid, libc::SIGQUIT)?;
    equal(wait(pid)?, libc::SIGQUIT | 0x80)?;
    let core = Core::read("core")?;
    // It slept in a call, which the registers show: pause, and what it would have answered.
    equal(core.register(15)?, libc::SYS_pause as usize)
}

fn a_stopped_process_dumps_when_it_goes_on() -> Outcome {
    let pid = pausing()?;
    await_state(pid, "S")?;
    sys!(SYS_kill, pid, libc::SIGSTOP)?;
    wait_with(pid, libc::WUNTRACED)?;
    sys!(SYS_kill, pid, libc::SIGQUIT)?;
    equal(sys!(SYS_wait4, pid, 0, libc::WNOHANG, 0)?, 0)?;
    check(!exists("core"), "it dumps while it is stopped")?;
    sys!(SYS_kill, pid, libc::SIGCONT)?;
    equal(wait(pid)?, libc::SIGQUIT | 0x80)?;
    Core::read("core")?;
    Ok(())
}

extern "C" fn sleeper(_: *mut libc::c_void) -> i32 {
    loop {
        let _ = sys!(SYS_pause);
    }
}

extern "C" fn dies(_: *mut libc::c_void) -> i32 {
    die_with(0x4242)
}

fn a_thread_may_be_the_one_to_dump() -> Outcome {
    let core = dump_of(|| {
        let _ = thread(dies, 0);
        loop {
            let _ = sys!(SYS_pause);
        }
    })?;
    equal(core.register(R12)?, 0x4242)?;
    // The program's number is the process's, the first status the thread's.
    let status = core.note(NT_PRSTATUS)?;
    let info = core.note(NT_PRPSINFO)?;
    check(
        int_at(status, 32) != int_at(info, 24),
        "the leader is said to have died",
    )
}

fn sleeping_threads_are_no_hindrance() -> Outcome {
    let core = dump_of(|| {
        let (read_end, _write_end) = pipe().unwrap_or((-1, -1));
        extern "C" fn reads(fd: *mut libc::c_void) -> i32 {
            let mut byte = [0; 1];
            i32::from(read(fd as usize as i32, &mut byte).is_ok())
        }
        extern "C" fn vforks(_: *mut libc::c_void) -> i32 {
            let flags = libc::CLONE_VM | libc::CLONE_VFORK;
            i32::from(clone_run(flags, sleeper, 0, (0, 0)).is_ok())
        }
        let _ = thread(sleeper, 0);
        let _ = thread(reads, read_end as usize);
        let _ = thread(vforks, 0);
        nap();
        die_with(0x4242)
    })?;
    equal(core.register(R12)?, 0x4242)?;
    let threads = core
        .notes()
        .iter()
        .filter(|note| note.0 == NT_PRSTATUS)
        .count();
    equal(threads, 4)
}

fn a_dead_leader_is_no_hindrance() -> Outcome {
    extern "C" fn dies_later(leader: *mut libc::c_void) -> i32 {
        await_word(word(leader as usize), 0);
        die_with(0x4242)
    }
    let leader = map(PAGE)?;
    let pid = fork(|| {
        let _ = be_dumpable();
        word(leader).store(1, std::sync::atomic::Ordering::SeqCst);
        let _ = sys!(SYS_set_tid_address, leader);
        let _ = thread(dies_later, leader);
        let _ = sys!(SYS_exit, 0);
        0
    })?;
    equal(wait(pid)?, libc::SIGILL | 0x80)?;
    equal(Core::read("core")?.register(R12)?, 0x4242)
}

fn a_child_of_vfork_dumps_alone() -> Outcome {
    let at = map(PAGE)?;
    poke(at, b'p');
    limit_core(u64::MAX)?;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let pid = clone_run(flags, dies, 0, (0, 0))?;
    equal(wait(pid)?, libc::SIGILL | 0x80)?;
    limit_core(0)?;
    // The parent shares the memory, and goes on.
    let core = Core::read("core")?;
    equal(core.register(R12)?, 0x4242)?;
    equal(core.memory(at, 1)?, b"p")?;
    equal(
        core.notes()
            .iter()
            .filter(|note| note.0 == NT_PRSTATUS)
            .count(),
        1,
    )
}

fn programs_after_exec_dump() -> Outcome {
    let status = status_of(|| {
        let argv = [
            c"sh".as_ptr(),
            c"-c".as_ptr(),
            c"kill -SEGV $$".as_ptr(),
            std::ptr::null(),
        ];
        let _ = sys!(SYS_execve, c"/bin/sh", argv.as_ptr(), 0);
    })?;
    equal(status, libc::SIGSEGV | 0x80)?;
    let core = Core::read("core")?;
    let info = core.note(NT_PRPSINFO)?;
    let arguments = info.get(56..).unwrap_or_default();
    check(
        arguments.starts_with(b"sh -c kill -SEGV $$"),
        "the arguments are not there",
    )?;
    // An interpreter and libraries are listed as well, where there are any.
    check(word_at(core.note(NT_FILE)?, 0) > 0, "no file is listed")
}

/// A process that dumps into a program that does not read.
fn stuck() -> Sys<i32> {
    let pid = fork(|| {
        if let Ok(at) = map(1 << 20) {
            (0..256).for_each(|page| poke(at + page * PAGE, 1));
        }
        die_with(0)
    })?;
    Ok(pid)
}

fn is_dumping(pid: i32) -> Outcome<bool> {
    Ok(text_of(&format!("/proc/{pid}/status"))?.contains("CoreDumping:\t1"))
}

const NEVER_READS: &str = "|/bin/sleep 1000";

/// Kills the readers that have got so far as to run; false if there is none.
fn kill_reader() -> bool {
    let mut found = false;
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let folder = entry.path();
        let line = std::fs::read(folder.join("cmdline")).unwrap_or_default();
        if line == b"/bin/sleep\x001000\0" {
            let name = entry.file_name().to_string_lossy().into_owned();
            let _ = sys!(SYS_kill, name.parse().unwrap_or(0_i32), libc::SIGKILL);
            found = true;
        }
    }
    found
}

fn sigkill_ends_a_dump() -> Outcome {
    let outcome = with_settings(&[("kernel/core_pattern", NEVER_READS)], || {
        let pid = stuck()?;
        while !is_dumping(pid)? {
            nap();
        }
        sys!(SYS_kill, pid, libc::SIGKILL)?;
        equal(wait(pid)?, libc::SIGKILL)
    });
    kill_reader();
    outcome
}

fn other_signals_do_not_end_a_dump() -> Outcome {
    let outcome = with_settings(&[("kernel/core_pattern", NEVER_READS)], || {
        let pid = stuck()?;
        while !is_dumping(pid)? {
            nap();
        }
        for signal in [libc::SIGTERM, libc::SIGQUIT, libc::SIGCONT, 40] {
            sys!(SYS_kill, pid, signal)?;
        }
        nap();
        check(is_dumping(pid)?, "the dump is over")?;
        equal(sys!(SYS_wait4, pid, 0, libc::WNOHANG, 0)?, 0)?;
        // Its reader's end is its end.
        while !kill_reader() {
            nap();
        }
        equal(libc::WTERMSIG(wait(pid)?), libc::SIGILL)
    });
    kill_reader();
    outcome
}

fn a_file_limit_cuts_the_dump() -> Outcome {
    let status = status_of(|| {
        let _ = sys!(SYS_setrlimit, libc::RLIMIT_FSIZE, &[8192u64, 8192]);
        die_with(0)
    })?;
    equal(libc::WTERMSIG(status), libc::SIGILL)?;
    check(stat(c"core")?.st_size <= 8192, "the file is too long")
}

fn two_processes_dump_at_once() -> Outcome {
    with_settings(&[("kernel/core_pattern", "core.%p")], || {
        let pids = [pausing()?, pausing()?, pausing()?];
        for pid in pids {
            await_state(pid, "S")?;
        }
        for pid in pids {
            sys!(SYS_kill, pid, libc::SIGQUIT)?;
        }
        for pid in pids {
            equal(wait(pid)?, libc::SIGQUIT | 0x80)?;
            Core::read(&format!("core.{pid}"))?;
        }
        Ok(())
    })
}

fn abort_of_the_library_dumps() -> Outcome {
    let status = status_of(|| std::process::abort())?;
    equal(status, libc::SIGABRT | 0x80)?;
    Core::read("core")?;
    Ok(())
}

fn exhausted_stacks_dump() -> Outcome {
    #[inline(never)]
    fn deeper(depth: usize) -> usize {
        let mut space = [depth; 512];
        space[depth % 512] = peek((&raw const space) as usize) as usize;
        if depth == usize::MAX {
            0
        } else {
            deeper(depth + 1) + space[1]
        }
    }
    let core = dump_of(|| {
        let _ = sys!(
            SYS_setrlimit,
            libc::RLIMIT_STACK,
            &[256u64 << 10, 256 << 10]
        );
        peek(deeper(1));
    })?;
    equal(int_at(core.note(NT_PRSTATUS)?, 0), libc::SIGSEGV)
}
