//! The screen's state: cells, cursor, margins, modes; and the actions that control sequences name.

use arrayvec::ArrayVec;

use crate::cell::{Cell, Style};
use crate::charset;
use crate::lines::Lines;
use crate::palette::{DEFAULT_PALETTE, Palette};

/// Most rows and columns a screen can have.
pub const MAX_SIDE: usize = 1024;
/// Bytes of cells kept as history for one terminal.
const HISTORY_BYTES: usize = 512 * 1024;
/// Most rows of history.
const HISTORY_ROWS: usize = 2000;

/// Modes that change what keys send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyModes {
    /// DECCKM: cursor keys send `ESC O`.
    pub application_cursor: bool,
    /// DECKPAM: the keypad sends `ESC O`.
    pub application_keypad: bool,
    /// LNM: Return sends CR LF.
    pub newline: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    Ascii,
    Graphics,
}

#[derive(Clone, Copy)]
struct Saved {
    row: usize,
    col: usize,
    pen: Cell,
    charsets: [Charset; 2],
    shifted: bool,
    origin: bool,
    wrap_pending: bool,
}

/// A set of small numbers, for tab stops and dirty rows.
#[derive(Clone, Copy)]
pub(crate) struct Bits([u64; MAX_SIDE / 64]);

impl Bits {
    const NONE: Bits = Bits([0; MAX_SIDE / 64]);
    const ALL: Bits = Bits([u64::MAX; MAX_SIDE / 64]);

    pub(crate) fn get(&self, index: usize) -> bool {
        self.0
            .get(index / 64)
            .is_some_and(|w| w & (1 << (index % 64)) != 0)
    }

    pub(crate) fn put(&mut self, index: usize, on: bool) {
        if let Some(word) = self.0.get_mut(index / 64) {
            let bit = 1 << (index % 64);
            *word = if on { *word | bit } else { *word & !bit };
        }
    }
}

/// A terminal's screen.
///
/// # Invariants
/// `row < rows`, `col < cols`, `top < bottom <= rows`.
pub struct Screen {
    pub(crate) cols: usize,
    pub(crate) rows: usize,
    main: Lines,
    alternate: Lines,
    on_alternate: bool,
    pub(crate) row: usize,
    pub(crate) col: usize,
    /// A character was put in the last column; the next one goes to the next line.
    wrap_pending: bool,
    pub(crate) pen: Cell,
    saved: Saved,
    saved_main: Saved,
    top: usize,
    bottom: usize,
    tabs: Bits,
    charsets: [Charset; 2],
    shifted: bool,
    pub(crate) autowrap: bool,
    pub(crate) insert: bool,
    origin: bool,
    pub(crate) cursor_visible: bool,
    pub(crate) reversed: bool,
    pub(crate) keys: KeyModes,
    last_printed: Option<char>,
    pub(crate) palette: Palette,
    /// Rows into the history that the view shows.
    view: usize,
    dirty: Bits,
    pub(crate) replies: ArrayVec<u8, 128>,
    pub(crate) bell: bool,
}

impl Screen {
    /// A blank screen; `None` without memory or with an impossible size.
    pub fn try_new(cols: usize, rows: usize) -> Option<Screen> {
        if !(2..=MAX_SIDE).contains(&cols) || !(1..=MAX_SIDE).contains(&rows) {
            return None;
        }
        let keep = (HISTORY_BYTES / size_of::<Cell>() / cols).min(HISTORY_ROWS);
        let saved = Saved {
            row: 0,
            col: 0,
            pen: Cell::BLANK,
            charsets: [Charset::Ascii; 2],
            shifted: false,
            origin: false,
            wrap_pending: false,
        };
        let mut screen = Screen {
            cols,
            rows,
            main: Lines::try_new(cols, rows, keep)?,
            alternate: Lines::try_new(cols, rows, 0)?,
            on_alternate: false,
            row: 0,
            col: 0,
            wrap_pending: false,
            pen: Cell::BLANK,
            saved,
            saved_main: saved,
            top: 0,
            bottom: rows,
            tabs: Bits::NONE,
            charsets: [Charset::Ascii; 2],
            shifted: false,
            autowrap: true,
            insert: false,
            origin: false,
            cursor_visible: true,
            reversed: false,
            keys: KeyModes::default(),
            last_printed: None,
            palette: DEFAULT_PALETTE,
            view: 0,
            dirty: Bits::ALL,
            replies: ArrayVec::new(),
            bell: false,
        };
        screen.default_tabs();
        Some(screen)
    }

