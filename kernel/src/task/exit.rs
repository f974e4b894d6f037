//! The end of threads and processes.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::signal::Signo;

use super::process::{Life, Process, Remains, WaitStatus};
use super::task::{Task, TaskFlags};
use super::tree::TreeGuard;
use super::{pid, ptrace, tree, wait};
use crate::ipc::{futex, sem, shm};
use crate::mm;
use crate::net::netlink::connector;
use crate::net::netlink::generic::taskstats::Ending;
use crate::sched;
use crate::signal::{self, GroupExit};
use crate::sync::{CurrentTask, current};
use crate::tty;

/// Ends the running thread; `status` is the process's if it is the last and nobody decided another.
pub fn exit_thread(status: WaitStatus) -> ! {
    let me = current();
    if let Some(dump) = signal::begin_thread_exit(&me) {
        dump.park(&me);
    }
    super::ptrace::exit_stop(match me.process.signal.group_exit() {
        Some(GroupExit::Status(decided)) => decided,
        _ => status,
    });
    me.set_flags(TaskFlags::EXITING);
    if me.process.is_init() && me.process.thread_count() == 1 {
        panic!("init exited with status {status:#x}");
    }
    let figures = Ending::begin(&me);
    leave_user_space(&me);
    let status = leave_process(&me, status, figures);
    if connector::is_heard() {
        connector::exit(&me, status);
    }
    super::note_stack_depth(&me);
    sched::exit_current()
}

/// `exit_group(2)`: ends every thread of the process.
pub fn exit_process(status: WaitStatus) -> ! {
    signal::begin_group_exit(&current().process, GroupExit::Status(status));
    exit_thread(status)
}

/// Gives back what the thread has in user space and files, in the order that others can see.
fn leave_user_space(me: &CurrentTask) {
    super::rseq::forget(me);
    me.seccomp.release();
    futex::exit_robust_list(me);
    futex::exit_pi(me, true);
    let clear = me.clear_child_tid.swap(0, Ordering::Relaxed);
    if clear != 0 {
        futex::clear_and_wake(clear);
    }
    let old = me.replace_mm(None);
    mm::switch_to(None);
    // Only now may the parent of a vfork run on this memory again.
    me.complete_vfork();
    let last_of_process = me.process.thread_count() == 1;
    if last_of_process && let Some(mm) = &old {
        let rss = mm.max_rss_kib();
        let mut exited = me.process.usage.exited.lock();
        exited.max_rss_kib = exited.max_rss_kib.max(rss);
    }
    drop(old);
    sem::leave(me.take_undo());
    shm::exit_thread();
    drop(me.replace_files(None));
    drop(me.replace_fs(None));
    drop(me.replace_uts(None));
}

/// Takes the thread out of its process; the last one makes the process a zombie. Answers the thread's status.
fn leave_process(me: &CurrentTask, status: WaitStatus, figures: Option<Ending>) -> WaitStatus {
    let process = me.process.clone();
    {
        let used = me.rusage();
        process.usage.exited.lock().add(&used);
    }
    let uid = me.cred().uid;
    process.final_uid.store(uid, Ordering::Relaxed);
    leave_remains(me);
    ptrace::exit_tracer(me);
    pid::unpublish_task(me.tid());
    let alone = signal::remove_thread(me);
    let own_status = match process.signal.group_exit() {
        Some(GroupExit::Status(decided)) => decided,
        _ => status,
    };
    if let Some(figures) = figures {
        figures.tell(me, own_status, alone);
    }
    end_as_tracee(me, own_status);
    if !alone {
        hand_on_children(me);
        super::usage::count_task(uid, false);
        return own_status;
    }
    if process.sid() == process.pid {
        tty::disassociate(true);
    }
    become_zombie(&process, own_status);
    own_status
}

/// The thread has ended: its tracer may wait for it. The end of a main thread is told with that of its process.
fn end_as_tracee(me: &CurrentTask, status: WaitStatus) {
    if ptrace::mark_ended(me, status) && !me.is_leader() {
        signal::notify_tracer_exit(me, Signo::CHLD, status);
    }
}

/// Keeps what `/proc` shows of a zombie.
fn leave_remains(me: &CurrentTask) {
    let remains = Remains {
        comm: me.comm(),
        cred: me.cred(),
        params: sched::params_of(me),
        usage: me.rusage(),
    };
    let mut slot = me.process.remains.lock();
    let unwanted = match &*slot {
        Some(_) if !me.is_leader() => Some(remains),
        _ => slot.replace(remains),
    };
    drop(slot);
    drop(unwanted);
}

/// The last thread has gone: children find a new parent, the parent is told, waiters are woken.
fn become_zombie(process: &Arc<Process>, status: WaitStatus) {
    signal::exit_process(process);
    let total = *process.usage.exited.lock();
    *process.final_usage.lock() = total;
    process.exe.lock().take();
    let guard = tree::lock();
    // A tracer's to wait for first, whatever the parent wants.
    let tracee = ptrace::traced_leader(process);
    // One that nobody will wait for is never seen as a zombie: a parent that waits right now must not take it.
    let unwanted = tracee.is_none()
        && process
            .parent()
            .is_some_and(|parent| !signal::wants_exit(process, &parent));
    let adoption = adopt_children(&guard, process);
    process.links.lock().life = match unwanted {
        true => Life::Reaped,
        false => Life::Zombie(status),
    };
    // With the lock: whoever finds the end takes it before it answers, and has the signal then.
    let hears = tell_of_end(process, tracee.as_ref(), status);
    let waiter = match &tracee {
        Some(leader) => leader.ptrace.tracer().map(|tracer| tracer.process.clone()),
        None => process.parent(),
    };
    drop(guard);
    process.exit_event.wake_all();
    stop_orphaned_groups(process, &adoption.children);
    adoption.unwanted.iter().for_each(reap);
    if unwanted || !hears && wait::claim(process) {
        reap(process);
    }
    if let Some(waiter) = waiter {
        waiter.child_events.wake_all();
    }
}

