//! Failures that are known: `tests/expectations/*.toml`.
//!
//! ```toml
//! [[expected]]
//! test = "abi/inotify/*"        # suite/name; a star at the end stands for anything
//! reason = "inotify is not there yet"
//! ```
//! They hold for our kernel; Linux has none. An expected failure that passes fails the run, so
//! that the list only holds what is true.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::record::{Record, Verdict};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    expected: Vec<Entry>,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
struct Entry {
    test: String,
    reason: String,
}

/// All expected failures.
#[derive(Clone, Default, Debug)]
pub struct Expectations {
    entries: Vec<Entry>,
}

impl Expectations {
    pub fn read(folder: &Path) -> Result<Self> {
        let mut all = Self::default();
        let Ok(listing) = fs::read_dir(folder) else {
            return Ok(all);
        };
        for entry in listing {
            let path = entry?.path();
            if path.extension().is_none_or(|end| end != "toml") {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            let file: File =
                toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
            if let Some(entry) = file
                .expected
                .iter()
                .find(|entry| entry.reason.trim().is_empty())
            {
                bail!("{}: {} has no reason", path.display(), entry.test);
            }
            all.entries.extend(file.expected);
        }
        Ok(all)
    }

    /// Turns an expected failure into one, and an unexpected pass into a failure.
    pub fn apply(&self, record: Record) -> Record {
        if !["ironbark", "checked"].contains(&record.on.as_str()) {
            return record;
        }
        let id = format!("{}/{}", record.suite, record.name);
        let Some(entry) = self.entries.iter().find(|entry| entry.matches(&id)) else {
            return record;
        };
        match record.result {
            Verdict::Fail => {
                let detail = format!("{} ({})", entry.reason, record.detail);
                Record {
                    result: Verdict::Expected,
                    detail,
                    ..record
                }
            }
            // A pattern covers many tests; that some of them pass says nothing.
            Verdict::Pass if !entry.test.ends_with('*') => {
                let detail = format!("passes, but is expected to fail: {}", entry.reason);
                Record {
                    result: Verdict::Fail,
                    detail,
                    ..record
                }
            }
            _ => record,
        }
    }
}

impl Entry {
    fn matches(&self, id: &str) -> bool {
        match self.test.strip_suffix('*') {
            Some(start) => id.starts_with(start),
            None => self.test == id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expectations() -> Expectations {
        let entry = |test: &str| Entry {
            test: test.to_owned(),
            reason: "why".to_owned(),
        };
        Expectations {
            entries: vec![entry("abi/pipe/atomic"), entry("abi/inotify/*")],
        }
    }

    fn applied(name: &str, on: &str, result: Verdict) -> Verdict {
        expectations()
            .apply(Record::new("abi", name, on, result))
            .result
    }

    #[test]
    fn an_expected_failure_is_no_failure() {
        assert_eq!(
            applied("pipe/atomic", "ironbark", Verdict::Fail),
            Verdict::Expected
        );
        assert_eq!(
            applied("inotify/move", "ironbark", Verdict::Fail),
            Verdict::Expected
        );
    }

    #[test]
    fn an_unexpected_pass_is_a_failure() {
        assert_eq!(
            applied("pipe/atomic", "ironbark", Verdict::Pass),
            Verdict::Fail
        );
        assert_eq!(
            applied("inotify/move", "ironbark", Verdict::Pass),
            Verdict::Pass
        );
    }

    #[test]
    fn linux_and_other_tests_are_left_alone() {
        assert_eq!(
            applied("pipe/atomic", "linux", Verdict::Fail),
            Verdict::Fail
        );
        assert_eq!(
            applied("pipe/other", "ironbark", Verdict::Fail),
            Verdict::Fail
        );
    }
}
