//! Processes: fork, vfork, clone, clone3, wait, exit, groups and sessions.

use std::sync::atomic::Ordering;

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    fork_gives_the_child_a_pid_and_parent,
    fork_copies_memory,
    fork_shares_offsets_of_open_files,
    fork_keeps_signal_mask_and_dispositions,
    fork_clears_pending_signals,
    fork_clears_alarms,
    fork_keeps_cwd_umask_and_limits,
    vfork_runs_in_the_parents_memory,
    clone_with_vm_and_vfork_waits_for_the_child,
    clone_sets_parent_and_child_tid,
    clone_refuses_sighand_without_vm,
    clone_refuses_thread_without_sighand,
    clone_files_shares_descriptors,
    clone_fs_shares_the_working_directory,
    clone_exit_signal_is_what_the_parent_gets,
    clone_without_signal_needs_wall,
    clone3_returns_a_pidfd,
    clone3_refuses_small_and_dirty_arguments,
    clone3_clear_sighand_resets_handlers,
    wait_answers_the_exit_status,
    wait_answers_the_killing_signal,
    wait_without_children_is_echild,
    wait_for_strangers_is_echild,
    wait_nohang_answers_zero,
    wait_refuses_unknown_options,
    wait_by_group,
    wait_sees_stop_and_continue,
    wait_tells_resource_usage,
    waitid_nowait_leaves_the_child,
    waitid_fills_siginfo,
    waitid_nohang_clears_siginfo,
    waitid_by_pidfd,
    waitid_refuses_no_events,
    exit_status_is_eight_bits,
    exit_of_one_thread_leaves_the_process,
    exit_group_ends_all_threads,
    orphans_go_to_the_subreaper,
    zombie_has_state_z_and_no_memory,
    ignored_sigchld_reaps_children,
    nocldwait_reaps_children,
    nocldstop_keeps_stops_quiet,
    pdeathsig_comes_at_the_parents_end,
    setpgid_makes_and_joins_groups,
    setpgid_after_exec_is_eacces,
    setpgid_of_strangers_is_esrch,
    setsid_makes_a_session,
    setsid_of_a_group_leader_is_eperm,
    getsid_and_getpgid_of_no_process_are_esrch,
    orphaned_stopped_group_gets_hup_and_cont,
    pidfd_open_refuses_no_process_and_flags,
    pidfd_becomes_readable_at_the_end,
    rlimit_nproc_stops_forks,
    getppid_changes_when_the_parent_ends,
];

fn fork_gives_the_child_a_pid_and_parent() -> Outcome {
    let me = getpid();
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let ppid = sys!(SYS_getppid).unwrap_or(0) as i32;
        let text = format!("{} {}", getpid(), ppid);
        i32::from(write(write_end, text.as_bytes()).is_err())
    })?;
    equal(wait(pid)?, 0)?;
    equal(
        String::from_utf8_lossy(&read_some(read_end)?).into_owned(),
        format!("{pid} {me}"),
    )
}

fn fork_copies_memory() -> Outcome {
    let addr = map(PAGE)?;
    poke(addr, 1);
    let pid = fork(|| {
        let before = peek(addr);
        poke(addr, 2);
        i32::from(before != 1 || peek(addr) != 2)
    })?;
    equal(wait(pid)?, 0)?;
    equal(peek(addr), 1)
}

fn fork_shares_offsets_of_open_files() -> Outcome {
    let fd = file_with(c"f", b"abcdef")?;
    let pid = fork(|| {
        let mut bytes = [0; 4];
        i32::from(read(fd, &mut bytes) != Ok(4))
    })?;
    equal(wait(pid)?, 0)?;
    equal(sys!(SYS_lseek, fd, 0, libc::SEEK_CUR)?, 4)
}

fn fork_keeps_signal_mask_and_dispositions() -> Outcome {
    block(&[libc::SIGUSR2])?;
    catch(libc::SIGUSR1, 0)?;
    within(|| {
        equal(
            block(&[])? & set_of(&[libc::SIGUSR2]),
            set_of(&[libc::SIGUSR2]),
        )?;
        raise(libc::SIGUSR1)?;
        equal(hits(libc::SIGUSR1), 1)
    })
}

