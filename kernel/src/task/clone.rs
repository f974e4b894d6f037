//! fork, vfork, clone and clone3: one function, whose flags decide what is shared.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;

use abi::{Errno, Result};
use sched::{Params, Policy, Reservation};

use super::namespace;
use super::pid::{self, Pid};
use super::process::Process;
use super::ptrace::{self, Event};
use super::rlimit::Resource;
use super::task::{NewTask, Task, TaskFlags, VforkDone};
use super::tree;
use super::usage::TaskSlot;
use crate::arch;
use crate::ipc::sem;
use crate::mm::oom;
use crate::mm::user::UserPtr;
use crate::net::netlink::connector;
use crate::sched::{self as scheduler, SchedState};
use crate::signal;
use crate::sync::{CurrentTask, current};
use crate::task::cred::Cap;

bitflags::bitflags! {
    /// The flags of `clone(2)` without the exit signal.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct CloneFlags: u64 {
        /// Share the address space.
        const VM = 0x100;
        /// Share root, working directory and umask.
        const FS = 0x200;
        /// Share the descriptors.
        const FILES = 0x400;
        /// Share the signal dispositions.
        const SIGHAND = 0x800;
        /// Give the parent a pidfd.
        const PIDFD = 0x1000;
        /// Keep the tracer.
        const PTRACE = 0x2000;
        /// The parent waits until the child has left its address space.
        const VFORK = 0x4000;
        /// The child's parent is the caller's.
        const PARENT = 0x8000;
        /// A thread of the same process.
        const THREAD = 0x10000;
        /// A mount namespace of its own.
        const NEWNS = 0x20000;
        /// Share the System V semaphore adjustments.
        const SYSVSEM = 0x40000;
        /// Set the thread pointer.
        const SETTLS = 0x80000;
        /// Store the child's number in the parent.
        const PARENT_SETTID = 0x100000;
        /// Zero the number in the child when it exits.
        const CHILD_CLEARTID = 0x200000;
        /// Ignored.
        const DETACHED = 0x400000;
        /// May not be traced by force.
        const UNTRACED = 0x800000;
        /// Store the child's number in the child.
        const CHILD_SETTID = 0x1000000;
        /// Other namespaces: not there.
        const NEWCGROUP = 0x2000000;
        /// A UTS namespace of its own.
        const NEWUTS = 0x4000000;
        /// See `NEWCGROUP`.
        const NEWIPC = 0x8000000;
        /// See `NEWCGROUP`.
        const NEWUSER = 0x10000000;
        /// See `NEWCGROUP`.
        const NEWPID = 0x20000000;
        /// See `NEWCGROUP`.
        const NEWNET = 0x40000000;
        /// Share the I/O context.
        const IO = 0x80000000;
        /// Handlers go back to the default (clone3).
        const CLEAR_SIGHAND = 0x1_0000_0000;
        /// Into a control group (clone3): not there.
        const INTO_CGROUP = 0x2_0000_0000;
        /// A time namespace: not there.
        const NEWTIME = 0x80;
    }
}

/// The namespaces a kernel built without them refuses.
const NAMESPACES: CloneFlags = CloneFlags::NEWCGROUP
    .union(CloneFlags::NEWIPC)
    .union(CloneFlags::NEWUSER)
    .union(CloneFlags::NEWPID)
    .union(CloneFlags::NEWNET)
    .union(CloneFlags::NEWNS)
    .union(CloneFlags::NEWTIME);

/// The facts about a task that its children share.
const INHERITED: TaskFlags = TaskFlags::NO_NEW_PRIVS
    .union(TaskFlags::MCE_PROCESS)
    .union(TaskFlags::MCE_EARLY)
    .union(TaskFlags::IO_FLUSHER);

/// What a clone call asks for.
#[derive(Clone, Copy, Debug)]
pub struct CloneArgs {
    /// What to share and do.
    pub flags: CloneFlags,
    /// Where the pidfd goes.
    pub pidfd: usize,
    /// Where the child's number goes in the child.
    pub child_tid: usize,
    /// Where it goes in the parent.
    pub parent_tid: usize,
    /// What the parent gets at the exit; 0 for nothing.
    pub exit_signal: u32,
    /// The child's stack pointer; 0 to keep the parent's.
    pub stack: usize,
    /// The child's thread pointer.
    pub tls: usize,
}

