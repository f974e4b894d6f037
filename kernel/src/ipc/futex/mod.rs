//! Futexes: sleeping until another thread says that a word of user memory has changed, and locks whose owner inherits
//! the priority of those who wait.
//!
//! | module | what |
//! |---|---|
//! | `table` | the hash buckets |
//! | `sleeper` | who waits, and the sleep itself |
//! | `wait` | FUTEX_WAIT and its kin |
//! | `wake` | FUTEX_WAKE, FUTEX_WAKE_OP |
//! | `requeue` | FUTEX_REQUEUE: waiters go on to wait for another word |
//! | `waitv` | waiting for one of many words |
//! | `pi` | FUTEX_LOCK_PI and its kin: priority inheritance |
//! | `pi_requeue` | FUTEX_WAIT_REQUEUE_PI and FUTEX_CMP_REQUEUE_PI |
//! | `robust` | what an exiting thread leaves to others |
//!
//! # Lock order
//! ```text
//! the graph of priority-inheriting futexes (sleeping, but nothing under it sleeps)
//!   two buckets, the lower index first
//!   run queues
//! run queues (plain waking happens after the buckets are unlocked)
//! ```
//!
//! # Invariants
//! - A waiter compares the word and joins its bucket in one critical section; a waker changes the word before it takes
//!   the bucket's lock. So either the waiter sees the change or the waker sees the waiter.
//! - `HashBucket::waiters` is raised before the waiter reads the word and read after the waker wrote it (both behind
//!   full barriers): a waker may skip an empty bucket without its lock.
//! - User memory is touched under a bucket's lock or the graph's only by accesses that never sleep.
//! - Who waits for a priority-inheriting futex stands in the graph, not in a bucket; a waiter goes from a bucket into the
//!   graph under the graph's lock.
//!
//! References: futex(2), futex_waitv(2), get_robust_list(2); Drepper, "Futexes Are Tricky".

mod pi;
mod pi_requeue;
mod requeue;
mod robust;
mod sleeper;
mod table;
mod wait;
mod waitv;
mod wake;

use abi::{Errno, Result};

use crate::mm::space::FutexKey;
use crate::mm::user::UserPtr;
use crate::sync::current;

pub use pi::{exit as exit_pi, lock as lock_pi, set_params, unlock as unlock_pi};
pub use pi_requeue::{cmp_requeue as cmp_requeue_pi, wait as wait_requeue_pi};
pub use requeue::requeue;
pub use robust::{clear_and_wake, exit_robust_list};
pub use sleeper::FutexWait;
pub use wait::wait;
pub use waitv::{Wanted, wait_any};
pub use wake::{wake, wake_op};

/// A futex word as a call names it.
#[derive(Clone, Copy)]
pub struct Futex {
    pub word: UserPtr<u32>,
    /// Not shared with other address spaces (FUTEX_PRIVATE_FLAG).
    pub is_private: bool,
}

impl Futex {
    fn key(self) -> Result<FutexKey> {
        if !self.word.addr().is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        current()
            .my_mm()
            .futex_key(self.word.addr(), self.is_private)
    }

    /// Brings the page in for writing and leaves the word as it is.
    fn bring_in(self) -> Result<()> {
        let value = self.word.load()?;
        self.word.compare_exchange(value, value)?;
        Ok(())
    }
}
