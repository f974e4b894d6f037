//! The state of a keyboard: what is held and locked, and what a key press gives.

use arrayvec::ArrayVec;

use crate::accent;
use crate::map::KeyMap;
use crate::symbol::{Symbol, kind};

/// Bytes for the terminal.
pub type Text = ArrayVec<u8, 16>;

/// How a key event came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    Down,
    /// The key is still held.
    Repeat,
    Up,
}

/// How characters become bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `K_UNICODE`.
    Utf8,
    /// `K_XLATE`.
    Latin1,
}

/// Modes of the terminal that change what keys send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    pub application_cursor: bool,
    pub application_keypad: bool,
    pub newline: bool,
    /// Alt sets the eighth bit instead of sending ESC first.
    pub meta_bit: bool,
}

/// What a key asks of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Show console `n`, counted from 1.
    Switch(u8),
    NextConsole,
    PreviousConsole,
    LastConsole,
    ScrollBack,
    ScrollForward,
    /// Ctrl-Alt-Del.
    Boot,
    /// Scroll Lock: stop or start the output.
    Hold,
}

/// The outcome of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    None,
    Text(Text),
    Command(Command),
}

/// Lights of the keyboard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leds {
    pub scroll: bool,
    pub num: bool,
    pub caps: bool,
}

/// What waits for the next character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pending {
    None,
    Dead(char),
    /// The compose key was pressed.
    Compose,
    /// And then this.
    ComposeFirst(char),
}

/// A keyboard with its map.
pub struct Keyboard {
    pub map: KeyMap,
    /// How many keys hold each modifier.
    held: [u8; 9],
    /// Modifiers that are locked.
    locked: u8,
    /// Modifiers for the next key only.
    sticky: u8,
    pub leds: Leds,
    pending: Pending,
    encoding: Encoding,
}

impl Keyboard {
    pub fn new(map: KeyMap) -> Keyboard {
        Keyboard {
            map,
            held: [0; 9],
            locked: 0,
            sticky: 0,
            leds: Leds::default(),
            pending: Pending::None,
            encoding: Encoding::Utf8,
        }
    }

    /// Modifiers held now, as bits.
    pub fn modifiers(&self) -> u8 {
        (0..8)
            .filter(|&i| self.held[i] > 0)
            .fold(0, |bits, i| bits | 1 << i)
    }

    /// Forgets held keys, as after a switch of consoles or a lost release.
    pub fn release_all(&mut self) {
        self.held = [0; 9];
    }

    /// What a key does.
    pub fn key(&mut self, code: u8, press: Press, modes: Modes, encoding: Encoding) -> Action {
        self.encoding = encoding;
        let table = (self.modifiers() | self.sticky) ^ self.locked;
        let symbol = self.map.get(table, code);
        // A modifier's release counts whatever table is in force.
        let symbol = match symbol {
            Some(symbol) => symbol,
            None => match self.map.get(0, code) {
                Some(plain) if plain.kind() == kind::SHIFT => plain,
                _ => return Action::None,
            },
        };
        if symbol.kind() == kind::SHIFT {
            self.shift(symbol.value(), press);
            return Action::None;
        }
        if press == Press::Up {
            return Action::None;
        }
        if symbol.kind() != kind::STICKY {
            self.sticky = 0;
        }
        if let Some(ch) = symbol.unicode() {
            let ch = if self.leds.caps { other_case(ch) } else { ch };
            return self.character(ch);
        }
        let value = symbol.value();
        match symbol.kind() {
            kind::LATIN => self.character(char::from(value)),
            kind::LETTER => {
                let ch = char::from(value);
                self.character(if self.leds.caps { other_case(ch) } else { ch })
            }
            kind::META => self.meta(value, modes),
            kind::FUNCTION => function(value),
            kind::CURSOR => cursor(value, modes),
            kind::PAD => self.pad(value, modes),
            kind::DEAD => self.dead(value),
            kind::CONSOLE => Action::Command(Command::Switch(value.saturating_add(1))),
            kind::LOCK if press == Press::Down => {
                self.locked ^= 1u8.checked_shl(value.into()).unwrap_or(0);
                Action::None
            }
            kind::STICKY => {
                self.sticky ^= 1u8.checked_shl(value.into()).unwrap_or(0);
                Action::None
            }
            kind::SPECIAL => self.special(symbol, press, modes),
            _ => Action::None,
        }
    }

    fn shift(&mut self, value: u8, press: Press) {
        let Some(held) = self.held.get_mut(usize::from(value)) else {
            return;
        };
        match press {
            Press::Down => *held = held.saturating_add(1),
            Press::Up => *held = held.saturating_sub(1),
            Press::Repeat => {}
        }
    }

    fn encode(&self, ch: char, text: &mut Text) {
        let mut buffer = [0; 4];
        let bytes = match (self.encoding, u8::try_from(ch)) {
            (Encoding::Latin1, Ok(byte)) => {
                buffer[0] = byte;
                &buffer[..1]
            }
            (Encoding::Latin1, Err(_)) => &[],
            (Encoding::Utf8, _) => ch.encode_utf8(&mut buffer).as_bytes(),
        };
        // A character has at most four bytes, and at most two are sent at once.
        let _ = text.try_extend_from_slice(bytes);
    }

