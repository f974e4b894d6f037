//! The tests.
//!
//! | module | what is measured |
//! |---|---|
//! | `syscall` | calls that do next to nothing |
//! | `file`, `path` | descriptors, reading and writing; paths |
//! | `memory` | mappings and faults |
//! | `process` | fork, exec, exit, threads |
//! | `signal` | dispositions, masks, delivery, timers |
//! | `ipc`, `ready` | what processes talk through; waiting for descriptors |
//! | `sched` | switches between processes, and how soon one wakes |
//! | `scale` | the same work on 1, 2 and 4 processors |
//! | `work`, `serve` | what people wait for, done by the image's programs; its servers |
//!
//! A test runs in a process of its own. It is made (not timed), run with a number of iterations
//! (timed, clean-up of what an iteration leaves included), and verified (not timed). An iteration
//! checks the kernel's answers as it goes; `verify` looks at counters and other evidence that what
//! was timed has happened. Working sets exceed what a kernel may keep ready.

mod file;
mod ipc;
mod memory;
mod path;
mod process;
mod ready;
mod scale;
mod sched;
mod serve;
mod signal;
mod syscall;
mod work;

use crate::problem::Outcome;

/// A test, ready to run.
pub trait Case {
    /// Runs so many iterations.
    fn run(&mut self, iterations: u64) -> Outcome;

    /// What the last run measured by itself, where that is not its length by its iterations.
    fn own_ns(&mut self) -> Option<f64> {
        None
    }

    /// Checks that the last run did what it says.
    fn verify(&mut self, _iterations: u64) -> Outcome {
        Ok(())
    }
}

/// One iteration as a closure, for tests that need no more.
pub struct Each<F>(pub F);

impl<F: FnMut() -> Outcome> Case for Each<F> {
    #[inline]
    fn run(&mut self, iterations: u64) -> Outcome {
        for _ in 0..iterations {
            (self.0)()?;
        }
        Ok(())
    }
}

pub fn each<F: FnMut() -> Outcome + 'static>(iteration: F) -> Outcome<Box<dyn Case>> {
    Ok(Box::new(Each(iteration)))
}

/// What is known of a test without running it.
pub struct Test {
    pub name: &'static str,
    /// One of the eight that everyone quotes.
    pub quick: bool,
    /// What one iteration does.
    pub about: &'static str,
    /// Iterations of a run whose length must not depend on the clock; the others are multiples of `granule`.
    pub fixed: u64,
    pub granule: u64,
    pub make: fn() -> Outcome<Box<dyn Case>>,
}

impl Test {
    pub const fn new(
        name: &'static str,
        fixed: u64,
        about: &'static str,
        make: fn() -> Outcome<Box<dyn Case>>,
    ) -> Self {
        Self {
            name,
            quick: false,
            about,
            fixed,
            granule: 1,
            make,
        }
    }

    pub const fn quick(mut self) -> Self {
        self.quick = true;
        self
    }

    pub const fn granule(mut self, iterations: u64) -> Self {
        self.granule = iterations;
        self
    }
}

pub struct Group {
    pub name: &'static str,
    pub tests: &'static [&'static [Test]],
}

pub static GROUPS: &[Group] = &[
    Group {
        name: "syscall",
        tests: &[syscall::TESTS],
    },
    Group {
        name: "file",
        tests: &[file::TESTS, path::TESTS],
    },
    Group {
        name: "memory",
        tests: &[memory::TESTS],
    },
    Group {
        name: "process",
        tests: &[process::TESTS],
    },
    Group {
        name: "signal",
        tests: &[signal::TESTS],
    },
    Group {
        name: "ipc",
        tests: &[ipc::TESTS, ready::TESTS],
    },
    Group {
        name: "sched",
        tests: &[sched::TESTS],
    },
    Group {
        name: "scale",
        tests: &[scale::TESTS],
    },
    Group {
        name: "work",
        tests: &[work::TESTS, serve::TESTS],
    },
];

/// All tests with their groups' names.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Test)> {
    let of = |group: &'static Group| group.tests.iter().copied().flatten();
    GROUPS
        .iter()
        .flat_map(move |group| of(group).map(|test| (group.name, test)))
}
