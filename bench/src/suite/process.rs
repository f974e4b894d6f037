//! Fork, exec, exit, threads.
//!
//! What is executed is this program itself, told to end at once (`bench true`): a static program of
//! C's start-up code, the same in each userland.

use std::ffi::{CStr, CString};

use super::{Case, Test, each};
use crate::fixture::{Fd, eventfd};
use crate::mapping::Mapping;
use crate::problem::{Outcome, Problem, ensure, expect, good};
use crate::sys::{self, Strings};

pub static TESTS: &[Test] = &[
    Test::new(
        "fork_exit",
        300,
        "fork(), exit_group() in the child, wait4() for it",
        fork_exit,
    )
    .quick(),
    Test::new(
        "fork_exit_256m",
        3,
        "the same in a process that has 256 MiB of memory in use, in pages of 4 KiB",
        fork_exit_256m,
    ),
    Test::new(
        "vfork_exec",
        50,
        "vfork(), execve() of a static program that ends at once, wait4() for it",
        vfork_exec,
    ),
    Test::new(
        "posix_spawn",
        50,
        "libc's posix_spawn() of a static program that ends at once, wait4() for it",
        posix_spawn,
    ),
    Test::new(
        "exec_true",
        50,
        "fork(), execve() of a static program that ends at once, wait4() for it",
        exec_true,
    ),
    Test::new(
        "exec_dynamic",
        30,
        "fork(), execve() of /bin/true, a dynamic program, wait4() for it",
        exec_dynamic,
    ),
    Test::new(
        "shell_noop",
        30,
        "fork(), execve() of /bin/sh -c :, wait4() for it",
        shell_noop,
    ),
    Test::new(
        "thread_create",
        500,
        "libc's pthread_create() and pthread_join()",
        thread_create,
    ),
    Test::new(
        "waitid",
        10_000,
        "waitid() that looks at a child that has ended, and leaves it",
        waitid,
    ),
    Test::new(
        "clone_files",
        200,
        "clone(CLONE_FILES) with 500 descriptors open, exit_group() in the child, wait4() for it",
        clone_files,
    ),
];

/// The child's status, so that it is seen to have run.
const STATUS: i32 = 7;

/// Waits for a child that exits with `status`.
pub fn reap(pid: isize, status: i32) -> Outcome {
    let mut got = 0;
    expect("wait4", sys::wait4(pid as i32, &mut got, 0, 0), pid)?;
    expect("the child's status", got as isize, (status << 8) as isize)
}

/// Forks by `fork`; the child ends at once.
#[inline(always)]
fn child_ends(fork: impl FnOnce() -> isize) -> Outcome {
    let pid = good("fork", fork())?;
    if pid == 0 {
        sys::exit(STATUS);
    }
    reap(pid, STATUS)
}

fn fork_exit() -> Outcome<Box<dyn Case>> {
    each(|| child_ends(sys::fork))
}

fn fork_exit_256m() -> Outcome<Box<dyn Case>> {
    let memory = Mapping::fresh(256 << 20)?;
    memory.touch();
    each(move || {
        child_ends(sys::fork)?;
        // As a parent that goes on does; the page is its own again.
        memory.bump(0);
        Ok(())
    })
}

fn clone_files() -> Outcome<Box<dyn Case>> {
    let descriptors: Vec<Fd> = (0..500).map(|_| eventfd(0)).collect::<Outcome<_>>()?;
    each(move || {
        let _descriptors = &descriptors;
        child_ends(|| sys::clone_process(libc::CLONE_FILES | libc::SIGCHLD))
    })
}

/// A program to execute, with its arguments.
struct Program {
    path: CString,
    arguments: Strings,
    environment: Strings,
}

impl Program {
    fn new(path: &CStr, arguments: &[&CStr]) -> Self {
        Self {
            path: path.to_owned(),
            arguments: Strings::new(arguments),
            environment: Strings::new(&[c"PATH=/usr/bin:/bin"]),
        }
    }

    /// This program, told to end at once.
    fn own() -> Outcome<Self> {
        let path = sys::executed_path().ok_or_else(|| Problem::new("where am I?"))?;
        Ok(Self::new(path, &[c"bench", c"true"]))
    }

    fn fork_exec(&self) -> Outcome {
        let pid = good("fork", sys::fork())?;
        if pid == 0 {
            sys::execve(&self.path, &self.arguments, &self.environment);
            sys::exit(127);
        }
        reap(pid, 0)
    }
}

fn exec_true() -> Outcome<Box<dyn Case>> {
    let program = Program::own()?;
    each(move || program.fork_exec())
}

fn exec_dynamic() -> Outcome<Box<dyn Case>> {
    ensure(is_dynamic("/bin/true")?, || {
        "/bin/true is static".to_owned()
    })?;
    let program = Program::new(c"/bin/true", &[c"true"]);
    each(move || program.fork_exec())
}

/// Whether an ELF file has an interpreter: a program header of type 3.
fn is_dynamic(path: &str) -> Outcome<bool> {
    let image = std::fs::read(path).map_err(|error| Problem::new(format!("{path}: {error}")))?;
    // The headers follow the file's own header of 64 bytes, 56 bytes each; their number is at 56.
    let count = usize::from(image.get(56).copied().unwrap_or(0));
    let headers = image.get(64..).unwrap_or_default().chunks_exact(56);
    Ok(headers
        .take(count)
        .any(|header| header.starts_with(&[3, 0, 0, 0])))
}

fn shell_noop() -> Outcome<Box<dyn Case>> {
    let program = Program::new(c"/bin/sh", &[c"sh", c"-c", c":"]);
    each(move || program.fork_exec())
}

fn vfork_exec() -> Outcome<Box<dyn Case>> {
    let program = Program::own()?;
    each(move || {
        let pid = sys::vfork_exec(&program.path, &program.arguments, &program.environment);
        reap(good("clone", pid)?, 0)
    })
}

fn posix_spawn() -> Outcome<Box<dyn Case>> {
    let program = Program::own()?;
    each(move || {
        let pid = sys::posix_spawn(&program.path, &program.arguments, &program.environment);
        let pid = pid.map_err(|error| Problem::failed("posix_spawn", -error as isize))?;
        reap(pid as isize, 0)
    })
}

fn thread_create() -> Outcome<Box<dyn Case>> {
    let pid = sys::getpid();
    each(move || {
        let thread = std::thread::Builder::new().stack_size(64 * 1024);
        let thread = thread.spawn(sys::gettid);
        let thread = thread.map_err(|error| Problem::new(format!("pthread_create: {error}")))?;
        let tid = thread.join().unwrap_or(-1);
        ensure(tid > 0 && tid != pid, || {
            format!("the thread's id is {tid}")
        })
    })
}

fn waitid() -> Outcome<Box<dyn Case>> {
    let pid = good("fork", sys::fork())?;
    if pid == 0 {
        sys::exit(STATUS);
    }
    let options = libc::WEXITED | libc::WNOWAIT;
    each(move || {
        let mut about: libc::siginfo_t = sys::blank();
        let answer = sys::waitid(libc::P_PID, pid as u32, &mut about, options, 0);
        expect("waitid", answer, 0)?;
        let signal = about.si_signo;
        ensure(signal == libc::SIGCHLD, || {
            format!("waitid: si_signo {signal}")
        })
    })
}
