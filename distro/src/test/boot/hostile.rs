//! `boot/hostile`: programs that mean harm, on Linux first and then here.
//!
//! # Contract with `tests/hostile`
//! `hostile NAME...` runs the cases whose names begin so and prints for each, as it ends, `pass NAME` or `fail NAME: why`.

use std::time::Duration;

use anyhow::Result;

use super::super::record::Record;
use super::super::{Job, Lab, standard_machine};
use crate::guest::{Guest, Outcome, System};
use crate::overlay::{ExtraFile, Extras};
use crate::programs;
use crate::run::last_lines;

const PROGRAM: &str = "usr/lib/ironbark/hostile";
const LIMIT: Duration = Duration::from_secs(1200);
const SILENCE: Duration = Duration::from_secs(400);
/// The cases, so that one that takes the machine along is missed.
const NAMES: [&str; 11] = [
    "fork-bomb-with-a-limit",
    "signals-without-end",
    "deaf-to-all-signals",
    "links-without-end",
    "descriptors-without-end",
    "files-without-end",
    "folders-without-end",
    "deep-tree-unmounted",
    "scripts-that-run-each-other",
    "program-that-runs-itself",
    "corrupt-programs",
];

pub fn jobs<'a>(lab: &'a Lab, ours: &'a System, linux: &'a System) -> Result<Vec<Job<'a>>> {
    let wanted = |name: &&str| lab.wants_test("boot", &format!("hostile/{name}"));
    let names: Vec<&'static str> = NAMES.into_iter().filter(wanted).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let program = programs::build("hostile", &lab.paths, &lab.ui)?;
    let file = ExtraFile::program(PROGRAM, &program)?;
    let job = |on: &'static str, system: &'a System| -> Job<'a> {
        let (file, names) = (file.clone(), names.clone());
        Box::new(move || run(lab, system, on, file, &names))
    };
    Ok(vec![job("linux", linux), job("ironbark", ours)])
}

fn run(
    lab: &Lab,
    system: &System,
    on: &str,
    file: ExtraFile,
    names: &[&str],
) -> Result<Vec<Record>> {
    let _step = lab.ui.spinner(&format!("Hostile programs on {on}"));
    let machine = standard_machine();
    let extras = Extras {
        files: vec![file],
        share: None,
    };
    let guest = Guest {
        machine: &machine,
        system,
        extras: &extras,
        limit: LIMIT,
        idle_limit: SILENCE,
    };
    let mut out = Vec::new();
    let command = format!("/{PROGRAM} {}", names.join(" "));
    let report = guest.exec(&command, &mut out, &lab.paths, &lab.ui)?;
    let said = String::from_utf8_lossy(&out);
    let end = match report.outcome {
        Outcome::Exited(status) => format!("not run; status {status}: {}", last_lines(&said)),
        Outcome::TimedOut => format!("the machine hangs\n{}", last_lines(&report.console)),
        Outcome::Died => format!("the machine died\n{}", last_lines(&report.console)),
    };
    let verdict = |name: &str| verdict(&said, name).unwrap_or_else(|| Some(end.clone()));
    let record =
        |name: &&str| Record::checked("boot", &format!("hostile/{name}"), on, verdict(name));
    Ok(names.iter().map(record).collect())
}

/// What was said of a case: nothing, that it passed, or why it failed.
fn verdict(said: &str, name: &str) -> Option<Option<String>> {
    said.lines().find_map(|line| {
        if line.strip_prefix("pass ") == Some(name) {
            return Some(None);
        }
        let why = line.strip_prefix("fail ")?.strip_prefix(name)?;
        Some(Some(why.strip_prefix(": ")?.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn each_case_has_its_own_line() {
        let said = "pass one\nfail two: it hurts: much\nnoise\n";
        assert_eq!(verdict(said, "one"), Some(None));
        assert_eq!(
            verdict(said, "two"),
            Some(Some("it hurts: much".to_owned()))
        );
        assert_eq!(verdict(said, "three"), None);
        assert_eq!(verdict(said, "tw"), None);
    }
}
