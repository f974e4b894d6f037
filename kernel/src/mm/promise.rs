//! Memory promised to processes and not yet touched: `vm.overcommit_memory`.

use core::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};

use abi::{Errno, Result};

use super::frame::FRAMES;

static PROMISED: AtomicI64 = AtomicI64::new(0);
static MODE: AtomicU8 = AtomicU8::new(0);
/// Percent of memory that mode 2 promises at most.
static RATIO: AtomicU64 = AtomicU64::new(50);

/// Pages promised.
pub fn promised() -> u64 {
    PROMISED.load(Ordering::Relaxed).max(0) as u64
}

/// Pages that mode 2 promises at most.
pub fn limit() -> u64 {
    FRAMES.total() / 100 * RATIO.load(Ordering::Relaxed)
}

/// `vm.overcommit_memory`: 0 refuses only what can never be, 1 nothing, 2 what exceeds [`limit`].
pub fn mode() -> u8 {
    MODE.load(Ordering::Relaxed)
}

/// Sets `vm.overcommit_memory`. EINVAL above 2.
pub fn set_mode(mode: u8) -> Result<()> {
    if mode > 2 {
        return Err(Errno::EINVAL);
    }
    MODE.store(mode, Ordering::Relaxed);
    Ok(())
}

/// `vm.overcommit_ratio`.
pub fn ratio() -> u64 {
    RATIO.load(Ordering::Relaxed)
}

/// Sets `vm.overcommit_ratio`.
pub fn set_ratio(percent: u64) {
    RATIO.store(percent.min(1 << 20), Ordering::Relaxed);
}

/// Promises `pages` more. ENOMEM by the mode's rule.
pub(crate) fn take(pages: u64) -> Result<()> {
    let refused = match mode() {
        0 => pages > FRAMES.total(),
        1 => false,
        _ => promised().saturating_add(pages) > limit(),
    };
    if refused {
        return Err(Errno::ENOMEM);
    }
    PROMISED.fetch_add(pages as i64, Ordering::Relaxed);
    Ok(())
}

/// Takes a promise of `pages` back.
pub(crate) fn give(pages: u64) {
    PROMISED.fetch_sub(pages as i64, Ordering::Relaxed);
}
