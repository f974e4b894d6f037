//! Who is told by signal that a file became ready: `F_SETOWN`, `F_SETSIG`, `O_ASYNC`.
//!
//! What becomes ready keeps a [`FasyncList`] of the files to tell; as long as there are none, telling them is one
//! load. Tellers are tasks and hold no spin lock.
//!
//! Reference: fcntl(2), "Managing signals".

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use abi::fs::{F_OWNER_PGRP, F_OWNER_PID, F_OWNER_TID, FOwnerEx, OpenFlags};
use abi::signal::{SigInfo, Signo, si};
use abi::{Errno, Result};
use ksync::SpinLock;

use super::File;
use crate::signal;
use crate::task::tree::{self, ProcessGroup};
use crate::task::{self, Pid, Process, Task, pid};

/// What happened: `POLL_*`, the `si_code` of the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Band {
    In = 1,
    Out = 2,
    /// A lease is to be given up, or a directory changed.
    Msg = 3,
    /// Urgent data.
    Pri = 5,
    Hup = 6,
}

impl Band {
    /// `si_band`: the events of `poll` that the code stands for.
    const fn events(self) -> i64 {
        const POLLIN: i64 = 1;
        const POLLPRI: i64 = 2;
        const POLLOUT: i64 = 4;
        const POLLERR: i64 = 8;
        const POLLHUP: i64 = 16;
        const POLLRDNORM: i64 = 0x40;
        const POLLRDBAND: i64 = 0x80;
        const POLLWRNORM: i64 = 0x100;
        const POLLWRBAND: i64 = 0x200;
        const POLLMSG: i64 = 0x400;
        match self {
            Self::In => POLLIN | POLLRDNORM,
            Self::Out => POLLOUT | POLLWRNORM | POLLWRBAND,
            Self::Msg => POLLIN | POLLRDNORM | POLLMSG,
            Self::Pri => POLLPRI | POLLRDBAND,
            Self::Hup => POLLHUP | POLLERR,
        }
    }
}

#[derive(Clone)]
enum Receiver {
    Task(Weak<Task>),
    Process(Weak<Process>),
    Group(Weak<ProcessGroup>),
}

/// The receiver, and whose right to signal it counts: that of who named it.
#[derive(Clone)]
pub struct Owner {
    receiver: Receiver,
    id: i32,
    uid: u32,
    euid: u32,
}

impl Owner {
    fn new(receiver: Receiver, id: i32) -> Self {
        let task = task::current();
        let cred = task.my_cred();
        Self {
            receiver,
            id,
            uid: cred.uid,
            euid: cred.euid,
        }
    }

    /// The running process.
    pub fn current() -> Self {
        let process = &task::current().process;
        Self::new(Receiver::Process(Arc::downgrade(process)), process.pid.0)
    }

    /// A process group.
    pub fn group(group: &Arc<ProcessGroup>, id: Pid) -> Self {
        Self::new(Receiver::Group(Arc::downgrade(group)), id.0)
    }

    /// Its `F_OWNER_*` and number; `None` once it is gone.
    pub fn name(&self) -> Option<(i32, i32)> {
        let there = |kind, same: bool| same.then_some((kind, self.id));
        match &self.receiver {
            Receiver::Task(task) => there(
                F_OWNER_TID,
                pid::find_task(Pid(self.id)).is_some_and(|now| now_is(&now, task)),
            ),
            Receiver::Process(process) => there(
                F_OWNER_PID,
                pid::find_process(Pid(self.id)).is_some_and(|now| now_is(&now, process)),
            ),
            Receiver::Group(group) => there(
                F_OWNER_PGRP,
                tree::find_group(Pid(self.id)).is_some_and(|now| now_is(&now, group)),
            ),
        }
    }

    fn may_signal(&self, process: &Process) -> bool {
        let target = process.cred();
        let same = |id| id == target.suid || id == target.uid;
        self.euid == 0 || same(self.euid) || same(self.uid)
    }

    fn tell(&self, signo: i32, band: Band, fd: i32) {
        self.each(|process, task| self.send(process, task, signo, band, fd));
    }

    /// Sends SIGURG, of which nothing more is said.
    fn tell_urgent(&self) {
        self.each(|process, task| {
            if self.may_signal(process) {
                // A standard signal is always accepted.
                let _ = deliver(process, task, SigInfo::kernel(Signo::URG));
            }
        });
    }

