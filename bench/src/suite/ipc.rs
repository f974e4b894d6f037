//! What processes talk through.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{Case, Test, each};
use crate::fixture::{Fd, Partner, echo, eventfd, pipe, sockets};
use crate::mapping::{Mapping, PAGE};
use crate::problem::{Outcome, ensure, expect, good};
use crate::sys;

pub static TESTS: &[Test] = &[
    Test::new(
        "pipe",
        10_000,
        "write() of 64 bytes to a pipe and read() of them, in one process",
        pipe_alone,
    )
    .quick(),
    Test::new(
        "pipe_pingpong",
        2_000,
        "one byte to another process by a pipe, and back by another",
        pipe_pingpong,
    ),
    Test::new(
        "socketpair",
        5_000,
        "write() of 64 bytes to a UNIX stream socket and read() of them, in one process",
        socketpair,
    ),
    Test::new(
        "eventfd",
        10_000,
        "write() to an eventfd and read() of it, in one process",
        eventfd_alone,
    ),
    Test::new(
        "futex_pingpong",
        2_000,
        "FUTEX_WAKE of another process that waits, and FUTEX_WAIT for its answer",
        futex_pingpong,
    ),
    Test::new(
        "unix_stream",
        2_000,
        "one byte to another process by a UNIX stream socket, and back",
        unix_stream,
    ),
    Test::new(
        "unix_dgram",
        2_000,
        "one byte to another process by a UNIX datagram socket, and back",
        unix_dgram,
    ),
    Test::new(
        "sysv_sem",
        5_000,
        "semop() up and semop() down of a System V semaphore, in one process",
        sysv_sem,
    ),
    Test::new(
        "shm_attach",
        1_000,
        "shmat() of a System V segment of 16 pages, a write to each, and shmdt()",
        shm_attach,
    ),
];

/// Bytes through a channel within one process.
fn alone((reader, writer): (Fd, Fd)) -> Outcome<Box<dyn Case>> {
    let mut sent = [0; 64];
    let mut got = [0; 64];
    each(move || {
        sent[0] = u8::wrapping_add(sent[0], 1);
        expect("write", sys::write(writer.number(), &sent), 64)?;
        expect("read", sys::read(reader.number(), &mut got), 64)?;
        ensure(got[0] == sent[0], || "the data has changed".to_owned())
    })
}

fn pipe_alone() -> Outcome<Box<dyn Case>> {
    alone(pipe()?)
}

fn socketpair() -> Outcome<Box<dyn Case>> {
    alone(sockets(libc::SOCK_STREAM)?)
}

fn eventfd_alone() -> Outcome<Box<dyn Case>> {
    let event = eventfd(0)?;
    let mut count = 0_u64;
    each(move || {
        count += 1;
        let sent = count.to_ne_bytes();
        let mut got = [0; 8];
        expect("write", sys::write(event.number(), &sent), 8)?;
        expect("read", sys::read(event.number(), &mut got), 8)?;
        ensure(got == sent, || "the count has changed".to_owned())
    })
}

/// A byte to a partner that sends it back; each channel has its reader first.
fn pingpong(there: (Fd, Fd), back: (Fd, Fd)) -> Outcome<Box<dyn Case>> {
    let partner = Partner::start(|| echo(&there.0, &back.1))?;
    let mut byte = [0];
    each(move || {
        let _partner = &partner;
        let sent = [u8::wrapping_add(byte[0], 1)];
        expect("write", sys::write(there.1.number(), &sent), 1)?;
        expect("read", sys::read(back.0.number(), &mut byte), 1)?;
        ensure(byte == sent, || "the data has changed".to_owned())
    })
}

fn pipe_pingpong() -> Outcome<Box<dyn Case>> {
    pingpong(pipe()?, pipe()?)
}

fn socket_pingpong(kind: i32) -> Outcome<Box<dyn Case>> {
    let (near, far) = sockets(kind)?;
    let partner = Partner::start(|| echo(&far, &far))?;
    let mut byte = [0];
    each(move || {
        let _partner = &partner;
        let sent = [u8::wrapping_add(byte[0], 1)];
        expect("write", sys::write(near.number(), &sent), 1)?;
        expect("read", sys::read(near.number(), &mut byte), 1)?;
        ensure(byte == sent, || "the data has changed".to_owned())
    })
}

fn unix_stream() -> Outcome<Box<dyn Case>> {
    socket_pingpong(libc::SOCK_STREAM)
}

fn unix_dgram() -> Outcome<Box<dyn Case>> {
    socket_pingpong(libc::SOCK_DGRAM)
}

/// Waits until the word has this value.
fn await_value(word: &AtomicU32, value: u32) -> Outcome {
    loop {
        let now = word.load(Ordering::Acquire);
        if now == value {
            return Ok(());
        }
        let answer = sys::futex_wait(word, libc::FUTEX_WAIT, now, 0);
        if answer != 0 && answer != -(libc::EAGAIN as isize) {
            return expect("futex", answer, 0);
        }
    }
}

fn publish(word: &AtomicU32, value: u32) -> Outcome {
    word.store(value, Ordering::Release);
    good("futex", sys::futex_wake(word, libc::FUTEX_WAKE, 1)).map(drop)
}

fn futex_pingpong() -> Outcome<Box<dyn Case>> {
    let memory = Mapping::shared(PAGE)?;
    let partner = Partner::start(|| {
        for turn in (1..).map(|turn: u64| turn as u32) {
            await_value(memory.word(0), turn)?;
            publish(memory.word(16), turn)?;
        }
        Ok(())
    })?;
    let mut turn = 0_u32;
    each(move || {
        let _partner = &partner;
        turn = turn.wrapping_add(1);
        publish(memory.word(0), turn)?;
        await_value(memory.word(16), turn)
    })
}

/// A System V semaphore, removed with this.
struct Semaphore(i32);

impl Drop for Semaphore {
    fn drop(&mut self) {
        sys::semctl(self.0, 0, libc::IPC_RMID);
    }
}

fn sysv_sem() -> Outcome<Box<dyn Case>> {
    let set = Semaphore(good("semget", sys::semget(libc::IPC_PRIVATE, 1, 0o600))? as i32);
    each(move || {
        let set = &set;
        for step in [1, -1] {
            let mut operation = libc::sembuf {
                sem_num: 0,
                sem_op: step,
                sem_flg: 0,
            };
            expect("semop", sys::semop(set.0, &mut operation, 1), 0)?;
        }
        Ok(())
    })
}

/// A System V segment, removed with this.
struct Segment(i32);

impl Drop for Segment {
    fn drop(&mut self) {
        sys::shmctl(self.0, libc::IPC_RMID, 0);
    }
}

fn shm_attach() -> Outcome<Box<dyn Case>> {
    const PAGES: usize = 16;
    let answer = sys::shmget(libc::IPC_PRIVATE, PAGES * PAGE, 0o600);
    let segment = Segment(good("shmget", answer)? as i32);
    let mut round = 0_u8;
    each(move || {
        let segment = &segment;
        let memory = Mapping::attach(segment.0, PAGES * PAGE)?;
        for page in 0..PAGES {
            let old = memory.bump(page * PAGE);
            ensure(old == round, || "the segment has changed".to_owned())?;
        }
        round = round.wrapping_add(1);
        memory.detach()
    })
}
