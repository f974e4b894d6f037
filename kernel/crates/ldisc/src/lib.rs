//! The line discipline `N_TTY`: what happens between a terminal's wire and its reader and writer.
//!
//! Bytes from the wire go into [`Ldisc::receive`], which edits lines, makes signals and echoes; [`Ldisc::read`]
//! hands out lines or raw bytes; [`Ldisc::output`] applies the `OPOST` modes. The crate neither waits nor locks:
//! where Linux would sleep it answers how far it came, and the caller waits. What it does to its surroundings goes
//! through [`Port`].
//!
//! | module | content |
//! |---|---|
//! | `queue` | the 4096-byte read buffer with its line marks |
//! | `input` | received bytes: signals, flow control, canonical editing |
//! | `erase` | VERASE, VWERASE, VKILL and their echo |
//! | `output` | `OPOST` and echo, with the column they keep |
//! | `read` | what a reader gets, and when |
//!
//! Flags that Linux stores without effect (`FLUSHO`, `PENDIN`, `XCASE`, `OFILL`, the delays besides `XTABS`) have
//! none here either.
//!
//! References: termios(3), POSIX.1-2024 chapter 11; the oracle test compares with the running kernel's own ptys.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

mod erase;
mod input;
mod output;
mod queue;
mod read;

use abi::termios::{EXTPROC, ICANON, IUTF8, IXON, Termios};
use queue::Queue;

pub use read::Demand;

/// Bytes the read buffer holds, and so the longest line.
pub const BUFFER_SIZE: usize = 4096;
/// Less room than this throttles the sender.
const THROTTLE_BELOW: usize = 128;
/// No more unread bytes than this lets a throttled sender go on.
const UNTHROTTLE_AT: usize = 128;

/// A signal made by a key or a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySignal {
    /// VINTR or a break: SIGINT.
    Interrupt,
    /// VQUIT: SIGQUIT.
    Quit,
    /// VSUSP: SIGTSTP.
    Suspend,
}

/// How a byte that was not received well came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The line was held low: no byte at all.
    Break,
    /// Parity or framing was wrong.
    Parity,
}

/// What the line discipline does to the terminal it sits on. The calls come while the caller holds its lock, so
/// they may only record.
pub trait Port {
    /// Echoes bytes that are already processed for output.
    fn echo(&mut self, bytes: &[u8]);
    /// Sends a signal to the foreground process group.
    fn signal(&mut self, signal: KeySignal);
    /// Drops output that has not gone out, with pending echo.
    fn flush_output(&mut self);
    /// Input was dropped because of a signal key (ptys tell their master).
    fn flushed_input(&mut self);
    /// Stops output (^S).
    fn stop(&mut self);
    /// Starts output again (^Q, a signal key, IXANY).
    fn start(&mut self);
    /// Whether output is stopped by flow control.
    fn stopped(&self) -> bool;
}

/// The state of one terminal's line discipline.
///
/// # Invariants
/// `icanon` is `ICANON` of `termios`; `map` marks exactly the bytes that the current `termios` treats specially.
pub struct Ldisc {
    termios: Termios,
    queue: Queue,
    map: [u64; 4],
    /// No byte is special: input is copied as it is.
    raw: bool,
    icanon: bool,
    lnext: bool,
    /// Inside a `\.../` run of ECHOPRT.
    erasing: bool,
    column: u32,
    /// The column at which the line being edited starts.
    canon_column: u32,
    throttled: bool,
}

impl Ldisc {
    /// A line discipline with an empty buffer; `None` without memory.
    pub fn try_new(termios: Termios) -> Option<Ldisc> {
        let mut ldisc = Ldisc {
            termios,
            queue: Queue::try_new()?,
            map: [0; 4],
            raw: false,
            icanon: termios.local(ICANON),
            lnext: false,
            erasing: false,
            column: 0,
            canon_column: 0,
            throttled: false,
        };
        ldisc.build_map();
        Some(ldisc)
    }

    /// The attributes in force.
    pub fn termios(&self) -> &Termios {
        &self.termios
    }

    /// Takes new attributes. A switch into or out of canonical mode turns what is buffered into one readable
    /// piece; switching IXON off restarts stopped output. The caller wakes readers and writers.
    pub fn set_termios(&mut self, new: Termios, port: &mut impl Port) {
        let old = core::mem::replace(&mut self.termios, new);
        if (old.c_lflag ^ new.c_lflag) & (ICANON | EXTPROC) != 0 {
            self.queue.change_mode(new.local(ICANON));
            self.erasing = false;
            self.lnext = false;
        }
        self.icanon = new.local(ICANON);
        self.build_map();
        if old.input(IXON) && !new.input(IXON) && port.stopped() {
            port.start();
        }
    }

    /// Drops all input.
    pub fn flush_input(&mut self) {
        self.queue.clear();
        self.erasing = false;
        self.lnext = false;
    }

    /// Whether bytes come as lines: `ICANON`, unless a remote does the editing (`EXTPROC`).
    fn by_lines(&self) -> bool {
        self.icanon && !self.termios.local(EXTPROC)
    }

    /// Whether `byte` continues a UTF-8 character, and so has no column of its own.
    fn is_continuation(&self, byte: u8) -> bool {
        self.termios.input(IUTF8) && byte & 0xc0 == 0x80
    }
}

/// C's `iscntrl` as the kernel has it: ASCII controls and DEL, nothing above.
fn is_control(byte: u8) -> bool {
    byte.is_ascii_control()
}
