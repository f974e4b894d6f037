//! Interrupts: on and off on this CPU, vectors and their handlers, and the way from a device's line to a vector.
//!
//! Vectors are the same on all CPUs. Handlers run with interrupts off and do not nest; they may wake and mark, never
//! block. A level-triggered line is acknowledged after its handlers, which must have quieted the device by then.

use core::arch::asm;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

pub use ksync::IrqGuard;
use ksync::IrqSpinLock;

use super::cpu::{self, CpuId, VECTORS};
use super::thread::UserRegs;
use super::{apic, ioapic, ipi};

pub use ioapic::{Polarity, Trigger};

/// First vector for devices; 32 to 47 are where the legacy controllers were parked.
const FIRST_DEVICE: u8 = 0x30;
const LAST_DEVICE: u8 = 0xef;
pub(super) const TIMER: u8 = 0xf0;
pub(super) const RESCHEDULE: u8 = 0xf1;
pub(super) const CALL: u8 = 0xf2;
pub(super) const ERROR: u8 = 0xfe;
pub(super) const SPURIOUS: u8 = 0xff;

/// An interrupt vector that a device owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vector(u8);

impl Vector {
    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }
}

/// A handler and its argument. Written once, the argument first.
struct Slot {
    handler: AtomicPtr<()>,
    argument: AtomicUsize,
}

static SLOTS: [Slot; VECTORS] = [const {
    Slot {
        handler: AtomicPtr::new(core::ptr::null_mut()),
        argument: AtomicUsize::new(0),
    }
}; VECTORS];
static NEXT: IrqSpinLock<u8> = IrqSpinLock::new(FIRST_DEVICE);
/// Interrupts on vectors that nobody registered.
static STRAY: AtomicU64 = AtomicU64::new(0);

/// Whether interrupts are on.
#[inline]
pub fn enabled() -> bool {
    let flags: u64;
    // SAFETY: reads the flags by way of the stack.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) };
    flags & 1 << 9 != 0
}

/// Turns interrupts on.
#[inline]
pub fn enable() {
    // SAFETY: the IDT is loaded before anything calls this.
    unsafe { asm!("sti", options(nostack)) };
}

/// Turns interrupts off.
#[inline]
pub fn disable() {
    // SAFETY: always possible.
    unsafe { asm!("cli", options(nostack)) };
}

/// Takes a vector for `handler(argument)`; `None` when all are taken.
pub fn register(handler: fn(usize), argument: usize) -> Option<Vector> {
    let mut next = NEXT.lock();
    if *next > LAST_DEVICE {
        return None;
    }
    let vector = *next;
    *next += 1;
    let slot = &SLOTS[usize::from(vector)];
    slot.argument.store(argument, Ordering::Relaxed);
    // Pairs with the Acquire in `dispatch`.
    slot.handler.store(handler as *mut (), Ordering::Release);
    Some(Vector(vector))
}

/// Leads a global system interrupt (an input of an I/O APIC) to a vector on the boot CPU, unmasked. Whether there is
/// such an input.
pub fn route_gsi(gsi: u32, vector: Vector, trigger: Trigger, polarity: Polarity) -> bool {
    ioapic::route(gsi, vector.0, trigger, polarity, CpuId(0))
}

/// Masks or unmasks a global system interrupt.
pub fn mask_gsi(gsi: u32, masked: bool) {
    ioapic::set_mask(gsi, masked);
}

/// Where a legacy interrupt line arrives, by the firmware's overrides.
pub fn isa_to_gsi(line: u8) -> (u32, Trigger, Polarity) {
    ioapic::isa_to_gsi(line)
}

/// Address and data that a device writes to raise `vector` on the boot CPU.
pub fn msi_message(vector: Vector) -> (u64, u32) {
    let destination = cpu::by_id(CpuId(0)).map_or(0, |cpu| u64::from(cpu.apic_id() & 0xff));
    (0xfee0_0000 | destination << 12, vector.0.into())
}

/// Interrupts that a CPU has taken on a vector.
pub fn count(cpu: CpuId, vector: u8) -> u64 {
    cpu::by_id(cpu).map_or(0, |cpu| {
        cpu.interrupts[usize::from(vector)].load(Ordering::Relaxed)
    })
}

/// Interrupts that a CPU has taken in all.
pub fn total(cpu: CpuId) -> u64 {
    (0..=u8::MAX).map(|vector| count(cpu, vector)).sum()
}

/// The vectors of the kernel's own, with the names that `/proc/interrupts` gives them.
pub const SYSTEM_VECTORS: [(u8, &str, &str); 5] = [
    (2, "NMI", "Non-maskable interrupts"),
    (TIMER, "LOC", "Local timer interrupts"),
    (SPURIOUS, "SPU", "Spurious interrupts"),
    (RESCHEDULE, "RES", "Rescheduling interrupts"),
    (CALL, "CAL", "Function call interrupts"),
];

/// Interrupts on vectors without a handler.
pub fn stray() -> u64 {
    STRAY.load(Ordering::Relaxed)
}

/// Every interrupt, from entry.s.
pub(super) extern "C" fn interrupt(regs: &mut UserRegs, vector: u8) {
    let local = cpu::local();
    let counter = &local.interrupts[usize::from(vector)];
    // Only this CPU writes, with interrupts off: no locked instruction needed.
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    local.in_interrupt.store(1, Ordering::Relaxed);
    match vector {
        TIMER => {
            apic::end_of_interrupt();
            crate::time::timer::interrupt(regs);
        }
        RESCHEDULE => {
            apic::end_of_interrupt();
            crate::sched::on_reschedule_ipi();
        }
        CALL => {
            apic::end_of_interrupt();
            ipi::run_calls();
        }
        SPURIOUS => {}
        ERROR => {
            apic::end_of_interrupt();
            ::log::warn!(
                "APIC error on CPU {}: {:#x}",
                local.id().0,
                apic::error_status()
            );
        }
        _ => {
            dispatch(vector);
            apic::end_of_interrupt();
        }
    }
    crate::log::wake_readers();
    local.in_interrupt.store(0, Ordering::Relaxed);
}

fn dispatch(vector: u8) {
    let slot = &SLOTS[usize::from(vector)];
    let handler = slot.handler.load(Ordering::Acquire);
    if handler.is_null() {
        STRAY.fetch_add(1, Ordering::Relaxed);
        return;
    }
    // SAFETY: only `register` stores here, and it stores functions of this type.
    let handler: fn(usize) = unsafe { core::mem::transmute::<*mut (), fn(usize)>(handler) };
    handler(slot.argument.load(Ordering::Relaxed));
}
