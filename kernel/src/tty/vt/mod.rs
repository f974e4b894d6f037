//! Virtual consoles: four terminals that share the screen and the keyboard.
//!
//! | module | content |
//! |---|---|
//! | this | [`Vt`]: one console; which one is shown |
//! | `screen` | drawing, by a thread of its own; the log; panics |
//! | `keyboard` | from scan codes to the shown console |
//! | `ioctl` | `VT_*` and `KD*` |
//!
//! # Lock order
//! ```text
//! Tty::state
//!   Vt::terminal (interrupts off)
//! screen's state -> Vt::terminal
//! ```

mod ioctl;
mod keyboard;
mod screen;

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use abi::signal::{SigInfo, Signo};
use abi::termios::{IUTF8, Termios, Winsize};
use abi::vt::{K_UNICODE, KD_TEXT, VT_PROCESS, VtMode};
use abi::{Errno, Result};
use arrayvec::ArrayVec;
use console::Terminal;
use spin::Once;

use super::consoles::TTY_MAJOR;
use super::core::{Driver, Tty};
use super::node;
use super::worker::{self, Source};
use crate::fs::File;
use crate::signal;
use crate::sync::{IrqSpinLock, WaitQueue};
use crate::task::{self, Pid};

/// How many there are.
const COUNT: usize = 4;
/// Bytes a console takes at a time: interrupts are off while it parses them.
const ROOM: usize = 512;

/// What programs set by ioctls.
struct Settings {
    /// `KD_TEXT` or `KD_GRAPHICS`.
    display: u32,
    /// `K_*`.
    keyboard: u32,
    meta_bit: bool,
    mode: VtMode,
    /// Who set `VT_PROCESS`.
    owner: Pid,
    /// Where the switch that waits for the owner's `VT_RELDISP` goes.
    leaving_for: Option<usize>,
}

/// A virtual console.
pub struct Vt {
    /// Counted from 1.
    number: usize,
    terminal: IrqSpinLock<Terminal>,
    settings: IrqSpinLock<Settings>,
    /// Answers of the terminal (cursor reports) on their way to the program's input.
    replies: IrqSpinLock<ArrayVec<u8, 256>>,
    has_replies: AtomicBool,
    tty: Once<Weak<Tty>>,
    /// Keeps the terminal for good.
    keep: Once<Arc<Tty>>,
}

static VTS: Once<ArrayVec<Arc<Vt>, COUNT>> = Once::new();
/// The shown console, counted from 0.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);
/// The one shown before.
static LAST: AtomicUsize = AtomicUsize::new(0);
/// Woken when another console is shown.
static SWITCHED: WaitQueue = WaitQueue::new();

fn all() -> &'static [Arc<Vt>] {
    VTS.get().map_or(&[], |vts| vts)
}

fn shown() -> Option<&'static Arc<Vt>> {
    all().get(ACTIVE.load(Ordering::Acquire))
}

/// Whether there is a screen.
pub fn exists() -> bool {
    !all().is_empty()
}

/// The console that is shown.
pub fn active() -> Option<Arc<Tty>> {
    shown()?.tty()
}

/// A console by its number, counted from 1.
pub fn terminal(number: u32) -> Option<Arc<Tty>> {
    all().get((number as usize).checked_sub(1)?)?.tty()
}

/// The number in a name such as `tty1`; `tty0` is the one that is shown.
pub fn number_of(name: &str) -> Option<u32> {
    name.strip_prefix("tty")?.parse().ok()
}

impl Vt {
    fn tty(&self) -> Option<Arc<Tty>> {
        self.tty.get()?.upgrade()
    }

    fn is_shown(&self) -> bool {
        self.number == ACTIVE.load(Ordering::Acquire) + 1
    }

    /// Shows bytes, and asks for drawing.
    fn show(&self, bytes: &[u8]) {
        let mut terminal = self.terminal.lock();
        terminal.write(bytes);
        let replies = terminal.take_replies();
        terminal.take_bell();
        drop(terminal);
        if !replies.is_empty() {
            // A program that asks without reading the answers loses some.
            let _ = self.replies.lock().try_extend_from_slice(&replies);
            self.has_replies.store(true, Ordering::Release);
            worker::kick();
        }
        if self.is_shown() {
            screen::request();
        }
    }
}

impl Source for Vt {
    fn work(&self) {
        if self.has_replies.swap(false, Ordering::AcqRel) {
            let replies = core::mem::take(&mut *self.replies.lock());
            if let Some(tty) = self.tty() {
                tty.receive(&replies);
            }
        }
    }
}

