//! Scripts around programs: status 0 on both kernels, and the same words.

use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::super::Lab;
use super::super::batch::{self, Answer, Item};
use super::super::record::{Record, Verdict};
use super::{FOLDER, SUITE, Systems, machine};
use crate::guest::System;
use crate::overlay::ExtraFile;
use crate::recipe::Recipes;

const GROUP: &str = "programs";
/// The package whose source is a project for `make`.
const PROJECT: &str = "musl";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    program: Vec<Program>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Program {
    name: String,
    /// A shell script. `$D` is the folder of the suite's files.
    run: String,
    #[serde(default = "usual_limit")]
    timeout_s: u64,
}

fn usual_limit() -> u64 {
    120
}

pub fn run(lab: &Lab, systems: &Systems) -> Result<Vec<Record>> {
    let path = lab.paths.root.join("tests/debian/programs.toml");
    let plan: Plan = toml::from_str(&fs::read_to_string(&path)?)
        .with_context(|| format!("in {}", path.display()))?;
    let mut programs = plan.program;
    for program in &mut programs {
        program.name = format!("{GROUP}/{}", program.name);
    }
    programs.retain(|program| lab.wants_test(SUITE, &program.name));
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    let mut files = systems.files.clone();
    let source = Recipes::open(&lab.paths, &lab.ui)?.source(PROJECT)?;
    let name = format!("{FOLDER}/{PROJECT}.tar.gz");
    files.push(ExtraFile::program(&name, &source)?);
    let linux = answers(lab, &systems.linux, "linux", &files, &programs)?;
    let ours = answers(lab, &systems.ours, "ironbark", &files, &programs)?;
    let mut records = Vec::new();
    for (program, (linux, ours)) in programs.iter().zip(linux.iter().zip(&ours)) {
        records.extend(compared(&program.name, linux, ours));
    }
    Ok(records)
}

fn answers(
    lab: &Lab,
    system: &System,
    on: &str,
    files: &[ExtraFile],
    programs: &[Program],
) -> Result<Vec<Answer>> {
    let item = |program: &Program| Item {
        script: format!(
            "D=/{FOLDER}; cd $(mktemp -d /tmp/t.XXXXXX) || exit 99\n{}",
            program.run
        ),
        limit_s: program.timeout_s,
    };
    let items: Vec<Item> = programs.iter().map(item).collect();
    let message = format!("Debian's programs on {on}");
    let step = lab.ui.bar(&message, items.len() as u64);
    let answers = batch::run(lab, &machine(), system, files, &items, &step)?;
    if answers.len() != programs.len() {
        bail!("{} answers to {} programs", answers.len(), programs.len());
    }
    Ok(answers)
}

/// A script that fails on Linux is at fault itself.
fn compared(name: &str, linux: &Answer, ours: &Answer) -> [Record; 2] {
    let reference = Record::checked(SUITE, name, "linux", failure(linux));
    let here = if reference.result == Verdict::Fail {
        Record::new(SUITE, name, "ironbark", Verdict::Skip).detail("fails on Linux")
    } else {
        let problem = failure(ours).or_else(|| difference(linux, ours));
        Record::checked(SUITE, name, "ironbark", problem)
    };
    [reference, here]
}

fn failure(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Died(words) => Some(words.clone()),
        Answer::Ended { status: 0, .. } => None,
        Answer::Ended {
            status,
            stdout,
            stderr,
        } => Some(format!(
            "status {status}\n{}\n{}",
            String::from_utf8_lossy(stdout).trim(),
            String::from_utf8_lossy(stderr).trim()
        )),
    }
}

/// The lines in which two answers differ.
fn difference(linux: &Answer, ours: &Answer) -> Option<String> {
    let (Answer::Ended { stdout: wanted, .. }, Answer::Ended { stdout, stderr, .. }) =
        (linux, ours)
    else {
        return None;
    };
    if wanted == stdout {
        return None;
    }
    let (wanted, said) = (
        String::from_utf8_lossy(wanted),
        String::from_utf8_lossy(stdout),
    );
    let (wanted, said): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), said.lines().collect());
    let mut text = String::from("not the same words");
    let missing = wanted.iter().filter(|line| !said.contains(line));
    let added = said.iter().filter(|line| !wanted.contains(line));
    for (sign, line) in missing
        .map(|l| ('-', l))
        .chain(added.map(|l| ('+', l)))
        .take(40)
    {
        text.push_str(&format!("\n{sign}{line}"));
    }
    text.push_str(&format!("\n{}", String::from_utf8_lossy(stderr).trim()));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(status: i32, said: &str) -> Answer {
        Answer::Ended {
            status,
            stdout: said.as_bytes().to_vec(),
            stderr: Vec::new(),
        }
    }

    #[test]
    fn the_same_words_and_status_pass() {
        let verdicts = |linux: &Answer, ours: &Answer| compared("x", linux, ours).map(|r| r.result);
        let (good, other, bad) = (ended(0, "a\nb\n"), ended(0, "a\nc\n"), ended(1, "a\nb\n"));
        assert_eq!(verdicts(&good, &good), [Verdict::Pass, Verdict::Pass]);
        assert_eq!(verdicts(&good, &other), [Verdict::Pass, Verdict::Fail]);
        assert_eq!(verdicts(&good, &bad), [Verdict::Pass, Verdict::Fail]);
        assert_eq!(verdicts(&bad, &bad), [Verdict::Fail, Verdict::Skip]);
        assert_eq!(
            compared("x", &good, &other)[1].detail.trim(),
            "not the same words\n-b\n+c"
        );
    }
}
