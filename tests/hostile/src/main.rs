//! Programs that mean harm. Each is refused or killed with the right error or signal, while a shell stays usable, nothing
//! else dies, and the memory comes back.
//!
//! `hostile [NAME...]` runs the cases, as root, alike on Linux and here, and prints for each `pass NAME` or
//! `fail NAME: why`. A case makes what it runs; around it a bystander answers, a shell is asked, and free memory is compared.
//!
//! | module | cases |
//! |---|---|
//! | [`process`] | forks without end, signals without end, processes that ignore everything |
//! | [`files`] | links, descriptors, files and folders without end |
//! | [`programs`] | scripts that run each other, programs that run themselves, corrupt ones |
//! | [`sys`] | raw calls |

mod files;
mod process;
mod programs;
mod sys;

use std::process::{Command, exit};
use std::time::{Duration, Instant};

/// What a case says: why it failed.
pub type Outcome = Result<(), String>;

/// How much less memory may be free afterwards, for what a kernel keeps in caches.
const LEEWAY_KIB: u64 = 16 << 10;
/// How long a shell may take on a machine that is busy with an attack.
const PATIENCE: Duration = Duration::from_secs(60);

type Case = (&'static str, fn() -> Outcome);

const CASES: &[Case] = &[
    ("fork-bomb-with-a-limit", process::fork_bomb),
    ("signals-without-end", process::signals),
    ("deaf-to-all-signals", process::deaf),
    ("links-without-end", files::links),
    ("descriptors-without-end", files::descriptors),
    ("files-without-end", files::many),
    ("folders-without-end", files::deep),
    ("deep-tree-unmounted", files::deep_unmount),
    ("scripts-that-run-each-other", programs::scripts),
    ("program-that-runs-itself", programs::itself),
    ("corrupt-programs", programs::corrupt),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // A program that runs itself is this one.
    if let Some(left) = arguments
        .first()
        .and_then(|word| word.strip_prefix("again="))
    {
        programs::again(left);
    }
    let mut failed = false;
    for &(name, case) in CASES {
        if !arguments.is_empty()
            && !arguments
                .iter()
                .any(|wanted| name.starts_with(wanted.as_str()))
        {
            continue;
        }
        match surrounded(case) {
            Ok(()) => println!("pass {name}"),
            Err(why) => {
                failed = true;
                println!("fail {name}: {why}");
            }
        }
    }
    exit(i32::from(failed));
}

/// Runs a case with a bystander and a look at the memory around it.
fn surrounded(case: fn() -> Outcome) -> Outcome {
    shell_answers()?;
    let mut bystander = Command::new("cat")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .map_err(|error| format!("cat: {error}"))?;
    let before = free_kib().ok_or("/proc/meminfo does not tell the free memory")?;
    let outcome = case();
    let answers = ask(&mut bystander);
    outcome?;
    answers?;
    shell_answers()?;
    memory_is_back(before)
}

/// The bystander still hands on what it is given.
fn ask(bystander: &mut std::process::Child) -> Outcome {
    use std::io::{Read, Write};
    let told = bystander
        .stdin
        .take()
        .is_some_and(|mut to| to.write_all(b"there").is_ok());
    let mut heard = String::new();
    let read = bystander
        .stdout
        .take()
        .is_some_and(|mut from| from.read_to_string(&mut heard).is_ok());
    let status = bystander.wait().map_err(|error| format!("wait: {error}"))?;
    if !told || !read || heard != "there" || !status.success() {
        return Err(format!("a bystander suffered: {status}, {heard:?}"));
    }
    Ok(())
}

/// A shell starts a program, and both work. Cases call it while they attack.
pub fn shell_answers() -> Outcome {
    let start = Instant::now();
    let output = Command::new("/bin/sh")
        .args(["-c", "echo $(expr 40 + 2)"])
        .output()
        .map_err(|error| format!("the shell does not start: {error}"))?;
    if output.stdout != b"42\n" {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the shell fails: {}, {said}", output.status));
    }
    if start.elapsed() > PATIENCE {
        return Err(format!("the shell took {:?}", start.elapsed()));
    }
    Ok(())
}

/// Memory that can be had.
fn free_kib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What ended processes had may come back late.
fn memory_is_back(before: u64) -> Outcome {
    for _ in 0..100 {
        if free_kib().is_some_and(|now| now + LEEWAY_KIB >= before) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let now = free_kib().unwrap_or(0);
    Err(format!("{before} KiB were free, and now {now} KiB are"))
}

/// An error unless the fact holds.
pub fn ensure(fact: bool, why: impl FnOnce() -> String) -> Outcome {
    if fact { Ok(()) } else { Err(why()) }
}

/// An error unless a call answered this.
pub fn expect(what: &str, answer: isize, right: isize) -> Outcome {
    ensure(answer == right, || {
        format!("{what}: {answer}, and not {right}")
    })
}

/// A folder of the case's own, on a small tmpfs that goes with this.
pub struct Place(pub String);

impl Place {
    pub fn new(options: &str) -> Result<Place, String> {
        let path = format!("/tmp/hostile-{}", std::process::id());
        std::fs::create_dir_all(&path).map_err(|error| format!("{path}: {error}"))?;
        let name = std::ffi::CString::new(path.as_str()).unwrap_or_default();
        let options = std::ffi::CString::new(options).unwrap_or_default();
        let kind = c"tmpfs".as_ptr() as usize;
        let args = [
            kind,
            name.as_ptr() as usize,
            kind,
            0,
            options.as_ptr() as usize,
        ];
        let answer = sys::call(libc::SYS_mount, &args);
        expect("mount", answer, 0)?;
        Ok(Place(path))
    }

    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::env::set_current_dir("/");
        sys::path_call(libc::SYS_umount2, &self.0, &[libc::MNT_DETACH as usize]);
        let _ = std::fs::remove_dir(&self.0);
    }
}
