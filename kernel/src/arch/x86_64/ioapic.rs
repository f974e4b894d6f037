//! I/O APICs: inputs (global system interrupts) to vectors. And the two legacy controllers, which are masked for good.

use core::sync::atomic::{AtomicBool, Ordering};

use arrayvec::ArrayVec;
use ksync::IrqSpinLock;

use super::cpu::{self, CpuId};
use super::port::outb;
use crate::device::acpi::tables;
use crate::mm::{PhysAddr, kmap};

/// How a line signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    Edge,
    Level,
}

/// Which level is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    High,
    Low,
}

/// One controller: a register window, and the first of its inputs.
struct IoApic {
    registers: *mut u32,
    first: u32,
    inputs: u32,
}

// SAFETY: the registers are reached under the lock alone.
unsafe impl Send for IoApic {}

static CONTROLLERS: IrqSpinLock<ArrayVec<IoApic, 16>> = IrqSpinLock::new(ArrayVec::new_const());
static PRESENT: AtomicBool = AtomicBool::new(false);

const MASKED: u32 = 1 << 16;

impl IoApic {
    fn read(&self, register: u32) -> u32 {
        // SAFETY: the mapped window: select, then data.
        unsafe {
            self.registers.write_volatile(register);
            self.registers.byte_add(0x10).read_volatile()
        }
    }

    fn write(&self, register: u32, value: u32) {
        // SAFETY: as in `read`.
        unsafe {
            self.registers.write_volatile(register);
            self.registers.byte_add(0x10).write_volatile(value);
        }
    }
}

/// Masks the legacy controllers, parked where their spurious interrupts do no harm.
fn silence_legacy() {
    // SAFETY: the 8259s' ports; where there are none, nothing answers.
    unsafe {
        for (port, value) in [
            (0x20, 0x11),
            (0xa0, 0x11),
            (0x21, 0x20),
            (0xa1, 0x28),
            (0x21, 4),
            (0xa1, 2),
            (0x21, 1),
            (0xa1, 1),
            (0x21, 0xff),
            (0xa1, 0xff),
        ] {
            outb(port, value);
        }
    }
}

/// Finds the controllers in the MADT and masks every input.
pub(super) fn init() {
    silence_legacy();
    let mut controllers = CONTROLLERS.lock();
    for entry in &tables::get().io_apics {
        let mapped = kmap::map_mmio(
            PhysAddr(entry.address.into()),
            4096,
            kmap::CachePolicy::Uncached,
        );
        let Ok(pointer) = mapped else { continue };
        let mut apic = IoApic {
            registers: pointer.cast(),
            first: entry.gsi_base,
            inputs: 0,
        };
        let version = apic.read(1);
        if version == u32::MAX {
            ::log::warn!("no I/O APIC answers at {:#x}", entry.address);
            continue;
        }
        apic.inputs = (version >> 16 & 0xff) + 1;
        for input in 0..apic.inputs {
            apic.write(0x10 + 2 * input, MASKED);
        }
        let _ = controllers.try_push(apic);
    }
    PRESENT.store(!controllers.is_empty(), Ordering::Relaxed);
    if controllers.is_empty() {
        ::log::warn!("no I/O APIC: devices get interrupts by messages only");
    }
}

fn with_input<R>(gsi: u32, run: impl FnOnce(&IoApic, u32) -> R) -> Option<R> {
    let controllers = CONTROLLERS.lock();
    let apic = controllers
        .iter()
        .find(|apic| gsi.wrapping_sub(apic.first) < apic.inputs)?;
    Some(run(apic, 0x10 + 2 * (gsi - apic.first)))
}

pub(super) fn route(gsi: u32, vector: u8, trigger: Trigger, polarity: Polarity, to: CpuId) -> bool {
    let Some(target) = cpu::by_id(to) else {
        return false;
    };
    let low = u32::from(vector)
        | if polarity == Polarity::Low {
            1 << 13
        } else {
            0
        }
        | if trigger == Trigger::Level {
            1 << 15
        } else {
            0
        };
    with_input(gsi, |apic, register| {
        apic.write(register, MASKED);
        apic.write(register + 1, target.apic_id() << 24);
        apic.write(register, low);
    })
    .is_some()
}

pub(super) fn set_mask(gsi: u32, masked: bool) {
    with_input(gsi, |apic, register| {
        let old = apic.read(register);
        apic.write(register, if masked { old | MASKED } else { old & !MASKED });
    });
}

/// A legacy line's input, by the MADT's overrides; without one, the same number, edge-triggered, active high.
pub(super) fn isa_to_gsi(line: u8) -> (u32, Trigger, Polarity) {
    let found = tables::get().overrides.iter().find(|o| o.source == line);
    let Some(entry) = found else {
        return (line.into(), Trigger::Edge, Polarity::High);
    };
    let polarity = if entry.flags & 3 == 3 {
        Polarity::Low
    } else {
        Polarity::High
    };
    let trigger = if entry.flags >> 2 & 3 == 3 {
        Trigger::Level
    } else {
        Trigger::Edge
    };
    (entry.gsi, trigger, polarity)
}
