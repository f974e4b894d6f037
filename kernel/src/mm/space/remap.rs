//! `mremap`: areas change size in place or move, page-table entries and all.

use abi::mman::RemapFlags;
use abi::{Errno, Result};
use vm::{Content, VmFlags};

use super::content::Area;
use super::map::pages_of;
use super::tables::span_end;
use super::{AddressSpace, MAX_AREAS, Map};
use crate::arch::pte::{self, Pte};
use crate::mm::addr::{HUGE_SIZE, PAGE_SIZE, USER_END, page_up, user_range_ok};
use crate::mm::page_table::tlb;
use crate::mm::promise;

/// What a mapping that moves is to become.
struct Wish {
    len: usize,
    flags: RemapFlags,
    /// Where, with `FIXED`.
    addr: usize,
}

impl AddressSpace {
    /// `mremap`.
    pub fn remap(
        &self,
        addr: usize,
        old_len: usize,
        new_len: usize,
        flags: RemapFlags,
        new_addr: usize,
    ) -> Result<usize> {
        let fixed = flags.intersects(RemapFlags::FIXED | RemapFlags::DONTUNMAP);
        let keeps_old = flags.contains(RemapFlags::DONTUNMAP);
        let may_move = flags.contains(RemapFlags::MAYMOVE);
        let old_len = page_up(old_len).ok_or(Errno::EINVAL)?;
        let new_len = page_up(new_len).ok_or(Errno::EINVAL)?;
        if !addr.is_multiple_of(PAGE_SIZE)
            || new_len == 0
            || (fixed && !may_move)
            || (keeps_old && old_len != new_len)
            || !user_range_ok(addr, old_len)
        {
            return Err(Errno::EINVAL);
        }
        let mut map = self.map.write();
        if flags.contains(RemapFlags::FIXED) {
            if !new_addr.is_multiple_of(PAGE_SIZE) || !user_range_ok(new_addr, new_len) {
                return Err(Errno::EINVAL);
            }
            if new_addr < addr + old_len && addr < new_addr + new_len {
                return Err(Errno::EINVAL);
            }
        }
        let area = map.areas.find(addr).ok_or(Errno::EFAULT)?.clone();
        // No sum below can overflow.
        if new_len > USER_END {
            return Err(Errno::ENOMEM);
        }
        let wish = Wish {
            len: new_len,
            flags,
            addr: new_addr,
        };
        if old_len == 0 {
            return self.duplicate(&mut map, &area, addr, &wish);
        }
        let old_end = addr + old_len;
        if !fixed && new_len <= old_len {
            if !map.areas.covers(addr, addr + new_len) {
                return Err(Errno::EFAULT);
            }
            self.remove_areas(&mut map, addr + new_len, old_end)?;
            return Ok(addr);
        }
        if area.end < old_end {
            return Err(Errno::EFAULT);
        }
        if !fixed && area.end == old_end && self.grow(&mut map, &area, addr + new_len).is_ok() {
            return Ok(addr);
        }
        if !may_move {
            return Err(Errno::ENOMEM);
        }
        let from = area.part(addr, addr + old_len.min(new_len));
        self.move_area(&mut map, from, old_end, &wish)
    }

    /// Extends an area in place to `end`.
    fn grow(&self, map: &mut Map, area: &Area, end: usize) -> Result<()> {
        if !user_range_ok(area.end, end - area.end) || !map.areas.is_free_for_mapping(area.end, end)
        {
            return Err(Errno::ENOMEM);
        }
        let more = Area {
            start: area.end,
            end,
            flags: area.flags,
            content: area.content.advanced(area.len()),
        };
        self.add_like(map, more, 0)?;
        self.populate_if_locked(map, area.flags, area.end, end);
        Ok(())
    }

    /// Adds an area that extends or copies another, with limits and promises; `gone` pages will go for it.
    fn add_like(&self, map: &mut Map, area: Area, gone: u64) -> Result<()> {
        let (flags, pages) = (area.flags, pages_of(area.len()));
        map.check_limits(flags, pages, gone)?;
        if flags.contains(VmFlags::ACCOUNT) {
            promise::take(pages)?;
        }
        if let Err(e) = self.insert_area(map, area) {
            if flags.contains(VmFlags::ACCOUNT) {
                promise::give(pages);
            }
            return Err(e);
        }
        map.account(flags, pages, 1);
        Ok(())
    }

    fn populate_if_locked(&self, map: &Map, flags: VmFlags, start: usize, end: usize) {
        if flags.contains(VmFlags::LOCKED) && !flags.contains(VmFlags::LOCK_ON_FAULT) {
            let _ = self.populate(map, start, end, None);
        }
    }

