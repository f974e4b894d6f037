//! The interrupt descriptor table: one for all CPUs, filled once.

use core::arch::asm;

use super::descriptors::{IST_DEBUG, IST_DOUBLE_FAULT, IST_MACHINE_CHECK, IST_NMI, KERNEL_CS};
use super::{cpu::VECTORS, trap};

#[repr(C, align(16))]
struct Idt([[u64; 2]; VECTORS]);

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

static IDT: spin::Once<Idt> = spin::Once::new();

/// An interrupt gate: interrupts are off on entry.
fn gate(vector: u8) -> [u64; 2] {
    let handler = trap::handler_of(vector);
    let ist = match vector {
        1 => IST_DEBUG,
        2 => IST_NMI,
        8 => IST_DOUBLE_FAULT,
        18 => IST_MACHINE_CHECK,
        _ => 0,
    };
    // `int3` and `into` are the user's to use. No other, 0x80 above all: it is a protection fault, as on a Linux
    // without 32-bit emulation.
    let dpl: u64 = if matches!(vector, 3 | 4) { 3 } else { 0 };
    let low = handler & 0xffff
        | u64::from(KERNEL_CS) << 16
        | u64::from(ist) << 32
        | (0x8e | dpl << 5) << 40
        | (handler >> 16 & 0xffff) << 48;
    [low, handler >> 32]
}

/// Loads the table on this CPU.
pub(super) fn load() {
    let idt = IDT.call_once(|| {
        let mut table = [[0; 2]; VECTORS];
        for (vector, entry) in (0..=u8::MAX).zip(&mut table) {
            *entry = gate(vector);
        }
        Idt(table)
    });
    let pointer = TablePointer {
        limit: (size_of::<Idt>() - 1) as u16,
        base: core::ptr::from_ref(idt) as u64,
    };
    // SAFETY: a complete table that lives for ever.
    unsafe { asm!("lidt [{}]", in(reg) &pointer, options(readonly, nostack, preserves_flags)) };
}
