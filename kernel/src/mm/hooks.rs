//! What memory asks of the tiers above it: limits, candidates to kill. They register once at boot.

use spin::Once;

/// A resource limit that memory enforces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    AddressSpace,
    Data,
    Stack,
    Memlock,
}

/// Implemented by `task`.
pub trait TaskHooks: Sync {
    /// The soft limit of the current process, in bytes; `u64::MAX` is unlimited.
    fn rlimit(&self, limit: Limit) -> u64;
    /// Whether the current task has CAP_IPC_LOCK.
    fn may_lock_memory(&self) -> bool;
    /// Whether the current task has CAP_SYS_RAWIO.
    fn may_map_low(&self) -> bool;
    /// Whether the current task has CAP_SYS_ADMIN.
    fn may_use_admin_reserve(&self) -> bool;
    /// Whether a fatal signal is pending for the current task.
    fn fatal_signal_pending(&self) -> bool;
    /// Kills the process with the highest badness, unless it is dying already; `badness(resident pages with tables,
    /// oom_score_adj)` rates one.
    fn oom_kill(&self, badness: fn(pages: u64, adj: i32) -> i64);
    /// Lets others run for a moment.
    fn relax(&self);
    /// The kernel took from the reserve on behalf of the running task: before it returns to user space it must wait
    /// until there is memory again. Called from anywhere, with locks held and interrupts off.
    fn took_from_reserve(&self);
}

struct Nobody;

impl TaskHooks for Nobody {
    fn rlimit(&self, _: Limit) -> u64 {
        u64::MAX
    }
    fn may_lock_memory(&self) -> bool {
        true
    }
    fn may_map_low(&self) -> bool {
        true
    }
    fn may_use_admin_reserve(&self) -> bool {
        true
    }
    fn fatal_signal_pending(&self) -> bool {
        false
    }
    fn oom_kill(&self, _: fn(u64, i32) -> i64) {}
    fn relax(&self) {}
    fn took_from_reserve(&self) {}
}

static HOOKS: Once<&'static dyn TaskHooks> = Once::new();

/// Registers the tier above. Before, limits are infinite and nobody can be killed.
pub fn register(hooks: &'static dyn TaskHooks) {
    HOOKS.call_once(|| hooks);
}

/// Whoever is registered.
pub(crate) fn get() -> &'static dyn TaskHooks {
    HOOKS.get().copied().unwrap_or(&Nobody)
}
