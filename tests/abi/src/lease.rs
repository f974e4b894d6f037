//! File leases: `F_SETLEASE` and `F_GETLEASE`.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    leases_are_taken_and_given_up,
    lease_errors,
    a_read_lease_needs_no_writers,
    a_write_lease_needs_no_others,
    readers_share_leases,
    an_open_breaks_a_write_lease,
    a_writer_breaks_a_read_lease,
    a_reader_leaves_a_read_lease,
    an_open_waits_for_the_holder,
    a_wait_ends_by_a_signal,
    a_lease_ends_when_its_time_is_over,
    a_truncation_breaks,
    a_program_start_breaks,
    close_gives_up,
    the_holder_is_the_owner,
    a_copy_of_the_descriptor_holds_it_too,
    leases_can_be_forbidden,
];

const F_SETLEASE: i32 = 1024;
const F_GETLEASE: i32 = 1025;
const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;
const RD: i32 = libc::F_RDLCK;
const WR: i32 = libc::F_WRLCK;
const UN: i32 = libc::F_UNLCK;
const POLL_MSG: i32 = 3;
const BAND_MSG: i64 = 0x441;
const RT: i32 = 40;

fn fcntl(fd: i32, command: i32, argument: i32) -> Sys {
    sys!(SYS_fcntl, fd, command, argument)
}

fn set(fd: i32, kind: i32) -> Sys {
    fcntl(fd, F_SETLEASE, kind)
}

fn get(fd: i32) -> Sys<i32> {
    fcntl(fd, F_GETLEASE, 0).map(|kind| kind as i32)
}

/// A new file `f`, opened with these flags alone.
fn file(flags: i32) -> Sys<i32> {
    block(&[libc::SIGIO, RT])?;
    file_with(c"f", b"text").and_then(close)?;
    open(c"f", flags)
}

/// Opens the file without waiting, and closes it if that works.
fn try_open(flags: i32) -> Sys {
    open(c"f", flags | libc::O_NONBLOCK).and_then(close)
}

/// The code, band and descriptor of the pending signal `RT`.
fn told() -> Outcome<(i32, i64, i32)> {
    check(pending()? & set_of(&[RT]) != 0, "the holder is not told")?;
    let info = take(&[RT])?;
    let base = std::ptr::from_ref(&info).cast::<u8>();
    // SAFETY: the structure has 128 bytes; the fields of SIGPOLL begin at 16.
    let (band, fd) = unsafe {
        (
            base.add(16).cast::<i64>().read(),
            base.add(24).cast::<i32>().read(),
        )
    };
    Ok((info.si_code, band, fd))
}

fn leases_are_taken_and_given_up() -> Outcome {
    let fd = file(libc::O_RDONLY)?;
    equal(get(fd)?, UN)?;
    set(fd, RD)?;
    equal(get(fd)?, RD)?;
    set(fd, WR)?;
    equal(get(fd)?, WR)?;
    set(fd, RD)?;
    set(fd, UN)?;
    equal(get(fd)?, UN)?;
    fails(set(fd, UN), libc::EAGAIN)
}

fn lease_errors() -> Outcome {
    let fd = file(libc::O_RDONLY)?;
    fails(set(fd, 3), libc::EINVAL)?;
    fails(set(fd, -1), libc::EINVAL)?;
    let dir = open(c".", libc::O_RDONLY)?;
    fails(set(dir, RD), libc::EINVAL)?;
    let path = open(c"f", libc::O_PATH)?;
    fails(set(path, RD), libc::EBADF)?;
    let (r, _) = pipe()?;
    fails(set(r, RD), libc::EINVAL)?;
    within(|| {
        become_user()?;
        fails(set(fd, RD), libc::EACCES)
    })
}

fn a_read_lease_needs_no_writers() -> Outcome {
    let fd = file(libc::O_RDWR)?;
    fails(set(fd, RD), libc::EAGAIN)?;
    let reader = open(c"f", libc::O_RDONLY)?;
    fails(set(reader, RD), libc::EAGAIN)?;
    close(fd)?;
    set(reader, RD)?;
    Ok(())
}

