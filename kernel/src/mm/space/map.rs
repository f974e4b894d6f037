//! `mmap`, `munmap`, `brk`, and the growth of stacks.

use abi::mman::{MapFlags, Prot};
use abi::{Errno, Result};
use vm::{GapRequest, STACK_GUARD, VmFlags, VmaMap};

use super::content::{Area, AreaFile, ObjectPlace, Shown};
use super::{AddressSpace, Backing, Map, MapRequest};
use crate::mm::addr::{HUGE_SIZE, PAGE_SIZE, USER_END, page_down, page_up, user_range_ok};
use crate::mm::hooks::{self, Limit};
use crate::mm::pagecache::PageCache;
use crate::mm::tunables::{max_map_count, may_map_at, mmap_min_addr};
use crate::mm::{promise, stats};

/// The last address a `MAP_32BIT` mapping may reach, and the first it is given.
const LOW_END: usize = 0x8000_0000;
const LOW_START: usize = 0x4000_0000;

impl From<Prot> for ProtFlags {
    fn from(prot: Prot) -> ProtFlags {
        let mut flags = VmFlags::empty();
        flags.set(VmFlags::READ, prot.contains(Prot::READ));
        flags.set(VmFlags::WRITE, prot.contains(Prot::WRITE));
        flags.set(VmFlags::EXEC, prot.contains(Prot::EXEC));
        ProtFlags(flags)
    }
}

/// The rights of a `PROT_*` word.
pub(super) struct ProtFlags(pub VmFlags);

/// What `mprotect` may add, for the rights in `max`.
fn may_flags(max: Prot) -> VmFlags {
    let mut flags = VmFlags::empty();
    flags.set(VmFlags::MAY_READ, max.contains(Prot::READ));
    flags.set(VmFlags::MAY_WRITE, max.contains(Prot::WRITE));
    flags.set(VmFlags::MAY_EXEC, max.contains(Prot::EXEC));
    flags
}

/// Whether pages of such an area count towards RLIMIT_DATA.
fn is_data(flags: VmFlags) -> bool {
    flags.contains(VmFlags::WRITE) && !flags.intersects(VmFlags::SHARED | VmFlags::GROWS_DOWN)
}

/// Whether memory is promised for such an area.
pub(super) fn wants_promise(flags: VmFlags) -> bool {
    flags.contains(VmFlags::WRITE)
        && !flags.intersects(VmFlags::SHARED | VmFlags::NO_RESERVE | VmFlags::SPECIAL)
}

#[inline]
pub(super) fn pages_of(bytes: usize) -> u64 {
    (bytes / PAGE_SIZE) as u64
}

impl Map {
    /// Counts pages with these flags as mapped (`sign` 1) or gone (-1). A promise for them was taken before; here it is
    /// given back.
    pub(super) fn account(&mut self, flags: VmFlags, pages: u64, sign: i64) {
        let change = pages.wrapping_mul(sign as u64);
        self.total = self.total.wrapping_add(change);
        self.peak_total = self.peak_total.max(self.total);
        self.count_flags(flags, pages, sign);
        if sign < 0 && flags.contains(VmFlags::ACCOUNT) {
            promise::give(pages);
        }
    }

    fn count_flags(&mut self, flags: VmFlags, pages: u64, sign: i64) {
        let change = pages.wrapping_mul(sign as u64);
        if is_data(flags) {
            self.data = self.data.wrapping_add(change);
        }
        if flags.contains(VmFlags::LOCKED) {
            self.locked = self.locked.wrapping_add(change);
            stats::add_locked(sign * pages as i64);
        }
        if flags.contains(VmFlags::ACCOUNT) {
            self.promised = self.promised.wrapping_add(change);
        }
    }

    /// Pages change their flags. A promise that `to` adds was taken before.
    pub(super) fn reflag(&mut self, from: VmFlags, to: VmFlags, pages: u64) {
        self.count_flags(from, pages, -1);
        self.count_flags(to, pages, 1);
    }