fn fork_clears_pending_signals() -> Outcome {
    block(&[libc::SIGUSR1])?;
    raise(libc::SIGUSR1)?;
    within(|| equal(pending()?, 0))?;
    equal(pending()?, set_of(&[libc::SIGUSR1]))
}

fn fork_clears_alarms() -> Outcome {
    sys!(SYS_alarm, 1000)?;
    within(|| equal(sys!(SYS_alarm, 0)?, 0))?;
    check(sys!(SYS_alarm, 0)? > 900, "the parent's alarm is gone")
}

fn fork_keeps_cwd_umask_and_limits() -> Outcome {
    sys!(SYS_mkdirat, libc::AT_FDCWD, c"d", 0o755)?;
    sys!(SYS_chdir, c"d")?;
    sys!(SYS_umask, 0o027)?;
    let limit = libc::rlimit {
        rlim_cur: 77,
        rlim_max: 99,
    };
    sys!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE as i32, &limit, 0)?;
    within(|| {
        check(std::env::current_dir()?.ends_with("d"), "another folder")?;
        equal(sys!(SYS_umask, 0)?, 0o027)?;
        let mut limit = zeroed::<libc::rlimit>();
        sys!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE as i32, 0, &mut limit)?;
        equal((limit.rlim_cur, limit.rlim_max), (77, 99))
    })
}

extern "C" fn store_seven(argument: *mut libc::c_void) -> i32 {
    word(argument as usize).store(7, Ordering::SeqCst);
    0
}

fn vfork_runs_in_the_parents_memory() -> Outcome {
    let addr = map(PAGE)?;
    let pid = clone_run(
        libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
        store_seven,
        addr,
        (0, 0),
    )?;
    equal(word(addr).load(Ordering::SeqCst), 7)?;
    equal(wait(pid)?, 0)
}

extern "C" fn stop_then_store(argument: *mut libc::c_void) -> i32 {
    for _ in 0..20 {
        let _ = sys!(SYS_sched_yield);
    }
    store_seven(argument)
}

fn clone_with_vm_and_vfork_waits_for_the_child() -> Outcome {
    for _ in 0..10 {
        let addr = map(PAGE)?;
        let pid = clone_run(
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            stop_then_store,
            addr,
            (0, 0),
        )?;
        equal(word(addr).load(Ordering::SeqCst), 7)?;
        equal(wait(pid)?, 0)?;
    }
    Ok(())
}

extern "C" fn own_tid_is_there(argument: *mut libc::c_void) -> i32 {
    i32::from(word(argument as usize + 4).load(Ordering::SeqCst) != getpid() as u32)
}

fn clone_sets_parent_and_child_tid() -> Outcome {
    let addr = map_shared(PAGE)?;
    let flags = libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_SETTID | libc::SIGCHLD;
    let pid = clone_run(flags, own_tid_is_there, addr, (addr, addr + 4))?;
    equal(word(addr).load(Ordering::SeqCst), pid as u32)?;
    equal(wait(pid)?, 0)
}

fn clone_refuses_sighand_without_vm() -> Outcome {
    fails(
        sys!(SYS_clone, libc::CLONE_SIGHAND | libc::SIGCHLD, 0, 0, 0, 0),
        libc::EINVAL,
    )
}

fn clone_refuses_thread_without_sighand() -> Outcome {
    fails(
        sys!(SYS_clone, libc::CLONE_THREAD | libc::CLONE_VM, 0, 0, 0, 0),
        libc::EINVAL,
    )
}

extern "C" fn close_it(argument: *mut libc::c_void) -> i32 {
    i32::from(close(argument as i32).is_err())
}

fn clone_files_shares_descriptors() -> Outcome {
    let fd = open(c"/dev/null", libc::O_RDONLY)?;
    equal(
        wait(clone_run(libc::SIGCHLD, close_it, fd as usize, (0, 0))?)?,
        0,
    )?;
    fstat(fd)?;
    equal(
        wait(clone_run(
            libc::CLONE_FILES | libc::SIGCHLD,
            close_it,
            fd as usize,
            (0, 0),
        )?)?,
        0,
    )?;
    fails(sys!(SYS_fcntl, fd, libc::F_GETFD), libc::EBADF)
}

extern "C" fn change_to_root(_argument: *mut libc::c_void) -> i32 {
    i32::from(sys!(SYS_chdir, c"/").is_err())
}

