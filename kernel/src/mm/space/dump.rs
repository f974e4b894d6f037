//! Pages for a core dump.

use super::AddressSpace;
use super::content::Shown;
use super::tables::span_end;
use crate::arch::pte;

impl AddressSpace {
    /// Copies the page at `addr` whatever its rights are. False where there is nothing to copy: anonymous memory that was
    /// never touched, a file's end.
    pub fn dump_page(&self, addr: usize, out: &mut [u8]) -> bool {
        let untouched = {
            let map = self.map.read();
            match map.areas.find(addr) {
                Some(area) => matches!(area.content, Shown::Anon) && self.lookup(addr).is_none(),
                None => true,
            }
        };
        if untouched {
            return false;
        }
        self.read_forced(addr, out) == out.len()
    }

    /// The first address from `at` on whose tables may hold a page, or `end`: large areas that were hardly touched need
    /// not be looked through page by page.
    pub fn next_touched(&self, at: usize, end: usize) -> usize {
        const GIB: usize = 1 << 30;
        let mut at = at;
        while at < end {
            let skipped = match self.root.directory(at) {
                None => (at | (GIB - 1)).saturating_add(1),
                Some(directory) if directory.get(pte::index(at, 2)).is_none() => span_end(at, end),
                Some(_) => return at,
            };
            at = skipped.min(end);
        }
        end
    }
}
