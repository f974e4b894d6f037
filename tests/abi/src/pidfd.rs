//! Descriptors that name a process: signals, descriptors and memory through them.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;
use crate::sysv::{end_of, sleeper};

pub const CASES: &[Case] = cases![
    pidfd_send_signal_reaches_the_process,
    pidfd_send_signal_with_information,
    pidfd_send_signal_of_bad_arguments,
    pidfd_send_signal_obeys_permissions,
    pidfd_send_signal_after_the_end,
    pidfd_send_signal_by_a_proc_directory,
    pidfd_names_the_process_not_the_number,
    pidfd_getfd_copies_a_descriptor,
    pidfd_getfd_shares_the_file,
    pidfd_getfd_of_bad_arguments,
    pidfd_getfd_obeys_permissions,
    pidfd_waitid_without_sleeping,
    pidfd_waitid_of_no_child,
    pidfd_polls_while_it_ends,
    pidfd_in_epoll,
    pidfd_fdinfo_tells_the_process,
    pidfd_process_madvise,
    pidfd_process_madvise_obeys_permissions,
    pidfd_process_mrelease,
];

fn pidfd_open(pid: i32, flags: i32) -> Sys<i32> {
    sys!(SYS_pidfd_open, pid, flags).map(|fd| fd as i32)
}

fn send(fd: i32, signal: i32) -> Sys {
    sys!(SYS_pidfd_send_signal, fd, signal, 0, 0)
}

/// A child that sleeps until a signal comes.
fn pausing() -> Outcome<i32> {
    sleeper(|| sys!(SYS_pause))
}

fn kill(pid: i32) -> Outcome {
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    wait(pid)?;
    Ok(())
}

fn pidfd_send_signal_reaches_the_process() -> Outcome {
    let child = pausing()?;
    let fd = pidfd_open(child, 0)?;
    send(fd, 0)?;
    send(fd, libc::SIGTERM)?;
    let status = wait(child)?;
    check(libc::WIFSIGNALED(status), "the child is not killed")?;
    equal(libc::WTERMSIG(status), libc::SIGTERM)?;
    // As kill does, it tells who sent it.
    block(&[libc::SIGUSR1])?;
    send(pidfd_open(getpid(), 0)?, libc::SIGUSR1)?;
    let info = take(&[libc::SIGUSR1])?;
    // SAFETY: such information is that of kill.
    let (pid, uid) = unsafe { (info.si_pid(), info.si_uid()) };
    equal((info.si_code, pid, uid), (libc::SI_USER, getpid(), 0))
}

/// A siginfo with a value, as `sigqueue` makes it.
fn queued(signal: i32, code: i32, value: u64) -> [u64; 16] {
    let mut info = [0_u64; 16];
    info[0] = signal as u64;
    info[1] = u64::from(code as u32);
    info[2] = getpid() as u64;
    info[3] = value;
    info
}

fn pidfd_send_signal_with_information() -> Outcome {
    block(&[libc::SIGUSR1])?;
    let mine = pidfd_open(getpid(), 0)?;
    let info = queued(libc::SIGUSR1, libc::SI_QUEUE, 0xabcd);
    sys!(SYS_pidfd_send_signal, mine, libc::SIGUSR1, &info, 0)?;
    let got = take(&[libc::SIGUSR1])?;
    // SAFETY: such information is that of a queued signal.
    let value = unsafe { got.si_value().sival_ptr } as u64;
    equal((got.si_code, value), (libc::SI_QUEUE, 0xabcd))?;
    // The numbers must be the same.
    fails(
        sys!(SYS_pidfd_send_signal, mine, libc::SIGUSR2, &info, 0),
        libc::EINVAL,
    )?;
    // Only to oneself may it look as if the kernel had sent it.
    let forged = queued(libc::SIGUSR1, libc::SI_USER, 0);
    sys!(SYS_pidfd_send_signal, mine, libc::SIGUSR1, &forged, 0)?;
    let child = pausing()?;
    let theirs = pidfd_open(child, 0)?;
    fails(
        sys!(SYS_pidfd_send_signal, theirs, libc::SIGUSR1, &forged, 0),
        libc::EPERM,
    )?;
    let info = queued(libc::SIGTERM, libc::SI_QUEUE, 0);
    sys!(SYS_pidfd_send_signal, theirs, libc::SIGTERM, &info, 0)?;
    let status = wait(child)?;
    equal(libc::WTERMSIG(status), libc::SIGTERM)
}

