//! What happens to page tables: pages taken out, shared tables made private, huge pages split, the end of a space.

use core::sync::atomic::Ordering;

use abi::Result;
use arrayvec::ArrayVec;
use frames::Kind;

use super::AddressSpace;
use crate::arch::pte::{self, Pte};
use crate::mm::addr::{HUGE_SIZE, PAGE_SIZE};
use crate::mm::frame;
use crate::mm::page_table::{ENTRIES, Table, USER_TABLE, tlb};
use crate::mm::{hooks, oom, stats};

/// Order of a huge page's block.
pub(super) const HUGE_ORDER: u8 = 9;
const HUGE_PAGES: u32 = 1 << HUGE_ORDER;

/// Something to be let go of once no CPU can reach it any more.
#[derive(Clone, Copy)]
enum Garbage {
    Page(u32),
    Huge(u32),
    /// A last-level table with one reference of ours.
    Table(Table),
}

/// Resident pages by kind, as they come or go.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub anon: i64,
    pub file: i64,
    pub shmem: i64,
}

impl Tally {
    /// Counts the page of an entry.
    #[inline(always)]
    pub fn add(&mut self, entry: Pte) {
        if entry.is_uncounted() {
            return;
        }
        match frame::meta(entry.pfn()).kind() {
            Kind::Anon => self.anon += 1,
            Kind::Shmem => self.shmem += 1,
            _ => self.file += 1,
        }
    }
}

/// Collects what unmapping frees: flushes once, then frees in bulk.
pub(super) struct Gather<'a> {
    space: &'a AddressSpace,
    start: usize,
    end: usize,
    /// No other thread has the space: pages may go at once, since nothing runs user code there before the flush.
    alone: bool,
    dirty: bool,
    /// Tables are among the garbage.
    tables: bool,
    gone: Tally,
    garbage: ArrayVec<Garbage, 128>,
}

impl<'a> Gather<'a> {
    /// For unmapping within `[start, end)`.
    pub fn new(space: &'a AddressSpace, start: usize, end: usize) -> Self {
        Gather {
            space,
            start,
            end,
            alone: space.has_one_user(),
            dirty: false,
            tables: false,
            gone: Tally::default(),
            garbage: ArrayVec::new(),
        }
    }

    /// An entry was cleared; its page goes.
    #[inline]
    fn page(&mut self, entry: Pte) {
        self.dirty = true;
        if entry.is_uncounted() {
            return;
        }
        self.gone.add(entry);
        match self.alone {
            true => put_page(entry.pfn()),
            false => self.push(Garbage::Page(entry.pfn())),
        }
    }

    fn push(&mut self, garbage: Garbage) {
        if self.garbage.is_full() {
            self.finish();
        }
        self.dirty = true;
        self.tables |= matches!(garbage, Garbage::Table(_));
        self.garbage.push(garbage);
    }

    /// Flushes and frees. Waits for other CPUs that run the space.
    pub fn finish(&mut self) {
        if core::mem::take(&mut self.tables) {
            tlb::flush_tables(self.space, self.start, self.end);
        } else if self.dirty {
            tlb::flush(self.space, self.start, self.end);
        }
        self.dirty = false;
        for garbage in self.garbage.drain(..) {
            match garbage {
                Garbage::Page(pfn) => put_page(pfn),
                Garbage::Huge(pfn) => put_huge(pfn),
                Garbage::Table(table) => put_table(table),
            }
        }
        self.space.uncount(core::mem::take(&mut self.gone));
    }
}

impl Drop for Gather<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}

/// One more mapping of a counted page.
#[inline]
pub(super) fn get_page(pfn: u32) {
    let meta = frame::meta(pfn);
    meta.get();
    if matches!(meta.kind(), Kind::Cache | Kind::Shmem) {
        mapped(pfn);
    }
}

/// Counts a mapping of a cache page.
#[inline]
pub(super) fn mapped(pfn: u32) {
    if frame::meta(pfn).count.fetch_add(1, Ordering::Relaxed) == 0 {
        stats::add_mapped(1);
    }
}

/// One mapping of a counted page less.
#[inline]
pub(super) fn put_page(pfn: u32) {
    let meta = frame::meta(pfn);
    if matches!(meta.kind(), Kind::Cache | Kind::Shmem)
        && meta.count.fetch_sub(1, Ordering::Relaxed) == 1
    {
        stats::add_mapped(-1);
    }
    if meta.put() {
        frame::free_raw(pfn);
    }
}

