//! The guest tests of the recipes, and BusyBox's own test suite: on Linux first, then here.

use anyhow::Result;

use super::batch::{self, Answer, Item};
use super::compare::{self, Results};
use super::record::{Record, Verdict};
use super::{Job, Lab, standard_machine};
use crate::guest::System;
use crate::overlay::ExtraFile;
use crate::recipe::{Need as GuestNeed, PackageTest, Recipes};
use crate::run;

const PACKAGES: &str = "packages";
const BUSYBOX: &str = "busybox";
/// Packages that only BusyBox's tests need.
const BUSYBOX_TESTS: [&str; 2] = ["busybox-static", "busybox-testsuite"];

/// Where the driver of BusyBox's tests lies in the guest.
const DRIVER: &str = "usr/lib/ironbark/busybox-tests";
/// How long one applet's tests may take before they count as hanging.
const APPLET_LIMIT_S: u64 = 180;

/// One job for each kernel.
pub fn jobs<'a>(lab: &'a Lab, ours: &'a System, linux: &'a System) -> Result<Vec<Job<'a>>> {
    let tests: Vec<PackageTest> = Recipes::open(&lab.paths, &lab.ui)?
        .guest_tests()
        .into_iter()
        .filter(|test| lab.wants_test(PACKAGES, &name(test)))
        .collect();
    // Once for both kernels: jobs that run beside each other would make the same file.
    let linux = with(lab, linux, tests.iter().flat_map(PackageTest::outputs))?;
    let ours = System {
        initramfs: linux.initramfs.clone(),
        ..ours.clone()
    };
    let mut work: Vec<Job> = Vec::new();
    for (on, system) in [("linux", linux), ("ironbark", ours)] {
        let tests = tests.clone();
        work.push(Box::new(move || guest_tests(lab, &system, on, &tests)));
    }
    Ok(work)
}

fn name(test: &PackageTest) -> String {
    format!("{}/{}", test.package, test.test.name)
}

/// The system with the packages that some tests need.
fn with<'a>(
    lab: &Lab,
    system: &System,
    outputs: impl IntoIterator<Item = &'a str>,
) -> Result<System> {
    let outputs: Vec<String> = outputs.into_iter().map(str::to_owned).collect();
    let initramfs = run::userland(&outputs, &lab.paths, &lab.ui)?;
    Ok(System {
        initramfs,
        ..system.clone()
    })
}

fn guest_tests(lab: &Lab, system: &System, on: &str, tests: &[PackageTest]) -> Result<Vec<Record>> {
    let can = |test: &&PackageTest| missing_need(test).is_none();
    let (able, unable): (Vec<_>, Vec<_>) = tests.iter().partition(can);
    let mut records: Vec<Record> = unable
        .into_iter()
        .map(|test| {
            Record::new(PACKAGES, &name(test), on, Verdict::Skip)
                .detail(missing_need(test).unwrap_or_default())
        })
        .collect();
    let item = |test: &&PackageTest| Item {
        script: test.test.run.clone(),
        limit_s: test.test.timeout_s,
    };
    let items: Vec<Item> = able.iter().map(item).collect();
    let step = lab
        .ui
        .bar(&format!("Package tests on {on}"), items.len() as u64);
    let answers = batch::run(lab, &standard_machine(), system, &[], &items, &step)?;
    for (test, answer) in able.into_iter().zip(answers) {
        records.push(Record::checked(
            PACKAGES,
            &name(test),
            on,
            problem(test, &answer),
        ));
    }
    Ok(records)
}

/// Why a test cannot be run yet.
fn missing_need(test: &PackageTest) -> Option<&'static str> {
    test.test.needs.iter().find_map(|need| match need {
        GuestNeed::Net => Some("needs a network"),
        GuestNeed::Disk => Some("needs a disk"),
        GuestNeed::Tty => Some("needs a terminal"),
        GuestNeed::Smp => None,
    })
}