    /// All processes that are signalled, or the one thread of it.
    fn each(&self, tell: impl Fn(&Process, Option<&Arc<Task>>)) {
        match &self.receiver {
            Receiver::Task(task) => {
                if let Some(task) = task.upgrade() {
                    tell(&task.process, Some(&task));
                }
            }
            Receiver::Process(process) => {
                if let Some(process) = process.upgrade() {
                    tell(&process, None);
                }
            }
            Receiver::Group(group) => {
                let members = group.upgrade().map(|group| group.members());
                for process in members.unwrap_or_default() {
                    tell(&process, None);
                }
            }
        }
    }

    /// Sends the signal with its information, or where that finds no room, plain SIGIO.
    fn send(&self, process: &Process, task: Option<&Arc<Task>>, signo: i32, band: Band, fd: i32) {
        if !self.may_signal(process) {
            return;
        }
        let sent = Signo::new(signo).map(|signo| {
            let code = if has_own_codes(signo) {
                si::SIGIO
            } else {
                band as i32
            };
            deliver(process, task, SigInfo::poll(signo, code, band.events(), fd))
        });
        if !matches!(sent, Some(Ok(()))) {
            // A standard signal is always accepted.
            let _ = deliver(process, task, SigInfo::kernel(Signo::IO));
        }
    }
}

fn deliver(process: &Process, task: Option<&Arc<Task>>, info: SigInfo) -> Result<()> {
    match task {
        Some(task) => signal::send_to_task(task, info),
        None => signal::send_to_process(process, info),
    }
}

fn now_is<T>(now: &Arc<T>, then: &Weak<T>) -> bool {
    core::ptr::eq(Arc::as_ptr(now), then.as_ptr())
}

/// Whether `si_code` means something else with this signal, so that `POLL_*` would mislead.
fn has_own_codes(signo: Signo) -> bool {
    [
        Signo::ILL,
        Signo::FPE,
        Signo::SEGV,
        Signo::BUS,
        Signo::TRAP,
        Signo::CHLD,
        Signo::SYS,
    ]
    .contains(&signo)
}

/// The asynchronous notification of one open file description.
#[derive(Default)]
pub struct Async {
    owner: SpinLock<Option<Owner>>,
    /// 0: SIGIO without information.
    signal: AtomicI32,
    /// The descriptor by which `O_ASYNC` was set.
    fd: AtomicI32,
}

impl Async {
    pub fn owner(&self) -> Option<Owner> {
        self.owner.lock().clone()
    }
    pub fn set_owner(&self, owner: Option<Owner>) {
        let old = core::mem::replace(&mut *self.owner.lock(), owner);
        drop(old);
    }
    pub fn signal(&self) -> i32 {
        self.signal.load(Ordering::Relaxed)
    }
    pub fn set_signal(&self, signal: i32) {
        self.signal.store(signal, Ordering::Relaxed);
    }
    pub fn set_fd(&self, fd: i32) {
        self.fd.store(fd, Ordering::Relaxed);
    }

    /// Signals the owner, if there is one.
    pub fn tell(&self, band: Band) {
        self.tell_of(band, self.fd.load(Ordering::Relaxed));
    }

    /// As [`Self::tell`], of this descriptor.
    pub fn tell_of(&self, band: Band, fd: i32) {
        if let Some(owner) = self.owner() {
            owner.tell(self.signal(), band, fd);
        }
    }
}

/// The files with `O_ASYNC` that are to be told of one kind of readiness.
///
/// # Invariants
/// `used` says whether `entries` has any; it may be late by what is changed at the same time.
#[derive(Default)]
pub struct FasyncList {
    used: AtomicBool,
    /// Replaced as a whole, so that those told need no lock.
    entries: SpinLock<Arc<Vec<Arc<Async>>>>,
}

impl FasyncList {
    /// Tells every file. Not under a spin lock, nor in an interrupt.
    #[inline]
    pub fn tell(&self, band: Band) {
        if self.is_used() {
            self.tell_all(band);
        }
    }

    #[inline]
    pub fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    #[cold]
    fn tell_all(&self, band: Band) {
        let entries = self.entries.lock().clone();
        for entry in entries.iter() {
            entry.tell(band);
        }
    }

    /// Tells every file's owner of urgent data; whether there is any.
    pub fn tell_urgent(&self) -> bool {
        if !self.is_used() {
            return false;
        }
        let entries = self.entries.lock().clone();
        let owners = entries.iter().filter_map(|entry| entry.owner());
        owners.map(|owner| owner.tell_urgent()).count() != 0
    }

