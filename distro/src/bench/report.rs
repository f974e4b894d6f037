//! The table for people and the JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::{Figures, stats};

/// One test's figures.
#[derive(Serialize, Clone, Debug)]
struct Row {
    name: String,
    group: String,
    /// Nanoseconds an operation, or instructions.
    ours_ns: Option<f64>,
    linux_ns: Option<f64>,
    /// Linux's by ours.
    ratio: Option<f64>,
    ci_low: Option<f64>,
    ci_high: Option<f64>,
    unstable: bool,
    /// The kernels that lack the calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unsupported_by: Vec<&'static str>,
}

/// All tests' figures.
pub struct Comparison {
    rows: Vec<Row>,
    compared: bool,
}

/// How the figures came to be.
#[derive(Serialize)]
pub struct About {
    pub rounds: u32,
    pub clock: &'static str,
    pub cpus: u32,
    pub memory_mib: u32,
    pub build: String,
    pub linux_cmdline: Option<String>,
}

#[derive(Serialize)]
struct Json<'a> {
    about: &'a About,
    /// The geometric mean of all ratios.
    geometric_mean: Option<f64>,
    tests: &'a [Row],
}

impl Comparison {
    /// Of the sides in turn: ours is the last, and Linux, if it ran, the first.
    pub fn new(groups: &BTreeMap<String, String>, sides: &[&Figures]) -> Self {
        let mut names: Vec<&String> = sides
            .iter()
            .flat_map(|side| side.samples.keys().chain(&side.unsupported))
            .collect();
        names.sort_by_key(|name| (groups.get(*name), *name));
        names.dedup();
        let rows = names.into_iter().map(|name| {
            let group = groups.get(name).cloned().unwrap_or_default();
            row(name, group, sides)
        });
        Self {
            rows: rows.collect(),
            compared: sides.len() > 1,
        }
    }

    pub fn table(&self, icount: bool) -> String {
        let unit = if icount { "insns" } else { "ns" };
        let mut text = String::new();
        let mut group = None;
        for row in &self.rows {
            if group != Some(&row.group) {
                group = Some(&row.group);
                self.heading(&mut text, &row.group, unit);
            }
            self.line(&mut text, row);
        }
        let scaling = self.scaling();
        if !scaling.is_empty() {
            let _ = write!(text, "\nscaling\n{scaling}");
        }
        if let Some(mean) = self.mean(|_| true).filter(|_| self.compared) {
            let _ = writeln!(
                text,
                "\nall: {mean:.2} times as fast as Linux (geometric mean)"
            );
        }
        text
    }

    /// How much more several processors get done than one, for tests whose names end in their number.
    fn scaling(&self) -> String {
        let mut text = String::new();
        let of = |name: String| self.rows.iter().find(|row| row.name == name);
        for one in &self.rows {
            let Some(stem) = one.name.strip_suffix("_1") else {
                continue;
            };
            for count in [2, 4] {
                let Some(many) = of(format!("{stem}_{count}")) else {
                    continue;
                };
                let times = |of: fn(&Row) -> Option<f64>| Some(of(one)? / of(many)?);
                let ours = times(|row| row.ours_ns);
                let linux = times(|row| row.linux_ns).filter(|_| self.compared);
                let shown = |times: Option<f64>| times.map(|times| format!("{times:.2}"));
                let _ = write!(
                    text,
                    "  {stem:20} on {count}: {:>6} times as much as on 1",
                    shown(ours).unwrap_or_else(|| "-".to_owned())
                );
                if let Some(linux) = shown(linux) {
                    let _ = write!(text, ", Linux {linux}");
                }
                text.push('\n');
            }
        }
        text
    }

    fn heading(&self, text: &mut String, group: &str, unit: &str) {
        let _ = write!(text, "\n{group:22} {:>12}", format!("ours {unit}"));
        if self.compared {
            let mean = self.mean(|row| row.group == group);
            let mean = mean.map_or_else(String::new, |mean| format!("mean {mean:.2}"));
            let _ = write!(
                text,
                " {:>12} {:>7} {:>15} {mean}",
                format!("linux {unit}"),
                "ratio",
                "95 %"
            );
        }
        text.push('\n');
    }

