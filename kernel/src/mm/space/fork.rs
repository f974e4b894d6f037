//! Copying a space for `fork`.
//!
//! A last-level table with more than a few pages is shared: both spaces point to it without the right to write, and
//! whoever changes something in the span first makes the table its own (`tables::unshare`). A table with few pages is
//! copied, which costs less than the two faults that sharing would bring. (On-demand-fork, EuroSys '21.)

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::{Errno, Result};
use vm::VmFlags;

use super::content::{Area, Shown};
use super::map::pages_of;
use super::tables::{self, Tally, share_entry, span_end, tally_table};
use super::uffd::WATCHED;
use super::{AddressSpace, Map};
use crate::arch::pte::{self, Pte};
use crate::mm::addr::{HUGE_SIZE, PAGE_SIZE};
use crate::mm::page_table::{Table, USER_TABLE, tlb};
use crate::mm::promise;

/// Tables with at most this many pages are copied.
const COPY_MAX: u32 = 24;

/// What has happened so far.
struct Copying<'a> {
    parent: &'a AddressSpace,
    child: &'a AddressSpace,
    /// The end of the span that was shared last: further areas in it are done.
    done: usize,
    /// An entry of the parent lost the right to write.
    protected: bool,
    /// Pages of the parent that the child does not get.
    skipped: Tally,
}

impl AddressSpace {
    /// A copy for `fork`: shares pages and last-level tables copy-on-write.
    pub fn fork(&self) -> Result<Arc<AddressSpace>> {
        let mut map = self.map.write();
        let child_map = copy_map(&map)?;
        let promised = child_map.promised;
        promise::take(promised, 0)?;
        let child = match Self::with_map(child_map) {
            Ok(child) => child,
            Err(e) => {
                promise::give(promised);
                return Err(e);
            }
        };
        let barriers = self.barriers.load(Ordering::Relaxed);
        child.barriers.store(barriers, Ordering::Relaxed);
        child.inherit_wishes(self);
        // From here on the child's own end takes care of what it has.
        let mut copying = Copying {
            parent: self,
            child: &child,
            done: 0,
            protected: false,
            skipped: Tally::default(),
        };
        let result = copying.areas(&mut map);
        if copying.protected {
            tlb::flush_space(self);
        }
        let skipped = copying.skipped;
        for (from, to, less) in [
            (&self.counts.anon, &child.counts.anon, skipped.anon),
            (&self.counts.file, &child.counts.file, skipped.file),
            (&self.counts.shmem, &child.counts.shmem, skipped.shmem),
        ] {
            to.store(from.load(Ordering::Relaxed) - less, Ordering::Relaxed);
        }
        drop(map);
        result.map(|()| child)
    }
}

/// The areas that a child gets.
fn copy_map(map: &Map) -> Result<Map> {
    let mut copy = Map {
        areas: vm::VmaMap::new(),
        layout: map.layout,
        total: 0,
        peak_total: 0,
        data: 0,
        locked: 0,
        promised: 0,
        any_sealed: map.any_sealed,
        lock_future: VmFlags::empty(),
        auxv: map.auxv.clone(),
        keys: map.keys,
        watchers: Default::default(),
        names: map.names.try_clone()?,
    };
    let areas = map
        .areas
        .try_clone_with(|area| {
            if area.flags.contains(VmFlags::DONT_FORK) {
                return None;
            }
            let mut area = area.clone();
            area.flags -= VmFlags::LOCKED | VmFlags::LOCK_ON_FAULT | WATCHED;
            copy.account(area.flags, pages_of(area.len()), 1);
            Some(area)
        })
        .map_err(|_| Errno::ENOMEM)?;
    copy.areas = areas;
    Ok(copy)
}

