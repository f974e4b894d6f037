//! How much System V IPC there may be: the values of `/proc/sys/kernel`, with Linux's defaults.

use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use abi::sysv::IPCMNI;
use abi::{Errno, Result};

/// A limit with the values it may be set to.
pub struct Limit {
    value: AtomicI32,
    least: i32,
    most: i32,
}

impl Limit {
    pub(super) const fn new(value: i32, least: i32, most: i32) -> Self {
        Self {
            value: AtomicI32::new(value),
            least,
            most,
        }
    }

    /// The limit now.
    #[inline]
    pub fn get(&self) -> i32 {
        self.value.load(Ordering::Relaxed)
    }

    /// The limit for counts, which are not negative.
    #[inline]
    pub fn count(&self) -> usize {
        self.get().max(0) as usize
    }

    /// Sets it.
    ///
    /// # Errors
    /// `EINVAL` outside of what it may be.
    pub fn set(&self, value: i32) -> Result<()> {
        if !(self.least..=self.most).contains(&value) {
            return Err(Errno::EINVAL);
        }
        self.value.store(value, Ordering::Relaxed);
        Ok(())
    }
}

/// Objects of a kind that Linux has by default, but for segments.
const OBJECTS: i32 = 32000;
/// No limit, that sums with a segment do not overflow (`ULONG_MAX - (1 << 24)`).
const UNLIMITED: u64 = u64::MAX - (1 << 24);

/// Bytes of a segment.
pub static SHMMAX: AtomicU64 = AtomicU64::new(UNLIMITED);
/// Pages of all segments.
pub static SHMALL: AtomicU64 = AtomicU64::new(UNLIMITED);
/// Segments.
pub static SHMMNI: Limit = Limit::new(4096, 0, IPCMNI as i32);
/// Whether segments go with their last user, removed or not.
pub static SHM_RMID_FORCED: Limit = Limit::new(0, 0, 1);

/// Semaphores of a set.
pub static SEMMSL: Limit = Limit::new(32000, i32::MIN, i32::MAX);
/// Semaphores of all sets.
pub static SEMMNS: Limit = Limit::new(1_024_000_000, i32::MIN, i32::MAX);
/// Operations of a call.
pub static SEMOPM: Limit = Limit::new(500, i32::MIN, i32::MAX);
/// Sets.
pub static SEMMNI: Limit = Limit::new(OBJECTS, 0, IPCMNI as i32);

/// Bytes of a message.
pub static MSGMAX: Limit = Limit::new(8192, 0, i32::MAX);
/// Bytes in a new queue.
pub static MSGMNB: Limit = Limit::new(16384, 0, i32::MAX);
/// Queues.
pub static MSGMNI: Limit = Limit::new(OBJECTS, 0, IPCMNI as i32);

/// Sets the limits of semaphores, in the order of `/proc/sys/kernel/sem`; as many as there are values.
///
/// # Errors
/// `ERANGE` for more sets than there are ids; the other values then stand, as on Linux.
pub fn set_sem(values: &[i32]) -> Result<()> {
    let limits = [&SEMMSL, &SEMMNS, &SEMOPM, &SEMMNI];
    values
        .iter()
        .zip(limits)
        .try_for_each(|(value, limit)| limit.set(*value))
        .map_err(|_| Errno::ERANGE)
}
