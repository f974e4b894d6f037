//! The tracer's side: holding a stopped tracee still, and letting it go on.

use alloc::sync::Arc;

use abi::signal::Signo;
use abi::{Errno, Result};

use super::state::Event;
use super::step;
use crate::arch;
use crate::sched;
use crate::signal;
use crate::sync::current;
use crate::task::Task;

/// A stopped tracee of the running thread: it stays off its CPU while this lives, and not even SIGKILL wakes it.
pub(super) struct Frozen {
    task: Arc<Task>,
    /// It was let go: nothing is to be undone.
    released: bool,
}

impl Frozen {
    /// Freezes it.
    ///
    /// # Errors
    /// `ESRCH` when it is not the running thread's tracee, or not in a stop.
    pub(super) fn new(task: &Arc<Task>) -> Result<Frozen> {
        check_mine(task)?;
        if !signal::freeze(task, || !is_another_exec(task)) {
            return Err(Errno::ESRCH);
        }
        sched::wait_until_off_cpu(task);
        Ok(Frozen {
            task: task.clone(),
            released: false,
        })
    }

    /// The tracee.
    pub(super) fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// Lets it go on with `code`, after whatever `request` asks for.
    ///
    /// # Errors
    /// `EIO` when `data` is no signal.
    pub(super) fn resume(mut self, request: Resume, data: usize) -> Result<()> {
        let code = signal_of(data)?;
        let task = &self.task;
        let (watch, not) = match request {
            Resume::Syscall => (arch::SYSCALL_TRACE, arch::SYSCALL_EMULATE),
            Resume::Emulate | Resume::EmulateStep => (arch::SYSCALL_EMULATE, arch::SYSCALL_TRACE),
            Resume::Continue | Resume::Step | Resume::StepToBranch => {
                (0, arch::SYSCALL_TRACE | arch::SYSCALL_EMULATE)
            }
        };
        task.arch.unwatch_syscalls(not);
        task.arch.watch_syscalls(watch);
        match request {
            Resume::Step | Resume::EmulateStep => step::enable(task, false),
            Resume::StepToBranch => step::enable(task, true),
            _ => step::disable(task),
        }
        signal::resume(task, || task.ptrace.stop.lock().code = code);
        self.released = true;
        Ok(())
    }

    /// PTRACE_DETACH.
    ///
    /// # Errors
    /// `EIO` when `data` is no signal.
    pub(super) fn detach(mut self, data: usize) -> Result<()> {
        let code = signal_of(data)?;
        super::attach::detach(&self.task, code);
        self.released = true;
        Ok(())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if !self.released {
            signal::unfreeze(&self.task);
        }
    }
}

/// How a tracee goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resume {
    Continue,
    Syscall,
    Step,
    StepToBranch,
    Emulate,
    EmulateStep,
}

/// 0 or a signal's number.
fn signal_of(data: usize) -> Result<i32> {
    let code = i32::try_from(data).map_err(|_| Errno::EIO)?;
    match code == 0 || Signo::new(code).is_some() {
        true => Ok(code),
        false => Err(Errno::EIO),
    }
}

/// `ESRCH` unless the running thread traces it.
pub(super) fn check_mine(task: &Task) -> Result<()> {
    let link = task.ptrace.link.lock();
    let mine = link
        .as_ref()
        .is_some_and(|link| core::ptr::eq(link.tracer.as_ptr(), &raw const *current()));
    match mine {
        true => Ok(()),
        false => Err(Errno::ESRCH),
    }
}

/// The task took this number by exec and the tracer has not waited for that yet: it most likely means the thread that
/// bore it before.
fn is_another_exec(task: &Task) -> bool {
    let stop = task.ptrace.stop.lock();
    stop.code == Event::Exec.code() && stop.message != task.tid().0 as u64
}

/// PTRACE_INTERRUPT, in any state.
///
/// # Errors
/// `EIO` for a tracee that was not seized.
pub(super) fn interrupt(task: &Arc<Task>) -> Result<()> {
    if !task.ptrace.is_seized() {
        return Err(Errno::EIO);
    }
    signal::interrupt(task);
    Ok(())
}

/// PTRACE_LISTEN.
///
/// # Errors
/// `EIO` unless the tracee was seized and is in a PTRACE_EVENT_STOP.
pub(super) fn listen(frozen: &Frozen) -> Result<()> {
    let task = frozen.task();
    let in_event_stop = task
        .ptrace
        .stop
        .lock()
        .info
        .is_some_and(|info| info.si_code >> 8 == Event::Stop as i32);
    if !task.ptrace.is_seized() || !in_event_stop {
        return Err(Errno::EIO);
    }
    signal::listen(task);
    Ok(())
}
