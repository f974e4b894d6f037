//! Job control: controlling terminals, foreground groups, and hanging up.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;

use abi::signal::{SigInfo, SigSet, Signo};
use abi::{Errno, Result};

use super::core::{Control, Tty};
use crate::signal;
use crate::sync::SpinLock;
use crate::task::tree::{self, ProcessGroup, Session};
use crate::task::{self, Cap, Pid, Process};

/// Groups that were in the foreground when their terminal was hung up, by session: they hear of the leader's end too.
static LOST: SpinLock<BTreeMap<Pid, Weak<ProcessGroup>>> = SpinLock::new(BTreeMap::new());

/// Signals a group as the kernel.
pub fn signal_group(group: &ProcessGroup, signo: Signo) {
    signal::send_to_group(group, SigInfo::kernel(signo));
}

/// The controlling terminal of the calling process.
pub fn current_tty() -> Option<Arc<Tty>> {
    task::current().process.tty()
}

/// Whether the calling process leads its session.
fn leads_session(process: &Process) -> bool {
    process.sid() == process.pid
}

impl Tty {
    /// Whether this is the controlling terminal of the calling process.
    pub fn is_current(self: &Arc<Tty>) -> bool {
        current_tty().is_some_and(|tty| Arc::ptr_eq(&tty, self))
    }

    /// The foreground group, while it exists.
    pub fn foreground(&self) -> Option<Arc<ProcessGroup>> {
        let (id, session) = {
            let state = self.state.lock();
            let (id, group) = state.control.foreground.as_ref()?;
            if !group.ptr_eq(&Weak::new()) {
                return group.upgrade();
            }
            (*id, state.control.session.upgrade()?)
        };
        // It was named before it was made.
        tree::find_group(id).filter(|group| Arc::ptr_eq(&group.session, &session))
    }

    /// Signals the foreground group.
    pub fn signal_foreground(&self, signo: Signo) {
        if let Some(group) = self.foreground() {
            signal_group(&group, signo);
        }
    }

    /// Whether the calling process may do what only the foreground may. `signo` is SIGTTIN or SIGTTOU.
    ///
    /// # Errors
    /// `ERESTARTSYS` after signalling the caller's group, `EIO` where that would not stop it.
    pub fn check_foreground(self: &Arc<Tty>, signo: Signo) -> Result<()> {
        if !self.is_current() {
            return Ok(());
        }
        let current = task::current();
        let group = current.process.group();
        match &self.state.lock().control.foreground {
            Some((id, _)) if *id != group.id => {}
            _ => return Ok(()),
        }
        let ignored = current.process.signal.hand.get().ignored();
        let blocked = current.signal.blocked();
        if ignored.union(blocked).intersects(SigSet::of(signo)) {
            return if signo == Signo::TTIN {
                Err(Errno::EIO)
            } else {
                Ok(())
            };
        }
        if tree::is_orphaned(&group, None) {
            return Err(Errno::EIO);
        }
        signal_group(&group, signo);
        Err(Errno::ERESTARTSYS)
    }

    /// Becomes the controlling terminal of the calling process, which leads a session without one.
    fn become_controlling(self: &Arc<Tty>) {
        let process = task::current().process.clone();
        let (group, session) = (process.group(), process.session());
        let control = Control {
            session: Arc::downgrade(&session),
            foreground: Some((group.id, Arc::downgrade(&group))),
        };
        let old = core::mem::replace(&mut self.state.lock().control, control);
        let (claim, old_tty) = session.take_tty(self.clone());
        process.tty_claim.store(claim, Ordering::Relaxed);
        LOST.lock().remove(&session.id);
        drop((old, old_tty));
    }

    /// An open without `O_NOCTTY`: the first terminal a leader opens becomes its session's.
    pub fn adopt_on_open(self: &Arc<Tty>) {
        let process = task::current().process.clone();
        let free = self.state.lock().control.session.upgrade().is_none();
        if leads_session(&process) && process.session().tty().is_none() && free {
            self.become_controlling();
        }
    }

    /// `TIOCSCTTY`.
    ///
    /// # Errors
    /// `EPERM` unless the caller leads a session without terminal, and for another session's terminal unless
    /// stolen (`steal` and the capability).
    pub fn set_controlling(self: &Arc<Tty>, steal: bool, readable: bool) -> Result<()> {
        let current = task::current();
        let process = &current.process;
        let session = process.session();
        let owner = self.state.lock().control.session.upgrade();
        let leader = leads_session(process);
        if leader
            && owner
                .as_ref()
                .is_some_and(|owner| Arc::ptr_eq(owner, &session))
        {
            return Ok(());
        }
        if !leader || session.tty().is_some() {
            return Err(Errno::EPERM);
        }
        let admin = current.my_cred().capable(Cap::SYS_ADMIN);
        if let Some(owner) = owner {
            if !(steal && admin) {
                return Err(Errno::EPERM);
            }
            drop(owner.lose_tty());
        }
        if !readable && !admin {
            return Err(Errno::EPERM);
        }
        self.become_controlling();
        Ok(())
    }