impl Copying<'_> {
    fn areas(&mut self, map: &mut Map) -> Result<()> {
        // First tell the objects: the child's end untells all of them.
        for area in map.areas.iter() {
            if let Shown::Object(place) = &area.content
                && !area.flags.contains(VmFlags::DONT_FORK)
            {
                let pages = pages_of(area.len());
                place.object.mappers().add(self.child, pages);
                if area.flags.contains(VmFlags::SHARED | VmFlags::MAY_WRITE) {
                    let _ = place.object.writable_mapping(pages as i32);
                }
            }
        }
        for area in map.areas.iter() {
            self.area(map, area)?;
        }
        Ok(())
    }

    fn area(&mut self, map: &Map, area: &Area) -> Result<()> {
        let kept = VmFlags::DONT_FORK | VmFlags::WIPE_ON_FORK;
        if area.flags.intersects(kept) {
            self.skip(area);
            return Ok(());
        }
        let mut result = Ok(());
        let start = area.start.max(self.done.min(area.end));
        let parent = self.parent;
        parent.for_each_span(start, area.end, |directory, index, at, end| {
            if result.is_ok() {
                result = self.span(map, directory, index, at, end);
            }
        });
        result
    }

    fn span(
        &mut self,
        map: &Map,
        directory: Table,
        index: usize,
        at: usize,
        end: usize,
    ) -> Result<()> {
        let entry = directory.get(index);
        let child = self.child.make_directory(at)?;
        if entry.is_large() {
            self.share_huge(directory, child, index, entry);
            return Ok(());
        }
        let table = Table::of(entry);
        if table.count() == 0 {
            return Ok(());
        }
        let copied_before = !child.get(index).is_none();
        if !copied_before && table.count() > COPY_MAX && may_share(map, at) {
            self.share_table(directory, child, index, entry);
            self.done = span_end(at, usize::MAX);
            return Ok(());
        }
        let source = match entry.is_writable() {
            true => table,
            // A table that is shared already may be read by others' walks, not changed.
            false => self.parent.own_table(directory, index)?,
        };
        self.copy_entries(source, child, index, at, end)
    }

    fn share_huge(&mut self, directory: Table, child: Table, index: usize, entry: Pte) {
        let protected = entry.without(Pte::WRITE);
        tables::get_huge(entry.pfn());
        if entry.is_writable() {
            let _guard = directory.lock();
            directory.set(index, protected);
            self.protected = true;
        }
        child.set(index, protected);
        child.add_count(1);
    }

    fn share_table(&mut self, directory: Table, child: Table, index: usize, entry: Pte) {
        let protected = entry.without(Pte::WRITE);
        Table::of(entry).meta().get();
        if entry.is_writable() {
            let _guard = directory.lock();
            directory.set(index, protected);
            self.protected = true;
        }
        child.set(index, protected);
        child.add_count(1);
        self.child.count_table(1);
    }

    fn copy_entries(
        &mut self,
        from: Table,
        child: Table,
        index: usize,
        at: usize,
        end: usize,
    ) -> Result<()> {
        let _guard = from.lock();
        let first = pte::index(at, 1);
        let mut left = from.count();
        let mut to = None;
        let mut copied = 0;
        for slot in first..first + (end - at) / PAGE_SIZE {
            if left == 0 {
                break;
            }
            let entry = from.get(slot);
            if entry.is_none() {
                continue;
            }
            left -= 1;
            let to = match to {
                Some(table) => table,
                None => *to.insert(self.child_table(child, index)?),
            };
            let shared = share_entry(from, slot, entry);
            self.protected |= shared != entry;
            to.set(slot, shared);
            copied += 1;
        }
        if let Some(to) = to {
            to.add_count(copied);
        }
        Ok(())
    }

    /// The child's table for a span, made for the first area in it.
    fn child_table(&self, child: Table, index: usize) -> Result<Table> {
        let entry = child.get(index);
        if !entry.is_none() {
            return Ok(Table::of(entry));
        }
        let table = Table::alloc()?;
        child.set(index, Pte::new(table.phys(), USER_TABLE));
        child.add_count(1);
        self.child.count_table(1);
        Ok(table)
    }

    /// Counts the pages of an area that the child does not get.
    fn skip(&mut self, area: &Area) {
        let skipped = &mut self.skipped;
        self.parent
            .for_each_span(area.start, area.end, |directory, index, at, end| {
                let entry = directory.get(index);
                if entry.is_large() {
                    skipped.anon += pages_of(HUGE_SIZE) as i64;
                    return;
                }
                let table = Table::of(entry);
                if end - at == HUGE_SIZE {
                    tally_table(table, skipped);
                    return;
                }
                let first = pte::index(at, 1);
                for slot in first..first + (end - at) / PAGE_SIZE {
                    let entry = table.get(slot);
                    if !entry.is_none() {
                        skipped.add(entry);
                    }
                }
            });
    }
}

/// Whether everything in the span around `at` may go to the child.
fn may_share(map: &Map, at: usize) -> bool {
    let start = at & !(HUGE_SIZE - 1);
    map.areas.range(start, start + HUGE_SIZE).all(|area| {
        !area
            .flags
            .intersects(VmFlags::DONT_FORK | VmFlags::WIPE_ON_FORK)
    })
}