/// The terminal's view of a console.
struct VtDriver(Arc<Vt>);

impl Driver for VtDriver {
    fn write(&self, bytes: &[u8]) -> usize {
        self.0.show(bytes);
        bytes.len()
    }

    fn room(&self) -> usize {
        ROOM
    }

    fn ioctl(&self, tty: &Arc<Tty>, file: &File, cmd: u32, arg: usize) -> Option<Result<usize>> {
        ioctl::handle(&self.0, tty, file, cmd, arg)
    }

    fn last_close(&self) {
        let mut settings = self.0.settings.lock();
        settings.mode = VtMode::default();
        settings.leaving_for = None;
    }
}

/// Shows another console; one whose program asked for it is asked first.
///
/// # Errors
/// `ENXIO` if there is no such console.
fn switch_to(index: usize) -> Result<()> {
    if index >= all().len() {
        return Err(Errno::ENXIO);
    }
    let Some(old) = shown() else {
        return Err(Errno::ENXIO);
    };
    if old.number == index + 1 {
        return Ok(());
    }
    let ask = {
        let mut settings = old.settings.lock();
        let process = settings.mode.mode == VT_PROCESS;
        if process {
            settings.leaving_for = Some(index);
        }
        process.then_some((settings.owner, settings.mode.relsig))
    };
    if let Some((owner, signal)) = ask {
        if send(owner, signal) {
            return Ok(());
        }
        // The owner is gone: the kernel switches by itself again.
        old.settings.lock().mode = VtMode::default();
    }
    complete_switch(index);
    Ok(())
}

fn complete_switch(index: usize) {
    let old = ACTIVE.swap(index, Ordering::AcqRel);
    LAST.store(old, Ordering::Release);
    let Some(vt) = shown() else { return };
    vt.terminal.lock().screen_mut().touch_all();
    let acquire = {
        let settings = vt.settings.lock();
        (settings.mode.mode == VT_PROCESS).then_some((settings.owner, settings.mode.acqsig))
    };
    if let Some((owner, signal)) = acquire {
        send(owner, signal);
    }
    screen::request();
    SWITCHED.wake_all();
}

/// Signals the owner of a console; false if it is gone.
fn send(owner: Pid, signal: i16) -> bool {
    let Some(process) = task::find_process(owner) else {
        return false;
    };
    match Signo::new(signal.into()) {
        Some(signo) => signal::send_to_process(&process, SigInfo::kernel(signo)).is_ok(),
        None => true,
    }
}

/// Makes the consoles if there is a screen. Early: needs memory alone, not tasks.
pub fn init_screen() {
    let Some((cols, rows)) = screen::init() else {
        return;
    };
    let mut vts = ArrayVec::new();
    for number in 1..=COUNT {
        let Some(terminal) = Terminal::try_new(cols, rows) else {
            break;
        };
        vts.push(Arc::new(Vt {
            number,
            terminal: IrqSpinLock::new(terminal),
            settings: IrqSpinLock::new(Settings {
                display: KD_TEXT,
                keyboard: K_UNICODE,
                meta_bit: false,
                mode: VtMode::default(),
                owner: Pid::NONE,
                leaving_for: None,
            }),
            replies: IrqSpinLock::new(ArrayVec::new()),
            has_replies: AtomicBool::new(false),
            tty: Once::new(),
            keep: Once::new(),
        }));
    }
    VTS.call_once(|| vts);
    screen::show_log();
}

/// Makes terminals of the consoles, and starts drawing and the keyboard.
pub fn init() {
    if all().is_empty() {
        init_screen();
    }
    node::make("tty0", TTY_MAJOR, 0, 0o600);
    for vt in all() {
        let (cols, rows) = vt.terminal.lock().screen().size();
        let initial = Termios {
            c_iflag: Termios::STD.c_iflag | IUTF8,
            ..Termios::STD
        };
        let name = format!("tty{}", vt.number);
        let dev = (TTY_MAJOR, vt.number as u32);
        match Tty::new(&name, dev, initial, Box::new(VtDriver(vt.clone()))) {
            Ok(tty) => {
                tty.state.lock().winsize = Winsize {
                    ws_row: rows as u16,
                    ws_col: cols as u16,
                    ..Winsize::default()
                };
                vt.tty.call_once(|| Arc::downgrade(&tty));
                vt.keep.call_once(|| tty);
                worker::add(vt.clone());
                node::make(&name, dev.0, dev.1, 0o600);
            }
            Err(error) => log::warn!("{name}: {error:?}"),
        }
    }
    if exists() {
        screen::start();
        keyboard::init();
    }
}
