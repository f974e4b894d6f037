//! A key map: for each set of held modifiers a table from key codes to symbols.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::symbol::{Symbol, kind};

/// Key codes a table has.
pub const NR_KEYS: usize = 256;
/// Possible tables: one for each set of eight modifiers.
pub const NR_TABLES: usize = 256;

/// Bits of a table's number.
pub mod modifier {
    pub const SHIFT: u8 = 1;
    pub const ALTGR: u8 = 2;
    pub const CTRL: u8 = 4;
    pub const ALT: u8 = 8;
}

pub type Table = [u16; NR_KEYS];

/// The map in force.
pub struct KeyMap {
    tables: Vec<(u8, Box<Table>)>,
}

impl KeyMap {
    /// No table at all; `None` without memory.
    pub fn empty() -> KeyMap {
        KeyMap { tables: Vec::new() }
    }

    /// Whether there is a table for this set of modifiers.
    pub fn has(&self, table: u8) -> bool {
        self.tables.iter().any(|(number, _)| *number == table)
    }

    /// A symbol; `None` if the table does not exist.
    pub fn get(&self, table: u8, code: u8) -> Option<Symbol> {
        let (_, keys) = self.tables.iter().find(|(number, _)| *number == table)?;
        Some(
            keys.get(usize::from(code))
                .map_or(Symbol::HOLE, |&s| Symbol(s)),
        )
    }

    /// Puts a symbol, making the table if need be. False without memory.
    pub fn set(&mut self, table: u8, code: u8, symbol: Symbol) -> bool {
        if !self.has(table) {
            if self.tables.try_reserve(1).is_err() {
                return false;
            }
            let mut keys = Vec::new();
            if keys.try_reserve_exact(NR_KEYS).is_err() {
                return false;
            }
            keys.resize(NR_KEYS, Symbol::HOLE.0);
            let Ok(keys) = keys.into_boxed_slice().try_into() else {
                return false;
            };
            self.tables.push((table, keys));
        }
        if let Some((_, keys)) = self.tables.iter_mut().find(|(number, _)| *number == table) {
            keys[usize::from(code)] = symbol.0;
        }
        true
    }

    /// Takes a table away; the plain one stays.
    pub fn remove(&mut self, table: u8) {
        if table != 0 {
            self.tables.retain(|(number, _)| *number != table);
        }
    }
}

/// Puts what all layouts have in common: editing keys, functions, modifiers, the keypad.
pub(crate) fn put_common(map: &mut KeyMap) {
    use modifier::{ALT, ALTGR, CTRL, SHIFT};
    const ALL: [u8; 9] = [
        0,
        SHIFT,
        ALTGR,
        SHIFT | ALTGR,
        CTRL,
        SHIFT | CTRL,
        ALTGR | CTRL,
        ALT,
        CTRL | ALT,
    ];
    let k = Symbol::new;
    let everywhere = [
        (1, k(kind::LATIN, 27)),
        (14, k(kind::LATIN, 127)),
        (15, k(kind::LATIN, 9)),
        (28, Symbol::ENTER),
        (29, k(kind::SHIFT, 2)),
        (42, k(kind::SHIFT, 0)),
        (54, k(kind::SHIFT, 0)),
        (56, k(kind::SHIFT, 3)),
        (57, k(kind::LATIN, b' ')),
        (58, Symbol::CAPS_LOCK),
        (69, Symbol::NUM_LOCK),
        (70, Symbol::SCROLL_LOCK),
        (96, k(kind::PAD, 14)),
        (97, k(kind::SHIFT, 2)),
        (100, k(kind::SHIFT, 1)),
        (102, k(kind::FUNCTION, 20)),
        (103, k(kind::CURSOR, 3)),
        (104, k(kind::FUNCTION, 24)),
        (105, k(kind::CURSOR, 1)),
        (106, k(kind::CURSOR, 2)),
        (107, k(kind::FUNCTION, 23)),
        (108, k(kind::CURSOR, 0)),
        (109, k(kind::FUNCTION, 25)),
        (110, k(kind::FUNCTION, 21)),
        (111, k(kind::FUNCTION, 22)),
        (119, k(kind::FUNCTION, 29)),
        (127, Symbol::COMPOSE),
    ];
    // Key codes 71 to 83 by the value of their keypad symbol, then 55 and 98.
    let pad = [7, 8, 9, 11, 4, 5, 6, 10, 1, 2, 3, 0, 16];
    for table in ALL {
        for (code, symbol) in everywhere {
            map.set(table, code, symbol);
        }
        for (i, value) in pad.into_iter().enumerate() {
            map.set(table, 71 + i as u8, k(kind::PAD, value));
        }
        map.set(table, 55, k(kind::PAD, 12));
        map.set(table, 98, k(kind::PAD, 13));
        for n in 0..12u8 {
            let code = if n < 10 { 59 + n } else { 77 + n };
            let symbol = match table {
                ALT | 12 => k(kind::CONSOLE, n),
                SHIFT if n < 8 => k(kind::FUNCTION, 12 + n),
                _ => k(kind::FUNCTION, n),
            };
            map.set(table, code, symbol);
        }
    }
    map.set(SHIFT, 15, k(kind::META, 9));
    map.set(SHIFT, 104, Symbol::SCROLL_BACK);
    map.set(SHIFT, 109, Symbol::SCROLL_FORWARD);
    map.set(CTRL, 14, k(kind::LATIN, 8));
    map.set(CTRL, 57, k(kind::LATIN, 0));
    map.set(ALT, 1, k(kind::META, 27));
    map.set(ALT, 14, k(kind::META, 127));
    map.set(ALT, 15, k(kind::META, 9));
    map.set(ALT, 28, k(kind::META, 13));
    map.set(ALT, 57, k(kind::META, b' '));
    map.set(ALT, 105, Symbol::PREVIOUS_CONSOLE);
    map.set(ALT, 106, Symbol::NEXT_CONSOLE);
    map.set(CTRL | ALT, 111, Symbol::BOOT);
    map.set(CTRL | ALT, 83, Symbol::BOOT);
}
