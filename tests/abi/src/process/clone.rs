//! fork, vfork, clone and clone3.

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
