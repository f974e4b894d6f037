//! Time used and events counted, for a thread, a process and its children.

use core::sync::atomic::{AtomicU64, Ordering};

use alloc::collections::BTreeMap;

use crate::sync::SpinLock;
use crate::system::Setting;

/// What `getrusage(2)` and `times(2)` report.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Rusage {
    /// Nanoseconds in user space.
    pub user_ns: u64,
    /// Nanoseconds in the kernel.
    pub system_ns: u64,
    /// Faults served without I/O.
    pub minor_faults: u64,
    /// Faults that needed I/O.
    pub major_faults: u64,
    /// Times it gave up the CPU by itself.
    pub voluntary_switches: u64,
    /// Times the CPU was taken from it.
    pub involuntary_switches: u64,
    /// The largest resident set, in KiB.
    pub max_rss_kib: u64,
    /// Bytes and calls of reads and writes.
    pub io: IoCounts,
}

/// What `/proc/<pid>/io` tells of calls.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct IoCounts {
    /// Bytes that calls read.
    pub read_bytes: u64,
    /// Bytes that calls wrote.
    pub written_bytes: u64,
    /// Calls that read, with or without success.
    pub reads: u64,
    /// Calls that write.
    pub writes: u64,
}

impl IoCounts {
    /// Adds up.
    pub fn add(&mut self, other: &IoCounts) {
        self.read_bytes += other.read_bytes;
        self.written_bytes += other.written_bytes;
        self.reads += other.reads;
        self.writes += other.writes;
    }
}

impl Rusage {
    /// Adds up; the resident set is the larger one.
    pub fn add(&mut self, other: &Rusage) {
        self.user_ns += other.user_ns;
        self.system_ns += other.system_ns;
        self.minor_faults += other.minor_faults;
        self.major_faults += other.major_faults;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.max_rss_kib = self.max_rss_kib.max(other.max_rss_kib);
        self.io.add(&other.io);
    }
}

/// A thread's counters. Written by the thread and the CPU it runs on, read by anybody.
#[derive(Default)]
pub struct ThreadUsage {
    /// Nanoseconds on a CPU, to the last switch.
    pub ran_ns: AtomicU64,
    /// Timer ticks that found it in user space, and in the kernel: they split `ran_ns`.
    pub user_ticks: AtomicU64,
    /// See `user_ticks`.
    pub system_ticks: AtomicU64,
    /// Nanoseconds in a run queue, waiting for a CPU, and how often it got one. Written under the run queue.
    pub waited_ns: AtomicU64,
    /// See `waited_ns`.
    pub runs: AtomicU64,
    /// User and system time as they were told last: neither may ever fall.
    told: SpinLock<(u64, u64)>,
    /// Faults served without I/O.
    pub minor_faults: AtomicU64,
    /// Faults that needed I/O.
    pub major_faults: AtomicU64,
    /// Times it slept.
    pub voluntary_switches: AtomicU64,
    /// Times it was preempted.
    pub involuntary_switches: AtomicU64,
    /// See [`IoCounts`]; these are written by the thread alone.
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
}

/// Adds to a counter that one thread alone writes.
#[inline]
fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}

impl ThreadUsage {
    /// It gets a CPU after having waited so long for it. Under the run queue.
    #[inline]
    pub fn count_run(&self, waited_ns: u64) {
        bump(&self.waited_ns, waited_ns);
        bump(&self.runs, 1);
    }

    /// The running thread's call read so many bytes.
    #[inline]
    pub fn count_read(&self, bytes: usize) {
        bump(&self.read_bytes, bytes as u64);
        bump(&self.reads, 1);
    }

    /// The running thread's call wrote so many bytes.
    #[inline]
    pub fn count_write(&self, bytes: usize) {
        bump(&self.written_bytes, bytes as u64);
        bump(&self.writes, 1);
    }

    /// The counts of reads and writes now.
    pub fn io(&self) -> IoCounts {
        IoCounts {
            read_bytes: self.read_bytes.load(Ordering::Relaxed),
            written_bytes: self.written_bytes.load(Ordering::Relaxed),
            reads: self.reads.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
        }
    }

