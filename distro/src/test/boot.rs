//! The image on the machines of `tests/boot`: each must come up with all its CPUs and memory, run
//! a command, and power off. And what goes wrong in a boot: [`bad`], by the list in [`cases`] with the
//! files of [`archives`]. And programs that mean harm: [`hostile`].

mod archives;
mod bad;
mod cases;
mod hostile;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Deserialize;

use super::record::Record;
use super::{Job, Lab, standard_machine};
use crate::guest::{Guest, Media, Outcome, System};
use crate::machine::{Firmware, Kind, Lack, Machine};
use crate::overlay::Extras;
use crate::run::last_lines;

const LIMIT: Duration = Duration::from_secs(180);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    group: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    machine: Vec<String>,
    /// `bios` and `uefi` boot the image, `direct` the kernel itself.
    firmware: Vec<String>,
    smp: Vec<u32>,
    mem: Vec<u32>,
    /// What is missing: a name such as `no-hpet`, or several with a `+` between; each is a machine of its own.
    #[serde(default)]
    variant: Vec<String>,
}

/// One machine of the plan.
#[derive(Clone)]
struct Case {
    name: String,
    machine: Machine,
    media: Media,
}

pub fn jobs<'a>(lab: &'a Lab, ours: &'a System, linux: &'a System) -> Result<Vec<Job<'a>>> {
    let mut work = bad::jobs(lab, ours, linux);
    work.extend(hostile::jobs(lab, ours, linux)?);
    for case in cases(lab)? {
        if lab.wants_test("boot", &case.name) {
            work.push(Box::new(move || Ok(vec![boot(lab, ours, &case)?])));
        }
    }
    Ok(work)
}

fn cases(lab: &Lab) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(lab.paths.root.join("tests/boot")).context("no tests/boot")? {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "toml") {
            continue;
        }
        let read = || -> Result<Vec<Case>> {
            let plan: Plan = toml::from_str(&fs::read_to_string(&path)?)?;
            plan.group
                .iter()
                .map(combinations)
                .collect::<Result<Vec<_>>>()
                .map(|all| all.concat())
        };
        cases.extend(read().with_context(|| format!("in {}", path.display()))?);
    }
    Ok(cases)
}

fn combinations(group: &Group) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for kind in &group.machine {
        for way in &group.firmware {
            for &smp in &group.smp {
                for &mem in &group.mem {
                    let plain = case(kind, way, smp, mem)?;
                    for variant in &group.variant {
                        cases.push(plain.without(variant)?);
                    }
                    if group.variant.is_empty() {
                        cases.push(plain);
                    }
                }
            }
        }
    }
    Ok(cases)
}

fn case(kind: &str, way: &str, smp: u32, mem: u32) -> Result<Case> {
    let unknown = |error: String| anyhow::anyhow!("{error}");
    let machine = Kind::from_str(kind, false).map_err(unknown)?;
    let (media, firmware) = match way {
        "direct" => (Media::Direct, Firmware::Bios),
        other => (
            Media::Iso,
            Firmware::from_str(other, false).map_err(unknown)?,
        ),
    };
    let name = format!("{kind}-{way}-{smp}cpu-{mem}M");
    let machine = Machine {
        machine,
        firmware,
        smp,
        mem: Some(mem),
        ..standard_machine()
    };
    Ok(Case {
        name,
        machine,
        media,
    })
}

impl Case {
    /// The same machine, less some parts.
    fn without(&self, variant: &str) -> Result<Self> {
        let mut less = self.clone();
        for word in variant.split('+') {
            let part = word
                .strip_prefix("no-")
                .with_context(|| format!("variant {word}: it begins with no-"))?;
            let lack = Lack::from_str(part, false).map_err(|error| anyhow::anyhow!("{error}"))?;
            less.machine.without.push(lack);
        }
        less.name = format!("{}-{variant}", self.name);
        Ok(less)
    }
}

fn boot(lab: &Lab, ours: &System, case: &Case) -> Result<Record> {
    let _step = lab.ui.spinner(&format!("Booting {}", case.name));
    let system = System {
        media: case.media,
        ..ours.clone()
    };
    let guest = Guest {
        machine: &case.machine,
        system: &system,
        extras: &Extras::default(),
        limit: LIMIT,
        idle_limit: LIMIT,
    };
    let mut out = Vec::new();
    let command = "nproc; sed -n 's/^MemTotal: *\\([0-9]*\\) kB$/\\1/p' /proc/meminfo";
    let report = guest.exec(command, &mut out, &lab.paths, &lab.ui)?;
    let said = String::from_utf8_lossy(&out);
    let problem = match report.outcome {
        Outcome::Exited(0) if !report.powered_off => Some("it does not power off".to_owned()),
        Outcome::Exited(0) => wrong(&said, &case.machine),
        Outcome::Exited(status) => Some(format!("status {status}: {said}")),
        Outcome::TimedOut => Some(format!("it hangs\n{}", last_lines(&report.console))),
        Outcome::Died => Some(format!("it died\n{}", last_lines(&report.console))),
    };
    Ok(Record::checked("boot", &case.name, "ironbark", problem))
}

/// What is wrong about the CPUs and the memory that the guest counts.
fn wrong(said: &str, machine: &Machine) -> Option<String> {
    let numbers: Vec<u64> = said.lines().filter_map(|line| line.parse().ok()).collect();
    let [cpus, kib] = numbers[..] else {
        return Some(format!("it says {said:?}"));
    };
    if cpus != u64::from(machine.smp) {
        return Some(format!("{cpus} CPUs of {}", machine.smp));
    }
    // Firmware and kernel keep some; a guest that misses a quarter has lost a range.
    let whole = u64::from(machine.memory()) << 10;
    let least = if machine.memory() <= 128 {
        whole / 2
    } else {
        whole / 4 * 3
    };
    (kib > whole || kib < least).then(|| format!("{kib} KiB of memory of {whole}"))
}
