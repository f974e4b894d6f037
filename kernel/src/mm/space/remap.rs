//! `mremap`: areas change size in place or move, page-table entries and all.

use abi::mman::{MapFlags, Prot, RemapFlags};
use abi::{Errno, Result};
use vm::{Content, VmFlags};

use super::content::{Area, Shown, same_object};
use super::map::pages_of;
use super::tables::span_end;
use super::uffd::WATCHED;
use super::{AddressSpace, Backing, Map, MapRequest};
use crate::arch::pte::{self, Pte};
use crate::mm::addr::{HUGE_SIZE, PAGE_SIZE, USER_END, page_down, page_up, user_range_ok};
use crate::mm::page_table::tlb;
use crate::mm::promise;
use crate::mm::tunables::{max_map_count, may_map_at};

/// What a mapping that moves is to become.
struct Wish {
    len: usize,
    flags: RemapFlags,
    /// Where, with `FIXED`.
    addr: usize,
}

impl Wish {
    /// EINVAL for a place that is none or overlaps the old one, EPERM for one too low.
    fn check_place(&self, addr: usize, old_len: usize) -> Result<()> {
        if !self.addr.is_multiple_of(PAGE_SIZE) || !user_range_ok(self.addr, self.len) {
            return Err(Errno::EINVAL);
        }
        if addr.saturating_add(old_len) > self.addr && self.addr + self.len > addr {
            return Err(Errno::EINVAL);
        }
        match self.flags.contains(RemapFlags::FIXED) && !may_map_at(self.addr) {
            true => Err(Errno::EPERM),
            false => Ok(()),
        }
    }
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
        let placed = flags.intersects(RemapFlags::FIXED | RemapFlags::DONTUNMAP);
        let keeps_old = flags.contains(RemapFlags::DONTUNMAP);
        let may_move = flags.contains(RemapFlags::MAYMOVE);
        let old_len = page_up(old_len).ok_or(Errno::EINVAL)?;
        let new_len = page_up(new_len).ok_or(Errno::EINVAL)?;
        if !addr.is_multiple_of(PAGE_SIZE)
            || new_len == 0
            || (placed && !may_move)
            || (keeps_old && old_len != new_len)
        {
            return Err(Errno::EINVAL);
        }
        let mut map = self.map.write();
        let area = map.areas.find(addr).ok_or(Errno::EFAULT)?.clone();
        if area.flags.contains(VmFlags::SEALED) {
            return Err(Errno::EPERM);
        }
        let wish = Wish {
            len: new_len,
            flags,
            addr: new_addr,
        };
        if placed {
            wish.check_place(addr, old_len)?;
        } else if old_len >= new_len {
            if old_len > new_len {
                // As on Linux a sum that wraps is the address that it becomes.
                let rest = addr.wrapping_add(new_len);
                self.unmap_locked(&mut map, rest, old_len - new_len)?;
            }
            return Ok(addr);
        }
        // No sum below can overflow.
        if new_len > USER_END {
            return Err(Errno::ENOMEM);
        }
        if !user_range_ok(addr, old_len) {
            return Err(Errno::EINVAL);
        }
        if old_len == 0 {
            return self.duplicate(&mut map, &area, addr, &wish);
        }
        // With a place of its own a mapping may also become shorter: then only that part need be one area.
        let moved = old_len.min(new_len);
        if area.end - addr < moved {
            return Err(Errno::EFAULT);
        }
        if !placed && area.end == addr + old_len && self.grow(&mut map, &area, addr + new_len)? {
            return Ok(addr);
        }
        if !may_move {
            return Err(Errno::ENOMEM);
        }
        let from = area.part(addr, addr + moved);
        self.move_area(&mut map, from, addr + old_len, &wish)
    }

    /// `remap_file_pages`: the range shows its object from page `page` on. EINVAL unless one shared mapping covers it.
    pub fn remap_pages(&self, addr: usize, len: usize, page: usize, extra: MapFlags) -> Result<()> {
        let (start, len) = (page_down(addr), page_down(len));
        let pages = len / PAGE_SIZE;
        if len == 0 || start.checked_add(len).is_none() || page.checked_add(pages).is_none() {
            return Err(Errno::EINVAL);
        }
        let (flags, place) = {
            let map = self.map.read();
            let first = map.areas.find(start).ok_or(Errno::EINVAL)?;
            let Shown::Object(place) = &first.content else {
                return Err(Errno::EINVAL);
            };
            if !first.flags.contains(VmFlags::SHARED | VmFlags::MAY_WRITE) {
                return Err(Errno::EINVAL);
            }
            let mut end = start;
            for area in map.areas.range(start, start + len) {
                let same = matches!(&area.content, Shown::Object(other) if same_object(&other.object, &place.object));
                if !same || area.flags != first.flags || area.start > end {
                    return Err(Errno::EINVAL);
                }
                end = area.end;
            }
            if end < start + len {
                return Err(Errno::EINVAL);
            }
            (first.flags, place.clone())
        };
        let mut prot = Prot::empty();
        prot.set(Prot::READ, flags.contains(VmFlags::READ));
        prot.set(Prot::WRITE, flags.contains(VmFlags::WRITE));
        prot.set(Prot::EXEC, flags.contains(VmFlags::EXEC));
        let mut max_prot = Prot::WRITE;
        max_prot.set(Prot::READ, flags.contains(VmFlags::MAY_READ));
        max_prot.set(Prot::EXEC, flags.contains(VmFlags::MAY_EXEC));
        let mut how = MapFlags::SHARED | MapFlags::FIXED | MapFlags::POPULATE | extra;
        if flags.contains(VmFlags::LOCKED) {
            how |= MapFlags::LOCKED;
        }
        self.map(MapRequest {
            addr: start,
            len,
            prot,
            max_prot,
            flags: how,
            pkey: flags.pkey(),
            backing: Backing::File {
                object: place.object,
                offset: (page as u64) << 12,
                file: place.file.as_ref().map(|file| file.get().clone()),
            },
        })?;
        Ok(())
    }

    /// Extends an area in place to `end`; false when something is in the way.
    fn grow(&self, map: &mut Map, area: &Area, end: usize) -> Result<bool> {
        if !user_range_ok(area.end, end - area.end) || !map.areas.is_free_for_mapping(area.end, end)
        {
            map.check_limits(area.flags, pages_of(end - area.end), 0)?;
            return Ok(false);
        }
        let more = Area {
            start: area.end,
            end,
            flags: area.flags,
            content: area.content.advanced(area.len()),
        };
        self.add_like(map, more, 0)?;
        self.populate_if_locked(map, area.flags, area.end, end);
        Ok(true)
    }

    /// Adds an area that extends or copies another, with limits and promises; `gone` pages will go for it.
    fn add_like(&self, map: &mut Map, area: Area, gone: u64) -> Result<()> {
        let (flags, pages) = (area.flags, pages_of(area.len()));
        map.check_limits(flags, pages, gone)?;
        if flags.contains(VmFlags::ACCOUNT) {
            promise::take(pages, map.total)?;
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
        if map.areas.len() + 3 >= max_map_count() {
            return Err(Errno::ENOMEM);
        }
        if wish.flags.contains(RemapFlags::FIXED) {
            self.check_sealed(map, wish.addr, wish.addr + wish.len)?;
            self.remove_areas(map, wish.addr, wish.addr + wish.len)?;
            return Ok(wish.addr);
        }
        match wish.flags.contains(RemapFlags::DONTUNMAP) {
            true => map.place_near(wish.addr, wish.len),
            false => map.place_anywhere(wish.len),
        }
    }

    /// `mremap` with an old size of zero: another mapping of the same object.
    fn duplicate(&self, map: &mut Map, area: &Area, addr: usize, wish: &Wish) -> Result<usize> {
        if !area.flags.contains(VmFlags::SHARED) {
            return Err(Errno::EINVAL);
        }
        if !wish.flags.contains(RemapFlags::MAYMOVE) {
            return Err(Errno::ENOMEM);
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
            flags: (from.flags - (VmFlags::STACK | VmFlags::HEAP | WATCHED)) | VmFlags::SOFT_DIRTY,
            content: from.content.clone(),
        };
        let gone = if keeps_old { 0 } else { pages_of(from.len()) };
        self.add_like(map, to, gone)?;
        if let Err(e) = self.move_pages(from.start, from.end, start) {
            let _ = self.remove_areas(map, start, end);
            return Err(e);
        }
        match keeps_old {
            // The lock went with the pages.
            true => map.set_lock(from.start, from.end, VmFlags::empty())?,
            false => self.remove_areas(map, from.start, old_end)?,
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