/// One more huge mapping of a block.
pub(super) fn get_huge(pfn: u32) {
    let head = frame::meta(pfn);
    head.lock();
    if head.is_broken() {
        (pfn..pfn + HUGE_PAGES).for_each(|p| frame::meta(p).get());
    } else {
        head.get();
    }
    head.unlock();
}

/// One huge mapping of a block less.
fn put_huge(pfn: u32) {
    let head = frame::meta(pfn);
    head.lock();
    if head.is_broken() {
        head.unlock();
        (pfn..pfn + HUGE_PAGES).for_each(frame::put_raw);
        return;
    }
    let last = head.put();
    head.unlock();
    if last {
        stats::add_huge(-1);
        frame::free_block(pfn, HUGE_ORDER);
    }
}

/// Makes the frames of a huge block count one by one, each with as many owners as the block has huge mappings; those
/// that still map it whole will let go of each frame.
fn break_huge(pfn: u32) {
    let head = frame::meta(pfn);
    head.lock();
    if !head.is_broken() {
        frame::split_block(pfn, HUGE_ORDER, head.owners());
        head.set_broken();
        stats::add_huge(-1);
    }
    head.unlock();
}

/// One reference to a last-level table less; the last lets go of its pages.
pub(super) fn put_table(table: Table) {
    if !table.meta().put() {
        return;
    }
    let mut left = table.count();
    for index in 0..ENTRIES {
        if left == 0 {
            break;
        }
        let entry = table.get(index);
        if entry.is_none() {
            continue;
        }
        left -= 1;
        if !entry.is_uncounted() {
            put_page(entry.pfn());
        }
    }
    table.free();
}

/// The end of the 2 MiB span that `address` is in, or `end` if that is earlier.
#[inline(always)]
pub(super) fn span_end(address: usize, end: usize) -> usize {
    ((address | (HUGE_SIZE - 1)) + 1).min(end)
}

impl AddressSpace {
    /// Takes counted pages out of the counters.
    pub(super) fn uncount(&self, gone: Tally) {
        let counts = &self.counts;
        if gone.anon | gone.file | gone.shmem != 0 {
            self.note_peak();
        }
        if gone.anon != 0 {
            counts.anon.fetch_sub(gone.anon, Ordering::Relaxed);
        }
        if gone.file != 0 {
            counts.file.fetch_sub(gone.file, Ordering::Relaxed);
        }
        if gone.shmem != 0 {
            counts.shmem.fetch_sub(gone.shmem, Ordering::Relaxed);
        }
    }

    /// A last-level table of this space came (`+1`) or went.
    pub(super) fn count_table(&self, change: i64) {
        self.counts.tables.fetch_add(change, Ordering::Relaxed);
    }

    /// The last-level table of a directory's entry, made, split or unshared so that entries may be changed.
    #[inline]
    pub(super) fn own_table(&self, directory: Table, index: usize) -> Result<Table> {
        loop {
            let entry = directory.get(index);
            if entry.is_none() {
                self.new_table(directory, index)?;
            } else if entry.is_large() {
                self.split_huge(directory, index)?;
            } else if !entry.is_writable() {
                self.unshare(directory, index)?;
            } else {
                return Ok(Table::of(entry));
            }
        }
    }

    fn new_table(&self, directory: Table, index: usize) -> Result<()> {
        let new = Table::alloc()?;
        let guard = directory.lock();
        if directory.get(index).is_none() {
            directory.set(index, Pte::new(new.phys(), USER_TABLE));
            directory.add_count(1);
            self.count_table(1);
        } else {
            drop(guard);
            new.free();
        }
        Ok(())
    }

