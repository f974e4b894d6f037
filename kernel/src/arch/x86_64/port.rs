//! I/O ports.

use core::arch::asm;

use ksync::IrqSpinLock;

macro_rules! port_read {
    ($read:ident, $ty:ty, $reg:tt, $in:literal) => {
        /// Reads a port.
        ///
        /// # Safety
        /// The port must belong to the caller's device: reads have side effects there.
        #[inline]
        pub unsafe fn $read(port: u16) -> $ty {
            let value: $ty;
            // SAFETY: the caller's duty.
            unsafe { asm!($in, out($reg) value, in("dx") port, options(nostack, preserves_flags)) };
            value
        }
    };
}

macro_rules! port_write {
    ($write:ident, $ty:ty, $reg:tt, $out:literal) => {
        /// Writes a port.
        ///
        /// # Safety
        /// The port must belong to the caller's device, and the write must not make it touch memory in use.
        #[inline]
        pub unsafe fn $write(port: u16, value: $ty) {
            // SAFETY: the caller's duty.
            unsafe { asm!($out, in("dx") port, in($reg) value, options(nostack, preserves_flags)) };
        }
    };
}

port_read!(inb, u8, "al", "in al, dx");
port_write!(outb, u8, "al", "out dx, al");
port_write!(outw, u16, "ax", "out dx, ax");
port_read!(inl, u32, "eax", "in eax, dx");

/// Reads a 32-bit port that only counts: the ACPI timer.
pub fn read_long(port: u16) -> u32 {
    // SAFETY: the FADT says that the port is the timer's; reading has no effect.
    unsafe { inl(port) }
}

/// The CMOS index and data ports are a pair.
static CMOS: IrqSpinLock<()> = IrqSpinLock::new(());

/// Reads a byte of CMOS.
pub fn read_cmos(index: u8) -> u8 {
    let _guard = CMOS.lock();
    // SAFETY: the ports of the CMOS, under its lock; NMIs stay enabled (bit 7 clear).
    unsafe {
        outb(0x70, index & 0x7f);
        inb(0x71)
    }
}

/// The programmable interval timer's channel 2, counting down from 65536 again and again.
pub struct PitChannel2 {
    gate: u8,
}

impl PitChannel2 {
    /// Starts it, with the speaker off.
    pub fn start() -> PitChannel2 {
        // SAFETY: the PIT's ports, which nothing else uses.
        unsafe {
            let gate = inb(0x61);
            outb(0x61, gate & !2 | 1);
            outb(0x43, 0xb4); // channel 2, low then high byte, rate generator
            outb(0x42, 0);
            outb(0x42, 0);
            PitChannel2 { gate }
        }
    }

    /// What it counts right now.
    pub fn count(&self) -> u16 {
        // SAFETY: as above: latch, low, high.
        unsafe {
            outb(0x43, 0x80);
            let low = inb(0x42);
            u16::from_le_bytes([low, inb(0x42)])
        }
    }

    /// Leaves the speaker's gate as it was.
    pub fn stop(self) {
        // SAFETY: as above.
        unsafe { outb(0x61, self.gate) };
    }
}
