//! SGR: colours and attributes of what is written next.

use crate::cell::{Cell, DEFAULT_BG, DEFAULT_FG, Style};
use crate::palette;

/// Applies one `CSI ... m` to `pen`. `groups` yields each parameter with its sub-parameters.
pub(crate) fn apply<'a>(pen: &mut Cell, groups: impl Iterator<Item = &'a [u16]>) {
    let mut groups = groups.peekable();
    if groups.peek().is_none() {
        return reset(pen);
    }
    while let Some(group) = groups.next() {
        let code = group.first().copied().unwrap_or(0);
        match code {
            38 | 48 => {
                let colour = if group.len() > 1 {
                    extended(&mut group[1..].iter().copied(), true)
                } else {
                    extended(
                        &mut groups.by_ref().map(|g| g.first().copied().unwrap_or(0)),
                        false,
                    )
                };
                match colour {
                    Some(colour) if code == 38 => pen.fg = colour,
                    Some(colour) => pen.bg = colour,
                    None => {}
                }
            }
            4 if group.get(1) == Some(&0) => pen.style &= !Style::UNDERLINE,
            _ => simple(pen, code),
        }
    }
}

fn reset(pen: &mut Cell) {
    *pen = Cell::BLANK;
}

/// The colour after 38 or 48: `5;n`, `2;r;g;b`, or with colons `2:[space:]r:g:b`.
fn extended(rest: &mut dyn Iterator<Item = u16>, colons: bool) -> Option<u8> {
    match rest.next()? {
        5 => u8::try_from(rest.next()?).ok(),
        2 => {
            let mut parts = [0u16; 4];
            let mut count = 0;
            let most = if colons { 4 } else { 3 };
            while count < most {
                let Some(part) = rest.next() else { break };
                parts[count] = part;
                count += 1;
            }
            let rgb = match count {
                4 => &parts[1..4],
                3 => &parts[..3],
                _ => return None,
            };
            let part = |i: usize| u8::try_from(rgb[i]).unwrap_or(255);
            Some(palette::nearest(part(0), part(1), part(2)))
        }
        _ => None,
    }
}

fn simple(pen: &mut Cell, code: u16) {
    let colour = |base: u16| (code - base) as u8;
    match code {
        0 => reset(pen),
        1 => pen.style = (pen.style & !Style::DIM) | Style::BOLD,
        2 => pen.style = (pen.style & !Style::BOLD) | Style::DIM,
        4 | 21 => pen.style |= Style::UNDERLINE,
        7 => pen.style |= Style::REVERSE,
        8 => pen.style |= Style::HIDDEN,
        9 => pen.style |= Style::STRUCK,
        22 => pen.style &= !(Style::BOLD | Style::DIM),
        24 => pen.style &= !Style::UNDERLINE,
        27 => pen.style &= !Style::REVERSE,
        28 => pen.style &= !Style::HIDDEN,
        29 => pen.style &= !Style::STRUCK,
        30..=37 => pen.fg = colour(30),
        39 => pen.fg = DEFAULT_FG,
        40..=47 => pen.bg = colour(40),
        49 => pen.bg = DEFAULT_BG,
        90..=97 => pen.fg = colour(90) + 8,
        100..=107 => pen.bg = colour(100) + 8,
        _ => {}
    }
}
