//! Which packets a socket takes, and how much of each: a program of classic BPF (`SO_ATTACH_FILTER`).
//!
//! References: socket(7); `Documentation/networking/filter.rst` of Linux.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::packet::ETH_HLEN;
use abi::seccomp::SockFprog;
use abi::{Errno, Result};
use cbpf::{Insn, MAX_LEN, Packet, PacketProgram, Refused};

use super::frame::Frame;
use super::socket::PacketSocket;
use crate::mm::user::{UserPtr, UserSlice};
use crate::net::interface;
use crate::net::socket::OptionValue;

/// The filter of a socket.
#[derive(Default)]
pub(super) struct Filter {
    program: Option<Arc<PacketProgram>>,
    /// It cannot be taken off any more, nor another one put in its place.
    is_locked: bool,
}

impl Filter {
    pub fn program(&self) -> Option<Arc<PacketProgram>> {
        self.program.clone()
    }
    pub fn is_locked(&self) -> bool {
        self.is_locked
    }
    /// Takes it off; who calls drops it without the lock.
    pub fn take(&mut self) -> Option<Arc<PacketProgram>> {
        self.program.take()
    }
}

/// How many bytes of a frame the program wants. `data` is what the socket would be shown of it, which bears that
/// kind and that protocol.
pub(super) fn run(
    program: &PacketProgram,
    frame: &Frame,
    data: &[u8],
    (kind, protocol): (u8, u16),
) -> usize {
    let from = interface::loopback();
    let wanted = program.run(&Packet {
        frame: frame.bytes(),
        start: frame.bytes().len().saturating_sub(data.len()),
        net: ETH_HLEN,
        protocol,
        kind,
        interface: from.index,
        hardware: from.hardware,
    });
    usize::try_from(wanted).unwrap_or(usize::MAX)
}

/// # Errors
/// `EINVAL` for what is no program, `EFAULT`, `ENOMEM`.
fn read(value: OptionValue) -> Result<PacketProgram> {
    if value.len != size_of::<SockFprog>() {
        return Err(Errno::EINVAL);
    }
    let given = UserPtr::<SockFprog>::from(value.addr).read()?;
    let len = usize::from(given.len);
    if given.filter == 0 || len == 0 || len > MAX_LEN {
        return Err(Errno::EINVAL);
    }
    let bytes = UserSlice::<[u8; Insn::SIZE]>::new(given.filter as usize, len)?.to_vec()?;
    let mut insns = Vec::new();
    insns.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    insns.extend(bytes.into_iter().map(Insn::from_bytes));
    PacketProgram::new(&insns).map_err(|refused| match refused {
        Refused::NoMemory => Errno::ENOMEM,
        _ => Errno::EINVAL,
    })
}

impl PacketSocket {
    /// `SO_ATTACH_FILTER`: what arrived before stays.
    ///
    /// # Errors
    /// As [`read`]; `EPERM` for a filter that is locked.
    pub(super) fn attach_filter(&self, value: OptionValue) -> Result<()> {
        let program = Arc::new(read(value)?);
        let mut filter = self.filter.lock();
        if filter.is_locked {
            drop(filter);
            return Err(Errno::EPERM);
        }
        let old = filter.program.replace(program);
        drop(filter);
        drop(old);
        Ok(())
    }

    /// `SO_DETACH_FILTER`.
    ///
    /// # Errors
    /// `EPERM` for one that is locked, `ENOENT`.
    pub(super) fn detach_filter(&self) -> Result<()> {
        let mut filter = self.filter.lock();
        if filter.is_locked {
            return Err(Errno::EPERM);
        }
        let old = filter.take();
        drop(filter);
        old.map(drop).ok_or(Errno::ENOENT)
    }

    /// `SO_LOCK_FILTER`.
    ///
    /// # Errors
    /// `EPERM` to open the lock.
    pub(super) fn lock_filter(&self, locks: bool) -> Result<()> {
        let mut filter = self.filter.lock();
        if filter.is_locked && !locks {
            return Err(Errno::EPERM);
        }
        filter.is_locked = locks;
        Ok(())
    }
}
