//! Taking a filter from user space, for the running thread or for all threads of its process.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::seccomp::{FilterFlags, SECCOMP_MODE_DISABLED, SECCOMP_MODE_FILTER, SockFprog};
use abi::{Errno, Result};
use cbpf::{Insn, MAX_LEN, Program, Refused};

use super::filter::Filter;
use super::listener;
use super::{Seccomp, assign_mode};
use crate::fs::fd::Reserved;
use crate::mm::user::{UserPtr, UserSlice};
use crate::sync::CurrentTask;
use crate::task::{Cap, Task, TaskFlags, current};

/// What all filters of a thread may cost (MAX_INSNS_PER_PATH).
const MAX_COST: usize = (1 << 18) / Insn::SIZE;

/// `SECCOMP_SET_MODE_FILTER`: puts the filter at `fprog` on those of the running thread. Answers 0, the listener's
/// descriptor, or with `TSYNC` the number of a thread that could not be taken along.
///
/// # Errors
/// Those of seccomp(2).
pub fn attach(flags: FilterFlags, fprog: UserPtr<SockFprog>) -> Result<usize> {
    let me = current();
    let program = read_program(&me, fprog)?;
    let listener = match flags.contains(FilterFlags::NEW_LISTENER) {
        true => Some(me.my_files().reserve(true)?),
        false => None,
    };
    let notifier = match listener {
        Some(_) => {
            let killable = flags.contains(FilterFlags::WAIT_KILLABLE_RECV);
            Some(listener::create(killable)?)
        }
        None => None,
    };
    let to_notify = notifier.as_ref().map(|(notifier, _)| notifier.clone());
    let filter = Arc::new(Filter::new(
        program,
        flags.contains(FilterFlags::LOG),
        to_notify,
    ));
    let synced = take(&me, filter, flags)?;
    if synced != 0 {
        return Ok(synced);
    }
    let install = |slot: Reserved, file| slot.fill(file).to_ret();
    Ok(match (listener, notifier) {
        (Some(slot), Some((_, file))) => install(slot, file),
        _ => 0,
    })
}

/// Reads and checks the program, then whether the caller may filter: a filter must not mislead a program that gains
/// rights.
fn read_program(me: &CurrentTask, fprog: UserPtr<SockFprog>) -> Result<Program> {
    let fprog = fprog.read()?;
    let len = usize::from(fprog.len);
    if len == 0 || len > MAX_LEN {
        return Err(Errno::EINVAL);
    }
    if !me.flags().contains(TaskFlags::NO_NEW_PRIVS) && !me.my_cred().capable(Cap::SYS_ADMIN) {
        return Err(Errno::EACCES);
    }
    if fprog.filter == 0 {
        return Err(Errno::EINVAL);
    }
    let bytes = UserSlice::<[u8; Insn::SIZE]>::new(fprog.filter as usize, len)?.to_vec()?;
    let mut insns = Vec::new();
    insns.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    insns.extend(bytes.into_iter().map(Insn::from_bytes));
    Program::new(&insns).map_err(|refused| match refused {
        Refused::NoMemory => Errno::ENOMEM,
        _ => Errno::EINVAL,
    })
}

/// Puts the filter in place, atomically towards other threads that do the same and towards new threads.
fn take(me: &CurrentTask, mut filter: Arc<Filter>, flags: FilterFlags) -> Result<usize> {
    let sync = flags.contains(FilterFlags::TSYNC);
    // An exec in another thread decides about set-id bits by NO_NEW_PRIVS, which a sync would set.
    let _exec = match sync {
        true => Some(me.process.exec_lock.lock_killable()?),
        false => None,
    };
    let shared = me.process.signal.shared.lock();
    if !me.seccomp.may_become(SECCOMP_MODE_FILTER) {
        return Err(Errno::EINVAL);
    }
    let mine = me.seccomp.filter.lock().clone();
    if filter.notifier.is_some() && mine.as_ref().is_some_and(|below| below.has_listener()) {
        return Err(Errno::EBUSY);
    }
    if filter.cost_on(mine.as_ref()) > MAX_COST {
        return Err(Errno::ENOMEM);
    }
    let others = || shared.threads.iter().filter(|task| is_other(task, me));
    if sync && let Some(stranger) = others().find(|task| !can_follow(&task.seccomp, mine.as_ref()))
    {
        return match flags.contains(FilterFlags::TSYNC_ESRCH) {
            true => Err(Errno::ESRCH),
            false => Ok(stranger.tid().0 as usize),
        };
    }
    if let (Some(below), Some(fresh)) = (mine, Arc::get_mut(&mut filter)) {
        fresh.stand_on(below);
    }
    put(&me.seccomp, &filter);
    assign_mode(me, SECCOMP_MODE_FILTER);
    if sync {
        others().for_each(|task| follow(task, me, &filter));
    }
    Ok(0)
}

fn is_other(task: &Arc<Task>, me: &CurrentTask) -> bool {
    let me: &Task = me;
    !core::ptr::eq(Arc::as_ptr(task), me) && !task.flags().contains(TaskFlags::EXITING)
}

/// Whether a thread has no filters but those that the caller has as well.
fn can_follow(thread: &Seccomp, caller: Option<&Arc<Filter>>) -> bool {
    match thread.mode() {
        SECCOMP_MODE_DISABLED => true,
        SECCOMP_MODE_FILTER => {
            let theirs = thread.filter.lock();
            match caller {
                Some(caller) => caller.has_below(theirs.as_ref()),
                None => theirs.is_none(),
            }
        }
        _ => false,
    }
}

/// Replaces the filter by one that stands on it. Frees nothing: the new one's chain holds the old one.
fn put(seccomp: &Seccomp, filter: &Arc<Filter>) {
    *seccomp.filter.lock() = Some(filter.clone());
}

/// Gives another thread the caller's filters.
fn follow(task: &Task, me: &CurrentTask, filter: &Arc<Filter>) {
    if me.flags().contains(TaskFlags::NO_NEW_PRIVS) {
        task.set_flags(TaskFlags::NO_NEW_PRIVS);
    }
    put(&task.seccomp, filter);
    assign_mode(task, SECCOMP_MODE_FILTER);
}
