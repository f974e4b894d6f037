//! Key symbols in Linux's encoding: a type in the high byte and a value in the low one, or a Unicode character
//! with the highest four bits inverted.

/// A key symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol(pub u16);

/// The types.
pub mod kind {
    pub const LATIN: u8 = 0;
    pub const FUNCTION: u8 = 1;
    pub const SPECIAL: u8 = 2;
    pub const PAD: u8 = 3;
    pub const DEAD: u8 = 4;
    pub const CONSOLE: u8 = 5;
    pub const CURSOR: u8 = 6;
    pub const SHIFT: u8 = 7;
    pub const META: u8 = 8;
    pub const LOCK: u8 = 10;
    pub const LETTER: u8 = 11;
    pub const STICKY: u8 = 12;
}

impl Symbol {
    /// Nothing.
    pub const HOLE: Symbol = Symbol::new(kind::SPECIAL, 0);
    pub const ENTER: Symbol = Symbol::new(kind::SPECIAL, 1);
    pub const LAST_CONSOLE: Symbol = Symbol::new(kind::SPECIAL, 6);
    pub const CAPS_LOCK: Symbol = Symbol::new(kind::SPECIAL, 7);
    pub const NUM_LOCK: Symbol = Symbol::new(kind::SPECIAL, 8);
    pub const SCROLL_LOCK: Symbol = Symbol::new(kind::SPECIAL, 9);
    pub const SCROLL_FORWARD: Symbol = Symbol::new(kind::SPECIAL, 10);
    pub const SCROLL_BACK: Symbol = Symbol::new(kind::SPECIAL, 11);
    pub const BOOT: Symbol = Symbol::new(kind::SPECIAL, 12);
    pub const COMPOSE: Symbol = Symbol::new(kind::SPECIAL, 14);
    pub const PREVIOUS_CONSOLE: Symbol = Symbol::new(kind::SPECIAL, 16);
    pub const NEXT_CONSOLE: Symbol = Symbol::new(kind::SPECIAL, 17);

    pub const fn new(kind: u8, value: u8) -> Symbol {
        Symbol(((kind as u16) << 8) | value as u16)
    }

    /// A character; letters of Latin-1 are marked as such, for Caps Lock.
    pub fn of_char(ch: char) -> Symbol {
        match u8::try_from(ch) {
            Ok(byte) if ch.is_alphabetic() => Symbol::new(kind::LETTER, byte),
            Ok(byte) => Symbol::new(kind::LATIN, byte),
            Err(_) => Symbol((ch as u32 as u16) ^ 0xf000),
        }
    }

    /// The character of a Unicode symbol.
    pub fn unicode(self) -> Option<char> {
        if self.0 >> 12 == 0 {
            None
        } else {
            char::from_u32(u32::from(self.0 ^ 0xf000))
        }
    }

    pub const fn kind(self) -> u8 {
        (self.0 >> 8) as u8
    }

    pub const fn value(self) -> u8 {
        self.0 as u8
    }
}
