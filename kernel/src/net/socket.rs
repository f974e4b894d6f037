//! [`Socket`]: what the calls need of a socket, whatever its family.
//!
//! A family implements it beside [`FileOps`], answers itself in [`FileOps::as_socket`], and is entered in
//! [`create`](super::create). Defaults are Linux's answers for a family without the operation.

use alloc::sync::Arc;

use abi::socket::MsgFlags;
use abi::{Errno, Result};
use smallvec::SmallVec;

use super::message::{Incoming, Outgoing};
use super::options::Options;
use crate::fs::FileOps;

/// An address as the user gets it.
pub type NameBytes = SmallVec<[u8; 32]>;
/// The value of an option as the user gets it.
pub type OptionBytes = SmallVec<[u8; 16]>;

/// Where the user has the value of an option to be set.
#[derive(Clone, Copy)]
pub struct OptionValue {
    pub addr: usize,
    pub len: usize,
}

/// A socket as the calls see it.
pub trait Socket: FileOps {
    /// `SO_DOMAIN`.
    fn family(&self) -> u16;
    /// `SO_TYPE`.
    fn kind(&self) -> u32;
    /// `SO_PROTOCOL`.
    fn protocol(&self) -> i32 {
        0
    }
    fn options(&self) -> &Options;
    /// The number of its file's inode, which tables of sockets show.
    fn set_ino(&self, _ino: u64) {}

    fn bind(&self, address: &[u8]) -> Result<()>;
    fn listen(&self, _backlog: i32) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// `flags` holds `DONTWAIT` for a file that does not block.
    fn connect(&self, address: &[u8], flags: MsgFlags) -> Result<()>;
    fn accept(&self, _flags: MsgFlags) -> Result<Arc<dyn Socket>> {
        Err(Errno::EOPNOTSUPP)
    }
    /// What `getsockname` gives.
    fn own_name(&self) -> Result<NameBytes>;
    /// What `getpeername` gives.
    fn peer_name(&self) -> Result<NameBytes>;
    fn shut_down(&self, how: u32) -> Result<()>;
    fn send(&self, message: &mut Outgoing<'_, '_>) -> Result<usize>;
    fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<usize>;

    /// Takes the pending error (`SO_ERROR`).
    fn take_error(&self) -> Result<()>;
    /// An option that is not one of those in [`Options`]. `room` is the user's.
    fn option(&self, level: i32, option: i32, room: usize) -> Result<OptionBytes>;
    /// Sets an option that is not one of those in [`Options`].
    fn set_option(&self, level: i32, option: i32, value: OptionValue) -> Result<()>;
}
