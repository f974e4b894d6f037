//! Bytes to actions: `vte` parses, this dispatches; and the two sequences that Linux alone has.
//!
//! `ESC ] P nrrggbb` (set a colour) and `ESC ] R` (reset colours) have no terminator, so a parser of proper OSC
//! strings would swallow what follows. They are taken out before it.

use arrayvec::ArrayString;
use core::fmt::Write;
use vte::{Params, Parser, Perform};

use crate::palette::DEFAULT_PALETTE;
use crate::screen::{Charset, Screen};
use crate::sgr;

const ESC: u8 = 0x1b;

/// Where in one of Linux's own sequences the input is.
enum Prefix {
    None,
    Esc,
    Osc,
    /// Digits of `ESC ] P` so far, and their value.
    Colour(u8, u32),
}

/// A terminal: a parser and its screen.
pub struct Terminal {
    parser: Parser<64>,
    prefix: Prefix,
    screen: Screen,
}

impl Terminal {
    /// A terminal of this size; `None` without memory.
    pub fn try_new(cols: usize, rows: usize) -> Option<Terminal> {
        Some(Terminal {
            parser: Parser::new_with_size(),
            prefix: Prefix::None,
            screen: Screen::try_new(cols, rows)?,
        })
    }

    /// What is shown.
    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// What is shown, to scroll the view or take dirty rows.
    pub fn screen_mut(&mut self) -> &mut Screen {
        &mut self.screen
    }

    /// Answers to queries since the last call (cursor position, device attributes), for the program's input.
    pub fn take_replies(&mut self) -> arrayvec::ArrayVec<u8, 128> {
        core::mem::take(&mut self.screen.replies)
    }

    /// Whether the bell rang since the last call.
    pub fn take_bell(&mut self) -> bool {
        core::mem::take(&mut self.screen.bell)
    }

    /// Shows what a program wrote.
    pub fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if matches!(self.prefix, Prefix::None) {
                let plain = bytes.iter().position(|&b| b == ESC).unwrap_or(bytes.len());
                self.parser.advance(&mut self.screen, &bytes[..plain]);
                bytes = &bytes[plain..];
                if let Some((_, rest)) = bytes.split_first() {
                    self.prefix = Prefix::Esc;
                    bytes = rest;
                }
            } else {
                self.special(bytes[0]);
                bytes = &bytes[1..];
            }
        }
    }

    /// One byte after an ESC that the parser has not seen yet.
    fn special(&mut self, byte: u8) {
        match (core::mem::replace(&mut self.prefix, Prefix::None), byte) {
            (Prefix::Esc, b']') => self.prefix = Prefix::Osc,
            (Prefix::Esc, ESC) => {
                self.parser.advance(&mut self.screen, &[ESC]);
                self.prefix = Prefix::Esc;
            }
            (Prefix::Esc, _) => self.parser.advance(&mut self.screen, &[ESC, byte]),
            (Prefix::Osc, b'R') => {
                self.screen.palette = DEFAULT_PALETTE;
                self.screen.touch_all();
            }
            (Prefix::Osc, b'P') => self.prefix = Prefix::Colour(0, 0),
            (Prefix::Osc, _) => self.parser.advance(&mut self.screen, &[ESC, b']', byte]),
            (Prefix::Colour(count, value), _) => {
                let Some(digit) = (byte as char).to_digit(16) else {
                    return;
                };
                let value = (value << 4) | digit;
                if count < 6 {
                    self.prefix = Prefix::Colour(count + 1, value);
                } else {
                    self.screen.palette[(value >> 24) as usize & 15] = value & 0xff_ffff;
                    self.screen.touch_all();
                }
            }
            (Prefix::None, _) => {}
        }
    }
}

/// The `index`-th parameter, `default` if absent or 0.
fn param(params: &Params, index: usize, default: usize) -> usize {
    match params.iter().nth(index).and_then(|p| p.first()) {
        None | Some(0) => default,
        Some(&value) => usize::from(value),
    }
}

