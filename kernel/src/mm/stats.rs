//! Counters for `/proc/meminfo` and `/proc/vmstat`.

/// In pages unless named otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    pub total: u64,
    pub free: u64,
    pub available: u64,
    /// Page cache with tmpfs, as Linux's `Cached`.
    pub cached: u64,
    pub shmem: u64,
    pub anon: u64,
    pub mapped: u64,
    pub dirty: u64,
    pub writeback: u64,
    pub slab: u64,
    pub slab_reclaimable: u64,
    pub kernel_stack: u64,
    pub page_tables: u64,
    pub vmalloc_used: u64,
    pub anon_huge: u64,
    pub mlocked: u64,
    pub committed: u64,
    pub commit_limit: u64,
    /// Events since boot.
    pub faults: u64,
    pub major_faults: u64,
    pub oom_kills: u64,
}

/// The counters now.
pub fn stats() -> Stats {
    Stats::default()
}
