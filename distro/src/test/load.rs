//! Threads, futexes, signals, timers and forks at once, on a machine with four CPUs: nothing may be lost.
//!
//! # Contract with `tests/load`
//! `thread-load SECONDS` runs so long, prints what each of its workers has done, one a line, and exits with 0 if their books
//! balance. `IRONBARK_LOAD_SECONDS` asks for longer than the suite's usual time.

use std::env;
use std::time::Duration;

use anyhow::Result;

use super::record::Record;
use super::{Job, Lab, Systems, standard_machine};
use crate::guest::{Guest, Outcome, System};
use crate::machine::Machine;
use crate::overlay::{ExtraFile, Extras};
use crate::programs;
use crate::run::last_lines;

const PROGRAM: &str = "usr/lib/ironbark/thread-load";
const SECONDS: u64 = 20;
/// What booting and ending take, beside the run itself, on a busy host.
const MARGIN: Duration = Duration::from_secs(300);
/// The program says every few seconds that it lives.
const SILENCE: Duration = Duration::from_secs(120);

pub fn jobs<'a>(lab: &'a Lab, systems: &'a Systems) -> Result<Vec<Job<'a>>> {
    let program = programs::build("thread-load", &lab.paths, &lab.ui)?;
    let file = ExtraFile::program(PROGRAM, &program)?;
    let job = |(on, system, _): (&'static str, &'a System, u32)| -> Job<'a> {
        let file = file.clone();
        Box::new(move || Ok(vec![run(lab, system, on, file)?]))
    };
    Ok(systems.all().map(job).collect())
}

fn seconds() -> u64 {
    let wanted = env::var("IRONBARK_LOAD_SECONDS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(SECONDS)
}

fn run(lab: &Lab, system: &System, on: &str, file: ExtraFile) -> Result<Record> {
    let seconds = seconds();
    let _step = lab.ui.spinner(&format!("Threads under load on {on}"));
    let machine = Machine {
        smp: 4,
        ..standard_machine()
    };
    let guest = Guest {
        machine: &machine,
        system,
        extras: &Extras {
            files: vec![file],
            share: None,
        },
        limit: Duration::from_secs(seconds) + MARGIN,
        idle_limit: SILENCE,
    };
    let mut out = Vec::new();
    let command = format!("/{PROGRAM} {seconds}");
    let report = guest.exec(&command, &mut out, &lab.paths, &lab.ui)?;
    let said = String::from_utf8_lossy(&out);
    let console = last_lines(&report.console);
    let problem = match report.outcome {
        Outcome::Exited(0) => None,
        Outcome::Exited(status) => Some(format!("status {status}: {}", said.trim())),
        Outcome::TimedOut => Some(format!("the machine hangs\n{console}")),
        Outcome::Died => Some(format!("the machine died\n{console}")),
    };
    Ok(Record::checked("load", "threads", on, problem))
}
