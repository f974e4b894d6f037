//! Who was touched and written: `clear_refs`, the cooling of pages, and `pagemap`.

use core::sync::atomic::Ordering;

use abi::{Errno, Result};
use frames::Kind;
use vm::VmFlags;

use super::AddressSpace;
use super::content::Shown;
use crate::arch::pte::{self, Pte};
use crate::mm::addr::PAGE_SIZE;
use crate::mm::frame;
use crate::mm::page_table::{Table, tlb};

/// Whose referenced bits `clear_refs` clears.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Referenced {
    All,
    Anonymous,
    Mapped,
}

/// What `/proc/<pid>/pagemap` says of a page.
#[derive(Clone, Copy, Default, Debug)]
pub struct PageState {
    /// The frame, when there is a page.
    pub frame: Option<u32>,
    /// Of a file or shared memory.
    pub of_object: bool,
    /// Mapped once only.
    pub exclusive: bool,
    pub soft_dirty: bool,
    pub uffd_wp: bool,
}

impl AddressSpace {
    /// Makes the pages of a range count as not referenced. The map is held.
    pub(super) fn clear_referenced(&self, start: usize, end: usize) {
        let mut any = false;
        self.for_each_span(start, end, |directory, index, at, next| {
            let entry = directory.get(index);
            if entry.is_large() {
                directory
                    .slot(index)
                    .fetch_and(!Pte::ACCESSED, Ordering::AcqRel);
                any = true;
                return;
            }
            let table = Table::of(entry);
            let _guard = table.lock();
            let first = pte::index(at, 1);
            for slot in first..first + (next - at) / PAGE_SIZE {
                if table.get(slot).is_present() {
                    table.slot(slot).fetch_and(!Pte::ACCESSED, Ordering::AcqRel);
                    any = true;
                }
            }
        });
        if any {
            tlb::flush(self, start, end);
        }
    }

    /// `clear_refs` 1 to 3.
    pub fn forget_referenced(&self, which: Referenced) {
        let map = self.map.read();
        for area in map.areas.iter() {
            let anonymous = matches!(area.content, Shown::Anon);
            if which == Referenced::All || anonymous == (which == Referenced::Anonymous) {
                self.clear_referenced(area.start, area.end);
            }
        }
    }

    /// `clear_refs` 4: from now on it is noted which pages are written.
    pub fn forget_soft_dirty(&self) -> Result<()> {
        let mut map = self.map.write();
        let (first, last) = match (map.areas.iter().next(), map.areas.iter().next_back()) {
            (Some(first), Some(last)) => (first.start, last.end),
            _ => return Ok(()),
        };
        for area in map.areas.iter() {
            self.own_all(area.start, area.end)?;
        }
        map.areas
            .change_flags(first, last, |f| f - VmFlags::SOFT_DIRTY, |_, _| ())
            .map_err(|_| Errno::ENOMEM)?;
        for area in map.areas.iter() {
            self.for_each_span(area.start, area.end, |directory, index, at, next| {
                let entry = directory.get(index);
                if entry.is_large() {
                    let _guard = directory.lock();
                    directory.set(index, entry.without(Pte::WRITE | Pte::SOFT_DIRTY));
                    return;
                }
                let table = Table::of(entry);
                let _guard = table.lock();
                let first = pte::index(at, 1);
                for slot in first..first + (next - at) / PAGE_SIZE {
                    let page = table.get(slot);
                    if !page.is_none() {
                        table.set(slot, page.without(Pte::WRITE | Pte::SOFT_DIRTY));
                    }
                }
            });
        }
        tlb::flush_space(self);
        Ok(())
    }

    /// `clear_refs` 5: the peak begins anew.
    pub fn forget_peak(&self) {
        self.counts.peak_rss.store(self.rss(), Ordering::Relaxed);
    }

    /// What is at `out.len()` pages from `start` on.
    pub fn page_states(&self, start: usize, out: &mut [PageState]) {
        let map = self.map.read();
        out.fill(PageState::default());
        let end = start.saturating_add(out.len() * PAGE_SIZE);
        for area in map.areas.range(start, end) {
            let noted = !area.flags.contains(VmFlags::SOFT_DIRTY);
            for at in (area.start.max(start)..area.end.min(end)).step_by(PAGE_SIZE) {
                let Some(state) = out.get_mut((at - start) / PAGE_SIZE) else {
                    return;
                };
                *state = match self.lookup(at) {
                    Some(entry) => self.state_of(at, entry),
                    None => PageState::default(),
                };
                state.soft_dirty |= !noted;
            }
        }
    }

    fn state_of(&self, address: usize, entry: Pte) -> PageState {
        let mut state = PageState {
            frame: Some(entry.pfn()),
            soft_dirty: entry.0 & Pte::SOFT_DIRTY != 0,
            uffd_wp: entry.0 & Pte::UFFD_WP != 0,
            ..PageState::default()
        };
        if entry.is_uncounted() {
            return state;
        }
        let directory = self.root.directory(address);
        let upper = directory.map(|d| d.get(pte::index(address, 2)));
        let meta = frame::meta(entry.pfn());
        state.of_object = meta.kind() != Kind::Anon;
        let mappings = match meta.kind() {
            Kind::Anon => meta.owners(),
            _ => meta.count.load(Ordering::Relaxed),
        };
        // Of a huge page its first frame has the owners; of a table that is shared, every page has as many more.
        state.exclusive = match upper {
            Some(huge) if huge.is_large() => frame::meta(huge.pfn()).owners() == 1,
            Some(table) => mappings == 1 && Table::of(table).meta().owners() == 1,
            None => false,
        };
        state
    }
}
