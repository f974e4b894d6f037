//! Queued signals and timers: each that is sent is caught, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Books, balanced, is_over};

const TO_PROCESS: i32 = 40;
const TO_THREAD: i32 = 41;
const OF_TIMER: i32 = 42;

static CAUGHT: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
/// The sum of the values that came along.
static SUMS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
/// Expiries of timers for which there was no signal of their own.
static OVERRUNS: AtomicU64 = AtomicU64::new(0);

extern "C" fn note(signal: i32, info: *const libc::siginfo_t, _context: usize) {
    let index = (signal - TO_PROCESS) as usize;
    // SAFETY: the kernel hands in what it knows; value and overrun have these places in it.
    let (value, overrun) = unsafe {
        (
            (*info).si_value().sival_ptr as u64,
            info.cast::<i32>().add(5).read(),
        )
    };
    if let (Some(caught), Some(sum)) = (CAUGHT.get(index), SUMS.get(index)) {
        caught.fetch_add(1, Ordering::SeqCst);
        sum.fetch_add(value, Ordering::SeqCst);
    }
    if signal == OF_TIMER {
        OVERRUNS.fetch_add(u64::try_from(overrun).unwrap_or(0), Ordering::SeqCst);
    }
}

/// Installs the handlers, before there are threads.
pub fn prepare() {
    for signal in [TO_PROCESS, TO_THREAD, OF_TIMER] {
        // SAFETY: plain data of which all zeroes is a value.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        let handler = note as extern "C" fn(i32, *const libc::siginfo_t, usize);
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        // SAFETY: the action is whole, and the handler touches only atomics.
        unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    }
}

/// What `sigqueue` sends along.
fn queued(signal: i32, value: u64) -> libc::siginfo_t {
    // SAFETY: plain data of which all zeroes is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    info.si_signo = signal;
    info.si_code = libc::SI_QUEUE;
    // SAFETY: the value's place in a siginfo of that code.
    unsafe { (&raw mut info).cast::<u64>().add(3).write(value) };
    info
}

/// Waits until as many were caught as were sent: a lost one would keep this for ever, and the caller's limit ends it.
fn await_caught(index: usize, sent: u64) {
    let end = Instant::now() + Duration::from_secs(20);
    while CAUGHT[index].load(Ordering::SeqCst) < sent && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
}

fn settle(index: usize, sent: u64, sum: u64) -> Books {
    await_caught(index, sent);
    balanced(
        "in the sum of values",
        SUMS[index].load(Ordering::SeqCst),
        sum,
    )?;
    balanced("signals", CAUGHT[index].load(Ordering::SeqCst), sent)
}

/// Signals to the process: any thread may take them.
pub fn to_the_process() -> Books {
    let (mut sent, mut sum) = (0, 0);
    while !is_over() {
        let info = queued(TO_PROCESS, sent);
        // SAFETY: sends to this process what it has a handler for.
        let answer =
            unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, libc::getpid(), TO_PROCESS, &info) };
        if answer == 0 {
            sum += sent;
            sent += 1;
        }
        if u64::is_multiple_of(sent, 64) {
            await_caught(0, sent.saturating_sub(256));
        }
    }
    settle(0, sent, sum)
}

/// Signals to certain threads, which do other things.
pub fn to_threads() -> Books {
    const THREADS: usize = 3;
    let tids: Arc<[AtomicI32; THREADS]> = Arc::new([const { AtomicI32::new(0) }; THREADS]);
    let stop = Arc::new(AtomicI32::new(0));
    let targets: Vec<_> = (0..THREADS)
        .map(|index| {
            let (tids, stop) = (tids.clone(), stop.clone());
            thread::spawn(move || {
                // SAFETY: takes no arguments.
                let tid = unsafe { libc::syscall(libc::SYS_gettid) } as i32;
                tids[index].store(tid, Ordering::SeqCst);
                while stop.load(Ordering::SeqCst) == 0 {
                    match index {
                        0 => thread::sleep(Duration::from_millis(1)),
                        1 => thread::yield_now(),
                        _ => std::hint::spin_loop(),
                    }
                }
            })
        })
        .collect();
    while tids.iter().any(|tid| tid.load(Ordering::SeqCst) == 0) {
        thread::yield_now();
    }
    let (mut sent, mut sum) = (0, 0);
    while !is_over() {
        let tid = tids[sent as usize % THREADS].load(Ordering::SeqCst);
        let info = queued(TO_THREAD, sent);
        // SAFETY: sends to a thread of this process what it has a handler for.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_rt_tgsigqueueinfo,
                libc::getpid(),
                tid,
                TO_THREAD,
                &info,
            )
        };
        if answer == 0 {
            sum += sent;
            sent += 1;
        }
        if u64::is_multiple_of(sent, 64) {
            await_caught(1, sent.saturating_sub(256));
        }
    }
    await_caught(1, sent);
    stop.store(1, Ordering::SeqCst);
    for target in targets {
        target.join().map_err(|_| "a thread panics".to_owned())?;
    }
    settle(1, sent, sum)
}

/// Periodic timers: signals and overruns together are the periods that have passed.
pub fn timers() -> Books {
    const TIMERS: u64 = 4;
    const PERIOD_NS: i64 = 4_000_000;
    /// By so many periods the books may be behind the clock, ten of each timer: the signals that are on their way.
    const SLACK: u64 = TIMERS * 10;
    let mut ids = Vec::new();
    // Each was set between these two moments, which may be far from each other: the thread may have had to wait between.
    let mut set_after = Vec::new();
    let mut set_before = Vec::new();
    let period = libc::timespec {
        tv_sec: 0,
        tv_nsec: PERIOD_NS,
    };
    let setting = libc::itimerspec {
        it_interval: period,
        it_value: period,
    };
    for _ in 0..TIMERS {
        // SAFETY: plain data of which all zeroes is a value.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = OF_TIMER;
        let mut id = 0_i32;
        set_after.push(Instant::now());
        // SAFETY: all of these live as long as the calls.
        let made = unsafe {
            libc::syscall(
                libc::SYS_timer_create,
                libc::CLOCK_MONOTONIC,
                &mut event,
                &mut id,
            ) == 0
                && libc::syscall(libc::SYS_timer_settime, id, 0, &setting, 0) == 0
        };
        set_before.push(Instant::now());
        if !made {
            return Err("a timer cannot be made".to_owned());
        }
        ids.push(id);
    }
    while !is_over() {
        thread::sleep(Duration::from_millis(50));
    }
    let counted = || CAUGHT[2].load(Ordering::SeqCst) + OVERRUNS.load(Ordering::SeqCst);
    let passed = |since: &[Instant]| -> u64 {
        let periods = |start: &Instant| start.elapsed().as_nanos() as u64 / PERIOD_NS as u64;
        since.iter().map(periods).sum()
    };
    // Those of the last moment may be on their way; what is lost stays so.
    let deadline = Instant::now() + Duration::from_secs(5);
    while counted() + SLACK < passed(&set_before) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    // More cannot have come than have passed after the count, and no fewer, but for the slack, than before it.
    let least = passed(&set_before).saturating_sub(SLACK);
    let counted = counted();
    let most = passed(&set_after);
    ids.iter().for_each(|id| {
        // SAFETY: deletes what was made above.
        unsafe { libc::syscall(libc::SYS_timer_delete, *id) };
    });
    match (least..=most).contains(&counted) {
        true => Ok(format!("{counted} expiries of {least} to {most}")),
        false => Err(format!("{counted} expiries, not {least} to {most}")),
    }
}
