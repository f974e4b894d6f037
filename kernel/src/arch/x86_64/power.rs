//! Last-resort reset and power off: what needs no ACPI interpreter. `device::acpi` tries the proper ways first.

use super::port::{inb, outb, outw};
use super::{cpu, irq};
use crate::device::acpi::tables::{self, ResetRegister};

/// Resets the machine: the ACPI reset register, the keyboard controller, the chip set, a triple fault.
pub fn reset() -> ! {
    irq::disable();
    if let Some(register) = tables::try_get().and_then(|t| t.reset) {
        write_reset(register);
        pause();
    }
    // SAFETY: the keyboard controller's reset line and the chip set's reset register, which every PC since the PIIX
    // has; nothing runs after.
    unsafe {
        for _ in 0..1000 {
            if inb(0x64) & 2 == 0 {
                break;
            }
        }
        outb(0x64, 0xfe);
        pause();
        outb(0xcf9, 2);
        outb(0xcf9, 6);
        pause();
        let nothing = [0u8; 10];
        core::arch::asm!("lidt [{}]", "ud2", in(reg) &nothing, options(noreturn));
    }
}

fn write_reset(register: ResetRegister) {
    match register {
        // SAFETY: the firmware's own reset register.
        ResetRegister::Port(port, value) => unsafe { outb(port, value) },
        ResetRegister::Memory(physical, value) => {
            let policy = crate::mm::kmap::CachePolicy::Uncached;
            if let Ok(pointer) = crate::mm::kmap::map_mmio(crate::mm::PhysAddr(physical), 1, policy)
            {
                // SAFETY: as above.
                unsafe { pointer.write_volatile(value) };
            }
        }
    }
}

/// Writes a sleep type to the ACPI control registers, as `_S5` has it. Returns if the machine does not obey.
pub fn enter_sleep(control_a: u16, type_a: u8, control_b: u16, type_b: u8) {
    let word = |kind: u8| u16::from(kind & 7) << 10 | 1 << 13;
    irq::disable();
    // SAFETY: the FADT's control ports.
    unsafe {
        outw(control_a, word(type_a));
        if control_b != 0 {
            outw(control_b, word(type_b));
        }
    }
    pause();
}

/// Gives the machine a moment to obey.
fn pause() {
    for _ in 0..100_000 {
        // SAFETY: a port that only delays.
        unsafe { outb(0x80, 0) };
        cpu::relax();
    }
}
