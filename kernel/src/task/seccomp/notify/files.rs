//! Files that a listener hands to the thread whose call it decides: the thread takes them itself, in its sleep.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use abi::{Errno, Result};

use super::{Notifier, Reply, State};
use crate::fs::File;
use crate::sync::{SpinLock, WaitQueue, current};

/// A file on its way into another process.
pub(in crate::task::seccomp) struct AddFd {
    file: Arc<File>,
    /// The number it is to have; `None` for the lowest free one.
    at: Option<i32>,
    cloexec: bool,
    /// The number is the call's answer, too.
    is_reply: bool,
    outcome: SpinLock<Option<Result<i32>>>,
    done: WaitQueue,
}

impl AddFd {
    pub(in crate::task::seccomp) fn new(
        file: Arc<File>,
        at: Option<i32>,
        cloexec: bool,
        is_reply: bool,
    ) -> AddFd {
        AddFd {
            file,
            at,
            cloexec,
            is_reply,
            outcome: SpinLock::new(None),
            done: WaitQueue::new(),
        }
    }

    pub(super) fn finish(&self, outcome: Result<i32>) {
        *self.outcome.lock() = Some(outcome);
        self.done.wake_all();
    }

    fn outcome(&self) -> Option<Result<i32>> {
        *self.outcome.lock()
    }
}

impl Notifier {
    /// The running thread takes a file that the listener gives it.
    pub(super) fn take_file(&self, id: u64, given: &AddFd) {
        let files = current().my_files().clone();
        let file = given.file.clone();
        let taken = match given.at {
            Some(at) => files.replace(file, at, given.cloexec),
            None => files.install(file, given.cloexec),
        };
        if given.is_reply
            && let Ok(one) = self.waiting.lock().find(id)
        {
            match taken {
                Ok(fd) => one.reply = Reply::Answer(i64::from(fd.0)),
                // The listener hears of it and may answer otherwise.
                Err(_) => one.state = State::Sent,
            }
        }
        given.finish(taken.map(|fd| fd.0));
    }

    /// Gives the call's thread a file, and waits until it has taken it: answers the number there.
    ///
    /// # Errors
    /// As [`Self::reply`]; `EBUSY` for a reply while other files are under way; `ERESTARTSYS` when a signal comes first;
    /// what taking the file answers.
    pub(in crate::task::seccomp) fn give_file(&self, id: u64, given: Arc<AddFd>) -> Result<i32> {
        self.hand_in(id, &given)?;
        match given.done.wait_until(|| given.outcome()) {
            Ok(outcome) => outcome,
            Err(errno) => self.take_back(id, &given, errno),
        }
    }

    /// Puts a file where the call's thread finds it. Room is made outside the lock.
    fn hand_in(&self, id: u64, given: &Arc<AddFd>) -> Result<()> {
        let mut roomier = VecDeque::new();
        loop {
            let mut waiting = self.waiting.lock();
            let one = waiting.find_sent(id)?;
            let len = one.files.len();
            if given.is_reply && len > 0 {
                return Err(Errno::EBUSY);
            }
            if len < one.files.capacity() {
                if given.is_reply {
                    one.state = State::Replied;
                }
                one.files.push_back(given.clone());
                one.wake.wake_all();
                return Ok(());
            }
            if roomier.capacity() > len {
                roomier.append(&mut one.files);
                core::mem::swap(&mut one.files, &mut roomier);
                continue;
            }
            drop(waiting);
            roomier = VecDeque::new();
            roomier
                .try_reserve_exact(len + 1)
                .map_err(|_| Errno::ENOMEM)?;
        }
    }

    /// A signal came before the file was taken, unless it was taken just now.
    fn take_back(&self, id: u64, given: &Arc<AddFd>, errno: Errno) -> Result<i32> {
        let mut waiting = self.waiting.lock();
        let mut taken_out = None;
        if let Ok(one) = waiting.find(id)
            && let Some(at) = one.files.iter().position(|file| Arc::ptr_eq(file, given))
        {
            taken_out = one.files.remove(at);
        }
        drop(waiting);
        match taken_out {
            Some(_) => Err(errno),
            // Its thread is at it, and does not sleep meanwhile.
            None => given.done.wait_uninterruptible(|| given.outcome()),
        }
    }
}
