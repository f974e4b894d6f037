//! The first tasks: one that idles on each CPU, and init.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::{Errno, Result};
use sched::Params;

use super::cred::Cred;
use super::pid;
use super::process::{Process, kernel_process};
use super::rlimit::Rlimits;
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
const PROGRAMS: [&[u8]; 4] = [b"/sbin/init", b"/etc/init", b"/bin/init", b"/bin/sh"];

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
        signal: TaskSignal::default(),
        comm: comm_of(b"init"),
        sched: SchedState::new(Params::DEFAULT, u64::MAX, arch::cpu::current_id()),
        flags: TaskFlags::FORK_NO_EXEC,
    })?;
    pid::publish_task(&task);
    signal::add_thread(&task)?;
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
    fs::unpack_modules();
    if let Err(errno) = fs::open_console() {
        log::warn!("/dev/console cannot be opened ({errno}): init starts without standard files");
    }
    if !start_first_program() {
        give_up_without_init();
    }
    arch::enter_user()
}

/// Says why there is nothing to run: what was asked for fails, or nothing was handed over, or nothing in it is an init.
fn give_up_without_init() -> ! {
    let cmdline = &boot::info().cmdline;
    let named = cmdline.value("rdinit").or_else(|| cmdline.value("init"));
    if boot::info().modules.is_empty() {
        crate::panic::give_up(format_args!(
            "the boot loader passed no initramfs (a cpio archive as a module)"
        ));
    }
    match named {
        Some(name) => {
            crate::panic::give_up(format_args!("the requested init {name} cannot be executed"))
        }
        None => crate::panic::give_up(format_args!(
            "no working init found: give init= on the command line, or an initramfs with /init"
        )),
    }
}

/// Executes the first program that can be.
fn start_first_program() -> bool {
    let cmdline = &boot::info().cmdline;
    if let Some(name) = cmdline.value("rdinit") {
        return try_program(name.as_bytes(), true);
    }
    if try_program(b"/init", false) {
        return true;
    }
    match cmdline.value("init") {
        Some(name) => try_program(name.as_bytes(), true),
        None => PROGRAMS.iter().any(|path| try_program(path, false)),
    }
}

/// Words of the command line that mean nothing to the kernel are init's: `name=value` goes to its environment, the
/// others are its arguments.
fn try_program(path: &[u8], named: bool) -> bool {
    let cmdline = &boot::info().cmdline;
    let (variables, words): (Vec<&str>, Vec<&str>) = cmdline
        .init_arguments()
        .partition(|word| word.contains('='));
    let mut argv: Vec<&[u8]> = [path].into();
    argv.extend(words.iter().map(|word| word.as_bytes()));
    let mut envp: Vec<&[u8]> = [b"HOME=/".as_slice(), b"TERM=linux"].into();
    envp.extend(variables.iter().map(|variable| variable.as_bytes()));
    match exec::execute_init(path, &argv, &envp) {
        Ok(()) => {
            log::info!("Run {} as init process", current_path(path));
            true
        }
        Err(Errno::ENOENT) if !named => false,
        Err(errno) => {
            log::error!("{} cannot be executed: {errno}", current_path(path));
            false
        }
    }
}

fn current_path(path: &[u8]) -> &str {
    core::str::from_utf8(path).unwrap_or("init")
}
