//! Which spaces map an object: for unmapping what a truncate cuts off.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use ksync::SpinLock;

use super::AddressSpace;
use crate::mm::object::MemoryObject;

/// The spaces that map an object, with how many pages each.
pub struct Mappers {
    /// Pages over all spaces: zero is the common case and needs no lock.
    total: AtomicU64,
    spaces: SpinLock<BTreeMap<u64, (Weak<AddressSpace>, u64)>>,
}

impl Default for Mappers {
    fn default() -> Self {
        Mappers::new()
    }
}

impl Mappers {
    /// Nobody.
    pub const fn new() -> Mappers {
        Mappers {
            total: AtomicU64::new(0),
            spaces: SpinLock::new(BTreeMap::new()),
        }
    }

    /// Whether nobody maps the object.
    pub fn is_empty(&self) -> bool {
        self.total.load(Ordering::SeqCst) == 0
    }

    /// A space maps `pages` more.
    pub(super) fn add(&self, space: &AddressSpace, pages: u64) {
        self.total.fetch_add(pages, Ordering::SeqCst);
        let mut spaces = self.spaces.lock();
        let entry = spaces
            .entry(space.id())
            .or_insert_with(|| (space.weak(), 0));
        entry.1 += pages;
    }

    /// A space maps `pages` fewer.
    pub(super) fn sub(&self, space: &AddressSpace, pages: u64) {
        let gone = {
            let mut spaces = self.spaces.lock();
            match spaces.get_mut(&space.id()) {
                Some(entry) if entry.1 > pages => {
                    entry.1 -= pages;
                    None
                }
                _ => spaces.remove(&space.id()),
            }
        };
        self.total.fetch_sub(pages, Ordering::SeqCst);
        drop(gone);
    }

    /// Takes the pages `[first, end)` of `object` out of every space that maps them. With `private_too` also copies
    /// that private mappings made, as a truncate must. May sleep.
    pub fn unmap(&self, object: &dyn MemoryObject, first: u64, end: u64, private_too: bool) {
        if self.is_empty() {
            return;
        }
        let spaces: Vec<Arc<AddressSpace>> = {
            let spaces = self.spaces.lock();
            spaces.values().filter_map(|(s, _)| s.upgrade()).collect()
        };
        for space in spaces {
            space.unmap_object(object, first, end, private_too);
        }
    }
}
