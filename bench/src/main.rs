//! `bench`: the bench suite, one static binary that runs alike on Linux and on Ironbark.
//!
//! | module | what |
//! |---|---|
//! | `suite` | the tests |
//! | `runner` | runs one in a process of its own: calibration, samples, median |
//! | `report` | lines, table, JSON, comparison |
//! | `sys`, `mapping`, `fixture` | system calls without a libc between, and what tests are made of |
//! | `workload` | the data of the tests that run programs, and the answers they must give |
//!
//! ```text
//! bench list                            a line `GROUP NAME` for each test (-v: what an iteration does)
//! bench [--quick|--full] [WHAT...]      runs groups or tests; all, if none is named
//! bench compare A B                     the ratios of two runs' outputs
//! bench true                            nothing: what the tests of exec execute
//! ```
//! Between `BENCH_START <kernel>` and `BENCH_END` each test that ends prints
//! `BENCH <name> <iterations> <total_ns> <ns_per_op>`, and one whose calls the kernel does not have
//! `BENCH_UNSUPPORTED <name> <why>`. A test that fails says why on standard error, and the status
//! is 1. Ctrl-C gives up the running test and keeps what is finished; the status is 130.
//!
//! `main` is C's: without the Rust runtime, a copy of this program that has nothing to do starts
//! and ends as fast as any static program.

#![cfg_attr(not(test), no_main)]

mod fixture;
mod interrupt;
mod mapping;
mod options;
mod problem;
mod report;
mod runner;
mod stats;
mod suite;
mod sys;
mod workload;

use std::ffi::{CStr, c_char, c_int};

use options::{Command, Json, Options};
use problem::Outcome;
use report::Done;
use runner::say;

/// # Safety
/// Called by the C runtime, with its arguments.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let arguments = (1..argc.max(1) as usize).map(|index| {
        // SAFETY: `argv` has `argc` strings that live as long as the process.
        unsafe { CStr::from_ptr(*argv.add(index)) }
            .to_string_lossy()
            .into_owned()
    });
    match options::parse(arguments).and_then(command) {
        Ok(status) => status,
        Err(problem) => {
            eprintln!("bench: {problem}");
            2
        }
    }
}

fn command(command: Command) -> Outcome<c_int> {
    match command {
        Command::Help => say(options::HELP),
        Command::Nothing => {}
        Command::List { about } => {
            for (group, test) in suite::all() {
                if about {
                    say(&format!("{group} {}: {}", test.name, test.about));
                } else {
                    say(&format!("{group} {}", test.name));
                }
            }
        }
        Command::Compare(first, second) => {
            say(&report::compare(
                &runner::slurp(&first)?,
                &runner::slurp(&second)?,
            )?);
        }
        Command::Run(options) => return run(&options),
    }
    Ok(0)
}

fn run(options: &Options) -> Outcome<c_int> {
    interrupt::listen();
    let kernel = kernel();
    let lines = options.json != Json::Printed;
    if lines {
        say(&format!("BENCH_START {kernel}"));
    }
    let mut all = Vec::new();
    let mut status = 0;
    for (group, test) in options.tests() {
        let result = runner::run(test, options.plan);
        if interrupt::asked() {
            eprintln!("bench: interrupted in {}", test.name);
            status = 130;
            break;
        }
        match result {
            Ok(figure) => {
                let done = Done {
                    group,
                    name: test.name,
                    figure,
                };
                if lines {
                    say(&report::line(&done));
                }
                all.push(done);
            }
            Err(problem) if problem.is_absent() => {
                let text = format!("BENCH_UNSUPPORTED {} {problem}", test.name);
                if lines {
                    say(&text);
                } else {
                    eprintln!("{text}");
                }
            }
            Err(problem) => {
                eprintln!("bench: {}: {problem}", test.name);
                status = 1;
            }
        }
    }
    if let Json::File(path) = &options.json {
        runner::write_file(path, &(report::json(&kernel, &all) + "\n"))?;
    }
    if options.json == Json::Printed {
        say(&report::json(&kernel, &all));
    } else {
        say("BENCH_END");
        // SAFETY: the call takes no address.
        if unsafe { libc::isatty(1) } == 1 {
            say(&report::table(&all));
        }
    }
    Ok(status)
}

/// `Linux-6.1.0`: what `uname -sr` says, as one word.
fn kernel() -> String {
    let mut name: libc::utsname = sys::blank();
    sys::uname(&mut name);
    let text = |bytes: &[c_char]| -> String {
        let bytes = bytes.iter().take_while(|byte| **byte != 0);
        bytes.map(|byte| *byte as u8 as char).collect()
    };
    format!("{}-{}", text(&name.sysname), text(&name.release))
}
