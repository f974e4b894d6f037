//! What a test said, and what is made of it.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// How one test ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Pass,
    Fail,
    /// It cannot be run here; the detail says why.
    Skip,
    /// It failed, and the expectations say that it would.
    Expected,
}

/// One test's result: a line of `target/results/<suite>.jsonl`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    pub suite: String,
    pub name: String,
    /// What it ran on: `host`, `linux`, `ironbark`, or `checked`: our kernel with its checks built in.
    pub on: String,
    pub result: Verdict,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Record {
    pub fn new(suite: &str, name: &str, on: &str, result: Verdict) -> Self {
        Self {
            suite: suite.to_owned(),
            name: name.to_owned(),
            on: on.to_owned(),
            result,
            detail: String::new(),
        }
    }

    pub fn detail(mut self, text: impl Into<String>) -> Self {
        self.detail = text.into();
        self
    }

    /// A pass, or a failure with its reason.
    pub fn checked(suite: &str, name: &str, on: &str, problem: Option<String>) -> Self {
        match problem {
            None => Self::new(suite, name, on, Verdict::Pass),
            Some(problem) => Self::new(suite, name, on, Verdict::Fail).detail(problem),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}/{} on {}", self.suite, self.name, self.on)?;
        for (number, line) in self.detail.lines().enumerate() {
            write!(out, "{}{line}", if number == 0 { ": " } else { "\n    " })?;
        }
        Ok(())
    }
}

/// Writes results as JSON lines.
pub fn write(file: &Path, records: &[Record]) -> Result<()> {
    let mut text = String::new();
    for record in records {
        text.push_str(&serde_json::to_string(record)?);
        text.push('\n');
    }
    File::create(file)
        .and_then(|mut out| out.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))
}
