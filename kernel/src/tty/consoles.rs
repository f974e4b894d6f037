//! Which terminals there are, which of them are consoles, and what their device nodes open.
//!
//! As on Linux every `console=` on the command line names a terminal that shows the kernel's log, and the last one
//! that exists is `/dev/console`. Without any it is the screen, or where there is none the first serial line.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::fs::{DevNum, OpenFlags};
use abi::{Errno, Result};
use devapi::ConsoleDevice;
use spin::Once;

use super::core::Tty;
use super::file::{self, Node};
use super::line::{self, Line};
use super::{node, pty, vt};
use crate::boot;
use crate::fs::{FileOpsRef, Path, chrdev};
use crate::log::{self, ConsoleSink};
use crate::sync::SpinLock;
use crate::task::{self, Cap};

/// Major number of virtual consoles (minors below 64) and serial ports.
pub const TTY_MAJOR: u32 = 4;
/// Major number of `/dev/tty`, `/dev/console` and `/dev/ptmx`.
const AUX_MAJOR: u32 = 5;
/// Major number of hypervisor consoles.
const HVC_MAJOR: u32 = 229;
/// Minor number of `ttyS0`.
pub const SERIAL_MINOR: u32 = 64;

static LINES: SpinLock<Vec<Arc<Tty>>> = SpinLock::new(Vec::new());
/// Consoles on the command line, in order: names and options.
static WANTED: Once<Vec<(&'static str, &'static str)>> = Once::new();
/// Where `TIOCCONS` leads what is written to `/dev/console`.
static REDIRECT: SpinLock<Option<Arc<Tty>>> = SpinLock::new(None);

/// Shows the log on a line.
struct LineSink(Arc<Line>);

impl ConsoleSink for LineSink {
    fn write(&self, bytes: &[u8]) {
        self.0.log(bytes);
    }

    fn write_emergency(&self, bytes: &[u8]) {
        self.0.log_emergency(bytes);
    }

    fn is_first_serial(&self) -> bool {
        self.0.is_first_port()
    }
}

/// The consoles asked for, each `console=<name>,<options>` in order.
fn wanted() -> &'static [(&'static str, &'static str)] {
    WANTED.call_once(|| {
        let consoles = boot::info().cmdline.values("console");
        consoles
            .map(|value| value.split_once(',').unwrap_or((value, "")))
            .collect()
    })
}

fn is_wanted(name: &str) -> bool {
    wanted().iter().any(|(wanted, _)| *wanted == name)
}

/// What the command line says of a serial console: as in `115200n8` its speed, parity and bits.
pub fn options(name: &str) -> Option<&'static str> {
    let of_name = wanted().iter().rev().find(|(wanted, _)| *wanted == name);
    of_name
        .map(|(_, options)| *options)
        .filter(|options| !options.is_empty())
}

/// What shows the log, `/dev/console` last, as `/sys/class/tty/console/active` has it.
pub fn show_active(out: &mut String) {
    let exists = |name: &&str| match vt::number_of(name) {
        Some(_) => vt::exists(),
        None => line_by_name(name).is_some(),
    };
    let mut names: Vec<&str> = wanted()
        .iter()
        .map(|(name, _)| *name)
        .filter(exists)
        .collect();
    let default = system().filter(|_| wanted().is_empty());
    if let Some(tty) = &default {
        // The active virtual console goes by its number 0.
        let shown = vt::number_of(&tty.name).map_or(&*tty.name, |_| "tty0");
        names.push(shown);
    }
    out.push_str(&names.join(" "));
}

/// Whether the screen shows the log.
pub fn screen_wanted() -> bool {
    let wanted = wanted();
    wanted.is_empty() || wanted.iter().any(|(name, _)| vt::number_of(name).is_some())
}

/// Adds a serial terminal. Its node appears, and the log if it is a console.
pub fn add_line(tty: Arc<Tty>, line: Arc<Line>) {
    let (major, minor) = tty.dev;
    node::make(&tty.name, major, minor, 0o600);
    let name = &*tty.name;
    let default = !vt::exists() && LINES.lock().is_empty();
    let shown = if wanted().is_empty() {
        default
    } else {
        is_wanted(name)
    };
    LINES.lock().push(tty.clone());
    if shown {
        log::register_sink(Box::leak(Box::new(LineSink(line))));
    }
}

