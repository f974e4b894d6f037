//! The events of processes: `NETLINK_CONNECTOR` with `CN_IDX_PROC`.

use std::ffi::CStr;

use libc::{EINVAL, EPERM, NETLINK_CONNECTOR, SIGCHLD, SIGKILL, SIGSEGV};

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    requests_are_acknowledged,
    malformed_requests_are_not_answered,
    forks_and_ends_are_told,
    threads_are_told,
    execs_and_names_are_told,
    changes_of_identity_are_told,
    sessions_are_told,
    tracing_is_told,
    dumps_are_told,
    events_have_numbers_and_times,
    who_listens_needs_rights,
];

const LISTEN: u32 = 1;
const IGNORE: u32 = 2;

const NONE: u32 = 0;
const FORK: u32 = 1;
const EXEC: u32 = 2;
const UID: u32 = 4;
const GID: u32 = 0x40;
const SID: u32 = 0x80;
const PTRACE: u32 = 0x100;
const COMM: u32 = 0x200;
const COREDUMP: u32 = 0x4000_0000;
const EXIT: u32 = 0x8000_0000;

/// A request: the connector's header and the wish.
fn request(idx: u32, val: u32, ack: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let len = 16 + 20 + data.len() as u32;
    for word in [len, 3, 77, 0, idx, val, 77, ack, data.len() as u32] {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    bytes.extend_from_slice(data);
    bytes
}

fn wish(fd: i32, wish: u32) -> Sys {
    send(fd, &request(1, 1, 5, &wish.to_ne_bytes()))
}

/// What happened, and its data.
#[derive(Debug)]
struct Event {
    what: u32,
    seq: u32,
    ack: u32,
    cpu: u32,
    time: u64,
    data: [u32; 6],
}

fn event_of(bytes: &[u8]) -> Outcome<Event> {
    let word = |at: usize| number_at(bytes, at);
    equal((bytes.len(), word(0)), (76, 76))?;
    // Type and flags; from the kernel; for processes.
    equal([word(4), word(12), word(16), word(20)], [3, 0, 1, 1])?;
    equal(word(8), word(24))?;
    equal(word(32), 40)?;
    Ok(Event {
        what: word(36),
        seq: word(24),
        ack: word(28),
        cpu: word(40),
        time: u64::from(word(44)) | u64::from(word(48)) << 32,
        data: [52, 56, 60, 64, 68, 72].map(word),
    })
}

fn next(fd: i32) -> Outcome<Event> {
    event_of(&receive_with(fd, 4096, 0)?.bytes)
}

/// The next event about this thread; other processes' events may come between.
fn next_of(fd: i32, what: u32, tid: i32) -> Outcome<Event> {
    loop {
        let event = next(fd)?;
        let whose = match event.what {
            FORK => event.data[2],
            _ => event.data[0],
        };
        if event.what == what && whose == tid as u32 {
            return Ok(event);
        }
    }
}

/// A socket that listens, its request acknowledged.
fn listener() -> Outcome<i32> {
    let (fd, _) = bound(NETLINK_CONNECTOR, 1)?;
    wish(fd, LISTEN)?;
    next_of(fd, NONE, 0)?;
    Ok(fd)
}

fn requests_are_acknowledged() -> Outcome {
    let (fd, _) = bound(NETLINK_CONNECTOR, 1)?;
    wish(fd, LISTEN)?;
    let ack = next_of(fd, NONE, 0)?;
    equal((ack.ack, ack.data), (6, [0; 6]))?;
    wish(fd, 99)?;
    let refused = next_of(fd, NONE, EINVAL)?;
    equal((refused.ack, refused.data[1]), (6, 0))?;
    // With nobody left to hear it, the end is not acknowledged.
    wish(fd, IGNORE)?;
    Ok(())
}

fn malformed_requests_are_not_answered() -> Outcome {
    let fd = listener()?;
    let listen = LISTEN.to_ne_bytes();
    send(fd, &request(1, 1, 0, &[1, 0, 0]))?;
    send(fd, &request(1, 1, 0, &[1, 0, 0, 0, 0, 0, 0, 0, 0]))?;
    send(fd, &request(1, 2, 0, &listen))?;
    send(fd, &request(77, 1, 0, &listen))?;
    send(fd, &[1, 2, 3])?;
    let mut cut = request(1, 1, 0, &listen);
    cut.truncate(30);
    send(fd, &cut)?;
    let mut lies = request(1, 1, 0, &listen);
    lies[0] = 200;
    send(fd, &lies)?;
    // The first answer is to the last request.
    send(fd, &request(1, 1, 1000, &listen))?;
    loop {
        let event = next(fd)?;
        if event.what == NONE {
            return equal((event.ack, event.data[0]), (1001, 0));
        }
    }
}

fn forks_and_ends_are_told() -> Outcome {
    let fd = listener()?;
    let me = getpid() as u32;
    let child = fork(|| 5)?;
    let id = child as u32;
    equal(next_of(fd, FORK, child)?.data, [me, me, id, id, 0, 0])?;
    // Nobody has waited: the parent is known.
    let end = next_of(fd, EXIT, child)?;
    equal(end.data, [id, id, 5 << 8, SIGCHLD as u32, me, me])?;
    wait(child)?;
    let child = fork(|| {
        let _ = sys!(SYS_kill, getpid(), SIGKILL);
        0
    })?;
    let id = child as u32;
    let end = next_of(fd, EXIT, child)?;
    equal(end.data, [id, id, 9, SIGCHLD as u32, me, me])?;
    wait(child)?;
    Ok(())
}

extern "C" fn nothing(_: *mut libc::c_void) -> i32 {
    0
}

fn threads_are_told() -> Outcome {
    let fd = listener()?;
    let me = getpid() as u32;
    thread(nothing, 0)?;
    let made = loop {
        let event = next(fd)?;
        if event.what == FORK && event.data[3] == me {
            break event.data;
        }
    };
    let parent = sys!(SYS_getppid)? as u32;
    equal([made[0], made[1]], [parent, parent])?;
    check(made[2] != me, "a number of its own")?;
    let end = next_of(fd, EXIT, made[2] as i32)?;
    equal(end.data, [made[2], me, 0, u32::MAX, 0, 0])
}

fn execs_and_names_are_told() -> Outcome {
    let fd = listener()?;
    let (read, write) = pipe()?;
    let child = fork(|| {
        let _ = sys!(SYS_prctl, libc::PR_SET_NAME, c"a new name", 0, 0, 0);
        let _ =
            open(c"/proc/self/comm", libc::O_WRONLY).and_then(|comm| self::write(comm, b"written"));
        let _ = crate::sys::read(read, &mut [0]);
        let path: &CStr = c"/proc/self/exe";
        let argv = [path.as_ptr(), c"--list".as_ptr(), std::ptr::null()];
        let _ = open(c"/dev/null", libc::O_WRONLY).and_then(|null| sys!(SYS_dup2, null, 1));
        let _ = sys!(SYS_execve, path, argv.as_ptr(), &[0_usize]);
        1
    })?;
    let id = child as u32;
    let named = |text: &[u8; 16]| [0, 4, 8, 12].map(|at| number_at(text, at));
    let comm = next_of(fd, COMM, child)?.data;
    equal(&comm[..2], [id, id])?;
    equal(&comm[2..], named(b"a new name\0\0\0\0\0\0"))?;
    let comm = next_of(fd, COMM, child)?.data;
    equal(&comm[2..], named(b"written\0\0\0\0\0\0\0\0\0"))?;
    self::write(write, b"x")?;
    equal(next_of(fd, EXEC, child)?.data, [id, id, 0, 0, 0, 0])?;
    wait(child)?;
    Ok(())
}

fn write(fd: i32, bytes: &[u8]) -> Sys {
    crate::sys::write(fd, bytes)
}

fn changes_of_identity_are_told() -> Outcome {
    let fd = listener()?;
    let child = fork(|| {
        let _ = sys!(SYS_setresgid, 5, 6, 7);
        let _ = sys!(SYS_setresuid, 0, 0, 0);
        let _ = sys!(SYS_setfsgid, 9);
        let _ = sys!(SYS_setresuid, 8, 9, 10);
        0
    })?;
    let id = child as u32;
    equal(next_of(fd, GID, child)?.data, [id, id, 5, 6, 0, 0])?;
    equal(next_of(fd, GID, child)?.data, [id, id, 5, 6, 0, 0])?;
    // Nothing of the change that changed nothing.
    equal(next_of(fd, UID, child)?.data, [id, id, 8, 9, 0, 0])?;
    wait(child)?;
    Ok(())
}

fn sessions_are_told() -> Outcome {
    let fd = listener()?;
    let child = fork(|| i32::from(sys!(SYS_setsid).is_err()))?;
    let id = child as u32;
    equal(next_of(fd, SID, child)?.data, [id, id, 0, 0, 0, 0])?;
    equal(wait(child)?, 0)
}

fn tracing_is_told() -> Outcome {
    let fd = listener()?;
    let me = getpid() as u32;
    let child = fork(|| {
        loop {
            nap();
        }
    })?;
    let id = child as u32;
    sys!(SYS_ptrace, libc::PTRACE_ATTACH, child, 0, 0)?;
    equal(next_of(fd, PTRACE, child)?.data, [id, id, me, me, 0, 0])?;
    wait_with(child, libc::__WALL)?;
    sys!(SYS_ptrace, libc::PTRACE_DETACH, child, 0, 0)?;
    equal(next_of(fd, PTRACE, child)?.data, [id, id, 0, 0, 0, 0])?;
    sys!(SYS_kill, child, SIGKILL)?;
    wait(child)?;
    Ok(())
}

fn dumps_are_told() -> Outcome {
    let fd = listener()?;
    let me = getpid() as u32;
    let child = fork(|| {
        let limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        let _ = sys!(SYS_setrlimit, libc::RLIMIT_CORE, &limit);
        let _ = sys!(SYS_kill, getpid(), SIGSEGV);
        0
    })?;
    let id = child as u32;
    let dump = next_of(fd, COREDUMP, child)?;
    equal(dump.data, [id, id, me, me, 0, 0])?;
    equal(next_of(fd, EXIT, child)?.data[2] & 0x7f, SIGSEGV as u32)?;
    wait(child)?;
    Ok(())
}

fn events_have_numbers_and_times() -> Outcome {
    let fd = listener()?;
    // On one processor, so that the numbers follow each other.
    let mut mask = [0_u64; 16];
    mask[0] = 1;
    sys!(SYS_sched_setaffinity, 0, 128, &mask)?;
    for _ in 0..3 {
        let child = fork(|| 0)?;
        wait(child)?;
    }
    let mut last: Option<Event> = None;
    for _ in 0..6 {
        let event = next(fd)?;
        equal(event.ack, 0)?;
        if event.cpu != 0 {
            continue;
        }
        if let Some(last) = last {
            equal(event.seq, last.seq.wrapping_add(1))?;
            check(event.time >= last.time, "time goes on")?;
        }
        last = Some(event);
    }
    check(last.is_some(), "events of the first processor")
}

fn who_listens_needs_rights() -> Outcome {
    let fd = listener()?;
    within(|| {
        let (other, _) = bound(NETLINK_CONNECTOR, 0)?;
        become_user()?;
        wish(other, LISTEN)?;
        Ok(())
    })?;
    // All who listen hear of the refusal.
    let refused = next_of(fd, NONE, EPERM)?;
    equal(refused.ack, 6)
}
