//! Signals that tell of readiness: `O_ASYNC`, `F_SETOWN`, `F_SETSIG`.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    a_reader_hears_of_each_write,
    the_chosen_signal_tells_what_and_where,
    a_writer_hears_of_reads,
    ends_hear_of_the_other_ones_close,
    nobody_hears_without_owner_or_flag,
    a_full_queue_falls_back_to_sigio,
    signals_with_codes_of_their_own,
    a_group_hears_together,
    a_thread_hears_alone,
    the_owner_must_be_signallable,
    owners_that_are_gone,
    owner_errors,
    fifo_for_both,
    splice_tells_too,
    regular_files_have_none,
    the_flag_by_ioctl,
    a_stream_socket_hears,
    a_datagram_socket_hears,
    a_listener_hears_of_connections,
    a_sender_hears_of_room,
    sockets_name_owners_by_ioctl,
    a_terminal_hears_of_lines,
    a_master_hears_of_output,
    inotify_hears,
];

const POLL_IN: i32 = 1;
const POLL_OUT: i32 = 2;
const POLL_HUP: i32 = 6;
const BAND_IN: i64 = 0x41;
const BAND_OUT: i64 = 0x304;
const BAND_HUP: i64 = 0x18;
const SI_KERNEL: i32 = 0x80;
const SI_SIGIO: i32 = -5;
const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;
const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;
const F_OWNER_TID: i32 = 0;
const F_OWNER_PGRP: i32 = 2;
const RT: i32 = 40;

fn fcntl(fd: i32, command: i32, argument: i32) -> Sys {
    sys!(SYS_fcntl, fd, command, argument)
}

/// Blocks the signals that these cases wait for, in a process where none is pending.
fn hold() -> Sys<u64> {
    block(&[libc::SIGIO, RT])
}

/// Lets `fd` signal this process.
fn listen(fd: i32, signal: i32) -> Sys<()> {
    fcntl(fd, libc::F_SETOWN, getpid())?;
    fcntl(fd, F_SETSIG, signal)?;
    let flags = fcntl(fd, libc::F_GETFL, 0)? as i32;
    fcntl(fd, libc::F_SETFL, flags | libc::O_ASYNC)?;
    Ok(())
}

/// The code, band and descriptor of a signal.
fn told(info: &libc::siginfo_t) -> (i32, i64, i32) {
    let base = std::ptr::from_ref(info).cast::<u8>();
    // SAFETY: the structure has 128 bytes; the fields of SIGPOLL begin at 16.
    let (band, fd) = unsafe {
        (
            base.add(16).cast::<i64>().read(),
            base.add(24).cast::<i32>().read(),
        )
    };
    (info.si_code, band, fd)
}

fn is_pending(signal: i32) -> Sys<bool> {
    Ok(pending()? & set_of(&[signal]) != 0)
}

/// The next signal, which must be there already.
fn next(signal: i32) -> Outcome<libc::siginfo_t> {
    check(
        is_pending(signal)?,
        &format!("signal {signal} did not come"),
    )?;
    Ok(take(&[signal])?)
}

fn expect(signal: i32, want: (i32, i64, i32)) -> Outcome {
    equal(told(&next(signal)?), want)
}

fn expect_none() -> Outcome {
    check(
        !is_pending(libc::SIGIO)? && !is_pending(RT)?,
        "a signal came",
    )
}

fn a_reader_hears_of_each_write() -> Outcome {
    hold()?;
    let (r, w) = pipe()?;
    listen(r, 0)?;
    expect_none()?;
    write(w, b"a")?;
    equal(next(libc::SIGIO)?.si_code, SI_KERNEL)?;
    // The pipe is not empty, and that is told again.
    write(w, b"b")?;
    next(libc::SIGIO)?;
    read(r, &mut [0; 8])?;
    expect_none()
}

fn the_chosen_signal_tells_what_and_where() -> Outcome {
    hold()?;
    let (r, w) = pipe()?;
    listen(r, RT)?;
    equal(fcntl(r, F_GETSIG, 0)?, RT as usize)?;
    write(w, b"a")?;
    write(w, b"b")?;
    expect(RT, (POLL_IN, BAND_IN, r))?;
    expect(RT, (POLL_IN, BAND_IN, r))?;
    expect_none()?;
    // SIGIO itself, once chosen, tells as well.
    fcntl(r, F_SETSIG, libc::SIGIO)?;
    write(w, b"c")?;
    expect(libc::SIGIO, (POLL_IN, BAND_IN, r))?;
    fails(fcntl(r, F_SETSIG, 65), libc::EINVAL)?;
    fails(fcntl(r, F_SETSIG, -1), libc::EINVAL)
}

