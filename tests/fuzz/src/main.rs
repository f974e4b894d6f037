//! A seeded random fuzzer of the system call table.
//!
//! `syscall-fuzz [--seed N] [--seeds N] [--calls N] [--procs N]` makes that many random calls from that
//! many processes at a time, each process ending after its share or when it dies of a call; then the same with the next
//! seed, if there is to be more than one. Each seed's end is told, so that a run can go on where another ended, and what
//! its children ended with: few calls a child, and an end that most of them share, say that the run tests little. The kernel
//! may answer what it likes, but children die of expected signals only, and afterwards processes,
//! files and pipes still work and memory is as free as before. What is wrong is printed; a seed's last
//! line is `seed S: calls N, children K`, and the status is 0 if nothing is wrong.
//!
//! | module | what |
//! |---|---|
//! | [`child`] | makes the calls |
//! | [`ground`] | the file systems that they make them in |
//! | [`ipc`] | bounds System V objects and queues, and removes them |
//! | [`table`] | the calls and their arguments |
//! | [`random`] | random numbers |
//! | [`sys`] | raw calls |

mod child;
mod ground;
mod ipc;
mod random;
mod sys;
mod table;

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::fs;
use std::io::Write;
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use child::Child;
use ground::Ground;
use random::Random;
use sys::sys;

/// Calls of one child, if it lives that long.
const SHARE: u64 = 2000;
/// A child that makes no call for so long is stuck in one, or stopped by another, and is killed.
const STUCK: Duration = Duration::from_millis(500);
/// What a child may die of: faults, limits, and being killed.
const EXPECTED: [i32; 9] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGKILL,
    libc::SIGALRM,
    libc::SIGUSR1,
    libc::SIGPIPE,
    libc::SIGXFSZ,
    libc::SIGXCPU,
    libc::SIGSYS,
];
/// Further ones that timers and asynchronous files may send, and what becomes of a tracee with other registers.
const ALSO: [i32; 8] = [
    libc::SIGIO,
    libc::SIGPROF,
    libc::SIGVTALRM,
    40,
    libc::SIGHUP,
    libc::SIGTRAP,
    libc::SIGILL,
    libc::SIGFPE,
];
/// How much less memory may be free afterwards, for what the kernel keeps in caches.
const LEEWAY_KIB: u64 = 24 << 10;

struct Slot {
    pid: i32,
    seen: u64,
    since: Instant,
}

/// How many children ended with each status, as `wait4` tells it.
#[derive(Default)]
struct Ends(BTreeMap<i32, u64>);

impl Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (&status, count)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match libc::WIFSIGNALED(status) {
                true => write!(f, "{comma}signal {} {count}", libc::WTERMSIG(status))?,
                false => write!(f, "{comma}{} {count}", libc::WEXITSTATUS(status))?,
            }
        }
        Ok(())
    }
}

fn main() {
    let first = option("--seed", 1);
    let calls = option("--calls", 100_000);
    let procs = option("--procs", 4).clamp(1, 64);
    sys(libc::SYS_prctl, &[libc::PR_SET_CHILD_SUBREAPER as usize, 1]);
    let mut wrong = false;
    for seed in first..first.saturating_add(option("--seeds", 1)) {
        wrong |= one_seed(seed, calls, procs);
    }
    exit(i32::from(wrong));
}

/// Whether something is wrong.
fn one_seed(seed: u64, calls: u64, procs: u64) -> bool {
    let mut problems = Vec::new();
    let root = format!("/tmp/syscall-fuzz-{}", std::process::id());
    let mut ground = Ground::new(&root);
    // Once for the kernel to set up what it keeps.
    still_works(&mut problems);
    let bounds = ipc::Bounds::set();
    let before = free_kib();
    let start = Instant::now();
    let mut ends = Ends::default();
    let (made, children) = run(seed, calls, procs, &mut ground, &mut ends, &mut problems);
    ipc::clear(&root);
    drop(bounds);
    drop(ground);
    still_works(&mut problems);
    check_memory(before, &mut problems);
    for problem in &problems {
        println!("wrong: {problem}");
    }
    println!("seed {seed}: ended with {ends}");
    let rate = made as f64 / start.elapsed().as_secs_f64();
    println!("seed {seed}: calls {made}, children {children}, {rate:.0} calls a second");
    let _ = std::io::stdout().flush();
    !problems.is_empty()
}

fn option(name: &str, default: u64) -> u64 {
    let mut args = std::env::args().skip_while(|arg| arg != name).skip(1);
    match args.next().map(|value| value.parse()) {
        None => default,
        Some(Ok(value)) => value,
        Some(Err(_)) => {
            eprintln!("{name} takes a number");
            exit(2);
        }
    }
}