    /// `TIOCSPGRP`, once the caller may change the terminal.
    ///
    /// # Errors
    /// Those of tcsetpgrp(3).
    pub fn set_foreground(self: &Arc<Tty>, pgid: i32) -> Result<()> {
        if pgid < 0 {
            return Err(Errno::EINVAL);
        }
        let session = task::current().process.session();
        let ours = {
            let state = self.state.lock();
            state
                .control
                .session
                .upgrade()
                .is_some_and(|owner| Arc::ptr_eq(&owner, &session))
        };
        if !ours || !self.is_current() {
            return Err(Errno::ENOTTY);
        }
        let id = Pid(pgid);
        let (group, its_session) = match tree::find_group(id) {
            Some(group) => (Arc::downgrade(&group), group.session.clone()),
            // As on Linux the number of any process will do: its group may be made later.
            None => {
                let process = task::find_process(id).ok_or(Errno::ESRCH)?;
                (Weak::new(), process.session())
            }
        };
        if !Arc::ptr_eq(&its_session, &session) {
            return Err(Errno::EPERM);
        }
        let new = Some((id, group));
        let old = core::mem::replace(&mut self.state.lock().control.foreground, new);
        drop(old);
        Ok(())
    }

    /// The carrier is gone, or somebody asked (`vhangup`): whoever has the terminal open has it no more. The leader
    /// of its session gets SIGHUP and SIGCONT; with `to_foreground` the foreground group gets SIGHUP too.
    pub fn hang_up(&self, to_foreground: bool) {
        let control = {
            let mut state = self.state.lock();
            state.ldisc.flush_input();
            state.echo.clear();
            self.driver.flush();
            // Open files compare their epoch under the lock or after waking.
            self.epoch.fetch_add(1, Ordering::Release);
            core::mem::take(&mut state.control)
        };
        self.set_termios(&self.initial);
        let foreground = control.foreground.and_then(|(_, group)| group.upgrade());
        if let Some(session) = control.session.upgrade() {
            // Before the leader can hear of it, and end: it tells the group then.
            if let Some(group) = &foreground {
                LOST.lock().insert(session.id, Arc::downgrade(group));
            }
            drop(session.lose_tty());
            if let Some(leader) = session.leader() {
                let _ = signal::send_to_process(&leader, SigInfo::kernel(Signo::HUP));
                let _ = signal::send_to_process(&leader, SigInfo::kernel(Signo::CONT));
            }
        }
        if let Some(group) = foreground.filter(|_| to_foreground) {
            signal_group(&group, Signo::HUP);
        }
        self.read_wait.wake_all();
        self.write_wait.wake_all();
    }
}

/// Gives up the controlling terminal of the calling process: as a session leader that exits (`on_exit`) or asks for
/// it, for the whole session. The foreground group hears of it. Another process gives it up for itself.
pub fn disassociate(on_exit: bool) {
    let process = task::current().process.clone();
    if !leads_session(&process) {
        process.tty_claim.store(0, Ordering::Relaxed);
        return;
    }
    let session = process.session();
    let Some(tty) = session.tty() else {
        let lost = LOST
            .lock()
            .remove(&session.id)
            .and_then(|group| group.upgrade());
        if let Some(group) = lost.filter(|_| on_exit) {
            signal_group(&group, Signo::HUP);
            signal_group(&group, Signo::CONT);
        }
        return;
    };
    if on_exit && !tty.driver.is_pty() {
        tty.hang_up(true);
    } else if let Some(group) = tty.foreground() {
        signal_group(&group, Signo::HUP);
        if !on_exit {
            signal_group(&group, Signo::CONT);
        }
    }
    release_session(&session, &tty);
    if on_exit {
        LOST.lock().remove(&session.id);
    }
}

/// Parts a session from its terminal.
fn release_session(session: &Arc<Session>, tty: &Arc<Tty>) {
    let mut state = tty.state.lock();
    let owns = state
        .control
        .session
        .upgrade()
        .is_some_and(|owner| Arc::ptr_eq(&owner, session));
    let control = if owns {
        core::mem::take(&mut state.control)
    } else {
        Control::default()
    };
    drop(state);
    let old = session.lose_tty();
    drop((control, old));
}

/// `vhangup(2)`: hangs up the caller's terminal, if it has one.
pub fn hang_up_current() {
    if let Some(tty) = current_tty() {
        tty.hang_up(false);
    }
}

/// `TIOCNOTTY`.
///
/// # Errors
/// `ENOTTY` unless it is the caller's terminal.
pub fn give_up(tty: &Arc<Tty>) -> Result<()> {
    if !tty.is_current() {
        return Err(Errno::ENOTTY);
    }
    disassociate(false);
    Ok(())
}
