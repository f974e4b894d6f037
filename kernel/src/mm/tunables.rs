//! Settings of `/proc/sys/vm` that bound address spaces. Those about promises are `promise`'s.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use super::addr::page_up;
use super::hooks;

static MAX_MAP_COUNT: AtomicUsize = AtomicUsize::new(65530);
static KILL_ALLOCATING: AtomicBool = AtomicBool::new(false);
static PANIC_ON_OOM: AtomicU8 = AtomicU8::new(0);
static MMAP_MIN_ADDR: AtomicUsize = AtomicUsize::new(0x1_0000);

/// `vm.max_map_count`: the areas that a space may have, give or take one.
#[inline]
pub fn max_map_count() -> usize {
    MAX_MAP_COUNT.load(Ordering::Relaxed)
}

/// Sets `vm.max_map_count`.
pub fn set_max_map_count(count: usize) {
    MAX_MAP_COUNT.store(count, Ordering::Relaxed);
}

/// `vm.mmap_min_addr`: the lowest address that a user without CAP_SYS_RAWIO may map, a whole page's.
#[inline]
pub fn mmap_min_addr() -> usize {
    MMAP_MIN_ADDR.load(Ordering::Relaxed)
}

/// Sets `vm.mmap_min_addr`.
pub fn set_mmap_min_addr(address: usize) {
    let whole = page_up(address).unwrap_or(0);
    MMAP_MIN_ADDR.store(whole, Ordering::Relaxed);
}

/// `vm.oom_kill_allocating_task`: who finds no memory is killed, not the worst.
pub fn kills_allocating_task() -> bool {
    KILL_ALLOCATING.load(Ordering::Relaxed)
}

/// Sets `vm.oom_kill_allocating_task`.
pub fn set_kills_allocating_task(yes: bool) {
    KILL_ALLOCATING.store(yes, Ordering::Relaxed);
}

/// `vm.panic_on_oom`: other than 0, the machine stops for want of memory.
pub fn panic_on_oom() -> u8 {
    PANIC_ON_OOM.load(Ordering::Relaxed)
}

/// Sets `vm.panic_on_oom`.
pub fn set_panic_on_oom(value: u8) {
    PANIC_ON_OOM.store(value, Ordering::Relaxed);
}

/// Whether the running task may map at `address` when it insists on it (`security_mmap_addr`).
pub(super) fn may_map_at(address: usize) -> bool {
    address >= mmap_min_addr() || hooks::get().may_map_low()
}
