//! PEEK and POKE: words of a tracee's memory, whatever its rights.

use abi::{Errno, Result};

use super::control::Frozen;
use crate::mm::user::UserPtr;

const WORD: usize = size_of::<u64>();

/// PTRACE_PEEKTEXT and PEEKDATA: stores the word at `out`.
///
/// # Errors
/// `EIO` for memory that is not there, `EFAULT` for `out`.
pub(super) fn peek(frozen: &Frozen, addr: usize, out: usize) -> Result<()> {
    let mut bytes = [0; WORD];
    let mm = frozen.task().mm().ok_or(Errno::EIO)?;
    if mm.read_forced(addr, &mut bytes) < WORD {
        return Err(Errno::EIO);
    }
    UserPtr::<[u8; WORD]>::from(out).write(&bytes)
}

/// PTRACE_POKETEXT and POKEDATA.
///
/// # Errors
/// `EIO` for memory that is not there or that nobody may ever write.
pub(super) fn poke(frozen: &Frozen, addr: usize, word: usize) -> Result<()> {
    let mm = frozen.task().mm().ok_or(Errno::EIO)?;
    if mm.write_forced(addr, &word.to_ne_bytes()) < WORD {
        return Err(Errno::EIO);
    }
    Ok(())
}