fn pidfd_send_signal_of_bad_arguments() -> Outcome {
    let mine = pidfd_open(getpid(), 0)?;
    let (read_end, _write_end) = pipe()?;
    fails(send(mine, 65), libc::EINVAL)?;
    fails(send(mine, -1), libc::EINVAL)?;
    fails(send(99, 0), libc::EBADF)?;
    fails(send(read_end, 0), libc::EBADF)?;
    fails(
        sys!(SYS_pidfd_send_signal, mine, 0, 0, 1 << 20),
        libc::EINVAL,
    )?;
    fails(sys!(SYS_pidfd_send_signal, mine, 0, 8, 0), libc::EFAULT)
}

fn pidfd_send_signal_obeys_permissions() -> Outcome {
    let child = pausing()?;
    let fd = pidfd_open(child, 0)?;
    within(|| {
        become_user()?;
        fails(send(fd, libc::SIGTERM), libc::EPERM)?;
        fails(send(fd, 0), libc::EPERM)
    })?;
    kill(child)
}

fn pidfd_send_signal_after_the_end() -> Outcome {
    let child = fork(|| 0)?;
    let fd = pidfd_open(child, 0)?;
    await_state(child, "Z")?;
    // A zombie can still be signalled, to no effect.
    send(fd, libc::SIGTERM)?;
    wait(child)?;
    fails(send(fd, 0), libc::ESRCH)?;
    fails(send(fd, libc::SIGTERM), libc::ESRCH)
}

fn pidfd_send_signal_by_a_proc_directory() -> Outcome {
    let child = pausing()?;
    let open_dir = |path: &str| open(&c_string(path), libc::O_DIRECTORY | libc::O_RDONLY);
    let whole = open_dir(&format!("/proc/{child}"))?;
    let thread = open_dir(&format!("/proc/{child}/task/{child}"))?;
    let other = open_dir("/proc")?;
    fails(send(thread, 0), libc::EBADF)?;
    fails(send(other, 0), libc::EBADF)?;
    send(whole, libc::SIGKILL)?;
    wait(child)?;
    fails(send(whole, 0), libc::ESRCH)
}

fn pidfd_names_the_process_not_the_number() -> Outcome {
    let first = fork(|| 0)?;
    let fd = pidfd_open(first, 0)?;
    wait(first)?;
    // Whoever has the number next is not meant.
    fails(pidfd_open(first, 0), libc::ESRCH)?;
    let second = pausing()?;
    fails(send(fd, libc::SIGKILL), libc::ESRCH)?;
    kill(second)
}

fn pidfd_getfd_copies_a_descriptor() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let child = sleeper(|| {
        sys!(SYS_dup3, write_end, 50, 0)?;
        sys!(SYS_pause)
    })?;
    let fd = pidfd_open(child, 0)?;
    let copy = sys!(SYS_pidfd_getfd, fd, 50, 0)? as i32;
    equal(
        sys!(SYS_fcntl, copy, libc::F_GETFD)? as i32,
        libc::FD_CLOEXEC,
    )?;
    write(copy, b"hi")?;
    equal(read_some(read_end)?, b"hi".to_vec())?;
    // Of oneself, it is a dup.
    let mine = pidfd_open(getpid(), 0)?;
    let again = sys!(SYS_pidfd_getfd, mine, read_end, 0)? as i32;
    check(again != read_end, "the same descriptor")?;
    kill(child)
}

fn pidfd_getfd_shares_the_file() -> Outcome {
    let file = file_with(c"f", b"0123456789")?;
    let mine = pidfd_open(getpid(), 0)?;
    let copy = sys!(SYS_pidfd_getfd, mine, file, 0)? as i32;
    sys!(SYS_lseek, file, 4, libc::SEEK_SET)?;
    let mut byte = [0];
    read(copy, &mut byte)?;
    equal(byte, *b"4")?;
    // What only names a place can be had, too.
    let place = open(c"f", libc::O_PATH)?;
    sys!(SYS_pidfd_getfd, mine, place, 0)?;
    Ok(())
}

