//! Signals: dispositions, masks, sending, waiting, and the return from a handler.

use abi::signal::{MINSIGSTKSZ, SigAction, SigInfo, SigSet, Signo, StackT, UserSigInfo, si};
use abi::time::Timespec;
use abi::{Errno, Result};

use ::signal::{MaskHow, change_mask};

use crate::arch;
use crate::mm::user::{UserPtr, copy_out};
use crate::signal::{self, mask, perm};
use crate::task::{self, Pid, Process};
use crate::time;
use alloc::sync::Arc;
use zerocopy::IntoBytes;

/// The calls that take a `sigset_t` know one size.
fn check_size(size: usize) -> Result<()> {
    if size == size_of::<SigSet>() {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

pub fn sys_rt_sigaction(
    signum: i32,
    act: UserPtr<SigAction>,
    oldact: UserPtr<SigAction>,
    size: usize,
) -> Result<usize> {
    check_size(size)?;
    let new = act.read_opt()?;
    let signo = Signo::new(signum).ok_or(Errno::EINVAL)?;
    if new.is_some() && SigSet::UNMASKABLE.contains(signo) {
        return Err(Errno::EINVAL);
    }
    let old = signal::change_action(signo, new)?;
    oldact.write_opt(&old)?;
    Ok(0)
}

pub fn sys_rt_sigprocmask(
    how: i32,
    set: UserPtr<SigSet>,
    oldset: UserPtr<SigSet>,
    size: usize,
) -> Result<usize> {
    check_size(size)?;
    let current = task::current();
    let old = current.signal.blocked();
    if let Some(set) = set.read_opt()? {
        let how = MaskHow::from_user(how).ok_or(Errno::EINVAL)?;
        mask::set_blocked(&current, change_mask(old, how, set));
    }
    oldset.write_opt(&old)?;
    Ok(0)
}

pub fn sys_rt_sigpending(set: UserPtr<SigSet>, size: usize) -> Result<usize> {
    if size > size_of::<SigSet>() {
        return Err(Errno::EINVAL);
    }
    let current = task::current();
    let pending = current
        .signal
        .pending()
        .union(current.process.signal.pending());
    let blocked = pending.intersection(current.signal.blocked());
    copy_out(
        set.addr(),
        blocked.as_bytes().get(..size).ok_or(Errno::EINVAL)?,
    )?;
    Ok(0)
}

pub fn sys_rt_sigsuspend(set: UserPtr<SigSet>, size: usize) -> Result<usize> {
    check_size(size)?;
    Err(mask::suspend(set.read()?))
}

pub fn sys_pause() -> Result<usize> {
    Err(mask::pause())
}

pub fn sys_rt_sigtimedwait(
    these: UserPtr<SigSet>,
    info: UserPtr<UserSigInfo>,
    timeout: UserPtr<Timespec>,
    size: usize,
) -> Result<usize> {
    check_size(size)?;
    let these = these.read()?;
    let deadline = match timeout.read_opt()? {
        None => None,
        Some(ts) => match ts.to_ns().ok_or(Errno::EINVAL)? {
            0 => Some(0),
            ns => Some(time::monotonic_ns().saturating_add(ns)),
        },
    };
    let (signo, taken) = mask::wait_for(these, deadline)?;
    info.write_opt(&taken.to_user())?;
    Ok(usize::from(signo.get()))
}

pub fn sys_rt_sigreturn() -> Result<usize> {
    Ok(signal::sigreturn(arch::current_regs()) as usize)
}

pub fn sys_restart_syscall() -> Result<usize> {
    signal::run_restart()
}

pub fn sys_sigaltstack(new: UserPtr<StackT>, old: UserPtr<StackT>) -> Result<usize> {
    let sp = arch::current_regs().rsp;
    let wanted = new.read_opt()?;
    let before = signal::change_alt_stack(wanted, sp, MINSIGSTKSZ)?;
    old.write_opt(&before)?;
    Ok(0)
}

/// Permission first, then the signal; `None` is the null signal, which only asks.
pub(super) fn send_checked(process: &Arc<Process>, sig: i32, info: Option<SigInfo>) -> Result<()> {
    let signo = Signo::new(sig);
    if signo.is_none() && sig != 0 {
        return Err(Errno::EINVAL);
    }
    // What the kernel itself says (codes above SI_USER, from rt_sigqueueinfo to oneself) needs no permission.
    let trusted = info.is_some_and(|info| info.si_code > si::USER);
    if !trusted && !perm::may_signal(process, signo) {
        return Err(Errno::EPERM);
    }
    match signo {
        None => Ok(()),
        Some(signo) => {
            let info = info.unwrap_or_else(|| signal::info_from_current(signo, false));
            signal::send_to_process(process, info)
        }
    }
}

pub fn sys_kill(pid: Pid, sig: i32) -> Result<usize> {
    match pid.0 {
        1.. => {
            let process = task::find_process(pid)
                .or_else(|| task::find_task(pid).map(|task| task.process.clone()))
                .ok_or(Errno::ESRCH)?;
            send_checked(&process, sig, None)?;
        }
        -1 => kill_all(sig)?,
        i32::MIN => return Err(Errno::ESRCH),
        0 => kill_group(task::current().process.pgid(), sig)?,
        _ => kill_group(Pid(pid.0.wrapping_neg()), sig)?,
    }
    Ok(0)
}

/// Every process but init and the caller. The result is the last error that is not EPERM.
fn kill_all(sig: i32) -> Result<()> {
    let me = task::current().process.clone();
    let mut result = Err(Errno::ESRCH);
    let mut first = true;
    task::for_each_process(|process| {
        if process.is_init() || Arc::ptr_eq(process, &me) {
            return;
        }
        if core::mem::take(&mut first) {
            result = Ok(());
        }
        match send_checked(process, sig, None) {
            Err(Errno::EPERM) => {}
            other => result = other,
        }
    });
    result
}

/// One success is enough.
fn kill_group(pgid: Pid, sig: i32) -> Result<()> {
    let group = task::tree::find_group(pgid).ok_or(Errno::ESRCH)?;
    let mut success = false;
    let mut last = Err(Errno::ESRCH);
    for process in group.members() {
        last = send_checked(&process, sig, None);
        success |= last.is_ok();
    }
    if success { Ok(()) } else { last }
}

/// Sends to one thread, of a given process unless `tgid` is `None`.
fn send_to_thread(tgid: Option<Pid>, tid: Pid, sig: i32, info: Option<SigInfo>) -> Result<usize> {
    let task = task::find_task(tid).ok_or(Errno::ESRCH)?;
    if tgid.is_some_and(|tgid| task.process.pid != tgid) {
        return Err(Errno::ESRCH);
    }
    let signo = Signo::new(sig);
    if signo.is_none() && sig != 0 {
        return Err(Errno::EINVAL);
    }
    let trusted = info.is_some_and(|info| info.si_code > si::USER);
    if !trusted && !perm::may_signal(&task.process, signo) {
        return Err(Errno::EPERM);
    }
    if let Some(signo) = signo {
        let info = info.unwrap_or_else(|| signal::info_from_current(signo, true));
        signal::send_to_task(&task, info)?;
    }
    Ok(0)
}

pub fn sys_tkill(tid: Pid, sig: i32) -> Result<usize> {
    if tid.0 <= 0 {
        return Err(Errno::EINVAL);
    }
    send_to_thread(None, tid, sig, None)
}

pub fn sys_tgkill(tgid: Pid, tid: Pid, sig: i32) -> Result<usize> {
    if tid.0 <= 0 || tgid.0 <= 0 {
        return Err(Errno::EINVAL);
    }
    send_to_thread(Some(tgid), tid, sig, None)
}

/// Only to oneself may a process pretend that the kernel or `kill` sent a signal.
fn check_forged(info: &SigInfo, target: Pid) -> Result<()> {
    let forged = info.si_code >= 0 || info.si_code == si::TKILL;
    if forged && task::current().process.pid != target {
        return Err(Errno::EPERM);
    }
    Ok(())
}

fn read_info(uinfo: UserPtr<UserSigInfo>, sig: i32) -> Result<SigInfo> {
    SigInfo::from_user(&uinfo.read()?, sig).ok_or(Errno::E2BIG)
}

pub fn sys_rt_sigqueueinfo(pid: Pid, sig: i32, uinfo: UserPtr<UserSigInfo>) -> Result<usize> {
    let info = read_info(uinfo, sig)?;
    check_forged(&info, pid)?;
    let process = task::find_process(pid)
        .or_else(|| task::find_task(pid).map(|task| task.process.clone()))
        .ok_or(Errno::ESRCH)?;
    send_checked(&process, sig, Some(info))?;
    Ok(0)
}

pub fn sys_rt_tgsigqueueinfo(
    tgid: Pid,
    tid: Pid,
    sig: i32,
    uinfo: UserPtr<UserSigInfo>,
) -> Result<usize> {
    let info = read_info(uinfo, sig)?;
    if tid.0 <= 0 || tgid.0 <= 0 {
        return Err(Errno::EINVAL);
    }
    let forged = info.si_code >= 0 || info.si_code == si::TKILL;
    if forged && task::current().tid() != tid {
        return Err(Errno::EPERM);
    }
    send_to_thread(Some(tgid), tid, sig, Some(info))
}