fn run(
    seed: u64,
    calls: u64,
    procs: u64,
    ground: &mut Ground,
    ends: &mut Ends,
    problems: &mut Vec<String>,
) -> (u64, u64) {
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_SHARED | libc::MAP_ANONYMOUS) as usize;
    let page = sys(libc::SYS_mmap, &[0, 4096, prot, flags, usize::MAX, 0]);
    if page < 0 {
        problems.push("no shared memory".to_owned());
        return (0, 0);
    }
    // SAFETY: the page was just mapped, stays, and is used as counters only.
    let counts = unsafe { &*(page as *const [AtomicU64; 64]) };
    let mut slots: Vec<Option<Slot>> = (0..procs).map(|_| None).collect();
    // Groups of children that have ended, which their own children may still be in.
    let mut orphans = Vec::new();
    let (mut made, mut children, mut told) = (0, 0, 0);
    loop {
        let mut idle = true;
        for (slot, count) in slots.iter_mut().zip(counts) {
            let over = slot
                .as_mut()
                .is_some_and(|child| ended(child, count, &mut orphans, ends, problems));
            if over {
                // A wild write to the counter must not count.
                made += count.load(Ordering::SeqCst).min(SHARE);
                *slot = None;
            }
            if slot.is_none() && made < calls {
                let share = SHARE.min(calls - made);
                count.store(0, Ordering::SeqCst);
                let folder = ground.of_child(children);
                *slot = start(Random::new(seed, children), count, share, &folder);
                children += 1;
                idle = false;
            }
        }
        orphans.retain(|&group| !reap(-group));
        if made / 50_000 > told {
            told = made / 50_000;
            println!("seed {seed}: {made} calls, {children} children");
            let _ = std::io::stdout().flush();
        }
        // Some have left their group.
        if made >= calls && slots.iter().all(Option::is_none) && orphans.is_empty() && reap(-1) {
            return (made, children);
        }
        if idle {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn start(random: Random, count: &AtomicU64, share: u64, folder: &str) -> Option<Slot> {
    // SAFETY: the program has a single thread.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        sys(libc::SYS_setpgid, &[0, 0]);
        let _ = std::env::set_current_dir(folder);
        for fd in 0..3 {
            sys(libc::SYS_close, &[fd]);
        }
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGPIPE] {
            // SAFETY: the default action; the runtime's handlers go.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Child::new(random, count).run(share);
    }
    (pid > 0).then(|| Slot {
        pid,
        seen: 0,
        since: Instant::now(),
    })
}

/// Whether a child has ended; one that is stuck or stopped is killed.
fn ended(
    child: &mut Slot,
    count: &AtomicU64,
    orphans: &mut Vec<i32>,
    ends: &mut Ends,
    problems: &mut Vec<String>,
) -> bool {
    let mut status = 0_i32;
    let options = (libc::WNOHANG | libc::__WALL) as usize;
    let got = sys(
        libc::SYS_wait4,
        &[child.pid as usize, &raw mut status as usize, options],
    );
    if got == child.pid as isize && !libc::WIFSTOPPED(std::hint::black_box(status)) {
        sys(
            libc::SYS_kill,
            &[-child.pid as usize, libc::SIGKILL as usize],
        );
        // What it started is now the fuzzer's.
        orphans.push(child.pid);
        *ends.0.entry(status).or_default() += 1;
        let signal = libc::WTERMSIG(status);
        if libc::WIFSIGNALED(status) && !EXPECTED.contains(&signal) && !ALSO.contains(&signal) {
            problems.push(format!("child {} died of signal {signal}", child.pid));
        }
        return true;
    }
    if got < 0 {
        problems.push(format!("child {} is lost: {got}", child.pid));
        return true;
    }
    let now = count.load(Ordering::Relaxed);
    if now != child.seen {
        (child.seen, child.since) = (now, Instant::now());
    } else if child.since.elapsed() > STUCK {
        sys(
            libc::SYS_kill,
            &[child.pid as usize, libc::SIGKILL as usize],
        );
        child.since = Instant::now();
    }
    false
}

/// Takes what has ended of `which`, as `wait4` has it; says whether nothing is left of it.
fn reap(which: i32) -> bool {
    let options = (libc::WNOHANG | libc::__WALL) as usize;
    loop {
        match sys(libc::SYS_wait4, &[which as usize, 0, options]) {
            0 => return false,
            got if got < 0 => return true,
            _ => {}
        }
    }
}

/// Processes, files and pipes work.
fn still_works(problems: &mut Vec<String>) {
    // SAFETY: the program has a single thread.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        sys(libc::SYS_exit_group, &[7]);
    }
    let mut status = 0_i32;
    let got = sys(
        libc::SYS_wait4,
        &[pid as usize, &raw mut status as usize, 0],
    );
    if got != pid as isize || std::hint::black_box(status) != 7 << 8 {
        problems.push(format!("fork and wait: {pid} {got} {status}"));
    }
    let path = format!("/tmp/syscall-fuzz-file-{}", std::process::id());
    let text = "still there".repeat(1000);
    let read = fs::write(&path, &text).and_then(|()| fs::read_to_string(&path));
    if !read.is_ok_and(|read| read == text) {
        problems.push("a file cannot be written and read".to_owned());
    }
    let _ = fs::remove_file(&path);
    let mut ends = [0_i32; 2];
    let mut bytes = [0_u8; 5];
    sys(libc::SYS_pipe2, &[ends.as_mut_ptr() as usize, 0]);
    let ends = std::hint::black_box(ends);
    sys(
        libc::SYS_write,
        &[ends[1] as usize, c"hello".as_ptr() as usize, 5],
    );
    sys(
        libc::SYS_read,
        &[ends[0] as usize, bytes.as_mut_ptr() as usize, 5],
    );
    if std::hint::black_box(bytes) != *b"hello" {
        problems.push("a pipe cannot be written and read".to_owned());
    }
    for end in ends {
        sys(libc::SYS_close, &[end as usize]);
    }
}

/// Memory that can be had.
fn free_kib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn check_memory(before: Option<u64>, problems: &mut Vec<String>) {
    let Some(before) = before else {
        problems.push("/proc/meminfo does not tell the free memory".to_owned());
        return;
    };
    // What ended processes had may come back late.
    for _ in 0..50 {
        if free_kib().is_some_and(|now| now + LEEWAY_KIB >= before) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let now = free_kib().unwrap_or(0);
    problems.push(format!("{before} KiB were free, and now {now} KiB are"));
}