    /// Makes the table behind a write-protected entry this space's own: just the entry writable for the last owner, a
    /// copy otherwise, with the pages write-protected in both.
    #[cold]
    pub(super) fn unshare(&self, directory: Table, index: usize) -> Result<()> {
        let entry = directory.get(index);
        if entry.is_none() || entry.is_large() || entry.is_writable() {
            return Ok(());
        }
        // Most often the child is gone already: look before allocating.
        let spare = match Table::of(entry).meta().owners() {
            1 => None,
            _ => Some(Table::alloc_kernel()?),
        };
        let guard = directory.lock();
        let entry = directory.get(index);
        if entry.is_none() || entry.is_large() || entry.is_writable() {
            drop(guard);
            spare.into_iter().for_each(Table::free);
            return Ok(());
        }
        let shared = Table::of(entry);
        let Some(own) = spare else {
            directory.set(index, entry.with(Pte::WRITE));
            return Ok(());
        };
        let locked = shared.lock();
        if shared.meta().owners() == 1 {
            directory.set(index, entry.with(Pte::WRITE));
            drop(locked);
            drop(guard);
            own.free();
            return Ok(());
        }
        copy_table(shared, own);
        directory.set(index, Pte::new(own.phys(), USER_TABLE));
        drop(locked);
        drop(guard);
        // Before the old table can go, no CPU may walk it any more: any single page's flush drops the upper entries.
        tlb::flush_tables(self, 0, PAGE_SIZE);
        put_table(shared);
        Ok(())
    }

    /// Replaces a huge page by a table of its 512 pages, with the same rights.
    #[cold]
    pub(super) fn split_huge(&self, directory: Table, index: usize) -> Result<()> {
        let table = Table::alloc_kernel()?;
        let guard = directory.lock();
        let entry = directory.get(index);
        if !entry.is_large() {
            drop(guard);
            table.free();
            return Ok(());
        }
        let head = entry.pfn();
        break_huge(head);
        for part in 0..ENTRIES {
            let bits = entry.0 & (0xfff | Pte::NO_EXEC | Pte::PKEY) & !Pte::LARGE;
            table.set(part, Pte::new((u64::from(head) + part as u64) << 12, bits));
        }
        table.add_count(ENTRIES as i32);
        directory.set(index, Pte::new(table.phys(), USER_TABLE));
        drop(guard);
        self.count_table(1);
        tlb::flush(self, 0, PAGE_SIZE);
        Ok(())
    }

    /// Makes the tables at the two ends of a range this space's own, so that what follows cannot fail. Spans that lie
    /// wholly inside need not be.
    pub(super) fn own_edges(&self, start: usize, end: usize) -> Result<()> {
        for at in [start, end] {
            if at % HUGE_SIZE == 0 {
                continue;
            }
            let Some(directory) = self.root.directory(at) else {
                continue;
            };
            let index = pte::index(at, 2);
            let entry = directory.get(index);
            if !entry.is_none() && (entry.is_large() || !entry.is_writable()) {
                self.own_table(directory, index)?;
            }
        }
        Ok(())
    }

    /// Calls `f(directory, index, start, end)` for each 2 MiB span of the range that has an entry.
    pub(super) fn for_each_span(
        &self,
        start: usize,
        end: usize,
        mut f: impl FnMut(Table, usize, usize, usize),
    ) {
        const GIB: usize = 1 << 30;
        let mut at = start;
        while at < end {
            let directory_end = ((at | (GIB - 1)) + 1).min(end);
            let Some(directory) = self.root.directory(at) else {
                at = directory_end;
                continue;
            };
            while at < directory_end {
                let next = span_end(at, directory_end);
                let index = pte::index(at, 2);
                if !directory.get(index).is_none() {
                    f(directory, index, at, next);
                }
                at = next;
            }
        }
    }

    /// Takes all pages of `[start, end)` out. The map is held exclusively and [`AddressSpace::own_edges`] went well.
    pub(super) fn zap(&self, start: usize, end: usize) {
        let mut gather = Gather::new(self, start, end);
        self.for_each_span(start, end, |directory, index, from, to| {
            zap_span(directory, index, from, to, &mut gather);
        });
    }

    /// As [`AddressSpace::zap`], for callers that cannot fail: waits until there is memory for the tables at the edges.
    pub(super) fn zap_surely(&self, start: usize, end: usize) {
        while self.own_edges(start, end).is_err() {
            oom::reclaim();
            hooks::get().relax();
        }
        self.zap(start, end);
    }

