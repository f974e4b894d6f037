//! Descriptors that name a process.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::poll::PollEvents;
use abi::{Errno, Result};

use super::cred::Cap;
use super::pid::{self, Pid};
use super::process::{Life, Process};
use super::task::Task;
use crate::fs::{self, File, FileOps, OpenFlags, Reserved, proc};
use crate::mm::AddressSpace;
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
    named_by(&file).ok_or(Errno::EBADF)
}

/// The process that a file names; `None` for other files than pidfds.
pub(super) fn named_by(file: &File) -> Option<Arc<Process>> {
    let pidfd = file.ops_as::<PidFd>()?;
    Some(pidfd.process.clone())
}

/// Whether waiting by this pidfd does not sleep.
///
/// # Errors
/// As [`process_of`].
pub fn is_nonblocking(fd: i32) -> Result<bool> {
    let file = current().my_files().get(fd)?;
    file.ops_as::<PidFd>().ok_or(Errno::EBADF)?;
    Ok(file.nonblocking())
}

/// The process that a signal is for: by its pidfd, or by an open directory `/proc/<pid>`.
///
/// # Errors
/// `EBADF` for any other descriptor.
pub fn signal_target(fd: i32) -> Result<Arc<Process>> {
    let file = current().my_files().get(fd)?;
    match named_by(&file) {
        Some(process) => Ok(process),
        None => proc::process_of(&file).ok_or(Errno::EBADF)?,
    }
}

/// Checks that the process was not waited for yet.
///
/// # Errors
/// `ESRCH`.
pub fn check_there(process: &Process) -> Result<()> {
    match process.life() {
        Life::Reaped => Err(Errno::ESRCH),
        _ => Ok(()),
    }
}

/// Which of the caller's ids and capabilities decide whether it may look into another process (ptrace(2)).
#[derive(Clone, Copy, PartialEq, Eq)]
enum AccessBy {
    /// Those of files (`PTRACE_MODE_FSCREDS`).
    File,
    /// The real ones (`PTRACE_MODE_REALCREDS`).
    Real,
}

fn may_access(task: &Task, by: AccessBy) -> bool {
    let me = current();
    if Arc::ptr_eq(&me.process, &task.process) {
        return true;
    }
    let (mine, theirs) = (me.my_cred(), task.cred());
    if mine.capable(Cap::SYS_PTRACE) {
        return true;
    }
    let (uid, gid, caps) = match by {
        AccessBy::File => (mine.fsuid, mine.fsgid, mine.effective),
        AccessBy::Real => (mine.uid, mine.gid, mine.permitted),
    };
    [theirs.uid, theirs.euid, theirs.suid] == [uid; 3]
        && [theirs.gid, theirs.egid, theirs.sgid] == [gid; 3]
        && task.process.dumpable.load(Ordering::Relaxed) == 1
        && theirs.permitted.is_subset_of(caps)
}

/// `pidfd_getfd(2)`: a copy of a descriptor of another process.
///
/// # Errors
/// `EBADF`, `ESRCH`, `EPERM`, and those of a new descriptor.
pub fn get_fd(pidfd: i32, fd: i32) -> Result<usize> {
    let process = process_of(pidfd)?;
    check_there(&process)?;
    let task = process.main_thread();
    let task = task.ok_or(Errno::EBADF)?;
    let file = {
        // An exec meanwhile could give the process rights that the caller lacks.
        let _no_exec = process.exec_lock.lock_killable()?;
        if !may_access(&task, AccessBy::Real) {
            return Err(Errno::EPERM);
        }
        task.files().ok_or(Errno::EBADF)?.get_any(fd)?
    };
    let fd = current().my_files().install(file, true)?;
    Ok(fd.0 as usize)
}

/// The memory of a process that the caller may look into.
///
/// # Errors
/// `ESRCH` for a process without, `EACCES`.
pub fn memory_of(process: &Process) -> Result<Arc<AddressSpace>> {
    let task = process.main_thread().ok_or(Errno::ESRCH)?;
    let mm = task.mm().ok_or(Errno::ESRCH)?;
    match may_access(&task, AccessBy::File) {
        true => Ok(mm),
        false => Err(Errno::EACCES),
    }
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
