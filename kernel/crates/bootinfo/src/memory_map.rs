//! The physical memory map. Firmware reports ranges that overlap, are out of order, or end off a page; here
//! they become sorted, disjoint and page-aligned ones, where the more restrictive report wins.

use arrayvec::ArrayVec;

/// Page size, the grain of the map.
pub const PAGE: u64 = 4096;
/// Ranges that a map can hold; what does not fit is not used.
pub const MAX_RANGES: usize = 256;
/// Physical memory above this (64 TiB) is left alone: the direct map ends there.
pub const MAX_PHYS: u64 = 1 << 46;

/// What a range of physical memory is. A later kind wins over an earlier one where reports overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryKind {
    /// Free RAM.
    Usable,
    /// RAM that holds the loader's structures (its page tables, stack, responses). Free once the kernel runs on
    /// its own page tables, since everything in it has been copied by then.
    BootReclaimable,
    /// RAM with ACPI tables.
    AcpiReclaimable,
    /// RAM that firmware keeps using.
    AcpiNvs,
    /// Not to be touched.
    Reserved,
    /// Defective.
    Bad,
    /// The loader's framebuffer.
    Framebuffer,
    /// Boot modules.
    Modules,
    /// The kernel image.
    Kernel,
    /// The low pages through which other CPUs start.
    Trampoline,
}

impl MemoryKind {
    /// Whether the range is RAM, whoever uses it now: such memory belongs in the direct map.
    pub fn is_ram(self) -> bool {
        !matches!(
            self,
            MemoryKind::Reserved | MemoryKind::Bad | MemoryKind::Framebuffer
        )
    }
}

/// A range of physical memory, page-aligned when in a [`MemoryMap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    pub start: u64,
    /// First byte after it.
    pub end: u64,
    pub kind: MemoryKind,
}

impl MemoryRange {
    /// Bytes in it.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Whether it spans nothing.
    pub fn is_empty(&self) -> bool {
        self.end == self.start
    }
}

/// Sorted, disjoint, page-aligned, non-empty ranges; gaps are holes.
///
/// # Invariants
/// As the line above says, once [`MemoryMap::finish`] has run; before that it is a list of reports.
#[derive(Debug, Default)]
pub struct MemoryMap {
    ranges: ArrayVec<MemoryRange, MAX_RANGES>,
    dropped: usize,
}

impl MemoryMap {
    /// No memory.
    pub const fn new() -> MemoryMap {
        MemoryMap {
            ranges: ArrayVec::new_const(),
            dropped: 0,
        }
    }

    /// Notes a report. `len` may be anything; usable memory is rounded inwards to pages, all else outwards.
    pub fn add(&mut self, start: u64, len: u64, kind: MemoryKind) {
        let end = start.saturating_add(len).min(MAX_PHYS);
        let (start, end) = if kind == MemoryKind::Usable {
            (
                start.checked_next_multiple_of(PAGE).unwrap_or(MAX_PHYS),
                end & !(PAGE - 1),
            )
        } else {
            (start & !(PAGE - 1), end.next_multiple_of(PAGE))
        };
        if start < end
            && self
                .ranges
                .try_push(MemoryRange { start, end, kind })
                .is_err()
        {
            self.dropped += 1;
        }
    }

    /// Makes the reports a map.
    pub fn finish(&mut self) {
        // Each report can cut others in at most two places; with a full list the tail may be lost, which only
        // costs memory: restrictive kinds are applied to every range that is kept.
        let reports = self.ranges.clone();
        let mut edges: ArrayVec<u64, { 2 * MAX_RANGES }> = ArrayVec::new();
        for report in &reports {
            edges.push(report.start);
            edges.push(report.end);
        }
        edges.sort_unstable();
        self.ranges.clear();
        for pair in edges.windows(2) {
            let &[start, end] = pair else { continue };
            let covering = reports.iter().filter(|r| r.start <= start && end <= r.end);
            let Some(kind) = covering.map(|r| r.kind).max() else {
                continue;
            };
            if start < end {
                self.append(MemoryRange { start, end, kind });
            }
        }
    }

    /// Adds the next range of a sorted run, joined to the last one if they touch and agree.
    fn append(&mut self, range: MemoryRange) {
        if let Some(last) = self.ranges.last_mut()
            && last.end == range.start
            && last.kind == range.kind
        {
            last.end = range.end;
        } else if self.ranges.try_push(range).is_err() {
            self.dropped += 1;
        }
    }

