//! The local APIC: interrupts of this CPU, its timer, messages to other CPUs. In x2APIC mode by MSRs, else by MMIO.
//!
//! Reference: Intel SDM volume 3, chapter 11.

use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering};

use super::cpu::{self, CpuId};
use super::features::{self, Feature};
use super::{irq, msr};
use crate::mm::kmap;

const ID: u32 = 0x20;
const TASK_PRIORITY: u32 = 0x80;
const EOI: u32 = 0xb0;
const SPURIOUS: u32 = 0xf0;
const ERROR_STATUS: u32 = 0x280;
const COMMAND: u32 = 0x300;
const COMMAND_HIGH: u32 = 0x310;
const LVT_TIMER: u32 = 0x320;
const LVT_LINT0: u32 = 0x350;
const LVT_LINT1: u32 = 0x360;
const LVT_ERROR: u32 = 0x370;
const TIMER_INITIAL: u32 = 0x380;
const TIMER_CURRENT: u32 = 0x390;
const TIMER_DIVIDE: u32 = 0x3e0;

const MASKED: u32 = 1 << 16;
const NMI: u32 = 4 << 8;
const TSC_DEADLINE_MODE: u32 = 2 << 17;

const NONE: u8 = 0;
const XAPIC: u8 = 1;
const X2APIC: u8 = 2;

static MODE: AtomicU8 = AtomicU8::new(NONE);
static BASE: AtomicPtr<u32> = AtomicPtr::new(core::ptr::null_mut());
/// Timer ticks per nanosecond as a fraction of 2^32; 0 while not measured, or when deadlines are in TSC ticks.
static TIMER_SCALE: AtomicU64 = AtomicU64::new(0);

fn read(register: u32) -> u32 {
    if MODE.load(Ordering::Relaxed) == X2APIC {
        // SAFETY: the mode is on.
        unsafe { msr::read(msr::X2APIC_FIRST + (register >> 4)) as u32 }
    } else {
        // SAFETY: the mapped register page; `MODE` is set after `BASE`.
        unsafe {
            BASE.load(Ordering::Relaxed)
                .byte_add(register as usize)
                .read_volatile()
        }
    }
}

fn write(register: u32, value: u32) {
    if MODE.load(Ordering::Relaxed) == X2APIC {
        // SAFETY: the mode is on; callers write values that the register takes.
        unsafe { msr::write(msr::X2APIC_FIRST + (register >> 4), value.into()) };
    } else {
        // SAFETY: as in `read`.
        unsafe {
            BASE.load(Ordering::Relaxed)
                .byte_add(register as usize)
                .write_volatile(value)
        };
    }
}

/// Whether there is a local APIC in use.
pub fn present() -> bool {
    MODE.load(Ordering::Relaxed) != NONE
}

/// Finds and maps the boot CPU's APIC. Whether there is one.
pub(super) fn init_boot_cpu() -> bool {
    if !features::has(Feature::APIC) {
        ::log::warn!("no local APIC: no timer, no devices' interrupts, one CPU");
        return false;
    }
    // SAFETY: processors with an APIC have the register.
    let base = unsafe { msr::read(msr::APIC_BASE) };
    // The mode cannot be left once firmware has turned it on.
    let already = base & 1 << 10 != 0;
    if already || features::has(Feature::X2APIC) {
        MODE.store(X2APIC, Ordering::Relaxed);
    } else {
        let physical = base & 0xf_ffff_f000;
        match kmap::map_mmio(
            crate::mm::PhysAddr(physical),
            4096,
            kmap::CachePolicy::Uncached,
        ) {
            Ok(pointer) => BASE.store(pointer.cast(), Ordering::Relaxed),
            Err(_) => {
                ::log::warn!("the local APIC could not be mapped");
                return false;
            }
        }
        MODE.store(XAPIC, Ordering::Relaxed);
    }
    init_cpu();
    ::log::info!(
        "local APIC: {}, id {}",
        if is_x2apic() { "x2APIC" } else { "xAPIC" },
        id()
    );
    true
}

pub(super) fn is_x2apic() -> bool {
    MODE.load(Ordering::Relaxed) == X2APIC
}

/// Turns this CPU's APIC on.
pub(super) fn init_cpu() {
    if !present() {
        return;
    }
    // SAFETY: enabling what is there; x2APIC only where the boot CPU has it.
    unsafe {
        let base = msr::read(msr::APIC_BASE) | 1 << 11;
        msr::write(msr::APIC_BASE, base);
        if is_x2apic() {
            msr::write(msr::APIC_BASE, base | 1 << 10);
        }
    }
    write(TASK_PRIORITY, 0);
    write(LVT_LINT0, MASKED);
    // Only the boot CPU's LINT1 is wired to the NMI line, as firmware has it nearly everywhere.
    write(
        LVT_LINT1,
        if cpu::current_id().0 == 0 {
            NMI
        } else {
            MASKED
        },
    );
    write(LVT_ERROR, irq::ERROR.into());
    write(LVT_TIMER, MASKED | u32::from(irq::TIMER));
    write(SPURIOUS, 1 << 8 | u32::from(irq::SPURIOUS));
}

