//! Guests: boots a machine for one command and brings back what came of it.

use std::fs::{self, File};
use std::io::{PipeReader, Read, Write, pipe};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cmd;
use crate::cpio::Archive;
use crate::exec::{self, Job, Scanned};
use crate::machine::{Boot, Machine, Port, Wiring};
use crate::paths::Paths;
use crate::scratch::Scratch;
use crate::ui::Ui;

/// How much of the console's end is kept to be shown.
const TAIL_BYTES: usize = 64 * 1024;
/// How long a guest may take to power off once its command has ended.
const POWER_OFF: Duration = Duration::from_secs(5);
/// How long a guest that panicked may still talk.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// What a kernel prints when it gives up, ours and Linux.
const PANIC_MARKS: [&[u8]; 2] = [b"Kernel panic - not syncing", b"KERNEL PANIC"];
/// The largest folder that is passed into a guest.
const SHARE_LIMIT: u64 = 1 << 30;

/// What is booted.
#[derive(Clone, Debug)]
pub struct System {
    pub kernel: PathBuf,
    /// The userland.
    pub initramfs: PathBuf,
    pub cmdline: String,
    /// Whether the kernel comes from a CD instead of from the emulator.
    pub media: Media,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Media {
    Direct,
    Iso,
}

/// What is put into the userland for one guest alone.
#[derive(Clone, Default, Debug)]
pub struct Extras {
    /// A host folder whose copy appears as /mnt/host.
    pub share: Option<PathBuf>,
    /// Programs: the path in the guest, without the leading slash, and the host's file.
    pub programs: Vec<(String, PathBuf)>,
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
}

impl Extras {
    /// The share, if it is small enough to be passed.
    pub fn check(&self) -> Result<()> {
        let Some(dir) = &self.share else {
            return Ok(());
        };
        if !dir.is_dir() {
            bail!("--share {}: this is no folder", dir.display());
        }
        let size = tree_size(dir)?;
        if size > SHARE_LIMIT {
            bail!(
                "--share {}: {} MiB, and at most 1024 fit",
                dir.display(),
                size >> 20
            );
        }
        Ok(())
    }

    fn add_to<W: Write>(&self, archive: &mut Archive<W>) -> Result<()> {
        let mut made: Vec<&str> = vec!["etc", "etc/ironbark"];
        for (name, path) in &self.programs {
            for (at, _) in name.match_indices('/') {
                if !made.contains(&&name[..at]) {
                    archive.dir(&name[..at], 0o755)?;
                    made.push(&name[..at]);
                }
            }
            archive.copy(name, 0o755, path)?;
        }
        if let Some(dir) = &self.share {
            if !made.contains(&"mnt") {
                archive.dir("mnt", 0o755)?;
            }
            archive.dir("mnt/host", 0o755)?;
            archive.tree("mnt/host", dir)?;
        }
        Ok(())
    }
}

fn tree_size(dir: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        let meta = entry.metadata()?;
        total += if meta.is_dir() {
            tree_size(&entry.path())?
        } else {
            meta.len()
        };
    }
    Ok(total)
}

/// Writes the archive of a guest's extras and its job.
pub fn write_overlay(path: &Path, extras: &Extras, job: Option<&Job>) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut archive = Archive::new(std::io::BufWriter::with_capacity(1 << 20, file));
    if let Some(job) = job {
        job.add_to(&mut archive)?;
    }
    extras.add_to(&mut archive)?;
    archive
        .finish()?
        .flush()
        .context("cannot write the guest's archive")
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
        let outcome = follow(&batches(channel), &console, &job, started + self.limit, out)?;
        let elapsed = started.elapsed();
        emulator.stop(if matches!(outcome, Outcome::Exited(_)) {
            POWER_OFF
        } else {
            Duration::ZERO
        });
        let mut text = console.tail();
        text.push_str(&fs::read_to_string(&log).unwrap_or_default());
        Ok(Report {
            outcome,
            console: text,
            elapsed,
        })
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
        let empty = job.is_none() && self.extras.share.is_none() && self.extras.programs.is_empty();
        let overlay = scratch.path().join("overlay.cpio");
        if !empty {
            write_overlay(&overlay, self.extras, job)?;
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
                initramfs,
                cmdline,
            },
            Self::Iso(image) => Boot::Iso(image),
        }
    }
}

/// Reads a pipe in a thread of its own and passes on what comes, in as large pieces as can be.
///
/// The emulator writes byte by byte. A reader that wakes for each byte takes the emulator's
/// processor; a pause after each small piece lets the pipe fill meanwhile.
fn batches(mut pipe: PipeReader) -> Receiver<Vec<u8>> {
    const SMALL: usize = 16 * 1024;
    let (sender, receiver) = mpsc::sync_channel(16);
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
            if count < SMALL {
                thread::sleep(Duration::from_millis(1));
            }
        }
    });
    receiver
}

/// Takes the channel's output until the command ends, the guest dies, or the time is over.
fn follow(
    channel: &Receiver<Vec<u8>>,
    console: &Console,
    job: &Job,
    deadline: Instant,
    out: &mut impl Write,
) -> Result<Outcome> {
    let mut scanner = job.scanner();
    let outcome = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break Outcome::TimedOut;
        }
        match channel.recv_timeout(left.min(Duration::from_millis(500))) {
            Ok(bytes) => {
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

/// A running emulator, killed when this is dropped.
pub struct Emulator {
    child: Child,
}

impl Emulator {
    pub fn start(qemu: &mut Command, ui: &Ui) -> Result<Self> {
        ui.detail(&format!("$ {}", cmd::shown(qemu)));
        let child = qemu.spawn().context("cannot start the emulator")?;
        Ok(Self { child })
    }

    /// Waits that long for it to end by itself, then ends it. Whether it ended by itself.
    pub fn stop(mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        loop {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn wait(&mut self) -> Result<std::process::ExitStatus> {
        self.child.wait().context("cannot wait for the emulator")
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The guest's console: its end is kept, and panics are noticed.
pub struct Console {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    panicked: Option<Instant>,
}

impl Console {
    /// Starts to read; ends by itself with the emulator.
    pub fn watch(pipe: PipeReader) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let pieces = batches(pipe);
        thread::spawn(move || {
            for bytes in pieces {
                shared
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .add(&bytes);
            }
        });
        Self { seen }
    }

    fn panicked_since(&self) -> Option<Instant> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .panicked
    }

    /// The end of what was printed, as text.
    pub fn tail(&self) -> String {
        // What the emulator wrote last may still lie in the pipe.
        thread::sleep(Duration::from_millis(20));
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&seen.bytes).into_owned()
    }
}

impl Seen {
    fn add(&mut self, bytes: &[u8]) {
        let overlap = PANIC_MARKS.iter().map(|mark| mark.len()).max().unwrap_or(0);
        let from = self.bytes.len().saturating_sub(overlap);
        self.bytes.extend_from_slice(bytes);
        let fresh = &self.bytes[from..];
        let marked = |mark: &&[u8]| fresh.windows(mark.len()).any(|window| window == *mark);
        if self.panicked.is_none() && PANIC_MARKS.iter().any(marked) {
            self.panicked = Some(Instant::now());
        }
        if self.bytes.len() > 2 * TAIL_BYTES {
            self.bytes.drain(..self.bytes.len() - TAIL_BYTES);
        }
    }
}
