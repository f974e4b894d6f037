//! Links between tracers and tracees: their making, their end, and what tracees hand on to their children.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::signal::{SigInfo, Signo};
use abi::{Errno, Result};

use super::access::{self, AccessMode};
use super::state::{Link, Options, TraceState};
use crate::arch;
use crate::net::netlink::connector;
use crate::signal;
use crate::sync::{CurrentTask, current, current_arc};
use crate::task::process::WaitStatus;
use crate::task::tree::{self, TreeGuard};
use crate::task::{Cap, Cred, Process, Task, exit};

/// Links `tracee` to `tracer`. False when the tracer is ending.
fn link(
    _: &TreeGuard,
    tracee: &Arc<Task>,
    tracer: &Arc<Task>,
    cred: Arc<Cred>,
    (seized, options): (bool, Options),
) -> bool {
    let mut tracees = tracer.ptrace.tracees.lock();
    if tracees.closed {
        return false;
    }
    tracees.list.push(tracee.clone());
    drop(tracees);
    tracer.process.tracee_count.fetch_add(1, Ordering::SeqCst);
    *tracee.ptrace.link.lock() = Some(Link {
        tracer: Arc::downgrade(tracer),
        cred,
    });
    let _signals = tracee.process.signal.shared.lock();
    tracee.ptrace.set_traced(seized, options);
    true
}

/// Takes a tracee out of its tracer's list and lets it go on, as if it had never been traced. What is returned is to be
/// dropped after the lock.
#[must_use]
fn unlink(_: &TreeGuard, tracee: &Task) -> Option<(Link, Option<Arc<Task>>)> {
    let link = tracee.ptrace.link.lock().take()?;
    let listed = link.tracer.upgrade().and_then(|tracer| {
        let mut tracees = tracer.ptrace.tracees.lock();
        let list = &mut tracees.list;
        let at = list
            .iter()
            .position(|other| core::ptr::eq(&raw const **other, tracee))?;
        tracer.process.tracee_count.fetch_sub(1, Ordering::SeqCst);
        Some(list.swap_remove(at))
    });
    tracee
        .arch
        .unwatch_syscalls(arch::SYSCALL_TRACE | arch::SYSCALL_EMULATE);
    signal::release_tracee(tracee, || tracee.ptrace.set_untraced());
    tracee.ptrace.settled.wake_all();
    Some((link, listed))
}

/// PTRACE_TRACEME: the parent becomes the tracer.
///
/// # Errors
/// `EPERM` for a thread that is traced, or whose parent has fewer rights.
pub(super) fn traceme() -> Result<()> {
    let me = current_arc();
    let Some(parent) = parent_thread(&me.process) else {
        // The kernel would trace it: init has no parent.
        return Err(Errno::EPERM);
    };
    let (mine, theirs) = (me.cred(), parent.cred());
    let allowed = mine.permitted.is_subset_of(theirs.permitted) || theirs.capable(Cap::SYS_PTRACE);
    let guard = tree::lock();
    if me.ptrace.is_traced() || !allowed {
        return Err(Errno::EPERM);
    }
    // A parent that is ending is no tracer, and that is no error.
    link(&guard, &me, &parent, theirs, (false, Options::empty()));
    drop(guard);
    Ok(())
}

/// The thread that made the process, or one that stands in for it.
pub fn parent_thread(process: &Arc<Process>) -> Option<Arc<Task>> {
    let parent = process.parent()?;
    let maker = process.maker.lock().upgrade();
    maker
        .filter(|task| Arc::ptr_eq(&task.process, &parent) && !signal::is_exiting(task))
        .or_else(|| parent.main_thread())
}

/// PTRACE_ATTACH, and PTRACE_SEIZE with its options.
///
/// # Errors
/// `EPERM` for what may not be traced, `ERESTARTNOINTR` for an interrupted wait.
pub(super) fn attach(task: &Arc<Task>, seize: Option<Options>) -> Result<()> {
    let me = current_arc();
    if task.is_kernel_thread() || Arc::ptr_eq(&task.process, &me.process) {
        return Err(Errno::EPERM);
    }
    {
        let _exec = task
            .process
            .exec_lock
            .lock_interruptible()
            .map_err(|_| Errno::ERESTARTNOINTR)?;
        if !access::may_access(task, AccessMode::RealCreds) {
            return Err(Errno::EPERM);
        }
        let guard = tree::lock();
        let ended = task.ptrace.ended.load(Ordering::SeqCst);
        if ended || task.ptrace.is_traced() {
            return Err(Errno::EPERM);
        }
        let how = (seize.is_some(), seize.unwrap_or(Options::empty()));
        link(&guard, task, &me, me.cred(), how);
        drop(guard);
        // It may have ended before it could see that it is traced: see `mark_ended`.
        if task.ptrace.ended.load(Ordering::SeqCst) {
            me.process.child_events.wake_all();
        }
        if seize.is_none() {
            let _ = signal::send_to_task(task, SigInfo::kernel(Signo::STOP));
        }
        signal::trap_stopped(task);
    }
    // Killed while waiting: this task is ending and will make no request.
    let _ = task
        .ptrace
        .settled
        .wait_killable(|| (!signal::is_trapping(task)).then_some(()));
    if connector::is_heard() {
        connector::ptrace(task, Some(&me));
    }
    Ok(())
}