fn clone_fs_shares_the_working_directory() -> Outcome {
    equal(
        wait(clone_run(libc::SIGCHLD, change_to_root, 0, (0, 0))?)?,
        0,
    )?;
    check(
        std::env::current_dir()?.as_os_str() != "/",
        "changed without CLONE_FS",
    )?;
    equal(
        wait(clone_run(
            libc::CLONE_FS | libc::SIGCHLD,
            change_to_root,
            0,
            (0, 0),
        )?)?,
        0,
    )?;
    equal(std::env::current_dir()?.to_string_lossy(), "/")
}

extern "C" fn nothing(_argument: *mut libc::c_void) -> i32 {
    3
}

fn clone_exit_signal_is_what_the_parent_gets() -> Outcome {
    block(&[libc::SIGUSR1, libc::SIGCHLD])?;
    let pid = clone_run(libc::SIGUSR1, nothing, 0, (0, 0))?;
    let info = take(&[libc::SIGUSR1])?;
    // SAFETY: the signal tells of a child.
    equal(unsafe { (info.si_pid(), info.si_status()) }, (pid, 3))?;
    equal(pending()?, 0)?;
    equal(wait_with(pid, libc::__WALL)?, 3 << 8)
}

fn clone_without_signal_needs_wall() -> Outcome {
    let pid = clone_run(0, nothing, 0, (0, 0))?;
    fails(wait(pid), libc::ECHILD)?;
    equal(wait_with(pid, libc::__WCLONE)?, 3 << 8)
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    rest: [u64; 6],
}

fn clone3(args: &CloneArgs, size: usize, body: impl FnOnce() -> i32) -> Sys<i32> {
    let pid = sys!(SYS_clone3, args, size)? as i32;
    if pid == 0 {
        exit(body())
    }
    Ok(pid)
}

