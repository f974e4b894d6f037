//! The same work on 1, 2 and 4 processors at once: how much more gets done says what it shares.
//!
//! Each worker, a process or a thread, is kept on a processor of its own. The figure is the wall time of one operation of
//! all workers together: on a machine and a kernel that share nothing, that of 4 processors is a quarter of that of 1.

use std::sync::atomic::Ordering;

use super::{Case, Test};
use crate::fixture::{Folder, Partner, echo, pipe};
use crate::mapping::{Mapping, PAGE};
use crate::problem::{Outcome, Problem, ensure, expect, good};
use crate::suite::process::reap;
use crate::sys;

/// Pages that a worker of `fault_threads` touches before it gives them back.
const PAGES: u64 = 256;

macro_rules! tests {
    ($($name:literal, $cpus:literal, $fixed:literal, $granule:expr, $about:literal, $kind:expr;)*) => {
        pub static TESTS: &[Test] = &[$(
            Test::new($name, $fixed, $about, || scale($cpus, $kind)).granule($granule * $cpus)
        ),*];
    };
}

tests! {
    "fault_threads_1", 1, 4096, PAGES,
        "a thread writes to 256 fresh pages and gives them back by madvise(): a page", Work::Fault;
    "fault_threads_2", 2, 4096, PAGES, "the same in 2 threads on 2 processors", Work::Fault;
    "fault_threads_4", 4, 4096, PAGES, "the same in 4 threads on 4 processors", Work::Fault;
    "open_procs_1", 1, 2000, 500, "a process opens and closes a file of its own", Work::Open;
    "open_procs_2", 2, 2000, 500, "2 processes do, each its own file in one folder", Work::Open;
    "open_procs_4", 4, 2000, 500, "4 processes do, each its own file in one folder", Work::Open;
    "fork_procs_1", 1, 240, 20, "a process forks a child that ends, and waits for it", Work::Fork;
    "fork_procs_2", 2, 240, 20, "2 processes do, each its own children", Work::Fork;
    "fork_procs_4", 4, 240, 20, "4 processes do, each its own children", Work::Fork;
    "pipe_procs_1", 1, 1600, 200, "two processes on one processor hand a byte to and fro", Work::Pipe;
    "pipe_procs_2", 2, 1600, 200, "2 such pairs on 2 processors", Work::Pipe;
    "pipe_procs_4", 4, 1600, 200, "4 such pairs on 4 processors", Work::Pipe;
    "futex_threads_1", 1, 16000, 4000,
        "a thread wakes nobody on a word of its own, and waits there for what it is not", Work::Futex;
    "futex_threads_2", 2, 16000, 4000, "2 threads of a process do, each on its own word", Work::Futex;
    "futex_threads_4", 4, 16000, 4000, "4 threads of a process do, each on its own word", Work::Futex;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Fault,
    Open,
    Fork,
    Pipe,
    Futex,
}

impl Work {
    fn in_threads(self) -> bool {
        matches!(self, Self::Fault | Self::Futex)
    }
}

/// Words of the shared page: how many workers are ready, whether they may go; then when each was done.
const READY: usize = 0;
const GO: usize = 1;
const FIRST_END: usize = 8;
/// The status of a worker that has done its part.
const DONE: i32 = 7;

struct Scale {
    cpus: usize,
    work: Work,
    shared: Mapping,
    folder: Folder,
    /// What the last run took, an operation.
    own_ns: f64,
}

fn scale(cpus: usize, work: Work) -> Outcome<Box<dyn Case>> {
    let there = std::thread::available_parallelism().map_or(1, |count| count.get());
    if there < cpus {
        return Err(Problem::absent(format!("there are {there} processors")));
    }
    Ok(Box::new(Scale {
        cpus,
        work,
        shared: Mapping::shared(PAGE)?,
        folder: Folder::new()?,
        own_ns: 0.0,
    }))
}

impl Case for Scale {
    fn run(&mut self, iterations: u64) -> Outcome {
        let share = iterations / self.cpus as u64;
        self.shared.word(READY).store(0, Ordering::SeqCst);
        self.shared.word(GO).store(0, Ordering::SeqCst);
        let start = if self.work.in_threads() {
            self.threads(share)?
        } else {
            self.processes(share)?
        };
        let ends = (0..self.cpus).map(|worker| self.end_of(worker));
        let end = ends.max().unwrap_or(start);
        ensure(end > start, || "no worker was done".to_owned())?;
        self.own_ns = (end - start) as f64 / (share * self.cpus as u64) as f64;
        Ok(())
    }

    fn own_ns(&mut self) -> Option<f64> {
        Some(self.own_ns)
    }
}

impl Scale {
    fn end_of(&self, worker: usize) -> u64 {
        self.shared.long(FIRST_END + worker).load(Ordering::SeqCst)
    }

