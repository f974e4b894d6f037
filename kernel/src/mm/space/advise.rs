//! `madvise`, `mincore`, `msync`, and the unmapping of what a truncate cuts off.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::mman::{SyncFlags, advice};
use abi::{Errno, Result};
use vm::VmFlags;

use super::content::{ObjectPlace, Shown, object_index};
use super::map::pages_of;
use super::{AddressSpace, Map};
use crate::mm::addr::{PAGE_SIZE, page_up, user_range_ok};
use crate::mm::object::MemoryObject;
use crate::mm::tunables::max_map_count;

/// Flags that an advice sets and clears.
fn flag_change(what: u32) -> Option<(VmFlags, VmFlags)> {
    let none = VmFlags::empty();
    Some(match what {
        advice::NORMAL => (none, VmFlags::SEQUENTIAL | VmFlags::RANDOM),
        advice::RANDOM => (VmFlags::RANDOM, VmFlags::SEQUENTIAL),
        advice::SEQUENTIAL => (VmFlags::SEQUENTIAL, VmFlags::RANDOM),
        advice::DONTFORK => (VmFlags::DONT_FORK, none),
        advice::DOFORK => (none, VmFlags::DONT_FORK),
        advice::WIPEONFORK => (VmFlags::WIPE_ON_FORK, none),
        advice::KEEPONFORK => (none, VmFlags::WIPE_ON_FORK),
        advice::DONTDUMP => (VmFlags::DONT_DUMP, none),
        advice::DODUMP => (none, VmFlags::DONT_DUMP),
        // As with KSM built in and not running: what may be merged is marked, and nobody merges.
        advice::MERGEABLE => (VmFlags::MERGEABLE, none),
        advice::UNMERGEABLE => (none, VmFlags::MERGEABLE),
        advice::HUGEPAGE => (VmFlags::HUGE_PAGE, VmFlags::NO_HUGE_PAGE),
        advice::NOHUGEPAGE => (VmFlags::NO_HUGE_PAGE, VmFlags::HUGE_PAGE),
        _ => return None,
    })
}

impl AddressSpace {
    /// `madvise`. ENOMEM when part of the range is not mapped; the rest is done.
    pub fn advise(&self, addr: usize, len: usize, what: u32) -> Result<()> {
        if !is_known(what) || !addr.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        let len = page_up(len).ok_or(Errno::EINVAL)?;
        let end = addr.checked_add(len).ok_or(Errno::EINVAL)?;
        if len == 0 {
            return Ok(());
        }
        if !user_range_ok(addr, len) {
            return Err(Errno::ENOMEM);
        }
        match what {
            advice::POPULATE_READ => self.advise_populate(addr, end, false),
            advice::POPULATE_WRITE => self.advise_populate(addr, end, true),
            advice::REMOVE => self.advise_remove(addr, end),
            advice::DONTNEED | advice::DONTNEED_LOCKED | advice::FREE => {
                self.advise_drop(addr, end, what)
            }
            advice::WILLNEED => self.check_whole(addr, end),
            advice::COLD | advice::PAGEOUT => self.advise_cold(addr, end),
            advice::COLLAPSE => self.collapse(addr, end),
            _ => match flag_change(what) {
                Some((set, clear)) => self.advise_flags(addr, end, set, clear),
                None => Err(Errno::EINVAL),
            },
        }
    }

    /// Hints without effect here still tell about holes.
    fn check_whole(&self, start: usize, end: usize) -> Result<()> {
        match self.map.read().areas.covers(start, end) {
            true => Ok(()),
            false => Err(Errno::ENOMEM),
        }
    }

    /// Pages that are not wanted soon count as not referenced. Without swap, and with files in memory alone, there is
    /// nowhere to put them out to.
    fn advise_cold(&self, start: usize, end: usize) -> Result<()> {
        let map = self.map.read();
        for area in map.areas.range(start, end) {
            if area.flags.intersects(VmFlags::LOCKED | VmFlags::SPECIAL) {
                return Err(Errno::EINVAL);
            }
            self.clear_referenced(area.start.max(start), area.end.min(end));
        }
        match map.areas.covers(start, end) {
            true => Ok(()),
            false => Err(Errno::ENOMEM),
        }
    }

