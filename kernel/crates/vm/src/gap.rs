//! Where a new area fits: the highest free place below a limit, or the lowest above one, as `mmap` chooses.

use crate::area::{Content, VmFlags, Vma};
use crate::map::{GROUP, UNKNOWN, VmaMap};
use crate::{PAGE, STACK_GUARD};

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct GapRequest {
    /// Bytes, page-aligned, not zero.
    pub len: usize,
    /// Nothing below this.
    pub low: usize,
    /// Nothing at or above this.
    pub high: usize,
    /// A power of two.
    pub align: usize,
}

/// Where the free space before an area ends: a stack keeps its guard.
#[inline(always)]
fn limit_before<C>(area: &Vma<C>) -> usize {
    match area.flags.contains(VmFlags::GROWS_DOWN) {
        true => area.start.saturating_sub(STACK_GUARD),
        false => area.start,
    }
}

impl GapRequest {
    /// The highest aligned start in the free space `[from, to)`.
    fn highest(&self, from: usize, to: usize) -> Option<usize> {
        let (from, to) = (from.max(self.low), to.min(self.high));
        let start = to.checked_sub(self.len)? & !(self.align - 1);
        (start >= from && from < to).then_some(start)
    }

    /// The lowest aligned start in the free space `[from, to)`.
    fn lowest(&self, from: usize, to: usize) -> Option<usize> {
        let (from, to) = (from.max(self.low), to.min(self.high));
        let start = from.checked_add(self.align - 1)? & !(self.align - 1);
        (start.checked_add(self.len)? <= to).then_some(start)
    }
}

impl<C: Content> VmaMap<C> {
    /// Whether `[start, end)` is free and keeps clear of a stack above it.
    pub fn is_free_for_mapping(&self, start: usize, end: usize) -> bool {
        self.find_from(start).is_none_or(|a| limit_before(a) >= end)
    }

    /// The highest place that fits.
    pub fn find_gap_below(&mut self, want: &GapRequest) -> Option<usize> {
        let mut above = usize::MAX & !(PAGE - 1);
        let mut left = self.chunks.len();
        while let Some(c) = left.checked_sub(1) {
            // Of the last group the space above everything counts as well.
            let whole = left.is_multiple_of(GROUP) && left != self.chunks.len();
            if whole && self.gap_of_group(c / GROUP) < want.len {
                left -= GROUP;
                above = self.chunks[left].areas.first().map_or(above, limit_before);
                if above <= want.low {
                    return None;
                }
                continue;
            }
            left = c;
            let before = self.end_before(c);
            let last_end = self.chunks[c].areas.last().map_or(0, |a| a.end);
            if let Some(found) = want.highest(last_end, above) {
                return Some(found);
            }
            if self.gap_of(c, before) >= want.len && last_end > want.low {
                let areas = &self.chunks[c].areas;
                for (i, area) in areas.iter().enumerate().rev() {
                    let from = i.checked_sub(1).map_or(before, |p| areas[p].end);
                    if let Some(found) = want.highest(from, limit_before(area)) {
                        return Some(found);
                    }
                }
            }
            above = self.chunks[c].areas.first().map_or(above, limit_before);
            if above <= want.low {
                return None;
            }
        }
        want.highest(0, above)
    }

    /// The lowest place that fits.
    pub fn find_gap_above(&mut self, want: &GapRequest) -> Option<usize> {
        let mut next = 0;
        while next < self.chunks.len() {
            let c = next;
            if c.is_multiple_of(GROUP) && self.gap_of_group(c / GROUP) < want.len {
                next += GROUP;
                continue;
            }
            next += 1;
            let before = self.end_before(c);
            if self.chunks[c]
                .areas
                .last()
                .is_none_or(|a| a.end <= want.low)
            {
                continue;
            }
            if self.gap_of(c, before) < want.len {
                continue;
            }
            let mut from = before;
            for area in &self.chunks[c].areas {
                if let Some(found) = want.lowest(from, limit_before(area)) {
                    return Some(found);
                }
                from = area.end;
            }
        }
        let end = self
            .chunks
            .last()
            .and_then(|c| c.areas.last())
            .map_or(0, |a| a.end);
        want.lowest(end, usize::MAX)
    }

    /// Where the last area before chunk `c` ends.
    fn end_before(&self, c: usize) -> usize {
        c.checked_sub(1)
            .and_then(|p| self.chunks[p].areas.last())
            .map_or(0, |a| a.end)
    }

    /// The largest gap before an area of a group, measured if it is not known.
    fn gap_of_group(&mut self, group: usize) -> usize {
        let groups = self.chunks.len().div_ceil(GROUP);
        if self.groups.len() < groups {
            let missing = groups - self.groups.len();
            if self.groups.try_reserve(missing).is_err() {
                // Without memory for what would save time, the search takes its time.
                return usize::MAX;
            }
            self.groups.resize(groups, UNKNOWN);
        }
        if self.groups[group] == UNKNOWN {
            let chunks = group * GROUP..((group + 1) * GROUP).min(self.chunks.len());
            let mut largest = 0;
            for c in chunks {
                let before = self.end_before(c);
                largest = largest.max(self.gap_of(c, before));
            }
            self.groups[group] = largest;
        }
        self.groups[group]
    }

    /// The largest gap before an area of chunk `c`, measured if it is not known.
    fn gap_of(&mut self, c: usize, before: usize) -> usize {
        let chunk = &mut self.chunks[c];
        if chunk.gap == UNKNOWN {
            let mut from = before;
            chunk.gap = 0;
            for area in &chunk.areas {
                chunk.gap = chunk.gap.max(limit_before(area).saturating_sub(from));
                from = area.end;
            }
        }
        chunk.gap
    }
}
