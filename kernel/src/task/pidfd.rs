//! Descriptors that name a process.

use alloc::sync::Arc;

use abi::poll::PollEvents;
use abi::{Errno, Result};

use super::pid::{self, Pid};
use super::process::{Life, Process};
use crate::fs::{self, File, FileOps, OpenFlags, Reserved};
use crate::sync::{PollTable, current};

struct PidFd {
    process: Arc<Process>,
}

impl FileOps for PidFd {
    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.register(&self.process.exit_event);
        }
        match self.process.life() {
            Life::Alive => PollEvents::empty(),
            Life::Zombie(_) => PollEvents::READABLE,
            Life::Reaped => PollEvents::READABLE | PollEvents::HUP,
        }
    }

    fn fdinfo(&self, _file: &File, out: &mut dyn core::fmt::Write) {
        let pid = match self.process.life() {
            Life::Reaped => -1,
            _ => self.process.pid.0,
        };
        // Writing into the reader's buffer cannot fail.
        let _ = write!(out, "Pid:\t{pid}\nNSpid:\t{pid}\n");
    }
}

fn file_of(process: Arc<Process>, flags: OpenFlags) -> Result<Arc<File>> {
    fs::anon_file(
        "[pidfd]",
        Arc::new(PidFd { process }),
        OpenFlags::RDWR | flags,
    )
}

/// `pidfd_open(2)`.
///
/// # Errors
/// `EINVAL` for unknown flags or a thread that leads no process, `ESRCH` for nobody, and those of a new descriptor.
pub fn open(pid: Pid, flags: u32) -> Result<usize> {
    let nonblocking = OpenFlags::NONBLOCK.bits();
    if flags & !nonblocking != 0 || pid.0 <= 0 {
        return Err(Errno::EINVAL);
    }
    let process = match pid::find_process(pid) {
        Some(process) => process,
        None if pid::find_task(pid).is_some() => return Err(Errno::EINVAL),
        None => return Err(Errno::ESRCH),
    };
    let file = file_of(process, OpenFlags::from_bits_retain(flags))?;
    let fd = current().my_files().install(file, true)?;
    Ok(fd.0 as usize)
}

/// The process that a pidfd of the running task names.
///
/// # Errors
/// `EBADF` for any other descriptor.
pub fn process_of(fd: i32) -> Result<Arc<Process>> {
    let file = current().my_files().get(fd)?;
    let pidfd = file.ops_as::<PidFd>().ok_or(Errno::EBADF)?;
    Ok(pidfd.process.clone())
}

/// A descriptor set aside for a child that is being made.
pub(super) struct PidFdSlot(Reserved);

/// Sets a descriptor aside.
///
/// # Errors
/// `EMFILE`, `ENOMEM`.
pub(super) fn reserve() -> Result<PidFdSlot> {
    current().my_files().reserve(true).map(PidFdSlot)
}

impl PidFdSlot {
    /// The number it will have.
    pub(super) fn fd(&self) -> i32 {
        self.0.fd().0
    }

    /// Makes it name the process.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn fill(self, process: Arc<Process>) -> Result<()> {
        let file = file_of(process, OpenFlags::empty())?;
        self.0.fill(file);
        Ok(())
    }
}
