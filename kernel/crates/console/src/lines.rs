//! Rows of cells: the visible ones, and those that scrolled out at the top.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

use crate::cell::Cell;

/// A block of rows that scrolls by exchanging row numbers; cells stay where they are.
///
/// # Invariants
/// `visible` and `history` hold each row number at most once, all below `cells.len() / cols`; together with
/// `spare` they hold all of them. No call allocates after `try_new`.
pub(crate) struct Lines {
    cols: usize,
    cells: Box<[Cell]>,
    visible: Vec<u16>,
    /// Rows that scrolled out, oldest first.
    history: VecDeque<u16>,
    spare: Vec<u16>,
}

impl Lines {
    /// `rows` blank rows, and room for `keep` rows of history; `None` without memory.
    pub(crate) fn try_new(cols: usize, rows: usize, keep: usize) -> Option<Lines> {
        let total = rows.checked_add(keep)?;
        if u16::try_from(total).is_err() || cols == 0 || rows == 0 {
            return None;
        }
        let mut cells = Vec::new();
        cells.try_reserve_exact(total.checked_mul(cols)?).ok()?;
        cells.resize(total * cols, Cell::BLANK);
        let mut lines = Lines {
            cols,
            cells: cells.into_boxed_slice(),
            visible: Vec::new(),
            history: VecDeque::new(),
            spare: Vec::new(),
        };
        lines.visible.try_reserve_exact(rows).ok()?;
        lines.history.try_reserve_exact(keep + 1).ok()?;
        lines.spare.try_reserve_exact(keep + 1).ok()?;
        lines.visible.extend(0..rows as u16);
        lines.spare.extend(rows as u16..total as u16);
        Some(lines)
    }

    fn cells_of(&self, number: u16) -> &[Cell] {
        let start = usize::from(number) * self.cols;
        &self.cells[start..start + self.cols]
    }

    pub(crate) fn row(&self, row: usize) -> &[Cell] {
        self.cells_of(self.visible[row])
    }

    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [Cell] {
        let start = usize::from(self.visible[row]) * self.cols;
        &mut self.cells[start..start + self.cols]
    }

    /// Rows of history there are.
    pub(crate) fn history_len(&self) -> usize {
        self.history.len()
    }

    /// The row shown at `row` when the view is `back` rows into the history.
    pub(crate) fn row_in_view(&self, row: usize, back: usize) -> &[Cell] {
        let back = back.min(self.history.len());
        if row < back {
            self.cells_of(self.history[self.history.len() - back + row])
        } else {
            self.row(row - back)
        }
    }

    pub(crate) fn forget_history(&mut self) {
        self.spare.extend(self.history.drain(..));
    }

    /// Moves the rows of `area` up by `count`; what leaves at the top goes to the history if `keep`.
    pub(crate) fn scroll_up(&mut self, area: Range<usize>, count: usize, blank: Cell, keep: bool) {
        let count = count.min(area.len());
        if keep && self.spare.len() + self.history.len() > 0 {
            for row in area.start..area.start + count {
                let out = self.visible[row];
                self.history.push_back(out);
                let fresh = self.spare.pop().or_else(|| self.history.pop_front());
                self.visible[row] = fresh.unwrap_or(out);
            }
        }
        self.visible[area.clone()].rotate_left(count);
        for row in area.end - count..area.end {
            self.row_mut(row).fill(blank);
        }
    }

    /// Moves the rows of `area` down by `count`.
    pub(crate) fn scroll_down(&mut self, area: Range<usize>, count: usize, blank: Cell) {
        let count = count.min(area.len());
        self.visible[area.clone()].rotate_right(count);
        for row in area.start..area.start + count {
            self.row_mut(row).fill(blank);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(lines: &mut Lines, row: usize, ch: char) {
        lines.row_mut(row)[0].ch = ch;
    }

    fn shown(lines: &Lines, rows: usize, back: usize) -> String {
        (0..rows)
            .map(|r| lines.row_in_view(r, back)[0].ch)
            .collect()
    }

    #[test]
    fn history_keeps_the_newest_rows_in_order() {
        let mut lines = Lines::try_new(4, 3, 4).unwrap();
        for ch in 'a'..='j' {
            mark(&mut lines, 2, ch);
            lines.scroll_up(0..3, 1, Cell::BLANK, true);
        }
        assert_eq!(shown(&lines, 3, 0), "ij ");
        assert_eq!(lines.history_len(), 4);
        assert_eq!(shown(&lines, 3, 4), "efg");
        assert_eq!(shown(&lines, 3, 99), "efg");
        lines.forget_history();
        assert_eq!(shown(&lines, 3, 4), "ij ");
    }

    #[test]
    fn regions_scroll_alone_both_ways() {
        let mut lines = Lines::try_new(1, 5, 2).unwrap();
        for (row, ch) in ('a'..='e').enumerate() {
            mark(&mut lines, row, ch);
        }
        lines.scroll_up(1..4, 1, Cell::BLANK, false);
        assert_eq!(shown(&lines, 5, 0), "acd e");
        lines.scroll_down(0..5, 2, Cell::BLANK);
        assert_eq!(shown(&lines, 5, 0), "  acd");
        lines.scroll_down(0..5, 9, Cell::BLANK);
        assert_eq!(shown(&lines, 5, 0), "     ");
    }
}
