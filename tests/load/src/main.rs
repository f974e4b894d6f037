//! A process in which many threads use futexes, signals, timers, pipes, memory and forks at the same time, for a given
//! time. Each worker keeps its own books; at the end they must balance: no wake-up, signal, expiry, byte, child or write
//! may be lost, and none may come twice.
//!
//! `thread-load [SECONDS]` prints what each worker has done and exits with 0 if all books balance.
//!
//! | module | what is under load |
//! |---|---|
//! | [`locks`] | mutexes and condition variables, plain and with priority inheritance |
//! | [`signals`] | queued signals to the process and to threads, POSIX timers |
//! | [`processes`] | fork, wait, exit, stop and continue, the making of threads |
//! | [`memory`] | the memory map, pipes and polling |

mod locks;
mod memory;
mod processes;
mod signals;

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long it runs unless told otherwise.
const DEFAULT_SECONDS: u64 = 20;
/// How often it says that it lives.
const NEWS: Duration = Duration::from_secs(5);

static OVER: AtomicBool = AtomicBool::new(false);

/// Whether the time is over: workers finish what they began and leave.
pub fn is_over() -> bool {
    OVER.load(Ordering::SeqCst)
}

/// What a worker has done, or what does not balance.
pub type Books = Result<String, String>;

/// The books balance if both are equal.
pub fn balanced(what: &str, got: u64, want: u64) -> Books {
    if got == want {
        Ok(format!("{got} {what}"))
    } else {
        Err(format!("{got} {what}, but {want} are expected"))
    }
}

/// A worker's name and what it does until the time is over.
type Worker = (&'static str, fn() -> Books);

const WORKERS: &[Worker] = &[
    ("mutex", locks::mutex),
    ("pi mutex", locks::pi_mutex),
    ("condition", locks::condition),
    ("ping-pong", locks::ping_pong),
    ("signals", signals::to_the_process),
    ("thread signals", signals::to_threads),
    ("timers", signals::timers),
    ("forks", processes::forks),
    ("vforks", processes::vforks),
    ("threads", processes::threads),
    ("stops", processes::stops),
    ("maps", memory::maps),
    ("copies", memory::copies),
    ("pipes", memory::pipes),
];

fn main() {
    let seconds = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(DEFAULT_SECONDS);
    signals::prepare();
    let start = Instant::now();
    let workers: Vec<_> = WORKERS
        .iter()
        .map(|&(name, work)| (name, thread::spawn(work)))
        .collect();
    let end = start + Duration::from_secs(seconds);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        thread::sleep(left.min(NEWS));
        println!("{} s", start.elapsed().as_secs());
    }
    OVER.store(true, Ordering::SeqCst);
    let mut failed = 0;
    for (name, worker) in workers {
        match worker.join() {
            Ok(Ok(done)) => println!("{name}: {done}"),
            Ok(Err(problem)) => {
                failed += 1;
                println!("{name}: FAILED: {problem}");
            }
            Err(_) => {
                failed += 1;
                println!("{name}: FAILED: it panicked");
            }
        }
    }
    println!("{failed} of {} do not balance", WORKERS.len());
    process::exit(i32::from(failed > 0));
}
