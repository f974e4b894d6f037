//! Memory promised to processes and not yet touched: `vm.overcommit_*`.
//!
//! A promise is taken for private writable areas as a whole, for shared anonymous memory as a whole when it is made, and
//! for the pages of tmpfs files and memfds one by one (Linux's `VM_ACCOUNT` and `shmem_acct_*`). `Committed_AS` is their
//! sum.

use core::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};

use abi::{Errno, Result};

use super::frame::FRAMES;
use super::hooks;

static PROMISED: AtomicI64 = AtomicI64::new(0);
static MODE: AtomicU8 = AtomicU8::new(0);
/// Percent of memory that mode 2 promises at most.
static RATIO: AtomicU64 = AtomicU64::new(50);
/// KiB that mode 2 promises at most, instead of the percentage; zero for none.
static KBYTES: AtomicU64 = AtomicU64::new(0);
/// KiB that mode 2 keeps from all but CAP_SYS_ADMIN; unset until asked for.
static ADMIN_RESERVE: AtomicU64 = AtomicU64::new(UNSET);
/// KiB that mode 2 keeps from one process at most.
static USER_RESERVE: AtomicU64 = AtomicU64::new(UNSET);
const UNSET: u64 = u64::MAX;
const PAGE_KIB: u64 = 4;

/// Pages promised.
pub fn promised() -> u64 {
    PROMISED.load(Ordering::Relaxed).max(0) as u64
}

/// Pages that mode 2 promises at most.
pub fn limit() -> u64 {
    match KBYTES.load(Ordering::Relaxed) {
        0 => FRAMES.total() * RATIO.load(Ordering::Relaxed) / 100,
        kib => kib / PAGE_KIB,
    }
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

/// Sets `vm.overcommit_ratio`, which ends `vm.overcommit_kbytes`.
pub fn set_ratio(percent: u64) {
    RATIO.store(percent.min(1 << 20), Ordering::Relaxed);
    KBYTES.store(0, Ordering::Relaxed);
}

/// `vm.overcommit_kbytes`.
pub fn kbytes() -> u64 {
    KBYTES.load(Ordering::Relaxed)
}

/// Sets `vm.overcommit_kbytes`, which ends `vm.overcommit_ratio`.
pub fn set_kbytes(kib: u64) {
    KBYTES.store(kib, Ordering::Relaxed);
    RATIO.store(0, Ordering::Relaxed);
}

/// A reserve in KiB; by default a thirty-second of memory, at most `most`.
fn reserve(setting: &AtomicU64, most: u64) -> u64 {
    match setting.load(Ordering::Relaxed) {
        UNSET => (FRAMES.total() * PAGE_KIB / 32).min(most),
        kib => kib,
    }
}

/// `vm.admin_reserve_kbytes`.
pub fn admin_reserve() -> u64 {
    reserve(&ADMIN_RESERVE, 8 << 10)
}

/// Sets `vm.admin_reserve_kbytes`.
pub fn set_admin_reserve(kib: u64) {
    ADMIN_RESERVE.store(kib.min(UNSET - 1), Ordering::Relaxed);
}

/// `vm.user_reserve_kbytes`.
pub fn user_reserve() -> u64 {
    reserve(&USER_RESERVE, 128 << 10)
}

/// Sets `vm.user_reserve_kbytes`.
pub fn set_user_reserve(kib: u64) {
    USER_RESERVE.store(kib.min(UNSET - 1), Ordering::Relaxed);
}

/// Whether mode 2 refuses `pages` more to a process with `mapped` pages of mappings.
fn beyond_limit(pages: u64, mapped: u64) -> bool {
    let mut allowed = limit();
    if !hooks::get().may_use_admin_reserve() {
        allowed = allowed.saturating_sub(admin_reserve() / PAGE_KIB);
    }
    // So that one process cannot leave too little for another that is to end it.
    allowed = allowed.saturating_sub((mapped / 32).min(user_reserve() / PAGE_KIB));
    promised().saturating_add(pages) >= allowed
}

/// Promises `pages` more to a process with `mapped` pages of mappings. ENOMEM by the mode's rule.
pub(crate) fn take(pages: u64, mapped: u64) -> Result<()> {
    let refused = match mode() {
        0 => pages > FRAMES.total(),
        1 => false,
        _ => beyond_limit(pages, mapped),
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