/// PTRACE_DETACH: the frozen tracee goes on with `signal`.
pub(super) fn detach(task: &Arc<Task>, code: i32) {
    let mut regs = task.arch.user_regs();
    task.arch.disable_step(&mut regs);
    task.arch.set_user_regs(&regs);
    task.arch.unwatch_syscalls(arch::SYSCALL_STEP);
    task.ptrace.stop.lock().code = code;
    let guard = tree::lock();
    let gone = unlink(&guard, task);
    drop(guard);
    drop(gone);
    if connector::is_heard() {
        connector::ptrace(task, None);
    }
}

/// A new child, not running yet, is traced as its maker is, when an event says so or CLONE_PTRACE does.
pub fn init_child(guard: &TreeGuard, child: &Arc<Task>) {
    let me = current();
    let Some(own) = me.ptrace.link.lock().clone() else {
        return;
    };
    let Some(tracer) = own.tracer.upgrade() else {
        return;
    };
    let seized = me.ptrace.is_seized();
    if link(
        guard,
        child,
        &tracer,
        own.cred,
        (seized, me.ptrace.options()),
    ) {
        signal::trap_new_tracee(child, seized);
    }
}

/// Whether a program that the task executes may give it rights that it did not have: a tracer without CAP_SYS_PTRACE must
/// not get hold of them.
pub fn tracer_allows_gain(me: &CurrentTask) -> bool {
    match &*me.ptrace.link.lock() {
        Some(link) => link.cred.capable(Cap::SYS_PTRACE),
        None => true,
    }
}

/// The running thread ends as a tracer: its tracees are let go, or die with it.
pub fn exit_tracer(me: &CurrentTask) {
    {
        let mut tracees = me.ptrace.tracees.lock();
        tracees.closed = true;
        if tracees.list.is_empty() {
            return;
        }
    }
    let guard = tree::lock();
    let tracees = core::mem::take(&mut me.ptrace.tracees.lock().list);
    me.process
        .tracee_count
        .fetch_sub(tracees.len(), Ordering::SeqCst);
    let mut unwanted: Vec<Arc<Process>> = Vec::new();
    let mut gone = Vec::new();
    for tracee in &tracees {
        if tracee.ptrace.options().contains(Options::EXITKILL) {
            let _ = signal::force_to_task(tracee, SigInfo::kernel(Signo::KILL));
        }
        let process = &tracee.process;
        // A parent has heard of its own child's end; should it want no zombies, there is none now.
        let has_heard = || {
            process
                .parent()
                .is_some_and(|parent| Arc::ptr_eq(&parent, &me.process))
                && signal::wants_exit(process, &me.process)
        };
        let untold = end_of_leader(tracee).filter(|_| !has_heard());
        gone.push(unlink(&guard, tracee));
        if let Some(status) = untold
            && !exit::leave_to_parent(&guard, process, status)
        {
            unwanted.push(process.clone());
        }
    }
    drop(guard);
    drop(gone);
    unwanted.iter().for_each(exit::reap);
}

/// The tracer has waited for a tracee's end: it is let go. A process that has ended is its parent's to wait for now. False
/// when it was not traced any more.
pub(super) fn let_go_at_end(task: &Arc<Task>) -> bool {
    let guard = tree::lock();
    let untold = end_of_leader(task);
    let gone = unlink(&guard, task);
    let wanted = gone.is_none()
        || untold.is_none_or(|status| exit::leave_to_parent(&guard, &task.process, status));
    drop(guard);
    if !wanted {
        exit::reap(&task.process);
    }
    gone.is_some()
}

/// How a process ended whose main thread is a tracee that has.
fn end_of_leader(tracee: &Task) -> Option<WaitStatus> {
    match tracee.is_leader() && tracee.ptrace.ended.load(Ordering::SeqCst) {
        true => exit::untold_end(&tracee.process),
        false => None,
    }
}

/// Unlinks a tracee; false when it was not traced any more.
fn take_link(task: &Arc<Task>) -> bool {
    let guard = tree::lock();
    let gone = unlink(&guard, task);
    drop(guard);
    gone.is_some()
}

/// Another thread takes over the number of a leader that has ended: its tracer will not hear of that one again.
pub fn forget_leader(process: &Process) {
    let leader = process.leader.lock().upgrade();
    if let Some(leader) = leader
        && leader.ptrace.ended.load(Ordering::SeqCst)
    {
        take_link(&leader);
    }
}

impl TraceState {
    /// Whether the thread's tracer is a thread of `process`.
    pub fn is_traced_by(&self, process: &Arc<Process>) -> bool {
        self.tracer()
            .is_some_and(|tracer| Arc::ptr_eq(&tracer.process, process))
    }
}
