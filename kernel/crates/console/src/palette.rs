//! The 256 colours: 16 of the VGA, a 6x6x6 cube, 24 greys; and the nearest one to any colour.

/// `0x00rrggbb` by index.
pub type Palette = [u32; 256];

const VGA: [u32; 16] = [
    0x00_0000, 0xaa_0000, 0x00_aa00, 0xaa_5500, 0x00_00aa, 0xaa_00aa, 0x00_aaaa, 0xaa_aaaa,
    0x55_5555, 0xff_5555, 0x55_ff55, 0xff_ff55, 0x55_55ff, 0xff_55ff, 0x55_ffff, 0xff_ffff,
];

/// Levels of the cube's edges.
const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];

/// The colours of a reset terminal.
pub const DEFAULT_PALETTE: Palette = build();

const fn build() -> Palette {
    let mut palette = [0; 256];
    let mut i = 0;
    while i < 256 {
        palette[i] = if i < 16 {
            VGA[i]
        } else if i < 232 {
            let n = i - 16;
            rgb(LEVELS[n / 36], LEVELS[n / 6 % 6], LEVELS[n % 6])
        } else {
            let grey = (8 + 10 * (i - 232)) as u8;
            rgb(grey, grey, grey)
        };
        i += 1;
    }
    palette
}

const fn rgb(r: u8, g: u8, b: u8) -> u32 {
    ((r as u32) << 16) | ((g as u32) << 8) | b as u32
}

/// The index in the cube or among the greys that is nearest to a colour.
pub fn nearest(r: u8, g: u8, b: u8) -> u8 {
    let level = |v: u8| match v {
        0..48 => 0u8,
        48..115 => 1,
        _ => (v - 35) / 40,
    };
    let (lr, lg, lb) = (level(r), level(g), level(b));
    let cube = 16 + 36 * lr + 6 * lg + lb;
    let mean = (u16::from(r) + u16::from(g) + u16::from(b)) / 3;
    let step = mean.saturating_sub(3) / 10;
    let grey = if step >= 24 { 255 } else { 232 + step as u8 };
    let distance = |index: u8| {
        let colour = DEFAULT_PALETTE[usize::from(index)];
        let part = |shift: u32, v: u8| ((colour >> shift) & 255).abs_diff(u32::from(v)).pow(2);
        part(16, r) + part(8, g) + part(0, b)
    };
    if distance(grey) < distance(cube) {
        grey
    } else {
        cube
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_of_cube_and_greys_maps_to_itself() {
        for index in 16..=255u8 {
            let c = DEFAULT_PALETTE[usize::from(index)];
            let found = nearest((c >> 16) as u8, (c >> 8) as u8, c as u8);
            assert_eq!(DEFAULT_PALETTE[usize::from(found)], c, "index {index}");
        }
    }
}
