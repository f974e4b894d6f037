//! `cargo distro bench`: the bench suite on both kernels in turn, and the ratios.
//!
//! | module | what it does |
//! |---|---|
//! | [`stats`] | medians, spread, and the interval of a ratio |
//! | [`report`] | the table for people and the JSON for programs |
//!
//! The kernels are booted alternately, on the same machine, with the same userland and the same
//! binary, so that whatever else the host does meets both. A ratio is Linux's time by ours: more
//! than 1 is faster.
//!
//! # Contract with `bench`
//! `bench list` prints a line `GROUP NAME` for each test; `bench [--quick|--full] [WHAT...]` a
//! line `BENCH NAME ITERATIONS TOTAL_NS NS_PER_OP` for each as it ends, or `BENCH_UNSUPPORTED NAME WHY`
//! where the kernel lacks the calls; with `--fixed` the number of iterations does not depend on the
//! clock.

mod report;
mod stats;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use self::report::Comparison;
use crate::guest::{Guest, Outcome, System};
use crate::machine::{Accel, Firmware, Kind, Machine};
use crate::overlay::Extras;
use crate::paths::Paths;
use crate::run::{self, BootWay, Root, SystemArgs, Which, last_lines};
use crate::setup::{self, Need};
use crate::ui::{Step, Ui};

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Reference {
    Linux,
}

#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Compare with this kernel, booted in turn with ours
    #[arg(long, value_enum)]
    pub vs: Option<Reference>,
    /// The eight tests that everyone quotes
    #[arg(long, conflicts_with = "full")]
    pub quick: bool,
    /// All tests, measured longer
    #[arg(long)]
    pub full: bool,
    /// How often each kernel is booted [default: 5, with --icount 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: Option<u32>,
    /// Count instructions instead of time
    #[arg(long)]
    pub icount: bool,
    /// Number of CPUs
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub smp: u32,
    /// Memory in MiB
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    pub mem: u32,
    /// Emulation or virtualisation
    #[arg(long, value_enum)]
    pub accel: Option<Accel>,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Add this to Linux's command line, such as mitigations=off
    #[arg(long, value_name = "WORDS")]
    pub linux_append: Option<String>,
    /// Groups or tests; all, if none is named
    pub what: Vec<String>,
}

/// The packages whose programs the group `work` runs, and its tests that need them.
const WORK_PACKAGES: [&str; 7] = ["git", "make", "nginx", "python3", "redis", "sqlite", "tcc"];
const WORK_TESTS: [&str; 10] = [
    "work",
    "git_status",
    "make_build",
    "nginx_small",
    "python_start",
    "redis_get",
    "redis_set",
    "sqlite_insert",
    "sqlite_select",
    "tcc_compile",
];

/// Nanoseconds an operation, one a round, by test.
pub type Samples = BTreeMap<String, Vec<f64>>;

/// One of the kernels under test.
struct Side {
    system: System,
    figures: Figures,
}

/// What one kernel's rounds have brought.
#[derive(Default)]
struct Figures {
    kernel: &'static str,
    samples: Samples,
    /// Tests whose calls this kernel does not have.
    unsupported: BTreeSet<String>,
}

pub fn command(args: &BenchArgs, paths: &Paths, ui: &Ui) -> Result<i32> {
    setup::ensure(&[Need::Emulator, Need::Build], ui)?;
    let machine = machine(args);
    machine.check()?;
    let with = packages(args);
    let mut sides = vec![side("ironbark", Which::Ironbark, None, &with, paths, ui)?];
    if args.vs == Some(Reference::Linux) {
        let append = args.linux_append.clone();
        sides.insert(0, side("linux", Which::Linux, append, &with, paths, ui)?);
    }
    let bench = Bench {
        machine: &machine,
        extras: Extras::default(),
        args,
        paths,
        ui,
    };
    let groups = bench.groups(&sides[0])?;
    let rounds = args.rounds.unwrap_or(if args.icount { 1 } else { 5 });
    let mut complete = true;
    for round in 1..=rounds {
        for side in &mut sides {
            complete &= bench.round(side, &format!("round {round} of {rounds}"))?;
        }
    }
    let cmdline = (sides.len() > 1).then(|| sides[0].system.cmdline.clone());
    let figures: Vec<&Figures> = sides.iter().map(|side| &side.figures).collect();
    let comparison = Comparison::new(&groups, &figures);
    print!("{}", comparison.table(args.icount));
    if let Some(file) = &args.json {
        let about = report::About {
            rounds,
            clock: if args.icount { "instructions" } else { "wall" },
            cpus: args.smp,
            memory_mib: args.mem,
            build: crate::kernel::build_id(paths, ui),
            linux_cmdline: cmdline,
        };
        comparison.write_json(&paths.root.join(file), &about)?;
    }
    Ok(i32::from(!complete))
}

fn machine(args: &BenchArgs) -> Machine {
    Machine {
        machine: Kind::Q35,
        firmware: Firmware::Bios,
        smp: args.smp,
        mem: Some(args.mem),
        accel: args.accel,
        icount: args.icount,
        gdb: false,
        without: Vec::new(),
    }
}

/// What the image must have beside the usual for the tests that are asked for.
fn packages(args: &BenchArgs) -> Vec<String> {
    let wanted = |word: &String| WORK_TESTS.contains(&word.as_str());
    let all = args.what.is_empty() && !args.quick;
    if all || args.what.iter().any(wanted) {
        return WORK_PACKAGES.map(str::to_owned).to_vec();
    }
    Vec::new()
}

