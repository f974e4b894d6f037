//! What is due at a time: connections that must send again, and the end of those that wait for theirs. One kernel thread
//! sees to it, which the first deadline starts.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::connection::Connection;
use super::table::{self, Key, Kicks};
use crate::sched;
use crate::sync::{Mutex, WaitQueue};
use crate::time;

enum Due {
    Run(Weak<Connection>),
    Forget(Key),
}

struct Deadlines {
    /// By time, and a number that tells those of one time apart.
    due: BTreeMap<(u64, u64), Due>,
    next: u64,
}

static DEADLINES: Mutex<Deadlines> = Mutex::new(Deadlines {
    due: BTreeMap::new(),
    next: 0,
});
/// The first deadline, for the thread that sleeps until then.
static FIRST_NS: AtomicU64 = AtomicU64::new(u64::MAX);
static SLEEPER: WaitQueue = WaitQueue::new();

fn add(at_ns: u64, due: Due) {
    static STARTED: AtomicBool = AtomicBool::new(false);
    let mut deadlines = DEADLINES.lock();
    let number = deadlines.next;
    deadlines.next += 1;
    deadlines.due.insert((at_ns, number), due);
    let is_first = at_ns < FIRST_NS.load(Ordering::SeqCst);
    if is_first {
        FIRST_NS.store(at_ns, Ordering::SeqCst);
    }
    drop(deadlines);
    if !STARTED.swap(true, Ordering::SeqCst)
        && let Err(error) = sched::spawn_kernel_thread("tcp", watch)
    {
        log::error!("no thread for the deadlines of TCP: {error:?}");
        STARTED.store(false, Ordering::SeqCst);
    }
    if is_first {
        SLEEPER.wake_all();
    }
}

/// Runs the connection at that time.
pub fn run_at(at_ns: u64, connection: &Arc<Connection>) {
    add(at_ns, Due::Run(Arc::downgrade(connection)));
}

/// Forgets what waits out its end under that key at that time.
pub fn forget_at(at_ns: u64, key: Key) {
    add(at_ns, Due::Forget(key));
}

/// Takes what is due, and sets when to look again.
fn take_due(now: u64) -> Vec<Due> {
    let mut deadlines = DEADLINES.lock();
    let later = deadlines.due.split_off(&(now.saturating_add(1), 0));
    let due = core::mem::replace(&mut deadlines.due, later);
    let first = deadlines.due.keys().next();
    FIRST_NS.store(first.map_or(u64::MAX, |key| key.0), Ordering::SeqCst);
    due.into_values().collect()
}

fn watch() {
    loop {
        let now = time::monotonic_ns();
        for due in take_due(now) {
            match due {
                Due::Run(connection) => {
                    if let Some(connection) = connection.upgrade() {
                        let mut kicks = Kicks::default();
                        connection.expire(&mut kicks);
                        kicks.run();
                    }
                }
                Due::Forget(key) => table::forget(&key, now),
            }
        }
        let first = FIRST_NS.load(Ordering::SeqCst);
        let earlier = || (FIRST_NS.load(Ordering::SeqCst) < first).then_some(());
        let deadline = (first != u64::MAX).then_some(first);
        // Kernel threads get no signals: the wait ends by the time or by a new deadline.
        let _ = SLEEPER.wait_until_deadline(deadline, earlier);
    }
}
