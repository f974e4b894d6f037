//! The oracle's cases: one static program that runs alike on Linux and here, and once more on our kernel with its checks.
//!
//! # Contract with `tests/abi`
//! `abi-tests [PREFIX]` runs the cases whose `suite/name` begins with PREFIX, in the same order
//! each time, and prints for each, as it ends, one line of JSON:
//! `{"suite":"pipe","name":"atomic-write","result":"pass|fail|skip","detail":"..."}`. Its exit
//! status does not matter. A case has a time limit of its own; one that is at fault for the death
//! of the machine is found by what is missing.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

use super::record::{Record, Verdict};
use super::{Job, Lab, Systems, standard_machine};
use crate::guest::{Guest, Outcome, System};
use crate::machine::Machine;
use crate::overlay::{ExtraFile, Extras};
use crate::programs;
use crate::run::last_lines;
use crate::ui::Step;

const SUITE: &str = "abi";
const PROGRAM: &str = "usr/lib/ironbark/abi-tests";
/// How long all cases may take, and how long none may say anything.
const LIMIT: Duration = Duration::from_secs(1200);
const SILENCE: Duration = Duration::from_secs(90);
/// How many deaths of the machine are borne before the rest is given up.
const MOST_DEATHS: usize = 12;

#[derive(Deserialize)]
struct Line {
    suite: String,
    name: String,
    result: Verdict,
    #[serde(default)]
    detail: String,
}

/// What the cases run on.
struct Place<'a> {
    lab: &'a Lab,
    system: &'a System,
    on: &'a str,
    machine: Machine,
    program: PathBuf,
}

pub fn jobs<'a>(lab: &'a Lab, systems: &'a Systems) -> Result<Vec<Job<'a>>> {
    let program = programs::build("abi-tests", &lab.paths, &lab.ui)?;
    let order = order(&program, lab.below())?;
    let mut jobs: Vec<Job<'a>> = Vec::new();
    for (on, system, smp) in systems.all() {
        let place = Place {
            lab,
            system,
            on,
            machine: Machine {
                smp,
                ..standard_machine()
            },
            program: program.clone(),
        };
        let order = order.clone();
        jobs.push(Box::new(move || place.run(&order)));
    }
    Ok(jobs)
}

/// The cases below a prefix in the order in which they run, as the program itself lists them.
fn order(program: &Path, below: &str) -> Result<Vec<String>> {
    let output = Command::new(program).arg("--list").output()?;
    let names = String::from_utf8_lossy(&output.stdout);
    Ok(names
        .lines()
        .filter(|name| name.starts_with(below))
        .map(str::to_owned)
        .collect())
}

impl Place<'_> {
    /// Runs all cases; where the machine dies, the case it died at has failed, and what is left is
    /// run one prefix at a time.
    fn run(&self, order: &[String]) -> Result<Vec<Record>> {
        let title = format!("ABI cases on {}", self.on);
        let step = self.lab.ui.bar(&title, order.len() as u64);
        let mut seen: BTreeSet<String> = BTreeSet::new();
        let mut records = Vec::new();
        let mut prefix = self.lab.below().to_owned();
        let mut deaths = 0;
        loop {
            let (some, end) = self.one_guest(&prefix, &step)?;
            for record in some {
                if seen.insert(record.name.clone()) {
                    records.push(record);
                }
            }
            let first_missing = |seen: &BTreeSet<String>, start: &str| {
                order
                    .iter()
                    .find(|name| name.starts_with(start) && !seen.contains(*name))
                    .cloned()
            };
            if let Some((words, name)) = end.zip(first_missing(&seen, &prefix)) {
                deaths += 1;
                seen.insert(name.clone());
                records.push(Record::new(SUITE, &name, self.on, Verdict::Fail).detail(words));
            }
            let Some(next) = first_missing(&seen, "") else {
                return Ok(records);
            };
            if deaths >= MOST_DEATHS || prefix == next {
                for name in order.iter().filter(|name| !seen.contains(*name)) {
                    let record = Record::new(SUITE, name, self.on, Verdict::Fail);
                    records.push(record.detail("not run: the machine died before, too often"));
                }
                return Ok(records);
            }
            // What is left of the suite that broke off is run case by case; then suite by suite.
            let suite = format!("{}/", next.split('/').next().unwrap_or_default());
            let broken = seen.iter().any(|name| name.starts_with(&suite));
            prefix = if broken { next } else { suite };
        }
    }

    /// Runs the program in a guest; the second answer is the last words of a guest that died.
    fn one_guest(&self, prefix: &str, step: &Step) -> Result<(Vec<Record>, Option<String>)> {
        let files = vec![ExtraFile::program(PROGRAM, &self.program)?];
        let guest = Guest {
            machine: &self.machine,
            system: self.system,
            extras: &Extras { files, share: None },
            limit: LIMIT,
            idle_limit: SILENCE,
        };
        let mut out = Lines {
            bytes: Vec::new(),
            step,
        };
        let command = format!("/{PROGRAM} {prefix}");
        let report = guest.exec(&command, &mut out, &self.lab.paths, &self.lab.ui)?;
        let text = String::from_utf8_lossy(&out.bytes);
        let records = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Line>(line).ok())
            .map(|line| {
                let name = format!("{}/{}", line.suite, line.name);
                Record::new(SUITE, &name, self.on, line.result).detail(line.detail)
            })
            .collect();
        let end = match report.outcome {
            Outcome::Exited(_) => None,
            Outcome::TimedOut => Some(format!(
                "the machine hangs\n{}",
                last_lines(&report.console)
            )),
            Outcome::Died => Some(format!("the machine died\n{}", last_lines(&report.console))),
        };
        Ok((records, end))
    }
}

/// Keeps what is written, and advances a bar with each line.
struct Lines<'a> {
    bytes: Vec<u8>,
    step: &'a Step,
}

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        self.step
            .inc(bytes.iter().filter(|&&byte| byte == b'\n').count() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
