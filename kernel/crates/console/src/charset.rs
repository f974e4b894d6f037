//! The DEC special graphics set, and how many cells a character takes.

/// What `ch` stands for in the DEC special graphics set.
pub fn dec_graphics(ch: char) -> char {
    const SET: [char; 32] = [
        ' ', '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻',
        '─', '⎼', '⎽', '├', '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
    ];
    match ch {
        '_'..='~' => SET[(ch as usize - '_' as usize) & 31],
        other => other,
    }
}

/// Cells a printable character takes: 0 for marks that combine with the one before, 2 for East Asian wide ones
/// and emoji.
pub fn width(ch: char) -> usize {
    let c = ch as u32;
    if c < 0x300 {
        return 1;
    }
    const ZERO: [(u32, u32); 12] = [
        (0x300, 0x36f),
        (0x483, 0x489),
        (0x591, 0x5bd),
        (0x610, 0x61a),
        (0x64b, 0x65f),
        (0x1ab0, 0x1aff),
        (0x1dc0, 0x1dff),
        (0x200b, 0x200f),
        (0x202a, 0x202e),
        (0x20d0, 0x20ff),
        (0xfe00, 0xfe0f),
        (0xfe20, 0xfe2f),
    ];
    const WIDE: [(u32, u32); 11] = [
        (0x1100, 0x115f),
        (0x2e80, 0x303e),
        (0x3041, 0xa4cf),
        (0xa960, 0xa97c),
        (0xac00, 0xd7a3),
        (0xf900, 0xfaff),
        (0xfe30, 0xfe6f),
        (0xff00, 0xff60),
        (0xffe0, 0xffe6),
        (0x1f300, 0x1faff),
        (0x20000, 0x3fffd),
    ];
    let within = |ranges: &[(u32, u32)]| ranges.iter().any(|&(a, b)| (a..=b).contains(&c));
    if within(&ZERO) || c == 0xfeff {
        0
    } else if within(&WIDE) {
        2
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_and_lines() {
        let drawn: String = "lqkxmjtuwvn`a".chars().map(dec_graphics).collect();
        assert_eq!(drawn, "┌─┐│└┘├┤┬┴┼◆▒");
        assert_eq!(dec_graphics('A'), 'A');
    }

    #[test]
    fn widths() {
        for (ch, cells) in [
            ('a', 1),
            ('ä', 1),
            ('ж', 1),
            ('\u{301}', 0),
            ('漢', 2),
            ('😀', 2),
            ('─', 1),
        ] {
            assert_eq!(width(ch), cells, "{ch}");
        }
    }
}
