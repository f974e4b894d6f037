//! The format of page-table entries, and the instructions that load tables and drop translations.

use core::arch::asm;

/// An entry of any level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct Pte(pub u64);

impl Pte {
    pub const EMPTY: Pte = Pte(0);
    pub const PRESENT: u64 = 1;
    pub const WRITE: u64 = 1 << 1;
    pub const USER: u64 = 1 << 2;
    pub const WRITE_THROUGH: u64 = 1 << 3;
    pub const NO_CACHE: u64 = 1 << 4;
    pub const ACCESSED: u64 = 1 << 5;
    pub const DIRTY: u64 = 1 << 6;
    /// In the levels above the last: maps a large page.
    pub const LARGE: u64 = 1 << 7;
    /// Survives a load of CR3: for the kernel's half.
    pub const GLOBAL: u64 = 1 << 8;
    /// Ours: the page is not counted (the zero page, device memory, the kernel's own pages).
    pub const UNCOUNTED: u64 = 1 << 9;
    /// Ours, in an entry that is not present: the page is kept while its area allows no access.
    pub const HIDDEN: u64 = 1 << 8;
    /// Ours: a userfaultfd is asked before the page is written.
    pub const UFFD_WP: u64 = 1 << 10;
    /// Ours: written since `clear_refs` last asked. An entry that may be written has it.
    pub const SOFT_DIRTY: u64 = 1 << 11;
    /// The bits of the protection key.
    pub const PKEY: u64 = 0xf << 59;
    pub const NO_EXEC: u64 = 1 << 63;
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

    /// An entry for the page at `phys` with these bits.
    #[inline(always)]
    pub const fn new(phys: u64, bits: u64) -> Pte {
        Pte((phys & Self::ADDRESS) | bits)
    }

    /// Whether there is nothing, not even a hidden page.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    #[inline(always)]
    pub const fn is_present(self) -> bool {
        self.0 & Self::PRESENT != 0
    }

    #[inline(always)]
    pub const fn is_writable(self) -> bool {
        self.0 & Self::WRITE != 0
    }

    #[inline(always)]
    pub const fn is_large(self) -> bool {
        self.0 & Self::LARGE != 0
    }

    #[inline(always)]
    pub const fn is_uncounted(self) -> bool {
        self.0 & Self::UNCOUNTED != 0
    }

    /// The physical address in it.
    #[inline(always)]
    pub const fn phys(self) -> u64 {
        self.0 & Self::ADDRESS
    }

    /// The number of the frame in it.
    #[inline(always)]
    pub const fn pfn(self) -> u32 {
        (self.phys() >> 12) as u32
    }

    #[inline(always)]
    #[must_use]
    pub const fn with(self, bits: u64) -> Pte {
        Pte(self.0 | bits)
    }

    #[inline(always)]
    #[must_use]
    pub const fn without(self, bits: u64) -> Pte {
        Pte(self.0 & !bits)
    }
}

/// The index into the table of `level` (1 is the last) for an address.
#[inline(always)]
pub const fn index(address: usize, level: u32) -> usize {
    (address >> (12 + 9 * (level - 1))) & 511
}

/// Drops this CPU's translation of one page of the current address space, and what it cached of upper levels.
#[inline(always)]
pub fn flush_page(address: usize) {
    // SAFETY: dropping a translation only costs time.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
}

/// Drops all translations of this CPU's current address space (PCID) but the global ones.
#[inline(always)]
pub fn flush_user() {
    let cr3: u64;
    // SAFETY: loading the register with its own value drops translations and changes nothing else.
    unsafe {
        asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) cr3, options(nostack, preserves_flags));
    }
    let _ = cr3;
}

/// Drops every translation of this CPU, the global ones too.
pub fn flush_all() {
    const PGE: u64 = 1 << 7;
    // SAFETY: toggling CR4.PGE drops all translations; the register ends as it was.
    unsafe {
        asm!(
            "mov {old}, cr4",
            "mov {new}, {old}",
            "xor {new}, {pge}",
            "mov cr4, {new}",
            "mov cr4, {old}",
            old = out(reg) _, new = out(reg) _, pge = in(reg) PGE,
            options(nostack)
        );
    }
}

