//! `mprotect`.

use abi::mman::Prot;
use abi::{Errno, Result};
use frames::Kind;
use vm::VmFlags;

use super::fault::entry_bits;
use super::map::{ProtFlags, pages_of, wants_promise};
use super::tables::span_end;
use super::{AddressSpace, Map};
use crate::arch::pte::{self, Pte};
use crate::mm::addr::{HUGE_SIZE, PAGE_SIZE, page_up, user_range_ok};
use crate::mm::frame;
use crate::mm::page_table::{Table, tlb};
use crate::mm::promise;
use crate::mm::tunables::max_map_count;

/// How entries change: set the bits for the new rights, and what may be written.
#[derive(Clone, Copy)]
struct Change {
    to: VmFlags,
    bits: u64,
}

impl AddressSpace {
    /// `mprotect`, and `pkey_mprotect` with a key; without one areas keep theirs, or get that for memory that is only
    /// executed. Areas before the first that refuses keep their new rights, as on Linux.
    pub fn protect(&self, addr: usize, len: usize, prot: Prot, key: Option<u8>) -> Result<()> {
        let len = page_up(len).ok_or(Errno::ENOMEM)?;
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(());
        }
        if !user_range_ok(addr, len) {
            return Err(Errno::ENOMEM);
        }
        let (mut start, mut end) = (addr, addr + len);
        let mut map = self.map.write();
        if key.is_some_and(|key| !map.keys.is_allocated(key)) {
            return Err(Errno::EINVAL);
        }
        if prot.contains(Prot::GROWSDOWN) {
            let area = map.areas.find(addr).ok_or(Errno::ENOMEM)?;
            if !area.flags.contains(VmFlags::GROWS_DOWN) {
                return Err(Errno::EINVAL);
            }
            start = area.start;
            end = end.max(start + PAGE_SIZE);
        } else if prot.contains(Prot::GROWSUP) {
            map.areas.find(addr).ok_or(Errno::ENOMEM)?;
            return Err(Errno::EINVAL);
        }
        let rights = ProtFlags::from(prot).0;
        let execute_only = map.keys.for_rights(rights);
        self.check_sealed(&map, start, end)?;
        let mut at = start;
        while at < end {
            let area = map.areas.find(at).ok_or(Errno::ENOMEM)?;
            let (stop, flags) = (area.end.min(end), area.flags);
            let key = match (key, execute_only) {
                (Some(key), _) | (None, Some(key)) => key,
                // What was only executed is like all else again.
                _ if map.keys.is_execute_only(flags.pkey()) => 0,
                _ => flags.pkey(),
            };
            self.protect_part(&mut map, at, stop, flags, rights.with_pkey(key))?;
            at = stop;
        }
        Ok(())
    }

    /// `mseal`: what is in the range stays as it is. ENOMEM when there are holes.
    pub fn seal(&self, addr: usize, len: usize) -> Result<()> {
        let end = page_up(len)
            .and_then(|len| addr.checked_add(len))
            .filter(|_| addr.is_multiple_of(PAGE_SIZE))
            .ok_or(Errno::EINVAL)?;
        if end == addr {
            return Ok(());
        }
        let mut map = self.map.write();
        if !map.areas.covers(addr, end) {
            return Err(Errno::ENOMEM);
        }
        if map.areas.len() + map.areas.splits_needed(addr, end) > max_map_count() {
            return Err(Errno::ENOMEM);
        }
        map.any_sealed = true;
        map.areas
            .change_flags(addr, end, |f| f | VmFlags::SEALED, |_, _| ())
            .map_err(|_| Errno::ENOMEM)
    }

    /// Changes what lies within one area.
    fn protect_part(
        &self,
        map: &mut Map,
        start: usize,
        end: usize,
        from: VmFlags,
        rights: VmFlags,
    ) -> Result<()> {
        let may = from.may().contains(rights & VmFlags::RIGHTS);
        if !may || self.denies_exec(from, rights) {
            return Err(Errno::EACCES);
        }
        let mut to = (from - VmFlags::RIGHTS - VmFlags::PKEY) | rights;
        if to == from {
            return Ok(());
        }
        if map.areas.len() + map.areas.splits_needed(start, end) > max_map_count() {
            return Err(Errno::ENOMEM);
        }
        let pages = pages_of(end - start);
        map.check_becoming_data(from, to, pages)?;
        let newly_promised = wants_promise(to) && !from.contains(VmFlags::ACCOUNT);
        if newly_promised {
            promise::take(pages, map.total)?;
            to |= VmFlags::ACCOUNT;
        }
        let prepared = self.own_all(start, end);
        let changed = prepared.and_then(|()| {
            map.areas
                .change_flags(start, end, |_| to, |_, _| ())
                .map_err(|_| Errno::ENOMEM)
        });
        if let Err(e) = changed {
            if newly_promised {
                promise::give(pages);
            }
            return Err(e);
        }
        map.reflag(from, to, pages);
        self.change_entries(start, end, from, to);
        Ok(())
    }

    /// Makes every table in the range this space's own, huge pages at the edges split.
    pub(super) fn own_all(&self, start: usize, end: usize) -> Result<()> {
        self.own_edges(start, end)?;
        let mut at = start;
        while at < end {
            let next = span_end(at, end);
            if let Some(directory) = self.root.directory(at) {
                let entry = directory.get(pte::index(at, 2));
                if !entry.is_none() && !entry.is_large() && !entry.is_writable() {
                    self.unshare(directory, pte::index(at, 2))?;
                }
            }
            at = next;
        }
        Ok(())
    }

    fn change_entries(&self, start: usize, end: usize, from: VmFlags, to: VmFlags) {
        let change = Change {
            to,
            bits: entry_bits(to),
        };
        let mut any = false;
        self.for_each_span(start, end, |directory, index, at, next| {
            let entry = directory.get(index);
            if entry.is_large() {
                any |= change.huge(directory, index, next - at);
            } else {
                any |= change.table(Table::of(entry), at, next);
            }
        });
        // Rights that were only added need no flush: a CPU that remembers fewer faults, and finds it can go on.
        let removed = (from - to) & VmFlags::RIGHTS;
        if any && (!removed.is_empty() || from.pkey() != to.pkey()) {
            tlb::flush(self, start, end);
        }
    }
}

