//! A window of device registers.

#[cfg(test)]
use alloc::sync::Arc;
use core::ptr::NonNull;

use super::platform::platform;

/// What plays the registers of a fake device.
#[cfg(test)]
pub trait Registers: Send + Sync {
    fn read(&self, offset: usize, bytes: usize) -> u64;
    fn write(&self, offset: usize, bytes: usize, value: u64);
}

/// Device registers, mapped for good.
///
/// Accesses beyond the window behave as on a bus where nobody answers: reads give ones, writes are lost. So a device
/// that lies about its size costs wrong values, never foreign memory.
///
/// # Invariants
/// `base..base + bytes` is mapped to registers as [`Platform::map_mmio`](super::Platform::map_mmio) promises.
#[derive(Clone)]
pub struct Mmio {
    base: NonNull<u8>,
    bytes: usize,
    #[cfg(test)]
    fake: Option<(Arc<dyn Registers>, usize)>,
}

// SAFETY: registers may be accessed from any CPU; that accesses make sense together is the driver's care, and no
// Rust reference to them exists.
unsafe impl Send for Mmio {}
// SAFETY: as above.
unsafe impl Sync for Mmio {}

macro_rules! access {
    ($read:ident, $write:ident, $type:ty) => {
        pub fn $read(&self, offset: usize) -> $type {
            #[cfg(test)]
            if let Some((fake, start)) = &self.fake {
                return fake.read(start + offset, size_of::<$type>()) as $type;
            }
            match self.at(offset, size_of::<$type>()) {
                // SAFETY: `at` checked bounds and alignment; the invariant says these are registers.
                Some(address) => unsafe { address.cast::<$type>().read_volatile() },
                None => <$type>::MAX,
            }
        }

        pub fn $write(&self, offset: usize, value: $type) {
            #[cfg(test)]
            if let Some((fake, start)) = &self.fake {
                return fake.write(start + offset, size_of::<$type>(), u64::from(value));
            }
            if let Some(address) = self.at(offset, size_of::<$type>()) {
                // SAFETY: `at` checked bounds and alignment; the invariant says these are registers.
                unsafe { address.cast::<$type>().write_volatile(value) }
            }
        }
    };
}

impl Mmio {
    /// Maps `bytes` bytes of registers at `phys`.
    pub fn map(phys: u64, bytes: usize) -> Option<Self> {
        let base = platform().map_mmio(phys, bytes)?;
        Some(Self {
            base,
            bytes,
            #[cfg(test)]
            fake: None,
        })
    }

    /// Maps `bytes` bytes of video memory at `phys`.
    pub fn map_framebuffer(phys: u64, bytes: usize) -> Option<Self> {
        let base = platform().map_framebuffer(phys, bytes)?;
        Some(Self {
            base,
            bytes,
            #[cfg(test)]
            fake: None,
        })
    }

    /// A window onto a fake device.
    #[cfg(test)]
    pub fn fake(registers: Arc<dyn Registers>, bytes: usize) -> Self {
        Self {
            base: NonNull::dangling(),
            bytes,
            fake: Some((registers, 0)),
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A part of the window.
    pub fn window(&self, offset: usize, bytes: usize) -> Option<Self> {
        if offset.checked_add(bytes)? > self.bytes {
            return None;
        }
        let mut part = self.clone();
        part.bytes = bytes;
        #[cfg(test)]
        if let Some((_, start)) = &mut part.fake {
            *start += offset;
            return Some(part);
        }
        // SAFETY: `offset` is within the mapped window.
        part.base = unsafe { self.base.add(offset) };
        Some(part)
    }

    fn at(&self, offset: usize, bytes: usize) -> Option<NonNull<u8>> {
        if offset.checked_add(bytes)? > self.bytes {
            return None;
        }
        // SAFETY: `offset` is within the mapped window.
        let address = unsafe { self.base.add(offset) };
        address
            .addr()
            .get()
            .is_multiple_of(bytes)
            .then_some(address)
    }

    access!(read8, write8, u8);
    access!(read16, write16, u16);
    access!(read32, write32, u32);
    access!(read64, write64, u64);
}
