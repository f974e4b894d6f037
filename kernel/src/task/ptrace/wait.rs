//! What wait(2) learns of tracees: their stops, and their ends before anybody else does.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::attach;
use crate::signal;
use crate::task::process::{Life, WaitStatus};
use crate::task::{Process, Task};

/// The stop of a tracee that was not waited for yet; with `keep` it stays so.
pub fn take_stop(task: &Task, keep: bool) -> Option<i32> {
    let _shared = task.process.signal.shared.lock();
    if !signal::is_traced_stop(task) {
        return None;
    }
    let mut stop = task.ptrace.stop.lock();
    let code = stop.code;
    if !keep {
        stop.code = 0;
    }
    (code != 0).then_some(code)
}

/// How a tracee has ended: a thread as such, a main thread when all of its process have.
pub fn end_of(task: &Task) -> Option<WaitStatus> {
    if !task.ptrace.ended.load(Ordering::SeqCst) {
        return None;
    }
    if task.is_leader() {
        return match task.process.life() {
            Life::Zombie(status) => Some(status),
            _ => None,
        };
    }
    Some(task.ptrace.status.load(Ordering::SeqCst))
}

/// The tracer has waited for a tracee's end: it is let go, and a process that is another's child is that one's to wait
/// for now. False when somebody else was faster.
pub fn take_end(task: &Arc<Task>) -> bool {
    attach::let_go_at_end(task)
}

/// Whether a process's main thread has ended, be others left or not.
pub fn leader_has_ended(process: &Process) -> bool {
    let leader = process.leader.lock().upgrade();
    leader.is_none_or(|leader| leader.ptrace.ended.load(Ordering::SeqCst))
}

/// The thread that stands for a process in tracing, its main one, if somebody traces it; ended or not.
pub fn traced_leader(process: &Process) -> Option<Arc<Task>> {
    let leader = process.leader.lock().upgrade()?;
    leader.ptrace.is_traced().then_some(leader)
}
