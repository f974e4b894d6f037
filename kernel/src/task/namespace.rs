//! UTS namespaces: the host's and the domain's name, as a set of tasks sees them. Owns their numbers too. Files that name a
//! namespace are in `fs::nsfs`. There is one namespace of each other kind, and no call makes or enters one.
//!
//! References: namespaces(7), uts_namespaces(7), setns(2), unshare(2), ioctl_ns(2).

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::{Errno, Result};
use spin::Once;

use super::clone::CloneFlags;
use super::process::Process;
use super::ptrace::{self, AccessMode};
use super::{Cap, pidfd};
use crate::fs::{Dentry, nsfs};
use crate::sync::census::{self, Live};
use crate::sync::{CurrentTask, SpinLock, current};

/// Bytes of a name with its NUL (`__NEW_UTS_LEN` + 1).
pub const NAME_LEN: usize = 65;

/// A name, filled with NULs.
pub type Name = [u8; NAME_LEN];

/// What the names are until somebody sets them.
const UNNAMED: Name = {
    let mut name = [0; NAME_LEN];
    let (start, _) = name.split_at_mut(6);
    start.copy_from_slice(b"(none)");
    name
};

/// The names of a namespace.
#[derive(Clone, Copy)]
pub struct Names {
    /// The host's.
    pub hostname: Name,
    /// The NIS domain's.
    pub domainname: Name,
}

/// The host's and the domain's name, for the tasks that are in it. Lives as long as a task, an open file or a mount has it.
pub struct UtsNamespace {
    _live: Live<{ census::UTS_NAMESPACES }>,
    number: Number,
    names: SpinLock<Names>,
    /// What shows it while a file or a mount does.
    pub shown: SpinLock<Weak<Dentry>>,
}

impl UtsNamespace {
    fn new(number: Number, names: Names) -> Arc<Self> {
        Arc::new(Self {
            _live: Live::new(),
            number,
            names: SpinLock::new(names),
            shown: SpinLock::new(Weak::new()),
        })
    }

    /// The first one, of all tasks that were not given another.
    pub fn initial() -> &'static Arc<Self> {
        static INITIAL: Once<Arc<UtsNamespace>> = Once::new();
        INITIAL.call_once(|| {
            let names = Names {
                hostname: UNNAMED,
                domainname: UNNAMED,
            };
            Self::new(Number(Number::INITIAL), names)
        })
    }

    /// Another one, with the same names.
    ///
    /// # Errors
    /// `ENOMEM`, `ENOSPC`.
    fn copy(&self) -> Result<Arc<Self>> {
        Ok(Self::new(Number::take()?, self.names()))
    }

    /// The inode number of its files, by which users tell namespaces apart.
    pub fn number(&self) -> u32 {
        self.number.0
    }

    /// The names now.
    pub fn names(&self) -> Names {
        *self.names.lock()
    }

    /// Sets the host's name.
    pub fn set_hostname(&self, name: Name) {
        self.names.lock().hostname = name;
    }

    /// Sets the NIS domain's name.
    pub fn set_domainname(&self, name: Name) {
        self.names.lock().domainname = name;
    }
}

/// The number of a namespace; free again once this is dropped.
struct Number(u32);

/// Which numbers are taken: a bit for each, from [`Number::FIRST`] on.
static TAKEN: SpinLock<Vec<u64>> = SpinLock::new(Vec::new());

impl Number {
    /// That of the first UTS namespace (`PROC_UTS_INIT_INO`).
    const INITIAL: u32 = 0xefff_fffe;
    /// The least of the others (`PROC_DYNAMIC_FIRST`).
    const FIRST: u32 = 0xf000_0000;

    /// Takes the least free one.
    fn take() -> Result<Self> {
        loop {
            let words = {
                let mut taken = TAKEN.lock();
                let free = (0..).zip(&mut *taken).find(|(_, word)| **word != u64::MAX);
                if let Some((index, word)) = free {
                    let bit = word.trailing_ones();
                    let number = Self::FIRST.checked_add(64 * index + bit);
                    let number = number.ok_or(Errno::ENOSPC)?;
                    *word |= 1 << bit;
                    return Ok(Self(number));
                }
                taken.len()
            };
            Self::make_room(words)?;
        }
    }

    /// Doubles the bits, unless somebody else has: there were so many `words` of them.
    fn make_room(words: usize) -> Result<()> {
        let len = 2 * words.max(1);
        let mut more = Vec::new();
        more.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
        more.resize(len, 0);
        let mut taken = TAKEN.lock();
        if taken.len() == words {
            // As long as `words`, which is at most half of it.
            let (start, _) = more.split_at_mut(words);
            start.copy_from_slice(&taken);
            core::mem::swap(&mut *taken, &mut more);
        }
        drop(taken);
        // The bits from before, now without the lock.
        drop(more);
        Ok(())
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        if let Some(index) = self.0.checked_sub(Self::FIRST)
            && let Some(word) = TAKEN.lock().get_mut(index as usize / 64)
        {
            *word &= !(1 << (index % 64));
        }
    }
}

/// A copy of the running task's namespace, for itself or a child.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`, `ENOMEM`, `ENOSPC`.
pub(super) fn copy_of(me: &CurrentTask) -> Result<Arc<UtsNamespace>> {
    check_privilege(me)?;
    me.my_uts().copy()
}

fn check_privilege(me: &CurrentTask) -> Result<()> {
    match me.my_cred().capable(Cap::SYS_ADMIN) {
        true => Ok(()),
        false => Err(Errno::EPERM),
    }
}

/// `setns(2)`: the running task goes to the namespace that a file names, or to that of a pidfd's process. `kinds` is what it
/// asks for of `CLONE_NEW*`, 0 for whatever the file is of.
///
/// # Errors
/// `EBADF`; `EINVAL` for another kind than the file's, or other files; `ESRCH` for a process that has ended; `EPERM` when the
/// caller may not look into it, or without `CAP_SYS_ADMIN`.
pub fn enter(fd: i32, kinds: u64) -> Result<()> {
    let me = current();
    let file = me.my_files().get(fd)?;
    let is_uts = kinds == CloneFlags::NEWUTS.bits();
    let namespace = match (nsfs::namespace_of(&file), pidfd::named_by(&file)) {
        (Some(namespace), _) if kinds == 0 || is_uts => namespace,
        (None, Some(process)) if is_uts => namespace_of(&process)?,
        _ => return Err(Errno::EINVAL),
    };
    check_privilege(&me)?;
    drop(me.replace_uts(Some(namespace)));
    Ok(())
}

/// The namespace of a process's first thread, for who may look into it.
fn namespace_of(process: &Arc<Process>) -> Result<Arc<UtsNamespace>> {
    pidfd::check_there(process)?;
    let leader = process.main_thread().filter(|task| task.is_leader());
    let may_access = match &leader {
        Some(leader) => ptrace::may_access(leader, AccessMode::RealCreds),
        None => {
            let remains = process.remains.lock();
            let cred = remains.as_ref().map(|remains| remains.cred.clone());
            drop(remains);
            let cred = cred.ok_or(Errno::ESRCH)?;
            ptrace::may_access_as(process, &cred, false, AccessMode::RealCreds)
        }
    };
    match may_access {
        true => leader.and_then(|task| task.uts()).ok_or(Errno::ESRCH),
        false => Err(Errno::EPERM),
    }
}
