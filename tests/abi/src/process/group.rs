//! Process groups and sessions.

use super::{kill_and_wait, paused};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    setpgid_makes_and_joins_groups,
    setpgid_after_exec_is_eacces,
    setpgid_of_strangers_is_esrch,
    setsid_makes_a_session,
    setsid_of_a_group_leader_is_eperm,
    getsid_and_getpgid_of_no_process_are_esrch,
    orphaned_stopped_group_gets_hup_and_cont,
];

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