fn problem(test: &PackageTest, answer: &Answer) -> Option<String> {
    let expect = &test.test.expect;
    match answer {
        Answer::Died(words) => Some(words.clone()),
        Answer::Ended {
            status,
            stdout,
            stderr,
        } => {
            let said = String::from_utf8_lossy(stdout);
            let errors = String::from_utf8_lossy(stderr);
            if *status != i32::from(expect.exit) {
                return Some(format!(
                    "status {status}\n{}\n{}",
                    said.trim(),
                    errors.trim()
                ));
            }
            let wanted = expect.stdout.as_ref()?;
            (*wanted != said).then(|| format!("printed {said:?} instead of {wanted:?}"))
        }
    }
}

/// BusyBox's suite, one applet an item. A test that fails on Linux says nothing about us.
pub fn busybox_jobs<'a>(lab: &'a Lab, ours: &'a System, linux: &'a System) -> Result<Vec<Job<'a>>> {
    let filter = lab.below().to_owned();
    Ok(vec![Box::new(move || {
        let applets = applets(lab, &with(lab, linux, BUSYBOX_TESTS)?)?;
        let applets: Vec<String> = applets
            .into_iter()
            .filter(|name| name.starts_with(&filter) || filter.starts_with(name.as_str()))
            .collect();
        let reference = busybox_on(lab, linux, "linux", &applets)?;
        let here = busybox_on(lab, ours, "ironbark", &applets)?;
        Ok(compare::records(BUSYBOX, &reference, &here))
    })])
}

/// The names of the suite's parts: `awk.tests`, and folders like `cp/`.
fn applets(lab: &Lab, linux: &System) -> Result<Vec<String>> {
    let script = "cd /usr/share/busybox-testsuite/suite && for f in *; do case $f in \
        *.tests) echo ${f%.tests} ;; *) [ -d $f ] && echo $f ;; esac; done";
    let item = Item {
        script: script.to_owned(),
        limit_s: 60,
    };
    let step = lab.ui.spinner("Looking for BusyBox's tests");
    let answers = batch::run(lab, &standard_machine(), linux, &[], &[item], &step)?;
    match answers.first() {
        Some(Answer::Ended {
            status: 0, stdout, ..
        }) => Ok(String::from_utf8_lossy(stdout)
            .lines()
            .map(str::to_owned)
            .collect()),
        other => anyhow::bail!("BusyBox's test suite is not in the image: {other:?}"),
    }
}

fn busybox_on(lab: &Lab, system: &System, on: &str, applets: &[String]) -> Result<Results> {
    let system = with(lab, system, BUSYBOX_TESTS)?;
    let item = |applet: &String| Item {
        script: format!("/{DRIVER} --quick -v {applet}"),
        limit_s: APPLET_LIMIT_S,
    };
    let items: Vec<Item> = applets.iter().map(item).collect();
    let step = lab
        .ui
        .bar(&format!("BusyBox's tests on {on}"), items.len() as u64);
    let driver = ExtraFile {
        name: DRIVER.to_owned(),
        mode: 0o755,
        content: include_bytes!("busybox.sh").to_vec(),
    };
    let answers = batch::run(lab, &standard_machine(), &system, &[driver], &items, &step)?;
    let mut results = Results::new();
    for (applet, answer) in applets.iter().zip(answers) {
        match answer {
            Answer::Died(words) => {
                results.insert(format!("{applet}/(all)"), (Verdict::Fail, words));
            }
            Answer::Ended { status, stdout, .. } => {
                compare::add_results(&mut results, applet, &String::from_utf8_lossy(&stdout));
                // 137: the time limit's SIGKILL.
                let ended = if status == 137 {
                    Verdict::Fail
                } else {
                    Verdict::Pass
                };
                let words = format!("status {status}");
                results.insert(format!("{applet}/(ends)"), (ended, words));
            }
        }
    }
    Ok(results)
}