    /// A character, after what a dead key or compose makes of it.
    fn character(&mut self, ch: char) -> Action {
        let mut text = Text::new();
        match core::mem::replace(&mut self.pending, Pending::None) {
            Pending::None => self.encode(ch, &mut text),
            Pending::Compose => {
                self.pending = Pending::ComposeFirst(ch);
                return Action::None;
            }
            Pending::ComposeFirst(first) => {
                if let Some(made) = accent::compose(first, ch) {
                    self.encode(made, &mut text);
                }
            }
            Pending::Dead(accent) => match accent::combine(accent, ch) {
                Some(made) => self.encode(made, &mut text),
                None => {
                    self.encode(accent, &mut text);
                    if ch != ' ' && ch != accent {
                        self.encode(ch, &mut text);
                    }
                }
            },
        }
        Action::Text(text)
    }

    fn dead(&mut self, value: u8) -> Action {
        let Some(&accent) = accent::DEAD.get(usize::from(value)) else {
            return Action::None;
        };
        match self.pending {
            Pending::None => {
                self.pending = Pending::Dead(accent);
                Action::None
            }
            _ => self.character(accent),
        }
    }

    fn meta(&mut self, value: u8, modes: Modes) -> Action {
        let mut text = Text::new();
        if modes.meta_bit {
            self.encode(char::from(value | 0x80), &mut text);
        } else {
            text.extend([0x1b, value]);
        }
        Action::Text(text)
    }

    fn pad(&mut self, value: u8, modes: Modes) -> Action {
        const PLAIN: &[u8] = b"0123456789+-*/\r,.";
        let shifted = self.held[0] > 0;
        if modes.application_keypad && !shifted {
            let letter = match value {
                0..=9 => b'p' + value,
                10 => b'l',
                11 => b'S',
                12 => b'R',
                13 => b'Q',
                14 => b'M',
                15 => b'l',
                16 => b'n',
                _ => return Action::None,
            };
            return text(&[0x1b, b'O', letter]);
        }
        if !self.leds.num {
            // Insert, end, down, next, left, the middle, right, home, up, prior, delete.
            match value {
                0 => return function(21),
                1 => return function(23),
                2 => return cursor(0, modes),
                3 => return function(25),
                4 => return cursor(1, modes),
                5 => return text(b"\x1b[G"),
                6 => return cursor(2, modes),
                7 => return function(20),
                8 => return cursor(3, modes),
                9 => return function(24),
                16 => return function(22),
                _ => {}
            }
        }
        match PLAIN.get(usize::from(value)) {
            Some(b'\r') if modes.newline => text(b"\r\n"),
            Some(&byte) => text(&[byte]),
            None => Action::None,
        }
    }

    fn special(&mut self, symbol: Symbol, press: Press, modes: Modes) -> Action {
        let first = press == Press::Down;
        match symbol {
            Symbol::ENTER => {
                self.pending = Pending::None;
                text(if modes.newline { b"\r\n" } else { b"\r" })
            }
            Symbol::CAPS_LOCK => {
                self.leds.caps ^= first;
                Action::None
            }
            Symbol::NUM_LOCK if modes.application_keypad => text(b"\x1bOP"),
            Symbol::NUM_LOCK => {
                self.leds.num ^= first;
                Action::None
            }
            Symbol::SCROLL_LOCK if first => Action::Command(Command::Hold),
            Symbol::COMPOSE => {
                self.pending = Pending::Compose;
                Action::None
            }
            Symbol::SCROLL_FORWARD => Action::Command(Command::ScrollForward),
            Symbol::SCROLL_BACK => Action::Command(Command::ScrollBack),
            Symbol::BOOT => Action::Command(Command::Boot),
            Symbol::LAST_CONSOLE => Action::Command(Command::LastConsole),
            Symbol::NEXT_CONSOLE => Action::Command(Command::NextConsole),
            Symbol::PREVIOUS_CONSOLE => Action::Command(Command::PreviousConsole),
            _ => Action::None,
        }
    }
}

fn text(bytes: &[u8]) -> Action {
    let mut text = Text::new();
    // All sequences here are shorter than the buffer.
    let _ = text.try_extend_from_slice(bytes);
    Action::Text(text)
}

/// What function keys send.
fn function(value: u8) -> Action {
    const STRINGS: [&[u8]; 30] = [
        b"\x1b[[A",
        b"\x1b[[B",
        b"\x1b[[C",
        b"\x1b[[D",
        b"\x1b[[E",
        b"\x1b[17~",
        b"\x1b[18~",
        b"\x1b[19~",
        b"\x1b[20~",
        b"\x1b[21~",
        b"\x1b[23~",
        b"\x1b[24~",
        b"\x1b[25~",
        b"\x1b[26~",
        b"\x1b[28~",
        b"\x1b[29~",
        b"\x1b[31~",
        b"\x1b[32~",
        b"\x1b[33~",
        b"\x1b[34~",
        b"\x1b[1~",
        b"\x1b[2~",
        b"\x1b[3~",
        b"\x1b[4~",
        b"\x1b[5~",
        b"\x1b[6~",
        b"\x1b[M",
        b"",
        b"",
        b"\x1b[P",
    ];
    match STRINGS.get(usize::from(value)) {
        Some(string) if !string.is_empty() => text(string),
        _ => Action::None,
    }
}

fn cursor(value: u8, modes: Modes) -> Action {
    let Some(&letter) = b"BDCA".get(usize::from(value)) else {
        return Action::None;
    };
    text(&[
        0x1b,
        if modes.application_cursor { b'O' } else { b'[' },
        letter,
    ])
}

/// The other case of a letter that has one of one character.
fn other_case(ch: char) -> char {
    let one = |chars: &mut dyn Iterator<Item = char>| match (chars.next(), chars.next()) {
        (Some(single), None) => single,
        _ => ch,
    };
    if ch.is_lowercase() {
        one(&mut ch.to_uppercase())
    } else {
        one(&mut ch.to_lowercase())
    }
}
