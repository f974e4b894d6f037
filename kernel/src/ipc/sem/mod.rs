//! Sets of semaphores.
//!
//! | module | what |
//! |---|---|
//! | this | [`SemSet`], `semget` |
//! | `op` | `semop`, `semtimedop`, and who sleeps in them |
//! | `undo` | what an exit takes back |
//! | `control` | `semctl` |

mod control;
mod op;
mod undo;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::sysv::IPC_MODE;
use abi::{Errno, Result};
use sysvipc::perm::Perm;
use sysvipc::sem::Set;

pub use control::{
    get_all, get_pid, get_value, remove, set, set_all, set_value, stat, usage, waiting_for,
};
pub use op::operate;
pub use undo::{UndoList, leave};

use super::ids::{Ids, Object, Request};
use super::{access, limits, now_seconds};
use crate::sync::SpinLock;
use crate::time;
use op::Sleeper;

/// What changes of a set.
struct State {
    perm: Perm,
    set: Set<Arc<Sleeper>>,
    /// Real time of the last operation; 0 for none.
    otime_ns: u64,
    ctime: i64,
    /// No longer there for anybody.
    removed: bool,
}

/// A set of semaphores.
pub struct SemSet {
    id: i32,
    count: usize,
    state: SpinLock<State>,
}

impl Object for SemSet {
    fn id(&self) -> i32 {
        self.id
    }
    fn set_id(&mut self, id: i32) {
        self.id = id;
    }
}

impl Drop for SemSet {
    fn drop(&mut self) {
        USED.fetch_sub(self.count as u64, Ordering::Relaxed);
    }
}

static SETS: Ids<SemSet> = Ids::new();
/// Semaphores of all sets. Grows under `SETS.admin`.
static USED: AtomicU64 = AtomicU64::new(0);

/// All sets: for `/proc/sysvipc`, and for the next id.
pub fn sets() -> &'static Ids<SemSet> {
    &SETS
}

/// `semget`.
///
/// # Errors
/// Those of semget(2).
pub fn get(key: i32, count: i32, flags: u32) -> Result<i32> {
    if count < 0 || count > limits::SEMMSL.get() {
        return Err(Errno::EINVAL);
    }
    let count = count as usize;
    let request = Request {
        key,
        flags,
        limit: limits::SEMMNI.get() as u32,
    };
    let check = |set: &SemSet| {
        if count > set.count {
            return Err(Errno::EINVAL);
        }
        access::check(&set.state.lock().perm, flags & IPC_MODE)
    };
    SETS.obtain(&request, || make(key, count, flags), check)
}

/// A new set; the admin lock is held.
fn make(key: i32, count: usize, flags: u32) -> Result<SemSet> {
    if count == 0 {
        return Err(Errno::EINVAL);
    }
    let used = USED.load(Ordering::Relaxed) + count as u64;
    if used > limits::SEMMNS.count() as u64 {
        return Err(Errno::ENOSPC);
    }
    let set = Set::new(count)?;
    USED.fetch_add(count as u64, Ordering::Relaxed);
    Ok(SemSet {
        id: -1,
        count,
        state: SpinLock::new(State {
            perm: access::new_perm(key, flags),
            set,
            otime_ns: 0,
            ctime: now_seconds(),
            removed: false,
        }),
    })
}

impl State {
    /// Values have changed, by an operation if `operated`: does what waits and can go on.
    #[inline]
    fn update(&mut self, operated: bool) -> sysvipc::sem::Woken<Arc<Sleeper>> {
        let mut woken = sysvipc::sem::Woken::new();
        if self.set.has_waiting() {
            self.set.update(&mut woken);
        }
        if operated || !woken.is_empty() {
            self.otime_ns = time::realtime_ns();
        }
        woken
    }
}