fn side(
    name: &'static str,
    kernel: Which,
    append: Option<String>,
    with: &[String],
    paths: &Paths,
    ui: &Ui,
) -> Result<Side> {
    let args = SystemArgs {
        root: Root::Ironbark,
        kernel,
        boot: BootWay::Pvh,
        debug: false,
        append,
        initramfs: None,
        with: with.to_vec(),
    };
    Ok(Side {
        system: run::system(&args, paths, ui)?,
        figures: Figures {
            kernel: name,
            ..Figures::default()
        },
    })
}

/// What all rounds share.
struct Bench<'a> {
    machine: &'a Machine,
    extras: Extras,
    args: &'a BenchArgs,
    paths: &'a Paths,
    ui: &'a Ui,
}

impl Bench<'_> {
    /// Each test's group.
    fn groups(&self, side: &Side) -> Result<BTreeMap<String, String>> {
        let (text, _) = self.guest(side, "list", &self.ui.spinner("Listing the tests"))?;
        let pair = |line: &str| {
            let (group, name) = line.trim().split_once(' ')?;
            Some((name.trim().to_owned(), group.to_owned()))
        };
        Ok(text.lines().filter_map(pair).collect())
    }

    /// Runs the suite once and keeps its figures; whether it came to its end.
    fn round(&self, side: &mut Side, what: &str) -> Result<bool> {
        let mut words = self.args.what.join(" ");
        let flags = [
            ("--quick ", self.args.quick),
            ("--full ", self.args.full),
            // Instructions compare only where the work does not depend on the clock.
            ("--fixed ", self.args.icount),
        ];
        for (flag, set) in flags {
            if set {
                words.insert_str(0, flag);
            }
        }
        let step = self.ui.spinner(&format!("{}, {what}", side.figures.kernel));
        let (text, problem) = self.guest(side, &words, &step)?;
        for (name, ns) in text.lines().filter_map(figure) {
            side.figures.samples.entry(name).or_default().push(ns);
        }
        side.figures
            .unsupported
            .extend(text.lines().filter_map(unsupported));
        if let Some(problem) = &problem {
            self.ui
                .warn(&format!("{}, {what}: {problem}", side.figures.kernel));
        }
        Ok(problem.is_none())
    }

    /// Runs `bench` in a fresh guest: what it printed, and what went wrong.
    fn guest(&self, side: &Side, words: &str, step: &Step) -> Result<(String, Option<String>)> {
        let guest = Guest {
            machine: self.machine,
            system: &side.system,
            extras: &self.extras,
            limit: Duration::from_secs(3600),
            idle_limit: Duration::from_secs(600),
        };
        let mut out = Lines {
            bytes: Vec::new(),
            from: 0,
            step,
            side: side.figures.kernel,
        };
        let command = format!("bench {words}");
        let report = guest.exec(&command, &mut out, self.paths, self.ui)?;
        let text = String::from_utf8_lossy(&out.bytes).into_owned();
        let console = last_lines(&report.console);
        let problem = match report.outcome {
            Outcome::Exited(0) => None,
            Outcome::Exited(status) => Some(format!("status {status}: {}", last_lines(&text))),
            Outcome::TimedOut => Some(format!("the machine hangs\n{console}")),
            Outcome::Died => Some(format!("the machine died\n{console}")),
        };
        if text.is_empty() && side.figures.kernel == "linux" {
            bail!(
                "bench says nothing on Linux: {}",
                problem.unwrap_or_default()
            );
        }
        Ok((text, problem))
    }
}

/// `BENCH <name> <iterations> <total_ns> <ns_per_op>`.
fn figure(line: &str) -> Option<(String, f64)> {
    let mut words = line.strip_prefix("BENCH ")?.split_whitespace();
    let name = words.next()?.to_owned();
    let ns: f64 = words.nth(2)?.parse().ok()?;
    (ns.is_finite() && ns > 0.0).then_some((name, ns))
}

/// `BENCH_UNSUPPORTED <name> <why>`.
fn unsupported(line: &str) -> Option<String> {
    let words = line.strip_prefix("BENCH_UNSUPPORTED ")?;
    Some(words.split_whitespace().next()?.to_owned())
}

/// Keeps what is written, and shows the last test that ended.
struct Lines<'a> {
    bytes: Vec<u8>,
    from: usize,
    step: &'a Step,
    side: &'a str,
}

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        while let Some(end) = self.bytes[self.from..]
            .iter()
            .position(|&byte| byte == b'\n')
        {
            let line = String::from_utf8_lossy(&self.bytes[self.from..self.from + end]);
            if let Some((name, ns)) = figure(&line) {
                self.step
                    .message(&format!("{}: {name} {ns:.0} ns", self.side));
            }
            self.from += end + 1;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{figure, unsupported};

    #[test]
    fn what_a_kernel_lacks_is_read() {
        let line = "BENCH_UNSUPPORTED sysv_sem semget: Function not implemented";
        assert_eq!(unsupported(line).as_deref(), Some("sysv_sem"));
        assert_eq!(figure(line), None);
    }

    #[test]
    fn figures_are_read() {
        let (name, ns) = figure("BENCH getpid 1000 52300 52.3").unwrap();
        assert_eq!((name.as_str(), ns), ("getpid", 52.3));
        assert_eq!(figure("BENCH_START linux"), None);
        assert_eq!(figure("BENCH getpid 1000 52300"), None);
        assert_eq!(figure("BENCH getpid 1000 0 0"), None);
    }
}