fn a_write_lease_needs_no_others() -> Outcome {
    for flags in [libc::O_RDONLY, libc::O_RDWR, libc::O_WRONLY] {
        let fd = file(flags)?;
        for other in [libc::O_RDONLY, libc::O_RDWR] {
            let other = open(c"f", other)?;
            fails(set(fd, WR), libc::EAGAIN)?;
            close(other)?;
        }
        // A place is no open file.
        let place = open(c"f", libc::O_PATH)?;
        set(fd, WR)?;
        close(place)?;
        close(fd)?;
    }
    Ok(())
}

fn readers_share_leases() -> Outcome {
    let a = file(libc::O_RDONLY)?;
    let b = open(c"f", libc::O_RDONLY)?;
    set(a, RD)?;
    set(b, RD)?;
    fails(set(a, WR), libc::EAGAIN)?;
    fails(try_open(libc::O_WRONLY), libc::EAGAIN)?;
    set(a, UN)?;
    fails(try_open(libc::O_WRONLY), libc::EAGAIN)?;
    // No new leases while a writer waits.
    fails(set(a, RD), libc::EAGAIN)?;
    set(b, UN)?;
    try_open(libc::O_WRONLY).map(drop).map_err(Trouble::from)
}

fn an_open_breaks_a_write_lease() -> Outcome {
    let fd = file(libc::O_RDWR)?;
    set(fd, WR)?;
    fcntl(fd, F_SETSIG, RT)?;
    fails(try_open(libc::O_RDONLY), libc::EAGAIN)?;
    equal(told()?, (POLL_MSG, BAND_MSG, fd))?;
    equal(get(fd)?, RD)?;
    // The holder was asked once.
    fails(try_open(libc::O_RDONLY), libc::EAGAIN)?;
    check(pending()? & set_of(&[RT]) == 0, "told twice")?;
    // A writer asks for more.
    fails(try_open(libc::O_WRONLY), libc::EAGAIN)?;
    equal(told()?, (POLL_MSG, BAND_MSG, fd))?;
    equal(get(fd)?, UN)?;
    set(fd, UN)?;
    try_open(libc::O_RDWR).map(drop).map_err(Trouble::from)
}

fn a_writer_breaks_a_read_lease() -> Outcome {
    let fd = file(libc::O_RDONLY)?;
    fcntl(fd, F_SETSIG, RT)?;
    set(fd, RD)?;
    fails(try_open(libc::O_RDWR), libc::EAGAIN)?;
    equal(told()?, (POLL_MSG, BAND_MSG, fd))?;
    equal(get(fd)?, UN)?;
    set(fd, UN)?;
    try_open(libc::O_RDWR)?;
    check(pending()? == 0, "told of nothing")
}

fn a_reader_leaves_a_read_lease() -> Outcome {
    let fd = file(libc::O_RDONLY)?;
    set(fd, RD)?;
    try_open(libc::O_RDONLY)?;
    equal(get(fd)?, RD)?;
    check(pending()? == 0, "told of nothing")?;
    // A lease that is only asked to be lowered can be.
    set(fd, WR)?;
    fails(try_open(libc::O_RDONLY), libc::EAGAIN)?;
    set(fd, RD)?;
    try_open(libc::O_RDONLY)?;
    equal(get(fd)?, RD)
}

fn an_open_waits_for_the_holder() -> Outcome {
    let fd = file(libc::O_RDONLY)?;
    set(fd, RD)?;
    let child = fork(|| i32::from(open(c"f", libc::O_WRONLY).is_err()))?;
    take(&[libc::SIGIO])?;
    await_state(child, "S")?;
    set(fd, UN)?;
    equal(wait(child)?, 0)
}

fn a_wait_ends_by_a_signal() -> Outcome {
    let fd = file(libc::O_RDONLY)?;
    set(fd, RD)?;
    let child = fork(|| {
        let _ = catch(libc::SIGUSR1, 0);
        match open(c"f", libc::O_WRONLY) {
            Err(Errno(libc::EINTR)) => 0,
            _ => 1,
        }
    })?;
    take(&[libc::SIGIO])?;
    await_state(child, "S")?;
    sys!(SYS_kill, child, libc::SIGUSR1)?;
    equal(wait(child)?, 0)
}

