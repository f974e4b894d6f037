//! The end of processes, and who is told of it.

use std::sync::atomic::Ordering;

use super::{kill_and_wait, paused};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    exit_status_is_eight_bits,
    exit_of_one_thread_leaves_the_process,
    exit_group_ends_all_threads,
    orphans_go_to_the_subreaper,
    zombie_has_state_z_and_no_memory,
    ignored_sigchld_reaps_children,
    nocldwait_reaps_children,
    nocldstop_keeps_stops_quiet,
    pdeathsig_comes_at_the_parents_end,
    pidfd_open_refuses_no_process_and_flags,
    pidfd_becomes_readable_at_the_end,
];

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
