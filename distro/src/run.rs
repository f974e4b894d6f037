//! `cargo distro run`: boots the system, for a person or for one command.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::emulator::Emulator;
use crate::guest::{Guest, Media, Outcome, Report, System};
use crate::kernel::Profile;
use crate::machine::{Firmware, Machine, Port, Wiring};
use crate::overlay::Extras;
use crate::paths::Paths;
use crate::profile::Profiler;
use crate::recipe::Recipes;
use crate::scratch::Scratch;
use crate::setup::{self, Need};
use crate::ui::Ui;
use crate::{debian, kernel, linux, programs};

/// The exit status when the time is over, as of timeout(1).
const STATUS_TIMED_OUT: i32 = 124;
/// The exit status when the guest died.
const STATUS_DIED: i32 = 125;
/// The exit status of a program whose reader went away: 128 + SIGPIPE.
const STATUS_BROKEN_PIPE: i32 = 141;
/// How many of the console's last lines are shown when a guest died.
const SHOWN_LINES: usize = 60;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Which {
    Ironbark,
    /// Debian's kernel, with the same userland
    Linux,
}

/// Whose programs are booted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Root {
    /// The userland that the recipes build
    Ironbark,
    /// Unmodified programs of Debian
    Debian,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "lower")]
pub enum BootWay {
    /// The emulator loads the kernel directly: the quickest
    Pvh,
    /// From the CD image, by firmware and boot loader
    Iso,
}

/// What is booted; options that all commands that boot share.
#[derive(Args, Clone, Debug)]
pub struct SystemArgs {
    /// The kernel to boot
    #[arg(long, value_enum, default_value = "ironbark")]
    pub kernel: Which,
    /// The root file system
    #[arg(long, value_enum, default_value = "ironbark")]
    pub root: Root,
    /// How it is booted
    #[arg(long, value_enum, default_value = "pvh")]
    pub boot: BootWay,
    /// Build the kernel with debug assertions
    #[arg(long)]
    pub debug: bool,
    /// Add this to the kernel's command line
    #[arg(long, value_name = "WORDS")]
    pub append: Option<String>,
    /// Boot this cpio archive instead of the built userland
    #[arg(long, value_name = "FILE", conflicts_with = "root")]
    pub initramfs: Option<PathBuf>,
    /// Put these packages into the userland as well, `all` for each that there is
    #[arg(
        long,
        value_name = "PACKAGE",
        value_delimiter = ',',
        conflicts_with = "initramfs"
    )]
    pub with: Vec<String>,
}

#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    pub system: SystemArgs,
    #[command(flatten)]
    pub machine: Machine,
    /// Run this command as root in the guest, print its output alone, exit with its status (124
    /// after the time limit, 125 if the guest died)
    #[arg(long, value_name = "CMD")]
    pub exec: Option<String>,
    /// A copy of this folder appears in the guest as /mnt/host
    #[arg(long, value_name = "DIR")]
    pub share: Option<PathBuf>,
    /// The time limit in seconds [default: 600 with --exec, else none]
    #[arg(long, value_name = "S")]
    pub timeout: Option<u64>,
    /// Show where the kernel spends its time while the command runs: the hottest functions on stderr, and
    /// a flame graph in this file [default: target/profile.svg]
    #[arg(long, value_name = "FILE", requires = "exec", num_args = 0..=1, require_equals = true)]
    pub profile: Option<Option<PathBuf>>,
    /// Show the machine's screen in a window
    #[arg(long, conflicts_with = "exec")]
    pub window: bool,
}

