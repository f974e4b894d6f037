//! What one send or receive passes between the calls and a socket.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::socket::{MsgFlags, Ucred};
use abi::{Errno, Result};
use smallvec::SmallVec;

use super::socket::NameBytes;
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
    /// Control messages of other levels than `SOL_SOCKET`.
    pub control: Vec<Control>,
}

/// A control message of a family's own.
pub struct Control {
    pub level: i32,
    pub kind: i32,
    pub data: SmallVec<[u8; 24]>,
}

/// Who sent a message.
pub enum Sender {
    /// Nobody with a name.
    None,
    Unix(Arc<Name>),
    Address(NameBytes),
}

impl Sender {
    /// The address as the user gets it; empty for none.
    pub fn to_address(&self) -> NameBytes {
        match self {
            Sender::None => NameBytes::new(),
            Sender::Unix(name) => NameBytes::from_vec(name.to_address()),
            Sender::Address(bytes) => bytes.clone(),
        }
    }
    pub fn is_none(&self) -> bool {
        matches!(self, Sender::None)
    }
}

impl From<Option<Arc<Name>>> for Sender {
    fn from(name: Option<Arc<Name>>) -> Sender {
        name.map_or(Sender::None, Sender::Unix)
    }
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
            control: Vec::new(),
        }
    }
}

/// A message to be received, and what came with it.
pub struct Incoming<'a, 'b> {
    pub data: &'a mut IoSink<'b>,
    pub flags: MsgFlags,
    /// What is said of the message: `TRUNC`.
    pub told: MsgFlags,
    pub sender: Sender,
    pub files: Vec<Arc<File>>,
    /// The sender's credentials, if the receiver asked for them.
    pub cred: Option<Ucred>,
    /// Control messages of other levels than `SOL_SOCKET`.
    pub control: Vec<Control>,
}

impl<'a, 'b> Incoming<'a, 'b> {
    #[inline]
    pub fn new(data: &'a mut IoSink<'b>, flags: MsgFlags) -> Self {
        Self {
            data,
            flags,
            told: MsgFlags::empty(),
            sender: Sender::None,
            files: Vec::new(),
            cred: None,
            control: Vec::new(),
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

    /// The error for a signal that came before there was anything to wait for.
    pub fn broken_off(&self) -> Errno {
        match self {
            Patience::None => Errno::EAGAIN,
            Patience::Timeout { ns: 0, .. } => Errno::ERESTARTSYS,
            Patience::Timeout { .. } => Errno::EINTR,
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
