//! Open terminals: the files behind `/dev/tty*`, and the rules of opening.

use alloc::sync::Arc;

use abi::fs::OpenFlags;
use abi::poll::PollEvents;
use abi::{Errno, Result};

use super::core::Tty;
use super::{consoles, ioctl, job};
use crate::fs::fasync::{FasyncList, Owner};
use crate::fs::{File, FileOps};
use crate::mm::user::{IoSink, IoSource};
use crate::sync::PollTable;
use crate::task::{self, Cap};

/// An open terminal.
///
/// # Invariants
/// It counts in the terminal's `opens` until it is dropped, hung up or not.
pub struct TtyFile {
    tty: Arc<Tty>,
    epoch: u32,
    /// Opened as `/dev/console`: output may be redirected, and background output is never stopped.
    console: bool,
}

impl TtyFile {
    /// Opens `tty`, without asking whose controlling terminal it becomes.
    ///
    /// # Errors
    /// `EBUSY` under `TIOCEXCL`; what the driver answers.
    pub fn open(tty: Arc<Tty>, console: bool) -> Result<Arc<TtyFile>> {
        tty.driver.check_open()?;
        let (first, epoch) = {
            let mut state = tty.state.lock();
            if state.exclusive && !task::current().my_cred().capable(Cap::SYS_ADMIN) {
                return Err(Errno::EBUSY);
            }
            state.opens += 1;
            (state.opens == 1, tty.epoch())
        };
        let file = Arc::new(TtyFile {
            tty,
            epoch,
            console,
        });
        if first {
            file.tty.driver.first_open()?;
        }
        Ok(file)
    }

    fn hung_up(&self) -> bool {
        self.tty.epoch() != self.epoch
    }
}

impl Drop for TtyFile {
    fn drop(&mut self) {
        let mut state = self.tty.state.lock();
        state.opens -= 1;
        let last = state.opens == 0;
        // A pseudo-terminal lives on with its master, and so does this.
        if last && !self.tty.driver.is_pty() {
            state.exclusive = false;
            state.stopped_by_ioctl = false;
            if core::mem::take(&mut state.stopped) {
                self.tty.driver.set_stopped(false);
            }
        }
        drop(state);
        if last {
            self.tty.driver.last_close();
        }
    }
}

impl FileOps for TtyFile {
    fn read(&self, file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        self.tty.read(self.epoch, file.nonblocking(), sink)
    }

    fn write(&self, file: &File, source: &mut IoSource<'_>, _pos: &mut u64) -> Result<usize> {
        if self.console
            && let Some(other) = consoles::redirected()
        {
            return other.write(other.epoch(), file.nonblocking(), source);
        }
        self.tty.write(self.epoch, file.nonblocking(), source)
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        self.tty.poll(self.epoch, table)
    }

    fn ioctl(&self, file: &File, cmd: u32, arg: usize) -> Result<usize> {
        if self.hung_up() {
            let error = if cmd == abi::termios::TIOCSPGRP {
                Errno::ENOTTY
            } else {
                Errno::EIO
            };
            return Err(error);
        }
        ioctl::common(&self.tty, file, true, cmd, arg)
            .or_else(|| self.tty.driver.ioctl(&self.tty, file, cmd, arg))
            .or_else(|| ioctl::discipline(&self.tty, cmd, arg))
            .unwrap_or(Err(Errno::ENOTTY))
    }

    fn fasync(&self, _file: &File) -> Option<[Option<&FasyncList>; 2]> {
        Some([Some(&self.tty.fasync), None])
    }

    fn default_owner(&self) -> Option<Owner> {
        let foreground = self.tty.state.lock().control.foreground.clone();
        let group = foreground.and_then(|(id, group)| Some(Owner::group(&group.upgrade()?, id)));
        Some(group.unwrap_or_else(Owner::current))
    }
}

/// What a node's open is to do besides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A terminal by its own name.
    Own,
    /// `/dev/console`.
    Console,
    /// `/dev/tty0`: the active virtual console.
    Active,
}

/// Opens a terminal's node.
///
/// # Errors
/// As [`TtyFile::open`].
pub fn open_node(tty: Arc<Tty>, node: Node, flags: OpenFlags) -> Result<Arc<TtyFile>> {
    let file = TtyFile::open(tty, node == Node::Console)?;
    if node == Node::Own && !flags.contains(OpenFlags::NOCTTY) && flags.access_mode() != 1 {
        file.tty.adopt_on_open();
    }
    Ok(file)
}

/// Opens `/dev/tty`.
///
/// # Errors
/// `ENXIO` without a controlling terminal.
pub fn open_current() -> Result<Arc<TtyFile>> {
    let tty = job::current_tty().ok_or(Errno::ENXIO)?;
    TtyFile::open(tty, false)
}
