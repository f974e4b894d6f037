//! execve: another program in the same process.
//!
//! | module | what |
//! |---|---|
//! | `args` | the strings of argv and envp, read once from the old program |
//! | `program` | finding the file that is really loaded: scripts, interpreters, their headers |
//! | `image` | a new address space with the program's segments |
//! | `stack` | what the program finds on its stack: strings, auxiliary vector, pointers |
//! | `vdso` | the kernel's code in user space |
//! | `identity` | set-user-id and set-group-id files, capabilities |
//!
//! # Order
//! Everything that can fail for reasons of the file or of memory happens before the point of no return: headers are read
//! and the whole new address space is built while the old one still stands. Then the other threads end, the process takes
//! the new space, and what fails from there on (writing to the new stack) kills it.

mod args;
mod identity;
mod image;
mod program;
mod stack;
mod vdso;

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::signal::{SigInfo, Signo};
use abi::{Errno, Result};

use super::task::TaskFlags;
use crate::arch::{self, UserRegs};
use abi::fs::AT_FDCWD;

use crate::fs::{self, File};
use crate::mm;
use crate::mm::user::UserCStr;
use crate::net::netlink::connector;
use crate::signal::{self, GroupExit};
use crate::sync::{CurrentTask, current};

pub use args::Strings;
pub use image::{randomization, set_randomization};

/// What execve is called with.
pub struct ExecRequest {
    /// The file.
    pub file: Arc<File>,
    /// Its name as the caller gave it: AT_EXECFN, and what a script's interpreter is given.
    pub name: alloc::vec::Vec<u8>,
    /// The program's arguments.
    pub argv: Strings,
    /// Its environment.
    pub envp: Strings,
}

/// Reads the arguments of execve and execveat and executes.
///
/// # Errors
/// Those of `execve(2)`; then nothing has changed.
pub fn execve_at(
    dirfd: i32,
    path: UserCStr,
    argv: usize,
    envp: usize,
    flags: u32,
) -> Result<usize> {
    let path = path.read_path()?;
    let old_tid = current().tid();
    let (file, name) = fs::open_exec_at(dirfd, &path, flags)?;
    let budget = args::budget(&current());
    let argv = Strings::read(argv, budget)?;
    let envp = Strings::read(envp, budget.saturating_sub(argv.cost()))?;
    execute(ExecRequest {
        file,
        name,
        argv,
        envp,
    })?;
    super::ptrace::exec_stop(old_tid.0);
    Ok(0)
}

/// Executes a program in the kernel's name: init's first, and helpers.
///
/// # Errors
/// Those of `execve(2)`.
pub fn execute_in_kernel(path: &[u8], argv: &[&[u8]], envp: &[&[u8]]) -> Result<()> {
    let (file, name) = fs::open_exec_at(AT_FDCWD, path, 0)?;
    let (argv, envp) = (Strings::from_kernel(argv)?, Strings::from_kernel(envp)?);
    execute(ExecRequest {
        file,
        name,
        argv,
        envp,
    })
}

fn execute(request: ExecRequest) -> Result<()> {
    let me = current();
    let process = me.process.clone();
    let _exec = process.exec_lock.lock_killable()?;
    let program = program::resolve(request)?;
    let identity = identity::after_exec(&me, &program)?;
    let image = image::build(&me, &program, identity.personality(&me))?;
    if !signal::begin_group_exit(&process, GroupExit::Exec) {
        return Err(Errno::ERESTARTNOINTR);
    }
    // The point of no return: from here on failure is death.
    let done = wait_for_threads(&me).and_then(|()| become_program(&me, &program, identity, image));
    signal::end_exec(&process);
    if done.is_err() {
        signal::force_signal(SigInfo::kernel(Signo::KILL));
    } else if connector::is_heard() {
        connector::exec(&me);
    }
    Ok(())
}

/// Sleeps until this is the only thread, which then bears the process's number.
fn wait_for_threads(me: &CurrentTask) -> Result<()> {
    signal::wait_for_other_threads(&me.process)?;
    super::pid::take_leadership(me);
    Ok(())
}

fn become_program(
    me: &CurrentTask,
    program: &program::Program,
    identity: identity::Identity,
    image: image::Image,
) -> Result<()> {
    crate::ipc::futex::exit_robust_list(me);
    crate::ipc::futex::exit_pi(me, false);
    let clear = me.clear_child_tid.swap(0, Ordering::Relaxed);
    if clear != 0 {
        crate::ipc::futex::clear_and_wake(clear);
    }
    super::rseq::forget(me);
    let old = me.replace_mm(Some(image.space.clone()));
    mm::switch_to(Some(&image.space));
    me.complete_vfork();
    drop(old);
    signal::on_exec_reset(&me.process)?;
    unshare_files(me)?;
    me.my_files().close_on_exec();
    me.clear_flags(TaskFlags::FORK_NO_EXEC);
    super::user_dispatch::clear(me);
    me.process.did_exec.store(true, Ordering::Relaxed);
    me.process.execs.fetch_add(1, Ordering::Relaxed);
    me.process
        .exit_signal
        .store(u32::from(Signo::CHLD.get()), Ordering::Relaxed);
    *me.process.exe.lock() = Some(program.file.clone());
    me.set_comm(program.comm());
    let is_secure = identity.is_secure;
    identity.assume(me);
    image.finish()?;
    let sp = stack::lay_out(me, program, &image, is_secure)?;
    arch::fpu::reset();
    me.arch.reset_debug();
    me.arch.set_fs_base(0);
    me.arch.set_gs_base(0);
    let regs = arch::current_regs();
    *regs = UserRegs {
        // Tracers see which call this is, and that it has not answered yet.
        orig_rax: regs.orig_rax,
        rax: regs.rax,
        ..UserRegs::for_start(image.start as u64, sp as u64)
    };
    Ok(())
}

/// A table shared by CLONE_FILES is no longer shared after exec.
fn unshare_files(me: &CurrentTask) -> Result<()> {
    if Arc::strong_count(&me.my_files()) > 1 {
        let own = me.my_files().fork()?;
        drop(me.replace_files(Some(own)));
    }
    Ok(())
}
