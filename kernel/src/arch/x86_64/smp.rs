//! Starting the other CPUs, one after the other, as the MADT lists them.

use alloc::alloc::{Layout, alloc_zeroed};
use alloc::boxed::Box;
use core::sync::atomic::{AtomicU32, Ordering};

use super::cpu::{self, CpuLocal, MAX_CPUS};
use super::descriptors::{self, IstStacks};
use super::{apic, entry, features, idt, layout, msr};
use crate::device::acpi::tables;
use crate::mm::kstack::KernelStack;
use crate::{boot, time};

core::arch::global_asm!(include_str!("trampoline.s"), options(att_syntax));

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
    static trampoline_gdt_pointer: u8;
    static trampoline_far32: u8;
    static trampoline_far64: u8;
    static trampoline_data: u8;
    fn ap_entry();
}

/// How long a CPU gets to show up. A host may be busy with other things.
const PATIENCE_NS: u64 = 1_000_000_000;
/// How long until the second STARTUP, for processors that miss the first.
const SECOND_TRY_NS: u64 = 10_000_000;

/// Number of the CPU that has last come up. Release by it, Acquire by its starter.
static ARRIVED: AtomicU32 = AtomicU32::new(0);

/// What a CPU is handed.
struct Handover {
    cpu: &'static CpuLocal,
    stacks: &'static IstStacks,
}

/// Starts every CPU that the firmware lists and the command line allows.
pub fn start_all() {
    let cmdline = &boot::info().cmdline;
    let limit = match (
        cmdline.has("nosmp"),
        cmdline.number("maxcpus"),
        cmdline.number("nr_cpus"),
    ) {
        (true, ..) => 1,
        (_, Some(n), other) => n.min(other.unwrap_or(n)).clamp(1, MAX_CPUS as u64),
        (_, None, other) => other.unwrap_or(MAX_CPUS as u64).clamp(1, MAX_CPUS as u64),
    } as usize;
    let own = cpu::local().apic_id();
    let others = tables::get().cpus.iter().copied().filter(|&id| id != own);
    let Some(page) = boot::info().trampoline.filter(|_| apic::present()) else {
        if others.count() > 0 {
            ::log::warn!("smp: no low memory to start other CPUs through");
        }
        return;
    };
    let present = others.clone().count() + 1;
    if present > MAX_CPUS {
        ::log::warn!("smp: of {present} CPUs {MAX_CPUS} can be used");
    }
    prepare(page);
    let start = time::monotonic_ns();
    for apic_id in others {
        let number = cpu::online();
        if number >= limit {
            break;
        }
        if apic_id > 0xfe && !apic::is_x2apic() {
            ::log::warn!("smp: CPU with APIC id {apic_id} needs x2APIC");
            continue;
        }
        if !start_one(page, number as u32, apic_id) {
            ::log::warn!("smp: CPU {number} (APIC id {apic_id}) did not start");
            // It may yet wake up on what it was given: nobody may be started through the same page.
            break;
        }
    }
    let took = (time::monotonic_ns() - start) / 1000;
    ::log::info!("smp: {} CPUs, others started in {took} us", cpu::online());
}

/// Copies the trampoline to its page and builds the tables behind it.
fn prepare(page: u64) {
    let base = (layout::DIRECT_MAP + page) as *mut u8;
    let start = (&raw const trampoline_start) as usize;
    let len = (&raw const trampoline_end) as usize - start;
    let at = |symbol: *const u8| symbol as usize - start;
    // SAFETY: four pages that the memory map reserves for this; all offsets are inside the code copied to the first.
    unsafe {
        core::ptr::write_bytes(base, 0, 4 * 4096);
        core::ptr::copy_nonoverlapping(&raw const trampoline_start, base, len);
        for field in [
            at(&raw const trampoline_gdt_pointer) + 2,
            at(&raw const trampoline_far32),
            at(&raw const trampoline_far64),
        ] {
            let slot = base.add(field).cast::<u32>();
            slot.write_unaligned(slot.read_unaligned() + page as u32);
        }
        // The kernel's half of the running tables, and the lowest 2 MiB as they are.
        let table = |number: usize| base.add(4096 * number).cast::<u64>();
        let root = (layout::DIRECT_MAP + (msr::cr3() & 0xf_ffff_ffff_f000)) as *const u64;
        core::ptr::copy_nonoverlapping(root.add(256), table(1).add(256), 256);
        table(1).write(page + 0x2003);
        table(2).write(page + 0x3003);
        table(3).write(0x83);
    }
}

fn start_one(page: u64, number: u32, apic_id: u32) -> bool {
    let Ok(stack) = KernelStack::new() else {
        return false;
    };
    let Some(stacks) = allocate_ist() else {
        return false;
    };
    let cpu: &'static CpuLocal = Box::leak(Box::new(CpuLocal::new(number, apic_id)));
    let handover = Box::leak(Box::new(Handover { cpu, stacks }));
    let words = [
        stack.top() as u64,
        msr::cr3() & 0xf_ffff_ffff_f000,
        core::ptr::from_ref(handover) as u64,
        ap_entry as *const () as u64,
        if features::has(features::Feature::NX) {
            1 << 11
        } else {
            0
        },
    ];
    // The CPU uses it for ever: it becomes the idle task's.
    core::mem::forget(stack);
    let data = (&raw const trampoline_data) as u64 - (&raw const trampoline_start) as u64;
    // SAFETY: the data words of the trampoline's page, which no CPU is using: each is waited for.
    unsafe { ((layout::DIRECT_MAP + page + data) as *mut [u64; 5]).write_unaligned(words) };
    apic::send_init(apic_id);
    // Processors since the P6 need no pause here; the old 10 ms would add up.
    for wait_ns in [SECOND_TRY_NS, PATIENCE_NS] {
        apic::send_startup(apic_id, (page >> 12) as u8);
        let deadline = time::monotonic_ns() + wait_ns;
        while time::monotonic_ns() < deadline {
            if ARRIVED.load(Ordering::Acquire) == number {
                cpu::set_online(number as usize + 1);
                return true;
            }
            cpu::relax();
        }
    }
    false
}

fn allocate_ist() -> Option<&'static IstStacks> {
    // Zeroed in place: too large to be built on the stack.
    // SAFETY: zero bytes are a valid `IstStacks`; the size is not zero.
    unsafe {
        alloc_zeroed(Layout::new::<IstStacks>())
            .cast::<IstStacks>()
            .as_ref()
    }
}

/// The first Rust code of another CPU.
#[unsafe(no_mangle)]
extern "C" fn ap_main(handover: &'static Handover) -> ! {
    descriptors::load(handover.cpu, handover.stacks);
    handover.cpu.install();
    idt::load();
    features::enable();
    entry::init_syscalls();
    apic::init_cpu();
    let id = handover.cpu.id();
    ARRIVED.store(id.0, Ordering::Release);
    // The starter counts this CPU in before anything here may look at the count.
    while cpu::online() <= id.index() {
        cpu::relax();
    }
    crate::start_other_cpu(id)
}
