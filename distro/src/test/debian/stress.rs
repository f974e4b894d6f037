//! stress-ng's stressors of the classes that a kernel without network and disks can be asked for, one after the other.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Result, bail};

use super::super::Lab;
use super::super::batch::{self, Answer, Item};
use super::super::compare::{self, Results};
use super::super::record::{Record, Verdict};
use super::{SUITE, Systems, machine};
use crate::guest::System;

const GROUP: &str = "stress-ng";
const CLASSES: [&str; 8] = [
    "cpu",
    "vm",
    "scheduler",
    "pipe",
    "io",
    "interrupt",
    "memory",
    "os",
];
/// How long each stressor runs, and how long it may take to begin and end.
const SECONDS: u64 = 5;
const LIMIT_S: u64 = 60;
/// What stress-ng answers when a stressor cannot be run.
const NO_RESOURCE: i32 = 3;
const NOT_IMPLEMENTED: i32 = 4;

pub fn run(lab: &Lab, systems: &Systems) -> Result<Vec<Record>> {
    let begins = format!("{GROUP}/");
    if !lab.wants_test(SUITE, &begins) && !lab.below().starts_with(&begins) {
        return Ok(Vec::new());
    }
    let mut stressors = stressors(lab, &systems.linux)?;
    stressors.retain(|name| lab.wants_test(SUITE, name));
    let reference = results(lab, &systems.linux, "linux", &stressors)?;
    let here = results(lab, &systems.ours, "ironbark", &stressors)?;
    write_table(lab, &stressors, &reference, &here)?;
    Ok(compare::records(SUITE, &reference, &here))
}

/// `stress-ng/<class>/<stressor>`; one that is in several classes is taken in the first.
fn stressors(lab: &Lab, linux: &System) -> Result<Vec<String>> {
    let script = CLASSES.map(|class| format!("stress-ng --class {class}? 2>&1"));
    let item = Item {
        script: script.join("\n"),
        limit_s: 60,
    };
    let step = lab.ui.spinner("Looking for stress-ng's stressors");
    let answers = batch::run(lab, &machine(), linux, &[], &[item], &step)?;
    let Some(Answer::Ended { stdout, .. }) = answers.first() else {
        bail!("stress-ng does not list its stressors: {answers:?}");
    };
    let mut seen: Vec<String> = Vec::new();
    let mut names = Vec::new();
    for line in String::from_utf8_lossy(stdout).lines() {
        let Some((class, list)) = line.split_once("' stressors: ") else {
            continue;
        };
        let class = class.rsplit('\'').next().unwrap_or_default();
        for name in list.split_whitespace() {
            if !seen.iter().any(|known| known == name) {
                seen.push(name.to_owned());
                names.push(format!("{GROUP}/{class}/{name}"));
            }
        }
    }
    if names.is_empty() {
        bail!("stress-ng lists no stressors");
    }
    Ok(names)
}

fn results(lab: &Lab, system: &System, on: &str, stressors: &[String]) -> Result<Results> {
    let item = |name: &String| {
        let stressor = name.rsplit('/').next().unwrap_or_default();
        Item {
            script: format!(
                "cd /tmp && stress-ng --{stressor} 1 --timeout {SECONDS} --verify --timestamp 2>&1"
            ),
            limit_s: LIMIT_S,
        }
    };
    let items: Vec<Item> = stressors.iter().map(item).collect();
    let step = lab
        .ui
        .bar(&format!("stress-ng on {on}"), items.len() as u64);
    let answers = batch::run(lab, &machine(), system, &[], &items, &step)?;
    let result = |(name, answer): (&String, Answer)| (name.clone(), verdict(answer));
    Ok(stressors.iter().zip(answers).map(result).collect())
}

fn verdict(answer: Answer) -> (Verdict, String) {
    match answer {
        Answer::Died(words) => (Verdict::Fail, words),
        Answer::Ended { status, stdout, .. } => {
            let said = String::from_utf8_lossy(&stdout).into_owned();
            let skipped = said.contains("skipped: 1:");
            match status {
                0 if !skipped => (Verdict::Pass, String::new()),
                0 | NO_RESOURCE | NOT_IMPLEMENTED => (Verdict::Skip, said),
                _ => (Verdict::Fail, format!("status {status}\n{said}")),
            }
        }
    }
}

/// Both kernels' results as a table, `target/results/stress-ng.txt`.
fn write_table(lab: &Lab, stressors: &[String], linux: &Results, ours: &Results) -> Result<()> {
    let word = |results: &Results, name: &String| match results.get(name) {
        Some((verdict, _)) => format!("{verdict:?}").to_lowercase(),
        None => "-".to_owned(),
    };
    let mut text = format!("{:40} {:8} {:8}\n", "stressor", "linux", "ironbark");
    let mut totals: BTreeMap<(String, String), usize> = BTreeMap::new();
    for name in stressors {
        let pair = (word(linux, name), word(ours, name));
        let _ = writeln!(text, "{name:40} {:8} {:8}", pair.0, pair.1);
        *totals.entry(pair).or_default() += 1;
    }
    for ((linux, ours), count) in totals {
        let _ = writeln!(text, "{count:5} {linux} on linux, {ours} on ironbark");
    }
    let file = lab.paths.target_dir("results")?.join("stress-ng.txt");
    fs::write(&file, text)?;
    lab.ui.note(&format!("the table: {}", file.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_stressor_has_not_passed() {
        let ended = |status, text: &str| {
            verdict(Answer::Ended {
                status,
                stdout: text.as_bytes().to_vec(),
                stderr: Vec::new(),
            })
            .0
        };
        assert_eq!(ended(0, "passed: 1: cpu (1)"), Verdict::Pass);
        assert_eq!(ended(0, "skipped: 1: bad-altstack (1)"), Verdict::Skip);
        assert_eq!(ended(4, ""), Verdict::Skip);
        assert_eq!(ended(2, "failed: 1: cpu (1)"), Verdict::Fail);
    }
}
