//! The text console: a terminal of the `linux` kind in TERM, apart from keyboards and video memory.
//!
//! [`Terminal`] takes bytes and keeps a [`Screen`] of cells; [`Renderer`] draws the cells that changed on a
//! [`Surface`]. Nothing here waits or locks; all memory is taken when a terminal is made.
//!
//! | module | content |
//! |---|---|
//! | `cell` | a character with its attributes |
//! | `lines` | rows of cells, their scrolling and the scrollback |
//! | `screen` | cursor, modes, and everything that control sequences do |
//! | `terminal` | bytes to actions, on `vte`, with the sequences that only Linux has |
//! | `sgr` | colours and attributes |
//! | `charset` | DEC line drawing, widths of characters |
//! | `font` | the Spleen 8x16 font |
//! | `palette` | 256 colours |
//! | `render` | cells to pixels |
//!
//! References: console_codes(4), ECMA-48, the VT102 user guide.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

mod cell;
mod charset;
mod font;
mod lines;
mod palette;
mod render;
mod screen;
mod sgr;
mod terminal;

pub use cell::{Cell, Style};
pub use font::{Font, GLYPH_HEIGHT, GLYPH_WIDTH};
pub use palette::{DEFAULT_PALETTE, Palette};
pub use render::{Look, Renderer, Surface};
pub use screen::{KeyModes, Screen};
pub use terminal::Terminal;
