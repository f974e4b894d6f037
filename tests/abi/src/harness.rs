//! Runs each case in a process of its own and prints what came of it.
//!
//! The runner is the subreaper of all that cases start, so that nothing of one case is left when
//! the next begins.

use std::env;
use std::ffi::CString;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;
use std::process;
use std::time::{Duration, Instant};

use crate::check::{Outcome, Trouble};
use crate::sys;

/// One case: its name and its body.
pub type Case = (&'static str, fn() -> Outcome);
/// A family's name and its cases.
pub type Family = (&'static str, &'static [Case]);

/// How long a case may take. Far more than any needs, so that a slow machine fails none.
const LIMIT: Duration = Duration::from_secs(20);

/// Names the functions that are a family's cases.
#[macro_export]
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), $name as fn() -> $crate::check::Outcome)),*]
    };
}

/// Runs what the command line asks for.
pub fn main(families: &[Family]) -> ! {
    let filter = env::args().nth(1).unwrap_or_default();
    let all = families
        .iter()
        .flat_map(|&(family, cases)| cases.iter().map(move |&(name, body)| (family, name, body)));
    if filter == "--list" {
        // Some cases run this for something that writes, and close the pipe on it.
        let mut out = std::io::stdout().lock();
        let mut all = all;
        let written = all.try_for_each(|(family, name, _)| writeln!(out, "{family}/{name}"));
        process::exit(i32::from(written.is_err()));
    }
    let root = prepare();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (number, (family, name, body)) in all
        .filter(|(family, name, _)| format!("{family}/{name}").starts_with(&filter))
        .enumerate()
    {
        let folder = format!("{root}/{number}");
        let (word, detail) = match run(&folder, body) {
            Ok(()) => {
                passed += 1;
                ("pass", String::new())
            }
            Err(Trouble::Fail(detail)) => {
                failed += 1;
                ("fail", detail)
            }
            Err(Trouble::Skip(detail)) => {
                skipped += 1;
                ("skip", detail)
            }
        };
        println!(
            "{{\"suite\":\"{family}\",\"name\":\"{name}\",\"result\":\"{word}\",\"detail\":\"{}\"}}",
            escaped(&detail)
        );
        let _ = std::io::stdout().flush();
    }
    clean_up(&root);
    if skipped > 0 {
        println!("{skipped} skipped");
    }
    println!("{passed} passed, {failed} failed");
    process::exit(i32::from(failed > 0));
}

/// Makes the folder under which cases work: a tmpfs of its own where that can be had, so that
/// cases meet the same file system everywhere.
fn prepare() -> String {
    let root = format!("/tmp/abi-tests-{}", process::id());
    let _ = fs::create_dir_all(&root);
    let path = CString::new(root.as_str()).unwrap_or_default();
    let mounted = sys!(
        SYS_mount,
        c"abi-tests",
        path.as_c_str(),
        c"tmpfs",
        0,
        c"mode=777"
    );
    if mounted.is_err() {
        eprintln!("no tmpfs can be mounted at {root}: cases about mounts will fail");
    }
    let _ = sys!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    root
}

fn clean_up(root: &str) {
    let path = CString::new(root).unwrap_or_default();
    let _ = sys!(SYS_umount2, path.as_c_str(), libc::MNT_DETACH);
    let _ = fs::remove_dir(root);
}

fn run(folder: &str, body: fn() -> Outcome) -> Outcome {
    let fail = |what: String| Err(Trouble::Fail(what));
    if let Err(error) = fs::create_dir(folder) {
        return fail(format!("the case's folder cannot be made: {error}"));
    }
    let Ok((read, write)) = sys::pipe2(libc::O_CLOEXEC) else {
        return fail("no pipe can be made for the case".to_owned());
    };
    let forked = sys::fork(|| {
        let _ = sys::close(read);
        let _ = sys!(SYS_setpgid, 0, 0);
        let _ = env::set_current_dir(folder);
        let _ = sys!(SYS_umask, 0o022);
        undo_runtime();
        send(write, &body());
        0
    });
    let _ = sys::close(write);
    // SAFETY: the pipe's end was just made, and nothing else owns it.
    let mut reader = unsafe { fs::File::from_raw_fd(read) };
    let Ok(pid) = forked else {
        return fail("no process can be made for the case".to_owned());
    };
    let outcome = await_case(pid, &mut reader);
    let _ = sys!(SYS_kill, -pid, libc::SIGKILL);
    while sys!(SYS_wait4, -1, 0, libc::WNOHANG | libc::__WALL, 0).is_ok_and(|pid| pid > 0) {}
    empty(folder);
    outcome
}

/// Takes back what the language's runtime sets up: it ignores SIGPIPE and catches faults on a stack
/// of its own.
fn undo_runtime() {
    for signal in [libc::SIGPIPE, libc::SIGSEGV, libc::SIGBUS] {
        let _ = sys::handle(signal, libc::SIG_DFL, 0, &[]);
    }
    let none = libc::stack_t {
        ss_sp: std::ptr::null_mut(),
        ss_flags: libc::SS_DISABLE,
        ss_size: 0,
    };
    let _ = sys!(SYS_sigaltstack, &none, 0);
}

/// Waits for the case's process to end, and kills it when that takes too long.
fn await_case(pid: i32, reader: &mut fs::File) -> Outcome {
    let end = Instant::now() + LIMIT;
    let mut answer = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut poll = libc::pollfd {
            fd: reader.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let ready = sys!(SYS_poll, &mut poll, 1, left.as_millis() as i32);
        if ready == Ok(0) || left.is_zero() {
            let _ = sys!(SYS_kill, -pid, libc::SIGKILL);
            let _ = sys!(SYS_kill, pid, libc::SIGKILL);
            let _ = sys::wait(pid);
            return Err(Trouble::Fail("timed out".to_owned()));
        }
        let mut bytes = [0; 4096];
        match reader.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(count) => answer.extend_from_slice(bytes.get(..count).unwrap_or_default()),
        }
        // The answer is whole once its end is there: something the case left behind may keep the
        // pipe open.
        if answer.ends_with(b"\n") {
            break;
        }
    }
    let status = sys::wait(pid);
    match status {
        Ok(status) if libc::WIFSIGNALED(status) => {
            let signal = libc::WTERMSIG(status);
            Err(Trouble::Fail(format!("killed by signal {signal}")))
        }
        Ok(_) => received(&answer),
        Err(errno) => Err(Trouble::Fail(format!("the case is lost: {errno:?}"))),
    }
}

/// Sends an outcome through a pipe; [`received`] is the other end.
pub fn send(fd: i32, outcome: &Outcome) {
    let text = match outcome {
        Ok(()) => "pass\n".to_owned(),
        Err(Trouble::Fail(detail)) => format!("fail{detail}\n"),
        Err(Trouble::Skip(detail)) => format!("skip{detail}\n"),
    };
    let _ = sys::write(fd, text.as_bytes());
}

/// What [`send`] sent.
pub fn received(bytes: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\n');
    match text.split_at_checked(4) {
        Some(("pass", "")) => Ok(()),
        Some(("fail", detail)) => Err(Trouble::Fail(detail.to_owned())),
        Some(("skip", detail)) => Err(Trouble::Skip(detail.to_owned())),
        _ => Err(Trouble::Fail("ends without an answer".to_owned())),
    }
}

/// Removes what a case left; what cannot be removed goes with the tmpfs.
fn empty(folder: &str) {
    let _ = fs::remove_dir_all(Path::new(folder));
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}
