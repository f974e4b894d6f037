//! x86 I/O ports.

use core::arch::asm;

/// A few ports that follow each other: a driver's registers, or a test's fake of them.
pub trait PortIo: Send + Sync {
    fn read8(&self, offset: u16) -> u8;
    fn write8(&self, offset: u16, value: u8);
    fn read16(&self, offset: u16) -> u16;
    fn write16(&self, offset: u16, value: u16);
    fn read32(&self, offset: u16) -> u32;
    fn write32(&self, offset: u16, value: u32);
}

/// Real ports from `base` on.
///
/// Port access cannot break memory safety by itself; what a device does when told wrongly (DMA to a wrong address)
/// is the care of its driver, as with [`Mmio`](super::Mmio).
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    base: u16,
    count: u16,
}

macro_rules! access {
    ($read:ident, $write:ident, $type:ty, $register:tt) => {
        fn $read(&self, offset: u16) -> $type {
            let Some(port) = self.at(offset, size_of::<$type>() as u16) else {
                return <$type>::MAX;
            };
            let value: $type;
            // SAFETY: reading a port touches no memory.
            unsafe {
                asm!(
                    concat!("in ", $register, ", dx"),
                    in("dx") port,
                    out($register) value,
                    options(nomem, nostack, preserves_flags),
                );
            }
            value
        }

        fn $write(&self, offset: u16, value: $type) {
            if let Some(port) = self.at(offset, size_of::<$type>() as u16) {
                // SAFETY: writing a port touches no memory of Rust's; DMA memory has its own rules.
                unsafe {
                    asm!(
                        concat!("out dx, ", $register),
                        in("dx") port,
                        in($register) value,
                        options(nostack, preserves_flags),
                    );
                }
            }
        }
    };
}

impl Ports {
    pub const fn new(base: u16, count: u16) -> Self {
        Self { base, count }
    }

    fn at(&self, offset: u16, bytes: u16) -> Option<u16> {
        if offset.checked_add(bytes)? > self.count {
            return None;
        }
        self.base.checked_add(offset)
    }
}

impl PortIo for Ports {
    access!(read8, write8, u8, "al");
    access!(read16, write16, u16, "ax");
    access!(read32, write32, u32, "eax");
}