    fn advise_flags(&self, start: usize, end: usize, set: VmFlags, clear: VmFlags) -> Result<()> {
        let mut map = self.map.write();
        if set.intersects(VmFlags::DONT_FORK | VmFlags::WIPE_ON_FORK) {
            check_discard(&map, start, end)?;
        }
        let refused = |area: &super::Area| {
            let wipe = set.contains(VmFlags::WIPE_ON_FORK)
                && (area.flags.contains(VmFlags::SHARED) || !matches!(area.content, Shown::Anon));
            let special = (set | clear).intersects(VmFlags::DONT_FORK)
                && area.flags.contains(VmFlags::SPECIAL);
            wipe || special
        };
        if map.areas.range(start, end).any(refused) {
            return Err(Errno::EINVAL);
        }
        // What may be had later is told apart from what is not there.
        if map.areas.len() + map.areas.splits_needed(start, end) > max_map_count() {
            return Err(Errno::EAGAIN);
        }
        let whole = map.areas.covers(start, end);
        map.areas
            .change_flags(start, end, |f| (f - clear) | set, |_, _| ())
            .map_err(|_| Errno::EAGAIN)?;
        match whole {
            true => Ok(()),
            false => Err(Errno::ENOMEM),
        }
    }

    /// Drops pages: private ones become zeros or the file's content again at the next touch.
    fn advise_drop(&self, start: usize, end: usize, what: u32) -> Result<()> {
        let map = self.map.write();
        check_discard(&map, start, end)?;
        let mut at = start;
        let mut hole = false;
        for area in map.areas.range(start, end) {
            hole |= area.start > at;
            let (from, to) = (area.start.max(start), area.end.min(end));
            at = area.end;
            let locked = area.flags.contains(VmFlags::LOCKED) && what != advice::DONTNEED_LOCKED;
            let not_anon = what == advice::FREE
                && (!matches!(area.content, Shown::Anon) || area.flags.contains(VmFlags::SHARED));
            if locked || not_anon || area.flags.contains(VmFlags::SPECIAL) {
                return Err(Errno::EINVAL);
            }
            self.own_edges(from, to)?;
            self.zap(from, to);
        }
        match hole || at < end {
            true => Err(Errno::ENOMEM),
            false => Ok(()),
        }
    }

    fn advise_populate(&self, start: usize, end: usize, write: bool) -> Result<()> {
        let map = self.map.read();
        if !map.areas.covers(start, end) {
            return Err(Errno::ENOMEM);
        }
        let right = if write { VmFlags::WRITE } else { VmFlags::READ };
        let usable =
            |a: &super::Area| a.flags.contains(right) && !a.flags.contains(VmFlags::SPECIAL);
        if !map.areas.range(start, end).all(usable) {
            return Err(Errno::EINVAL);
        }
        self.populate(&map, start, end, Some(write))
    }

    fn advise_remove(&self, start: usize, end: usize) -> Result<()> {
        let mut holes: Vec<(Arc<dyn MemoryObject>, u64, u64)> = Vec::new();
        {
            let map = self.map.read();
            check_discard(&map, start, end)?;
            if !map.areas.covers(start, end) {
                return Err(Errno::ENOMEM);
            }
            for area in map.areas.range(start, end) {
                let shared_write = VmFlags::SHARED | VmFlags::MAY_WRITE;
                if area.flags.contains(VmFlags::LOCKED) {
                    return Err(Errno::EINVAL);
                }
                let Shown::Object(place) = &area.content else {
                    return Err(Errno::EINVAL);
                };
                if !area.flags.contains(shared_write) {
                    return Err(Errno::EACCES);
                }
                let from = place.offset + (area.start.max(start) - area.start) as u64;
                let to = place.offset + (area.end.min(end) - area.start) as u64;
                holes.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                holes.push((place.object.clone(), from, to));
            }
        }
        // Without the map's lock: punching takes it again to unmap.
        for (object, from, to) in holes {
            object.punch_hole(from, to)?;
        }
        Ok(())
    }

