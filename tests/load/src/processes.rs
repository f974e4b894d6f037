//! Children and threads come and go: each is waited for, with the status that it had.

use std::thread;
use std::time::Duration;

use crate::{Books, balanced, is_over};

fn exit(status: i32) -> ! {
    // SAFETY: ends the process without running anything of it.
    unsafe { libc::_exit(status) }
}

/// Starts a process that ends with what `body` answers; it may only make system calls.
fn fork(body: impl FnOnce() -> i32) -> Result<i32, String> {
    // SAFETY: the child makes system calls only.
    match unsafe { libc::fork() } {
        -1 => Err(format!("fork: {}", std::io::Error::last_os_error())),
        0 => exit(body()),
        pid => Ok(pid),
    }
}

fn wait(pid: i32, options: i32) -> Result<i32, String> {
    loop {
        let mut status = 0;
        // SAFETY: the status lives as long as the call.
        match unsafe { libc::waitpid(pid, &mut status, options) } {
            -1 if std::io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
            -1 => return Err(format!("wait: {}", std::io::Error::last_os_error())),
            _ => return Ok(status),
        }
    }
}

/// Children, several at a time, each with a status of its own.
pub fn forks() -> Books {
    let mut done: u64 = 0;
    while !is_over() {
        let mut children = Vec::new();
        for number in 0..4 {
            let status = ((done + number) % 200) as i32;
            children.push((fork(|| status)?, status));
        }
        for (pid, status) in children {
            let got = wait(pid, 0)?;
            if got != status << 8 {
                return Err(format!(
                    "status {got:#x} of a child that ends with {status}"
                ));
            }
            done += 1;
        }
    }
    Ok(format!("{done} children"))
}

/// Children that execute a program while their parent waits for that.
pub fn vforks() -> Books {
    let mut done: u64 = 0;
    while !is_over() {
        let run = |program: &str| {
            std::process::Command::new(program)
                .status()
                .map_err(|error| format!("{program}: {error}"))
        };
        if !run("true")?.success() || run("false")?.code() != Some(1) {
            return Err("a program ends with another status".to_owned());
        }
        done += 2;
    }
    Ok(format!("{done} programs"))
}

/// Threads that come and go, each with an answer of its own.
pub fn threads() -> Books {
    let (mut made, mut answered): (u64, u64) = (0, 0);
    while !is_over() {
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let number = made + number;
                thread::spawn(move || number)
            })
            .collect();
        for thread in threads {
            let answer = thread.join().map_err(|_| "a thread panics".to_owned())?;
            answered += u64::from(answer == made);
            made += 1;
        }
    }
    balanced("threads", answered, made)
}

/// A child that is stopped and continued: each is told, once.
pub fn stops() -> Books {
    let pid = fork(|| {
        loop {
            // SAFETY: takes no arguments.
            unsafe { libc::pause() };
        }
    })?;
    let kill = |signal: i32| {
        // SAFETY: signals a child.
        unsafe { libc::kill(pid, signal) };
    };
    let mut done: u64 = 0;
    while !is_over() {
        kill(libc::SIGSTOP);
        if !libc::WIFSTOPPED(wait(pid, libc::WUNTRACED)?) {
            return Err("a stop is told as something else".to_owned());
        }
        kill(libc::SIGCONT);
        if !libc::WIFCONTINUED(wait(pid, libc::WCONTINUED)?) {
            return Err("a continuation is told as something else".to_owned());
        }
        done += 1;
        thread::sleep(Duration::from_micros(200));
    }
    kill(libc::SIGKILL);
    match wait(pid, 0)? {
        libc::SIGKILL => Ok(format!("{done} stops")),
        status => Err(format!("status {status:#x} of a killed child")),
    }
}
