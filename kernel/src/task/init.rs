//! The first tasks: one that idles on each CPU, and init. What init is called with: `initargs`.

use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;

use abi::{Errno, Result};
use sched::Params;

use super::cred::Cred;
use super::initargs::InitArguments;
use super::pid;
use super::process::{Process, kernel_process};
use super::rlimit::{self, Rlimits};
use super::task::{NewTask, Task, TaskFlags, comm_of};
use super::tree::{self, Session};
use super::{exec, usage};
use crate::arch;
use crate::boot;
use crate::device;
use crate::fs::{self, FdTable};
use crate::mm;
use crate::sched::{self as scheduler, SchedState};
use crate::signal::{self, SignalShared, TaskSignal};
use crate::tty;

/// What is tried when the command line names no init, in Linux's order.
const PROGRAMS: [&str; 4] = ["/sbin/init", "/etc/init", "/bin/init", "/bin/sh"];

/// Makes the boot code of this CPU its idle task. From here on the CPU has a current task.
///
/// # Panics
/// When there is no memory for the task: nothing can run then.
pub fn adopt_idle_task() {
    let here = arch::cpu::current_id();
    let idle = Task::new(NewTask {
        tid: pid::Pid::NONE,
        process: kernel_process(),
        mm: None,
        files: None,
        fs: None,
        cred: Arc::new(Cred::root()),
        undo: None,
        signal: TaskSignal::for_kernel_thread(),
        comm: comm_of(b"swapper"),
        sched: SchedState::new(Params::DEFAULT, here.bit(), here),
        flags: TaskFlags::KERNEL_THREAD,
    })
    .expect("memory for an idle task at boot");
    arch::adopt_boot_thread(&idle.arch);
    scheduler::start_on_this_cpu(idle);
}

/// Starts a task that brings up what may sleep, then becomes process 1's program.
///
/// # Panics
/// When there is no memory for it: the system cannot start.
pub fn start() {
    spawn_init().expect("memory for the first process at boot");
}

/// Starts process 1, which executes the first program of user space.
///
/// # Errors
/// `ENOMEM`.
fn spawn_init() -> Result<()> {
    fs::init()?;
    let tid = pid::allocate()?;
    let group = Session::create(tid);
    let ram = mm::stats().total * mm::PAGE_SIZE as u64;
    usage::THREADS_MAX.set(rlimit::threads_max(ram) as i64)?;
    let process = Process::new(
        tid,
        Weak::new(),
        group,
        SignalShared::new(0),
        Rlimits::initial(ram),
    );
    process.signal.unkillable.store(true, Ordering::Relaxed);
    let task = Task::new(NewTask {
        tid,
        process: process.clone(),
        mm: None,
        files: Some(FdTable::new()),
        fs: Some(fs::initial_context()?),
        cred: Arc::new(Cred::root()),
        undo: None,
        signal: TaskSignal::default(),
        comm: comm_of(b"init"),
        sched: SchedState::new(Params::DEFAULT, u64::MAX, arch::cpu::current_id()),
        flags: TaskFlags::FORK_NO_EXEC,
    })?;
    *process.leader.lock() = Arc::downgrade(&task);
    pid::publish_task(&task);
    signal::add_thread(&task, |_| ())?;
    usage::count_task(0, true);
    let guard = tree::lock();
    tree::adopt(&guard, &process, None);
    drop(guard);
    arch::prepare_kernel_thread(&task.arch, run_init, 0);
    scheduler::spawn(task);
    Ok(())
}

extern "C" fn run_init(_: usize) -> ! {
    device::init();
    tty::init();
    let unpacked = fs::unpack_modules();
    if let Err(errno) = fs::open_console() {
        log::warn!("/dev/console cannot be opened ({errno}): init starts without standard files");
    }
    if let Err(reason) = InitArguments::read().and_then(|arguments| start_first_program(&arguments))
    {
        match (boot::info().modules.is_empty(), unpacked) {
            (true, _) => crate::panic::give_up(format_args!(
                "the boot loader passed no initramfs (a cpio archive as a module)"
            )),
            (_, Err(broken)) => crate::panic::give_up(format_args!("{reason}; {broken}")),
            _ => crate::panic::give_up(format_args!("{reason}")),
        }
    }
    super::note_stack_depth(&super::current());
    arch::enter_user()
}

/// Executes the first program that can be, in Linux's order. The error says why there is none.
fn start_first_program(arguments: &InitArguments) -> core::result::Result<(), String> {
    let cmdline = &boot::info().cmdline;
    let early = cmdline.value("rdinit");
    match try_program(early.unwrap_or("/init"), arguments) {
        Ok(()) => return Ok(()),
        Err(Errno::ENOENT) if early.is_some() => {
            log::error!(
                "rdinit={}: there is no such program",
                early.unwrap_or_default()
            );
        }
        Err(_) => {}
    }
    if let Some(name) = cmdline.value("init") {
        return try_program(name, arguments)
            .map_err(|errno| format!("Requested init {name} failed ({errno})"));
    }
    let mut others = PROGRAMS.iter();
    if others.any(|path| try_program(path, arguments).is_ok()) {
        return Ok(());
    }
    Err("No working init found: pass init= or an initramfs with /init".into())
}

/// Executes one. That a program is not there is no news; anything else is said.
fn try_program(path: &str, arguments: &InitArguments) -> Result<()> {
    let (argv, envp) = arguments.for_program(path);
    match exec::execute_in_kernel(path.as_bytes(), &argv, &envp) {
        Ok(()) => log::info!("Run {path} as init process"),
        Err(Errno::ENOENT) => return Err(Errno::ENOENT),
        Err(errno) => {
            log::error!("Failed to execute {path} (error {errno})");
            return Err(errno);
        }
    }
    Ok(())
}
