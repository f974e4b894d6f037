//! A cell of the screen: one character with its attributes.

/// What a character looks like, besides its colours. Bits of [`Cell::style`].
pub struct Style;

impl Style {
    /// Brighter foreground.
    pub const BOLD: u8 = 1;
    /// A line below.
    pub const UNDERLINE: u8 = 2;
    /// Colours exchanged.
    pub const REVERSE: u8 = 4;
    /// Darker foreground.
    pub const DIM: u8 = 8;
    /// Not shown.
    pub const HIDDEN: u8 = 16;
    /// A line through.
    pub const STRUCK: u8 = 32;
    /// The right half of a character two cells wide.
    pub const WIDE_TAIL: u8 = 64;
}

/// One cell. Colours are indexes into the palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The character; a space where nothing is.
    pub ch: char,
    /// Foreground.
    pub fg: u8,
    /// Background.
    pub bg: u8,
    /// Bits of [`Style`].
    pub style: u8,
}

/// The foreground of a reset terminal.
pub const DEFAULT_FG: u8 = 7;
/// The background of a reset terminal.
pub const DEFAULT_BG: u8 = 0;

impl Cell {
    /// An empty cell in the default colours.
    pub const BLANK: Cell = Cell {
        ch: ' ',
        fg: DEFAULT_FG,
        bg: DEFAULT_BG,
        style: 0,
    };

    /// The same without character and style: what erasing leaves (the background colour stays).
    pub const fn erased(self) -> Cell {
        Cell {
            ch: ' ',
            fg: self.fg,
            bg: self.bg,
            style: 0,
        }
    }

    /// The palette indexes to draw with, after bold, dim, reverse and hidden.
    pub fn colours(&self) -> (u8, u8) {
        let mut fg = self.fg;
        if self.style & Style::BOLD != 0 && fg < 8 {
            fg += 8;
        } else if self.style & Style::DIM != 0 && fg < 16 {
            fg = 8;
        }
        let (fg, bg) = if self.style & Style::REVERSE != 0 {
            (self.bg, fg)
        } else {
            (fg, self.bg)
        };
        if self.style & Style::HIDDEN != 0 {
            (bg, bg)
        } else {
            (fg, bg)
        }
    }
}