/// Sends the signal of a process's end to its tracer, or else its parent. False when there is nobody to wait for it.
fn tell_of_end(process: &Arc<Process>, tracee: Option<&Arc<Task>>, status: WaitStatus) -> bool {
    if let Some(leader) = tracee {
        let signo = match ptrace::tracer_is_parent(leader) {
            true => Signo::new(process.exit_signal() as i32),
            false => Some(Signo::CHLD),
        };
        if let Some(signo) = signo {
            signal::notify_tracer_exit(leader, signo, status);
        }
        return true;
    }
    process
        .parent()
        .is_some_and(|parent| signal::notify_parent_exit(process, &parent, status))
}

/// The children of a process that has ended.
#[derive(Default)]
struct Adoption {
    children: Vec<Arc<Process>>,
    /// Those that have ended, and that who has them now does not want.
    unwanted: Vec<Arc<Process>>,
}

/// The children of a process that has ended are another's now, which hears of each end by SIGCHLD, whatever they were
/// made with.
fn adopt_children(guard: &TreeGuard, process: &Arc<Process>) -> Adoption {
    let mut adoption = Adoption::default();
    let children = tree::take_children(guard, process);
    if !children.is_empty()
        && let Some(reaper) = tree::reaper_of(process)
    {
        let heir = next_parent(&reaper).unwrap_or_default();
        for child in &children {
            *child.maker.lock() = heir.clone();
            child
                .exit_signal
                .store(u32::from(Signo::CHLD.get()), Ordering::Relaxed);
            let end = untold_end(child);
            tree::reparent(guard, child, &reaper);
            signal::send_parent_death(child);
            if let Some(status) = end
                && ptrace::traced_leader(child).is_none()
                && !leave_to_parent(guard, child, status)
            {
                adoption.unwanted.push(child.clone());
            }
        }
    }
    adoption.children = children;
    adoption
}

/// The children that an ended thread made are another thread's, and get the signals they asked for with
/// PR_SET_PDEATHSIG.
fn hand_on_children(me: &CurrentTask) {
    if !me.flags().contains(TaskFlags::PARENT) {
        return;
    }
    let process = &me.process;
    let made_by_me = |child: &&Arc<Process>| child.maker.lock().as_ptr() == &raw const **me;
    let guard = tree::lock();
    let children: Vec<_> = {
        let links = process.links.lock();
        links.children.iter().filter(made_by_me).cloned().collect()
    };
    // If all others are about to end, too, the process's end says it.
    if let Some(heir) = next_parent(process) {
        for child in &children {
            *child.maker.lock() = heir.clone();
            signal::send_parent_death(child);
        }
    }
    drop(guard);
}

/// The thread of a process that gets the children of one that has ended.
fn next_parent(process: &Process) -> Option<Weak<Task>> {
    let shared = process.signal.shared.lock();
    let mut living = shared
        .threads
        .iter()
        .filter(|thread| !signal::is_exiting(thread));
    let next = living.next()?;
    next.set_flags(TaskFlags::PARENT);
    Some(Arc::downgrade(next))
}

/// How a process has ended that who is its parent next must hear of. To be asked before that one can wait for it.
pub fn untold_end(process: &Process) -> Option<WaitStatus> {
    match process.life() {
        Life::Zombie(status) => Some(status),
        _ => None,
    }
}

/// A child that has ended is its parent's to wait for now: that one is told, even if it has waited already, which is why
/// the lock of the tree is held: it has not answered yet. False when the parent does not care for its children's ends:
/// then the caller reaps it, without the lock.
pub fn leave_to_parent(_: &TreeGuard, process: &Arc<Process>, status: WaitStatus) -> bool {
    let parent = process.parent();
    let wanted = parent
        .as_ref()
        .is_some_and(|parent| signal::notify_parent_exit(process, parent, status))
        || !wait::claim(process);
    if let Some(parent) = parent {
        parent.child_events.wake_all();
    }
    wanted
}

/// Takes a zombie out of the world. Until now it has counted for its user's RLIMIT_NPROC: else a parent that
/// does not wait could fill the table of processes.
pub fn reap(process: &Arc<Process>) {
    super::usage::count_task(process.final_uid.load(Ordering::Relaxed), false);
    let guard = tree::lock();
    tree::forget(&guard, process);
    drop(guard);
    pid::unpublish_process(process.pid);
}

/// A group that the end of this process leaves orphaned while a member is stopped gets SIGHUP and SIGCONT: the
/// process's own group, and those of its children.
fn stop_orphaned_groups(process: &Arc<Process>, children: &[Arc<Process>]) {
    let own = process.group();
    signal::hang_up_if_orphaned(&own, Some(process));
    for child in children {
        let group = child.group();
        if !Arc::ptr_eq(&group, &own) {
            signal::hang_up_if_orphaned(&group, None);
        }
    }
}