impl Perform for Screen {
    fn print(&mut self, ch: char) {
        // DEL and the C1 controls show nothing.
        if !ch.is_control() {
            Screen::print(self, ch);
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            0x07 => self.bell = true,
            0x08 => self.backspace(),
            0x09 => self.tab(1),
            0x0a..=0x0c => {
                self.line_feed();
                if self.keys.newline {
                    self.carriage_return();
                }
            }
            0x0d => self.carriage_return(),
            0x0e => self.shift(true),
            0x0f => self.shift(false),
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _ignore: bool, byte: u8) {
        match (intermediates, byte) {
            ([], b'7') => self.save_cursor(),
            ([], b'8') => self.restore_cursor(),
            ([], b'D') => self.line_feed(),
            ([], b'E') => {
                self.line_feed();
                self.carriage_return();
            }
            ([], b'M') => self.reverse_line_feed(),
            ([], b'H') => self.set_tab(),
            ([], b'Z') => self.reply(b"\x1b[?6c"),
            ([], b'c') => self.reset(),
            ([], b'=') => self.keys.application_keypad = true,
            ([], b'>') => self.keys.application_keypad = false,
            ([b'#'], b'8') => self.fill_with_e(),
            ([slot @ (b'(' | b')')], set) => {
                let slot = usize::from(*slot == b')');
                let graphics = set == b'0';
                self.designate(
                    slot,
                    if graphics {
                        Charset::Graphics
                    } else {
                        Charset::Ascii
                    },
                );
            }
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _: bool, action: char) {
        match intermediates {
            [] => csi(self, params, action),
            [b'?'] => csi_private(self, params, action),
            [b'!'] if action == 'p' => self.reset(),
            _ => {}
        }
    }
}

fn csi(screen: &mut Screen, params: &Params, action: char) {
    let count = param(params, 0, 1);
    match action {
        '@' => screen.insert_cells(count),
        'A' => screen.up(count),
        'B' | 'e' => screen.down(count),
        'C' | 'a' => screen.go_to_column(screen.col.saturating_add(count)),
        'D' => screen.go_to_column(screen.col.saturating_sub(count)),
        'E' => {
            screen.down(count);
            screen.carriage_return();
        }
        'F' => {
            screen.up(count);
            screen.carriage_return();
        }
        'G' | '`' => screen.go_to_column(count - 1),
        'H' | 'f' => screen.go_to(count - 1, param(params, 1, 1) - 1),
        'I' => screen.tab(count),
        'J' => screen.erase_display(param(params, 0, 0) as u16),
        'K' => screen.erase_line(param(params, 0, 0) as u16),
        'L' => screen.insert_lines(count),
        'M' => screen.delete_lines(count),
        'P' => screen.delete_cells(count),
        'S' => screen.scroll_up(count),
        'T' => screen.scroll_down(count),
        'X' => screen.erase_cells(count),
        'Z' => screen.back_tab(count),
        'b' => screen.repeat(count),
        'c' if param(params, 0, 0) == 0 => screen.reply(b"\x1b[?6c"),
        'd' => screen.go_to_row(count - 1),
        'g' => match param(params, 0, 0) {
            0 => screen.clear_tab(false),
            3 => screen.clear_tab(true),
            _ => {}
        },
        'h' | 'l' => {
            for mode in params.iter().filter_map(|p| p.first()) {
                match mode {
                    4 => screen.insert = action == 'h',
                    20 => screen.keys.newline = action == 'h',
                    _ => {}
                }
            }
        }
        'm' => sgr::apply(&mut screen.pen, params.iter()),
        'n' => report(screen, param(params, 0, 0)),
        'r' => screen.set_margins(count, param(params, 1, 0)),
        's' => screen.save_cursor(),
        'u' => screen.restore_cursor(),
        _ => {}
    }
}

fn report(screen: &mut Screen, what: usize) {
    match what {
        5 => screen.reply(b"\x1b[0n"),
        6 => {
            let mut text = ArrayString::<32>::new();
            let (row, col) = (screen.reported_row() + 1, screen.col + 1);
            if write!(text, "\x1b[{row};{col}R").is_ok() {
                screen.reply(text.as_bytes());
            }
        }
        _ => {}
    }
}

fn csi_private(screen: &mut Screen, params: &Params, action: char) {
    let on = match action {
        'h' => true,
        'l' => false,
        _ => return,
    };
    for mode in params.iter().filter_map(|p| p.first()) {
        match mode {
            1 => screen.keys.application_cursor = on,
            5 if screen.reversed != on => {
                screen.reversed = on;
                screen.touch_all();
            }
            6 => screen.set_origin(on),
            7 => screen.autowrap = on,
            25 => screen.cursor_visible = on,
            47 => screen.use_alternate(on, false),
            1047 => screen.use_alternate(on, true),
            1048 if on => screen.save_cursor(),
            1048 => screen.restore_cursor(),
            1049 if on => {
                screen.save_cursor();
                screen.use_alternate(true, true);
            }
            1049 => {
                screen.use_alternate(false, false);
                screen.restore_cursor();
            }
            _ => {}
        }
    }
}