fn pidfd_getfd_of_bad_arguments() -> Outcome {
    let mine = pidfd_open(getpid(), 0)?;
    fails(sys!(SYS_pidfd_getfd, mine, 0, 1), libc::EINVAL)?;
    fails(sys!(SYS_pidfd_getfd, mine, 99, 0), libc::EBADF)?;
    fails(sys!(SYS_pidfd_getfd, mine, -1, 0), libc::EBADF)?;
    fails(sys!(SYS_pidfd_getfd, 99, 0, 0), libc::EBADF)?;
    let (read_end, _write_end) = pipe()?;
    fails(sys!(SYS_pidfd_getfd, read_end, 0, 0), libc::EBADF)?;
    let child = fork(|| 0)?;
    let theirs = pidfd_open(child, 0)?;
    wait(child)?;
    fails(sys!(SYS_pidfd_getfd, theirs, 0, 0), libc::ESRCH)
}

fn pidfd_getfd_obeys_permissions() -> Outcome {
    let child = pausing()?;
    let fd = pidfd_open(child, 0)?;
    within(|| {
        become_user()?;
        fails(sys!(SYS_pidfd_getfd, fd, 0, 0), libc::EPERM)
    })?;
    kill(child)?;
    // One that cannot be dumped is closed to its own user.
    let (read_end, write_end) = pipe()?;
    let guarded = sleeper(|| {
        become_user()?;
        write(write_end, b"x")?;
        sys!(SYS_pause)
    })?;
    read_some(read_end)?;
    let fd = pidfd_open(guarded, 0)?;
    within(|| {
        become_user()?;
        fails(sys!(SYS_pidfd_getfd, fd, 0, 0), libc::EPERM)
    })?;
    sys!(SYS_pidfd_getfd, fd, write_end, 0)?;
    kill(guarded)
}

const P_PIDFD: i32 = 3;

fn waitid(fd: i32, options: i32) -> Sys {
    let mut info = zeroed::<libc::siginfo_t>();
    sys!(SYS_waitid, P_PIDFD, fd, &mut info, options, 0)
}

fn pidfd_waitid_without_sleeping() -> Outcome {
    let child = pausing()?;
    let fd = pidfd_open(child, libc::O_NONBLOCK)?;
    fails(waitid(fd, libc::WEXITED), libc::EAGAIN)?;
    equal(waitid(fd, libc::WEXITED | libc::WNOHANG)?, 0)?;
    send(fd, libc::SIGKILL)?;
    poll_one(fd, libc::POLLIN, -1)?;
    waitid(fd, libc::WEXITED | libc::WNOWAIT)?;
    waitid(fd, libc::WEXITED)?;
    fails(waitid(fd, libc::WEXITED), libc::ECHILD)
}

fn pidfd_waitid_of_no_child() -> Outcome {
    let (read_end, _write_end) = pipe()?;
    fails(waitid(99, libc::WEXITED), libc::EBADF)?;
    fails(waitid(read_end, libc::WEXITED), libc::EBADF)?;
    fails(waitid(-1, libc::WEXITED), libc::EINVAL)?;
    let mine = pidfd_open(getpid(), 0)?;
    fails(waitid(mine, libc::WEXITED), libc::ECHILD)
}

fn pidfd_polls_while_it_ends() -> Outcome {
    let child = pausing()?;
    let fd = pidfd_open(child, 0)?;
    equal(ready(fd, libc::POLLIN)?, 0)?;
    let poller = sleeper(|| poll_one(fd, libc::POLLIN, -1).map(|_| 0))?;
    sys!(SYS_kill, child, libc::SIGKILL)?;
    equal(end_of(poller)?, 0)?;
    equal(ready(fd, libc::POLLIN)?, libc::POLLIN)?;
    wait(child)?;
    check(ready(fd, libc::POLLIN)? & libc::POLLIN != 0, "not readable")?;
    fails(read(fd, &mut [0; 8]), libc::EINVAL)?;
    fails(write(fd, b"x"), libc::EINVAL)
}