    /// ENOMEM when `pages` more with these flags exceed the limits of the process; `gone` pages go first.
    pub(super) fn check_limits(&self, flags: VmFlags, pages: u64, gone: u64) -> Result<()> {
        let hooks = hooks::get();
        let limit = |l| hooks.rlimit(l) / PAGE_SIZE as u64;
        let more = pages.saturating_sub(gone);
        if self.total.saturating_add(more) > limit(Limit::AddressSpace) {
            return Err(Errno::ENOMEM);
        }
        if is_data(flags) && self.data.saturating_add(more) > limit(Limit::Data) {
            return Err(Errno::ENOMEM);
        }
        if flags.contains(VmFlags::LOCKED) && !hooks.may_lock_memory() {
            let locked = self.locked.saturating_add(more);
            if locked > limit(Limit::Memlock) {
                return Err(Errno::EAGAIN);
            }
        }
        Ok(())
    }

    /// ENOMEM when pages that come to count towards RLIMIT_DATA exceed it.
    pub(super) fn check_becoming_data(&self, from: VmFlags, to: VmFlags, pages: u64) -> Result<()> {
        let limit = || hooks::get().rlimit(Limit::Data) / PAGE_SIZE as u64;
        match is_data(to) && !is_data(from) && self.data.saturating_add(pages) > limit() {
            true => Err(Errno::ENOMEM),
            false => Ok(()),
        }
    }

    /// Mapped pages within a range.
    fn pages_in(&self, start: usize, end: usize) -> u64 {
        let within = |a: &Area| pages_of(a.end.min(end) - a.start.max(start));
        self.areas.range(start, end).map(within).sum()
    }

    /// A free place for `len` bytes, at `hint` if that is one.
    pub(super) fn place_near(&mut self, hint: usize, len: usize) -> Result<usize> {
        self.place(hint, len, MapFlags::empty())
    }

    /// A free place for `len` bytes, anywhere.
    pub(super) fn place_anywhere(&mut self, len: usize) -> Result<usize> {
        self.place(0, len, MapFlags::empty())
    }

    /// A free place for `len` bytes.
    fn place(&mut self, hint: usize, len: usize, flags: MapFlags) -> Result<usize> {
        let align = match len >= HUGE_SIZE && len.is_multiple_of(HUGE_SIZE) {
            true => HUGE_SIZE,
            false => PAGE_SIZE,
        };
        let low = flags.contains(MapFlags::BIT_32);
        let end = if low { LOW_END } else { USER_END };
        // A hint too low becomes the lowest address that is allowed (Linux's `round_hint_to_min`).
        let hint = match page_down(hint) {
            0 => 0,
            hint => hint.max(mmap_min_addr()),
        };
        let fits = len <= end && hint <= end.saturating_sub(len);
        if hint != 0 && fits && self.areas.is_free_for_mapping(hint, hint + len) {
            return Ok(hint);
        }
        if low {
            let want = GapRequest {
                len,
                low: LOW_START,
                high: LOW_END,
                align: PAGE_SIZE,
            };
            return self.areas.find_gap_above(&want).ok_or(Errno::ENOMEM);
        }
        let high = self.layout.mmap_base;
        for align in [align, PAGE_SIZE] {
            let want = GapRequest {
                len,
                low: mmap_min_addr().max(PAGE_SIZE),
                high,
                align,
            };
            if let Some(found) = self.areas.find_gap_below(&want) {
                return Ok(found);
            }
        }
        let want = GapRequest {
            len,
            low: high,
            high: USER_END,
            align: PAGE_SIZE,
        };
        self.areas.find_gap_above(&want).ok_or(Errno::ENOMEM)
    }
}

