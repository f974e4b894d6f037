//! `cargo distro test`: everything that is checked, with one line of summary at the end.
//!
//! | module | suite |
//! |---|---|
//! | [`host`] | `lint`, and `host`: the unit tests of all crates |
//! | [`abi`] | `abi`: the oracle's cases, on Linux and here |
//! | [`packages`] | `packages`: the guest tests of the recipes; `busybox`: its own test suite |
//! | [`fuzz`] | `fuzz`: random system calls |
//! | [`load`] | `load`: threads that do everything at once, on Linux and here |
//! | [`boot`] | `boot`: the image on the machines of `tests/boot`, and what is wrong with a boot |
//! | [`debian`] | `debian`, if asked for: unmodified programs of Debian, Python's tests, stress-ng |
//! | [`batch`], [`compare`] | many commands in one guest; others' suites on both kernels |
//! | [`expect`], [`record`] | known failures; results |
//!
//! Results go to `target/results/<suite>.jsonl`.

mod abi;
mod batch;
mod boot;
mod compare;
mod debian;
mod expect;
mod fuzz;
mod host;
mod load;
mod packages;
mod record;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Result, bail};
use clap::Args;

use self::expect::Expectations;
use self::record::{Record, Verdict};
use crate::guest::System;
use crate::machine::{Firmware, Kind, Machine};
use crate::paths::Paths;
use crate::run::{self, BootWay, Root, SystemArgs, Which};
use crate::setup::{self, Need};
use crate::ui::Ui;

#[derive(Args, Clone, Debug)]
pub struct TestArgs {
    /// Run only what begins with this: a suite (host, lint, abi, packages, busybox, fuzz, load, boot,
    /// debian), or a suite and a name (abi/pipe)
    pub filter: Option<String>,
    /// Use the kernel with debug assertions everywhere; without this, abi, load and fuzz run on it as well
    #[arg(long)]
    pub debug: bool,
    /// How many guests may run at once [default: one for two CPUs of this host, at least one]
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
}

/// What all suites share.
pub struct Lab {
    pub paths: Paths,
    pub ui: Ui,
    filter: String,
    debug: bool,
}

/// A piece of work that can run beside others.
type Job<'a> = Box<dyn FnOnce() -> Result<Vec<Record>> + Send + 'a>;

pub fn run(args: &TestArgs, paths: &Paths, ui: &Ui) -> Result<i32> {
    let lab = Lab {
        paths: paths.clone(),
        ui: ui.clone(),
        filter: args.filter.clone().unwrap_or_default(),
        debug: args.debug,
    };
    let expectations = Expectations::read(&paths.root.join("tests/expectations"))?;
    let mut records = Vec::new();
    // Compilers use all CPUs by themselves: what builds comes first, one after the other.
    if lab.wants("lint") {
        records.extend(host::lint(&lab)?);
    }
    if lab.wants("host") {
        records.extend(host::crates(&lab)?);
    }
    if ["abi", "packages", "busybox", "fuzz", "load", "boot"]
        .iter()
        .any(|suite| lab.wants(suite))
    {
        records.extend(guests(&lab, args.jobs.unwrap_or_else(default_jobs))?);
    }
    // It takes hours: not part of everything.
    if lab.filter.starts_with(debian::SUITE) {
        records.extend(debian::run(&lab)?);
    }
    let records: Vec<Record> = records
        .into_iter()
        .filter(|record| lab.wants_test(&record.suite, &record.name))
        .map(|record| expectations.apply(record))
        .collect();
    save(&lab, &records)?;
    Ok(summarise(&records, ui))
}

/// A guest keeps about one CPU busy with one CPU of its own, and a half more with its devices.
fn default_jobs() -> usize {
    thread::available_parallelism().map_or(1, |count| count.get().max(1))
}

fn guests(lab: &Lab, jobs: usize) -> Result<Vec<Record>> {
    setup::ensure(
        &[Need::Emulator, Need::Uefi, Need::Image, Need::Build],
        &lab.ui,
    )?;
    let systems = Systems::new(lab)?;
    let (ours, linux) = (&systems.ours, &systems.linux);
    let mut work: Vec<Job> = Vec::new();
    if lab.wants("abi") {
        work.extend(abi::jobs(lab, &systems)?);
    }
    if lab.wants("busybox") {
        work.extend(packages::busybox_jobs(lab, ours, linux)?);
    }
    if lab.wants("packages") {
        work.extend(packages::jobs(lab, ours, linux)?);
    }
    if lab.wants("fuzz") {
        work.extend(fuzz::jobs(lab, &systems)?);
    }
    if lab.wants("load") {
        work.extend(load::jobs(lab, &systems)?);
    }
    if lab.wants("boot") {
        work.extend(boot::jobs(lab, ours, linux)?);
    }
    in_parallel(work, jobs)
}