fn pidfd_in_epoll() -> Outcome {
    let child = pausing()?;
    let fd = pidfd_open(child, 0)?;
    let epoll = sys!(SYS_epoll_create1, 0)? as i32;
    let event = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: 7,
    };
    sys!(SYS_epoll_ctl, epoll, libc::EPOLL_CTL_ADD, fd, &event)?;
    send(fd, libc::SIGKILL)?;
    let mut out = libc::epoll_event { events: 0, u64: 0 };
    equal(sys!(SYS_epoll_wait, epoll, &mut out, 1, -1)?, 1)?;
    let data = std::hint::black_box(out).u64;
    equal(data, 7)?;
    wait(child)?;
    Ok(())
}

fn pidfd_fdinfo_tells_the_process() -> Outcome {
    let child = pausing()?;
    let fd = pidfd_open(child, 0)?;
    let path = format!("/proc/self/fdinfo/{fd}");
    let line = |text: &str| {
        let lines = text.lines().filter(|line| line.starts_with("Pid:"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    equal(line(&text_of(&path)?), vec![format!("Pid:\t{child}")])?;
    kill(child)?;
    equal(line(&text_of(&path)?), vec!["Pid:\t-1".to_owned()])
}

const WILLNEED: i32 = libc::MADV_WILLNEED;

fn pidfd_process_madvise() -> Outcome {
    let addr = map(8 * PAGE)?;
    let child = pausing()?;
    let fd = pidfd_open(child, 0)?;
    let advise = |fd: i32, segments: &[[usize; 2]], what: i32, flags: i32| {
        let (start, count) = (segments.as_ptr(), segments.len());
        sys!(SYS_process_madvise, fd, start, count, what, flags)
    };
    let two = [[addr, PAGE], [addr + 2 * PAGE, 3 * PAGE]];
    equal(advise(fd, &two, WILLNEED, 0)?, 4 * PAGE)?;
    equal(advise(fd, &[], WILLNEED, 0)?, 0)?;
    fails(advise(fd, &two, libc::MADV_DONTNEED, 0), libc::EINVAL)?;
    fails(advise(fd, &two, WILLNEED, 1), libc::EINVAL)?;
    fails(advise(99, &two, WILLNEED, 0), libc::EBADF)?;
    fails(
        sys!(SYS_process_madvise, fd, 8, 1, WILLNEED, 0),
        libc::EFAULT,
    )?;
    fails(
        sys!(SYS_process_madvise, fd, 8, 1025, WILLNEED, 0),
        libc::EINVAL,
    )?;
    // Up to the first that fails.
    let hole = [[addr, PAGE], [PAGE, PAGE]];
    let colder = libc::MADV_COLD;
    equal(advise(fd, &hole, colder, 0)?, PAGE)?;
    fails(advise(fd, &hole[1..], colder, 0), libc::ENOMEM)?;
    kill(child)?;
    fails(advise(fd, &two, WILLNEED, 0), libc::ESRCH)
}

fn pidfd_process_madvise_obeys_permissions() -> Outcome {
    let addr = map(PAGE)?;
    let (child, mine) = (pausing()?, pidfd_open(getpid(), 0)?);
    let fd = pidfd_open(child, 0)?;
    let segment = [addr, PAGE];
    within(|| {
        become_user()?;
        fails(
            sys!(SYS_process_madvise, fd, &segment, 1, WILLNEED, 0),
            libc::EACCES,
        )?;
        fails(
            sys!(SYS_process_madvise, mine, &segment, 1, WILLNEED, 0),
            libc::EACCES,
        )
    })?;
    kill(child)
}

fn pidfd_process_mrelease() -> Outcome {
    let child = pausing()?;
    let fd = pidfd_open(child, 0)?;
    let release = |fd: i32, flags: i32| sys!(SYS_process_mrelease, fd, flags);
    // Only of who is to die.
    fails(release(fd, 0), libc::EINVAL)?;
    fails(release(fd, 1), libc::EINVAL)?;
    fails(release(99, 0), libc::EBADF)?;
    fails(release(pidfd_open(getpid(), 0)?, 0), libc::EINVAL)?;
    send(fd, libc::SIGKILL)?;
    match release(fd, 0) {
        // It may be gone already.
        Ok(_) | Err(Errno(libc::ESRCH)) => {}
        Err(errno) => return fail(&format!("fails with {errno:?}")),
    }
    let status = wait(child)?;
    equal(libc::WTERMSIG(status), libc::SIGKILL)?;
    fails(release(fd, 0), libc::ESRCH)
}