fn a_writer_hears_of_reads() -> Outcome {
    hold()?;
    let (r, w) = pipe()?;
    listen(w, RT)?;
    write(w, b"ab")?;
    expect_none()?;
    read(r, &mut [0; 1])?;
    expect(RT, (POLL_OUT, BAND_OUT, w))?;
    read(r, &mut [0; 1])?;
    expect(RT, (POLL_OUT, BAND_OUT, w))
}

fn ends_hear_of_the_other_ones_close() -> Outcome {
    hold()?;
    let (r, w) = pipe()?;
    listen(r, RT)?;
    close(w)?;
    expect(RT, (POLL_IN, BAND_IN, r))?;
    close(r)?;
    let (r, w) = pipe()?;
    listen(w, RT)?;
    close(r)?;
    expect(RT, (POLL_OUT, BAND_OUT, w))?;
    expect_none()
}

fn nobody_hears_without_owner_or_flag() -> Outcome {
    hold()?;
    let (r, w) = pipe()?;
    fcntl(r, libc::F_SETFL, libc::O_ASYNC)?;
    write(w, b"a")?;
    expect_none()?;
    fcntl(r, libc::F_SETOWN, getpid())?;
    write(w, b"a")?;
    next(libc::SIGIO)?;
    fcntl(r, libc::F_SETFL, 0)?;
    write(w, b"a")?;
    expect_none()?;
    // A copy of the descriptor is the same open file; the signal names the one that set the flag.
    let other = sys!(SYS_dup, r)? as i32;
    listen(other, RT)?;
    close(r)?;
    write(w, b"a")?;
    expect(RT, (POLL_IN, BAND_IN, other))?;
    close(other)?;
    expect_none()
}

fn a_full_queue_falls_back_to_sigio() -> Outcome {
    hold()?;
    let (r, w) = pipe()?;
    listen(r, RT)?;
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    sys!(SYS_prlimit64, 0, libc::RLIMIT_SIGPENDING, &none, 0)?;
    write(w, b"a")?;
    check(!is_pending(RT)?, "queued beyond the limit")?;
    equal(next(libc::SIGIO)?.si_code, SI_KERNEL)
}

fn signals_with_codes_of_their_own() -> Outcome {
    block(&[libc::SIGCHLD, libc::SIGUSR1])?;
    let (r, w) = pipe()?;
    listen(r, libc::SIGCHLD)?;
    write(w, b"a")?;
    let info = take(&[libc::SIGCHLD])?;
    equal(told(&info), (SI_SIGIO, BAND_IN, r))?;
    fcntl(r, F_SETSIG, libc::SIGUSR1)?;
    write(w, b"a")?;
    expect(libc::SIGUSR1, (POLL_IN, BAND_IN, r))
}

fn a_group_hears_together() -> Outcome {
    hold()?;
    let (r, w) = pipe()?;
    let (ready, go) = pipe()?;
    let child = fork(|| {
        let _ = write(go, b"x");
        match take(&[RT]) {
            Ok(info) if info.si_code == POLL_IN => 0,
            _ => 1,
        }
    })?;
    read_some(ready)?;
    listen(r, RT)?;
    fcntl(r, libc::F_SETOWN, -getpid())?;
    // F_GETOWN's answer would look like an error.
    let mut owner = [0_i32; 2];
    sys!(SYS_fcntl, r, F_GETOWN_EX, &mut owner)?;
    equal(owner, [F_OWNER_PGRP, getpid()])?;
    write(w, b"a")?;
    expect(RT, (POLL_IN, BAND_IN, r))?;
    equal(wait(child)?, 0)
}

/// The signals that are pending for the thread, and for the process.
fn pending_sets() -> Outcome<(u64, u64)> {
    let status = text_of("/proc/thread-self/status")?;
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let digits = some(line, name)?.trim();
        some(u64::from_str_radix(digits, 16).ok(), digits)
    };
    Ok((set("SigPnd:")?, set("ShdPnd:")?))
}

fn a_thread_hears_alone() -> Outcome {
    hold()?;
    let (r, w) = pipe()?;
    listen(r, RT)?;
    write(w, b"a")?;
    equal(pending_sets()?, (0, set_of(&[RT])))?;
    take(&[RT])?;
    let owner = [F_OWNER_TID, sys!(SYS_gettid)? as i32];
    sys!(SYS_fcntl, r, F_SETOWN_EX, &owner)?;
    let mut got = [7_i32; 2];
    sys!(SYS_fcntl, r, F_GETOWN_EX, &mut got)?;
    equal(got, owner)?;
    write(w, b"a")?;
    equal(pending_sets()?, (set_of(&[RT]), 0))
}

fn the_owner_must_be_signallable() -> Outcome {
    hold()?;
    let (r, w) = pipe()?;
    let parent = getpid();
    within(|| {
        become_user()?;
        listen(r, RT)?;
        fcntl(r, libc::F_SETOWN, parent)?;
        Ok(())
    })?;
    write(w, b"a")?;
    expect_none()?;
    // Named by root, root may be told.
    fcntl(r, libc::F_SETOWN, parent)?;
    write(w, b"a")?;
    next(RT).map(drop)
}