/// The kernels, with the userland that the recipes build.
struct Systems {
    ours: System,
    linux: System,
    /// Ours with its checks built in (lock order, overflow, assertions), unless `ours` has them.
    checked: Option<System>,
}

/// CPUs of the machine on which the kernel checks itself.
const CHECKED_CPUS: u32 = 4;

impl Systems {
    fn new(lab: &Lab) -> Result<Self> {
        let checks = !lab.debug && ["abi", "fuzz", "load"].iter().any(|suite| lab.wants(suite));
        let system = |which, debug| lab.system_of(which, Root::Ironbark, debug);
        Ok(Self {
            ours: system(Which::Ironbark, lab.debug)?,
            linux: system(Which::Linux, false)?,
            checked: checks.then(|| system(Which::Ironbark, true)).transpose()?,
        })
    }

    /// What a test that is the same everywhere runs on: the name in the records, and how many CPUs.
    fn all(&self) -> impl Iterator<Item = (&'static str, &System, u32)> {
        let usual = standard_machine().smp;
        let checked = self.checked.iter().map(|it| ("checked", it, CHECKED_CPUS));
        [
            ("linux", &self.linux, usual),
            ("ironbark", &self.ours, usual),
        ]
        .into_iter()
        .chain(checked)
    }
}

/// Runs all jobs, so many at once, and collects what they say. The first error ends it.
fn in_parallel(work: Vec<Job>, jobs: usize) -> Result<Vec<Record>> {
    let queue = Mutex::new(work.into_iter());
    let records = Mutex::new(Vec::new());
    let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let worker = || -> Result<()> {
        while let Some(job) = take() {
            let some = job()?;
            records
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(some);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(worker)).collect();
        let mut ended = Ok(());
        for worker in workers {
            let result = worker.join();
            ended = ended.and(result.unwrap_or_else(|_| bail!("a worker panicked")));
        }
        ended
    })?;
    Ok(records.into_inner().unwrap_or_else(PoisonError::into_inner))
}

impl Lab {
    /// Whether anything of a suite is to be run.
    fn wants(&self, suite: &str) -> bool {
        let wanted = self.filter.split('/').next().unwrap_or_default();
        wanted.is_empty() || suite == wanted
    }

    fn wants_test(&self, suite: &str, name: &str) -> bool {
        format!("{suite}/{name}").starts_with(&self.filter)
    }

    /// The part of the filter below the suite.
    fn below(&self) -> &str {
        self.filter.split_once('/').map_or("", |(_, rest)| rest)
    }

    fn system(&self, kernel: Which, root: Root) -> Result<System> {
        self.system_of(kernel, root, self.debug)
    }

    fn system_of(&self, kernel: Which, root: Root, debug: bool) -> Result<System> {
        let args = SystemArgs {
            kernel,
            boot: BootWay::Pvh,
            debug,
            root,
            append: None,
            initramfs: None,
            with: Vec::new(),
        };
        run::system(&args, &self.paths, &self.ui)
    }
}

/// The machine that tests run on, unless they ask for another.
pub fn standard_machine() -> Machine {
    Machine {
        machine: Kind::Q35,
        firmware: Firmware::Bios,
        smp: 2,
        mem: None,
        accel: None,
        icount: false,
        gdb: false,
        without: Vec::new(),
    }
}

fn save(lab: &Lab, records: &[Record]) -> Result<()> {
    let folder = lab.paths.target_dir("results")?;
    let mut suites: BTreeMap<&str, Vec<Record>> = BTreeMap::new();
    for record in records {
        suites
            .entry(&record.suite)
            .or_default()
            .push(record.clone());
    }
    for (suite, mut records) in suites {
        records.sort_by(|a, b| (&a.name, &a.on).cmp(&(&b.name, &b.on)));
        record::write(&folder.join(format!("{suite}.jsonl")), &records)?;
    }
    Ok(())
}

/// Prints what failed and the totals; answers the exit status.
fn summarise(records: &[Record], ui: &Ui) -> i32 {
    let mut suites: BTreeMap<(&str, &str), [usize; 4]> = BTreeMap::new();
    for record in records {
        let counts = suites.entry((&record.suite, &record.on)).or_default();
        counts[record.result as usize] += 1;
    }
    for record in records
        .iter()
        .filter(|record| record.result == Verdict::Fail)
    {
        ui.note(&format!("FAILED {record}"));
    }
    println!(
        "{:10} {:9} {:>7} {:>7} {:>8} {:>9}",
        "suite", "on", "passed", "failed", "skipped", "expected"
    );
    for ((suite, on), [pass, fail, skip, expected]) in &suites {
        println!("{suite:10} {on:9} {pass:7} {fail:7} {skip:8} {expected:9}");
    }
    let total = |verdict| {
        records
            .iter()
            .filter(|record| record.result == verdict)
            .count()
    };
    let failed = total(Verdict::Fail);
    println!("{} passed, {failed} failed", total(Verdict::Pass));
    i32::from(failed != 0 || records.is_empty())
}
