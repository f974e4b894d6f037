//! Suites of others whose tests print `PASS: name` or `FAIL: name`: what Linux passes must pass here.

use std::collections::BTreeMap;

use super::record::{Record, Verdict};

/// Results of one kernel: `group/test`, whether it passed, failed or was skipped, and what it said.
pub type Results = BTreeMap<String, (Verdict, String)>;

/// Reads a group's lines. What a failed test said stands after its line, up to the next test's.
pub fn add_results(results: &mut Results, group: &str, text: &str) {
    let mut failed: Option<String> = None;
    for line in text.lines() {
        let result = [
            ("PASS: ", Verdict::Pass),
            ("FAIL: ", Verdict::Fail),
            ("SKIPPED: ", Verdict::Skip),
            ("UNTESTED: ", Verdict::Skip),
        ]
        .into_iter()
        .find_map(|(mark, verdict)| Some((line.strip_prefix(mark)?, verdict)));
        if let Some((name, verdict)) = result {
            let name = format!("{group}/{name}");
            failed = (verdict == Verdict::Fail).then(|| name.clone());
            results.insert(name, (verdict, String::new()));
        } else if line.starts_with("======") {
            failed = None;
        } else if let Some((_, said)) = failed.as_ref().and_then(|name| results.get_mut(name)) {
            said.push_str(line);
            said.push('\n');
        }
    }
}

/// Both kernels' records. A test that fails on Linux says nothing about us and counts as skipped.
pub fn records(suite: &str, reference: &Results, here: &Results) -> Vec<Record> {
    let mut records = Vec::new();
    for (name, (verdict, detail)) in reference {
        let (verdict, detail) = match verdict {
            Verdict::Fail => (Verdict::Skip, format!("fails on Linux\n{detail}")),
            _ => (*verdict, String::new()),
        };
        records.push(Record::new(suite, name, "linux", verdict).detail(detail));
        records.push(match (verdict, here.get(name)) {
            (_, Some((Verdict::Pass, _))) => Record::new(suite, name, "ironbark", Verdict::Pass),
            (Verdict::Pass, Some((verdict, detail))) => failed(
                suite,
                name,
                format!("{verdict:?} here, and passes on Linux\n{detail}"),
            ),
            (Verdict::Pass, None) => {
                let words = format!("gave no result\n{}", death(name, here));
                failed(suite, name, words)
            }
            _ => Record::new(suite, name, "ironbark", Verdict::Skip),
        });
    }
    records
}

fn failed(suite: &str, name: &str, detail: String) -> Record {
    Record::new(suite, name, "ironbark", Verdict::Fail).detail(detail)
}

/// The last words of the guest in which the test's group ran.
fn death<'a>(name: &str, here: &'a Results) -> &'a str {
    let mut group = name;
    while let Some((above, _)) = group.rsplit_once('/') {
        if let Some((_, words)) = here.get(&format!("{above}/(all)")) {
            return words;
        }
        group = above;
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_passes_must_pass_here() {
        let (mut linux, mut ours) = (Results::new(), Results::new());
        add_results(
            &mut linux,
            "awk",
            "PASS: a\nPASS: b\nFAIL: c\nSKIPPED: d\nPASS: e\n",
        );
        add_results(
            &mut ours,
            "awk",
            "PASS: a\nFAIL: b\n-x\n+y\n======\nFAIL: c\nSKIPPED: d\n",
        );
        assert_eq!(ours["awk/b"].1, "-x\n+y\n");
        let verdicts: Vec<_> = records("busybox", &linux, &ours)
            .into_iter()
            .filter(|record| record.on == "ironbark")
            .map(|record| (record.name, record.result))
            .collect();
        let wanted = [
            ("awk/a", Verdict::Pass),
            ("awk/b", Verdict::Fail),
            ("awk/c", Verdict::Skip),
            ("awk/d", Verdict::Skip),
            ("awk/e", Verdict::Fail),
        ];
        assert_eq!(
            verdicts,
            wanted.map(|(name, verdict)| (name.to_owned(), verdict))
        );
    }
}
