//! Parents and children, process groups and sessions.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::{Errno, Result};

use super::pid::{self, Pid};
use super::process::{Life, Process};
use crate::sync::{SpinGuard, SpinLock};
use crate::tty::Tty;

/// A process group: the processes of one job.
pub struct ProcessGroup {
    /// Its number.
    pub id: Pid,
    /// Its session, for good.
    pub session: Arc<Session>,
    members: SpinLock<Vec<Weak<Process>>>,
}

/// A session: the jobs of one login.
pub struct Session {
    /// Its number, that of the process which made it.
    pub id: Pid,
    terminal: SpinLock<Terminal>,
}

/// What a session has of controlling terminals.
#[derive(Default)]
struct Terminal {
    tty: Option<Arc<Tty>>,
    /// How many it has had: a process has the terminal whose count it holds (`Process::tty_claim`).
    count: u32,
}

/// Serialises every change of family, membership and life.
static TREE: SpinLock<()> = SpinLock::new(());

/// Groups that have members, by number. Inner to the tree lock.
static GROUPS: SpinLock<BTreeMap<Pid, Weak<ProcessGroup>>> = SpinLock::new(BTreeMap::new());

/// Proves that the tree lock is held.
pub struct TreeGuard(#[expect(dead_code, reason = "held for its drop")] SpinGuard<'static, ()>);

/// Takes the tree lock.
pub fn lock() -> TreeGuard {
    TreeGuard(TREE.lock())
}

impl ProcessGroup {
    /// The processes in it, zombies included.
    pub fn members(&self) -> Vec<Arc<Process>> {
        self.members
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }
}

impl Session {
    /// A session and its first group, both numbered `id`, without members.
    pub fn create(id: Pid) -> Arc<ProcessGroup> {
        new_group(
            id,
            Arc::new(Session {
                id,
                terminal: SpinLock::default(),
            }),
        )
    }

    /// The controlling terminal, which its leader has.
    pub fn tty(&self) -> Option<Arc<Tty>> {
        self.terminal.lock().tty.clone()
    }

    /// The controlling terminal, for a process with this claim.
    pub fn tty_of_claim(&self, claim: u32) -> Option<Arc<Tty>> {
        let terminal = self.terminal.lock();
        terminal.tty.clone().filter(|_| terminal.count == claim)
    }

    /// Gets a controlling terminal. Answers the claim on it, and the terminal from before.
    pub fn take_tty(&self, tty: Arc<Tty>) -> (u32, Option<Arc<Tty>>) {
        let mut terminal = self.terminal.lock();
        terminal.count = terminal.count.wrapping_add(1);
        (terminal.count, terminal.tty.replace(tty))
    }

    /// Loses the controlling terminal, for all its processes.
    pub fn lose_tty(&self) -> Option<Arc<Tty>> {
        self.terminal.lock().tty.take()
    }

    /// The process that made it, while it lives.
    pub fn leader(&self) -> Option<Arc<Process>> {
        pid::find_process(self.id).filter(|process| process.sid() == self.id)
    }
}

fn new_group(id: Pid, session: Arc<Session>) -> Arc<ProcessGroup> {
    let group = Arc::new(ProcessGroup {
        id,
        session,
        members: SpinLock::new(Vec::new()),
    });
    GROUPS.lock().insert(id, Arc::downgrade(&group));
    group
}

/// The group with this number, while it has members.
pub fn find_group(id: Pid) -> Option<Arc<ProcessGroup>> {
    GROUPS
        .lock()
        .get(&id)?
        .upgrade()
        .filter(|group| !group.members.lock().is_empty())
}

/// Makes a new process known: to its group, its parent, and by its number.
pub fn adopt(guard: &TreeGuard, process: &Arc<Process>, parent: Option<&Arc<Process>>) {
    let group = process.group();
    enter_group(guard, process, &group);
    if let Some(parent) = parent {
        process.links.lock().parent = Arc::downgrade(parent);
        parent.links.lock().children.push(process.clone());
    }
    pid::publish_process(process);
}

fn enter_group(_: &TreeGuard, process: &Arc<Process>, group: &Arc<ProcessGroup>) {
    group.members.lock().push(Arc::downgrade(process));
    pid::count_group(group.id, true);
    pid::count_session(group.session.id, true);
}

fn leave_group(_: &TreeGuard, process: &Process, group: &Arc<ProcessGroup>) {
    let mut members = group.members.lock();
    members.retain(|member| !core::ptr::eq(member.as_ptr(), process));
    let empty = members.is_empty();
    drop(members);
    if empty {
        GROUPS.lock().remove(&group.id);
    }
    pid::count_group(group.id, false);
    pid::count_session(group.session.id, false);
}

fn move_to(guard: &TreeGuard, process: &Arc<Process>, group: Arc<ProcessGroup>) {
    let old = process.group();
    enter_group(guard, process, &group);
    let replaced = core::mem::replace(&mut process.links.lock().group, group);
    leave_group(guard, process, &old);
    drop(replaced);
}

/// Takes a reaped process out of everything. It is forgotten once the last reference goes.
pub fn forget(guard: &TreeGuard, process: &Arc<Process>) {
    if let Some(parent) = process.parent() {
        parent
            .links
            .lock()
            .children
            .retain(|child| !Arc::ptr_eq(child, process));
    }
    process.links.lock().life = Life::Reaped;
    leave_group(guard, process, &process.group());
}

/// `setsid(2)`.
///
/// # Errors
/// `EPERM` when the process leads a group.
pub fn new_session(process: &Arc<Process>) -> Result<Pid> {
    let guard = lock();
    if find_group(process.pid).is_some() {
        return Err(Errno::EPERM);
    }
    let group = Session::create(process.pid);
    move_to(&guard, process, group);
    process.tty_claim.store(0, Ordering::Relaxed);
    Ok(process.pid)
}

/// `setpgid(2)`, called by `caller`.
///
/// # Errors
/// Those of `setpgid(2)`.
pub fn set_group(caller: &Arc<Process>, target: Pid, pgid: Pid) -> Result<()> {
    let guard = lock();
    let target = if target.0 == 0 { caller.pid } else { target };
    let pgid = if pgid.0 == 0 { target } else { pgid };
    if pgid.0 < 0 {
        return Err(Errno::EINVAL);
    }
    let process = pid::find_process(target).ok_or(Errno::ESRCH)?;
    let session = process.session();
    if !Arc::ptr_eq(&process, caller) {
        let is_child = process
            .parent()
            .is_some_and(|parent| Arc::ptr_eq(&parent, caller));
        if !is_child {
            return Err(Errno::ESRCH);
        }
        if !Arc::ptr_eq(&session, &caller.session()) {
            return Err(Errno::EPERM);
        }
        if process.did_exec.load(Ordering::Relaxed) {
            return Err(Errno::EACCES);
        }
    }
    if session.id == process.pid {
        return Err(Errno::EPERM);
    }
    if process.pgid() == pgid {
        return Ok(());
    }
    let group = match find_group(pgid) {
        Some(group) if Arc::ptr_eq(&group.session, &session) => group,
        Some(_) => return Err(Errno::EPERM),
        None if pgid == process.pid => new_group(pgid, session),
        None => return Err(Errno::EPERM),
    };
    move_to(&guard, &process, group);
    Ok(())
}

/// Whether no member of the group has a parent in another group of the same session: nobody could continue it then.
/// `ignored` counts as gone: a process that is exiting.
pub fn is_orphaned(group: &Arc<ProcessGroup>, ignored: Option<&Process>) -> bool {
    !group.members().iter().any(|process| {
        let gone = ignored.is_some_and(|other| core::ptr::eq(other, &raw const **process));
        !gone
            && matches!(process.life(), Life::Alive)
            && process.parent().is_some_and(|parent| {
                !parent.is_init()
                    && !Arc::ptr_eq(&parent.group(), group)
                    && Arc::ptr_eq(&parent.session(), &group.session)
            })
    })
}

/// Takes the children of an ending process from it; each is for [`reparent`].
pub fn take_children(_: &TreeGuard, process: &Process) -> Vec<Arc<Process>> {
    core::mem::take(&mut process.links.lock().children)
}

/// Gives a child that was taken to another parent, who may wait for it at once.
pub fn reparent(_: &TreeGuard, child: &Arc<Process>, parent: &Arc<Process>) {
    child.links.lock().parent = Arc::downgrade(parent);
    parent.links.lock().children.push(child.clone());
}

/// Who gets the children of an ending process: the nearest living subreaper among its ancestors, or init.
pub fn reaper_of(process: &Arc<Process>) -> Option<Arc<Process>> {
    let mut ancestor = process.parent();
    while let Some(candidate) = ancestor {
        if candidate.is_subreaper.load(Ordering::Relaxed) && candidate.thread_count() > 0 {
            return Some(candidate);
        }
        ancestor = candidate.parent();
    }
    pid::find_process(Pid::INIT)
}