    /// Tells those files of urgent data that have a signal of their own.
    pub fn tell_chosen(&self) {
        let entries = self.entries.lock().clone();
        for entry in entries.iter().filter(|entry| entry.signal() != 0) {
            entry.tell(Band::Pri);
        }
    }

    fn add(&self, state: &Arc<Async>) {
        self.change(|entries| {
            if !entries.iter().any(|entry| Arc::ptr_eq(entry, state)) {
                entries.push(state.clone());
            }
        });
    }

    fn remove(&self, state: &Arc<Async>) {
        self.change(|entries| entries.retain(|entry| !Arc::ptr_eq(entry, state)));
    }

    /// Changes a copy, and puts it in place unless somebody else did meanwhile.
    fn change(&self, f: impl Fn(&mut Vec<Arc<Async>>)) {
        loop {
            let old = self.entries.lock().clone();
            let mut new = Vec::clone(&old);
            f(&mut new);
            let used = !new.is_empty();
            let mut new = Arc::new(new);
            let mut entries = self.entries.lock();
            let unchanged = Arc::ptr_eq(&entries, &old);
            if unchanged {
                core::mem::swap(&mut *entries, &mut new);
                self.used.store(used, Ordering::Relaxed);
            }
            drop(entries);
            if unchanged {
                return;
            }
        }
    }
}

/// Sets or clears `O_ASYNC` by the descriptor `fd`; false if the file has no such thing.
pub fn set(file: &File, fd: i32, on: bool) -> bool {
    let Some(lists) = file.ops().fasync(file) else {
        return false;
    };
    let state = file.fasync_or_new();
    state.set_fd(fd);
    if on && state.owner().is_none() {
        state.set_owner(file.ops().default_owner());
    }
    for list in lists.into_iter().flatten() {
        if on {
            list.add(state);
        } else {
            list.remove(state);
        }
    }
    file.change_flags(OpenFlags::ASYNC, on);
    true
}

/// Names who is told.
pub fn set_owner(file: &File, owner: Option<Owner>) {
    let state = file.fasync_or_new();
    state.set_owner(owner);
    if let Some(list) = file.ops().urgent_owners() {
        list.add(state);
    }
}

/// The file is closed for good.
pub fn release(file: &File) {
    let Some(state) = file.fasync() else {
        return;
    };
    if let Some(list) = file.ops().urgent_owners() {
        list.remove(state);
    }
    if file.flags().contains(OpenFlags::ASYNC) {
        set(file, -1, false);
    }
}

/// From `F_SETOWN`'s number: a process, or if negative a group. ESRCH if there is none, as on Linux.
pub fn owner_from_number(number: i32) -> Result<Option<Owner>> {
    match number.checked_neg() {
        None => Err(Errno::EINVAL),
        Some(group) if group > 0 => find(F_OWNER_PGRP, group),
        Some(_) => find(F_OWNER_PID, number),
    }
}

/// From `struct f_owner_ex`.
pub fn owner_from_struct(owner: &FOwnerEx) -> Result<Option<Owner>> {
    if !matches!(owner.kind, F_OWNER_TID | F_OWNER_PID | F_OWNER_PGRP) {
        return Err(Errno::EINVAL);
    }
    find(owner.kind, owner.pid)
}

fn find(kind: i32, id: i32) -> Result<Option<Owner>> {
    if id == 0 {
        return Ok(None);
    }
    let receiver = match kind {
        F_OWNER_TID => pid::find_task(Pid(id)).map(|task| Receiver::Task(Arc::downgrade(&task))),
        F_OWNER_PID => {
            pid::find_process(Pid(id)).map(|process| Receiver::Process(Arc::downgrade(&process)))
        }
        _ => tree::find_group(Pid(id)).map(|group| Receiver::Group(Arc::downgrade(&group))),
    };
    match receiver {
        Some(receiver) => Ok(Some(Owner::new(receiver, id))),
        None => Err(Errno::ESRCH),
    }
}

/// The owner as `F_GETOWN` gives it: 0 for none, a group's number negative.
pub fn owner_number(file: &File) -> i32 {
    match file.fasync().and_then(|state| state.owner()?.name()) {
        Some((F_OWNER_PGRP, id)) => -id,
        Some((_, id)) => id,
        None => 0,
    }
}
