//! Programs that the kernel starts by itself, as the super-user, in a process without a parent.
//!
//! Neighbours: `init`, which does the same for process 1; `coredump`, which pipes dumps into them.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::{Errno, Result};
use sched::Params;

use super::cred::Cred;
use super::process::Process;
use super::rlimit::{Resource, Rlimit, Rlimits};
use super::task::{NewTask, Task, TaskFlags, comm_of};
use super::tree::{self, Session};
use super::{exec, exit, pid, usage};
use crate::arch;
use crate::fs::{self, FdTable, File};
use crate::mm;
use crate::sched::{self as scheduler, SchedState};
use crate::signal::{self, SignalShared, TaskSignal};
use crate::sync::{self, SpinLock, WaitQueue, current};

/// What the new task begins with.
struct Start {
    argv: Vec<Vec<u8>>,
    stdin: Arc<File>,
    outcome: Arc<Outcome>,
}

/// Whether the program runs.
#[derive(Default)]
struct Outcome {
    result: SpinLock<Option<Result<()>>>,
    told: WaitQueue,
}

/// Runs a program with no environment, `stdin` for its only descriptor, and a limit on core files of its own. Returns once
/// it has begun.
///
/// # Errors
/// Those of execve; `EINTR` when the caller is killed meanwhile; `ENOENT` without a name.
pub fn run(argv: Vec<Vec<u8>>, stdin: Arc<File>, core_limit: u64) -> Result<()> {
    if argv.is_empty() {
        return Err(Errno::ENOENT);
    }
    let outcome = Arc::new(Outcome::default());
    let start = Box::new(Start {
        argv,
        stdin,
        outcome: outcome.clone(),
    });
    spawn(start, core_limit)?;
    outcome.told.wait_killable(|| *outcome.result.lock())?
}

fn spawn(start: Box<Start>, core_limit: u64) -> Result<()> {
    let context = fs::initial_context()?;
    let tid = pid::allocate()?;
    let rlimits = Rlimits::initial(mm::stats().total * mm::PAGE_SIZE as u64);
    let core = Rlimit {
        soft: core_limit,
        hard: core_limit,
    };
    rlimits.set(Resource::Core, core, |_| Ok(()))?;
    let group = Session::create(tid);
    let process = Process::new(tid, Weak::new(), group, SignalShared::new(0), rlimits);
    let task = Task::new(NewTask {
        tid,
        process: process.clone(),
        mm: None,
        files: Some(FdTable::new()),
        fs: Some(context),
        cred: Arc::new(Cred::root()),
        undo: None,
        signal: TaskSignal::default(),
        comm: comm_of(b"helper"),
        sched: SchedState::new(Params::DEFAULT, u64::MAX, arch::cpu::current_id()),
        flags: TaskFlags::FORK_NO_EXEC,
    })
    .inspect_err(|_| pid::release(tid))?;
    // It is no child of the running task, and has nothing of what that gave up.
    signal::add_thread(&task, |_| ())?;
    pid::publish_task(&task);
    usage::count_task(0, true);
    let guard = tree::lock();
    tree::adopt(&guard, &process, None);
    drop(guard);
    arch::prepare_kernel_thread(&task.arch, become_program, Box::into_raw(start) as usize);
    scheduler::spawn(task);
    Ok(())
}

extern "C" fn become_program(start: usize) -> ! {
    match begin(sync::take_boxed::<Start>(start)) {
        Ok(()) => arch::enter_user(),
        Err(_) => exit::exit_thread(127 << 8),
    }
}

/// Everything that has to be dropped before the thread leaves for user space is dropped here.
fn begin(start: Start) -> Result<()> {
    let Start {
        argv,
        stdin,
        outcome,
    } = start;
    let installed = current().my_files().replace(stdin, 0, false).map(drop);
    let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
    let path = words.first().copied().unwrap_or_default();
    let result = installed.and_then(|()| exec::execute_in_kernel(path, &words, &[]));
    *outcome.result.lock() = Some(result);
    outcome.told.wake_all();
    result
}