pub fn run(args: &RunArgs, paths: &Paths, ui: &Ui) -> Result<i32> {
    args.machine.check()?;
    let extras = Extras {
        share: args.share.clone(),
        ..Extras::default()
    };
    extras.check()?;
    let mut needs = vec![Need::Emulator];
    if args.system.boot == BootWay::Iso && args.machine.firmware == Firmware::Uefi {
        needs.push(Need::Uefi);
    }
    setup::ensure(&needs, ui)?;
    let mut system = system(&args.system, paths, ui)?;
    let profile = match &args.profile {
        Some(_) if args.system.kernel == Which::Linux => bail!("--profile is of our kernel"),
        Some(file) => {
            system
                .cmdline
                .push_str(&Profiler::cmdline(args.machine.icount));
            Some(Profiler::new(file.as_deref(), paths)?)
        }
        None => None,
    };
    let mut machine = args.machine.clone();
    if args.system.root == Root::Debian {
        machine.mem = machine.mem.or(Some(debian::MEMORY));
    }
    let limit = args.timeout.map(Duration::from_secs);
    let guest = Guest {
        machine: &machine,
        system: &system,
        extras: &extras,
        limit: limit.unwrap_or(Duration::from_secs(600)),
        idle_limit: Duration::from_secs(1 << 32),
    };
    match &args.exec {
        Some(command) => exec(&guest, command, profile.as_ref(), paths, ui),
        None => interactive(&guest, args.window, limit, paths, ui),
    }
}

/// Builds or fetches what is to be booted.
pub fn system(args: &SystemArgs, paths: &Paths, ui: &Ui) -> Result<System> {
    if args.kernel == Which::Linux && args.boot == BootWay::Iso {
        bail!("--kernel linux is booted directly: leave out --boot iso");
    }
    let mut files = Vec::new();
    let initramfs = match (&args.initramfs, args.root) {
        (Some(file), _) if file.is_file() => file.clone(),
        (Some(file), _) => bail!("--initramfs {}: there is no such file", file.display()),
        (None, Root::Ironbark) => userland(&args.with, paths, ui)?,
        (None, Root::Debian) => {
            files = debian::boot_files();
            debian::provide(paths, ui)?
        }
    };
    let kernel = match args.kernel {
        Which::Ironbark => {
            let profile = if args.debug {
                Profile::Debug
            } else {
                Profile::Release
            };
            kernel::build(profile, paths, ui)?
        }
        Which::Linux => linux::provide(paths, ui)?,
    };
    // A kernel that panics shall end the machine, not wait for someone to read its screen.
    let mut cmdline = "console=ttyS0 panic=-1".to_owned();
    if args.kernel == Which::Linux {
        // On a busy host the emulated timer can be late for Linux's check of it, which then panics.
        cmdline.push_str(" no_timer_check");
    }
    if let Some(words) = &args.append {
        cmdline.push(' ');
        cmdline.push_str(words);
    }
    let media = if args.boot == BootWay::Iso {
        Media::Iso
    } else {
        Media::Direct
    };
    Ok(System {
        kernel,
        initramfs,
        files,
        cmdline,
        media,
    })
}

/// The userland's archive with some packages more, built if anything changed.
pub fn userland(more: &[String], paths: &Paths, ui: &Ui) -> Result<PathBuf> {
    setup::ensure(&[Need::Build], ui)?;
    let layout = iso::Layout::read(&paths.root.join("iso/layout.toml"))?;
    let recipes = Recipes::open(paths, ui)?;
    let mut packages: Vec<&str> = layout
        .userland
        .packages
        .iter()
        .map(String::as_str)
        .collect();
    for name in more {
        match name.as_str() {
            "all" => packages.extend(recipes.names()),
            name => packages.push(name),
        }
    }
    let root = recipes.image_root(&packages)?;
    programs::add_to_userland(&root, paths, ui)
}