fn clone3_returns_a_pidfd() -> Outcome {
    let mut fd = -1_i32;
    let args = CloneArgs {
        flags: libc::CLONE_PIDFD as u64,
        pidfd: std::ptr::from_mut(&mut fd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    let pid = clone3(&args, 88, || 5)?;
    // The kernel wrote it behind the compiler's back.
    let fd = std::hint::black_box(fd);
    let info = text_of(&format!("/proc/self/fdinfo/{fd}"))?;
    check(
        info.contains(&format!("Pid:\t{pid}\n")),
        "fdinfo does not name the process",
    )?;
    equal(
        sys!(SYS_fcntl, fd, libc::F_GETFD)?,
        libc::FD_CLOEXEC as usize,
    )?;
    equal(poll_one(fd, libc::POLLIN, -1)?, libc::POLLIN)?;
    equal(wait(pid)?, 5 << 8)
}

fn clone3_refuses_small_and_dirty_arguments() -> Outcome {
    let args = CloneArgs {
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    fails(clone3(&args, 63, || 0), libc::EINVAL)?;
    fails(clone3(&args, 5000, || 0), libc::E2BIG)?;
    let high = CloneArgs {
        exit_signal: 0x1_0000_0011,
        ..CloneArgs::default()
    };
    fails(clone3(&high, 88, || 0), libc::EINVAL)?;
    let stackless = CloneArgs {
        rest: [0x1000, 0, 0, 0, 0, 0],
        ..CloneArgs::default()
    };
    fails(clone3(&stackless, 88, || 0), libc::EINVAL)?;
    let mut longer = [0_u64; 16];
    longer[4] = libc::SIGCHLD as u64;
    longer[15] = 1;
    fails(sys!(SYS_clone3, &longer, 128), libc::E2BIG)
}

fn clone3_clear_sighand_resets_handlers() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    handle(libc::SIGUSR2, libc::SIG_IGN, 0, &[])?;
    let args = CloneArgs {
        flags: 0x1_0000_0000,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    let pid = clone3(&args, 88, || {
        let _ = raise(libc::SIGUSR2);
        let _ = raise(libc::SIGUSR1);
        0
    })?;
    equal(libc::WTERMSIG(wait(pid)?), libc::SIGUSR1)
}

fn wait_answers_the_exit_status() -> Outcome {
    for status in [0, 1, 42, 255] {
        equal(wait(fork(|| status)?)?, status << 8)?;
    }
    Ok(())
}

fn wait_answers_the_killing_signal() -> Outcome {
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGUSR1, 40] {
        let status = wait(fork(|| {
            let _ = raise(signal);
            0
        })?)?;
        equal(
            (libc::WIFSIGNALED(status), libc::WTERMSIG(status)),
            (true, signal),
        )?;
    }
    Ok(())
}

fn wait_without_children_is_echild() -> Outcome {
    fails(wait(-1), libc::ECHILD)
}

fn wait_for_strangers_is_echild() -> Outcome {
    let pid = fork(|| 0)?;
    fails(wait(1), libc::ECHILD)?;
    fails(wait(getpid()), libc::ECHILD)?;
    equal(wait(pid)?, 0)
}

fn paused() -> Sys<i32> {
    fork(|| {
        loop {
            let _ = sys!(SYS_pause);
        }
    })
}

fn kill_and_wait(pid: i32) -> Outcome {
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    equal(wait(pid)?, libc::SIGKILL)
}

fn wait_nohang_answers_zero() -> Outcome {
    let pid = paused()?;
    equal(sys!(SYS_wait4, -1, 0, libc::WNOHANG, 0)?, 0)?;
    kill_and_wait(pid)
}

fn wait_refuses_unknown_options() -> Outcome {
    fails(wait_with(-1, 0x100), libc::EINVAL)?;
    fails(wait_with(-1, libc::WEXITED), libc::EINVAL)?;
    fails(sys!(SYS_wait4, i32::MIN, 0, 0, 0), libc::ESRCH)
}

fn wait_by_group() -> Outcome {
    let one = fork(|| 1)?;
    let two = fork(|| {
        let _ = sys!(SYS_setpgid, 0, 0);
        2
    })?;
    let _ = sys!(SYS_setpgid, two, two);
    equal(sys!(SYS_wait4, -two, 0, 0, 0)?, two as usize)?;
    fails(sys!(SYS_wait4, -two, 0, 0, 0), libc::ECHILD)?;
    equal(sys!(SYS_wait4, 0, 0, 0, 0)?, one as usize)
}

fn wait_sees_stop_and_continue() -> Outcome {
    let pid = paused()?;
    sys!(SYS_kill, pid, libc::SIGSTOP)?;
    let status = wait_with(pid, libc::WUNTRACED)?;
    equal(
        (libc::WIFSTOPPED(status), libc::WSTOPSIG(status)),
        (true, libc::SIGSTOP),
    )?;
    equal(
        sys!(SYS_wait4, pid, 0, libc::WUNTRACED | libc::WNOHANG, 0)?,
        0,
    )?;
    sys!(SYS_kill, pid, libc::SIGCONT)?;
    equal(wait_with(pid, libc::WCONTINUED)?, 0xffff)?;
    kill_and_wait(pid)
}

fn wait_tells_resource_usage() -> Outcome {
    let pid = fork(|| {
        let addr = map(64 * PAGE).unwrap_or(0);
        (0..64).for_each(|page| poke(addr + page * PAGE, 1));
        0
    })?;
    let mut usage = zeroed::<libc::rusage>();
    sys!(SYS_wait4, pid, 0, 0, &mut usage)?;
    check(usage.ru_minflt > 0, "no page faults")?;
    check(usage.ru_maxrss > 0, "no resident set")
}

fn waitid(kind: u32, id: i32, options: i32) -> Sys<libc::siginfo_t> {
    let mut info = zeroed::<libc::siginfo_t>();
    sys!(SYS_waitid, kind, id, &mut info, options, 0)?;
    Ok(info)
}

fn waitid_nowait_leaves_the_child() -> Outcome {
    let pid = fork(|| 9)?;
    for _ in 0..2 {
        let info = waitid(libc::P_PID, pid, libc::WEXITED | libc::WNOWAIT)?;
        // SAFETY: the signal tells of a child.
        equal(unsafe { info.si_status() }, 9)?;
    }
    equal(wait(pid)?, 9 << 8)
}

fn waitid_fills_siginfo() -> Outcome {
    let pid = fork(|| 4)?;
    let info = waitid(libc::P_ALL, 0, libc::WEXITED)?;
    equal(
        (info.si_signo, info.si_errno, info.si_code),
        (libc::SIGCHLD, 0, libc::CLD_EXITED),
    )?;
    // SAFETY: the signal tells of a child.
    let told = unsafe { (info.si_pid(), info.si_uid(), info.si_status()) };
    equal(told, (pid, 0, 4))?;
    let pid = paused()?;
    sys!(SYS_kill, pid, libc::SIGTERM)?;
    let info = waitid(libc::P_PID, pid, libc::WEXITED)?;
    equal(info.si_code, libc::CLD_KILLED)?;
    // SAFETY: as above.
    equal(unsafe { info.si_status() }, libc::SIGTERM)
}

fn waitid_nohang_clears_siginfo() -> Outcome {
    let pid = paused()?;
    let mut info = zeroed::<libc::siginfo_t>();
    info.si_signo = 77;
    sys!(
        SYS_waitid,
        libc::P_PID,
        pid,
        &mut info,
        libc::WEXITED | libc::WNOHANG,
        0
    )?;
    // SAFETY: a plain field.
    equal((info.si_signo, unsafe { info.si_pid() }), (0, 0))?;
    kill_and_wait(pid)
}

fn waitid_by_pidfd() -> Outcome {
    let pid = fork(|| 6)?;
    let fd = sys!(SYS_pidfd_open, pid, 0)? as i32;
    let info = waitid(libc::P_PIDFD, fd, libc::WEXITED)?;
    // SAFETY: the signal tells of a child.
    equal(unsafe { (info.si_pid(), info.si_status()) }, (pid, 6))?;
    let null = open(c"/dev/null", libc::O_RDONLY)?;
    fails(
        waitid(libc::P_PIDFD, null, libc::WEXITED).map(|_| ()),
        libc::EBADF,
    )
}

fn waitid_refuses_no_events() -> Outcome {
    fails(waitid(libc::P_ALL, 0, 0).map(|_| ()), libc::EINVAL)?;
    fails(
        waitid(libc::P_ALL, 0, libc::WNOHANG).map(|_| ()),
        libc::EINVAL,
    )?;
    fails(waitid(9, 0, libc::WEXITED).map(|_| ()), libc::EINVAL)?;
    fails(
        waitid(libc::P_PID, 0, libc::WEXITED).map(|_| ()),
        libc::EINVAL,
    )
}

fn exit_status_is_eight_bits() -> Outcome {
    equal(wait(fork(|| 0x1234)?)?, 0x3400)
}

extern "C" fn thread_exit_three(_argument: *mut libc::c_void) -> i32 {
    let _ = sys!(SYS_exit, 3);
    0
}

fn exit_of_one_thread_leaves_the_process() -> Outcome {
    let pid = fork(|| {
        let word_addr = map(PAGE).unwrap_or(0);
        word(word_addr).store(1, Ordering::SeqCst);
        let flags = THREAD | libc::CLONE_CHILD_CLEARTID;
        if clone_run(flags, thread_exit_three, 0, (0, word_addr)).is_err() {
            return 1;
        }
        while word(word_addr).load(Ordering::SeqCst) != 0 {
            nap();
        }
        8
    })?;
    equal(wait(pid)?, 8 << 8)
}

extern "C" fn thread_exit_group(_argument: *mut libc::c_void) -> i32 {
    let _ = sys!(SYS_exit_group, 11);
    0
}

fn exit_group_ends_all_threads() -> Outcome {
    let pid = fork(|| {
        let _ = clone_run(THREAD, thread_exit_group, 0, (0, 0));
        loop {
            let _ = sys!(SYS_pause);
        }
    })?;
    equal(wait(pid)?, 11 << 8)
}

fn orphans_go_to_the_subreaper() -> Outcome {
    sys!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)?;
    let (read_end, write_end) = pipe()?;
    let (hold, release) = pipe()?;
    let middle = fork(|| {
        let _ = close(release);
        let grandchild = fork(|| {
            let _ = read_some(hold);
            13
        });
        let _ = write(write_end, &grandchild.unwrap_or(0).to_le_bytes());
        0
    })?;
    equal(wait(middle)?, 0)?;
    let bytes = read_some(read_end)?;
    let grandchild = i32::from_le_bytes(bytes.try_into().unwrap_or_default());
    close(release)?;
    equal(wait(grandchild)?, 13 << 8)
}

fn zombie_has_state_z_and_no_memory() -> Outcome {
    let pid = fork(|| 0)?;
    await_state(pid, "Z")?;
    equal(text_of(&format!("/proc/{pid}/maps"))?, "")?;
    equal(text_of(&format!("/proc/{pid}/cmdline"))?, "")?;
    sys!(SYS_kill, pid, 0)?;
    equal(wait(pid)?, 0)?;
    fails(sys!(SYS_kill, pid, 0), libc::ESRCH)
}

fn ignored_sigchld_reaps_children() -> Outcome {
    handle(libc::SIGCHLD, libc::SIG_IGN, 0, &[])?;
    let pid = fork(|| 0)?;
    fails(wait(pid), libc::ECHILD)
}

fn nocldwait_reaps_children() -> Outcome {
    catch(libc::SIGCHLD, libc::SA_NOCLDWAIT | libc::SA_RESTART)?;
    let pid = fork(|| 0)?;
    fails(wait(pid), libc::ECHILD)?;
    equal(hits(libc::SIGCHLD), 1)
}

fn nocldstop_keeps_stops_quiet() -> Outcome {
    catch(libc::SIGCHLD, libc::SA_NOCLDSTOP | libc::SA_RESTART)?;
    let pid = paused()?;
    sys!(SYS_kill, pid, libc::SIGSTOP)?;
    wait_with(pid, libc::WUNTRACED)?;
    sys!(SYS_kill, pid, libc::SIGCONT)?;
    wait_with(pid, libc::WCONTINUED)?;
    equal(hits(libc::SIGCHLD), 0)?;
    kill_and_wait(pid)?;
    equal(hits(libc::SIGCHLD), 1)
}

fn pdeathsig_comes_at_the_parents_end() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let (hold, release) = pipe()?;
    let middle = fork(|| {
        let _ = close(release);
        let _ = close(read_end);
        let (ready_read, ready_write) = pipe().unwrap_or((-1, -1));
        let _ = fork(|| {
            let _ = block(&[libc::SIGUSR1]);
            let _ = sys!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGUSR1, 0, 0, 0);
            let _ = write(ready_write, b"r");
            let answer = take(&[libc::SIGUSR1]).is_ok();
            let _ = write(write_end, &[u8::from(answer)]);
            0
        });
        let _ = read_some(ready_read);
        let _ = read_some(hold);
        0
    })?;
    close(write_end)?;
    close(release)?;
    wait(middle)?;
    equal(read_some(read_end)?, vec![1])
}