    /// Columns and rows.
    pub fn size(&self) -> (usize, usize) {
        (self.cols, self.rows)
    }

    /// Row and column of the cursor, if it is shown.
    pub fn cursor(&self) -> Option<(usize, usize)> {
        let row = self.row + self.view;
        (self.cursor_visible && row < self.rows).then_some((row, self.col))
    }

    /// Row and column of the cursor, shown or not.
    pub fn position(&self) -> (usize, usize) {
        (self.row, self.col)
    }

    /// What keys are to send.
    pub fn key_modes(&self) -> KeyModes {
        self.keys
    }

    /// The colours in force.
    pub fn palette(&self) -> &Palette {
        &self.palette
    }

    /// Whether the whole screen is drawn with exchanged colours.
    pub fn is_reversed(&self) -> bool {
        self.reversed
    }

    /// The cells that the view shows in `row`.
    pub fn view_row(&self, row: usize) -> &[Cell] {
        if self.on_alternate {
            self.alternate.row(row)
        } else {
            self.main.row_in_view(row, self.view)
        }
    }

    /// Moves the view by `rows`, positive into the past.
    pub fn scroll_view(&mut self, rows: isize) {
        if self.on_alternate {
            return;
        }
        let most = self.main.history_len();
        let view = self.view.saturating_add_signed(rows).min(most);
        if view != self.view {
            self.view = view;
            self.touch_all();
        }
    }

    /// Shows the present again, as typing does.
    pub fn reset_view(&mut self) {
        self.scroll_view(isize::MIN);
    }

    /// Whether `row` changed since the last call for it.
    pub fn take_dirty(&mut self, row: usize) -> bool {
        let dirty = self.dirty.get(row);
        self.dirty.put(row, false);
        dirty
    }

    /// Everything is to be drawn again.
    pub fn touch_all(&mut self) {
        self.dirty = Bits::ALL;
    }

    fn touch(&mut self, row: usize) {
        self.dirty.put(row, true);
    }

    fn touch_rows(&mut self, rows: core::ops::Range<usize>) {
        for row in rows {
            self.touch(row);
        }
    }

    fn lines(&mut self) -> &mut Lines {
        if self.on_alternate {
            &mut self.alternate
        } else {
            &mut self.main
        }
    }

    fn blank(&self) -> Cell {
        self.pen.erased()
    }

    fn default_tabs(&mut self) {
        self.tabs = Bits::NONE;
        for col in (8..MAX_SIDE).step_by(8) {
            self.tabs.put(col, true);
        }
    }

    // Printing.

    pub(crate) fn print(&mut self, ch: char) {
        let ch = match self.charsets[usize::from(self.shifted)] {
            Charset::Ascii => ch,
            Charset::Graphics => charset::dec_graphics(ch),
        };
        let width = charset::width(ch).min(self.cols);
        if width == 0 {
            return;
        }
        if self.wrap_pending || (width == 2 && self.col + 1 == self.cols && self.autowrap) {
            self.wrap_pending = false;
            if self.autowrap {
                self.col = 0;
                self.line_feed();
            }
        }
        if self.insert {
            self.insert_cells(width);
        }
        self.last_printed = Some(ch);
        let (row, col) = (self.row, self.col);
        let cell = Cell { ch, ..self.pen };
        let cells = self.lines().row_mut(row);
        if let Some(place) = cells.get_mut(col) {
            *place = cell;
        }
        if width == 2
            && let Some(place) = cells.get_mut(col + 1)
        {
            *place = Cell {
                ch: ' ',
                style: cell.style | Style::WIDE_TAIL,
                ..cell
            };
        }
        self.touch(row);
        if col + width >= self.cols {
            self.col = self.cols - 1;
            self.wrap_pending = self.autowrap;
        } else {
            self.col = col + width;
        }
    }

    /// REP: the last printed character again.
    pub(crate) fn repeat(&mut self, count: usize) {
        if let Some(ch) = self.last_printed {
            for _ in 0..count.min(self.cols * self.rows) {
                self.print(ch);
            }
        }
    }

    // Movement.

    pub(crate) fn line_feed(&mut self) {
        self.wrap_pending = false;
        if self.row + 1 == self.bottom {
            self.scroll_up(1);
        } else if self.row + 1 < self.rows {
            self.row += 1;
        }
    }

    pub(crate) fn reverse_line_feed(&mut self) {
        self.wrap_pending = false;
        if self.row == self.top {
            self.scroll_down(1);
        } else {
            self.row = self.row.saturating_sub(1);
        }
    }