/// This CPU's APIC id.
pub(super) fn id() -> u32 {
    if is_x2apic() {
        read(ID)
    } else {
        read(ID) >> 24
    }
}

#[inline]
pub(super) fn end_of_interrupt() {
    write(EOI, 0);
}

pub(super) fn error_status() -> u32 {
    write(ERROR_STATUS, 0);
    read(ERROR_STATUS)
}

/// Sends a command to a CPU's APIC.
fn send(apic_id: u32, command: u32) {
    if is_x2apic() {
        // SAFETY: the mode is on. Earlier stores must be seen by who gets the message: a serialising fence, as the
        // write itself is not one.
        unsafe {
            core::arch::asm!("mfence", "lfence", options(nostack, preserves_flags));
            msr::write(
                msr::X2APIC_FIRST + (COMMAND >> 4),
                u64::from(apic_id) << 32 | u64::from(command),
            );
        }
        return;
    }
    let _irq = irq::IrqGuard::new();
    wait_idle();
    write(COMMAND_HIGH, apic_id << 24);
    write(COMMAND, command);
}

/// Waits until the last message has left, for a bounded time.
fn wait_idle() {
    for _ in 0..100_000 {
        if is_x2apic() || read(COMMAND) & 1 << 12 == 0 {
            return;
        }
        cpu::relax();
    }
}

/// Raises `vector` on a CPU.
pub(super) fn send_vector(target: CpuId, vector: u8) {
    if let Some(target) = cpu::by_id(target)
        && present()
    {
        send(target.apic_id(), u32::from(vector));
    }
}

/// Raises an NMI on a CPU.
pub(super) fn send_nmi(target: CpuId) {
    if let Some(target) = cpu::by_id(target)
        && present()
    {
        send(target.apic_id(), NMI | 1 << 14);
    }
}

/// INIT, the first step of starting a CPU.
pub(super) fn send_init(apic_id: u32) {
    send(apic_id, 0x4500);
    wait_idle();
}

/// STARTUP, which makes a CPU run at `page` in real mode.
pub(super) fn send_startup(apic_id: u32, page: u8) {
    send(apic_id, 0x4600 | u32::from(page));
    wait_idle();
}

// --- The timer ---------------------------------------------------------------------------------------

/// Whether the timer takes TSC values.
pub fn timer_is_tsc_deadline() -> bool {
    present() && features::has(Feature::TSC_DEADLINE)
}

/// Prepares this CPU's timer, stopped.
pub fn init_timer() {
    if !present() {
        return;
    }
    if timer_is_tsc_deadline() {
        write(LVT_TIMER, TSC_DEADLINE_MODE | u32::from(irq::TIMER));
        // SAFETY: the processor has the register. The fence orders the mode before the first deadline.
        unsafe {
            core::arch::asm!("mfence", options(nostack, preserves_flags));
            msr::write(msr::TSC_DEADLINE, 0);
        }
    } else {
        write(TIMER_DIVIDE, 0b1011); // by one
        write(TIMER_INITIAL, 0);
        write(LVT_TIMER, irq::TIMER.into());
    }
}

/// Starts counting down from the top, masked, to measure the timer's rate.
pub fn timer_measure_start() {
    write(TIMER_DIVIDE, 0b1011);
    write(LVT_TIMER, MASKED | u32::from(irq::TIMER));
    write(TIMER_INITIAL, u32::MAX);
}

/// Ticks since [`timer_measure_start`].
pub fn timer_measured() -> u32 {
    u32::MAX - read(TIMER_CURRENT)
}

/// Tells the timer's rate, as ticks per nanosecond times 2^32.
pub fn set_timer_scale(scale: u64) {
    TIMER_SCALE.store(scale, Ordering::Relaxed);
    init_timer();
}

/// Makes this CPU's timer fire at TSC value `deadline`, which is `in_ns` nanoseconds away. One in the past fires at once.
#[inline]
pub fn timer_arm(deadline: u64, in_ns: u64) {
    if !present() {
        return;
    }
    if timer_is_tsc_deadline() {
        // SAFETY: the processor has the register. Zero would disarm.
        unsafe { msr::write(msr::TSC_DEADLINE, deadline.max(1)) };
    } else {
        let ticks = (u128::from(in_ns) * u128::from(TIMER_SCALE.load(Ordering::Relaxed))) >> 32;
        write(TIMER_INITIAL, ticks.clamp(1, u32::MAX.into()) as u32);
    }
}
