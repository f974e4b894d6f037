//! Ranges of which somebody is asked for pages: what `userfaultfd` does to a space.
//!
//! An area's flags say which of a few watchers is asked, and for what: for pages that are not there, or before pages that
//! were protected are written. A fault that finds such a page lets go of the map, asks, and tries again. Whoever is asked
//! looks once more after it is on the watcher's list: between the fault and that moment the page may have come.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;

use abi::{Errno, Result};
use frames::Kind;
use vm::VmFlags;

use super::content::{Area, Shown, object_index};
use super::fault::{WRITABLE, entry_bits};
use super::{AddressSpace, Map};
use crate::arch::pte::{self, Pte};
use crate::mm::addr::{PAGE_SIZE, page_down, user_range_ok};
use crate::mm::frame;
use crate::mm::object::ObjectKind;
use crate::mm::page_table::{Table, tlb};
use crate::mm::tunables::{max_map_count, mmap_min_addr};
use crate::mm::user::IoSource;

/// Watchers that a space may have at once.
const MOST: usize = 4;
/// All that a watcher sets in an area's flags.
pub(super) const WATCHED: VmFlags = VmFlags::UFFD_MISSING
    .union(VmFlags::UFFD_WP)
    .union(VmFlags::UFFD_INDEX);

/// A fault of which a watcher is told.
#[derive(Clone, Copy, Debug)]
pub struct WatchedFault {
    pub address: usize,
    pub write: bool,
    /// The page is there, and was protected.
    pub protected: bool,
    /// By a program's own instruction, not by the kernel on its behalf.
    pub from_user: bool,
}

/// What comes of asking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The fault may be tried again.
    Again,
    /// There will be no page: SIGBUS.
    Refused,
    /// A signal is to be seen to first.
    Interrupted,
}

/// Who is asked: a userfaultfd.
pub trait Watcher: Send + Sync {
    /// Tells of the fault and waits. `still` looks whether it is still one; called with the fault on the list.
    fn ask(&self, fault: &WatchedFault, still: &dyn Fn() -> bool) -> Answer;
}

/// A space's watchers, by the number in its areas' flags.
#[derive(Default)]
pub(super) struct Watchers([Option<Weak<dyn Watcher>>; MOST]);

impl Watchers {
    fn number_of(&self, watcher: &Arc<dyn Watcher>) -> Option<u8> {
        let same = |slot: &Option<Weak<dyn Watcher>>| {
            let held = slot.as_ref().map(Weak::as_ptr);
            held.is_some_and(|held| core::ptr::addr_eq(held, Arc::as_ptr(watcher)))
        };
        self.0.iter().position(same).map(|number| number as u8)
    }

    /// ENOMEM when there are too many.
    fn add(&mut self, watcher: &Arc<dyn Watcher>) -> Result<u8> {
        if let Some(number) = self.number_of(watcher) {
            return Ok(number);
        }
        let free = self.0.iter().position(Option::is_none);
        let number = free.ok_or(Errno::ENOMEM)?;
        if let Some(slot) = self.0.get_mut(number) {
            *slot = Some(Arc::downgrade(watcher));
        }
        Ok(number as u8)
    }

    fn get(&self, flags: VmFlags) -> Option<Arc<dyn Watcher>> {
        self.0
            .get(usize::from(flags.watcher()))?
            .as_ref()?
            .upgrade()
    }
}

/// EINVAL unless whole pages of the user half.
pub fn check_range(start: usize, len: usize) -> Result<()> {
    let whole = start.is_multiple_of(PAGE_SIZE) && len.is_multiple_of(PAGE_SIZE);
    match whole && len != 0 && start >= mmap_min_addr() && user_range_ok(start, len) {
        true => Ok(()),
        false => Err(Errno::EINVAL),
    }
}

/// Whether the page of an object at an address has come.
fn is_resident(area: &Area, address: usize) -> bool {
    let Shown::Object(place) = &area.content else {
        return false;
    };
    let mut found = false;
    let index = object_index(area, place, page_down(address));
    place
        .object
        .resident_pages(index, 1, &mut |_, _| found = true);
    found
}

