//! The built-in font: Spleen 8x16, a PSF version 1 file with a table of characters.

use alloc::vec::Vec;

use spleen_font::FONT_8X16;

/// Width of a glyph in pixels.
pub const GLYPH_WIDTH: usize = 8;
/// Height of a glyph in pixels.
pub const GLYPH_HEIGHT: usize = 16;

/// A glyph: one byte a row, the leftmost pixel in the highest bit.
pub type Glyph = [u8; GLYPH_HEIGHT];

const HEADER_BYTES: usize = 4;
const MAGIC: [u8; 2] = [0x36, 0x04];
/// Mode bit: 512 glyphs.
const MODE_512: u8 = 1;

/// Finds glyphs by character.
pub struct Font {
    /// Glyph numbers of ASCII, the common case.
    ascii: [u16; 128],
    /// Character and glyph number, by character.
    others: Vec<(u16, u16)>,
    fallback: u16,
}

impl Font {
    /// Reads the table of the built-in font. Without memory for it ASCII alone can be drawn.
    pub fn builtin() -> Font {
        let mut font = Font {
            ascii: [0; 128],
            others: Vec::new(),
            fallback: b'?'.into(),
        };
        let Some(table) = FONT_8X16.get(HEADER_BYTES + glyph_count() * GLYPH_HEIGHT..) else {
            return font;
        };
        let room = font.others.try_reserve_exact(table.len() / 2).is_ok();
        let mut glyph = 0;
        for code in table
            .chunks_exact(2)
            .map(|c| u16::from_le_bytes([c[0], c[1]]))
        {
            match code {
                0xffff => glyph += 1,
                // Sequences of combining characters follow; a terminal's cell has one.
                0xfffe => {}
                0..128 => font.ascii[usize::from(code)] = glyph,
                _ if room => font.others.push((code, glyph)),
                _ => {}
            }
        }
        font.others.sort_unstable();
        font.others.dedup_by_key(|entry| entry.0);
        font.fallback = font
            .find('\u{fffd}')
            .unwrap_or(font.ascii[usize::from(b'?')]);
        font
    }

    fn find(&self, ch: char) -> Option<u16> {
        let code = u16::try_from(u32::from(ch)).ok()?;
        if let Some(&glyph) = self.ascii.get(usize::from(code)) {
            return Some(glyph);
        }
        let index = self
            .others
            .binary_search_by_key(&code, |entry| entry.0)
            .ok()?;
        Some(self.others[index].1)
    }

    /// The picture of a character, or of the replacement character.
    pub fn glyph(&self, ch: char) -> &'static Glyph {
        let number = self.find(ch).unwrap_or(self.fallback);
        let start = HEADER_BYTES + usize::from(number) * GLYPH_HEIGHT;
        FONT_8X16
            .get(start..start + GLYPH_HEIGHT)
            .and_then(|rows| rows.try_into().ok())
            .unwrap_or(&[0xff; GLYPH_HEIGHT])
    }
}

fn glyph_count() -> usize {
    debug_assert_eq!(FONT_8X16[..2], MAGIC);
    if FONT_8X16[2] & MODE_512 != 0 {
        512
    } else {
        256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_have_their_own_pictures() {
        let font = Font::builtin();
        let replacement = font.glyph('\u{fffd}');
        for ch in "AaZz09~äÖßéñЖжЯёЁ┌─┘║█▒€".chars() {
            assert_ne!(font.glyph(ch), replacement, "{ch}");
        }
        assert_eq!(font.glyph('A')[2], 0b0111_1100);
        assert_eq!(font.glyph(' '), &[0; 16]);
        assert_eq!(font.glyph('漢'), replacement);
    }
}