impl AddressSpace {
    /// `mmap`.
    pub fn map(&self, request: MapRequest) -> Result<usize> {
        let len = match page_up(request.len) {
            Some(0) if request.len == 0 => return Err(Errno::EINVAL),
            Some(len) if len <= USER_END => len,
            _ => return Err(Errno::ENOMEM),
        };
        let (shown, flags) = self.describe(&request, len)?;
        if self.denies_exec(flags, flags) {
            return Err(Errno::EACCES);
        }
        let mut map = self.map.write();
        let mut flags = flags | map.lock_future;
        if let Some(key) = map.keys.for_rights(flags & VmFlags::RIGHTS) {
            flags = flags.with_pkey(key);
        }
        if map.areas.len() > max_map_count() {
            return Err(Errno::ENOMEM);
        }
        let fixed = request
            .flags
            .intersects(MapFlags::FIXED | MapFlags::FIXED_NOREPLACE);
        let start = match fixed {
            true => fixed_place(&map, &request, len)?,
            false => map.place(request.addr, len, request.flags)?,
        };
        let end = start + len;
        let pages = pages_of(len);
        let replaced = if fixed { map.pages_in(start, end) } else { 0 };
        if replaced != 0 {
            self.check_sealed(&map, start, end)?;
        }
        map.check_limits(flags, pages, replaced)?;
        if wants_promise(flags) {
            promise::take(pages, map.total)?;
            flags |= VmFlags::ACCOUNT;
        }
        if replaced != 0
            && let Err(e) = self.remove_areas(&mut map, start, end)
        {
            give_back(flags, pages);
            return Err(e);
        }
        let area = Area {
            start,
            end,
            flags,
            content: shown,
        };
        if let Err(e) = self.insert_area(&mut map, area) {
            give_back(flags, pages);
            return Err(e);
        }
        map.account(flags, pages, 1);
        drop(map);
        let populate = request.flags.contains(MapFlags::POPULATE)
            && !request.flags.contains(MapFlags::NONBLOCK);
        let lock = flags.contains(VmFlags::LOCKED) && !flags.contains(VmFlags::LOCK_ON_FAULT);
        if (populate || lock) && flags.accessible() {
            // As on Linux the mapping stands, populated or not.
            let _ = self.populate(&self.map.read(), start, end, None);
        }
        Ok(start)
    }

    /// What a request will show, with which flags.
    fn describe(&self, request: &MapRequest, len: usize) -> Result<(Shown, VmFlags)> {
        let shared = request.flags.bits() & 1 != 0;
        let mut flags = ProtFlags::from(request.prot).0
            | may_flags(request.max_prot)
            | VmFlags::SOFT_DIRTY.with_pkey(request.pkey);
        flags.set(VmFlags::SHARED, shared);
        let has = |f| request.flags.contains(f);
        flags.set(VmFlags::LOCKED, has(MapFlags::LOCKED));
        flags.set(
            VmFlags::NO_RESERVE,
            has(MapFlags::NORESERVE) && promise::mode() != 2,
        );
        // MAP_STACK keeps huge pages away, as on Linux.
        flags.set(VmFlags::NO_HUGE_PAGE, has(MapFlags::STACK));
        let shown = match &request.backing {
            _ if has(MapFlags::GROWSDOWN)
                && (shared || !matches!(request.backing, Backing::Anon)) =>
            {
                return Err(Errno::EINVAL);
            }
            Backing::Anon if shared => Shown::Object(ObjectPlace {
                object: match flags.contains(VmFlags::NO_RESERVE) {
                    true => PageCache::new_anonymous_noreserve(len as u64)?,
                    false => PageCache::new_anonymous(len as u64)?,
                },
                offset: 0,
                file: None,
            }),
            Backing::Anon => {
                flags.set(VmFlags::GROWS_DOWN, has(MapFlags::GROWSDOWN));
                Shown::Anon
            }
            Backing::File {
                object,
                offset,
                file,
            } => {
                if offset
                    .checked_add(len as u64)
                    .is_none_or(|end| end > i64::MAX as u64)
                {
                    return Err(Errno::EOVERFLOW);
                }
                Shown::Object(ObjectPlace {
                    object: object.clone(),
                    offset: *offset,
                    file: file.clone().map(AreaFile::new),
                })
            }
        };
        Ok((shown, flags))
    }

    /// A free range of `len` bytes, for a loader that maps several things next to each other.
    pub fn find_room(&self, len: usize) -> Result<usize> {
        let len = page_up(len).filter(|&l| l != 0 && l <= USER_END);
        self.map.write().place_anywhere(len.ok_or(Errno::ENOMEM)?)
    }

