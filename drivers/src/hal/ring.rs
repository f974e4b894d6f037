//! A virtio ring that owns its buffers.

use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use devapi::{DeviceError, Result};
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use super::dma::DmaBuffer;
use super::platform::platform;

/// Lends the machine to `virtio-drivers`.
pub struct VirtioHal;

// SAFETY: `Platform` promises the same as `Hal` asks; memory is shared with devices in place, with no bounce buffers.
unsafe impl Hal for VirtioHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        platform()
            .dma_alloc(pages)
            .unwrap_or((0, NonNull::dangling()))
    }

    unsafe fn dma_dealloc(paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) -> i32 {
        // SAFETY: the caller's promise is ours.
        unsafe { platform().dma_free(paddr, vaddr, pages) };
        0
    }

    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, size: usize) -> NonNull<u8> {
        // Only the library's own PCI transport calls this, and it is not used here.
        platform()
            .map_mmio(paddr, size)
            .expect("registers of a probed device can be mapped")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        platform().phys_of(buffer.cast())
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

/// One completed buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    slot: usize,
    /// Bytes the device wrote; 0 for a buffer it read.
    pub bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Free,
    /// The device may write to it.
    Offered {
        token: u16,
    },
    /// The device may read it.
    Sent {
        token: u16,
        bytes: usize,
    },
    /// The driver reads what the device wrote.
    Held,
}

/// A ring of `SIZE` buffers of equal size, all for reading or for writing by the device.
///
/// # Invariants
/// - The memory of a slot is touched by the driver only while it is `Free` or `Held`.
/// - Memory the device may write to is given back only by [`Ring::release`], after a reset; a ring that is simply
///   dropped leaks its memory.
pub struct Ring<const SIZE: usize> {
    queue: ManuallyDrop<VirtQueue<VirtioHal, SIZE>>,
    buffers: ManuallyDrop<DmaBuffer>,
    buffer_bytes: usize,
    slots: [Slot; SIZE],
    index: u16,
}

impl<const SIZE: usize> Ring<SIZE> {
    /// Sets up queue `index` of a device that is being initialised.
    pub fn new(transport: &mut impl Transport, index: u16, buffer_bytes: usize) -> Result<Self> {
        let buffers = DmaBuffer::new(SIZE * buffer_bytes)?;
        let queue =
            VirtQueue::new(transport, index, false, false).map_err(super::super::virtio::error)?;
        Ok(Self {
            queue: ManuallyDrop::new(queue),
            buffers: ManuallyDrop::new(buffers),
            buffer_bytes,
            slots: [Slot::Free; SIZE],
            index,
        })
    }

    pub fn index(&self) -> u16 {
        self.index
    }

    pub fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    fn free_slot(&self) -> Option<usize> {
        self.slots.iter().position(|&slot| slot == Slot::Free)
    }

    fn memory(&self, slot: usize, bytes: usize) -> NonNull<[u8]> {
        let start = self.buffers.part(slot * self.buffer_bytes, bytes);
        let start = start.expect("slot and size are below what `new` allocated");
        NonNull::slice_from_raw_parts(start, bytes)
    }

    /// Gives every free buffer to the device to write to; how many.
    pub fn offer_all(&mut self) -> usize {
        let mut offered = 0;
        while let Some(slot) = self.free_slot() {
            let mut memory = self.memory(slot, self.buffer_bytes);
            // SAFETY: the slot is free, so nobody else has a reference; it stays untouched until `pop_used`, as the
            // state says from here on, and lives as long as the ring or longer.
            let token = unsafe { self.queue.add(&[], &mut [memory.as_mut()]) };
            let Ok(token) = token else { break };
            self.slots[slot] = Slot::Offered { token };
            offered += 1;
        }
        offered
    }