impl CloneArgs {
    /// What `fork` asks for.
    pub const FORK: CloneArgs = CloneArgs {
        flags: CloneFlags::empty(),
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: 17,
        stack: 0,
        tls: 0,
    };

    /// Refuses what does not go together, in Linux's order.
    fn check(&self) -> Result<()> {
        use CloneFlags as F;
        let has = |flag| self.flags.contains(flag);
        if self.flags.intersects(NAMESPACES) {
            return Err(Errno::EINVAL);
        }
        if has(F::THREAD) && !has(F::SIGHAND) || has(F::SIGHAND) && !has(F::VM) {
            return Err(Errno::EINVAL);
        }
        if has(F::SIGHAND) && has(F::CLEAR_SIGHAND) {
            return Err(Errno::EINVAL);
        }
        if has(F::PARENT) && current().process.is_init() {
            return Err(Errno::EINVAL);
        }
        if has(F::PIDFD) && has(F::DETACHED) || has(F::INTO_CGROUP) {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}

/// Makes the child and starts it; returns its number in the parent.
///
/// # Errors
/// Those of `clone(2)`.
pub fn clone(args: &CloneArgs) -> Result<usize> {
    args.check()?;
    let me = current();
    let place = check_limits(&me)?;
    // A signal that is pending now must not be copied half-way: the child starts with none.
    if signal::pending(&me) {
        return Err(Errno::ERESTARTNOINTR);
    }
    let slot = match args.flags.contains(CloneFlags::PIDFD) {
        true => Some(super::pidfd::reserve()?),
        false => None,
    };
    let child = build(&me, args)?;
    if args.flags.contains(CloneFlags::PARENT_SETTID) {
        // A bad address is the caller's loss: Linux does not fail for it either.
        let _ = UserPtr::<i32>::from(args.parent_tid).write(&child.tid().0);
    }
    let vfork = args.flags.contains(CloneFlags::VFORK).then(|| {
        let done = Arc::new(VforkDone::default());
        *child.vfork_done.lock() = Some(done.clone());
        done
    });
    if let Some(slot) = slot {
        UserPtr::<i32>::from(args.pidfd).write(&slot.fd())?;
        slot.fill(child.process.clone())?;
    }
    let event = traced_event(&me, args);
    publish(&me, &child, args, event.is_some())?;
    place.fill();
    let tid = child.tid();
    if connector::is_heard() {
        connector::fork(&child);
    }
    scheduler::spawn(child);
    if let Some(event) = event {
        ptrace::event_stop(event, tid.0 as u64);
    }
    if let Some(done) = vfork {
        // Killed while waiting: the child goes on with the memory, which its own reference keeps.
        if done.wait().is_ok() {
            ptrace::event_stop(Event::VforkDone, tid.0 as u64);
        }
    }
    Ok(tid.0 as usize)
}

/// What a tracer is told of, if it wants to know: the child is then its tracee, too.
fn traced_event(me: &CurrentTask, args: &CloneArgs) -> Option<Event> {
    if args.flags.contains(CloneFlags::UNTRACED) {
        return None;
    }
    let event = match args.exit_signal {
        _ if args.flags.contains(CloneFlags::VFORK) => Event::Vfork,
        17 => Event::Fork,
        _ => Event::Clone,
    };
    me.ptrace.wants(event).then_some(event)
}

/// The child's place among its user's threads.
fn check_limits(me: &CurrentTask) -> Result<TaskSlot> {
    let cred = me.my_cred();
    let limit = me.process.rlimits.soft(Resource::Nproc);
    let exempt = cred.uid == 0 || cred.capable(Cap::SYS_RESOURCE) || cred.capable(Cap::SYS_ADMIN);
    let limit = if exempt { u64::MAX } else { limit };
    let place = TaskSlot::take(cred.uid, limit).ok_or(Errno::EAGAIN)?;
    // A task takes so much of the kernel's memory that many at once would use the reserve up before any of them pays.
    if !me.process.is_init() && !oom::pay_back() {
        return Err(Errno::ENOMEM);
    }
    Ok(place)
}

/// Builds the child with everything it has, not known to anybody yet.
fn build(me: &CurrentTask, args: &CloneArgs) -> Result<Arc<Task>> {
    let flags = args.flags;
    let (params, affinity) = child_params(me)?;
    let uts = match flags.contains(CloneFlags::NEWUTS) {
        true => namespace::copy_of(me)?,
        false => me.my_uts().clone(),
    };
    let shared_mm = flags.contains(CloneFlags::VM);
    let mm = match shared_mm {
        true => me.my_mm().clone(),
        false => me.my_mm().fork()?,
    };
    let files = match flags.contains(CloneFlags::FILES) {
        true => me.my_files().clone(),
        false => me.my_files().fork()?,
    };
    let fs = match flags.contains(CloneFlags::FS) {
        true => me.my_fs().clone(),
        false => me.my_fs().fork(),
    };
    let tid = pid::allocate()?;
    let process = match flags.contains(CloneFlags::THREAD) {
        true => Ok(me.process.clone()),
        false => new_process(me, tid, args),
    };
    let process = process.inspect_err(|_| pid::release(tid))?;
    let drop_alt_stack = shared_mm && !flags.contains(CloneFlags::VFORK);
    let new = NewTask {
        tid,
        process,
        mm: Some(mm),
        files: Some(files),
        fs: Some(fs),
        cred: me.my_cred().clone(),
        undo: flags.contains(CloneFlags::SYSVSEM).then(|| me.undo_list()),
        signal: me.signal.fork(drop_alt_stack),
        comm: me.comm(),
        sched: SchedState::new(params, affinity, arch::cpu::current_id()),
        flags: TaskFlags::FORK_NO_EXEC | (me.flags() & INHERITED),
    };
    let child = Task::new_in(uts, new).inspect_err(|_| pid::release(tid))?;
    if !flags.contains(CloneFlags::THREAD) {
        *child.process.leader.lock() = Arc::downgrade(&child);
    }
    set_registers(me, &child, args)?;
    let ioprio = me.ioprio.load(Ordering::Relaxed);
    child.ioprio.store(ioprio, Ordering::Relaxed);
    let policy = me.mempolicy.load(Ordering::Relaxed);
    child.mempolicy.store(policy, Ordering::Relaxed);
    let slack = me.timer_slack_ns.load(Ordering::Relaxed);
    child.timer_slack_ns.store(slack, Ordering::Relaxed);
    child.default_timer_slack_ns.store(slack, Ordering::Relaxed);
    if !shared_mm {
        super::rseq::inherit(me, &child);
    }
    if flags.contains(CloneFlags::CHILD_SETTID) {
        child.set_child_tid.store(args.child_tid, Ordering::Relaxed);
        child.arch.mark(arch::WORK_NOTIFY);
    }
    if flags.contains(CloneFlags::CHILD_CLEARTID) {
        child
            .clear_child_tid
            .store(args.child_tid, Ordering::Relaxed);
    }
    Ok(child)
}

fn new_process(me: &CurrentTask, pid: Pid, args: &CloneArgs) -> Result<Arc<Process>> {
    let parent = match args.flags.contains(CloneFlags::PARENT) {
        true => me
            .process
            .parent()
            .map_or_else(Weak::new, |parent| Arc::downgrade(&parent)),
        false => Arc::downgrade(&me.process),
    };
    let share_hand = args.flags.contains(CloneFlags::SIGHAND);
    let clear_hand = args.flags.contains(CloneFlags::CLEAR_SIGHAND);
    let shared = me.process.signal.fork(share_hand, clear_hand)?;
    let old = &me.process;
    let process = Process::new(pid, parent, old.group(), shared, old.rlimits.fork());
    *process.exe.lock() = old.exe.lock().clone();
    process
        .dumpable
        .store(old.dumpable.load(Ordering::Relaxed), Ordering::Relaxed);
    let filter = old.coredump_filter.load(Ordering::Relaxed);
    process.coredump_filter.store(filter, Ordering::Relaxed);
    process
        .personality
        .store(old.personality.load(Ordering::Relaxed), Ordering::Relaxed);
    process
        .oom_score_adj
        .store(old.oom_score_adj.load(Ordering::Relaxed), Ordering::Relaxed);
    process
        .tty_claim
        .store(old.tty_claim.load(Ordering::Relaxed), Ordering::Relaxed);
    let exit_signal = match args.flags.contains(CloneFlags::PARENT) {
        true => old.exit_signal(),
        false => args.exit_signal,
    };
    process.exit_signal.store(exit_signal, Ordering::Relaxed);
    *process.maker.lock() = match args.flags.contains(CloneFlags::PARENT) {
        true => old.maker.lock().clone(),
        false => {
            me.set_flags(TaskFlags::PARENT);
            Arc::downgrade(&crate::sync::current_arc())
        }
    };
    Ok(process)
}

/// What the child is scheduled by: the parent's parameters, unless it asked for a reset.
///
/// # Errors
/// `EAGAIN` from a deadline task without that: there is no half of a reservation.
fn child_params(me: &CurrentTask) -> Result<(Params, u64)> {
    let mut params = scheduler::params_of(me);
    if params.reset_on_fork {
        if params.policy.is_realtime() || params.policy == Policy::Deadline {
            params = Params {
                policy: Policy::Normal,
                nice: 0,
                reservation: Reservation::NONE,
                ..params
            };
        }
        params.nice = params.nice.max(0);
        params.priority = 0;
        params.reset_on_fork = false;
    }
    match params.policy {
        Policy::Deadline => Err(Errno::EAGAIN),
        _ => Ok((params, me.sched.affinity())),
    }
}

/// The child returns 0 from the call, on its own stack and with its own thread pointer if it asked for these.
fn set_registers(me: &CurrentTask, child: &Task, args: &CloneArgs) -> Result<()> {
    let mut regs = *arch::current_regs();
    regs.rax = 0;
    if args.stack != 0 {
        regs.rsp = args.stack as u64;
    }
    // Steps are the parent's alone.
    me.arch.forget_step_in(&mut regs);
    child.arch.copy_user_state(&me.arch)?;
    if args.flags.contains(CloneFlags::SETTLS) {
        if args.tls >= crate::mm::USER_END {
            return Err(Errno::EPERM);
        }
        child.arch.set_fs_base(args.tls as u64);
    }
    arch::prepare_user_thread(&child.arch, &regs);
    Ok(())
}

/// Makes the child known: from here on others may find, signal and wait for it.
fn publish(me: &CurrentTask, child: &Arc<Task>, args: &CloneArgs, traced: bool) -> Result<()> {
    signal::add_thread(child, super::seccomp::inherit)?;
    pid::publish_task(child);
    let traced = traced || args.flags.contains(CloneFlags::PTRACE) && me.ptrace.is_traced();
    if args.flags.contains(CloneFlags::THREAD) && !traced {
        return Ok(());
    }
    let guard = tree::lock();
    if traced {
        ptrace::init_child(&guard, child);
    }
    if args.flags.contains(CloneFlags::THREAD) {
        return Ok(());
    }
    let parent = match args.flags.contains(CloneFlags::PARENT) {
        true => me.process.parent(),
        false => Some(me.process.clone()),
    };
    tree::adopt(&guard, &child.process, parent.as_ref());
    Ok(())
}

/// `unshare(2)`: gives the running task copies of what it shares.
///
/// # Errors
/// `EINVAL` for what cannot be unshared here: namespaces of other kinds, and memory or signals of a process with more
/// threads. `EPERM` for a namespace without `CAP_SYS_ADMIN`; `ENOMEM`. Nothing is unshared then.
pub fn unshare(flags: CloneFlags) -> Result<usize> {
    let me = current();
    let of_threads = CloneFlags::THREAD | CloneFlags::SIGHAND | CloneFlags::VM;
    let of_task = CloneFlags::FS | CloneFlags::FILES | CloneFlags::SYSVSEM | CloneFlags::NEWUTS;
    if !(of_threads | of_task).contains(flags) {
        return Err(Errno::EINVAL);
    }
    if flags.intersects(of_threads) && me.process.thread_count() > 1 {
        return Err(Errno::EINVAL);
    }
    let has = |flag| flags.contains(flag);
    let files = has(CloneFlags::FILES).then(|| me.my_files().fork());
    let files = files.transpose()?;
    let uts = has(CloneFlags::NEWUTS).then(|| namespace::copy_of(&me));
    let uts = uts.transpose()?;
    if files.is_some() {
        drop(me.replace_files(files));
    }
    if has(CloneFlags::FS) {
        let own = me.my_fs().fork();
        drop(me.replace_fs(Some(own)));
    }
    if uts.is_some() {
        drop(me.replace_uts(uts));
    }
    if has(CloneFlags::SYSVSEM) {
        sem::leave(me.take_undo());
    }
    Ok(0)
}
