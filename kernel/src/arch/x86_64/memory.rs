//! Physical memory that is not the kernel's: firmware's tables, device registers, pages shared with a hypervisor.

use super::{layout, msr};
use crate::mm::{PhysAddr, kmap};

/// Bytes that firmware left in memory, mapped for ever; `None` if they cannot be.
pub fn firmware_bytes(phys: PhysAddr, len: u64) -> Option<&'static [u8]> {
    let end = phys.0.checked_add(len)?;
    if phys.0 == 0 || len == 0 || end > bootinfo::memory_map::MAX_PHYS {
        return None;
    }
    let ranges = crate::boot::info().memory_map.ranges();
    let in_ram = ranges
        .iter()
        .any(|r| r.kind.is_ram() && r.start <= phys.0 && end <= r.end);
    let pointer = if in_ram {
        (layout::DIRECT_MAP + phys.0) as *const u8
    } else {
        kmap::map_mmio(phys, len as usize, kmap::CachePolicy::WriteBack)
            .ok()?
            .cast_const()
    };
    // SAFETY: mapped; firmware has finished with it, and the kernel never hands such memory out.
    Some(unsafe { core::slice::from_raw_parts(pointer, len as usize) })
}

/// A block of 64-bit device registers.
pub struct Registers64(*mut u64);

impl Registers64 {
    /// The block that `map_mmio` mapped at `pointer`.
    pub fn new(pointer: *mut u8) -> Registers64 {
        Registers64(pointer.cast())
    }

    /// Reads the register at a byte offset, at most 0x3f8.
    pub fn read(&self, offset: usize) -> u64 {
        assert!(
            offset <= 0x3f8 && offset.is_multiple_of(8),
            "a register's offset"
        );
        // SAFETY: inside the mapping, which is at least 0x400 bytes.
        unsafe { self.0.byte_add(offset).read_volatile() }
    }

    /// Writes it.
    pub fn write(&self, offset: usize, value: u64) {
        assert!(
            offset <= 0x3f8 && offset.is_multiple_of(8),
            "a register's offset"
        );
        // SAFETY: as in `read`.
        unsafe { self.0.byte_add(offset).write_volatile(value) };
    }
}

#[repr(C, align(64))]
struct SharedPage(core::cell::UnsafeCell<[u32; 16]>);

// SAFETY: used once, at boot, by one CPU.
unsafe impl Sync for SharedPage {}

static KVMCLOCK: SharedPage = SharedPage(core::cell::UnsafeCell::new([0; 16]));

/// Has the hypervisor fill kvmclock's structure once, and answers its words. Only where CPUID offers it.
pub fn kvmclock_page() -> [u32; 16] {
    const SYSTEM_TIME_NEW: u32 = 0x4b56_4d01;
    let virt = KVMCLOCK.0.get();
    let phys = virt as u64 - layout::image_start() + crate::boot::info().kernel_phys;
    // SAFETY: the hypervisor has the register; it writes the 32 bytes of the structure, which are ours. Writing 0 takes
    // the page back.
    unsafe {
        msr::write(SYSTEM_TIME_NEW, phys | 1);
        let words = virt.read_volatile();
        msr::write(SYSTEM_TIME_NEW, 0);
        words
    }
}
