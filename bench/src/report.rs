//! What is printed: lines for programs, a table for people, JSON; and the comparison of two runs.

use std::fmt::Write;

use crate::problem::{Outcome, ensure};
use crate::runner::Figure;
use crate::stats;

/// A finished test.
pub struct Done {
    pub group: &'static str,
    pub name: &'static str,
    pub figure: Figure,
}

/// `BENCH <name> <iterations> <total_ns> <ns_per_op>`; the last is the median sample's.
pub fn line(done: &Done) -> String {
    let Figure {
        iterations,
        total_ns,
        median,
        ..
    } = done.figure;
    format!("BENCH {} {iterations} {total_ns} {median:.2}", done.name)
}

/// A table for people.
pub fn table(all: &[Done]) -> String {
    let mut text = String::new();
    let mut group = "";
    for done in all {
        if group != done.group {
            group = done.group;
            let _ = writeln!(
                text,
                "\n{group:24} {:>14} {:>22}",
                "ns", "least .. greatest"
            );
        }
        let Figure {
            median, low, high, ..
        } = done.figure;
        let _ = writeln!(
            text,
            "  {:22} {median:>14.1} {low:>10.1} .. {high:<10.1}",
            done.name
        );
    }
    text
}

/// One object; a line for each test. Figures bear the names that a comparison's have: a run on one kernel knows its own
/// side only.
pub fn json(kernel: &str, all: &[Done]) -> String {
    let mut text = format!("{{\"kernel\": \"{}\", \"tests\": [", escape(kernel));
    for (index, done) in all.iter().enumerate() {
        let Figure {
            iterations,
            total_ns,
            median,
            low,
            high,
        } = done.figure;
        let comma = if index == 0 { "" } else { "," };
        // As a comparison has it: a variation of more than 10 %.
        let unstable = high - low > 0.1 * median;
        let _ = write!(
            text,
            "{comma}\n  {{\"name\": \"{}\", \"group\": \"{}\", \"iterations\": {iterations}, \"total_ns\": {total_ns}, \
             \"ns_per_op\": {median:.2}, \"low_ns\": {low:.2}, \"high_ns\": {high:.2}, \"ours_ns\": {median:.2}, \
             \"linux_ns\": null, \"ratio\": null, \"ci_low\": null, \"ci_high\": null, \"unstable\": {unstable}}}",
            done.name, done.group
        );
    }
    text + "\n]}"
}

fn escape(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .flat_map(|c| [(c == '"' || c == '\\').then_some('\\'), Some(c)])
        .flatten()
        .collect()
}

/// The figures in a run's output, be it lines or JSON.
fn figures(text: &str) -> Vec<(String, f64)> {
    text.lines().filter_map(figure).collect()
}

fn figure(line: &str) -> Option<(String, f64)> {
    if let Some(rest) = line.strip_prefix("BENCH ") {
        let mut words = rest.split_whitespace();
        return Some((words.next()?.to_owned(), words.nth(2)?.parse().ok()?));
    }
    let name = after(line, "\"name\": \"")?.split('"').next()?;
    let ns = after(line, "\"ns_per_op\": ")?.split([',', '}']).next()?;
    Some((name.to_owned(), ns.parse().ok()?))
}

fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark).map(|(_, rest)| rest)
}

/// How the second run compares with the first: above 1 it is faster.
pub fn compare(first: &str, second: &str) -> Outcome<String> {
    let (first, second) = (figures(first), figures(second));
    let mut text = format!(
        "{:24} {:>14} {:>14} {:>8}\n",
        "", "first ns", "second ns", "ratio"
    );
    let mut ratios = Vec::new();
    for (name, old) in &first {
        let Some((_, new)) = second.iter().find(|(other, _)| other == name) else {
            continue;
        };
        let ratio = old / new;
        ratios.push(ratio);
        let _ = writeln!(text, "{name:24} {old:>14.1} {new:>14.1} {ratio:>8.2}");
    }
    ensure(!ratios.is_empty(), || {
        "the two runs have no test in common".to_owned()
    })?;
    let mean = stats::geometric_mean(&ratios);
    let _ = write!(
        text,
        "{:24} {:>14} {:>14} {mean:>8.2}",
        "geometric mean", "", ""
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done() -> Done {
        let figure = Figure {
            iterations: 100,
            total_ns: 5231,
            median: 52.0,
            low: 51.5,
            high: 60.0,
        };
        Done {
            group: "syscall",
            name: "getpid",
            figure,
        }
    }

    #[test]
    fn a_line_is_read_back() {
        assert_eq!(line(&done()), "BENCH getpid 100 5231 52.00");
        assert_eq!(figures(&line(&done())), [("getpid".to_owned(), 52.0)]);
    }

    #[test]
    fn json_is_read_back() {
        let text = json("a \"kernel\"", &[done(), done()]);
        assert!(text.starts_with(r#"{"kernel": "a \"kernel\"", "tests": ["#));
        assert_eq!(figures(&text).len(), 2);
        assert_eq!(figures(&text)[0], ("getpid".to_owned(), 52.0));
    }

    #[test]
    fn runs_are_compared() {
        let text = compare("BENCH a 1 10 10\nBENCH b 1 1 1", "BENCH a 1 5 5").unwrap();
        assert!(text.contains("2.00"));
        assert!(!text.contains("\nb "));
        assert!(compare("BENCH a 1 1 1", "").is_err());
    }
}