fn setpgid_makes_and_joins_groups() -> Outcome {
    let one = paused()?;
    let two = paused()?;
    sys!(SYS_setpgid, one, 0)?;
    equal(sys!(SYS_getpgid, one)?, one as usize)?;
    sys!(SYS_setpgid, two, one)?;
    equal(sys!(SYS_getpgid, two)?, one as usize)?;
    sys!(SYS_kill, -one, libc::SIGTERM)?;
    equal(wait(one)?, libc::SIGTERM)?;
    equal(wait(two)?, libc::SIGTERM)
}

/// The path of the running program.
fn own_program() -> std::ffi::CString {
    c_string("/proc/self/exe")
}

fn setpgid_after_exec_is_eacces() -> Outcome {
    // The pipe's end closes when the program is replaced.
    let (read_end, write_end) = pipe2(libc::O_CLOEXEC)?;
    let (_hold, full) = pipe()?;
    sys!(SYS_fcntl, full, libc::F_SETPIPE_SZ, PAGE)?;
    write(full, &[0; PAGE])?;
    let pid = fork(|| {
        // The listing goes into a full pipe, so that the program stays.
        let _ = sys!(SYS_dup2, full, 1);
        let program = own_program();
        let arguments: [*const i8; 3] = [program.as_ptr(), c"--list".as_ptr(), std::ptr::null()];
        let _ = sys!(SYS_execve, program.as_c_str(), &arguments, 0);
        127
    })?;
    close(write_end)?;
    equal(read_some(read_end)?.len(), 0)?;
    fails(sys!(SYS_setpgid, pid, pid), libc::EACCES)?;
    kill_and_wait(pid)
}

