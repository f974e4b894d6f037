//! Random system calls: the kernel may answer what it likes, but not panic, hang, or lose memory.
//!
//! # Contract with `tests/fuzz`
//! `syscall-fuzz --seed N --calls N` makes that many calls from several processes, compares the
//! kernel's free memory before and after, prints what is wrong, and exits with 0 if nothing is.

use std::time::Duration;

use anyhow::Result;

use super::record::Record;
use super::{Job, Lab, Systems, standard_machine};
use crate::guest::{Guest, Outcome, System};
use crate::machine::Machine;
use crate::overlay::{ExtraFile, Extras};
use crate::programs;
use crate::run::last_lines;

const PROGRAM: &str = "usr/lib/ironbark/syscall-fuzz";
/// Fixed, so that a failure can be seen again; more seeds are for longer runs.
const SEEDS: [u64; 2] = [1, 2];
const CALLS: u64 = 500_000;
/// On the kernel with its checks, which is slower.
const CHECKED_SEED: u64 = 3;
const CHECKED_CALLS: u64 = 250_000;
const LIMIT: Duration = Duration::from_secs(900);
const SILENCE: Duration = Duration::from_secs(300);

/// One run.
struct Run<'a> {
    system: &'a System,
    on: &'static str,
    smp: u32,
    seed: u64,
    calls: u64,
}

pub fn jobs<'a>(lab: &'a Lab, systems: &'a Systems) -> Result<Vec<Job<'a>>> {
    let program = programs::build("syscall-fuzz", &lab.paths, &lab.ui)?;
    let file = ExtraFile::program(PROGRAM, &program)?;
    let mut jobs: Vec<Job<'a>> = Vec::new();
    for (on, system, smp) in systems.all().filter(|(on, ..)| *on != "linux") {
        let (seeds, calls) = match on {
            "checked" => (&[CHECKED_SEED][..], CHECKED_CALLS),
            _ => (&SEEDS[..], CALLS),
        };
        for &seed in seeds {
            let file = file.clone();
            let run = Run {
                system,
                on,
                smp,
                seed,
                calls,
            };
            jobs.push(Box::new(move || Ok(vec![run.record(lab, file)?])));
        }
    }
    Ok(jobs)
}

impl Run<'_> {
    fn record(&self, lab: &Lab, file: ExtraFile) -> Result<Record> {
        let Run { seed, calls, .. } = self;
        let title = format!("Random system calls on {}, seed {seed}", self.on);
        let _step = lab.ui.spinner(&title);
        let machine = Machine {
            smp: self.smp,
            ..standard_machine()
        };
        let guest = Guest {
            machine: &machine,
            system: self.system,
            extras: &Extras {
                files: vec![file],
                share: None,
            },
            limit: LIMIT,
            idle_limit: SILENCE,
        };
        let mut out = Vec::new();
        let command = format!("/{PROGRAM} --seed {seed} --calls {calls}");
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
            self.on,
            problem,
        ))
    }
}
