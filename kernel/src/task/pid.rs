//! Process and thread numbers, and finding their bearers.

use alloc::collections::btree_map::{self, BTreeMap};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::{Errno, Result};

use super::process::Process;
use super::task::Task;
use crate::sync::IrqSpinLock;

/// A process, thread, group or session number. Valid ones are positive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Pid(pub i32);

impl Pid {
    /// No process: what the parent of init is called.
    pub const NONE: Pid = Pid(0);
    /// The first process.
    pub const INIT: Pid = Pid(1);
}

impl core::fmt::Display for Pid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// The default of `/proc/sys/kernel/pid_max`.
pub const PID_MAX_DEFAULT: i32 = 32768;
/// Numbers below this are not given again after a wrap, as on Linux.
const RESERVED: i32 = 300;

/// What stands under a number.
#[derive(Default)]
struct Entry {
    /// The thread with this tid; gone once the task is dropped.
    task: Option<Weak<Task>>,
    /// The process with this pid, from its making until it is reaped.
    process: Option<Arc<Process>>,
    /// Processes of the group and of the session with this number: the number stays taken while there are any.
    group_members: u32,
    session_members: u32,
}

impl Entry {
    fn is_free(&self) -> bool {
        self.task.is_none()
            && self.process.is_none()
            && self.group_members == 0
            && self.session_members == 0
    }
}

/// # Invariants
/// A number has an entry exactly while something bears it.
struct Table {
    entries: BTreeMap<i32, Entry>,
    last: i32,
    max: i32,
}

/// With interrupts off: an expired timer may drop the last reference to a task in an interrupt handler.
static TABLE: IrqSpinLock<Table> = IrqSpinLock::new(Table {
    entries: BTreeMap::new(),
    last: 0,
    max: PID_MAX_DEFAULT,
});

/// Takes the next free number. It stays taken until [`release`] and all other uses have ended.
///
/// # Errors
/// `EAGAIN` when all are in use.
pub fn allocate() -> Result<Pid> {
    let mut table = TABLE.lock();
    let start = table.last;
    let mut candidate = start;
    loop {
        candidate += 1;
        if candidate >= table.max {
            candidate = if start >= RESERVED { RESERVED } else { 1 };
        }
        if candidate == start {
            return Err(Errno::EAGAIN);
        }
        if let btree_map::Entry::Vacant(place) = table.entries.entry(candidate) {
            place.insert(Entry {
                task: Some(Weak::new()),
                ..Entry::default()
            });
            table.last = candidate;
            return Ok(Pid(candidate));
        }
    }
}

/// Names the thread of a number.
pub fn publish_task(task: &Arc<Task>) {
    if let Some(entry) = TABLE.lock().entries.get_mut(&task.tid().0) {
        entry.task = Some(Arc::downgrade(task));
    }
}

/// The only thread left of a process takes the leader's number, and gives its own back (exec by another thread).
pub fn take_leadership(me: &crate::sync::CurrentTask) {
    let (old, leader) = (me.tid(), me.process.pid);
    if old == leader {
        return;
    }
    super::ptrace::forget_leader(&me.process);
    let task = crate::sync::current_arc();
    *me.process.leader.lock() = Arc::downgrade(&task);
    let mut table = TABLE.lock();
    if let Some(entry) = table.entries.get_mut(&leader.0) {
        entry.task = Some(Arc::downgrade(&task));
    }
    task.set_tid(leader);
    if let Some(entry) = table.entries.get_mut(&old.0) {
        entry.task = None;
    }
    free_if_unused(&mut table, old);
}

/// Names the process of a number.
pub fn publish_process(process: &Arc<Process>) {
    let mut table = TABLE.lock();
    table.entries.entry(process.pid.0).or_default().process = Some(process.clone());
}

/// The thread is gone: from now on the number does not name it.
pub fn unpublish_task(tid: Pid) {
    if let Some(entry) = TABLE.lock().entries.get_mut(&tid.0) {
        entry.task = Some(Weak::new());
    }
}

/// The process was reaped.
pub fn unpublish_process(pid: Pid) {
    let mut table = TABLE.lock();
    let process = table
        .entries
        .get_mut(&pid.0)
        .and_then(|entry| entry.process.take());
    free_if_unused(&mut table, pid);
    drop(table);
    drop(process);
}

/// The task structure is gone, and its number with it unless something else bears it.
pub fn release(tid: Pid) {
    let mut table = TABLE.lock();
    // After an exec by another thread the number names that one.
    if let Some(entry) = table.entries.get_mut(&tid.0)
        && entry
            .task
            .as_ref()
            .is_some_and(|task| task.strong_count() == 0)
    {
        entry.task = None;
    }
    free_if_unused(&mut table, tid);
}

/// Counts a process in or out of the group with this number.
pub fn count_group(pgid: Pid, joined: bool) {
    count(pgid, joined, |entry| &mut entry.group_members);
}

/// Counts a process in or out of the session with this number.
pub fn count_session(sid: Pid, joined: bool) {
    count(sid, joined, |entry| &mut entry.session_members);
}

fn count(pid: Pid, joined: bool, field: impl Fn(&mut Entry) -> &mut u32) {
    let mut table = TABLE.lock();
    let counter = field(table.entries.entry(pid.0).or_default());
    *counter = if joined {
        *counter + 1
    } else {
        counter.saturating_sub(1)
    };
    free_if_unused(&mut table, pid);
}

fn free_if_unused(table: &mut Table, pid: Pid) {
    if table.entries.get(&pid.0).is_some_and(Entry::is_free) {
        table.entries.remove(&pid.0);
    }
}

/// The thread with this number.
pub fn find_task(tid: Pid) -> Option<Arc<Task>> {
    TABLE.lock().entries.get(&tid.0)?.task.as_ref()?.upgrade()
}

/// The process with this number, zombies included.
pub fn find_process(pid: Pid) -> Option<Arc<Process>> {
    TABLE.lock().entries.get(&pid.0)?.process.clone()
}

/// The process with the smallest number not below `from`, zombies included: a walk that needs no lock between steps.
pub fn next_process(from: Pid) -> Option<Arc<Process>> {
    TABLE
        .lock()
        .entries
        .range(from.0..)
        .find_map(|(_, entry)| entry.process.clone())
}

/// Calls `f` for every process, zombies included, in the order of their numbers, with no lock held.
pub fn for_each_process(mut f: impl FnMut(&Arc<Process>)) {
    let mut from = Pid(0);
    while let Some(process) = next_process(from) {
        from = Pid(process.pid.0 + 1);
        f(&process);
    }
}

/// Calls `f` for every thread, with no lock held.
pub fn for_each_task(mut f: impl FnMut(&Arc<Task>)) {
    let tasks: Vec<Arc<Task>> = TABLE
        .lock()
        .entries
        .values()
        .filter_map(|entry| entry.task.as_ref()?.upgrade())
        .collect();
    tasks.iter().for_each(&mut f);
}

/// `/proc/sys/kernel/pid_max`.
pub fn max() -> i32 {
    TABLE.lock().max
}

/// Sets `/proc/sys/kernel/pid_max`.
///
/// # Errors
/// `EINVAL` outside 301..=4194304.
pub fn set_max(value: i32) -> Result<()> {
    if !(RESERVED + 1..=4 << 20).contains(&value) {
        return Err(Errno::EINVAL);
    }
    TABLE.lock().max = value;
    Ok(())
}

/// The number given last, for `/proc/loadavg`.
pub fn last() -> Pid {
    Pid(TABLE.lock().last)
}