    /// As [`find_room`](Self::find_room), at `addr` if that is free.
    pub fn find_room_at(&self, addr: usize, len: usize) -> Result<usize> {
        let end = addr.checked_add(len).filter(|&end| end <= USER_END);
        let is_free =
            end.is_some_and(|end| self.map.read().areas.range(addr, end).next().is_none());
        if is_free {
            Ok(addr)
        } else {
            self.find_room(len)
        }
    }

    /// Adds an area and tells its object.
    pub(super) fn insert_area(&self, map: &mut Map, area: Area) -> Result<()> {
        let Shown::Object(place) = &area.content else {
            return map.areas.insert(area).map_err(|_| Errno::ENOMEM);
        };
        let (object, pages) = (place.object.clone(), pages_of(area.len()));
        let writable = may_write_shared(area.flags);
        if writable {
            object.writable_mapping(pages as i32)?;
        }
        object.mappers().add(self, pages);
        map.areas.insert(area).map_err(|_| {
            object.mappers().sub(self, pages);
            if writable {
                let _ = object.writable_mapping(-(pages as i32));
            }
            Errno::ENOMEM
        })
    }

    /// `munmap`.
    pub fn unmap(&self, addr: usize, len: usize) -> Result<()> {
        self.unmap_locked(&mut self.map.write(), addr, len)
    }

    /// `munmap` with the map held exclusively.
    pub(super) fn unmap_locked(&self, map: &mut Map, addr: usize, len: usize) -> Result<()> {
        let len = page_up(len).ok_or(Errno::EINVAL)?;
        if !addr.is_multiple_of(PAGE_SIZE) || len == 0 || !user_range_ok(addr, len) {
            return Err(Errno::EINVAL);
        }
        let inside = |at: usize| map.areas.find(at).is_some_and(|a| a.start < at);
        if map.areas.len() >= max_map_count()
            && inside(addr)
            && map.areas.find(addr).is_some_and(|a| a.end > addr + len)
        {
            return Err(Errno::ENOMEM);
        }
        self.check_sealed(map, addr, addr + len)?;
        self.remove_areas(map, addr, addr + len)
    }

    /// Removes areas and their pages.
    pub(super) fn remove_areas(&self, map: &mut Map, start: usize, end: usize) -> Result<()> {
        if map.areas.is_free(start, end) {
            return Ok(());
        }
        self.own_edges(start, end)?;
        map.areas.split(start).map_err(|_| Errno::ENOMEM)?;
        map.areas.split(end).map_err(|_| Errno::ENOMEM)?;
        self.zap(start, end);
        let mut areas = core::mem::take(&mut map.areas);
        let result = areas.remove(start, end, |area| {
            map.account(area.flags, pages_of(area.len()), -1);
            self.forget(&area);
        });
        map.areas = areas;
        result.map_err(|_| Errno::ENOMEM)
    }

    /// Tells an object that an area of it is gone.
    pub(super) fn forget(&self, area: &Area) {
        if let Shown::Object(place) = &area.content {
            let pages = pages_of(area.len());
            place.object.mappers().sub(self, pages);
            if may_write_shared(area.flags) {
                let _ = place.object.writable_mapping(-(pages as i32));
            }
        }
    }

    /// The end of all areas, when the space ends.
    pub(super) fn forget_areas(&mut self, areas: &VmaMap<Shown>) {
        for area in areas.iter() {
            self.forget(area);
        }
        let map = self.map.get_mut();
        promise::give(map.promised);
        stats::add_locked(-(map.locked as i64));
    }

    /// `brk`: the break after the call, which is the old one if the new cannot be had.
    pub fn brk(&self, new: usize) -> usize {
        let mut map = self.map.write();
        let (start, old) = (map.layout.exec.start_brk, map.layout.brk);
        let (Some(new_end), Some(old_end)) = (page_up(new), page_up(old)) else {
            return old;
        };
        if new < start || new > USER_END {
            return old;
        }
        if new_end < old_end {
            if self.check_sealed(&map, new_end, old_end).is_err()
                || self.remove_areas(&mut map, new_end, old_end).is_err()
            {
                return old;
            }
        } else if new_end > old_end && self.grow_heap(&mut map, new, old_end, new_end).is_err() {
            return old;
        }
        map.layout.brk = new;
        new
    }

