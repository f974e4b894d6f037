//! What runs on the host alone: the lint, and the unit tests of all crates.

use std::process::Stdio;

use anyhow::{Context, Result};

use super::Lab;
use super::record::{Record, Verdict};
use crate::{cmd, lint};

/// One record for each rule.
pub fn lint(lab: &Lab) -> Result<Vec<Record>> {
    let findings = lint::all(&lab.paths, &lab.ui)?;
    Ok(findings
        .into_iter()
        .map(|rule| {
            let problem = (!rule.problems.is_empty()).then(|| rule.problems.join("\n"));
            Record::checked("lint", rule.name, "host", problem)
        })
        .collect())
}

/// `cargo test` of every crate that builds on the host: all but the kernel itself.
pub fn crates(lab: &Lab) -> Result<Vec<Record>> {
    let _step = lab.ui.spinner("Testing the crates on the host");
    let mut cargo = cmd::cargo();
    cargo
        .args([
            "test",
            "--workspace",
            "--exclude",
            "kernel",
            "--no-fail-fast",
            "--color",
            "never",
        ])
        .current_dir(&lab.paths.root)
        .stderr(Stdio::piped());
    lab.ui.detail(&format!("$ {}", cmd::shown(&cargo)));
    let output = cargo.output().context("cannot run cargo")?;
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let mut records = parse(&stdout, &stderr);
    let failed = records.iter().any(|record| record.result == Verdict::Fail);
    if !output.status.success() && !failed {
        let problem = last_lines(&stderr, 40);
        records.push(Record::checked("host", "build", "host", Some(problem)));
    }
    Ok(records)
}

/// Reads libtest's output. Which crate a group of tests belongs to stands on stderr, in the same
/// order as the groups stand on stdout.
fn parse(stdout: &str, stderr: &str) -> Vec<Record> {
    let mut crates = stderr
        .lines()
        .filter_map(crate_of)
        .collect::<Vec<_>>()
        .into_iter();
    let mut current = String::new();
    let mut records = Vec::new();
    for line in stdout.lines() {
        if line.starts_with("running ") && line.contains(" test") {
            current = crates.next().unwrap_or_else(|| "crate".to_owned());
        }
        let Some((name, result)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
        else {
            continue;
        };
        let name = format!("{current}::{name}");
        records.push(match result {
            "ok" => Record::new("host", &name, "host", Verdict::Pass),
            "FAILED" => Record::new("host", &name, "host", Verdict::Fail).detail(failure(
                stdout,
                name.split_once("::").map_or("", |(_, test)| test),
            )),
            other => Record::new("host", &name, "host", Verdict::Skip).detail(other),
        });
    }
    records
}

/// `     Running unittests src/lib.rs (target/debug/deps/iso-4ad6)` and `   Doc-tests iso`.
fn crate_of(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{name}(doc)"));
    }
    let path = line
        .strip_prefix("Running ")?
        .rsplit_once('(')?
        .1
        .trim_end_matches(')');
    let name = path.rsplit('/').next()?;
    Some(
        name.rsplit_once('-')
            .map_or(name, |(name, _)| name)
            .to_owned(),
    )
}

/// What a failed test printed.
fn failure(stdout: &str, test: &str) -> String {
    let head = format!("---- {test} stdout ----");
    let Some((_, rest)) = stdout.split_once(&head) else {
        return String::new();
    };
    let text = rest.split("\n---- ").next().unwrap_or_default();
    let text = text.split("\n\nfailures:").next().unwrap_or_default();
    text.trim().lines().take(12).collect::<Vec<_>>().join("\n")
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_belong_to_their_crates() {
        let stderr = "   Compiling iso v0.1.0\n     Running unittests src/lib.rs \
            (target/debug/deps/iso-4ad63660f835ad51)\n     Running unittests src/lib.rs \
            (target/debug/deps/abi_tests-12ab)\n   Doc-tests iso\n";
        let stdout = "\nrunning 2 tests\ntest menu::tests::a ... ok\ntest menu::tests::b ... FAILED\n\n\
            failures:\n\n---- menu::tests::b stdout ----\nassertion failed\n\n\nfailures:\n    \
            menu::tests::b\n\nrunning 1 test\ntest slow ... ignored\n\nrunning 0 tests\n";
        let records = parse(stdout, stderr);
        let line = |at: usize| (records[at].name.as_str(), records[at].result);
        assert_eq!(line(0), ("iso::menu::tests::a", Verdict::Pass));
        assert_eq!(line(1), ("iso::menu::tests::b", Verdict::Fail));
        assert_eq!(records[1].detail, "assertion failed");
        assert_eq!(line(2), ("abi_tests::slow", Verdict::Skip));
    }
}
