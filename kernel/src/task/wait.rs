//! wait4 and waitid: news of children.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Deref;
use core::sync::atomic::Ordering;

use abi::{Errno, Result};

use super::exit;
use super::pid::Pid;
use super::process::{Life, Process, WaitStatus};
use super::task::Task;
use super::usage::Rusage;
use super::{ptrace, tree};
use crate::sync::current;

bitflags::bitflags! {
    /// The options of `wait4` and `waitid`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct WaitOptions: u32 {
        /// Do not sleep.
        const NOHANG = 1;
        /// Report stops (WUNTRACED, WSTOPPED).
        const STOPPED = 2;
        /// Report ends.
        const EXITED = 4;
        /// Report continuations.
        const CONTINUED = 8;
        /// Leave the news to be taken again.
        const NOWAIT = 0x0100_0000;
        /// Not children of other threads of the caller.
        const NOTHREAD = 0x2000_0000;
        /// Children of any kind.
        const ALL = 0x4000_0000;
        /// Children that send no SIGCHLD.
        const CLONE = 0x8000_0000;
    }
}

/// Which children a wait is for.
#[derive(Clone)]
pub enum Which {
    /// Any.
    Any,
    /// One.
    Pid(Pid),
    /// Those of a process group.
    Group(Pid),
    /// One, by its pidfd.
    Process(Arc<Process>),
}

/// What happened to a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// It ended.
    Ended(WaitStatus),
    /// It was stopped by a signal.
    Stopped(u32),
    /// It was continued.
    Continued,
    /// A tracee stopped, with this code: a signal, and an event above it.
    Trapped(i32),
}

impl News {
    /// The status word of `wait4`.
    pub fn to_status(self) -> u32 {
        match self {
            News::Ended(status) => status,
            News::Stopped(signal) => signal << 8 | 0x7f,
            News::Continued => 0xffff,
            News::Trapped(code) => (code as u32) << 8 | 0x7f,
        }
    }

    /// `si_code` and `si_status` of SIGCHLD's information.
    pub fn to_siginfo(self) -> (i32, i32) {
        match self {
            News::Ended(status) if status & 0x7f == 0 => (1, (status >> 8 & 0xff) as i32),
            News::Ended(status) => (
                if status & 0x80 != 0 { 3 } else { 2 },
                (status & 0x7f) as i32,
            ),
            News::Stopped(signal) => (5, signal as i32),
            News::Continued => (6, 18),
            News::Trapped(code) => (4, code),
        }
    }
}

/// A child and what happened to it.
pub struct Waited {
    /// Its number.
    pub pid: Pid,
    /// Its real user id.
    pub uid: u32,
    /// What happened.
    pub news: News,
    /// What it and its waited-for descendants used.
    pub usage: Rusage,
}

/// Waits for news of a child; `None` if there is none yet and the caller will not sleep.
///
/// # Errors
/// `ECHILD` when no child can match; `ERESTARTSYS` when a signal came first.
pub fn wait(which: &Which, options: WaitOptions) -> Result<Option<Waited>> {
    let me = current();
    let process = me.process.clone();
    let look = || match scan(&process, which, options) {
        Ok(Some(waited)) => Some(Ok(Some(waited))),
        Ok(None) if options.contains(WaitOptions::NOHANG) => Some(Ok(None)),
        Ok(None) => None,
        Err(errno) => Some(Err(errno)),
    };
    process.child_events.wait_until(look)?
}

/// One look at the children.
fn scan(parent: &Arc<Process>, which: &Which, options: WaitOptions) -> Result<Option<Waited>> {
    let children = Matching::of(parent, which, options);
    let tracees = tracees(parent, which, options);
    let news = children
        .iter()
        .find_map(|child| take_news(parent, child, options))
        .or_else(|| {
            tracees
                .iter()
                .find_map(|task| take_trace_news(parent, task, options))
        });
    // What another thread has taken meanwhile is no child any more, and nothing will tell of it.
    let goes_on = children.iter().any(|child| !is_reaped(child))
        || tracees
            .iter()
            .any(|task| !is_reaped(&task.process) && task.ptrace.is_traced());
    if news.is_none() && !goes_on {
        let_end_be_told();
        return Err(Errno::ECHILD);
    }
    Ok(news)
}

/// The children that a wait is for. Most waits are for one child, and make no list.
enum Matching {
    One(Option<Arc<Process>>),
    Many(Vec<Arc<Process>>),
}

impl Matching {
    fn of(parent: &Process, which: &Which, options: WaitOptions) -> Matching {
        let mine =
            |child: &Arc<Process>| !options.contains(WaitOptions::NOTHREAD) || is_mine(child);
        let links = parent.links.lock();
        let mut matching = links
            .children
            .iter()
            .filter(|child| matches(child, which, options));
        match which {
            Which::Pid(_) | Which::Process(_) => {
                let one = matching.next().cloned();
                drop(links);
                Matching::One(one.filter(mine))
            }
            Which::Any | Which::Group(_) => {
                let mut all: Vec<_> = matching.cloned().collect();
                drop(links);
                all.retain(mine);
                Matching::Many(all)
            }
        }
    }
}

