//! `mlock` and its family.

use abi::mman::LockAllFlags;
use abi::{Errno, Result};
use vm::VmFlags;

use super::map::pages_of;
use super::{AddressSpace, Map};
use crate::mm::addr::{PAGE_SIZE, page_down, page_up, user_range_ok};
use crate::mm::hooks::{self, Limit};
use crate::mm::tunables::max_map_count;

const LOCK: VmFlags = VmFlags::LOCKED.union(VmFlags::LOCK_ON_FAULT);

impl AddressSpace {
    /// `mlock2`.
    pub fn lock(&self, addr: usize, len: usize, on_fault: bool) -> Result<()> {
        may_lock_at_all()?;
        let (start, end) = page_range(addr, len)?;
        let mut map = self.map.write();
        let already: u64 = map
            .areas
            .range(start, end)
            .filter(|a| a.flags.contains(VmFlags::LOCKED))
            .map(|a| pages_of(a.end.min(end) - a.start.max(start)))
            .sum();
        check_memlock((map.locked + pages_of(end - start)).saturating_sub(already))?;
        let mut flags = VmFlags::LOCKED;
        flags.set(VmFlags::LOCK_ON_FAULT, on_fault);
        map.set_lock_up_to_hole(start, end, flags)?;
        drop(map);
        match on_fault || start == end {
            true => Ok(()),
            false => self.populate_locked(start, end),
        }
    }

    fn populate_locked(&self, start: usize, end: usize) -> Result<()> {
        match self.populate(&self.map.read(), start, end, None) {
            // Past the end of a file: Linux calls this ENOMEM here.
            Err(Errno::EFAULT) => Err(Errno::ENOMEM),
            Err(Errno::ENOMEM) => Err(Errno::EAGAIN),
            other => other,
        }
    }

    /// `munlock`.
    pub fn unlock(&self, addr: usize, len: usize) -> Result<()> {
        let (start, end) = page_range(addr, len)?;
        let mut map = self.map.write();
        map.set_lock_up_to_hole(start, end, VmFlags::empty())
    }

    /// `mlockall`.
    pub fn lock_all(&self, flags: LockAllFlags) -> Result<()> {
        may_lock_at_all()?;
        let mut lock = VmFlags::LOCKED;
        lock.set(
            VmFlags::LOCK_ON_FAULT,
            flags.contains(LockAllFlags::ONFAULT),
        );
        let mut map = self.map.write();
        let current = flags.contains(LockAllFlags::CURRENT);
        if current {
            check_memlock(map.total)?;
        }
        map.lock_future = match flags.contains(LockAllFlags::FUTURE) {
            true => lock,
            false => VmFlags::empty(),
        };
        if !current {
            return Ok(());
        }
        map.set_lock(0, usize::MAX & !(PAGE_SIZE - 1), lock)?;
        drop(map);
        if !flags.contains(LockAllFlags::ONFAULT) {
            // As on Linux, what cannot be brought in is left out.
            let map = self.map.read();
            for area in map.areas.iter().filter(|a| a.flags.accessible()) {
                let _ = self.populate(&map, area.start, area.end, None);
            }
        }
        Ok(())
    }

    /// `munlockall`.
    pub fn unlock_all(&self) -> Result<()> {
        let mut map = self.map.write();
        map.lock_future = VmFlags::empty();
        map.set_lock(0, usize::MAX & !(PAGE_SIZE - 1), VmFlags::empty())
    }
}

impl Map {
    /// As [`Map::set_lock`] for what lies before the first hole. ENOMEM if there is one.
    fn set_lock_up_to_hole(&mut self, start: usize, end: usize, lock: VmFlags) -> Result<()> {
        let mut covered = start;
        for area in self.areas.range(start, end) {
            if area.start > covered {
                break;
            }
            covered = area.end.min(end);
        }
        if covered > start {
            self.set_lock(start, covered, lock)?;
        }
        match covered < end {
            true => Err(Errno::ENOMEM),
            false => Ok(()),
        }
    }

    pub(super) fn set_lock(&mut self, start: usize, end: usize, lock: VmFlags) -> Result<()> {
        if self.areas.len() + self.areas.splits_needed(start, end) > max_map_count() {
            return Err(Errno::ENOMEM);
        }
        let mut areas = core::mem::take(&mut self.areas);
        let change = |flags: VmFlags| match flags.contains(VmFlags::SPECIAL) {
            true => flags,
            false => (flags - LOCK) | lock,
        };
        let result = areas.change_flags(start, end, change, |area, before| {
            self.reflag(before, area.flags, pages_of(area.len()));
        });
        self.areas = areas;
        result.map_err(|_| Errno::ENOMEM)
    }
}

/// Whole pages around a range. EINVAL when it wraps, ENOMEM outside of the user half.
fn page_range(addr: usize, len: usize) -> Result<(usize, usize)> {
    let start = page_down(addr);
    let len = page_up(len.wrapping_add(addr - start)).unwrap_or(0);
    let end = start.checked_add(len).ok_or(Errno::EINVAL)?;
    if len != 0 && !user_range_ok(start, len) {
        return Err(Errno::ENOMEM);
    }
    Ok((start, end))
}

/// EPERM for who may lock nothing.
fn may_lock_at_all() -> Result<()> {
    let hooks = hooks::get();
    match hooks.may_lock_memory() || hooks.rlimit(Limit::Memlock) != 0 {
        true => Ok(()),
        false => Err(Errno::EPERM),
    }
}

/// ENOMEM when so many locked pages are not allowed.
fn check_memlock(pages: u64) -> Result<()> {
    let hooks = hooks::get();
    let limit = hooks.rlimit(Limit::Memlock) / PAGE_SIZE as u64;
    match pages <= limit || hooks.may_lock_memory() {
        true => Ok(()),
        false => Err(Errno::ENOMEM),
    }
}
