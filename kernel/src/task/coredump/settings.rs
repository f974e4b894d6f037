//! What `/proc/sys` says about core dumps.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use abi::{Errno, Result};
use arrayvec::ArrayVec;

use crate::sync::SpinLock;

/// Room for `core_pattern` with its NUL (CORENAME_MAX_SIZE).
pub const CORENAME_MAX: usize = 128;

static PATTERN: SpinLock<Option<ArrayVec<u8, CORENAME_MAX>>> = SpinLock::new(None);
static USES_PID: AtomicI32 = AtomicI32::new(0);
static PIPE_LIMIT: AtomicU32 = AtomicU32::new(0);
static SUID_DUMPABLE: AtomicU32 = AtomicU32::new(0);

/// `kernel.core_pattern`.
pub fn pattern() -> Vec<u8> {
    let set = PATTERN.lock().clone();
    set.map_or_else(|| b"core".to_vec(), |set| set.to_vec())
}

/// Sets the pattern: the first line, as much of it as there is room for.
pub fn set_pattern(bytes: &[u8]) {
    let line = bytes.split(|byte| matches!(byte, b'\n' | 0)).next();
    let line = line.unwrap_or_default();
    let fits = line.iter().take(CORENAME_MAX - 1).copied().collect();
    *PATTERN.lock() = Some(fits);
}

/// `kernel.core_uses_pid`: the number is added to a name without it.
pub fn uses_pid() -> i32 {
    USES_PID.load(Ordering::Relaxed)
}

/// See [`uses_pid`].
pub fn set_uses_pid(value: i32) {
    USES_PID.store(value, Ordering::Relaxed);
}

/// `kernel.core_pipe_limit`: how many programs may read dumps at once; 0 for any number, which are not waited for.
pub fn pipe_limit() -> u32 {
    PIPE_LIMIT.load(Ordering::Relaxed)
}

/// See [`pipe_limit`].
pub fn set_pipe_limit(value: u32) {
    PIPE_LIMIT.store(value, Ordering::Relaxed);
}

/// `fs.suid_dumpable`: the dumpable state of programs that change their rights.
pub fn suid_dumpable() -> u32 {
    SUID_DUMPABLE.load(Ordering::Relaxed)
}

/// See [`suid_dumpable`].
///
/// # Errors
/// `EINVAL` for what is no state.
pub fn set_suid_dumpable(value: u32) -> Result<()> {
    if value > 2 {
        return Err(Errno::EINVAL);
    }
    SUID_DUMPABLE.store(value, Ordering::Relaxed);
    Ok(())
}
