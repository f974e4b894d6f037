//! `MADV_COLLAPSE`: small pages become a huge one, here and now.

use abi::{Errno, Result};
use frames::Kind;
use vm::VmFlags;

use super::AddressSpace;
use super::content::{Area, Shown};
use super::fault::{WRITABLE, entry_bits};
use super::tables::{self, HUGE_ORDER, Tally};
use crate::arch::pte::{self, Pte};
use crate::mm::addr::HUGE_SIZE;
use crate::mm::page_table::{ENTRIES, Table, tlb};
use crate::mm::{frame, stats};

impl AddressSpace {
    /// Makes every whole span of 2 MiB in the range one huge page. EINVAL where a span cannot be, ENOMEM without a block.
    pub(super) fn collapse(&self, start: usize, end: usize) -> Result<()> {
        let map = self.map.write();
        for area in map.areas.range(start, end) {
            if !may_be_huge(area) {
                return Err(Errno::EINVAL);
            }
            let first = area.start.max(start).next_multiple_of(HUGE_SIZE);
            let last = area.end.min(end) & !(HUGE_SIZE - 1);
            for span in (first..last).step_by(HUGE_SIZE) {
                self.collapse_span(area, span)?;
            }
        }
        match map.areas.covers(start, end) {
            true => Ok(()),
            false => Err(Errno::ENOMEM),
        }
    }

    /// The map is held exclusively: nobody brings pages in meanwhile.
    fn collapse_span(&self, area: &Area, span: usize) -> Result<()> {
        let directory = self.root.directory(span).ok_or(Errno::EINVAL)?;
        let index = pte::index(span, 2);
        let entry = directory.get(index);
        if entry.is_large() {
            return Ok(());
        }
        if entry.is_none() {
            return Err(Errno::EINVAL);
        }
        let table = self.own_table(directory, index)?;
        if table.count() == 0 {
            return Err(Errno::EINVAL);
        }
        let block = frame::alloc_raw_block_zeroed(HUGE_ORDER, Kind::Anon).ok_or(Errno::ENOMEM)?;
        {
            let _guard = directory.lock();
            directory.set(index, Pte::EMPTY);
        }
        // Before the copy, no CPU may write to the old pages any more, nor walk the old table after it.
        tlb::flush_tables(self, span, span + HUGE_SIZE);
        let mut gone = Tally::default();
        for slot in 0..ENTRIES {
            let page = table.get(slot);
            if page.is_none() {
                continue;
            }
            gone.add(page);
            if !page.is_uncounted() {
                frame::copy_raw(block + slot as u32, page.pfn());
            }
        }
        let rights = match area.flags.contains(VmFlags::WRITE) {
            true => WRITABLE,
            false => Pte::DIRTY,
        };
        let bits = entry_bits(area.flags) | rights | Pte::LARGE;
        {
            let _guard = directory.lock();
            directory.set(index, Pte::new(u64::from(block) << 12, bits));
        }
        self.replaced_by_huge(table, gone);
        Ok(())
    }

    /// Lets go of the table that a huge page replaced, and counts.
    fn replaced_by_huge(&self, table: Table, gone: Tally) {
        tables::put_table(table);
        self.count_table(-1);
        stats::add_huge(1);
        self.uncount(gone);
        self.uncount(Tally {
            anon: -(ENTRIES as i64),
            ..Tally::default()
        });
    }
}

/// Whether pages of the area may be huge at all: as Linux asks, anonymous memory long enough for one.
fn may_be_huge(area: &Area) -> bool {
    let last = area.end.saturating_sub(HUGE_SIZE) & !(HUGE_SIZE - 1);
    matches!(area.content, Shown::Anon)
        && area.flags.accessible()
        && !area
            .flags
            .intersects(VmFlags::NO_HUGE_PAGE | VmFlags::SPECIAL)
        && last >= area.start
}
