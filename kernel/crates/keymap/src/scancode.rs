//! Set 1 scan codes, as the keyboard controller translates to them, and Linux's key codes.
//!
//! Key codes up to 88 are the scan codes themselves; those behind the prefix E0 have codes of their own.

/// A key went down or up. Repeats come as further presses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    /// Linux's key code, 1 to 127.
    pub code: u8,
    pub down: bool,
}

/// Takes scan codes byte by byte.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder {
    extended: bool,
    /// Bytes of the Pause sequence (E1 ..) still to be skipped.
    skip: u8,
}

impl Decoder {
    /// The event that `byte` completes.
    pub fn feed(&mut self, byte: u8) -> Option<KeyEvent> {
        if self.skip > 0 {
            self.skip -= 1;
            // E1 1D 45 E1 9D C5: press and release in one.
            return (self.skip == 3).then_some(KeyEvent {
                code: 119,
                down: true,
            });
        }
        match byte {
            0xe0 => {
                self.extended = true;
                return None;
            }
            0xe1 => {
                self.skip = 5;
                return None;
            }
            // Answers and errors of the keyboard, not keys. AA, its greeting after a reset, is left Shift's release too
            // and harmless as that.
            0x00 | 0xee | 0xf1 | 0xfa | 0xfc..=0xff if !self.extended => return None,
            _ => {}
        }
        let scan = byte & 0x7f;
        let code = if core::mem::take(&mut self.extended) {
            extended_code(scan)?
        } else {
            plain_code(scan)?
        };
        Some(KeyEvent {
            code,
            down: byte & 0x80 == 0,
        })
    }
}

fn plain_code(scan: u8) -> Option<u8> {
    match scan {
        1..=0x53 | 0x56..=0x58 => Some(scan),
        // Print screen with Alt held.
        0x54 => Some(99),
        // Japanese and Brazilian keys.
        0x70 => Some(93),
        0x73 => Some(89),
        0x79 => Some(92),
        0x7b => Some(94),
        0x7d => Some(124),
        0x7e => Some(121),
        _ => None,
    }
}

fn extended_code(scan: u8) -> Option<u8> {
    Some(match scan {
        0x1c => 96,
        0x1d => 97,
        0x20 => 113,
        0x2e => 114,
        0x30 => 115,
        0x35 => 98,
        0x37 => 99,
        0x38 => 100,
        0x46 => 119,
        0x47 => 102,
        0x48 => 103,
        0x49 => 104,
        0x4b => 105,
        0x4d => 106,
        0x4f => 107,
        0x50 => 108,
        0x51 => 109,
        0x52 => 110,
        0x53 => 111,
        0x5b => 125,
        0x5c => 126,
        0x5d => 127,
        0x5e => 116,
        // 2A, 36 and others are shifts that the keyboard makes up.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(bytes: &[u8]) -> Vec<(u8, bool)> {
        let mut decoder = Decoder::default();
        bytes
            .iter()
            .filter_map(|&b| decoder.feed(b))
            .map(|e| (e.code, e.down))
            .collect()
    }

    #[test]
    fn presses_releases_prefixes_and_pause() {
        assert_eq!(events(&[0x1e, 0x9e]), [(30, true), (30, false)]);
        assert_eq!(
            events(&[0xe0, 0x48, 0xe0, 0xc8]),
            [(103, true), (103, false)]
        );
        assert_eq!(events(&[0xe0, 0x2a, 0xe0, 0x37]), [(99, true)]);
        assert_eq!(
            events(&[0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5, 0x1e]),
            [(119, true), (30, true)]
        );
        assert_eq!(events(&[0xfa, 0xee, 0xff]), []);
        assert_eq!(
            events(&[0x2a, 0xaa, 0x36, 0xb6]),
            [(42, true), (42, false), (54, true), (54, false)]
        );
    }
}
