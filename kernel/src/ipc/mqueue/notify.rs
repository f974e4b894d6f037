//! `mq_notify`: one process is told when a message comes into the empty queue and nobody sleeps for it. A C library that
//! starts a thread then is told through a netlink socket, by a cookie of its own.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;

use abi::signal::{SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD, SigInfo, Signo, si};
use abi::{Errno, Result};

use super::{Queue, State, queue_of};
use crate::fs::File;
use crate::signal;
use crate::sync::current;
use crate::task::Process;

/// How a process wants to be told.
pub enum Request {
    /// Not at all: the registration keeps others out.
    Nothing,
    /// By a signal with this value; none if there is no number, as on Linux.
    Signal(Option<Signo>, u64),
    /// By its cookie, which this sends back.
    Thread(SendCookie, Cookie),
}

/// What a C library wants back; its last byte says why.
pub type Cookie = [u8; 32];
/// Sends a cookie to the socket that was named with it.
pub type SendCookie = Box<dyn Fn(&Cookie) + Send + Sync>;

/// Why a cookie comes back: a message is there, or the registration has ended.
#[derive(Clone, Copy)]
enum Why {
    WokenUp = 1,
    Removed = 2,
}

fn send_cookie(send: &SendCookie, mut cookie: Cookie, why: Why) {
    let [.., last] = &mut cookie;
    *last = why as u8;
    send(&cookie);
}

/// Who is to be told.
pub(super) struct Registration {
    process: Weak<Process>,
    pid: i32,
    /// Which of its programs asked.
    exec: u32,
    request: Request,
}

impl Registration {
    fn is_of(&self, process: &Arc<Process>) -> bool {
        core::ptr::eq(self.process.as_ptr(), Arc::as_ptr(process))
    }
}

/// `mq_notify`: registers the caller, or with `None` takes that back.
///
/// # Errors
/// `EBADF`, `EBUSY`.
pub fn notify(file: &File, request: Option<Request>) -> Result<()> {
    let queue = queue_of(file)?;
    let process = &current().process;
    let Some(request) = request else {
        if queue.forget_registration(process) {
            file.inode().touch_changed();
        }
        return Ok(());
    };
    let mut state = queue.state.lock();
    if state.registration.is_some() {
        return Err(Errno::EBUSY);
    }
    state.registration = Some(Registration {
        process: Arc::downgrade(process),
        pid: process.pid.0,
        exec: process.execs.load(Ordering::Relaxed),
        request,
    });
    drop(state);
    file.inode().touch_changed();
    Ok(())
}

impl Queue {
    /// Ends the process's registration; false if it has none.
    pub(super) fn forget_registration(&self, process: &Arc<Process>) -> bool {
        let mut state = self.state.lock();
        let mine = state.registration.take_if(|there| there.is_of(process));
        drop(state);
        if let Some(Request::Thread(send, cookie)) = mine.as_ref().map(|mine| &mine.request) {
            send_cookie(send, *cookie, Why::Removed);
        }
        mine.is_some()
    }

    /// A message has come into the queue.
    pub(super) fn notify_of_message(&self, state: &mut State) {
        if state.messages.len() != 1 {
            return;
        }
        let Some(registration) = state.registration.take() else {
            return;
        };
        let (signo, value) = match registration.request {
            Request::Signal(Some(signo), value) => (signo, value),
            Request::Thread(send, cookie) => {
                return send_cookie(&send, cookie, Why::WokenUp);
            }
            Request::Signal(None, _) | Request::Nothing => return,
        };
        let Some(process) = registration.process.upgrade() else {
            return;
        };
        if process.execs.load(Ordering::Relaxed) == registration.exec {
            let me = current();
            let (pid, uid) = (me.process.pid.0, me.my_cred().uid);
            let info = SigInfo::queued(signo, si::MESGQ, pid, uid, value);
            // A full queue of signals loses it, on Linux too.
            let _ = signal::send_to_process(&process, info);
        }
    }

    /// What reading the queue's file tells.
    pub(super) fn status(&self) -> String {
        let state = self.state.lock();
        let (how, signo, pid) = match &state.registration {
            None => (0, 0, 0),
            Some(registration) => match &registration.request {
                Request::Nothing => (SIGEV_NONE, 0, registration.pid),
                Request::Signal(signo, _) => {
                    let signo = signo.map_or(0, Signo::as_i32);
                    (SIGEV_SIGNAL, signo, registration.pid)
                }
                Request::Thread(..) => (SIGEV_THREAD, 0, registration.pid),
            },
        };
        let bytes = state.messages.bytes();
        format!("QSIZE:{bytes:<10} NOTIFY:{how:<5} SIGNO:{signo:<5} NOTIFY_PID:{pid:<6}\n")
    }
}