fn exec(
    guest: &Guest,
    command: &str,
    profile: Option<&Profiler>,
    paths: &Paths,
    ui: &Ui,
) -> Result<i32> {
    let mut out = std::io::stdout().lock();
    let report = match profile {
        None => guest.exec(command, &mut out, paths, ui),
        Some(profile) => profiled(guest, command, profile, &mut out, paths, ui),
    };
    let report = match report {
        Err(error) if is_broken_pipe(&error) => return Ok(STATUS_BROKEN_PIPE),
        other => other?,
    };
    out.flush()?;
    ui.detail(&format!(
        "the guest's command ended after {:.1} s",
        report.elapsed.as_secs_f64()
    ));
    match report.outcome {
        Outcome::Exited(status) => {
            ui.detail(&format!("the end of the console:\n{}", report.console));
            Ok(status)
        }
        Outcome::TimedOut => {
            ui.error(&format!(
                "the command did not end within {} s",
                guest.limit.as_secs()
            ));
            ui.detail(&last_lines(&report.console));
            Ok(STATUS_TIMED_OUT)
        }
        Outcome::Died => {
            let lines = if guest.machine.has_serial() {
                last_lines(&report.console)
            } else {
                format!("(the machine has no serial console)\n{}", report.console)
            };
            ui.error(&format!("the guest died; the end of its console:\n{lines}"));
            Ok(STATUS_DIED)
        }
    }
}

/// The same, and shows what the kernel's profiler found if the command came to its end.
fn profiled(
    guest: &Guest,
    command: &str,
    profile: &Profiler,
    out: &mut impl Write,
    paths: &Paths,
    ui: &Ui,
) -> Result<Report> {
    let mut splitter = profile.splitter(out);
    let report = guest.exec(&profile.around(command), &mut splitter, paths, ui)?;
    if let Some(table) = splitter.rest()? {
        profile.finish(&table, &guest.system.kernel, ui)?;
    }
    Ok(report)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The last lines of a console, without the control characters that would disturb a terminal.
pub fn last_lines(console: &str) -> String {
    let clean: String = console
        .chars()
        .filter(|&c| c == '\n' || c == '\t' || !c.is_control())
        .collect();
    let lines: Vec<&str> = clean.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

fn interactive(
    guest: &Guest,
    window: bool,
    limit: Option<Duration>,
    paths: &Paths,
    ui: &Ui,
) -> Result<i32> {
    let has_serial = guest.machine.has_serial();
    if !has_serial && !window {
        bail!("this machine has no serial port: add --window to see its screen, or --exec CMD");
    }
    let scratch = Scratch::new(paths)?;
    let wiring = Wiring {
        console: has_serial.then_some(Port::Terminal),
        channel: None,
        control: None,
        graphics: window || guest.system.media == Media::Iso,
        window,
    };
    let cmdline = &guest.system.cmdline;
    let media = guest.prepare(None, cmdline, &scratch, paths, ui)?;
    let mut qemu = guest
        .machine
        .command(&media.boot(cmdline), &wiring, scratch.path())?;
    if has_serial {
        ui.note(
            "The guest's console follows. Ctrl-A X ends it, Ctrl-A C is the emulator's prompt.",
        );
        qemu.stdin(Stdio::inherit());
    }
    if guest.machine.gdb {
        ui.note("Waiting for a debugger: gdb -ex 'target remote :1234'");
    }
    let restore = std::io::stdin()
        .is_terminal()
        .then(TerminalState::save)
        .flatten();
    let mut emulator = Emulator::start(&mut qemu, ui)?;
    let status = match limit {
        None => i32::from(!emulator.wait()?.success()),
        Some(limit) if emulator.stop(limit) => 0,
        Some(_) => STATUS_TIMED_OUT,
    };
    drop(restore);
    Ok(status)
}

/// The terminal's settings, put back on drop: an emulator that is killed leaves them raw.
struct TerminalState {
    settings: String,
}

impl TerminalState {
    fn save() -> Option<Self> {
        let mut stty = std::process::Command::new("stty");
        let output = stty.arg("-g").stdin(Stdio::inherit()).output().ok()?;
        let settings = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        output.status.success().then_some(Self { settings })
    }
}

impl Drop for TerminalState {
    fn drop(&mut self) {
        let mut stty = std::process::Command::new("stty");
        // If the terminal is gone there is nothing to put back.
        let _ = stty.arg(&self.settings).stdin(Stdio::inherit()).status();
    }
}
