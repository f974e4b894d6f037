//! Counters for `/proc/meminfo` and `/proc/vmstat`.

use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use frames::Kind;

use super::frame::FRAMES;
use super::{heap, kmap, kstack, oom, promise};
use crate::per_cpu;
use crate::sync::{PerCpu, current};

/// In pages unless named otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// What the kernel manages.
    pub total: u64,
    pub free: u64,
    /// What a new program could have: free memory and what would be given back for it.
    pub available: u64,
    /// Page cache with tmpfs, as Linux's `Cached`.
    pub cached: u64,
    pub shmem: u64,
    pub anon: u64,
    pub mapped: u64,
    pub slab: u64,
    pub kernel_stack: u64,
    pub page_tables: u64,
    pub vmalloc_used: u64,
    /// Pages in huge pages.
    pub anon_huge: u64,
    pub mlocked: u64,
    /// Promised to processes.
    pub committed: u64,
    pub commit_limit: u64,
    /// Events since boot.
    pub faults: u64,
    pub major_faults: u64,
    pub oom_kills: u64,
}

static MAPPED: AtomicI64 = AtomicI64::new(0);
static HUGE: AtomicI64 = AtomicI64::new(0);
static LOCKED: AtomicI64 = AtomicI64::new(0);
static MAJOR: AtomicU64 = AtomicU64::new(0);
static FAULTS: PerCpu<AtomicU64> = per_cpu!(AtomicU64::new(0));

/// Frames of caches that came to be mapped, or are no more.
#[inline]
pub(super) fn add_mapped(change: i64) {
    MAPPED.fetch_add(change, Ordering::Relaxed);
}

/// Huge pages.
pub(super) fn add_huge(change: i64) {
    HUGE.fetch_add(change, Ordering::Relaxed);
}

/// Pages of locked areas.
pub(super) fn add_locked(change: i64) {
    LOCKED.fetch_add(change, Ordering::Relaxed);
}

/// One more page fault.
#[inline]
pub(super) fn count_fault() {
    // Faults do not nest on a CPU, and interrupt handlers take none: no atomic step is needed.
    let count = FAULTS.here();
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// The running task's fault had to wait for storage: it is a major one, not a minor one.
pub(super) fn count_major() {
    MAJOR.fetch_add(1, Ordering::Relaxed);
    let usage = &current().usage;
    usage.major_faults.fetch_add(1, Ordering::Relaxed);
    let minor = usage.minor_faults.load(Ordering::Relaxed);
    usage
        .minor_faults
        .store(minor.saturating_sub(1), Ordering::Relaxed);
}

/// Whether a whole huge page may go to one fault.
pub(super) fn plenty_for_huge() -> bool {
    FRAMES.free_count() > FRAMES.reserve() + FRAMES.total() / 16 + 512
}

fn positive(value: &AtomicI64) -> u64 {
    value.load(Ordering::Relaxed).max(0) as u64
}

/// The counters now.
pub fn stats() -> Stats {
    let shmem = FRAMES.count_of(Kind::Shmem);
    let file = FRAMES.count_of(Kind::Cache);
    let free = FRAMES.free_count();
    Stats {
        total: FRAMES.total(),
        free,
        available: free.saturating_sub(FRAMES.reserve()) + file,
        cached: file + shmem,
        shmem,
        anon: FRAMES.count_of(Kind::Anon),
        mapped: positive(&MAPPED),
        slab: heap::slab_frames(),
        kernel_stack: kstack::stack_pages(),
        page_tables: FRAMES.count_of(Kind::Table),
        vmalloc_used: kmap::used_pages(),
        anon_huge: positive(&HUGE) * 512,
        mlocked: positive(&LOCKED),
        committed: promise::promised(),
        commit_limit: promise::limit(),
        faults: FAULTS.iter().map(|f| f.load(Ordering::Relaxed)).sum(),
        major_faults: MAJOR.load(Ordering::Relaxed),
        oom_kills: oom::kills(),
    }
}

/// Brings back what is only kept for speed: free frames that CPUs hold, so that they join their neighbours. Nothing else
/// here can be dropped (files live in memory alone) or moved.
pub fn gather_free() {
    oom::reclaim();
}

/// Frames by what they are used for, the free ones first.
pub fn frames_by_use() -> [(&'static str, u64); 7] {
    [
        ("free", FRAMES.free_count()),
        ("kernel", FRAMES.count_of(Kind::Kernel)),
        ("slab", FRAMES.count_of(Kind::Slab)),
        ("table", FRAMES.count_of(Kind::Table)),
        ("anon", FRAMES.count_of(Kind::Anon)),
        ("cache", FRAMES.count_of(Kind::Cache)),
        ("shmem", FRAMES.count_of(Kind::Shmem)),
    ]
}

/// The heap's classes of small objects, for `/proc/slabinfo`.
pub fn heap_classes() -> impl Iterator<Item = frames::ClassStats> {
    heap::classes()
}

/// Keeps so many pages from users (`vm.min_free_kbytes`).
pub fn set_reserve(pages: u64) {
    FRAMES.set_reserve(pages);
}

/// Pages that are kept from users.
pub fn reserve() -> u64 {
    FRAMES.reserve()
}

/// Free blocks per order, for `/proc/buddyinfo`.
pub fn free_blocks() -> [u64; frames::MAX_ORDER as usize + 1] {
    FRAMES.block_counts()
}
