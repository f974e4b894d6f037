//! Shared memory segments: making, finding, and the end of those that nobody needs.
//!
//! | module | what |
//! |---|---|
//! | this | [`Segment`], `shmget`, orphans |
//! | `attach` | `shmat`, `shmdt`, and the areas that show a segment |
//! | `control` | `shmctl` |
//!
//! A removed segment keeps its id, though not its key, until its last area is gone.

mod attach;
mod control;

use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU64, Ordering};

use abi::sysv::{IPC_MODE, SHM_DEST, SHM_HUGETLB, SHM_NORESERVE};
use abi::{Errno, Result};
use sysvipc::perm::Perm;

pub use attach::{attach, detach};
pub use control::{lock, remove, set, stat, unlock, usage};

use super::ids::{Admin, Ids, Object, Request};
use super::{access, limits, now_seconds};
use crate::mm::PAGE_SIZE;
use crate::mm::pagecache::PageCache;
use crate::mm::promise;
use crate::sync::{SpinLock, current, current_arc};
use crate::task::{Task, TaskFlags};

/// What changes of a segment.
struct State {
    perm: Perm,
    /// Areas, and calls that are about to make one.
    attached: u64,
    atime: i64,
    dtime: i64,
    ctime: i64,
    /// Who attached or detached last.
    lpid: i32,
    /// Whose RLIMIT_MEMLOCK the lock of the segment counts in.
    locked_by: Option<u32>,
    /// No longer there for anybody.
    removed: bool,
}

/// A segment.
pub struct Segment {
    id: i32,
    /// The key it was made with: its name in `/proc/<pid>/maps`.
    name: i32,
    size: usize,
    memory: Arc<PageCache>,
    /// Pages promised for it.
    promised: u64,
    cpid: i32,
    /// The thread that made it: its exit orphans the segment.
    creator: Weak<Task>,
    state: SpinLock<State>,
}

impl Object for Segment {
    fn id(&self) -> i32 {
        self.id
    }
    fn set_id(&mut self, id: i32) {
        self.id = id;
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        TOTAL_PAGES.fetch_sub(pages_of(self.size), Ordering::Relaxed);
        promise::give(self.promised);
    }
}

static SEGMENTS: Ids<Segment> = Ids::new();
/// Pages of all segments. Grows under `SEGMENTS.admin`.
static TOTAL_PAGES: AtomicU64 = AtomicU64::new(0);

/// All segments: for `/proc/sysvipc`, and for the next id.
pub fn segments() -> &'static Ids<Segment> {
    &SEGMENTS
}

fn pages_of(size: usize) -> u64 {
    size.div_ceil(PAGE_SIZE) as u64
}

/// `shmget`.
///
/// # Errors
/// Those of shmget(2).
pub fn get(key: i32, size: usize, flags: u32) -> Result<i32> {
    let request = Request {
        key,
        flags,
        limit: limits::SHMMNI.get() as u32,
    };
    let check = |segment: &Segment| {
        if segment.size < size {
            return Err(Errno::EINVAL);
        }
        access::check(&segment.state.lock().perm, flags & IPC_MODE)
    };
    SEGMENTS.obtain(&request, || make(key, size, flags), check)
}

/// A new segment; the admin lock is held.
fn make(key: i32, size: usize, flags: u32) -> Result<Segment> {
    let pages = pages_of(size);
    if size == 0 || size as u64 > limits::SHMMAX.load(Ordering::Relaxed) {
        return Err(Errno::EINVAL);
    }
    // No file is longer, on Linux either.
    if size > i64::MAX as usize {
        return Err(Errno::EINVAL);
    }
    let total = TOTAL_PAGES.load(Ordering::Relaxed).checked_add(pages);
    if total.is_none_or(|total| total > limits::SHMALL.load(Ordering::Relaxed)) {
        return Err(Errno::ENOSPC);
    }
    if flags & SHM_HUGETLB != 0 {
        // There are no huge pages of any size to choose from.
        return Err(Errno::EINVAL);
    }
    let promised = match flags & SHM_NORESERVE != 0 && promise::mode() != 2 {
        true => 0,
        false => pages,
    };
    promise::take(promised, 0)?;
    let me = current();
    let memory = PageCache::new_anonymous(size as u64);
    let memory = memory.inspect_err(|_| promise::give(promised))?;
    me.set_flags(TaskFlags::MADE_SEGMENT);
    TOTAL_PAGES.fetch_add(pages, Ordering::Relaxed);
    Ok(Segment {
        id: -1,
        name: key,
        size,
        memory,
        promised,
        cpid: me.process.pid.0,
        creator: Arc::downgrade(&current_arc()),
        state: SpinLock::new(State {
            perm: access::new_perm(key, flags),
            attached: 0,
            atime: 0,
            dtime: 0,
            ctime: now_seconds(),
            lpid: 0,
            locked_by: None,
            removed: false,
        }),
    })
}

impl Segment {
    /// Whether the segment goes once nobody shows it.
    fn is_unwanted(&self, state: &State) -> bool {
        let forced = limits::SHM_RMID_FORCED.get() != 0;
        state.attached == 0 && !state.removed && (forced || state.perm.mode & SHM_DEST != 0)
    }

    /// Whether the thread that made it is gone.
    fn is_orphan(&self) -> bool {
        self.creator
            .upgrade()
            .is_none_or(|task| task.flags().contains(TaskFlags::EXITING))
    }

    /// One attachment fewer; `by_area`: of an area, not of a call that failed.
    fn let_go(&self, by_area: bool) {
        let unwanted = {
            let mut state = self.state.lock();
            state.attached = state.attached.saturating_sub(1);
            if by_area {
                state.dtime = now_seconds();
                state.lpid = current().process.pid.0;
            }
            self.is_unwanted(&state)
        };
        if unwanted {
            self.destroy_unwanted(&mut SEGMENTS.admin());
        }
    }

    /// Takes the segment out if it still goes.
    fn destroy_unwanted(&self, admin: &mut Admin) {
        let key = {
            let mut state = self.state.lock();
            if !self.is_unwanted(&state) {
                return;
            }
            state.removed = true;
            state.perm.key
        };
        self.take_out(admin, key);
    }

    /// Nobody finds it any more; it is marked as removed.
    fn take_out(&self, admin: &mut Admin, key: i32) {
        let locked_by = self.state.lock().locked_by.take();
        if let Some(uid) = locked_by {
            control::give_locked(uid, pages_of(self.size));
        }
        SEGMENTS.remove(admin, self, key);
    }
}

/// `shm_rmid_forced` was set: segments without areas whose makers are gone go too.
pub fn destroy_orphans() {
    let mut admin = SEGMENTS.admin();
    SEGMENTS.for_each(|segment| {
        if segment.is_orphan() {
            segment.destroy_unwanted(&mut admin);
        }
    });
}

/// The running thread exits: what it made and nobody shows goes, if that is forced.
pub fn exit_thread() {
    let made_some = current().flags().contains(TaskFlags::MADE_SEGMENT);
    if made_some && limits::SHM_RMID_FORCED.get() != 0 {
        let me = current_arc();
        let mut admin = SEGMENTS.admin();
        SEGMENTS.for_each(|segment| {
            if core::ptr::eq(segment.creator.as_ptr(), Arc::as_ptr(&me)) {
                segment.destroy_unwanted(&mut admin);
            }
        });
    }
}