impl Deref for Matching {
    type Target = [Arc<Process>];
    fn deref(&self) -> &[Arc<Process>] {
        match self {
            Matching::One(child) => child.as_slice(),
            Matching::Many(children) => children,
        }
    }
}

/// An end that was seen without the tree lock is told with it: after this its signal has been sent.
fn let_end_be_told() {
    drop(tree::lock());
}

fn is_reaped(process: &Process) -> bool {
    matches!(process.life(), Life::Reaped)
}

/// Threads that match among those that the caller traces, or with WNOTHREAD not given any thread of its process.
fn tracees(parent: &Process, which: &Which, options: WaitOptions) -> Vec<Arc<Task>> {
    if parent.tracee_count.load(Ordering::SeqCst) == 0 {
        return Vec::new();
    }
    let of = |tracer: &Task| {
        let tracees = tracer.ptrace.list();
        let matching = tracees.into_iter().filter(|task| match which {
            Which::Any => true,
            Which::Pid(pid) => task.tid() == *pid,
            Which::Group(pgid) => task.process.pgid() == *pgid,
            Which::Process(process) => task.tid() == process.pid,
        });
        matching.collect::<Vec<_>>()
    };
    match options.contains(WaitOptions::NOTHREAD) {
        true => of(&current()),
        false => parent
            .threads()
            .iter()
            .flat_map(|thread| of(thread))
            .collect(),
    }
}

/// News of a tracee, for its tracer.
fn take_trace_news(parent: &Process, task: &Arc<Task>, options: WaitOptions) -> Option<Waited> {
    let keep = options.contains(WaitOptions::NOWAIT);
    let process = &task.process;
    let waited = |news| Waited {
        pid: task.tid(),
        uid: task.cred().uid,
        news,
        usage: whole_usage(process),
    };
    if options.contains(WaitOptions::EXITED)
        && let Some(status) = ptrace::end_of(task)
    {
        let_end_be_told();
        let waited = waited(News::Ended(status));
        if keep {
            return Some(waited);
        }
        let own_child = task.is_leader() && ptrace::tracer_is_parent(task);
        if !own_child {
            return ptrace::take_end(task).then_some(waited);
        }
        if !claim(process) {
            return None;
        }
        ptrace::forget_leader(process);
        parent.usage.children.lock().add(&waited.usage);
        exit::reap(process);
        return Some(waited);
    }
    // A tracer hears of stops whether or not it asks for them.
    if let Some(code) = ptrace::take_stop(task, keep) {
        return Some(waited(News::Trapped(code)));
    }
    if options.contains(WaitOptions::CONTINUED) && process.signal.take_continue_report(keep) {
        return Some(waited(News::Continued));
    }
    None
}

/// Whether the running thread itself is the parent.
fn is_mine(child: &Arc<Process>) -> bool {
    ptrace::parent_thread(child)
        .is_some_and(|task| core::ptr::eq(&raw const *task, &raw const *current()))
}

fn matches(child: &Process, which: &Which, options: WaitOptions) -> bool {
    let named = match which {
        Which::Any => true,
        Which::Pid(pid) => child.pid == *pid,
        Which::Group(pgid) => child.pgid() == *pgid,
        Which::Process(process) => child.pid == process.pid,
    };
    let sends_sigchld = child.exit_signal() == 17;
    named
        && (options.contains(WaitOptions::ALL)
            || sends_sigchld != options.contains(WaitOptions::CLONE))
}

fn take_news(parent: &Process, child: &Arc<Process>, options: WaitOptions) -> Option<Waited> {
    let keep = options.contains(WaitOptions::NOWAIT);
    let traced = ptrace::traced_leader(child);
    // One's own tracee is seen as that alone, else a stop would be reported twice.
    if let Some(leader) = &traced
        && ptrace::tracer_is_parent(leader)
    {
        return take_trace_news(parent, leader, options);
    }
    let uid = child.real_uid();
    let waited = |news, usage| Waited {
        pid: child.pid,
        uid,
        news,
        usage,
    };
    if options.contains(WaitOptions::EXITED)
        && traced.is_none()
        && let Life::Zombie(status) = child.life()
    {
        let usage = whole_usage(child);
        if keep {
            let_end_be_told();
        } else {
            if !claim(child) {
                return None;
            }
            parent.usage.children.lock().add(&usage);
            exit::reap(child);
        }
        return Some(waited(News::Ended(status), usage));
    }
    if options.contains(WaitOptions::STOPPED)
        && let Some(signal) = child.signal.take_stop_report(keep)
    {
        return Some(waited(
            News::Stopped(u32::from(signal.get())),
            whole_usage(child),
        ));
    }
    if options.contains(WaitOptions::CONTINUED) && child.signal.take_continue_report(keep) {
        return Some(waited(News::Continued, whole_usage(child)));
    }
    None
}

/// Makes this thread the one that reaps: two threads may wait for the same child.
pub(super) fn claim(child: &Process) -> bool {
    let mut links = child.links.lock();
    let claimed = matches!(links.life, Life::Zombie(_));
    if claimed {
        links.life = Life::Reaped;
    }
    claimed
}

fn whole_usage(child: &Process) -> Rusage {
    let mut usage = match child.life() {
        Life::Alive => child.rusage(),
        _ => *child.final_usage.lock(),
    };
    usage.add(&child.usage.children.lock());
    usage
}