    /// The place for a moved area; what is at a fixed place goes.
    fn new_place(&self, map: &mut Map, wish: &Wish) -> Result<usize> {
        if map.areas.len() + 2 >= MAX_AREAS {
            return Err(Errno::ENOMEM);
        }
        if wish.flags.contains(RemapFlags::FIXED) {
            self.remove_areas(map, wish.addr, wish.addr + wish.len)?;
            return Ok(wish.addr);
        }
        map.place_anywhere(wish.len)
    }

    /// `mremap` with an old size of zero: another mapping of the same object.
    fn duplicate(&self, map: &mut Map, area: &Area, addr: usize, wish: &Wish) -> Result<usize> {
        if !area.flags.contains(VmFlags::SHARED) || !wish.flags.contains(RemapFlags::MAYMOVE) {
            return Err(Errno::EINVAL);
        }
        let start = self.new_place(map, wish)?;
        let copy = Area {
            start,
            end: start + wish.len,
            flags: area.flags,
            content: area.content.advanced(addr - area.start),
        };
        self.add_like(map, copy, 0)?;
        Ok(start)
    }

    /// Moves `from` (and drops the rest up to `old_end`) to a new place.
    fn move_area(&self, map: &mut Map, from: Area, old_end: usize, wish: &Wish) -> Result<usize> {
        let keeps_old = wish.flags.contains(RemapFlags::DONTUNMAP);
        if keeps_old && from.flags.intersects(VmFlags::SPECIAL) {
            return Err(Errno::EINVAL);
        }
        let start = self.new_place(map, wish)?;
        let end = start + wish.len;
        let to = Area {
            start,
            end,
            flags: from.flags - (VmFlags::STACK | VmFlags::HEAP),
            content: from.content.clone(),
        };
        let gone = if keeps_old { 0 } else { pages_of(from.len()) };
        self.add_like(map, to, gone)?;
        if let Err(e) = self.move_pages(from.start, from.end, start) {
            let _ = self.remove_areas(map, start, end);
            return Err(e);
        }
        if !keeps_old {
            self.remove_areas(map, from.start, old_end)?;
        }
        self.populate_if_locked(map, from.flags, start, end);
        Ok(start)
    }

    /// Moves the entries of `[start, end)` to `to`, where there are none. On failure what was moved goes back by faults
    /// only if it was of an object; so all tables are made before anything moves.
    fn move_pages(&self, start: usize, end: usize, to: usize) -> Result<()> {
        let mut at = start;
        while at < end {
            let next = span_end(at, end);
            self.prepare_span(at, next, to + (at - start))?;
            at = next;
        }
        let mut at = start;
        while at < end {
            let next = span_end(at, end);
            self.move_span(at, next, to + (at - start));
            at = next;
        }
        tlb::flush(self, start, end);
        Ok(())
    }

    /// Whether a span moves by its directory entry alone.
    fn moves_whole(at: usize, end: usize, to: usize) -> bool {
        end - at == HUGE_SIZE && to.is_multiple_of(HUGE_SIZE)
    }

    fn prepare_span(&self, at: usize, end: usize, to: usize) -> Result<()> {
        let Some(directory) = self.root.directory(at) else {
            return Ok(());
        };
        let index = pte::index(at, 2);
        if directory.get(index).is_none() {
            return Ok(());
        }
        let last = to + (end - at) - 1;
        if Self::moves_whole(at, end, to) {
            self.make_directory(to)?;
            return Ok(());
        }
        self.own_table(directory, index)?;
        for place in [to, last] {
            let directory = self.make_directory(place)?;
            self.own_table(directory, pte::index(place, 2))?;
        }
        Ok(())
    }

    fn move_span(&self, at: usize, end: usize, to: usize) {
        let Some(source) = self.root.directory(at) else {
            return;
        };
        let index = pte::index(at, 2);
        let entry = source.get(index);
        if entry.is_none() {
            return;
        }
        if Self::moves_whole(at, end, to)
            && let Some(target) = self.root.directory(to)
        {
            // The map is held exclusively: nobody else changes tables of this space.
            let old = target.get(pte::index(to, 2));
            if old.is_none() {
                source.set(index, Pte::EMPTY);
                source.add_count(-1);
                target.set(pte::index(to, 2), entry);
                target.add_count(1);
                return;
            }
        }
        self.move_entries(at, end, to);
    }

    fn move_entries(&self, at: usize, end: usize, to: usize) {
        for page in (at..end).step_by(PAGE_SIZE) {
            let place = to + (page - at);
            let find = |address: usize| {
                let directory = self.root.directory(address)?;
                self.own_table(directory, pte::index(address, 2)).ok()
            };
            let Some(source) = find(page) else { return };
            if source.count() == 0 {
                return;
            }
            let slot = pte::index(page, 1);
            let entry = source.get(slot);
            if entry.is_none() {
                continue;
            }
            let Some(target) = find(place) else { return };
            source.set(slot, Pte::EMPTY);
            source.add_count(-1);
            target.set(pte::index(place, 1), entry);
            target.add_count(1);
        }
    }
}
