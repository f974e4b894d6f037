//! Segments: the GDT, one a CPU and laid out as Linux lays it out (selectors show in signal frames and in what `lsl`
//! answers), and the TSS with the stacks that the processor switches to by itself.

use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::mem::offset_of;

use super::ioperm::PORTS;

pub const KERNEL_CS: u16 = 0x10;
pub const KERNEL_SS: u16 = 0x18;
/// What STAR points to: `sysret` adds 16 for CS and 8 for SS.
pub const USER_CS32: u16 = 0x23;
pub const USER_SS: u16 = 0x2b;
pub const USER_CS: u16 = 0x33;
const TSS_SELECTOR: u16 = 0x40;

/// Stacks for exceptions that may strike while no stack can be trusted: one each, so that one may interrupt another.
pub const IST_NMI: u8 = 1;
pub const IST_DOUBLE_FAULT: u8 = 2;
pub const IST_MACHINE_CHECK: u8 = 3;
pub const IST_DEBUG: u8 = 4;
/// Bytes of each; also their alignment, by which the assembly finds the top, where the CPU's data address lies.
pub const IST_STACK_SIZE: usize = 16384;

/// The task-state segment of 64-bit mode.
#[repr(C, packed(4))]
pub struct Tss {
    reserved0: u32,
    rsp: [Cell<u64>; 3],
    reserved1: u64,
    ist: [Cell<u64>; 7],
    reserved2: u64,
    reserved3: u16,
    /// Where the map of ports is; behind the end for none.
    io_map: Cell<u16>,
    /// A bit for each port that is closed, and the ones that the processor wants behind them.
    ports: [Cell<u8>; PORTS / 8 + 1],
}

const NO_PORTS: u16 = size_of::<Tss>() as u16;

impl Tss {
    /// Offset of the ring-0 stack pointer.
    pub(super) const RSP0: usize = offset_of!(Tss, rsp);

    pub(super) const fn new() -> Tss {
        Tss {
            reserved0: 0,
            rsp: [const { Cell::new(0) }; 3],
            reserved1: 0,
            ist: [const { Cell::new(0) }; 7],
            reserved2: 0,
            reserved3: 0,
            io_map: Cell::new(NO_PORTS),
            ports: [const { Cell::new(0xff) }; PORTS / 8 + 1],
        }
    }

    /// Shows the processor the map of closed ports.
    pub(super) fn set_ports(&self, words: impl Iterator<Item = u64>) {
        let map = (&raw const self.ports).cast::<u64>().cast_mut();
        for (index, word) in words.enumerate().take(PORTS / 64) {
            // SAFETY: within the map; as in `set_rsp0`.
            unsafe { map.add(index).write_unaligned(word) };
        }
        self.set_io_map(offset_of!(Tss, ports) as u16);
    }

    /// Closes every port.
    pub(super) fn close_ports(&self) {
        self.set_io_map(NO_PORTS);
    }

    fn set_io_map(&self, offset: u16) {
        let slot = (&raw const self.io_map).cast::<u16>().cast_mut();
        // SAFETY: as in `set_rsp0`.
        unsafe { slot.write_unaligned(offset) };
    }

    /// Sets the stack that entries from user space start on.
    #[inline(always)]
    pub(super) fn set_rsp0(&self, top: u64) {
        let slot = (&raw const self.rsp).cast::<u64>().cast_mut();
        // SAFETY: the field is a cell that only its CPU writes; unaligned since the structure is packed.
        unsafe { slot.write_unaligned(top) };
    }

    fn set_ist(&self, index: u8, top: u64) {
        let slot = (&raw const self.ist)
            .cast::<u64>()
            .cast_mut()
            .wrapping_add(usize::from(index) - 1);
        // SAFETY: indices are the four constants above; otherwise as in `set_rsp0`.
        unsafe { slot.write_unaligned(top) };
    }
}

/// The descriptor table.
pub struct Gdt {
    entries: UnsafeCell<[u64; 16]>,
}

/// An exception stack with its alignment.
#[repr(C, align(16384))]
pub struct IstStack(UnsafeCell<[u8; IST_STACK_SIZE]>);

// SAFETY: only ever used as a stack by one CPU.
unsafe impl Sync for IstStack {}

impl IstStack {
    pub const fn new() -> IstStack {
        IstStack(UnsafeCell::new([0; IST_STACK_SIZE]))
    }
}

/// The exception stacks of one CPU.
pub struct IstStacks([IstStack; 4]);

impl IstStacks {
    pub const fn new() -> IstStacks {
        IstStacks([const { IstStack::new() }; 4])
    }
}

/// The boot CPU's.
static BOOT_IST: IstStacks = IstStacks::new();

/// The boot CPU's exception stacks.
pub(super) fn boot_stacks() -> &'static IstStacks {
    &BOOT_IST
}

impl Gdt {
    pub(super) const fn new() -> Gdt {
        Gdt {
            entries: UnsafeCell::new([
                0,
                0x00cf_9b00_0000_ffff, // 0x08: 32-bit kernel code
                0x00af_9b00_0000_ffff, // 0x10: kernel code
                0x00cf_9300_0000_ffff, // 0x18: kernel data
                0x00cf_fb00_0000_ffff, // 0x23: 32-bit user code
                0x00cf_f300_0000_ffff, // 0x2b: user data
                0x00af_fb00_0000_ffff, // 0x33: user code
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            ]),
        }
    }
}

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// Loads this CPU's tables. `cpu` is its data, not yet installed: loading a null GS clears the GS base.
pub(super) fn load(cpu: &'static super::cpu::CpuLocal, stacks: &'static IstStacks) {
    for (index, stack) in [IST_NMI, IST_DOUBLE_FAULT, IST_MACHINE_CHECK, IST_DEBUG]
        .into_iter()
        .zip(&stacks.0)
    {
        let top = stack.0.get() as u64 + IST_STACK_SIZE as u64;
        // SAFETY: the last word of the stack, above where it starts; see `paranoid_entry` in entry.s.
        unsafe { ((top - 8) as *mut u64).write(core::ptr::from_ref(cpu) as u64) };
        cpu.tss.set_ist(index, top - 16);
    }
    let tss = &raw const cpu.tss as u64;
    let limit = size_of::<Tss>() as u64 - 1;
    let entries = cpu.gdt.entries.get();
    // SAFETY: this CPU's own table, not loaded yet.
    unsafe {
        (*entries)[8] = limit | (tss & 0xff_ffff) << 16 | 0x89 << 40 | (tss >> 24 & 0xff) << 56;
        (*entries)[9] = tss >> 32;
        (*entries)[15] = u64::from(cpu.id().0 & 0xfff) | 0x0040_f500_0000_0000;
    }
    let pointer = TablePointer {
        limit: 16 * 8 - 1,
        base: entries as u64,
    };
    // SAFETY: the table is complete and lives for ever; CS is reloaded by a far return to the next line.
    unsafe {
        asm!(
            "lgdt [{pointer}]",
            "push {cs}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "mov ds, {null:e}",
            "mov es, {null:e}",
            "mov fs, {null:e}",
            "mov gs, {null:e}",
            "mov ss, {ss:e}",
            "ltr {tss:x}",
            pointer = in(reg) &pointer,
            cs = in(reg) u64::from(KERNEL_CS),
            ss = in(reg) u32::from(KERNEL_SS),
            tss = in(reg) u32::from(TSS_SELECTOR),
            null = in(reg) 0u32,
            scratch = out(reg) _,
        );
    }
}