fn setpgid_of_strangers_is_esrch() -> Outcome {
    fails(sys!(SYS_setpgid, 1, 1), libc::ESRCH)?;
    fails(sys!(SYS_setpgid, 0, -5), libc::EINVAL)?;
    fails(sys!(SYS_setpgid, 0, 0x3fff_ffff), libc::EPERM)
}

fn setsid_makes_a_session() -> Outcome {
    within(|| {
        let me = getpid() as usize;
        equal(sys!(SYS_setsid)?, me)?;
        equal(sys!(SYS_getsid, 0)?, me)?;
        equal(sys!(SYS_getpgid, 0)?, me)?;
        fails(sys!(SYS_setpgid, 0, 0), libc::EPERM)?;
        fails(open(c"/dev/tty", libc::O_RDWR), libc::ENXIO)
    })
}

fn setsid_of_a_group_leader_is_eperm() -> Outcome {
    fails(sys!(SYS_setsid), libc::EPERM)
}

fn getsid_and_getpgid_of_no_process_are_esrch() -> Outcome {
    fails(sys!(SYS_getsid, 0x3fff_ffff), libc::ESRCH)?;
    fails(sys!(SYS_getpgid, 0x3fff_ffff), libc::ESRCH)?;
    fails(sys!(SYS_getpgid, -1), libc::ESRCH)
}

