//! Unmodified programs of Debian on both kernels, in a root of their own: what they do on Linux they must do here.
//!
//! | module | tests |
//! |---|---|
//! | [`programs`] | `programs/`: gcc, gdb, procps and more, by the scripts of `tests/debian/programs.toml` |
//! | [`python`] | `python/`: modules of Python's own test suite, method by method |
//! | [`stress`] | `stress-ng/`: each stressor for five seconds, with its own checks |
//!
//! It is a suite of its own, as it takes long under emulation.

mod programs;
mod python;
mod stress;

use std::fs;

use anyhow::{Context, Result};

use super::record::{Record, Verdict};
use super::{Lab, standard_machine};
use crate::debian;
use crate::guest::System;
use crate::machine::Machine;
use crate::overlay::ExtraFile;
use crate::run::{Root, Which};
use crate::setup::{self, Need};

pub const SUITE: &str = "debian";
/// Where the suite's own files lie in the guest.
const FOLDER: &str = "usr/lib/ironbark/debian";

/// Both systems with Debian's root.
struct Systems {
    linux: System,
    ours: System,
    files: Vec<ExtraFile>,
}

pub fn run(lab: &Lab) -> Result<Vec<Record>> {
    setup::ensure(&[Need::Emulator, Need::Build], &lab.ui)?;
    if let Err(error) = debian::provide(&lab.paths, &lab.ui) {
        let words = format!("there is no root of Debian's programs: {error:#}");
        lab.ui.warn(&words);
        return Ok(vec![
            Record::new(SUITE, "root", "linux", Verdict::Skip).detail(words),
        ]);
    }
    let systems = Systems {
        linux: lab.system(Which::Linux, Root::Debian)?,
        ours: lab.system(Which::Ironbark, Root::Debian)?,
        files: files(lab)?,
    };
    let mut records = programs::run(lab, &systems)?;
    records.extend(python::run(lab, &systems)?);
    records.extend(stress::run(lab, &systems)?);
    Ok(records)
}

fn machine() -> Machine {
    Machine {
        mem: Some(debian::MEMORY),
        ..standard_machine()
    }
}

/// Sources and helpers for the guest.
fn files(lab: &Lab) -> Result<Vec<ExtraFile>> {
    let folder = lab.paths.root.join("tests/debian/files");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))? {
        let entry = entry?;
        let name = format!("{FOLDER}/{}", entry.file_name().to_string_lossy());
        files.push(ExtraFile::program(&name, &entry.path())?);
    }
    Ok(files)
}
