//! Who is charged for pending signals: one counter a real user id (RLIMIT_SIGPENDING).

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use ksync::SpinLock;

/// Accounts kept before unused ones are dropped.
const KEEP: usize = 64;

static ACCOUNTS: SpinLock<BTreeMap<u32, Arc<Account>>> = SpinLock::new(BTreeMap::new());

/// The pending signals and timers of one user.
#[derive(Debug, Default)]
pub struct Account {
    pending: AtomicU64,
}

impl Account {
    /// The account of a real user id.
    pub fn of(uid: u32) -> Arc<Self> {
        let mut accounts = ACCOUNTS.lock();
        if let Some(account) = accounts.get(&uid) {
            return account.clone();
        }
        if accounts.len() >= KEEP {
            accounts.retain(|_, account| Arc::strong_count(account) > 1);
        }
        let account = Arc::new(Self::default());
        accounts.insert(uid, account.clone());
        account
    }

    /// Signals charged now, as `SigQ` in `/proc/<pid>/status` shows.
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    /// Charges one signal; `None` when that would exceed `limit`.
    pub fn charge(self: &Arc<Self>, limit: Option<u64>) -> Option<Charge> {
        let before = self.pending.fetch_add(1, Ordering::Relaxed);
        if limit.is_some_and(|limit| before >= limit) {
            self.pending.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Charge(self.clone()))
    }
}

/// One signal charged to a user, until it is dropped. [`ACCOUNTS`] keeps the account, so dropping this frees nothing.
#[derive(Debug)]
pub struct Charge(Arc<Account>);

impl Drop for Charge {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}
