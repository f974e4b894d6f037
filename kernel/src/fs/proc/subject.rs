//! Which process or thread a directory is of, and who may look into it.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;

use abi::{Errno, Result};

use crate::mm::AddressSpace;
use crate::task::process::{Life, Remains};
use crate::task::ptrace::{self, AccessMode};
use crate::task::usage::Rusage;
use crate::task::{Comm, Cred, Pid, Process, Task, current};

/// A process, a thread or a kernel thread by its number, held so that it can end.
#[derive(Clone)]
pub struct Subject {
    pub id: Pid,
    process: Weak<Process>,
    /// A thread of a process, or a kernel thread; `None` for a process as a whole.
    thread: Option<Weak<Task>>,
    /// Not one thread among others.
    pub whole: bool,
}

/// What a [`Subject`] was when somebody looked.
pub struct Target {
    pub id: Pid,
    pub process: Arc<Process>,
    /// The thread, or that which stands for the process; `None` of a zombie.
    pub task: Option<Arc<Task>>,
    pub whole: bool,
}

impl Subject {
    /// The process or kernel thread that `/proc/<id>` shows.
    pub fn find(id: Pid) -> Option<Self> {
        if id.0 <= 0 {
            return None;
        }
        if let Some(process) = crate::task::find_process(id) {
            return Some(Self::of_process(&process));
        }
        let task = crate::task::find_task(id)?;
        // Threads have their directories too, which no list shows.
        Some(Self {
            id,
            process: Arc::downgrade(&task.process),
            thread: Some(Arc::downgrade(&task)),
            whole: true,
        })
    }

    fn of_process(process: &Arc<Process>) -> Self {
        Self {
            id: process.pid,
            process: Arc::downgrade(process),
            thread: None,
            whole: true,
        }
    }

    /// The thread `tid` of this process.
    pub fn thread(&self, tid: Pid) -> Option<Self> {
        let target = self.get().ok()?;
        let task = target.threads().into_iter().find(|task| task.tid() == tid);
        if task.is_none() && !(tid == target.process.pid && target.leader_is_gone()) {
            return None;
        }
        Some(Self {
            id: tid,
            process: self.process.clone(),
            thread: task.map(|task| Arc::downgrade(&task)),
            whole: false,
        })
    }

    /// What it is now; ESRCH once it is gone.
    pub fn get(&self) -> Result<Target> {
        let process = self.process.upgrade().ok_or(Errno::ESRCH)?;
        let living = self
            .thread
            .as_ref()
            .and_then(Weak::upgrade)
            .filter(|task| task.sched.state() != crate::sched::TaskState::Dead);
        let task = match (&self.thread, living) {
            (_, Some(task)) => Some(task),
            (Some(_), None) if self.id != process.pid => return Err(Errno::ESRCH),
            // As on Linux a process is its first thread, a zombie once that has ended.
            _ => match process.life() {
                Life::Reaped => return Err(Errno::ESRCH),
                _ => process.main_thread().filter(|task| task.is_leader()),
            },
        };
        Ok(Target {
            id: self.id,
            process,
            task,
            whole: self.whole,
        })
    }
}

impl Target {
    /// The threads that `task` lists.
    pub fn threads(&self) -> alloc::vec::Vec<Arc<Task>> {
        match &self.task {
            Some(task) if task.is_kernel_thread() => alloc::vec![task.clone()],
            _ => self.process.threads(),
        }
    }

    /// The first thread has ended: it stays a zombie until the process is waited for.
    pub fn leader_is_gone(&self) -> bool {
        !self
            .threads()
            .iter()
            .any(|task| task.tid() == self.process.pid)
            && !self.is_kernel_thread()
    }

    /// The threads, a first one that has ended included.
    pub fn thread_count(&self) -> usize {
        self.threads().len() + usize::from(self.leader_is_gone())
    }

    /// What a first thread that has ended had used, while others go on; what the process had, at its end.
    pub fn final_usage(&self) -> Rusage {
        match (self.whole, self.process.life()) {
            (true, Life::Alive) => self.process.rusage(),
            (true, _) => *self.process.final_usage.lock(),
            (false, _) => self.remains(|remains| remains.usage).unwrap_or_default(),
        }
    }

    pub fn is_kernel_thread(&self) -> bool {
        self.task
            .as_ref()
            .is_some_and(|task| task.is_kernel_thread())
    }

    /// The address space; kernel threads and zombies have none.
    pub fn mm(&self) -> Option<Arc<AddressSpace>> {
        self.task.as_ref()?.mm()
    }

    fn remains<R>(&self, f: impl FnOnce(&Remains) -> R) -> Option<R> {
        self.process.remains.lock().as_ref().map(f)
    }

    /// The name; a zombie's is what it was.
    pub fn comm(&self) -> Comm {
        match &self.task {
            Some(task) => task.comm(),
            None => self.remains(|remains| remains.comm).unwrap_or_default(),
        }
    }

    /// The identity; a zombie's is what it was.
    pub fn cred(&self) -> Arc<Cred> {
        match &self.task {
            Some(task) => task.cred(),
            None => self
                .remains(|remains| remains.cred.clone())
                .unwrap_or_else(|| Arc::new(Cred::root())),
        }
    }

    /// Policy, nice value and priority; a zombie's are what they were.
    pub fn params(&self) -> sched::Params {
        match &self.task {
            Some(task) => crate::sched::params_of(task),
            None => self
                .remains(|remains| remains.params)
                .unwrap_or(sched::Params::DEFAULT),
        }
    }

    /// Who owns its files: itself, or the super-user where it must not be looked into.
    pub fn owner(&self, is_directory: bool) -> (u32, u32) {
        let cred = self.cred();
        let dumpable = self.process.dumpable.load(Ordering::Relaxed) == 1;
        if is_directory || (dumpable && self.mm().is_some()) {
            (cred.euid, cred.egid)
        } else {
            (0, 0)
        }
    }

    /// Whether the running task is a thread of it.
    pub fn is_mine(&self) -> bool {
        Arc::ptr_eq(&self.process, &current().process)
    }

    /// Whether the running task may read what is the process's own (`PTRACE_MODE_READ_FSCREDS`).
    pub fn may_read(&self) -> bool {
        let has_memory = self.mm().is_some();
        ptrace::may_access_as(&self.process, &self.cred(), has_memory, AccessMode::FsCreds)
    }

    /// EACCES unless [`Self::may_read`].
    pub fn check_read(&self) -> Result<()> {
        if self.may_read() {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }
}

/// A name without its NULs.
pub fn comm_bytes(comm: &Comm) -> &[u8] {
    let end = comm
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(comm.len());
    comm.get(..end).unwrap_or_default()
}
