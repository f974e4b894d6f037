//! A linear framebuffer as the loader set it up: pixels are stored, never read.

use crate::hal::Mmio;

/// Where a colour lies in a pixel, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub shift: u8,
    pub size: u8,
}

impl Field {
    fn place(self, value: u32) -> u32 {
        let size = u32::from(self.size.min(8));
        ((value & 0xff) >> (8 - size))
            .checked_shl(self.shift.into())
            .unwrap_or(0)
    }
}

/// How a framebuffer is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub width: u32,
    pub height: u32,
    /// Bytes from one row to the next.
    pub pitch: u32,
    pub bits_per_pixel: u8,
    pub red: Field,
    pub green: Field,
    pub blue: Field,
}

impl Layout {
    fn bytes_per_pixel(&self) -> usize {
        usize::from(self.bits_per_pixel).div_ceil(8)
    }

    /// Bytes in all; `None` for a layout that cannot be.
    pub fn bytes(&self) -> Option<usize> {
        let row = (self.width as usize).checked_mul(self.bytes_per_pixel())?;
        let usable = (15..=32).contains(&self.bits_per_pixel) && self.width > 0 && self.height > 0;
        if !usable || row > self.pitch as usize {
            return None;
        }
        (self.pitch as usize).checked_mul(self.height as usize)
    }

    /// Whether pixels are `0x00rrggbb` in 32 bits, as callers give them.
    fn is_native(&self) -> bool {
        let at = |shift| Field { shift, size: 8 };
        self.bits_per_pixel == 32 && (self.red, self.green, self.blue) == (at(16), at(8), at(0))
    }
}

/// A framebuffer.
pub struct Framebuffer {
    memory: Mmio,
    layout: Layout,
    native: bool,
    /// Pairs of pixels lie on addresses that one store may have.
    paired: bool,
}

impl Framebuffer {
    /// Maps the framebuffer at `phys`; `None` where that or the layout makes no sense.
    pub fn map(phys: u64, layout: Layout) -> Option<Self> {
        let memory = Mmio::map_framebuffer(phys, layout.bytes()?)?;
        let native = layout.is_native();
        let paired = native && layout.pitch.is_multiple_of(8) && phys.is_multiple_of(8);
        Some(Self {
            memory,
            layout,
            native,
            paired,
        })
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Stores pixels (`0x00rrggbb`) from (`x`, `y`) to the right; what lies outside is dropped.
    pub fn put(&self, x: usize, y: usize, pixels: &[u32]) {
        let (width, height) = (self.layout.width as usize, self.layout.height as usize);
        if y >= height || x >= width {
            return;
        }
        let pixels = &pixels[..pixels.len().min(width - x)];
        let bytes = self.layout.bytes_per_pixel();
        let start = y * self.layout.pitch as usize + x * bytes;
        if self.paired && x.is_multiple_of(2) {
            let (pairs, last) = pixels.as_chunks::<2>();
            for (i, &[left, right]) in pairs.iter().enumerate() {
                let both = u64::from(left) | (u64::from(right) << 32);
                self.memory.write64(start + i * 8, both);
            }
            if let [pixel] = last {
                self.memory.write32(start + pairs.len() * 8, *pixel);
            }
            return;
        }
        for (i, &pixel) in pixels.iter().enumerate() {
            self.put_one(start + i * bytes, pixel, bytes);
        }
    }

    fn put_one(&self, at: usize, pixel: u32, bytes: usize) {
        let value = if self.native {
            pixel
        } else {
            let layout = &self.layout;
            layout.red.place(pixel >> 16)
                | layout.green.place(pixel >> 8)
                | layout.blue.place(pixel)
        };
        match bytes {
            4 if at.is_multiple_of(4) => self.memory.write32(at, value),
            2 if at.is_multiple_of(2) => self.memory.write16(at, value as u16),
            _ => {
                for (i, byte) in value.to_le_bytes().into_iter().take(bytes).enumerate() {
                    self.memory.write8(at + i, byte);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use alloc::vec;
    use alloc::vec::Vec;
    use std::sync::Mutex;

    use super::*;
    use crate::hal::Registers;

    struct Memory(Mutex<Vec<u8>>);

    impl Registers for Memory {
        fn read(&self, _: usize, _: usize) -> u64 {
            unreachable!("video memory is never read")
        }
        fn write(&self, offset: usize, bytes: usize, value: u64) {
            self.0.lock().unwrap()[offset..offset + bytes]
                .copy_from_slice(&value.to_le_bytes()[..bytes]);
        }
    }

    fn drawn(bits: u8, fields: [(u8, u8); 3], pitch: u32) -> Vec<u8> {
        let [red, green, blue] = fields.map(|(shift, size)| Field { shift, size });
        let layout = Layout {
            width: 4,
            height: 2,
            pitch,
            bits_per_pixel: bits,
            red,
            green,
            blue,
        };
        let bytes = layout.bytes().unwrap();
        let memory = Arc::new(Memory(Mutex::new(vec![0xee; bytes])));
        let native = layout.is_native();
        let fb = Framebuffer {
            memory: Mmio::fake(memory.clone(), bytes),
            layout,
            native,
            paired: native && pitch.is_multiple_of(8),
        };
        fb.put(0, 0, &[0xff_0000, 0x00_ff00, 0x00_00ff]);
        fb.put(3, 1, &[0x12_3456, 0xff_ffff]);
        fb.put(0, 2, &[1]);
        memory.0.lock().unwrap().clone()
    }

    #[test]
    fn pixels_of_every_format_land_where_they_belong() {
        let native = drawn(32, [(16, 8), (8, 8), (0, 8)], 16);
        assert_eq!(native[..12], [0, 0, 0xff, 0, 0, 0xff, 0, 0, 0xff, 0, 0, 0]);
        assert_eq!(native[28..], [0x56, 0x34, 0x12, 0]);
        let bgr = drawn(24, [(0, 8), (8, 8), (16, 8)], 14);
        assert_eq!(bgr[..9], [0xff, 0, 0, 0, 0xff, 0, 0, 0, 0xff]);
        assert_eq!(bgr[23..26], [0x12, 0x34, 0x56]);
        let small = drawn(16, [(11, 5), (5, 6), (0, 5)], 8);
        assert_eq!(small[..6], [0, 0xf8, 0xe0, 0x07, 0x1f, 0]);
    }

    #[test]
    fn impossible_layouts_are_refused() {
        let field = Field { shift: 0, size: 8 };
        let layout = Layout {
            width: 100,
            height: 10,
            pitch: 399,
            bits_per_pixel: 32,
            red: field,
            green: field,
            blue: field,
        };
        assert_eq!(layout.bytes(), None);
        assert_eq!(
            Layout {
                bits_per_pixel: 4,
                ..layout
            }
            .bytes(),
            None
        );
        assert_eq!(
            Layout {
                pitch: 400,
                ..layout
            }
            .bytes(),
            Some(4000)
        );
    }
}
