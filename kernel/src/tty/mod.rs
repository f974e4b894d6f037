//! Terminals: the tty core, consoles, pseudo-terminals and job control.
//!
//! | module | content |
//! |---|---|
//! | `core` | [`Tty`]: a terminal on a driver, with its line discipline (crate `ldisc`) |
//! | `io` | reading and writing: the loops that wait |
//! | `turn` | one reader, one writer at a time |
//! | `job` | controlling terminals, foreground groups, hanging up |
//! | `ioctl` | what every terminal answers |
//! | `file` | open terminals, and the rules of opening |
//! | `line`, `serial` | terminals on serial ports and virtio consoles |
//! | `vt` | the screen and keyboard: virtual consoles |
//! | `pty`, `devpts`, `ptmx` | pseudo-terminals, their directories, and how one is found |
//! | `consoles`, `node` | which terminal is the console, device numbers; nodes in `/dev` and sysfs |
//! | `worker` | the thread that takes input from interrupts to line disciplines |
//!
//! # Lock order
//! ```text
//! Turn (sleeping)
//!   Tty::state (tasks only)
//!     a driver's own locks (interrupts off), Pair::queue
//!       wait queues
//! ```
//! Signals are sent with none of these held.
//!
//! # Invariants
//! - A session has at most one controlling terminal and a terminal controls at most one session; both point to each
//!   other, the terminal weakly.
//! - Interrupt handlers put bytes into rings and wake the worker; they never take `Tty::state`.
//!
//! References: POSIX.1-2024 chapter 11, ioctl_tty(2), pty(7), `Documentation/driver-api/tty` of Linux.

mod consoles;
mod core;
pub mod devpts;
mod file;
mod io;
mod ioctl;
mod job;
mod line;
mod node;
mod ptmx;
mod pty;
mod serial;
mod turn;
mod vt;
mod worker;

pub use self::core::Tty;
pub use job::{disassociate, hang_up_current};
pub use vt::init_screen;

/// Brings up the consoles and registers the terminal devices. Runs in a task, when files, interrupts and timers work.
pub fn init() {
    worker::start();
    consoles::init();
    devpts::init();
    vt::init();
    serial::init();
    crate::device::virtio::on_console(consoles::add_device);
}
