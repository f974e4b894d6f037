//! Resource limits and usage.

use abi::resource::{Rlimit64, RusageAbi};
use abi::{Errno, Result};
use alloc::sync::Arc;

use crate::fs::fd::NR_OPEN;
use crate::mm::user::UserPtr;
use crate::task::rlimit::{Resource, Rlimit};
use crate::task::usage::Rusage;
use crate::task::{self, Cap, Pid, Process, current};

pub fn sys_getrlimit(resource: u32, limit: usize) -> Result<usize> {
    let resource = Resource::from_raw(resource).ok_or(Errno::EINVAL)?;
    let Rlimit { soft, hard } = current().process.rlimits.get(resource);
    UserPtr::<Rlimit64>::from(limit).write(&Rlimit64 { soft, hard })?;
    Ok(0)
}

pub fn sys_setrlimit(resource: u32, limit: usize) -> Result<usize> {
    let new = UserPtr::<Rlimit64>::from(limit).read()?;
    let resource = Resource::from_raw(resource).ok_or(Errno::EINVAL)?;
    set(&current().process, resource, new)?;
    Ok(0)
}

pub fn sys_prlimit64(pid: Pid, resource: u32, new: usize, old: usize) -> Result<usize> {
    let resource = Resource::from_raw(resource).ok_or(Errno::EINVAL)?;
    let new = match new {
        0 => None,
        address => Some(UserPtr::<Rlimit64>::from(address).read()?),
    };
    let process = match pid.0 {
        0 => current().process.clone(),
        _ => other_process(pid)?,
    };
    let Rlimit { soft, hard } = process.rlimits.get(resource);
    if let Some(new) = new {
        set(&process, resource, new)?;
    }
    if old != 0 {
        UserPtr::<Rlimit64>::from(old).write(&Rlimit64 { soft, hard })?;
    }
    Ok(0)
}

/// Another process, if the caller is the same user through and through or may do all.
fn other_process(pid: Pid) -> Result<Arc<Process>> {
    let target = task::find_task(pid).ok_or(Errno::ESRCH)?;
    let (mine, theirs) = (current().cred(), target.cred());
    let same_user = [theirs.uid, theirs.euid, theirs.suid]
        .iter()
        .all(|uid| *uid == mine.uid);
    let same_group = [theirs.gid, theirs.egid, theirs.sgid]
        .iter()
        .all(|gid| *gid == mine.gid);
    if same_user && same_group || mine.capable(Cap::SYS_RESOURCE) {
        Ok(target.process.clone())
    } else {
        Err(Errno::EPERM)
    }
}

fn set(process: &Process, resource: Resource, new: Rlimit64) -> Result<()> {
    if new.soft > new.hard {
        return Err(Errno::EINVAL);
    }
    if resource == Resource::Nofile && new.hard > NR_OPEN.get() as u64 {
        return Err(Errno::EPERM);
    }
    let may_raise = current().my_cred().capable(Cap::SYS_RESOURCE);
    let wanted = Rlimit {
        soft: new.soft,
        hard: new.hard,
    };
    process.rlimits.set(resource, wanted, |old| {
        if new.hard > old.hard && !may_raise {
            Err(Errno::EPERM)
        } else {
            Ok(())
        }
    })
}

pub fn sys_getrusage(who: i32, usage: usize) -> Result<usize> {
    const RUSAGE_SELF: i32 = 0;
    const RUSAGE_CHILDREN: i32 = -1;
    const RUSAGE_THREAD: i32 = 1;
    let me = current();
    let used = match who {
        RUSAGE_SELF => me.process.rusage(),
        RUSAGE_CHILDREN => *me.process.usage.children.lock(),
        RUSAGE_THREAD => {
            let max_rss_kib = me.my_mm().max_rss_kib();
            Rusage {
                max_rss_kib,
                ..me.rusage()
            }
        }
        _ => return Err(Errno::EINVAL),
    };
    write_rusage(usage, &used)?;
    Ok(0)
}

/// Stores a `struct rusage`.
///
/// # Errors
/// `EFAULT`.
pub(super) fn write_rusage(to: usize, used: &Rusage) -> Result<()> {
    let micros = |ns: u64| {
        [
            (ns / 1_000_000_000) as i64,
            (ns % 1_000_000_000 / 1_000) as i64,
        ]
    };
    UserPtr::<RusageAbi>::from(to).write(&RusageAbi {
        user: micros(used.user_ns),
        system: micros(used.system_ns),
        max_rss_kib: used.max_rss_kib as i64,
        minor_faults: used.minor_faults as i64,
        major_faults: used.major_faults as i64,
        voluntary_switches: used.voluntary_switches as i64,
        involuntary_switches: used.involuntary_switches as i64,
        ..RusageAbi::default()
    })
}