    /// Copies up to a buffer of `data` for the device to read; how many bytes, 0 when no buffer is free.
    pub fn send(&mut self, data: &[u8]) -> usize {
        let bytes = data.len().min(self.buffer_bytes);
        let Some(slot) = self.free_slot() else {
            return 0;
        };
        if bytes == 0 || !self.buffers.write(slot * self.buffer_bytes, &data[..bytes]) {
            return 0;
        }
        let memory = self.memory(slot, bytes);
        // SAFETY: as in `offer_all`; the device only reads it.
        let token = unsafe { self.queue.add(&[memory.as_ref()], &mut []) };
        let Ok(token) = token else { return 0 };
        self.slots[slot] = Slot::Sent { token, bytes };
        bytes
    }

    /// Takes one buffer the device is done with. `Io` when the device answers with a buffer it was never given.
    pub fn pop(&mut self) -> Result<Option<Used>> {
        let Some(token) = self.queue.peek_used() else {
            return Ok(None);
        };
        let slot = self.slots.iter().position(|slot| match *slot {
            Slot::Offered { token: t } | Slot::Sent { token: t, .. } => t == token,
            Slot::Free | Slot::Held => false,
        });
        let slot = slot.ok_or(DeviceError::Io)?;
        match self.slots[slot] {
            Slot::Sent { bytes, .. } => {
                let memory = self.memory(slot, bytes);
                // SAFETY: the same buffer was added under this token.
                unsafe { self.queue.pop_used(token, &[memory.as_ref()], &mut []) }
                    .map_err(super::super::virtio::error)?;
                self.slots[slot] = Slot::Free;
                Ok(Some(Used { slot, bytes: 0 }))
            }
            _ => {
                let mut memory = self.memory(slot, self.buffer_bytes);
                // SAFETY: the same buffer was added under this token, and the device gave it back.
                let bytes = unsafe { self.queue.pop_used(token, &[], &mut [memory.as_mut()]) }
                    .map_err(super::super::virtio::error)?;
                self.slots[slot] = Slot::Held;
                Ok(Some(Used {
                    slot,
                    bytes: (bytes as usize).min(self.buffer_bytes),
                }))
            }
        }
    }

    /// Copies out what the device wrote, from `offset` on; how many bytes.
    pub fn read(&self, used: Used, offset: usize, out: &mut [u8]) -> usize {
        let bytes = used.bytes.saturating_sub(offset).min(out.len());
        let held = self.slots.get(used.slot) == Some(&Slot::Held);
        let start = used.slot * self.buffer_bytes + offset;
        if held && self.buffers.read(start, &mut out[..bytes]) {
            bytes
        } else {
            0
        }
    }

    /// The driver is done with a buffer that the device wrote.
    pub fn done(&mut self, used: Used) {
        if let Some(slot) = self.slots.get_mut(used.slot)
            && *slot == Slot::Held
        {
            *slot = Slot::Free;
        }
    }

    /// Buffers the device has.
    pub fn in_flight(&self) -> usize {
        let with_device = |slot: &&Slot| !matches!(slot, Slot::Free | Slot::Held);
        self.slots.iter().filter(with_device).count()
    }

    /// Bytes sent that the device has not read yet.
    pub fn unsent_bytes(&self) -> usize {
        let bytes = |slot: &Slot| {
            if let Slot::Sent { bytes, .. } = slot {
                *bytes
            } else {
                0
            }
        };
        self.slots.iter().map(bytes).sum()
    }

    pub fn has_room(&self) -> bool {
        self.free_slot().is_some()
    }

    /// Whether the device has given something back.
    pub fn can_pop(&self) -> bool {
        self.queue.can_pop()
    }

    /// Whether the device wants to be interrupted about this ring's new buffers.
    pub fn should_notify(&self) -> bool {
        self.queue.should_notify()
    }

    /// Asks the device for interrupts, or to be quiet.
    pub fn set_interrupts(&mut self, on: bool) {
        self.queue.set_dev_notify(on);
    }

    /// Frees the memory, once the device has been reset and so writes no more.
    pub fn release(mut self) {
        // SAFETY: the ring is consumed, and neither field is used after this.
        unsafe {
            ManuallyDrop::drop(&mut self.queue);
            ManuallyDrop::drop(&mut self.buffers);
        }
    }
}
