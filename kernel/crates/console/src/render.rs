//! Cells to pixels. The renderer remembers what it has drawn, and draws only cells that differ; video memory, slow
//! to read, is never read.

use alloc::vec::Vec;

use crate::cell::{Cell, Style};
use crate::font::{Font, GLYPH_HEIGHT, GLYPH_WIDTH};
use crate::palette::Palette;

/// Where pixels go.
pub trait Surface {
    /// Width and height in pixels.
    fn size(&self) -> (usize, usize);
    /// Stores pixels (`0x00rrggbb`) from (`x`, `y`) to the right; what lies outside is dropped.
    fn put(&mut self, x: usize, y: usize, pixels: &[u32]);
}

/// Screens at least this wide get doubled glyphs.
const BIG_WIDTH: usize = 1920;

/// What stands in a place of the display: a cell, and whether the cursor is on it. `None` is not known.
type Drawn = Option<(Cell, bool)>;

/// Draws the screen of one display.
pub struct Renderer {
    font: Font,
    scale: usize,
    cols: usize,
    rows: usize,
    drawn: Vec<Drawn>,
}

impl Renderer {
    /// A renderer for a display of this many pixels; `None` without memory or below one glyph.
    pub fn try_new(width: usize, height: usize) -> Option<Renderer> {
        let scale = if width >= BIG_WIDTH { 2 } else { 1 };
        let cols = (width / (GLYPH_WIDTH * scale)).min(crate::screen::MAX_SIDE);
        let rows = (height / (GLYPH_HEIGHT * scale)).min(crate::screen::MAX_SIDE);
        if cols < 2 || rows < 1 {
            return None;
        }
        let mut drawn = Vec::new();
        drawn.try_reserve_exact(cols * rows).ok()?;
        drawn.resize(cols * rows, None);
        Some(Renderer {
            font: Font::builtin(),
            scale,
            cols,
            rows,
            drawn,
        })
    }

    /// Columns and rows of text that the display has room for.
    pub fn text_size(&self) -> (usize, usize) {
        (self.cols, self.rows)
    }

    /// Pixels of one character.
    pub fn glyph_size(&self) -> (usize, usize) {
        (GLYPH_WIDTH * self.scale, GLYPH_HEIGHT * self.scale)
    }

    /// Forgets what is drawn: the next rows are drawn in full.
    pub fn forget(&mut self) {
        self.drawn.fill(None);
    }

    /// Draws a row; `cursor` is the column of the cursor if it is there, `reversed` exchanges all colours.
    pub fn draw_row(
        &mut self,
        surface: &mut impl Surface,
        row: usize,
        cells: &[Cell],
        look: Look<'_>,
    ) {
        if row >= self.rows {
            return;
        }
        for (col, cell) in cells.iter().take(self.cols).enumerate() {
            let on_cursor = look.cursor == Some(col);
            let place = &mut self.drawn[row * self.cols + col];
            let new = Some((*cell, on_cursor));
            if *place != new {
                *place = new;
                self.draw_cell(surface, (row, col), cell, on_cursor, &look);
            }
        }
    }

    fn draw_cell(
        &self,
        surface: &mut impl Surface,
        (row, col): (usize, usize),
        cell: &Cell,
        on_cursor: bool,
        look: &Look<'_>,
    ) {
        let (fg, bg) = cell.colours();
        let (mut fg, mut bg) = (look.palette[usize::from(fg)], look.palette[usize::from(bg)]);
        if look.reversed {
            (fg, bg) = (bg, fg);
        }
        let glyph = self.font.glyph(cell.ch);
        let (x, y) = (
            col * GLYPH_WIDTH * self.scale,
            row * GLYPH_HEIGHT * self.scale,
        );
        let mut line = [0u32; GLYPH_WIDTH * 2];
        for (dy, &bits) in glyph.iter().enumerate() {
            let mut bits = bits;
            let underlined = cell.style & Style::UNDERLINE != 0 && dy == GLYPH_HEIGHT - 2;
            let struck = cell.style & Style::STRUCK != 0 && dy == GLYPH_HEIGHT / 2;
            if underlined || struck || (on_cursor && dy >= GLYPH_HEIGHT - 2) {
                bits = 0xff;
            }
            for (dx, pixels) in line
                .chunks_exact_mut(self.scale)
                .take(GLYPH_WIDTH)
                .enumerate()
            {
                let on = bits & (0x80 >> dx) != 0;
                pixels.fill(if on { fg } else { bg });
            }
            for copy in 0..self.scale {
                surface.put(
                    x,
                    y + dy * self.scale + copy,
                    &line[..GLYPH_WIDTH * self.scale],
                );
            }
        }
    }
}

/// How rows are to be drawn.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// Column of the cursor in the row.
    pub cursor: Option<usize>,
    /// Foreground and background exchanged everywhere.
    pub reversed: bool,
    /// The colours.
    pub palette: &'a Palette,
}