    /// Takes `pages` free pages below `limit` for `kind`, as high as possible; answers their address.
    /// Runs on a finished map and keeps it one.
    pub fn take_below(&mut self, limit: u64, pages: u64, kind: MemoryKind) -> Option<u64> {
        let size = pages.checked_mul(PAGE)?;
        let fits = |r: &MemoryRange| {
            r.kind == MemoryKind::Usable
                && r.end
                    .min(limit)
                    .checked_sub(size)
                    .is_some_and(|s| s >= r.start.max(PAGE))
        };
        let found = self.ranges.iter().rev().find(|r| fits(r))?;
        let start = found.end.min(limit) - size;
        self.add(start, size, kind);
        self.finish();
        Some(start)
    }

    /// The ranges, in order of address.
    pub fn ranges(&self) -> &[MemoryRange] {
        &self.ranges
    }

    /// Bytes of free memory, the loader's reclaimable memory not counted.
    pub fn usable_bytes(&self) -> u64 {
        self.ranges
            .iter()
            .filter(|r| r.kind == MemoryKind::Usable)
            .map(MemoryRange::len)
            .sum()
    }

    /// End of the highest RAM range.
    pub fn ram_end(&self) -> u64 {
        self.ranges
            .iter()
            .filter(|r| r.kind.is_ram())
            .map(|r| r.end)
            .max()
            .unwrap_or(0)
    }

    /// Reports that did not fit and were left out.
    pub fn dropped(&self) -> usize {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MemoryKind::*;

    fn map(reports: &[(u64, u64, MemoryKind)]) -> Vec<(u64, u64, MemoryKind)> {
        let mut map = MemoryMap::new();
        for &(start, len, kind) in reports {
            map.add(start, len, kind);
        }
        map.finish();
        map.ranges()
            .iter()
            .map(|r| (r.start, r.end, r.kind))
            .collect()
    }

    #[test]
    fn rounds_free_memory_inwards_and_the_rest_outwards() {
        assert_eq!(map(&[(0x1001, 0x3000, Usable)]), [(0x2000, 0x4000, Usable)]);
        assert_eq!(
            map(&[(0x1001, 0x10, Reserved)]),
            [(0x1000, 0x2000, Reserved)]
        );
        assert_eq!(map(&[(0x1001, 0x10, Usable)]), []);
    }

    #[test]
    fn sorts_joins_and_lets_the_restrictive_report_win() {
        assert_eq!(
            map(&[
                (0x8000, 0x4000, Usable),
                (0, 0x8000, Usable),
                (0x2000, 0x2000, Kernel)
            ]),
            [
                (0, 0x2000, Usable),
                (0x2000, 0x4000, Kernel),
                (0x4000, 0xc000, Usable)
            ]
        );
        assert_eq!(
            map(&[(0, 0x2000, Reserved), (0, 0x2000, Usable)]),
            [(0, 0x2000, Reserved)]
        );
    }

    #[test]
    fn keeps_holes_and_survives_absurd_lengths() {
        assert_eq!(
            map(&[(0, 0x1000, Usable), (0x9000, u64::MAX, Usable)]),
            [(0, 0x1000, Usable), (0x9000, MAX_PHYS, Usable)]
        );
        assert_eq!(
            map(&[(u64::MAX, u64::MAX, Usable), (u64::MAX - 5, 3, Reserved)]),
            []
        );
    }

    #[test]
    fn too_many_reports_lose_memory_but_nothing_else() {
        let reports: Vec<_> = (0..400).map(|i| (i * 0x3000, 0x1000, Usable)).collect();
        let mut m = MemoryMap::new();
        reports.iter().for_each(|&(s, l, k)| m.add(s, l, k));
        m.finish();
        assert_eq!(m.ranges().len(), MAX_RANGES);
        assert_eq!(m.dropped(), 400 - MAX_RANGES);
    }

    #[test]
    fn takes_low_pages_from_the_top_and_never_page_zero() {
        let mut m = MemoryMap::new();
        m.add(0, 0x9fc00, Usable);
        m.add(0x100000, 0x100000, Usable);
        m.finish();
        assert_eq!(m.take_below(0x100000, 4, Trampoline), Some(0x9b000));
        assert!(m.ranges().contains(&MemoryRange {
            start: 0x9b000,
            end: 0x9f000,
            kind: Trampoline
        }));
        let mut tiny = MemoryMap::new();
        tiny.add(0, 0x1000, Usable);
        tiny.finish();
        assert_eq!(tiny.take_below(0x100000, 1, Trampoline), None);
    }
}