/// Adds the console of a hypervisor as `hvc<n>`.
///
/// # Errors
/// `ENOMEM`.
pub fn add_device(device: Arc<dyn ConsoleDevice>) -> Result<()> {
    let index = LINES
        .lock()
        .iter()
        .filter(|tty| tty.dev.0 == HVC_MAJOR)
        .count() as u32;
    let (tty, line) = line::make(device, None, (HVC_MAJOR, index))?;
    add_line(tty, line);
    Ok(())
}

fn line_by_name(name: &str) -> Option<Arc<Tty>> {
    LINES.lock().iter().find(|tty| &*tty.name == name).cloned()
}

fn line_by_dev(dev: (u32, u32)) -> Option<Arc<Tty>> {
    LINES.lock().iter().find(|tty| tty.dev == dev).cloned()
}

/// The terminal that `/dev/console` stands for.
pub fn system() -> Option<Arc<Tty>> {
    let by_name = |(name, _): &(&'static str, &'static str)| match vt::number_of(name) {
        Some(0) => vt::active(),
        Some(number) => vt::terminal(number),
        None => line_by_name(name),
    };
    let named = wanted().iter().rev().find_map(by_name);
    named
        .or_else(vt::active)
        .or_else(|| LINES.lock().first().cloned())
}

/// Where writes to `/dev/console` go instead.
pub fn redirected() -> Option<Arc<Tty>> {
    REDIRECT.lock().clone()
}

/// `TIOCCONS`: from `tty`, takes the console's output over; from the console itself (`None`), ends that.
///
/// # Errors
/// `EPERM`, `EBUSY`.
pub fn redirect(tty: Option<&Arc<Tty>>) -> Result<usize> {
    if !task::current().my_cred().capable(Cap::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    let mut redirect = REDIRECT.lock();
    let old = match (tty, redirect.is_some()) {
        (Some(_), true) => return Err(Errno::EBUSY),
        (Some(tty), false) => redirect.replace(tty.clone()),
        (None, _) => redirect.take(),
    };
    drop(redirect);
    drop(old);
    Ok(0)
}

/// Opens `tty*` and `ttyS*`.
fn open_tty(dev: DevNum, _node: &Path, flags: OpenFlags) -> Result<FileOpsRef> {
    let minor = dev.minor();
    let (tty, node) = match minor {
        0 => (vt::active(), Node::Active),
        1..SERIAL_MINOR => (vt::terminal(minor), Node::Own),
        _ => (line_by_dev((TTY_MAJOR, minor)), Node::Own),
    };
    Ok(file::open_node(tty.ok_or(Errno::ENXIO)?, node, flags)?.into())
}

/// Opens `hvc*`.
fn open_hvc(dev: DevNum, _node: &Path, flags: OpenFlags) -> Result<FileOpsRef> {
    let tty = line_by_dev((HVC_MAJOR, dev.minor())).ok_or(Errno::ENXIO)?;
    Ok(file::open_node(tty, Node::Own, flags)?.into())
}

/// Opens `/dev/tty`, `/dev/console` and `/dev/ptmx`.
fn open_aux(dev: DevNum, node: &Path, flags: OpenFlags) -> Result<FileOpsRef> {
    match dev.minor() {
        0 => Ok(file::open_current()?.into()),
        1 => {
            let tty = system().ok_or(Errno::ENODEV)?;
            Ok(file::open_node(tty, Node::Console, flags)?.into())
        }
        2 => pty::open_ptmx(node),
        _ => Err(Errno::ENXIO),
    }
}

/// Registers the devices and makes the nodes that always exist.
pub fn init() {
    chrdev::register(TTY_MAJOR, 0..256, "tty", open_tty);
    chrdev::register(AUX_MAJOR, 0..3, "/dev/tty", open_aux);
    chrdev::register(HVC_MAJOR, 0..64, "hvc", open_hvc);
    node::make("tty", AUX_MAJOR, 0, 0o666);
    node::make("console", AUX_MAJOR, 1, 0o600);
    node::make("ptmx", AUX_MAJOR, 2, 0o666);
}
