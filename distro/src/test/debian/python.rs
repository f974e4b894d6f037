//! Modules of Python's own test suite. `tests/debian/files/pytests.py` runs one and prints a line for each method.

use anyhow::Result;

use super::super::Lab;
use super::super::batch::{self, Answer, Item};
use super::super::compare::{self, Results};
use super::super::record::{Record, Verdict};
use super::{FOLDER, SUITE, Systems, machine};
use crate::guest::System;

const GROUP: &str = "python";
const MODULES: [&str; 20] = [
    "test_os",
    "test_posix",
    "test_subprocess",
    "test_signal",
    "test_threading",
    "test_thread",
    "test_mmap",
    "test_multiprocessing_fork",
    "test_select",
    "test_selectors",
    "test_tty",
    "test_pty",
    "test_time",
    "test_fcntl",
    "test_resource",
    "test_io",
    "test_tempfile",
    "test_shutil",
    "test_pathlib",
    "test_mailbox",
];
/// How long one module may take.
const LIMIT_S: u64 = 2400;

pub fn run(lab: &Lab, systems: &Systems) -> Result<Vec<Record>> {
    let modules: Vec<&str> = MODULES
        .into_iter()
        .filter(|module| {
            let start = format!("{GROUP}/{module}/");
            lab.wants_test(SUITE, &start) || lab.below().starts_with(&start)
        })
        .collect();
    if modules.is_empty() {
        return Ok(Vec::new());
    }
    let reference = results(lab, &systems.linux, "linux", systems, &modules)?;
    let here = results(lab, &systems.ours, "ironbark", systems, &modules)?;
    Ok(compare::records(SUITE, &reference, &here))
}

fn results(
    lab: &Lab,
    system: &System,
    on: &str,
    systems: &Systems,
    modules: &[&str],
) -> Result<Results> {
    // A filter that names one module's test runs no more than that.
    let only = lab.below().splitn(3, '/').nth(2).unwrap_or_default();
    let item = |module: &&str| Item {
        script: format!("python3 /{FOLDER}/pytests.py {module} '{only}'"),
        limit_s: LIMIT_S,
    };
    let items: Vec<Item> = modules.iter().map(item).collect();
    let message = format!("Python's tests on {on}");
    let step = lab.ui.bar(&message, items.len() as u64);
    let answers = batch::run(lab, &machine(), system, &systems.files, &items, &step)?;
    let mut results = Results::new();
    for (module, answer) in modules.iter().zip(answers) {
        let group = format!("{GROUP}/{module}");
        match answer {
            Answer::Died(words) => {
                results.insert(format!("{group}/(all)"), (Verdict::Fail, words));
            }
            Answer::Ended {
                status,
                stdout,
                stderr,
            } => {
                compare::add_results(&mut results, &group, &String::from_utf8_lossy(&stdout));
                let verdict = match status {
                    0 => Verdict::Pass,
                    _ => Verdict::Fail,
                };
                let words = format!("status {status}\n{}", String::from_utf8_lossy(&stderr));
                results.insert(format!("{group}/(ends)"), (verdict, words));
            }
        }
    }
    Ok(results)
}