    fn line(&self, text: &mut String, row: &Row) {
        let number =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
        let _ = write!(text, "  {:20} {:>12}", row.name, number(row.ours_ns));
        if self.compared {
            let ratio = row
                .ratio
                .map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
            let interval = match (row.ci_low, row.ci_high) {
                (Some(low), Some(high)) => format!("{low:.2} .. {high:.2}"),
                _ => "-".to_owned(),
            };
            let _ = write!(
                text,
                " {:>12} {ratio:>7} {interval:>15}",
                number(row.linux_ns)
            );
            if row.ci_high.is_some_and(|high| high < 1.0) {
                text.push_str(" slower");
            }
        }
        if row.unstable {
            text.push_str(" unstable");
        }
        for kernel in &row.unsupported_by {
            let _ = write!(text, " not supported by {kernel}");
        }
        text.push('\n');
    }

    fn mean(&self, of: impl Fn(&Row) -> bool) -> Option<f64> {
        stats::geometric_mean(
            self.rows
                .iter()
                .filter(|row| of(row))
                .filter_map(|row| row.ratio),
        )
    }

    pub fn write_json(&self, file: &Path, about: &About) -> Result<()> {
        let json = Json {
            about,
            geometric_mean: self.mean(|_| true),
            tests: &self.rows,
        };
        let text = serde_json::to_string_pretty(&json)?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
    }
}

fn row(name: &str, group: String, sides: &[&Figures]) -> Row {
    let samples = |side: Option<&&Figures>| side?.samples.get(name).cloned();
    let ours = samples(sides.last());
    let linux = samples(sides.first().filter(|_| sides.len() > 1));
    let (ours, linux) = (ours.as_ref(), linux.as_ref());
    let lacking = sides.iter().filter(|side| side.unsupported.contains(name));
    let unsupported_by = lacking.map(|side| side.kernel).collect();
    let middle = |values: Option<&Vec<f64>>| values.map(|values| stats::median(values));
    let (ours_ns, linux_ns) = (middle(ours), middle(linux));
    let interval = ours
        .zip(linux)
        .map(|(ours, linux)| stats::ratio_interval(linux, ours));
    let unstable = [ours, linux]
        .into_iter()
        .flatten()
        .any(|values| stats::unstable(values));
    Row {
        name: name.to_owned(),
        group,
        ours_ns,
        linux_ns,
        ratio: linux_ns.zip(ours_ns).map(|(linux, ours)| linux / ours),
        ci_low: interval.map(|(low, _)| low),
        ci_high: interval.map(|(_, high)| high),
        unstable,
        unsupported_by,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_is_the_time_on_one_by_that_on_many() {
        let side = |kernel, one: f64, four: f64| Figures {
            kernel,
            samples: [("open_procs_1", one), ("open_procs_4", four)]
                .map(|(name, ns)| (name.to_owned(), vec![ns]))
                .into(),
            ..Figures::default()
        };
        let (linux, ours) = (side("linux", 100.0, 50.0), side("ironbark", 80.0, 20.0));
        let table = Comparison::new(&BTreeMap::new(), &[&linux, &ours]).table(false);
        assert!(
            table.contains("on 4:   4.00 times as much as on 1, Linux 2.00"),
            "{table}"
        );
    }

    #[test]
    fn a_comparison_has_ratios_and_means() {
        let groups = [("getpid", "syscall"), ("pipe", "ipc")];
        let groups = groups
            .map(|(name, group)| (name.to_owned(), group.to_owned()))
            .into();
        let side = |kernel, samples: &[(&str, &[f64])], unsupported: &[&str]| Figures {
            kernel,
            samples: samples
                .iter()
                .map(|(name, values)| ((*name).to_owned(), values.to_vec()))
                .collect(),
            unsupported: unsupported.iter().map(|name| (*name).to_owned()).collect(),
        };
        let linux = side(
            "linux",
            &[
                ("getpid", &[20.0, 20.0]),
                ("pipe", &[20.0]),
                ("sem", &[5.0]),
            ],
            &[],
        );
        let ours = side(
            "ironbark",
            &[("getpid", &[10.0, 10.0]), ("pipe", &[40.0])],
            &["sem"],
        );
        let comparison = Comparison::new(&groups, &[&linux, &ours]);
        let table = comparison.table(false);
        assert!(table.contains("getpid"), "{table}");
        assert!(
            table
                .lines()
                .any(|line| line.contains("pipe") && line.ends_with("slower")),
            "{table}"
        );
        assert!(
            table.ends_with("all: 1.00 times as fast as Linux (geometric mean)\n"),
            "{table}"
        );
        let ratio = |name: &str| {
            comparison
                .rows
                .iter()
                .find(|row| row.name == name)
                .unwrap()
                .ratio
        };
        assert_eq!(ratio("getpid"), Some(2.0));
        assert_eq!(ratio("sem"), None);
        assert!(table.contains("not supported by ironbark"), "{table}");
    }
}