/// Makes the table at the address in `value` this CPU's top-level table. Where PCIDs are on, bits 0 to 11 choose one and
/// bit 63 keeps its translations; without the bit they are dropped, as all are without PCIDs.
///
/// # Safety
/// The table maps the kernel as every other does, and stays allocated while loaded; translations that are kept are true.
#[inline(always)]
pub unsafe fn load_root(value: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("mov cr3, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Sets the page attribute table so that index 1 (`WRITE_THROUGH` alone) is write-combining; the others keep
/// their power-on meaning. Also turns on global pages, and write protection for the kernel.
pub fn init_cpu() {
    const IA32_PAT: u32 = 0x277;
    // Power-on value 0x0007040600070406 with entry 1 changed from write-through (4) to write-combining (1).
    const LOW: u32 = 0x0007_0106;
    const HIGH: u32 = 0x0007_0406;
    // SAFETY: no mapping uses entry 1 yet on this CPU; the control bits only tighten or speed up what is mapped.
    unsafe {
        asm!("wrmsr", in("ecx") IA32_PAT, in("eax") LOW, in("edx") HIGH, options(nostack, preserves_flags));
        asm!(
            "mov {t}, cr4", "or {t}, 0x80", "mov cr4, {t}",
            "mov {t}, cr0", "or {t}, 0x10000", "mov cr0, {t}",
            t = out(reg) _, options(nostack)
        );
    }
}

/// Zeroes a page.
///
/// # Safety
/// `page` is page-aligned, mapped writable, and nobody else's.
#[inline(always)]
pub unsafe fn clear_page(page: *mut u8) {
    // SAFETY: the caller's promise. Plain wide stores beat `rep stosq` wherever microcode or an emulator starts slowly,
    // and lose little where it is fast.
    unsafe {
        asm!(
            "xor {z:e}, {z:e}",
            "mov {n:e}, 32",
            "2:",
            "mov [{p}], {z}", "mov [{p} + 8], {z}", "mov [{p} + 16], {z}", "mov [{p} + 24], {z}",
            "mov [{p} + 32], {z}", "mov [{p} + 40], {z}", "mov [{p} + 48], {z}", "mov [{p} + 56], {z}",
            "mov [{p} + 64], {z}", "mov [{p} + 72], {z}", "mov [{p} + 80], {z}", "mov [{p} + 88], {z}",
            "mov [{p} + 96], {z}", "mov [{p} + 104], {z}", "mov [{p} + 112], {z}", "mov [{p} + 120], {z}",
            "sub {p}, -128",
            "dec {n:e}",
            "jnz 2b",
            p = inout(reg) page => _, n = out(reg) _, z = out(reg) _,
            options(nostack)
        );
    }
}

/// Copies a page.
///
/// # Safety
/// Both are page-aligned and mapped, `to` writable and nobody else's; they do not overlap.
#[inline(always)]
pub unsafe fn copy_page(to: *mut u8, from: *const u8) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "mov {n:e}, 64",
            "2:",
            "mov {a}, [{s}]", "mov {b}, [{s} + 8]", "mov {c}, [{s} + 16]", "mov {e}, [{s} + 24]",
            "mov [{d}], {a}", "mov [{d} + 8], {b}", "mov [{d} + 16], {c}", "mov [{d} + 24], {e}",
            "mov {a}, [{s} + 32]", "mov {b}, [{s} + 40]", "mov {c}, [{s} + 48]", "mov {e}, [{s} + 56]",
            "mov [{d} + 32], {a}", "mov [{d} + 40], {b}", "mov [{d} + 48], {c}", "mov [{d} + 56], {e}",
            "add {s}, 64",
            "add {d}, 64",
            "dec {n:e}",
            "jnz 2b",
            d = inout(reg) to => _, s = inout(reg) from => _, n = out(reg) _,
            a = out(reg) _, b = out(reg) _, c = out(reg) _, e = out(reg) _,
            options(nostack)
        );
    }
}