    pub(crate) fn carriage_return(&mut self) {
        self.wrap_pending = false;
        self.col = 0;
    }

    pub(crate) fn backspace(&mut self) {
        self.wrap_pending = false;
        self.col = self.col.saturating_sub(1);
    }

    pub(crate) fn tab(&mut self, count: usize) {
        self.wrap_pending = false;
        for _ in 0..count.min(self.cols) {
            let next = (self.col + 1..self.cols).find(|&c| self.tabs.get(c));
            self.col = next.unwrap_or(self.cols - 1);
        }
    }

    pub(crate) fn back_tab(&mut self, count: usize) {
        self.wrap_pending = false;
        for _ in 0..count.min(self.cols) {
            self.col = (0..self.col).rev().find(|&c| self.tabs.get(c)).unwrap_or(0);
        }
    }

    pub(crate) fn set_tab(&mut self) {
        self.tabs.put(self.col, true);
    }

    pub(crate) fn clear_tab(&mut self, all: bool) {
        if all {
            self.tabs = Bits::NONE;
        } else {
            self.tabs.put(self.col, false);
        }
    }

    /// Goes to a place counted from the top left corner, or from the margin in origin mode.
    pub(crate) fn go_to(&mut self, row: usize, col: usize) {
        let (first, end) = if self.origin {
            (self.top, self.bottom)
        } else {
            (0, self.rows)
        };
        self.row = row.saturating_add(first).min(end - 1);
        self.go_to_column(col);
    }

    pub(crate) fn go_to_row(&mut self, row: usize) {
        self.go_to(row, self.col);
    }

    pub(crate) fn go_to_column(&mut self, col: usize) {
        self.wrap_pending = false;
        self.col = col.min(self.cols - 1);
    }

    pub(crate) fn up(&mut self, count: usize) {
        let stop = if self.row >= self.top { self.top } else { 0 };
        self.wrap_pending = false;
        self.row = self.row.saturating_sub(count).max(stop);
    }

    pub(crate) fn down(&mut self, count: usize) {
        let end = if self.row < self.bottom {
            self.bottom
        } else {
            self.rows
        };
        self.wrap_pending = false;
        self.row = self.row.saturating_add(count).min(end - 1);
    }

    /// The row that cursor reports name: relative to the margin in origin mode.
    pub(crate) fn reported_row(&self) -> usize {
        if self.origin {
            self.row.saturating_sub(self.top)
        } else {
            self.row
        }
    }

    // Scrolling and erasing.

    pub(crate) fn set_margins(&mut self, top: usize, bottom: usize) {
        let bottom = if bottom == 0 {
            self.rows
        } else {
            bottom.min(self.rows)
        };
        let top = top.saturating_sub(1);
        if top + 1 < bottom || (self.rows == 1 && top < bottom) {
            self.top = top;
            self.bottom = bottom;
            self.go_to(0, 0);
        }
    }

    pub(crate) fn scroll_up(&mut self, count: usize) {
        let (area, blank) = (self.top..self.bottom, self.blank());
        let keep = !self.on_alternate && area == (0..self.rows);
        self.lines().scroll_up(area.clone(), count, blank, keep);
        if keep && self.view > 0 {
            self.view = (self.view + count).min(self.main.history_len());
        }
        self.touch_rows(area);
    }

    pub(crate) fn scroll_down(&mut self, count: usize) {
        let (area, blank) = (self.top..self.bottom, self.blank());
        self.lines().scroll_down(area.clone(), count, blank);
        self.touch_rows(area);
    }

    pub(crate) fn insert_lines(&mut self, count: usize) {
        if (self.top..self.bottom).contains(&self.row) {
            let (area, blank) = (self.row..self.bottom, self.blank());
            self.lines().scroll_down(area.clone(), count, blank);
            self.touch_rows(area);
            self.carriage_return();
        }
    }

    pub(crate) fn delete_lines(&mut self, count: usize) {
        if (self.top..self.bottom).contains(&self.row) {
            let (area, blank) = (self.row..self.bottom, self.blank());
            self.lines().scroll_up(area.clone(), count, blank, false);
            self.touch_rows(area);
            self.carriage_return();
        }
    }

    pub(crate) fn insert_cells(&mut self, count: usize) {
        let (row, col, blank) = (self.row, self.col, self.blank());
        let count = count.min(self.cols - col);
        let cells = &mut self.lines().row_mut(row)[col..];
        cells.rotate_right(count);
        cells[..count].fill(blank);
        self.touch(row);
    }