    fn threads(&self, share: u64) -> Outcome<u64> {
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.cpus)
                .map(|worker| scope.spawn(move || self.part(worker, share)))
                .collect();
            let start = self.let_go();
            for worker in workers {
                let ended = worker.join();
                ended.unwrap_or_else(|_| Err(Problem::new("a worker panicked")))?;
            }
            start
        })
    }

    fn processes(&self, share: u64) -> Outcome<u64> {
        let mut workers = Vec::new();
        for worker in 0..self.cpus {
            let pid = good("fork", sys::fork())?;
            if pid == 0 {
                sys::prctl_number(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                let done = self.part(worker, share);
                if let Err(problem) = &done {
                    eprintln!("bench: in a worker: {problem}");
                    // Nobody shall wait for it.
                    self.shared.word(READY).fetch_add(1, Ordering::SeqCst);
                }
                sys::exit(if done.is_ok() { DONE } else { 1 });
            }
            workers.push(pid);
        }
        let start = self.let_go();
        for pid in workers {
            reap(pid, DONE)?;
        }
        start
    }

    /// Waits until all are ready, and lets them go; when that was.
    fn let_go(&self) -> Outcome<u64> {
        while (self.shared.word(READY).load(Ordering::SeqCst) as usize) < self.cpus {
            sys::sched_yield();
        }
        let start = now()?;
        self.shared.word(GO).store(1, Ordering::SeqCst);
        Ok(start)
    }

    /// A worker's part: gets ready, works, notes when it was done.
    fn part(&self, worker: usize, share: u64) -> Outcome {
        let cpus = [1_u64 << worker];
        let bytes = cpus.len() * 8;
        good("sched_setaffinity", sys::sched_setaffinity(0, bytes, &cpus))?;
        match self.work {
            Work::Fault => self.fault(worker, share),
            Work::Open => self.open(worker, share),
            Work::Fork => self.measured(worker, share, || {
                let pid = good("fork", sys::fork())?;
                if pid == 0 {
                    sys::exit(DONE);
                }
                reap(pid, DONE)
            }),
            Work::Pipe => self.pipe(worker, share),
            Work::Futex => self.futex(worker, share),
        }
    }

    fn measured(
        &self,
        worker: usize,
        count: u64,
        mut operation: impl FnMut() -> Outcome,
    ) -> Outcome {
        self.shared.word(READY).fetch_add(1, Ordering::SeqCst);
        while self.shared.word(GO).load(Ordering::SeqCst) == 0 {
            sys::sched_yield();
        }
        for _ in 0..count {
            operation()?;
        }
        let end = now()?;
        let slot = self.shared.long(FIRST_END + worker);
        slot.store(end, Ordering::SeqCst);
        Ok(())
    }

    fn fault(&self, worker: usize, share: u64) -> Outcome {
        let pages = Mapping::fresh(PAGES as usize * PAGE)?;
        self.measured(worker, share / PAGES, || {
            for page in 0..PAGES as usize {
                ensure(pages.bump(page * PAGE) == 0, || "an old page".to_owned())?;
            }
            expect("madvise", pages.advise(libc::MADV_DONTNEED), 0)
        })
    }

    fn open(&self, worker: usize, share: u64) -> Outcome {
        let path = self.folder.file(&format!("file{worker}"), b"x")?;
        self.measured(worker, share, || {
            let fd = good("open", sys::open(&path, libc::O_RDONLY, 0))?;
            expect("close", sys::close(fd as i32), 0)
        })
    }

    fn pipe(&self, worker: usize, share: u64) -> Outcome {
        let (there, to) = pipe()?;
        let (from, back) = pipe()?;
        let _partner = Partner::start(|| echo(&there, &back))?;
        let mut byte = [0];
        self.measured(worker, share, || {
            expect("write", sys::write(to.number(), &[1]), 1)?;
            expect("read", sys::read(from.number(), &mut byte), 1)
        })
    }

    fn futex(&self, worker: usize, share: u64) -> Outcome {
        // A line of its own, in memory of the process's own.
        let words = Mapping::fresh(PAGE)?;
        let word = words.word(16 * worker);
        let (wait, wake) = (
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
        );
        let again = -(libc::EAGAIN as isize);
        self.measured(worker, share, || {
            expect("futex wake", sys::futex_wake(word, wake, 1), 0)?;
            expect("futex wait", sys::futex_wait(word, wait, 1, 0), again)
        })
    }
}

/// Monotonic time, which all processes share.
fn now() -> Outcome<u64> {
    let mut time: libc::timespec = sys::blank();
    let answer = sys::clock_gettime_libc(libc::CLOCK_MONOTONIC, &mut time);
    expect("clock_gettime", answer, 0)?;
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
