//! What one send or receive passes between the calls and a socket.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::socket::{MsgFlags, Ucred};
use abi::{Errno, Result};

use super::unix::name::Name;
use crate::fs::File;
use crate::mm::user::{IoSink, IoSource};
use crate::sync::WaitQueue;
use crate::time;

/// A message to be sent.
pub struct Outgoing<'a, 'b> {
    pub data: &'a mut IoSource<'b>,
    /// The receiver's address, as the user gave it.
    pub address: Option<&'a [u8]>,
    pub flags: MsgFlags,
    /// Descriptors to pass.
    pub files: Vec<Arc<File>>,
    /// Credentials that the sender states, already permitted.
    pub cred: Option<Ucred>,
}

impl<'a, 'b> Outgoing<'a, 'b> {
    /// Bytes alone.
    #[inline]
    pub fn plain(data: &'a mut IoSource<'b>, flags: MsgFlags) -> Self {
        Self {
            data,
            address: None,
            flags,
            files: Vec::new(),
            cred: None,
        }
    }
}

/// A message to be received, and what came with it.
pub struct Incoming<'a, 'b> {
    pub data: &'a mut IoSink<'b>,
    pub flags: MsgFlags,
    /// What is said of the message: `TRUNC`.
    pub told: MsgFlags,
    /// Who sent it; `None` for a sender without a name.
    pub sender: Option<Arc<Name>>,
    pub files: Vec<Arc<File>>,
    /// The sender's credentials, if the receiver asked for them.
    pub cred: Option<Ucred>,
}

impl<'a, 'b> Incoming<'a, 'b> {
    #[inline]
    pub fn new(data: &'a mut IoSink<'b>, flags: MsgFlags) -> Self {
        Self {
            data,
            flags,
            told: MsgFlags::empty(),
            sender: None,
            files: Vec::new(),
            cred: None,
        }
    }
}

/// How long a call on a socket may block: fixed when it first has to.
#[derive(Clone, Copy)]
pub enum Patience {
    None,
    /// By the option's timeout; 0 is for ever.
    Timeout {
        ns: u64,
        deadline: Option<u64>,
    },
}

impl Patience {
    #[inline]
    pub fn new(flags: MsgFlags, timeout_ns: u64) -> Patience {
        if flags.contains(MsgFlags::DONTWAIT) {
            return Patience::None;
        }
        Patience::Timeout {
            ns: timeout_ns,
            deadline: None,
        }
    }

    /// Sleeps on the queue until `condition` holds.
    ///
    /// # Errors
    /// `EAGAIN` at once or after the timeout; for a signal `ERESTARTSYS`, or `EINTR` if there is a timeout.
    pub fn wait(&mut self, queue: &WaitQueue, mut condition: impl FnMut() -> bool) -> Result<()> {
        let Patience::Timeout { ns, deadline } = self else {
            return Err(Errno::EAGAIN);
        };
        if *ns != 0 && deadline.is_none() {
            *deadline = time::monotonic_ns().checked_add(*ns);
        }
        match queue.wait_until_deadline(*deadline, || condition().then_some(())) {
            Ok(Some(())) => Ok(()),
            Ok(None) => Err(Errno::EAGAIN),
            Err(_) if deadline.is_some() => Err(Errno::EINTR),
            Err(error) => Err(error),
        }
    }
}
