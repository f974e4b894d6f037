//! getrandom(2).

use abi::{Errno, Result};
use bitflags::bitflags;

use crate::device::random;
use crate::mm::user::{IoSink, UserPtr};

bitflags! {
    struct Flags: u32 {
        const NONBLOCK = 1;
        const RANDOM = 2;
        const INSECURE = 4;
    }
}

/// Fills the buffer with random bytes; waits for the generator to be ready unless told otherwise.
pub fn sys_getrandom(buffer: UserPtr<u8>, count: usize, flags: u32) -> Result<usize> {
    let flags = Flags::from_bits(flags).ok_or(Errno::EINVAL)?;
    if flags.contains(Flags::RANDOM | Flags::INSECURE) {
        return Err(Errno::EINVAL);
    }
    if !random::is_ready() && !flags.contains(Flags::INSECURE) {
        if flags.contains(Flags::NONBLOCK) {
            return Err(Errno::EAGAIN);
        }
        random::wait_ready()?;
    }
    random::read(&mut IoSink::user(buffer.addr(), count)?)
}