impl Change {
    /// The entry after the change. A page that is private, anonymous and this space's alone is writable at once.
    #[inline]
    fn apply(self, entry: Pte) -> Pte {
        let kept = entry.0
            & (Pte::UNCOUNTED
                | Pte::DIRTY
                | Pte::SOFT_DIRTY
                | Pte::UFFD_WP
                | Pte::NO_CACHE
                | Pte::WRITE_THROUGH);
        if !self.to.accessible() {
            return Pte::new(entry.phys(), kept | Pte::HIDDEN);
        }
        let mut bits = self.bits | kept;
        if self.to.contains(VmFlags::WRITE) {
            let keeps = entry.is_writable();
            if keeps || self.may_write(entry) {
                bits |= Pte::WRITE | Pte::DIRTY | Pte::SOFT_DIRTY;
            }
        }
        Pte::new(entry.phys(), bits)
    }

    #[inline]
    fn may_write(self, entry: Pte) -> bool {
        // A write that somebody wants to know of must fault.
        let watched = entry.0 & Pte::UFFD_WP != 0
            || !(self.to.contains(VmFlags::SOFT_DIRTY) || entry.0 & Pte::SOFT_DIRTY != 0);
        if watched || self.to.contains(VmFlags::SHARED) || entry.is_uncounted() {
            return false;
        }
        let meta = frame::meta(entry.pfn());
        meta.kind() == Kind::Anon && meta.owners() == 1
    }

    fn huge(self, directory: Table, index: usize, len: usize) -> bool {
        debug_assert!(len == HUGE_SIZE);
        let _guard = directory.lock();
        let entry = directory.get(index);
        let mut new = self.apply(entry).with(Pte::LARGE);
        if !entry.is_writable() {
            // Whether the block is this space's alone is for the fault to find out.
            new = new.without(Pte::WRITE);
        }
        directory.set(index, new);
        entry.is_present()
    }

    /// Changes a table's entries; answers whether any was present before.
    fn table(self, table: Table, start: usize, end: usize) -> bool {
        let mut left = table.count();
        if left == 0 {
            return false;
        }
        let _guard = table.lock();
        let mut was_present = false;
        let first = pte::index(start, 1);
        for slot in first..first + (end - start) / PAGE_SIZE {
            if left == 0 {
                break;
            }
            let entry = table.get(slot);
            if entry.is_none() {
                continue;
            }
            left -= 1;
            was_present |= entry.is_present();
            table.set(slot, self.apply(entry));
        }
        was_present
    }
}