impl Map {
    fn watched_by(&self, area: &Area, watcher: &Arc<dyn Watcher>) -> bool {
        area.flags
            .intersects(VmFlags::UFFD_MISSING | VmFlags::UFFD_WP)
            && self.watchers.number_of(watcher) == Some(area.flags.watcher())
    }
}

impl AddressSpace {
    /// Whether a watcher is to be asked for a page that no entry maps.
    pub(super) fn asks_for(&self, area: &Area, address: usize) -> bool {
        area.flags.contains(VmFlags::UFFD_MISSING) && !is_resident(area, address)
    }

    /// Asks whoever watches the place. The map is not held.
    pub(super) fn ask_watcher(&self, fault: &WatchedFault) -> Answer {
        let watcher = {
            let map = self.map.read();
            let area = map.areas.find(fault.address);
            area.and_then(|area| map.watchers.get(area.flags))
        };
        match watcher {
            // It went away meanwhile, and with it what it watched.
            None => Answer::Again,
            Some(watcher) => watcher.ask(fault, &|| self.still_faults(fault)),
        }
    }

    fn still_faults(&self, fault: &WatchedFault) -> bool {
        let map = self.map.read();
        let Some(area) = map.areas.find(fault.address) else {
            return false;
        };
        match (fault.protected, self.lookup(fault.address)) {
            (false, None) => self.asks_for(area, fault.address),
            (true, Some(entry)) => {
                area.flags.contains(VmFlags::UFFD_WP) && entry.0 & Pte::UFFD_WP != 0
            }
            _ => false,
        }
    }

    /// `UFFDIO_REGISTER`. EINVAL where pages are not of memory alone, EPERM where they may never be written, EBUSY where
    /// another is asked already.
    pub fn watch(
        &self,
        watcher: &Arc<dyn Watcher>,
        start: usize,
        end: usize,
        mode: VmFlags,
    ) -> Result<()> {
        let mut map = self.map.write();
        let mut any = false;
        for area in map.areas.range(start, end) {
            any = true;
            let fits = match &area.content {
                Shown::Anon => true,
                Shown::Object(place) => {
                    place.object.kind() == ObjectKind::Shmem && !mode.contains(VmFlags::UFFD_WP)
                }
            };
            if !fits {
                return Err(Errno::EINVAL);
            }
            if !area.flags.contains(VmFlags::MAY_WRITE) {
                return Err(Errno::EPERM);
            }
            if area.flags.intersects(WATCHED) && !map.watched_by(area, watcher) {
                return Err(Errno::EBUSY);
            }
        }
        if !any {
            return Err(Errno::EINVAL);
        }
        if map.areas.len() + map.areas.splits_needed(start, end) > max_map_count() {
            return Err(Errno::ENOMEM);
        }
        let number = map.watchers.add(watcher)?;
        let change = |flags: VmFlags| ((flags - WATCHED) | mode).with_watcher(number);
        map.areas
            .change_flags(start, end, change, |_, _| ())
            .map_err(|_| Errno::ENOMEM)
    }

    /// `UFFDIO_UNREGISTER`. EINVAL where pages could not be asked for.
    pub fn unwatch(&self, watcher: &Arc<dyn Watcher>, start: usize, end: usize) -> Result<()> {
        let mut map = self.map.write();
        if map.areas.is_free(start, end) {
            return Err(Errno::EINVAL);
        }
        let Some(number) = map.watchers.number_of(watcher) else {
            return Ok(());
        };
        let change = |flags: VmFlags| match flags.watcher() == number {
            true => flags - WATCHED,
            false => flags,
        };
        map.areas
            .change_flags(start, end, change, |_, _| ())
            .map_err(|_| Errno::ENOMEM)
    }

    /// The watcher goes.
    pub fn unwatch_all(&self, watcher: &Arc<dyn Watcher>) {
        let mut map = self.map.write();
        let Some(number) = map.watchers.number_of(watcher) else {
            return;
        };
        let of_it = |flags: VmFlags| flags.intersects(WATCHED) && flags.watcher() == number;
        // Nothing is split: the ends are those of the space.
        let _ = map.areas.change_flags(
            0,
            usize::MAX & !(PAGE_SIZE - 1),
            |flags| if of_it(flags) { flags - WATCHED } else { flags },
            |_, _| (),
        );
        if let Some(slot) = map.watchers.0.get_mut(usize::from(number)) {
            *slot = None;
        }
    }