fn owners_that_are_gone() -> Outcome {
    let (r, w) = pipe()?;
    let child = fork(|| 0)?;
    fcntl(r, libc::F_SETOWN, child)?;
    equal(fcntl(r, libc::F_GETOWN, 0)?, child as usize)?;
    equal(wait(child)?, 0)?;
    equal(fcntl(r, libc::F_GETOWN, 0)?, 0)?;
    let mut got = [7_i32; 2];
    sys!(SYS_fcntl, r, F_GETOWN_EX, &mut got)?;
    equal(got[1], 0)?;
    fcntl(r, libc::F_SETFL, libc::O_ASYNC)?;
    write(w, b"a").map(drop).map_err(Trouble::from)
}

fn owner_errors() -> Outcome {
    let (r, _) = pipe()?;
    fails(fcntl(r, libc::F_SETOWN, i32::MIN), libc::EINVAL)?;
    fails(fcntl(r, libc::F_SETOWN, 0x3fff_fff0), libc::ESRCH)?;
    fails(fcntl(r, libc::F_SETOWN, -0x3fff_fff0), libc::ESRCH)?;
    let bad = [9_i32, 1];
    fails(sys!(SYS_fcntl, r, F_SETOWN_EX, &bad), libc::EINVAL)?;
    fails(sys!(SYS_fcntl, r, F_SETOWN_EX, 8), libc::EFAULT)?;
    fcntl(r, libc::F_SETOWN, getpid())?;
    fcntl(r, libc::F_SETOWN, 0)?;
    equal(fcntl(r, libc::F_GETOWN, 0)?, 0)
}

fn fifo_for_both() -> Outcome {
    hold()?;
    sys!(SYS_mknodat, libc::AT_FDCWD, c"f", libc::S_IFIFO | 0o600, 0)?;
    let fd = open(c"f", libc::O_RDWR)?;
    listen(fd, RT)?;
    write(fd, b"a")?;
    expect(RT, (POLL_IN, BAND_IN, fd))?;
    read(fd, &mut [0; 1])?;
    expect(RT, (POLL_OUT, BAND_OUT, fd))?;
    expect_none()
}

fn splice_tells_too() -> Outcome {
    hold()?;
    let (r, w) = pipe()?;
    let fd = file_with(c"f", b"text")?;
    listen(r, RT)?;
    equal(sys!(SYS_splice, fd, 0, w, 0, 4, 0)?, 4)?;
    expect(RT, (POLL_IN, BAND_IN, r))
}

fn regular_files_have_none() -> Outcome {
    let fd = file_with(c"f", b"")?;
    fcntl(fd, libc::F_SETFL, libc::O_ASYNC | libc::O_APPEND)?;
    let flags = fcntl(fd, libc::F_GETFL, 0)? as i32;
    equal(flags & (libc::O_ASYNC | libc::O_APPEND), libc::O_APPEND)?;
    let (on, off) = (1_i32, 0_i32);
    fails(sys!(SYS_ioctl, fd, libc::FIOASYNC, &on), libc::ENOTTY)?;
    sys!(SYS_ioctl, fd, libc::FIOASYNC, &off)?;
    Ok(())
}

fn the_flag_by_ioctl() -> Outcome {
    hold()?;
    let (r, w) = pipe()?;
    fcntl(r, libc::F_SETOWN, getpid())?;
    let (on, off) = (1_i32, 0_i32);
    sys!(SYS_ioctl, r, libc::FIOASYNC, &on)?;
    check(
        fcntl(r, libc::F_GETFL, 0)? as i32 & libc::O_ASYNC != 0,
        "not set",
    )?;
    write(w, b"a")?;
    next(libc::SIGIO)?;
    sys!(SYS_ioctl, r, libc::FIOASYNC, &off)?;
    write(w, b"a")?;
    expect_none()
}

fn socket_pair(kind: i32) -> Sys<(i32, i32)> {
    let mut fds = [0_i32; 2];
    sys!(SYS_socketpair, libc::AF_UNIX, kind, 0, &mut fds)?;
    Ok((fds[0], fds[1]))
}

fn a_stream_socket_hears() -> Outcome {
    hold()?;
    let (a, b) = socket_pair(libc::SOCK_STREAM)?;
    listen(a, RT)?;
    write(b, b"x")?;
    write(b, b"x")?;
    expect(RT, (POLL_IN, BAND_IN, a))?;
    expect(RT, (POLL_IN, BAND_IN, a))?;
    read_some(a)?;
    expect_none()?;
    sys!(SYS_shutdown, b, libc::SHUT_WR)?;
    expect(RT, (POLL_IN, BAND_IN, a))?;
    close(b)?;
    expect(RT, (POLL_HUP, BAND_HUP, a))?;
    expect_none()
}

