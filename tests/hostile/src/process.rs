//! Forks without end, signals without end, processes that ignore everything.

use std::time::{Duration, Instant};

use crate::sys::{self, call};
use crate::{Outcome, ensure, expect, shell_answers};

const USER: usize = 7001;
const MOST: u64 = 60;
const EAGAIN: isize = -(libc::EAGAIN as isize);

/// Every process of a user forks as fast as it can, against a limit of 60. Each forks until it is refused with EAGAIN, and
/// goes on trying.
pub fn fork_bomb() -> Outcome {
    let mut ends = [0_i32; 2];
    call(libc::SYS_pipe2, &[ends.as_mut_ptr() as usize, 0]);
    let [from, to] = std::hint::black_box(ends);
    let first = sys::child(|| {
        sys::limit(libc::RLIMIT_NPROC as i32, MOST, MOST);
        call(libc::SYS_setsid, &[]);
        sys::become_user(USER);
        bomb(to)
    });
    call(libc::SYS_close, &[to as usize]);
    // The first word comes when the limit is reached.
    let mut answer = [0_u8; 8];
    let got = call(
        libc::SYS_read,
        &[from as usize, answer.as_mut_ptr() as usize, 8],
    );
    let during = shell_answers();
    let count = processes_of(USER);
    let killer = sys::in_child(|| {
        sys::become_user(USER);
        // The bomb's places are all taken by now: what is killed has gone before the next can fork.
        while sys::kill(-1, libc::SIGKILL) == 0 && processes_of(USER) > 1 {}
        0
    });
    sys::wait(first);
    call(libc::SYS_close, &[from as usize]);
    expect("the bomb's word", got, 8)?;
    let errno = isize::from_le_bytes(std::hint::black_box(answer));
    expect("fork at the limit", errno, EAGAIN)?;
    ensure((2..=MOST as usize).contains(&count), || {
        format!("{count} processes where {MOST} are allowed")
    })?;
    expect("the killer", killer as isize, 0)?;
    gone(USER)?;
    during
}

fn bomb(to: i32) -> ! {
    loop {
        let answer = sys::fork();
        if answer < 0 {
            let bytes = answer.to_le_bytes();
            call(libc::SYS_write, &[to as usize, bytes.as_ptr() as usize, 8]);
            call(libc::SYS_sched_yield, &[]);
        }
    }
}

/// Processes that belong to a user, zombies left out.
fn processes_of(user: usize) -> usize {
    let Ok(folder) = std::fs::read_dir("/proc") else {
        return 0;
    };
    let is_theirs = |status: String| {
        let line = |name: &str| status.lines().find(|line| line.starts_with(name));
        let uid = line("Uid:").and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        let zombie = line("State:").is_some_and(|line| line.contains('Z'));
        uid == Some(user) && !zombie
    };
    // Not `self` and `thread-self`, which would count the caller again.
    let is_number = |name: &std::ffi::OsStr| name.as_encoded_bytes()[0].is_ascii_digit();
    folder
        .flatten()
        .filter(|entry| is_number(&entry.file_name()))
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("status")).ok())
        .filter(|status| is_theirs(status.clone()))
        .count()
}

fn gone(user: usize) -> Outcome {
    let until = Instant::now() + Duration::from_secs(20);
    while processes_of(user) > 0 {
        ensure(Instant::now() < until, || {
            "processes outlive SIGKILL".to_owned()
        })?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A hundred thousand signals are sent to who blocks them: as many as RLIMIT_SIGPENDING says are kept, then EAGAIN; with a
/// higher limit all are, and their memory comes back.
pub fn signals() -> Outcome {
    let status = sys::in_child(|| i32::from(queue(1000) != Ok(1000)));
    expect("a limit of 1000", status as isize, 0)?;
    let status = sys::in_child(|| i32::from(queue(100_000) != Ok(100_000)));
    expect("a limit of 100000", status as isize, 0)?;
    // Without a place in the queue kill() still works: the signal is pending, its information lost.
    let status = sys::in_child(|| {
        let full = queue(0);
        let me = call(libc::SYS_getpid, &[]);
        let sent = sys::kill(me, libc::SIGUSR1);
        let mut pending = 0_u64;
        call(libc::SYS_rt_sigpending, &[&raw mut pending as usize, 8]);
        let there = std::hint::black_box(pending) & 1 << (libc::SIGUSR1 - 1) != 0;
        i32::from(full != Ok(0) || sent != 0 || !there)
    });
    expect("kill() with a full queue", status as isize, 0)?;
    shell_answers()
}

/// How many are queued before EAGAIN, or another error.
fn queue(most: u64) -> Result<u64, isize> {
    sys::block_all();
    // A user nobody else is: the limit is of all that the user has pending.
    sys::limit(libc::RLIMIT_SIGPENDING as i32, most, most);
    sys::become_user(USER + 1);
    let me = call(libc::SYS_getpid, &[]) as usize;
    let mut info = [0_i32; 32];
    info[2] = libc::SI_QUEUE;
    let signal = 40;
    for sent in 0..=100_000 {
        info[0] = signal;
        let place = info.as_ptr() as usize;
        let answer = call(libc::SYS_rt_sigqueueinfo, &[me, signal as usize, place]);
        match answer {
            0 if sent == 100_000 => return Err(0),
            0 => {}
            EAGAIN => return Ok(sent),
            error => return Err(error),
        }
    }
    Err(1)
}

/// Thirty processes that block and ignore all they can, some asleep, some busy: SIGTERM leaves them, SIGSTOP stops one,
/// SIGKILL ends them.
pub fn deaf() -> Outcome {
    let pids: Vec<isize> = (0..30)
        .map(|number| {
            sys::child(move || {
                let ignore = [1_usize, 0, 0, 0];
                for signal in 1..=64 {
                    call(
                        libc::SYS_rt_sigaction,
                        &[signal, ignore.as_ptr() as usize, 0, 8],
                    );
                }
                sys::block_all();
                loop {
                    if number % 3 == 0 {
                        call(libc::SYS_pause, &[]);
                    } else if number % 3 == 1 {
                        call(libc::SYS_sched_yield, &[]);
                    }
                }
            })
        })
        .collect();
    let during = shell_answers();
    for pid in &pids {
        sys::kill(*pid, libc::SIGTERM);
    }
    std::thread::sleep(Duration::from_millis(200));
    let mut status = 0_i32;
    let any = usize::MAX;
    let options = libc::WNOHANG as usize;
    let ended = call(
        libc::SYS_wait4,
        &[any, &raw mut status as usize, options, 0],
    );
    sys::kill(pids[0], libc::SIGSTOP);
    let options = libc::WUNTRACED as usize;
    let place = &raw mut status as usize;
    let stopped = call(libc::SYS_wait4, &[pids[0] as usize, place, options, 0]);
    let stop_status = std::hint::black_box(status);
    let mut killed = 0;
    for pid in &pids {
        sys::kill(*pid, libc::SIGKILL);
        killed += usize::from(sys::wait(*pid) == libc::SIGKILL);
    }
    expect("SIGTERM", ended, 0)?;
    expect("SIGSTOP", stopped, pids[0])?;
    expect("its status", stop_status as isize, 0x137f)?;
    expect("killed", killed as isize, pids.len() as isize)?;
    during
}
