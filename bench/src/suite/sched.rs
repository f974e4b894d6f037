//! Switches between processes, and how soon one wakes.

use std::sync::atomic::Ordering;

use super::{Case, Test, each};
use crate::fixture::{Fd, Partner, echo, pipe, sockets};
use crate::mapping::{Mapping, PAGE};
use crate::problem::{Outcome, ensure, expect, good};
use crate::stats;
use crate::suite::process::reap;
use crate::sys;

pub static TESTS: &[Test] = &[
    Test::new(
        "ctx_2",
        4_000,
        "a byte handed on by a pipe in a ring of 2 processes, one hop",
        || ring(2),
    )
    .granule(2),
    Test::new(
        "ctx_16",
        4_000,
        "a byte handed on by a pipe in a ring of 16 processes, one hop",
        || ring(16),
    )
    .granule(16),
    Test::new(
        "hackbench",
        2,
        "10 processes send 10 messages of 100 bytes to each of 10 others by UNIX sockets; making and ending them is timed with it",
        hackbench,
    ),
    Test::new(
        "wakeup_latency",
        2_000,
        "a process that waits on a pipe runs again, from before the write that wakes it: the median",
        || wakeup(0.5),
    ),
    Test::new(
        "wakeup_latency_99",
        2_000,
        "the same: the 99th percentile",
        || wakeup(0.99),
    ),
    Test::new(
        "timer_slack",
        200,
        "nanosleep() of 200 us: how much longer it takes, the median",
        timer_slack,
    ),
];

struct Ring {
    first: Fd,
    last: Fd,
    hops: u64,
    _others: Vec<Partner>,
}

/// A ring of processes, this one among them; each hands on what it gets.
fn ring(processes: usize) -> Outcome<Box<dyn Case>> {
    let (mut last, first) = pipe()?;
    let mut others = Vec::new();
    for _ in 1..processes {
        let (reader, writer) = pipe()?;
        others.push(Partner::start(|| echo(&last, &writer))?);
        last = reader;
    }
    Ok(Box::new(Ring {
        first,
        last,
        hops: processes as u64,
        _others: others,
    }))
}

impl Case for Ring {
    fn run(&mut self, iterations: u64) -> Outcome {
        let mut byte = [0];
        for round in 0..iterations / self.hops {
            let sent = [round as u8];
            expect("write", sys::write(self.first.number(), &sent), 1)?;
            expect("read", sys::read(self.last.number(), &mut byte), 1)?;
            ensure(byte == sent, || "the data has changed".to_owned())?;
        }
        Ok(())
    }
}

const PEERS: usize = 10;
const MESSAGES: usize = 10;
const MESSAGE: usize = 100;

/// Forks a process that ends when its work is done.
fn worker(work: impl FnOnce() -> Outcome) -> Outcome<isize> {
    let pid = good("fork", sys::fork())?;
    if pid == 0 {
        sys::prctl_number(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        sys::exit(if work().is_ok() { 7 } else { 1 });
    }
    Ok(pid)
}

/// Reads so many bytes and no end of file before.
fn receive(from: &Fd, mut left: usize) -> Outcome {
    let mut buffer = [0; MESSAGE];
    while left > 0 {
        let want = left.min(MESSAGE);
        let count = good("read", sys::read(from.number(), &mut buffer[..want]))?;
        ensure(count > 0, || "the channel is closed".to_owned())?;
        left -= count as usize;
    }
    Ok(())
}

fn hackbench() -> Outcome<Box<dyn Case>> {
    each(|| {
        let pairs: Vec<(Fd, Fd)> = (0..PEERS)
            .map(|_| sockets(libc::SOCK_STREAM))
            .collect::<Outcome<_>>()?;
        let mut workers = Vec::new();
        for (_, end) in &pairs {
            workers.push(worker(|| receive(end, PEERS * MESSAGES * MESSAGE))?);
        }
        for _ in 0..PEERS {
            workers.push(worker(|| {
                for _ in 0..MESSAGES {
                    for (end, _) in &pairs {
                        let count = sys::write(end.number(), &[1; MESSAGE]);
                        expect("write", count, MESSAGE as isize)?;
                    }
                }
                Ok(())
            })?);
        }
        workers.into_iter().try_for_each(|pid| reap(pid, 7))
    })
}

/// Nanoseconds of the monotonic clock.
fn now() -> u64 {
    let mut now: libc::timespec = sys::blank();
    sys::clock_gettime_libc(libc::CLOCK_MONOTONIC, &mut now);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

struct Wakeup {
    /// The first long word: when the partner was woken; the second: when it ran.
    memory: Mapping,
    there: Fd,
    back: Fd,
    /// Which of the sorted delays is the figure.
    rank: f64,
    delays: Vec<f64>,
    _partner: Partner,
}

fn wakeup(rank: f64) -> Outcome<Box<dyn Case>> {
    let memory = Mapping::shared(PAGE)?;
    let (reader, there) = pipe()?;
    let (back, writer) = pipe()?;
    let partner = Partner::start(|| {
        let mut byte = [0];
        loop {
            expect("read", sys::read(reader.number(), &mut byte), 1)?;
            memory.long(1).store(now(), Ordering::Release);
            expect("write", sys::write(writer.number(), &byte), 1)?;
        }
    })?;
    Ok(Box::new(Wakeup {
        memory,
        there,
        back,
        rank,
        delays: Vec::new(),
        _partner: partner,
    }))
}

impl Case for Wakeup {
    fn run(&mut self, iterations: u64) -> Outcome {
        self.delays.clear();
        let mut byte = [0];
        for _ in 0..iterations {
            let start = now();
            expect("write", sys::write(self.there.number(), b"x"), 1)?;
            expect("read", sys::read(self.back.number(), &mut byte), 1)?;
            let woken = self.memory.long(1).load(Ordering::Acquire);
            ensure(woken >= start, || "woken before the wake-up".to_owned())?;
            self.delays.push((woken - start) as f64);
        }
        Ok(())
    }

    fn own_ns(&mut self) -> Option<f64> {
        ranked(&mut self.delays, self.rank)
    }
}

/// The value of a rank from 0 to 1, the values in order.
fn ranked(values: &mut [f64], rank: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let index = (values.len().checked_sub(1)? as f64 * rank).round() as usize;
    values.get(index).copied()
}

struct Sleeper {
    late: Vec<f64>,
}

fn timer_slack() -> Outcome<Box<dyn Case>> {
    Ok(Box::new(Sleeper { late: Vec::new() }))
}

impl Case for Sleeper {
    fn run(&mut self, iterations: u64) -> Outcome {
        const NS: u64 = 200_000;
        self.late.clear();
        let mut time: libc::timespec = sys::blank();
        time.tv_nsec = NS as i64;
        for _ in 0..iterations {
            let start = now();
            expect("nanosleep", sys::nanosleep(&time, 0), 0)?;
            let took = now() - start;
            ensure(took >= NS, || format!("woke after {took} ns"))?;
            self.late.push((took - NS) as f64);
        }
        Ok(())
    }

    fn own_ns(&mut self) -> Option<f64> {
        self.late.sort_by(f64::total_cmp);
        Some(stats::median(&self.late)).filter(|late| late.is_finite())
    }
}