    /// Splits a precise total by sampled ticks, as Linux does: without ticks of the kernel all is the user's, and what was
    /// told before does not fall.
    fn split(&self, total: u64, user_ticks: u64, system_ticks: u64) -> (u64, u64) {
        let mut told = self.told.lock();
        if told.0 + told.1 >= total {
            return *told;
        }
        let system = match (user_ticks, system_ticks) {
            (_, 0) => 0,
            (0, _) => total,
            (user, system) => {
                (u128::from(total) * u128::from(system) / u128::from(user + system)) as u64
            }
        };
        let system = system.max(told.1);
        let user = total.saturating_sub(system).max(told.0);
        *told = (user, total.saturating_sub(user).max(told.1));
        *told
    }

    /// The counters now; `running_ns` is what the present stay on the CPU adds.
    pub fn snapshot(&self, running_ns: u64) -> Rusage {
        let total = self.ran_ns.load(Ordering::Relaxed) + running_ns;
        let user = self.user_ticks.load(Ordering::Relaxed);
        let system = self.system_ticks.load(Ordering::Relaxed);
        let (user_ns, system_ns) = self.split(total, user, system);
        Rusage {
            user_ns,
            system_ns,
            minor_faults: self.minor_faults.load(Ordering::Relaxed),
            major_faults: self.major_faults.load(Ordering::Relaxed),
            voluntary_switches: self.voluntary_switches.load(Ordering::Relaxed),
            involuntary_switches: self.involuntary_switches.load(Ordering::Relaxed),
            max_rss_kib: 0,
            io: self.io(),
        }
    }
}

/// A process's sums.
#[derive(Default)]
pub struct ProcessUsage {
    /// Of threads that have exited.
    pub exited: SpinLock<Rusage>,
    /// Of children waited for, and theirs.
    pub children: SpinLock<Rusage>,
}

/// `kernel.threads-max`: how many threads there may be at once. What the machine's memory allows is set at boot.
pub static THREADS_MAX: Setting = Setting::new(usize::MAX, (1, 0x3fff_ffff));

/// Threads, alive or not yet waited for.
struct Threads {
    /// Of each user, for RLIMIT_NPROC.
    of: BTreeMap<u32, u64>,
    total: u64,
}

impl Threads {
    fn count(&mut self, uid: u32, added: bool) {
        let change = |count: u64| match added {
            true => count + 1,
            false => count.saturating_sub(1),
        };
        self.total = change(self.total);
        let count = self.of.entry(uid).or_insert(0);
        *count = change(*count);
        if *count == 0 {
            self.of.remove(&uid);
        }
    }
}

static THREADS: SpinLock<Threads> = SpinLock::new(Threads {
    of: BTreeMap::new(),
    total: 0,
});

/// A thread that is counted and yet to come; it is counted out again if it does not.
pub struct TaskSlot {
    uid: u32,
}

impl TaskSlot {
    /// Counts one more of the user's, zombies included; `None` at the limit, or at that of all threads. Looking and
    /// counting are one step, or two that fork at once would both take the last place.
    pub fn take(uid: u32, limit: u64) -> Option<TaskSlot> {
        let mut threads = THREADS.lock();
        let mine = threads.of.get(&uid).copied().unwrap_or(0);
        if mine >= limit || threads.total >= THREADS_MAX.get() as u64 {
            return None;
        }
        threads.count(uid, true);
        Some(TaskSlot { uid })
    }

    /// The thread has come.
    pub fn fill(self) {
        core::mem::forget(self);
    }
}

impl Drop for TaskSlot {
    fn drop(&mut self) {
        count_task(self.uid, false);
    }
}

/// Counts a thread in or out.
pub fn count_task(uid: u32, added: bool) {
    THREADS.lock().count(uid, added);
}

/// The calling thread became another user's.
pub fn moved_to_user(old: u32, new: u32) {
    count_task(old, false);
    count_task(new, true);
}

impl super::Process {
    /// What the whole process has used so far.
    pub fn rusage(&self) -> Rusage {
        let mut sum = *self.usage.exited.lock();
        let mut max_rss_kib = 0;
        for thread in self.threads() {
            sum.add(&thread.rusage());
            max_rss_kib = thread.mm().map_or(0, |mm| mm.max_rss_kib());
        }
        sum.max_rss_kib = sum.max_rss_kib.max(max_rss_kib);
        sum
    }
}

impl super::Task {
    /// What this thread has used so far, the present stay on a CPU included.
    pub fn rusage(&self) -> Rusage {
        self.usage.snapshot(crate::sched::running_ns(self))
    }

    /// Nanoseconds on a CPU.
    pub fn cpu_time_ns(&self) -> u64 {
        self.usage.ran_ns.load(Ordering::Relaxed) + crate::sched::running_ns(self)
    }
}