    /// `mincore`: bit 0 of a byte for each page says whether it is resident. ENOMEM for a hole.
    pub fn resident(&self, start: usize, out: &mut [u8]) -> Result<()> {
        let end = start + out.len() * PAGE_SIZE;
        let map = self.map.read();
        if !map.areas.covers(start, end) {
            return Err(Errno::ENOMEM);
        }
        out.fill(0);
        for area in map.areas.range(start, end) {
            let (from, to) = (area.start.max(start), area.end.min(end));
            let at = |address: usize| (address - start) / PAGE_SIZE;
            for page in (from..to).step_by(PAGE_SIZE) {
                if self.lookup(page).is_some() {
                    out[at(page)] = 1;
                }
            }
            if let Shown::Object(place) = &area.content {
                if !place
                    .file
                    .as_ref()
                    .is_none_or(|f| f.get().tells_residency())
                {
                    // As on Linux, who may not know is told that all is there.
                    out[at(from)..at(from) + (to - from) / PAGE_SIZE].fill(1);
                    continue;
                }
                let first = object_index(area, place, from);
                let count = (to - from) / PAGE_SIZE;
                place.object.resident_pages(first, count, &mut |index, _| {
                    if let Some(byte) = out.get_mut(at(from) + (index - first) as usize) {
                        *byte = 1;
                    }
                });
            }
        }
        Ok(())
    }

    /// `msync`.
    pub fn sync(&self, addr: usize, len: usize, flags: SyncFlags) -> Result<()> {
        let both = SyncFlags::ASYNC | SyncFlags::SYNC;
        if !addr.is_multiple_of(PAGE_SIZE) || flags.contains(both) {
            return Err(Errno::EINVAL);
        }
        let len = page_up(len).ok_or(Errno::ENOMEM)?;
        let end = addr.checked_add(len).ok_or(Errno::ENOMEM)?;
        if len == 0 {
            return Ok(());
        }
        let mut places: Vec<(ObjectPlace, u64)> = Vec::new();
        let whole = {
            let map = self.map.read();
            for area in map.areas.range(addr, end) {
                if flags.contains(SyncFlags::INVALIDATE) && area.flags.contains(VmFlags::LOCKED) {
                    return Err(Errno::EBUSY);
                }
                if let Shown::Object(place) = &area.content
                    && area.flags.contains(VmFlags::SHARED)
                    && flags.contains(SyncFlags::SYNC)
                {
                    places.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                    let part = area.part(addr, end);
                    if let Shown::Object(place) = part.content {
                        let bytes = pages_of(part.end - part.start) * PAGE_SIZE as u64;
                        places.push((place, bytes));
                    } else {
                        drop(place.clone());
                    }
                }
            }
            map.areas.covers(addr, end)
        };
        for (place, bytes) in places {
            place.object.sync(place.offset, place.offset + bytes)?;
        }
        match whole {
            true => Ok(()),
            false => Err(Errno::ENOMEM),
        }
    }

    /// Takes pages `[first, end)` of an object out of this space: all, or only what shows the object itself.
    pub(super) fn unmap_object(
        &self,
        object: &dyn MemoryObject,
        first: u64,
        end: u64,
        private_too: bool,
    ) {
        let map = self.map.write();
        for area in map.areas.iter() {
            let Shown::Object(place) = &area.content else {
                continue;
            };
            let same = core::ptr::addr_eq(Arc::as_ptr(&place.object), object);
            if !same || (!private_too && !area.flags.contains(VmFlags::SHARED)) {
                continue;
            }
            let area_first = place.offset >> 12;
            let area_end = area_first + pages_of(area.len());
            let (from, to) = (first.max(area_first), end.min(area_end));
            if from < to {
                let start = area.start + (from - area_first) as usize * PAGE_SIZE;
                let stop = area.start + (to - area_first) as usize * PAGE_SIZE;
                self.zap_surely(start, stop);
            }
        }
    }
}

/// EPERM when content that can only be read, and must stay as it is, would go (`mseal`).
fn check_discard(map: &Map, start: usize, end: usize) -> Result<()> {
    let kept = |a: &super::Area| {
        a.flags.contains(VmFlags::SEALED)
            && !a.flags.contains(VmFlags::WRITE)
            && matches!(a.content, Shown::Anon)
    };
    match map.any_sealed && map.areas.range(start, end).any(kept) {
        true => Err(Errno::EPERM),
        false => Ok(()),
    }
}

fn is_known(what: u32) -> bool {
    flag_change(what).is_some()
        || matches!(
            what,
            advice::WILLNEED
                | advice::DONTNEED
                | advice::FREE
                | advice::REMOVE
                | advice::COLD
                | advice::PAGEOUT
                | advice::POPULATE_READ
                | advice::POPULATE_WRITE
                | advice::DONTNEED_LOCKED
                | advice::COLLAPSE
        )
}