    pub(crate) fn delete_cells(&mut self, count: usize) {
        let (row, col, blank) = (self.row, self.col, self.blank());
        let count = count.min(self.cols - col);
        let cells = &mut self.lines().row_mut(row)[col..];
        cells.rotate_left(count);
        let keep = cells.len() - count;
        cells[keep..].fill(blank);
        self.wrap_pending = false;
        self.touch(row);
    }

    pub(crate) fn erase_cells(&mut self, count: usize) {
        let end = self.col.saturating_add(count).min(self.cols);
        self.erase(self.row, self.col..end);
    }

    fn erase(&mut self, row: usize, cols: core::ops::Range<usize>) {
        let blank = self.blank();
        self.lines().row_mut(row)[cols].fill(blank);
        self.wrap_pending = false;
        self.touch(row);
    }

    pub(crate) fn erase_line(&mut self, how: u16) {
        let range = match how {
            0 => self.col..self.cols,
            1 => 0..self.col + 1,
            2 => 0..self.cols,
            _ => return,
        };
        self.erase(self.row, range);
    }

    pub(crate) fn erase_display(&mut self, how: u16) {
        let rows = match how {
            0 => {
                self.erase_line(0);
                self.row + 1..self.rows
            }
            1 => {
                self.erase_line(1);
                0..self.row
            }
            2 => 0..self.rows,
            3 => {
                self.main.forget_history();
                self.reset_view();
                0..self.rows
            }
            _ => return,
        };
        for row in rows {
            self.erase(row, 0..self.cols);
        }
    }

    /// DECALN: the screen full of E.
    pub(crate) fn fill_with_e(&mut self) {
        for row in 0..self.rows {
            self.lines().row_mut(row).fill(Cell {
                ch: 'E',
                ..Cell::BLANK
            });
        }
        self.touch_all();
    }

    // Modes and states.

    pub(crate) fn set_origin(&mut self, on: bool) {
        self.origin = on;
        self.go_to(0, 0);
    }

    pub(crate) fn designate(&mut self, slot: usize, set: Charset) {
        if let Some(place) = self.charsets.get_mut(slot) {
            *place = set;
        }
    }

    pub(crate) fn shift(&mut self, on: bool) {
        self.shifted = on;
    }

    pub(crate) fn save_cursor(&mut self) {
        self.saved = Saved {
            row: self.row,
            col: self.col,
            pen: self.pen,
            charsets: self.charsets,
            shifted: self.shifted,
            origin: self.origin,
            wrap_pending: self.wrap_pending,
        };
    }

    pub(crate) fn restore_cursor(&mut self) {
        let saved = self.saved;
        self.row = saved.row.min(self.rows - 1);
        self.col = saved.col.min(self.cols - 1);
        self.pen = saved.pen;
        self.charsets = saved.charsets;
        self.shifted = saved.shifted;
        self.origin = saved.origin;
        self.wrap_pending = saved.wrap_pending;
    }

    /// Switches between the main and the alternate screen; the latter starts blank if `clear`.
    pub(crate) fn use_alternate(&mut self, on: bool, clear: bool) {
        if on == self.on_alternate {
            return;
        }
        self.reset_view();
        if on {
            self.saved_main = self.saved;
        }
        self.on_alternate = on;
        if !on {
            self.saved = self.saved_main;
        }
        if on && clear {
            for row in 0..self.rows {
                self.erase(row, 0..self.cols);
            }
        }
        self.touch_all();
    }

    /// RIS: everything as at the start, the history kept.
    pub(crate) fn reset(&mut self) {
        self.use_alternate(false, false);
        self.pen = Cell::BLANK;
        self.top = 0;
        self.bottom = self.rows;
        self.charsets = [Charset::Ascii; 2];
        self.shifted = false;
        self.autowrap = true;
        self.insert = false;
        self.origin = false;
        self.cursor_visible = true;
        self.reversed = false;
        self.keys = KeyModes::default();
        self.last_printed = None;
        self.palette = DEFAULT_PALETTE;
        self.default_tabs();
        self.go_to(0, 0);
        self.save_cursor();
        self.erase_display(2);
        self.reset_view();
        self.touch_all();
    }

    /// Queues an answer for the program; one that does not fit is dropped whole.
    pub(crate) fn reply(&mut self, text: &[u8]) {
        if self.replies.remaining_capacity() >= text.len() {
            self.replies.extend(text.iter().copied());
        }
    }
}
