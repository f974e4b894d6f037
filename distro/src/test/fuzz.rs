//! Random system calls: the kernel may answer what it likes, but not panic, hang, or lose memory.
//!
//! # Contract with `tests/fuzz`
//! `syscall-fuzz --seed N --calls N` makes that many calls from several processes, compares the
//! kernel's free memory before and after, prints what is wrong, and exits with 0 if nothing is.

use std::time::Duration;

use anyhow::Result;

use super::record::Record;
use super::{Job, Lab, standard_machine};
use crate::guest::{Guest, Outcome, System};
use crate::overlay::{ExtraFile, Extras};
use crate::programs;
use crate::run::last_lines;

const PROGRAM: &str = "usr/lib/ironbark/syscall-fuzz";
/// Fixed, so that a failure can be seen again; more seeds are for longer runs.
const SEEDS: [u64; 2] = [1, 2];
const CALLS: u64 = 500_000;
const LIMIT: Duration = Duration::from_secs(900);
const SILENCE: Duration = Duration::from_secs(300);

pub fn jobs<'a>(lab: &'a Lab, ours: &'a System) -> Result<Vec<Job<'a>>> {
    let program = programs::build("syscall-fuzz", &lab.paths, &lab.ui)?;
    let file = ExtraFile::program(PROGRAM, &program)?;
    let job = |seed: u64| -> Job<'a> {
        let file = file.clone();
        Box::new(move || Ok(vec![run(lab, ours, file, seed)?]))
    };
    Ok(SEEDS.into_iter().map(job).collect())
}

fn run(lab: &Lab, ours: &System, file: ExtraFile, seed: u64) -> Result<Record> {
    let _step = lab.ui.spinner(&format!("Random system calls, seed {seed}"));
    let machine = standard_machine();
    let guest = Guest {
        machine: &machine,
        system: ours,
        extras: &Extras {
            files: vec![file],
            share: None,
        },
        limit: LIMIT,
        idle_limit: SILENCE,
    };
    let mut out = Vec::new();
    let command = format!("/{PROGRAM} --seed {seed} --calls {CALLS}");
    let report = guest.exec(&command, &mut out, &lab.paths, &lab.ui)?;
    let said = String::from_utf8_lossy(&out);
    let console = last_lines(&report.console);
    let problem = match report.outcome {
        Outcome::Exited(0) => None,
        Outcome::Exited(status) => Some(format!("status {status}: {}", said.trim())),
        Outcome::TimedOut => Some(format!("the machine hangs\n{console}")),
        Outcome::Died => Some(format!("the machine died\n{console}")),
    };
    Ok(Record::checked(
        "fuzz",
        &format!("seed-{seed}"),
        "ironbark",
        problem,
    ))
}