    /// Puts a page of the bytes of `source`, or of zeros, where there is none. ENOENT where the watcher is not asked,
    /// EEXIST where there is one.
    pub fn give_page(
        &self,
        watcher: &Arc<dyn Watcher>,
        address: usize,
        source: Option<&mut IoSource<'_>>,
        protected: bool,
    ) -> Result<()> {
        // Of which kind the page is to be is looked at again below.
        let anonymous = {
            let map = self.map.read();
            let area = map.areas.find(address).ok_or(Errno::ENOENT)?;
            matches!(area.content, Shown::Anon)
        };
        let kind = if anonymous { Kind::Anon } else { Kind::Shmem };
        let page = match source {
            Some(source) => {
                let page = frame::alloc_kind(kind)?;
                page.take_from(source, 0, PAGE_SIZE)?;
                Some(page)
            }
            None if anonymous => None,
            None => Some(frame::alloc_kind_zeroed(kind)?),
        };
        let map = self.map.read();
        let area = map.areas.find(address).ok_or(Errno::ENOENT)?;
        if !map.watched_by(area, watcher) || matches!(area.content, Shown::Anon) != anonymous {
            return Err(Errno::ENOENT);
        }
        if protected && !area.flags.contains(VmFlags::UFFD_WP) {
            return Err(Errno::EINVAL);
        }
        if let (Shown::Object(place), Some(page)) = (&area.content, &page) {
            let index = object_index(area, place, address);
            return place.object.insert_page(index, page.clone());
        }
        let directory = self.make_directory(address)?;
        let table = self.own_table(directory, pte::index(address, 2))?;
        let slot = pte::index(address, 1);
        let _guard = table.lock();
        if !table.get(slot).is_none() {
            return Err(Errno::EEXIST);
        }
        let bits = entry_bits(area.flags);
        let entry = match page {
            None => {
                let zero = u64::from(frame::zero_page()) << 12;
                Pte::new(zero, bits | Pte::UNCOUNTED)
            }
            Some(page) => {
                self.counts.anon.fetch_add(1, Ordering::Relaxed);
                let rights = match (protected, area.flags.contains(VmFlags::WRITE)) {
                    (true, _) => Pte::DIRTY | Pte::UFFD_WP,
                    (false, true) => WRITABLE,
                    (false, false) => Pte::DIRTY,
                };
                Pte::new(u64::from(page.into_raw()) << 12, bits | rights)
            }
        };
        table.set(slot, entry);
        table.add_count(1);
        Ok(())
    }

    /// `UFFDIO_WRITEPROTECT`: the pages that are there may not be written before the watcher is asked, or may again.
    /// ENOENT where it is not asked.
    pub fn guard_pages(
        &self,
        watcher: &Arc<dyn Watcher>,
        start: usize,
        end: usize,
        protect: bool,
    ) -> Result<()> {
        let map = self.map.write();
        let watched =
            |area: &Area| area.flags.contains(VmFlags::UFFD_WP) && map.watched_by(area, watcher);
        if !map.areas.covers(start, end) || !map.areas.range(start, end).all(watched) {
            return Err(Errno::ENOENT);
        }
        self.own_all(start, end)?;
        let mut result = Ok(());
        self.for_each_span(start, end, |directory, index, at, next| {
            let table = match directory.get(index).is_large() {
                false => Table::of(directory.get(index)),
                true => match self.own_table(directory, index) {
                    Ok(table) => table,
                    Err(e) => {
                        result = Err(e);
                        return;
                    }
                },
            };
            let _guard = table.lock();
            let first = pte::index(at, 1);
            for slot in first..first + (next - at) / PAGE_SIZE {
                let entry = table.get(slot);
                if entry.is_none() {
                    continue;
                }
                let new = match protect {
                    true => entry.without(Pte::WRITE).with(Pte::UFFD_WP),
                    // Whether it may be written at once is for the fault to find out.
                    false => entry.without(Pte::UFFD_WP),
                };
                table.set(slot, new);
            }
        });
        tlb::flush(self, start, end);
        result
    }
}