fn a_datagram_socket_hears() -> Outcome {
    hold()?;
    for kind in [libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        let (a, b) = socket_pair(kind)?;
        listen(a, RT)?;
        write(b, b"x")?;
        expect(RT, (POLL_IN, BAND_IN, a))?;
        read_some(a)?;
        expect_none()?;
    }
    Ok(())
}

fn a_listener_hears_of_connections() -> Outcome {
    hold()?;
    let socket = || sys!(SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0).map(|fd| fd as i32);
    let (server, client) = (socket()?, socket()?);
    // An address that the kernel chooses.
    let family = libc::AF_UNIX as u16;
    sys!(SYS_bind, server, &family, 2)?;
    sys!(SYS_listen, server, 4)?;
    listen(server, RT)?;
    let mut address = zeroed::<libc::sockaddr_un>();
    let mut len = size_of::<libc::sockaddr_un>() as u32;
    sys!(SYS_getsockname, server, &mut address, &mut len)?;
    sys!(SYS_connect, client, &address, len)?;
    expect(RT, (POLL_IN, BAND_IN, server))?;
    expect_none()
}

fn a_sender_hears_of_room() -> Outcome {
    hold()?;
    let (a, b) = socket_pair(libc::SOCK_STREAM | libc::SOCK_NONBLOCK)?;
    listen(a, RT)?;
    // Room that nobody missed is not told of.
    write(a, b"x")?;
    read_some(b)?;
    expect_none()?;
    while write(a, &[0; 4096]).is_ok() {}
    while read_some(b).is_ok() {}
    expect(RT, (POLL_OUT, BAND_OUT, a))?;
    expect_none()
}

fn sockets_name_owners_by_ioctl() -> Outcome {
    const FIOSETOWN: u32 = 0x8901;
    const SIOCSPGRP: u32 = 0x8902;
    const FIOGETOWN: u32 = 0x8903;
    const SIOCGPGRP: u32 = 0x8904;
    let (a, _b) = socket_pair(libc::SOCK_STREAM)?;
    let mut owner = 7_i32;
    sys!(SYS_ioctl, a, SIOCGPGRP, &mut owner)?;
    equal(owner, 0)?;
    let own = -getpid();
    sys!(SYS_ioctl, a, SIOCSPGRP, &own)?;
    sys!(SYS_ioctl, a, FIOGETOWN, &mut owner)?;
    equal(owner, own)?;
    let own = getpid();
    sys!(SYS_ioctl, a, FIOSETOWN, &own)?;
    equal(fcntl(a, libc::F_GETOWN, 0)?, own as usize)?;
    let bad = 0x3fff_fff0_i32;
    fails(sys!(SYS_ioctl, a, SIOCSPGRP, &bad), libc::ESRCH)
}

/// A pseudo-terminal: master and slave.
fn pty() -> Outcome<(i32, i32)> {
    let master = open(c"/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY)?;
    let unlock = 0_i32;
    sys!(SYS_ioctl, master, libc::TIOCSPTLCK, &unlock)?;
    let flags = libc::O_RDWR | libc::O_NOCTTY;
    let slave = sys!(SYS_ioctl, master, libc::TIOCGPTPEER, flags)? as i32;
    Ok((master, slave))
}

fn a_terminal_hears_of_lines() -> Outcome {
    hold()?;
    let (master, slave) = pty()?;
    fcntl(slave, F_SETSIG, RT)?;
    fcntl(slave, libc::F_SETFL, libc::O_RDWR | libc::O_ASYNC)?;
    // A terminal without a foreground group signals who asked.
    equal(fcntl(slave, libc::F_GETOWN, 0)?, getpid() as usize)?;
    write(master, b"half")?;
    // What is no line yet comes with the rest.
    write(master, b" line\n")?;
    // On Linux a worker carries it over.
    equal(told(&take(&[RT])?), (POLL_IN, BAND_IN, slave))?;
    equal(read_some(slave)?, b"half line\n")?;
    expect_none()
}

fn a_master_hears_of_output() -> Outcome {
    hold()?;
    let (master, slave) = pty()?;
    listen(master, RT)?;
    write(slave, b"text")?;
    equal(told(&take(&[RT])?), (POLL_IN, BAND_IN, master))
}

fn inotify_hears() -> Outcome {
    hold()?;
    let fd = sys!(SYS_inotify_init1, 0)? as i32;
    sys!(SYS_inotify_add_watch, fd, c".", libc::IN_CREATE)?;
    listen(fd, RT)?;
    close(file_with(c"f", b"")?)?;
    expect(RT, (POLL_IN, BAND_IN, fd))?;
    expect_none()
}
