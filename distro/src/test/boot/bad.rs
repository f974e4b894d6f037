//! `boot/bad`: boots with something wrong, or odd, in what the loader hands over. Each must say what its case demands on
//! the console, and end by itself; where Linux has an answer to compare with, it is asked first.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::pipe;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::super::record::Record;
use super::super::{Job, Lab, standard_machine};
use super::archives::Files;
use super::cases::{self, Case};
use crate::emulator::{Console, Emulator};
use crate::guest::System;
use crate::machine::{Boot, Machine, Port, Wiring};
use crate::run::last_lines;
use crate::scratch::Scratch;

/// How long a boot may take to its end.
const LIMIT: Duration = Duration::from_secs(120);
pub fn jobs<'a>(lab: &'a Lab, ours: &'a System, linux: &'a System) -> Vec<Job<'a>> {
    let files: Arc<OnceLock<Result<Files, String>>> = Default::default();
    let mut work: Vec<Job> = Vec::new();
    for case in cases::all() {
        if !lab.wants_test("boot", &format!("bad/{}", case.name)) {
            continue;
        }
        let files = files.clone();
        work.push(Box::new(move || {
            let read =
                || Files::read(ours, &lab.paths, &lab.ui).map_err(|error| format!("{error:#}"));
            let files = files
                .get_or_init(read)
                .as_ref()
                .map_err(|e| anyhow!("{e}"))?;
            let mut records = Vec::new();
            if !case.linux.is_empty() {
                records.push(check(lab, linux, "linux", &case, &case.linux, files)?);
            }
            records.push(check(lab, ours, "ironbark", &case, &case.expect, files)?);
            Ok(records)
        }));
    }
    work
}

/// Boots, waits for the end, and looks for the words.
fn check(
    lab: &Lab,
    system: &System,
    on: &str,
    case: &Case,
    expect: &[&str],
    files: &Files,
) -> Result<Record> {
    let name = format!("bad/{}", case.name);
    let _step = lab.ui.spinner(&format!("Booting {name} on {on}"));
    let (console, ended) = boot(lab, system, case, files)?;
    let text: String = console.chars().filter(|&c| c != '\r').collect();
    let missing = expect.iter().find(|words| !text.contains(**words));
    let problem = match missing {
        Some(words) => Some(format!("no {words:?} in\n{}", last_lines(&text))),
        None if !ended => Some(format!("it does not end\n{}", last_lines(&text))),
        None => None,
    };
    Ok(Record::checked("boot", &name, on, problem))
}

/// The console's text, and whether the machine ended by itself.
fn boot(lab: &Lab, system: &System, case: &Case, files: &Files) -> Result<(String, bool)> {
    let scratch = Scratch::new(&lab.paths)?;
    let initramfs = scratch.path().join("initramfs");
    let content = (case.initramfs)(files)?;
    if let Some(content) = &content {
        fs::write(&initramfs, content)?;
    }
    let machine = Machine {
        mem: Some(case.mem),
        ..standard_machine()
    };
    let (console, far) = pipe()?;
    let wiring = Wiring {
        console: Some(Port::Pipe(1)),
        channel: None,
        control: None,
        graphics: false,
        window: false,
    };
    let mut cmdline = format!("{} ", system.cmdline).into_bytes();
    cmdline.extend(&case.cmdline);
    let boot = Boot::Direct {
        kernel: &system.kernel,
        initramfs: content.is_some().then_some(initramfs.as_path()),
        cmdline: OsStr::from_bytes(&cmdline),
    };
    let mut qemu = machine.command(&boot, &wiring, scratch.path())?;
    qemu.stdout(far);
    qemu.stderr(File::create(scratch.path().join("emulator.log"))?);
    let emulator = Emulator::start(&mut qemu, &lab.ui)?;
    drop(qemu);
    let console = Console::watch(console);
    let ended = emulator.stop(LIMIT);
    let log = fs::read_to_string(scratch.path().join("emulator.log")).unwrap_or_default();
    Ok((console.tail() + &log, ended))
}