fn orphaned_stopped_group_gets_hup_and_cont() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let middle = fork(|| {
        let _ = close(read_end);
        // In a session of its own, so that whoever inherits the child is outside of it.
        let _ = sys!(SYS_setsid);
        let stopped = fork(|| {
            let _ = sys!(SYS_setpgid, 0, 0);
            let _ = catch(libc::SIGHUP, 0);
            let _ = catch(libc::SIGCONT, 0);
            let _ = raise(libc::SIGSTOP);
            while hits(libc::SIGHUP) == 0 {
                nap();
            }
            let _ = write(
                write_end,
                &[hits(libc::SIGHUP) as u8, hits(libc::SIGCONT) as u8],
            );
            0
        });
        i32::from(
            stopped
                .and_then(|pid| wait_with(pid, libc::WUNTRACED))
                .is_err(),
        )
    })?;
    close(write_end)?;
    equal(wait(middle)?, 0)?;
    equal(read_some(read_end)?, vec![1, 1])
}

fn pidfd_open_refuses_no_process_and_flags() -> Outcome {
    fails(sys!(SYS_pidfd_open, 0x3fff_ffff, 0), libc::ESRCH)?;
    fails(sys!(SYS_pidfd_open, 0, 0), libc::EINVAL)?;
    fails(sys!(SYS_pidfd_open, getpid(), 1), libc::EINVAL)
}

fn pidfd_becomes_readable_at_the_end() -> Outcome {
    let pid = paused()?;
    let fd = sys!(SYS_pidfd_open, pid, 0)? as i32;
    equal(ready(fd, libc::POLLIN)?, 0)?;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    equal(poll_one(fd, libc::POLLIN, -1)? & libc::POLLIN, libc::POLLIN)?;
    equal(wait(pid)?, libc::SIGKILL)
}

fn rlimit_nproc_stops_forks() -> Outcome {
    within(|| {
        let limit = libc::rlimit {
            rlim_cur: 1,
            rlim_max: 1,
        };
        sys!(SYS_prlimit64, 0, libc::RLIMIT_NPROC as i32, &limit, 0)?;
        let allowed = fork(|| 0)?;
        wait(allowed)?;
        sys!(SYS_setresuid, 4711, 4711, 4711)?;
        fails(fork(|| 0), libc::EAGAIN)
    })
}

fn getppid_changes_when_the_parent_ends() -> Outcome {
    sys!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)?;
    let me = getpid();
    let (read_end, write_end) = pipe()?;
    let middle = fork(|| {
        let parent = getpid() as usize;
        let _ = fork(|| {
            while sys!(SYS_getppid) == Ok(parent) {
                nap();
            }
            let _ = write(
                write_end,
                &(sys!(SYS_getppid).unwrap_or(0) as i32).to_le_bytes(),
            );
            0
        });
        0
    })?;
    wait(middle)?;
    equal(read_some(read_end)?, me.to_le_bytes().to_vec())?;
    wait(-1)?;
    Ok(())
}
