//! The built-in layouts. Each is four rows of keys in three or four levels.

use crate::accent::DEAD;
use crate::map::{KeyMap, modifier, put_common};
use crate::symbol::{Symbol, kind};

/// Key codes of the four rows: grave and digits; q to brackets; a to backslash; the extra key of ISO keyboards, z to
/// slash.
const ROWS: [&[u8]; 4] = [
    &[41, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
    &[16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27],
    &[30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 43],
    &[86, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53],
];

// Accents in the rows below stand for dead keys: combining grave, acute, circumflex, diaeresis.
type Level = [&'static str; 4];
const NONE: Level = ["", "", "", ""];

/// A layout's name and levels. A space is an empty place.
struct Layout {
    name: &'static str,
    plain: Level,
    shift: Level,
    altgr: Level,
    shift_altgr: Level,
    /// Right Ctrl switches the AltGr level on and off: a second alphabet.
    second_alphabet: bool,
}

const US: Layout = Layout {
    name: "us",
    plain: [
        "`1234567890-=",
        "qwertyuiop[]",
        "asdfghjkl;'\\",
        "<zxcvbnm,./",
    ],
    shift: [
        "~!@#$%^&*()_+",
        "QWERTYUIOP{}",
        "ASDFGHJKL:\"|",
        ">ZXCVBNM<>?",
    ],
    altgr: NONE,
    shift_altgr: NONE,
    second_alphabet: false,
};

const TABLE: [Layout; 6] = [
    US,
    Layout {
        name: "gb",
        plain: [
            "`1234567890-=",
            "qwertyuiop[]",
            "asdfghjkl;'#",
            "\\zxcvbnm,./",
        ],
        shift: [
            "¬!\"£$%^&*()_+",
            "QWERTYUIOP{}",
            "ASDFGHJKL:@~",
            "|ZXCVBNM<>?",
        ],
        altgr: ["¦   €", "  é   úíó", "á", ""],
        shift_altgr: ["", "  É   ÚÍÓ", "Á", ""],
        second_alphabet: false,
    },
    Layout {
        name: "de",
        plain: [
            "\u{302}1234567890ß\u{301}",
            "qwertzuiopü+",
            "asdfghjklöä#",
            "<yxcvbnm,.-",
        ],
        shift: [
            "°!\"§$%&/()=?\u{300}",
            "QWERTZUIOPÜ*",
            "ASDFGHJKLÖÄ'",
            ">YXCVBNM;:_",
        ],
        altgr: [" ¹²³¼½¬{[]}\\", "@ €        ~", "", "|      µ"],
        shift_altgr: NONE,
        second_alphabet: false,
    },
    Layout {
        name: "fr",
        plain: [
            "²&é\"'(-è_çà)=",
            "azertyuiop\u{302}$",
            "qsdfghjklmù*",
            "<wxcvbn,;:!",
        ],
        shift: [
            " 1234567890°+",
            "AZERTYUIOP\u{308}£",
            "QSDFGHJKLM%µ",
            ">WXCVBN?./§",
        ],
        altgr: ["  ~#{[|`\\^@]}", "  €        ¤", "", ""],
        shift_altgr: NONE,
        second_alphabet: false,
    },
    Layout {
        name: "es",
        plain: [
            "º1234567890'¡",
            "qwertyuiop\u{300}+",
            "asdfghjklñ\u{301}ç",
            "<zxcvbnm,.-",
        ],
        shift: [
            "ª!\"·$%&/()=?¿",
            "QWERTYUIOP\u{302}*",
            "ASDFGHJKLÑ\u{308}Ç",
            ">ZXCVBNM;:_",
        ],
        altgr: ["\\|@#~€¬", "  €       []", "          {}", ""],
        shift_altgr: NONE,
        second_alphabet: false,
    },
    Layout {
        name: "ru",
        plain: US.plain,
        shift: US.shift,
        altgr: [
            "ё1234567890-=",
            "йцукенгшщзхъ",
            "фывапролджэ\\",
            "/ячсмитьбю.",
        ],
        shift_altgr: [
            "Ё!\"№;%:?*()_+",
            "ЙЦУКЕНГШЩЗХЪ",
            "ФЫВАПРОЛДЖЭ/",
            "|ЯЧСМИТЬБЮ,",
        ],
        second_alphabet: true,
    },
];

/// Names of the built-in layouts.
pub const LAYOUTS: [&str; 6] = ["us", "gb", "de", "fr", "es", "ru"];

/// The map of a layout; `uk` is `gb`.
pub fn layout(name: &str) -> Option<KeyMap> {
    let name = if name == "uk" { "gb" } else { name };
    let layout = TABLE.iter().find(|layout| layout.name == name)?;
    let mut map = KeyMap::empty();
    put_common(&mut map);
    put_level(&mut map, modifier::SHIFT, &layout.shift);
    put_level(&mut map, modifier::ALTGR, &layout.altgr);
    put_level(
        &mut map,
        modifier::ALTGR | modifier::SHIFT,
        &layout.shift_altgr,
    );
    put_level(&mut map, 0, &layout.plain);
    put_controls(&mut map);
    if layout.second_alphabet {
        for table in 0..16 {
            if map.has(table) {
                map.set(table, 97, Symbol::new(kind::LOCK, 1));
            }
        }
    }
    Some(map)
}

fn symbol_of(ch: char) -> Symbol {
    let dead = match ch {
        '\u{300}' => '`',
        '\u{301}' => '\'',
        '\u{302}' => '^',
        '\u{303}' => '~',
        '\u{308}' => '"',
        '\u{327}' => ',',
        ' ' => return Symbol::HOLE,
        _ => return Symbol::of_char(ch),
    };
    let index = DEAD.iter().position(|&c| c == dead).unwrap_or(0);
    Symbol::new(kind::DEAD, index as u8)
}

fn put_level(map: &mut KeyMap, table: u8, level: &Level) {
    for (codes, chars) in ROWS.iter().zip(level) {
        for (&code, ch) in codes.iter().zip(chars.chars()) {
            map.set(table, code, symbol_of(ch));
        }
    }
}

/// Derives what Ctrl and Alt give from the plain and shifted levels.
fn put_controls(map: &mut KeyMap) {
    use modifier::{ALT, ALTGR, CTRL, SHIFT};
    let latin = |map: &KeyMap, table, code| {
        let symbol = map.get(table, code)?;
        let plain = matches!(symbol.kind(), kind::LATIN | kind::LETTER);
        (plain && symbol.value().is_ascii()).then_some(symbol.value())
    };
    let control = |byte: u8| match byte {
        b'@'..=b'_' | b'a'..=b'z' => Some(byte & 0x1f),
        b'?' => Some(127),
        _ => None,
    };
    for &code in ROWS.iter().copied().flatten() {
        let plain = latin(map, 0, code);
        let shifted = latin(map, SHIFT, code);
        // Ctrl-2 to Ctrl-8 reach the controls that have no letter, on every layout.
        let digit = match code {
            3 => Some(0),
            4..=8 => Some(0x1b + (code - 4)),
            9 => Some(127),
            _ => None,
        };
        let with_shift = shifted.and_then(control);
        if let Some(byte) = plain.and_then(control).or(digit) {
            map.set(CTRL, code, Symbol::new(kind::LATIN, byte));
            map.set(CTRL | ALTGR, code, Symbol::new(kind::LATIN, byte));
            map.set(CTRL | ALT, code, Symbol::new(kind::META, byte));
        }
        // AltGr's characters make controls too where they are [, \, ] and their like.
        if let Some(byte) = latin(map, ALTGR, code).and_then(control) {
            map.set(CTRL | ALTGR, code, Symbol::new(kind::LATIN, byte));
        }
        if let Some(byte) = with_shift.or(plain.and_then(control)).or(digit) {
            map.set(CTRL | SHIFT, code, Symbol::new(kind::LATIN, byte));
        }
        if let Some(byte) = plain {
            map.set(ALT, code, Symbol::new(kind::META, byte));
        }
        if let Some(byte) = shifted {
            map.set(ALT | SHIFT, code, Symbol::new(kind::META, byte));
        }
    }
    for code in [42, 54] {
        map.set(ALT | SHIFT, code, Symbol::new(kind::SHIFT, 0));
    }
    map.set(ALT | SHIFT, 56, Symbol::new(kind::SHIFT, 3));
}
