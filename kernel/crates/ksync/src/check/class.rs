//! Classes of locks, by the place in the source that makes them and the sort of lock: what is derived, such as `Default`,
//! makes all locks of a structure at one place.

use core::panic::Location;
use core::sync::atomic::{AtomicPtr, AtomicU16, AtomicU64, Ordering};

use super::Sort;

/// So many places in the source make locks at most; there are half as many.
pub(super) const MAX_CLASSES: usize = 512;

/// The bits of a site's address that hold the sort.
const SORT_MASK: usize = 3;
const _: () = assert!(align_of::<Location<'static>>() > SORT_MASK);

/// What a lock carries of its class.
pub struct LockClass {
    site: &'static Location<'static>,
    sort: Sort,
    /// 0 until the lock is first taken.
    id: AtomicU16,
}

/// What is counted of a class. Times are ticks of the time-stamp counter.
#[derive(Default)]
pub struct Stats {
    pub acquired: AtomicU64,
    /// Of these, those that had to wait.
    pub contended: AtomicU64,
    pub wait_total: AtomicU64,
    pub wait_max: AtomicU64,
    pub hold_total: AtomicU64,
    pub hold_max: AtomicU64,
    /// Allocations made while a lock of the class was the innermost held.
    pub allocations: AtomicU64,
}

impl Stats {
    const fn new() -> Stats {
        Stats {
            acquired: AtomicU64::new(0),
            contended: AtomicU64::new(0),
            wait_total: AtomicU64::new(0),
            wait_max: AtomicU64::new(0),
            hold_total: AtomicU64::new(0),
            hold_max: AtomicU64::new(0),
            allocations: AtomicU64::new(0),
        }
    }

    pub(super) fn waited(&self, ticks: u64) {
        self.contended.fetch_add(1, Ordering::Relaxed);
        self.wait_total.fetch_add(ticks, Ordering::Relaxed);
        self.wait_max.fetch_max(ticks, Ordering::Relaxed);
    }

    pub(super) fn held(&self, ticks: u64) {
        self.hold_total.fetch_add(ticks, Ordering::Relaxed);
        self.hold_max.fetch_max(ticks, Ordering::Relaxed);
    }
}

/// A place in the source with a sort of lock, and what is counted for it.
struct Row {
    /// The place's address, with the sort in its low bits; null for a free row.
    site: AtomicPtr<Location<'static>>,
    stats: Stats,
}

/// Open-addressed by the site and the sort; a row's index is the class's number less one. Rows are never taken back.
static ROWS: [Row; MAX_CLASSES] = [const {
    Row {
        site: AtomicPtr::new(core::ptr::null_mut()),
        stats: Stats::new(),
    }
}; MAX_CLASSES];

impl LockClass {
    /// The class of locks of a sort made by the caller.
    #[track_caller]
    pub const fn here(sort: Sort) -> LockClass {
        LockClass {
            site: Location::caller(),
            sort,
            id: AtomicU16::new(0),
        }
    }

    /// The class's row, found or made.
    pub(super) fn index(&self) -> usize {
        match self.id.load(Ordering::Relaxed) {
            0 => {
                let index = find(self.site, self.sort);
                self.id.store(index as u16 + 1, Ordering::Relaxed);
                index
            }
            id => usize::from(id) - 1,
        }
    }
}

fn find(site: &'static Location<'static>, sort: Sort) -> usize {
    let start =
        site.line() as usize * 31 + site.column() as usize * 7 + site.file().len() + sort as usize;
    for step in 0..MAX_CLASSES {
        let index = (start + step) % MAX_CLASSES;
        let fresh = core::ptr::from_ref(site)
            .cast_mut()
            .map_addr(|address| address | sort as usize);
        let taken = ROWS[index].site.compare_exchange(
            core::ptr::null_mut(),
            fresh,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        let is_same = |there: *mut Location<'static>| {
            there.addr() & SORT_MASK == sort as usize && site_of(index) == Some(site)
        };
        if taken.map_or_else(is_same, |_| true) {
            return index;
        }
    }
    panic!("more than {MAX_CLASSES} places make locks")
}

/// Where the locks of a class are made.
pub(super) fn site_of(index: usize) -> Option<&'static Location<'static>> {
    let site = ROWS.get(index)?.site.load(Ordering::Acquire);
    let site = site.map_addr(|address| address & !SORT_MASK);
    // SAFETY: only `find` stores here, what it got as a reference for ever, with the sort in bits that are free.
    unsafe { site.as_ref() }
}

pub(super) fn stats_of(index: usize) -> &'static Stats {
    &ROWS[index].stats
}

/// Every class that has been used: where its locks are made, and what was counted.
pub fn classes() -> impl Iterator<Item = (&'static Location<'static>, &'static Stats)> {
    (0..MAX_CLASSES).filter_map(|index| Some((site_of(index)?, stats_of(index))))
}
