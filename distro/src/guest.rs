//! Guests: boots a machine for one command and brings back what came of it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Write, pipe};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::emulator::{Console, Emulator, batches};
use crate::exec::{self, Job, Scanned};
use crate::machine::{Boot, Machine, Port, Wiring};
use crate::overlay::{ExtraFile, Extras, write_overlay};
use crate::paths::Paths;
use crate::scratch::Scratch;
use crate::ui::Ui;

/// How long a guest may take to power off once its command has ended.
const POWER_OFF: Duration = Duration::from_secs(5);
/// How long a guest that panicked may still talk.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What is booted.
#[derive(Clone, Debug)]
pub struct System {
    pub kernel: PathBuf,
    /// The userland.
    pub initramfs: PathBuf,
    /// What is put into it at each boot.
    pub files: Vec<ExtraFile>,
    pub cmdline: String,
    /// Whether the kernel comes from a CD instead of from the emulator.
    pub media: Media,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Media {
    Direct,
    Iso,
}

/// How a guest's command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Exited(i32),
    /// It did not end in time.
    TimedOut,
    /// The machine stopped, or the kernel gave up, before it ended.
    Died,
}

/// What came of a guest.
pub struct Report {
    pub outcome: Outcome,
    /// The end of what the console printed.
    pub console: String,
    /// From the emulator's start to the end of the command.
    pub elapsed: Duration,
    /// Whether the machine powered off by itself after the command.
    pub powered_off: bool,
}

/// The userland and the overlay as one file: the emulator loads one.
pub fn joined_initramfs(system: &System, overlay: &Path, scratch: &Scratch) -> Result<PathBuf> {
    let path = scratch.path().join("initramfs.cpio");
    fs::copy(&system.initramfs, &path)
        .with_context(|| format!("cannot copy {}", system.initramfs.display()))?;
    let mut file = File::options().append(true).open(&path)?;
    // An archive begins at a multiple of four bytes.
    let rest = file.metadata()?.len() % 4;
    if rest != 0 {
        file.write_all(&[0; 4][..4 - rest as usize])?;
    }
    std::io::copy(&mut File::open(overlay)?, &mut file)?;
    Ok(path)
}

/// One guest to be: a machine, what it boots, and what it is given.
pub struct Guest<'a> {
    pub machine: &'a Machine,
    pub system: &'a System,
    pub extras: &'a Extras,
    /// How long its command may take, the boot included.
    pub limit: Duration,
    /// How long it may say nothing.
    pub idle_limit: Duration,
}

impl Guest<'_> {
    /// Boots, runs the command and passes its output to `out` as it comes.
    pub fn exec(
        &self,
        command: &str,
        out: &mut impl Write,
        paths: &Paths,
        ui: &Ui,
    ) -> Result<Report> {
        let scratch = Scratch::new(paths)?;
        let job = Job::new(command)?;
        let (channel, channel_far) = pipe().context("cannot make a pipe")?;
        let (console, console_far) = pipe().context("cannot make a pipe")?;
        let wiring = Wiring {
            console: Some(Port::Pipe(1)),
            channel: Some(Port::Pipe(0)),
            control: None,
            graphics: self.system.media == Media::Iso,
            window: false,
        };
        let cmdline = format!("{} {}", self.system.cmdline, exec::CMDLINE);
        let media = self.prepare(Some(&job), &cmdline, &scratch, paths, ui)?;
        let log = scratch.path().join("emulator.log");
        let mut qemu = self
            .machine
            .command(&media.boot(&cmdline), &wiring, scratch.path())?;
        qemu.stdin(channel_far).stdout(console_far);
        qemu.stderr(File::create(&log)?);
        let started = Instant::now();
        let emulator = Emulator::start(&mut qemu, ui)?;
        // The command holds the far ends; as long as it does, their closing is not seen.
        drop(qemu);
        let console = Console::watch(console);
        let outcome = self.follow(&batches(channel), &console, &job, out)?;
        let elapsed = started.elapsed();
        let patience = if matches!(outcome, Outcome::Exited(_)) {
            POWER_OFF
        } else {
            Duration::ZERO
        };
        let powered_off = emulator.stop(patience);
        let mut text = console.tail();
        text.push_str(&fs::read_to_string(&log).unwrap_or_default());
        Ok(Report {
            outcome,
            console: text,
            powered_off,
            elapsed,
        })
    }

    /// Takes the channel's output until the command ends, the guest dies, or the time is over.
    fn follow(
        &self,
        channel: &Receiver<Vec<u8>>,
        console: &Console,
        job: &Job,
        out: &mut impl Write,
    ) -> Result<Outcome> {
        let deadline = Instant::now() + self.limit;
        let mut heard = Instant::now();
        let mut scanner = job.scanner();
        let outcome = loop {
            let until = deadline.min(heard + self.idle_limit);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Outcome::TimedOut;
            }
            match channel.recv_timeout(left.min(Duration::from_millis(500))) {
                Ok(bytes) => {
                    heard = Instant::now();
                    let scanned = scanner.push(&bytes, out)?;
                    out.flush()?;
                    if let Scanned::Ended(status) = scanned {
                        return Ok(Outcome::Exited(status));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    if console
                        .panicked_since()
                        .is_some_and(|since| since.elapsed() > LAST_WORDS)
                    {
                        break Outcome::Died;
                    }
                }
                // The emulator has ended.
                Err(RecvTimeoutError::Disconnected) => break Outcome::Died,
            }
        };
        out.write_all(&scanner.rest())?;
        Ok(outcome)
    }

    /// Makes the files that the machine boots from.
    pub fn prepare(
        &self,
        job: Option<&Job>,
        cmdline: &str,
        scratch: &Scratch,
        paths: &Paths,
        ui: &Ui,
    ) -> Result<Prepared> {
        self.extras.check()?;
        let system = self.system;
        let mut extras = self.extras.clone();
        extras.files.extend(system.files.iter().cloned());
        let empty = job.is_none() && extras.is_empty();
        let overlay = scratch.path().join("overlay.cpio");
        if !empty {
            write_overlay(&overlay, &extras, job)?;
        }
        match system.media {
            Media::Direct => {
                let initramfs = if empty {
                    system.initramfs.clone()
                } else {
                    joined_initramfs(system, &overlay, scratch)?
                };
                Ok(Prepared::Direct {
                    kernel: system.kernel.clone(),
                    initramfs,
                })
            }
            Media::Iso => {
                let image = scratch.path().join("guest.iso");
                let extra = (!empty).then_some(overlay.as_path());
                crate::iso::for_guest(system, extra, cmdline, &image, paths, ui)?;
                Ok(Prepared::Iso(image))
            }
        }
    }
}

/// The files that a machine boots from.
pub enum Prepared {
    Direct { kernel: PathBuf, initramfs: PathBuf },
    Iso(PathBuf),
}

impl Prepared {
    pub fn boot<'a>(&'a self, cmdline: &'a str) -> Boot<'a> {
        match self {
            Self::Direct { kernel, initramfs } => Boot::Direct {
                kernel,
                initramfs: Some(initramfs),
                cmdline: OsStr::new(cmdline),
            },
            Self::Iso(image) => Boot::Iso(image),
        }
    }
}