    fn grow_heap(&self, map: &mut Map, new: usize, from: usize, to: usize) -> Result<()> {
        let exec = map.layout.exec;
        let data = (new - exec.start_brk) + exec.end_data.saturating_sub(exec.start_data);
        if data as u64 > hooks::get().rlimit(Limit::Data) {
            return Err(Errno::ENOMEM);
        }
        if !map.areas.is_free_for_mapping(from, to) || map.areas.len() > max_map_count() {
            return Err(Errno::ENOMEM);
        }
        let flags = VmFlags::READ
            | VmFlags::WRITE
            | VmFlags::MAY_READ
            | VmFlags::MAY_WRITE
            | VmFlags::MAY_EXEC
            | VmFlags::HEAP
            | VmFlags::ACCOUNT
            | VmFlags::SOFT_DIRTY
            | map.lock_future;
        let pages = pages_of(to - from);
        map.check_limits(flags, pages, 0)?;
        promise::take(pages, map.total)?;
        let area = Area {
            start: from,
            end: to,
            flags,
            content: Shown::Anon,
        };
        if map.areas.insert(area).is_err() {
            promise::give(pages);
            return Err(Errno::ENOMEM);
        }
        map.account(flags, pages, 1);
        if flags.contains(VmFlags::LOCKED) && !flags.contains(VmFlags::LOCK_ON_FAULT) {
            let _ = self.populate(map, from, to, None);
        }
        Ok(())
    }

    /// EPERM when something in the range must stay as it is (`mseal`).
    pub(super) fn check_sealed(&self, map: &Map, start: usize, end: usize) -> Result<()> {
        if !map.any_sealed {
            return Ok(());
        }
        let mut areas = map.areas.range(start, end);
        match areas.any(|a| a.flags.contains(VmFlags::SEALED)) {
            true => Err(Errno::EPERM),
            false => Ok(()),
        }
    }

    /// Extends a stack above `address` down to it. Whether a fault there is worth another try.
    pub(super) fn grow_stack(&self, address: usize) -> bool {
        let start = page_down(address);
        let mut map = self.map.write();
        let Some(area) = map.areas.find_from(address) else {
            return false;
        };
        if area.start <= address {
            return true;
        }
        let (old_start, end, flags) = (area.start, area.end, area.flags);
        if !flags.contains(VmFlags::GROWS_DOWN) || start < mmap_min_addr() {
            return false;
        }
        let below_ok = map.areas.find_before(address).is_none_or(|below| {
            !below.flags.accessible()
                || below.flags.contains(VmFlags::GROWS_DOWN)
                || below.end + STACK_GUARD <= start
        });
        let pages = pages_of(old_start - start);
        let limit = hooks::get().rlimit(Limit::Stack);
        if !below_ok || (end - start) as u64 > limit || map.check_limits(flags, pages, 0).is_err() {
            return false;
        }
        if flags.contains(VmFlags::ACCOUNT) && promise::take(pages, map.total).is_err() {
            return false;
        }
        map.areas.grow_down(old_start, start);
        map.account(flags, pages, 1);
        true
    }
}

/// Whether the area is a shared mapping through which the object may be written, now or after `mprotect`.
fn may_write_shared(flags: VmFlags) -> bool {
    flags.contains(VmFlags::SHARED | VmFlags::MAY_WRITE)
}

fn give_back(flags: VmFlags, pages: u64) {
    if flags.contains(VmFlags::ACCOUNT) {
        promise::give(pages);
    }
}

/// The place that `MAP_FIXED` or `MAP_FIXED_NOREPLACE` names.
fn fixed_place(map: &Map, request: &MapRequest, len: usize) -> Result<usize> {
    let start = request.addr;
    if !user_range_ok(start, len) {
        return Err(Errno::ENOMEM);
    }
    if !start.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    if !may_map_at(start) {
        return Err(Errno::EPERM);
    }
    if request.flags.contains(MapFlags::FIXED_NOREPLACE) && !map.areas.is_free(start, start + len) {
        return Err(Errno::EEXIST);
    }
    Ok(start)
}