/// Runs the body with this in a file of `/proc/sys/fs`, which has its value again afterwards.
fn with_setting(name: &str, value: &str, body: impl FnOnce() -> Outcome) -> Outcome {
    let path = format!("/proc/sys/fs/{name}");
    let before = text_of(&path)?;
    std::fs::write(&path, value)?;
    let outcome = text_of(&path).and_then(|now| equal(now.trim(), value));
    let outcome = outcome.and_then(|()| body());
    std::fs::write(&path, before)?;
    outcome
}

fn a_lease_ends_when_its_time_is_over() -> Outcome {
    let fd = file(libc::O_RDWR)?;
    with_setting("lease-break-time", "1", || {
        set(fd, WR)?;
        open(c"f", libc::O_RDONLY).and_then(close)?;
        // It was lowered, for a reader.
        equal(get(fd)?, RD)?;
        open(c"f", libc::O_WRONLY).and_then(close)?;
        equal(get(fd)?, UN)?;
        equal(fcntl(fd, libc::F_GETOWN, 0)?, 0)?;
        fails(set(fd, UN), libc::EAGAIN)
    })
}

fn a_truncation_breaks() -> Outcome {
    let fd = file(libc::O_RDONLY)?;
    set(fd, RD)?;
    let child = fork(|| i32::from(sys!(SYS_truncate, c"f", 1).is_err()))?;
    take(&[libc::SIGIO])?;
    await_state(child, "S")?;
    equal(fstat(fd)?.st_size, 4)?;
    set(fd, UN)?;
    equal(wait(child)?, 0)?;
    equal(fstat(fd)?.st_size, 1)
}

fn a_program_start_breaks() -> Outcome {
    let fd = file(libc::O_RDONLY)?;
    sys!(SYS_fchmod, fd, 0o755)?;
    set(fd, WR)?;
    let child = fork(|| {
        let none = [0_usize; 1];
        match sys!(SYS_execve, c"f", &none, &none) {
            Err(Errno(libc::ENOEXEC)) => 0,
            _ => 1,
        }
    })?;
    take(&[libc::SIGIO])?;
    equal(get(fd)?, RD)?;
    set(fd, UN)?;
    equal(wait(child)?, 0)
}

fn close_gives_up() -> Outcome {
    let fd = file(libc::O_RDONLY)?;
    set(fd, RD)?;
    let child = fork(|| i32::from(open(c"f", libc::O_WRONLY).is_err()))?;
    take(&[libc::SIGIO])?;
    close(fd)?;
    // The child's copy of the descriptor holds it still.
    await_state(child, "S")?;
    sys!(SYS_kill, child, libc::SIGKILL)?;
    wait(child)?;
    try_open(libc::O_WRONLY).map(drop).map_err(Trouble::from)
}

fn the_holder_is_the_owner() -> Outcome {
    let fd = file(libc::O_RDONLY)?;
    set(fd, RD)?;
    equal(fcntl(fd, libc::F_GETOWN, 0)?, getpid() as usize)?;
    fcntl(fd, F_SETSIG, RT)?;
    set(fd, UN)?;
    equal(fcntl(fd, libc::F_GETOWN, 0)?, 0)?;
    equal(fcntl(fd, F_GETSIG, 0)?, 0)
}

fn a_copy_of_the_descriptor_holds_it_too() -> Outcome {
    let fd = file(libc::O_RDONLY)?;
    let copy = sys!(SYS_dup, fd)? as i32;
    set(fd, RD)?;
    equal(get(copy)?, RD)?;
    close(fd)?;
    equal(get(copy)?, RD)?;
    set(copy, UN)?;
    Ok(())
}

fn leases_can_be_forbidden() -> Outcome {
    let fd = file(libc::O_RDONLY)?;
    with_setting("leases-enable", "0", || fails(set(fd, RD), libc::EINVAL))
}