    /// Lets go of everything: the space has no users and is loaded nowhere.
    pub(super) fn release_all(&mut self) {
        let areas = core::mem::take(&mut self.map.get_mut().areas);
        let mut done = 0;
        for area in areas.iter() {
            let start = area.start.max(done);
            if start < area.end {
                self.for_each_span(start, area.end, |directory, index, _, _| {
                    release_entry(directory, index);
                });
                // All of the span went, with what other areas have in it.
                done = span_end(area.end - 1, usize::MAX);
            }
        }
        let mut upper = self.upper.load(Ordering::Acquire);
        while upper != 0 {
            let table = Table::from_pfn(upper);
            upper = table.meta().link.load(Ordering::Relaxed);
            // Only directories count; what no area points to any more is an empty table kept for reuse.
            let mut index = 0;
            while table.count() != 0 && index < ENTRIES {
                release_entry(table, index);
                index += 1;
            }
            table.free();
        }
        self.forget_areas(&areas);
    }
}

/// Lets go of what a directory's entry points to.
fn release_entry(directory: Table, index: usize) {
    let entry = directory.get(index);
    if entry.is_none() {
        return;
    }
    directory.set(index, Pte::EMPTY);
    directory.add_count(-1);
    match entry.is_large() {
        true => put_huge(entry.pfn()),
        false => put_table(Table::of(entry)),
    }
}

/// Copies a shared table: each page gets one more reference; private pages become write-protected in both. The space
/// that is not ours maps the old table write-protected already, so it has no writable translations to drop.
fn copy_table(from: Table, to: Table) {
    let mut left = from.count();
    to.add_count(left as i32);
    for index in 0..ENTRIES {
        if left == 0 {
            break;
        }
        let entry = from.get(index);
        if entry.is_none() {
            continue;
        }
        left -= 1;
        to.set(index, share_entry(from, index, entry));
    }
}

/// One more mapping of an entry's page; answers the entry for it. Private pages become write-protected.
#[inline]
pub(super) fn share_entry(from: Table, index: usize, entry: Pte) -> Pte {
    if entry.is_uncounted() {
        return entry;
    }
    get_page(entry.pfn());
    if entry.is_writable() && frame::meta(entry.pfn()).kind() == Kind::Anon {
        let protected = entry.without(Pte::WRITE);
        from.set(index, protected);
        return protected;
    }
    entry
}

/// Takes the pages of one span out.
fn zap_span(directory: Table, index: usize, from: usize, to: usize, gather: &mut Gather<'_>) {
    let entry = directory.get(index);
    let whole = to - from == HUGE_SIZE;
    if entry.is_large() {
        debug_assert!(whole);
        clear_entry(directory, index);
        gather.gone.anon += i64::from(HUGE_PAGES);
        gather.push(Garbage::Huge(entry.pfn()));
        return;
    }
    let table = Table::of(entry);
    if !entry.is_writable() {
        debug_assert!(whole);
        tally_table(table, &mut gather.gone);
        drop_table(directory, index, table, gather);
        return;
    }
    zap_entries(table, from, to, gather);
    if whole && table.count() == 0 {
        drop_table(directory, index, table, gather);
    }
}

fn zap_entries(table: Table, from: usize, to: usize, gather: &mut Gather<'_>) {
    let count = table.count() as i32;
    if count == 0 {
        return;
    }
    let guard = table.lock();
    let first = pte::index(from, 1);
    let mut removed = 0;
    for slot in first..first + (to - from) / PAGE_SIZE {
        if removed == count {
            break;
        }
        let entry = table.get(slot);
        if entry.is_none() {
            continue;
        }
        table.set(slot, Pte::EMPTY);
        removed += 1;
        gather.page(entry);
    }
    table.add_count(-removed);
    drop(guard);
}

fn clear_entry(directory: Table, index: usize) {
    let _guard = directory.lock();
    directory.set(index, Pte::EMPTY);
    directory.add_count(-1);
}

fn drop_table(directory: Table, index: usize, table: Table, gather: &mut Gather<'_>) {
    clear_entry(directory, index);
    gather.space.count_table(-1);
    gather.push(Garbage::Table(table));
}

/// Counts the pages of a table.
pub(super) fn tally_table(table: Table, tally: &mut Tally) {
    let mut left = table.count();
    for index in 0..ENTRIES {
        if left == 0 {
            break;
        }
        let entry = table.get(index);
        if !entry.is_none() {
            left -= 1;
            tally.add(entry);
        }
    }
}
