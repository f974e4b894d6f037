//! Calls that another process answers: the listener's ioctls, and what the caller sees.
//!
//! The case's process brings the filter and listens; its child makes the call.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    the_listener_answers_with_an_error,
    the_listener_answers_with_a_value,
    the_listener_lets_the_call_go_on,
    the_listener_is_told_what_is_called,
    messages_in_use_are_einval,
    a_message_that_cannot_be_delivered_waits,
    answers_to_nobody_are_enoent,
    bad_answers_are_einval,
    unknown_ioctls_are_einval,
    polling_tells_what_waits,
    polling_tells_that_nobody_is_left,
    calls_without_a_listener_are_enosys,
    closing_the_listener_ends_waiting_calls,
    a_second_listener_is_ebusy,
    the_listener_is_shown_and_closed_on_exec,
    a_signal_ends_a_waiting_call,
    a_restarted_call_asks_again,
    killed_callers_are_gone,
    callers_may_wait_for_death_alone,
    files_are_handed_over,
    files_go_where_they_are_told,
    files_may_be_the_answer,
    bad_requests_to_hand_over_are_refused,
    several_calls_wait_at_once,
    tsync_brings_a_listener,
    duplicates_of_the_listener_keep_it_open,
];

const RECV: u32 = 0xc050_2100;
const SEND: u32 = 0xc018_2101;
const ID_VALID: u32 = 0x4008_2102;
const ID_VALID_OLD: u32 = 0x8008_2102;
const ADDFD: u32 = 0x4018_2103;
const CONTINUE: u32 = 1;
const SETFD: u32 = 1;
const WITH_ANSWER: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Notif {
    id: u64,
    pid: u32,
    flags: u32,
    nr: i32,
    arch: u32,
    ip: u64,
    args: [u64; 6],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Resp {
    id: u64,
    val: i64,
    error: i32,
    flags: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct AddFd {
    id: u64,
    flags: u32,
    srcfd: u32,
    newfd: u32,
    newfd_flags: u32,
}

fn listen_with(flags: u32) -> Sys<i32> {
    install_with(NEW_LISTENER | flags, &only(CALL, USER_NOTIF)).map(|fd| fd as i32)
}

fn listen() -> Sys<i32> {
    listen_with(0)
}

fn receive(fd: i32) -> Sys<Notif> {
    let mut notif = Notif::default();
    sys!(SYS_ioctl, fd, RECV, &mut notif)?;
    Ok(notif)
}

fn send(fd: i32, resp: Resp) -> Sys {
    sys!(SYS_ioctl, fd, SEND, &resp)
}

fn is_valid(fd: i32, id: u64) -> Sys {
    sys!(SYS_ioctl, fd, ID_VALID, &id)
}

/// A child that makes the call and ends with 0 if the answer is the one wanted.
fn child(want: Sys) -> Sys<i32> {
    fork(|| i32::from(the_call() != want))
}

fn the_listener_answers_with_an_error() -> Outcome {
    let fd = listen()?;
    for errno in [libc::EPERM, libc::ENOENT, libc::EXDEV] {
        let pid = child(Err(Errno(errno)))?;
        let notif = receive(fd)?;
        send(
            fd,
            Resp {
                id: notif.id,
                error: -errno,
                ..Resp::default()
            },
        )?;
        equal(wait(pid)?, 0)?;
    }
    Ok(())
}

fn the_listener_answers_with_a_value() -> Outcome {
    let fd = listen()?;
    for val in [0, 1, 4711, 0x7fff_ffff_ffff] {
        let pid = child(Ok(val as usize))?;
        let id = receive(fd)?.id;
        send(
            fd,
            Resp {
                id,
                val,
                ..Resp::default()
            },
        )?;
        equal(wait(pid)?, 0)?;
    }
    Ok(())
}

fn go_on(id: u64) -> Resp {
    Resp {
        id,
        flags: CONTINUE,
        ..Resp::default()
    }
}

fn the_listener_lets_the_call_go_on() -> Outcome {
    let fd = listen()?;
    let pid = child(Ok(UNFILTERED))?;
    let id = receive(fd)?.id;
    send(fd, go_on(id))?;
    equal(wait(pid)?, 0)
}

fn the_listener_is_told_what_is_called() -> Outcome {
    let fd = listen()?;
    let args: [usize; 6] = [1, 2 << 32, 3, usize::MAX, 5, 6];
    let pid = fork(|| i32::from(crate::sys::call(CALL.into(), &args) != Ok(9)))?;
    let notif = receive(fd)?;
    equal(notif.pid as i32, pid)?;
    equal((notif.flags, notif.nr, notif.arch), (0, CALL as i32, ARCH))?;
    equal(notif.args, args.map(|arg| arg as u64))?;
    check(notif.ip != 0, "no address is told")?;
    equal(is_valid(fd, notif.id)?, 0)?;
    equal(sys!(SYS_ioctl, fd, ID_VALID_OLD, &notif.id)?, 0)?;
    send(
        fd,
        Resp {
            id: notif.id,
            val: 9,
            ..Resp::default()
        },
    )?;
    equal(wait(pid)?, 0)?;
    fails(is_valid(fd, notif.id), libc::ENOENT)
}

fn messages_in_use_are_einval() -> Outcome {
    let fd = listen()?;
    let pid = child(Ok(UNFILTERED))?;
    let mut notif = Notif {
        flags: 1,
        ..Notif::default()
    };
    fails(sys!(SYS_ioctl, fd, RECV, &mut notif), libc::EINVAL)?;
    fails(sys!(SYS_ioctl, fd, RECV, 0), libc::EFAULT)?;
    let id = receive(fd)?.id;
    send(fd, go_on(id))?;
    equal(wait(pid)?, 0)
}

fn a_message_that_cannot_be_delivered_waits() -> Outcome {
    let fd = listen()?;
    let pid = child(Ok(UNFILTERED))?;
    // Readable zeros that cannot be written.
    let page = map_with(
        PAGE,
        libc::PROT_READ,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    )?;
    fails(sys!(SYS_ioctl, fd, RECV, page), libc::EFAULT)?;
    let id = receive(fd)?.id;
    send(fd, go_on(id))?;
    equal(wait(pid)?, 0)
}

fn answers_to_nobody_are_enoent() -> Outcome {
    let fd = listen()?;
    let pid = child(Ok(UNFILTERED))?;
    let id = receive(fd)?.id;
    fails(send(fd, go_on(id.wrapping_add(1))), libc::ENOENT)?;
    fails(is_valid(fd, id.wrapping_add(1)), libc::ENOENT)?;
    send(fd, go_on(id))?;
    equal(wait(pid)?, 0)?;
    fails(send(fd, go_on(id)), libc::ENOENT)
}

fn bad_answers_are_einval() -> Outcome {
    let fd = listen()?;
    let pid = child(Ok(UNFILTERED))?;
    let id = receive(fd)?.id;
    let good = go_on(id);
    fails(send(fd, Resp { flags: 2, ..good }), libc::EINVAL)?;
    fails(send(fd, Resp { val: 1, ..good }), libc::EINVAL)?;
    fails(send(fd, Resp { error: -1, ..good }), libc::EINVAL)?;
    fails(sys!(SYS_ioctl, fd, SEND, 0), libc::EFAULT)?;
    send(fd, good)?;
    equal(wait(pid)?, 0)
}

fn unknown_ioctls_are_einval() -> Outcome {
    let fd = listen()?;
    for number in [0xc018_2100_u32, 0xc050_2101, 0x2107, 0x4008_2109] {
        let buffer = [0u8; 128];
        fails(sys!(SYS_ioctl, fd, number, &buffer), libc::EINVAL)?;
    }
    Ok(())
}

const ANY: i16 = libc::POLLIN | libc::POLLOUT;

fn polling_tells_what_waits() -> Outcome {
    let fd = listen()?;
    equal(ready(fd, ANY)?, 0)?;
    let pid = child(Ok(UNFILTERED))?;
    equal(poll_one(fd, ANY, -1)?, libc::POLLIN)?;
    let id = receive(fd)?.id;
    equal(ready(fd, ANY)?, libc::POLLOUT)?;
    send(fd, go_on(id))?;
    equal(wait(pid)?, 0)?;
    equal(ready(fd, ANY)?, 0)
}

fn polling_tells_that_nobody_is_left() -> Outcome {
    // Only a child that shares the descriptors has the filter.
    extern "C" fn body(to: *mut libc::c_void) -> i32 {
        let fd = listen().unwrap_or(-1);
        word(to as usize).store(fd as u32, std::sync::atomic::Ordering::SeqCst);
        await_word(word(to as usize + 4), 1);
        0
    }
    let words = map_shared(PAGE)?;
    let pid = clone_run(libc::CLONE_FILES | libc::SIGCHLD, body, words, (0, 0))?;
    while word(words).load(std::sync::atomic::Ordering::SeqCst) == 0 {
        nap();
    }
    let fd = word(words).load(std::sync::atomic::Ordering::SeqCst) as i32;
    equal(ready(fd, ANY)?, 0)?;
    word(words + 4).store(1, std::sync::atomic::Ordering::SeqCst);
    equal(wait(pid)?, 0)?;
    equal(poll_one(fd, ANY, -1)?, libc::POLLHUP)
}

fn calls_without_a_listener_are_enosys() -> Outcome {
    install(&only(CALL, USER_NOTIF))?;
    fails(the_call(), libc::ENOSYS)
}

fn closing_the_listener_ends_waiting_calls() -> Outcome {
    let fd = listen()?;
    // The children have a copy of the descriptor, which they give up.
    let waiting = || {
        fork(|| {
            let _ = close(fd);
            i32::from(the_call() != Err(Errno(libc::ENOSYS)))
        })
    };
    let unread = waiting()?;
    receive(fd)?;
    let read = waiting()?;
    poll_one(fd, libc::POLLIN, -1)?;
    close(fd)?;
    equal(wait(unread)?, 0)?;
    equal(wait(read)?, 0)?;
    fails(the_call(), libc::ENOSYS)
}

fn a_second_listener_is_ebusy() -> Outcome {
    let fd = listen()?;
    fails(listen(), libc::EBUSY)?;
    within(|| fails(listen(), libc::EBUSY))?;
    // Filters without one are taken.
    install(&only(libc::SYS_getsid as u32, ALLOW))?;
    close(fd)?;
    listen()?;
    Ok(())
}

fn the_listener_is_shown_and_closed_on_exec() -> Outcome {
    let fd = listen()?;
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}"))?;
    equal(link.to_string_lossy(), "anon_inode:seccomp notify")?;
    equal(sys!(SYS_fcntl, fd, libc::F_GETFD)?, 1)?;
    equal(
        sys!(SYS_fcntl, fd, libc::F_GETFL)? as i32 & libc::O_ACCMODE,
        libc::O_RDWR,
    )?;
    let mut byte = [0; 1];
    fails(read(fd, &mut byte), libc::EINVAL)?;
    fails(write(fd, &byte), libc::EINVAL)
}

fn a_signal_ends_a_waiting_call() -> Outcome {
    let fd = listen()?;
    let pid = fork(|| {
        if catch(libc::SIGUSR1, 0).is_err() {
            return 2;
        }
        i32::from(the_call() != Err(Errno(libc::EINTR)))
    })?;
    let id = receive(fd)?.id;
    sys!(SYS_kill, pid, libc::SIGUSR1)?;
    equal(wait(pid)?, 0)?;
    fails(send(fd, go_on(id)), libc::ENOENT)
}

fn a_restarted_call_asks_again() -> Outcome {
    let fd = listen()?;
    let pid = fork(|| {
        if catch(libc::SIGUSR1, libc::SA_RESTART).is_err() {
            return 2;
        }
        let got = the_call();
        i32::from(got != Ok(5) || hits(libc::SIGUSR1) != 1)
    })?;
    let first = receive(fd)?.id;
    sys!(SYS_kill, pid, libc::SIGUSR1)?;
    let again = receive(fd)?;
    check(again.id != first, "the number is the same")?;
    fails(send(fd, go_on(first)), libc::ENOENT)?;
    send(
        fd,
        Resp {
            id: again.id,
            val: 5,
            ..Resp::default()
        },
    )?;
    equal(wait(pid)?, 0)
}

fn killed_callers_are_gone() -> Outcome {
    let fd = listen()?;
    let pid = child(Ok(UNFILTERED))?;
    let id = receive(fd)?.id;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    equal(libc::WTERMSIG(wait(pid)?), libc::SIGKILL)?;
    fails(is_valid(fd, id), libc::ENOENT)?;
    fails(send(fd, go_on(id)), libc::ENOENT)?;
    equal(ready(fd, ANY)?, 0)
}

fn callers_may_wait_for_death_alone() -> Outcome {
    let Ok(fd) = listen_with(WAIT_KILLABLE_RECV) else {
        return skip("this kernel has no SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV");
    };
    let pid = fork(|| {
        if catch(libc::SIGUSR1, 0).is_err() {
            return 2;
        }
        let got = the_call();
        i32::from(got != Ok(5) || hits(libc::SIGUSR1) != 1)
    })?;
    let id = receive(fd)?.id;
    await_state(pid, "SD")?;
    sys!(SYS_kill, pid, libc::SIGUSR1)?;
    nap();
    equal(is_valid(fd, id)?, 0)?;
    send(
        fd,
        Resp {
            id,
            val: 5,
            ..Resp::default()
        },
    )?;
    equal(wait(pid)?, 0)?;
    // Death ends it all the same.
    let pid = child(Ok(UNFILTERED))?;
    receive(fd)?;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    equal(libc::WTERMSIG(wait(pid)?), libc::SIGKILL)
}

/// A child that makes the call, and ends with 0 if it then reads "hello" from the descriptor.
fn reader_of(fd: i32, cloexec: usize) -> Sys<i32> {
    fork(|| {
        let answer = the_call();
        let mut bytes = [0; 5];
        let read = sys!(SYS_pread64, fd, bytes.as_mut_ptr(), 5, 0);
        let flags = sys!(SYS_fcntl, fd, libc::F_GETFD);
        let good = read == Ok(5) && bytes == *b"hello" && flags == Ok(cloexec);
        i32::from(!(good && answer == Ok(fd as usize)))
    })
}

fn add_fd(fd: i32, request: AddFd) -> Sys<i32> {
    sys!(SYS_ioctl, fd, ADDFD, &request).map(|fd| fd as i32)
}

/// The lowest free descriptor: what the child's lowest free one is, too.
fn free_fd() -> Sys<i32> {
    let fd = sys!(SYS_dup, 0)? as i32;
    close(fd)?;
    Ok(fd)
}

fn files_are_handed_over() -> Outcome {
    let fd = listen()?;
    let file = file_with(c"file", b"hello")?;
    sys!(SYS_dup3, file, 200, libc::O_CLOEXEC)?;
    close(file)?;
    let wanted = free_fd()?;
    let pid = reader_of(wanted, 0)?;
    let id = receive(fd)?.id;
    let request = AddFd {
        id,
        srcfd: 200,
        ..AddFd::default()
    };
    equal(add_fd(fd, request)?, wanted)?;
    send(
        fd,
        Resp {
            id,
            val: wanted.into(),
            ..Resp::default()
        },
    )?;
    equal(wait(pid)?, 0)
}

fn files_go_where_they_are_told() -> Outcome {
    let fd = listen()?;
    let file = file_with(c"file", b"hello")?;
    let pid = reader_of(77, 1)?;
    let id = receive(fd)?.id;
    let request = AddFd {
        id,
        flags: SETFD,
        srcfd: file as u32,
        newfd: 77,
        newfd_flags: libc::O_CLOEXEC as u32,
    };
    equal(add_fd(fd, request)?, 77)?;
    equal(add_fd(fd, request)?, 77)?;
    // What its table has no room for is said to the listener, and the call waits on.
    let beyond = AddFd {
        newfd: 1 << 30,
        ..request
    };
    fails(add_fd(fd, beyond), libc::EBADF)?;
    equal(is_valid(fd, id)?, 0)?;
    send(
        fd,
        Resp {
            id,
            val: 77,
            ..Resp::default()
        },
    )?;
    equal(wait(pid)?, 0)
}

fn files_may_be_the_answer() -> Outcome {
    let fd = listen()?;
    let file = file_with(c"file", b"hello")?;
    let pid = reader_of(88, 0)?;
    let id = receive(fd)?.id;
    let request = AddFd {
        id,
        flags: SETFD | WITH_ANSWER,
        srcfd: file as u32,
        newfd: 1 << 30,
        ..AddFd::default()
    };
    fails(add_fd(fd, request), libc::EBADF)?;
    equal(is_valid(fd, id)?, 0)?;
    let request = AddFd {
        newfd: 88,
        ..request
    };
    equal(add_fd(fd, request)?, 88)?;
    equal(wait(pid)?, 0)?;
    fails(add_fd(fd, request), libc::ENOENT)
}

fn bad_requests_to_hand_over_are_refused() -> Outcome {
    let fd = listen()?;
    let pid = child(Ok(UNFILTERED))?;
    let id = receive(fd)?.id;
    let good = AddFd {
        id,
        ..AddFd::default()
    };
    let flags = libc::O_CLOEXEC as u32;
    fails(add_fd(fd, AddFd { flags: 4, ..good }), libc::EINVAL)?;
    fails(add_fd(fd, AddFd { newfd: 9, ..good }), libc::EINVAL)?;
    let newfd_flags = flags | 1;
    fails(
        add_fd(
            fd,
            AddFd {
                newfd_flags,
                ..good
            },
        ),
        libc::EINVAL,
    )?;
    fails(add_fd(fd, AddFd { srcfd: 999, ..good }), libc::EBADF)?;
    fails(add_fd(fd, AddFd { id: id ^ 1, ..good }), libc::ENOENT)?;
    fails(sys!(SYS_ioctl, fd, ADDFD, 0), libc::EFAULT)?;
    // Other sizes of the structure: too small, larger with zeros behind, larger with more.
    let sized = |size: u32, words: &[u64; 8]| sys!(SYS_ioctl, fd, 0x4000_2103 | size << 16, words);
    let mut words = [0u64; 8];
    words[0] = id ^ 1;
    fails(sized(16, &words), libc::EINVAL)?;
    fails(sized(64, &words), libc::ENOENT)?;
    words[7] = 1;
    fails(sized(64, &words), libc::E2BIG)?;
    fails(sized(4096, &words), libc::EINVAL)?;
    send(fd, go_on(id))?;
    equal(wait(pid)?, 0)
}

fn several_calls_wait_at_once() -> Outcome {
    let fd = listen()?;
    let pids: Vec<i32> = (0..5)
        .map(|number| child(Ok(100 + number)))
        .collect::<Sys<_>>()?;
    let notifs: Vec<Notif> = (0..5).map(|_| receive(fd)).collect::<Sys<_>>()?;
    for notif in notifs.iter().rev() {
        let at = pids.iter().position(|pid| *pid == notif.pid as i32);
        let at = some(at, "a stranger calls")?;
        let resp = Resp {
            id: notif.id,
            val: 100 + at as i64,
            ..Resp::default()
        };
        send(fd, resp)?;
        equal(wait(notif.pid as i32)?, 0)?;
    }
    Ok(())
}

fn tsync_brings_a_listener() -> Outcome {
    let flags = TSYNC | TSYNC_ESRCH;
    let fd = listen_with(flags)?;
    let pid = child(Ok(UNFILTERED))?;
    let id = receive(fd)?.id;
    send(fd, go_on(id))?;
    equal(wait(pid)?, 0)
}

fn duplicates_of_the_listener_keep_it_open() -> Outcome {
    let fd = listen()?;
    let other = sys!(SYS_dup, fd)? as i32;
    close(fd)?;
    let pid = child(Ok(UNFILTERED))?;
    let id = receive(other)?.id;
    send(other, go_on(id))?;
    equal(wait(pid)?, 0)
}
