//! What the processor can do: found by CPUID, switched on, and listed for `/proc/cpuinfo` and the auxiliary vector.

use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::sync::atomic::{AtomicU64, Ordering};

use super::msr::{self, cr4};
use super::{fpu, layout};

bitflags::bitflags! {
    /// Features that the kernel acts on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Feature: u64 {
        const FSGSBASE = 1 << 0;
        const SMEP = 1 << 1;
        const SMAP = 1 << 2;
        const UMIP = 1 << 3;
        const PCID = 1 << 4;
        const INVPCID = 1 << 5;
        const XSAVE = 1 << 6;
        const X2APIC = 1 << 7;
        const TSC_DEADLINE = 1 << 8;
        const NX = 1 << 9;
        const GIB_PAGES = 1 << 10;
        const ERMS = 1 << 11;
        const RDTSCP = 1 << 12;
        const RDPID = 1 << 13;
        const INVARIANT_TSC = 1 << 14;
        const RDRAND = 1 << 15;
        const RDSEED = 1 << 16;
        const HYPERVISOR = 1 << 17;
        const PGE = 1 << 18;
        const ARAT = 1 << 19;
        const MWAIT = 1 << 20;
        const APIC = 1 << 21;
        const PKU = 1 << 22;
    }
}

static FEATURES: AtomicU64 = AtomicU64::new(0);

/// Whether the boot CPU has a feature (or all of several), and it is switched on.
#[inline(always)]
pub fn has(feature: Feature) -> bool {
    FEATURES.load(Ordering::Relaxed) & feature.bits() == feature.bits()
}

/// Whether pages have protection keys that programs use.
pub fn has_protection_keys() -> bool {
    has(Feature::PKU)
}

/// The highest leaf of a range of CPUID leaves; 0 if the range is not there.
pub fn max_leaf(base: u32) -> u32 {
    let max = __cpuid(base).eax;
    if max & 0xffff_0000 == base & 0xffff_0000 {
        max
    } else {
        0
    }
}

fn detect() -> Feature {
    let leaf1 = __cpuid(1);
    let leaf7 = if max_leaf(0) >= 7 {
        __cpuid_count(7, 0)
    } else {
        __cpuid(0x8fff_ffff)
    };
    let has7 = max_leaf(0) >= 7;
    let extended = max_leaf(0x8000_0000);
    let ext1 = if extended >= 0x8000_0001 {
        __cpuid(0x8000_0001).edx
    } else {
        0
    };
    let ext7 = if extended >= 0x8000_0007 {
        __cpuid(0x8000_0007).edx
    } else {
        0
    };
    let arat = max_leaf(0) >= 6 && __cpuid(6).eax & 4 != 0;
    let mut found = Feature::empty();
    for (bit, feature) in [
        (leaf1.edx >> 9 & 1, Feature::APIC),
        (leaf1.edx >> 13 & 1, Feature::PGE),
        (leaf1.ecx >> 3 & 1, Feature::MWAIT),
        (leaf1.ecx >> 17 & 1, Feature::PCID),
        (leaf1.ecx >> 21 & 1, Feature::X2APIC),
        (leaf1.ecx >> 24 & 1, Feature::TSC_DEADLINE),
        (leaf1.ecx >> 26 & 1, Feature::XSAVE),
        (leaf1.ecx >> 30 & 1, Feature::RDRAND),
        (leaf1.ecx >> 31, Feature::HYPERVISOR),
        (u32::from(has7) & leaf7.ebx, Feature::FSGSBASE),
        (u32::from(has7) & leaf7.ebx >> 7, Feature::SMEP),
        (u32::from(has7) & leaf7.ebx >> 9, Feature::ERMS),
        (u32::from(has7) & leaf7.ebx >> 10, Feature::INVPCID),
        (u32::from(has7) & leaf7.ebx >> 18, Feature::RDSEED),
        (u32::from(has7) & leaf7.ebx >> 20, Feature::SMAP),
        (u32::from(has7) & leaf7.ecx >> 2, Feature::UMIP),
        (u32::from(has7) & leaf7.ecx >> 3, Feature::PKU),
        (u32::from(has7) & leaf7.ecx >> 22, Feature::RDPID),
        (u32::from(arat), Feature::ARAT),
        (ext1 >> 20 & 1, Feature::NX),
        (ext1 >> 26 & 1, Feature::GIB_PAGES),
        (ext1 >> 27 & 1, Feature::RDTSCP),
        (ext7 >> 8 & 1, Feature::INVARIANT_TSC),
    ] {
        if bit & 1 != 0 {
            found |= feature;
        }
    }
    found
}

/// Command-line switches, as Linux spells them.
fn disabled() -> Feature {
    let cmdline = &crate::boot::info().cmdline;
    let mut off = Feature::empty();
    for (name, feature) in [
        ("nosmep", Feature::SMEP),
        ("nosmap", Feature::SMAP),
        ("nopcid", Feature::PCID),
        ("nofsgsbase", Feature::FSGSBASE),
        ("noxsave", Feature::XSAVE),
        ("nopku", Feature::PKU),
        ("nox2apic", Feature::X2APIC),
    ] {
        if cmdline.has(name) {
            off |= feature;
        }
    }
    // `clearcpuid=` of a feature by the name that /proc/cpuinfo shows.
    for names in cmdline.values("clearcpuid") {
        for name in names.split(',') {
            off |= match name {
                "fsgsbase" => Feature::FSGSBASE,
                "smep" => Feature::SMEP,
                "smap" => Feature::SMAP,
                "umip" => Feature::UMIP,
                "pcid" => Feature::PCID,
                "xsave" => Feature::XSAVE,
                "pku" => Feature::PKU,
                "x2apic" => Feature::X2APIC,
                "tsc_deadline_timer" => Feature::TSC_DEADLINE,
                _ => Feature::empty(),
            };
        }
    }
    off
}

/// Finds the boot CPU's features and opens or closes the kernel's own code for user memory accordingly.
pub(super) fn init_boot_cpu() {
    sort_fixups();
    let mut features = detect().difference(disabled());
    if !features.contains(Feature::XSAVE) {
        // Signal frames have room for the keys' rights in the extended format only.
        features.remove(Feature::PKU);
    }
    FEATURES.store(features.bits(), Ordering::Relaxed);
    fpu::init_mask();
    if has(Feature::SMAP) {
        apply_patches();
    }
}

/// Switches this CPU's features on: those that the boot CPU has.
pub(super) fn enable() {
    let mut bits = cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::MCE;
    for (feature, bit) in [
        (Feature::PGE, cr4::PGE),
        (Feature::FSGSBASE, cr4::FSGSBASE),
        (Feature::SMEP, cr4::SMEP),
        (Feature::SMAP, cr4::SMAP),
        (Feature::UMIP, cr4::UMIP),
        (Feature::PCID, cr4::PCIDE),
        (Feature::XSAVE, cr4::OSXSAVE),
        (Feature::PKU, cr4::PKE),
    ] {
        if has(feature) {
            bits |= bit;
        }
    }
    let clear = cr4::TSD;
    // SAFETY: each bit is backed by its CPUID bit; CR3's low bits are zero, as PCIDE asks; kernel code touches user
    // memory only between stac and clac. CR0: native FPU errors, no emulation, no lazy trap, write protection.
    unsafe {
        msr::set_cr0(
            msr::cr0() & !(1 << 2 | 1 << 3 | 1 << 30 | 1 << 29) | 1 << 1 | 1 << 5 | 1 << 16,
        );
        msr::set_cr4(msr::cr4() & !clear | bits);
        if has(Feature::NX) {
            msr::write(msr::EFER, msr::read(msr::EFER) | 1 << 11);
        }
        if has(Feature::RDTSCP) {
            msr::write(msr::TSC_AUX, super::cpu::current_id().0.into());
        }
    }
    fpu::init_cpu(has(Feature::XSAVE));
}

/// A place in the code that is a 3-byte no-op until the feature that it serves is found.
#[repr(C)]
struct Patch {
    address: u64,
    bytes: u64,
}

/// Puts the table of foreseen faults in order. Through the direct map, which is writable, before `mm` takes over.
fn sort_fixups() {
    let physical = crate::boot::info().kernel_phys;
    let offset = layout::DIRECT_MAP
        .wrapping_add(physical)
        .wrapping_sub(layout::image_start());
    // SAFETY: the direct map shows the image, and nobody touches user memory yet.
    unsafe { super::uaccess::sort_fixups(offset) };
}

/// Puts `stac` and `clac` in. Through the direct map, which is writable, before `mm` takes over.
fn apply_patches() {
    unsafe extern "C" {
        static __patches_start: Patch;
        static __patches_end: Patch;
    }
    let info = crate::boot::info();
    let mut patch = &raw const __patches_start;
    let end = &raw const __patches_end;
    while patch < end {
        // SAFETY: the linker script collects `Patch`es between the two symbols; each names three bytes of kernel code.
        unsafe {
            let physical = (*patch).address - layout::image_start() + info.kernel_phys;
            let bytes = (*patch).bytes.to_le_bytes();
            let target = (layout::DIRECT_MAP + physical) as *mut u8;
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), target, 3);
            patch = patch.add(1);
        }
    }
}

/// AT_HWCAP: CPUID leaf 1, EDX.
pub fn hwcap() -> u64 {
    __cpuid(1).edx.into()
}

/// AT_HWCAP2: bit 1 says that user space may use the FSGSBASE instructions.
pub fn hwcap2() -> u64 {
    if has(Feature::FSGSBASE) { 2 } else { 0 }
}

/// Whether loads may speculate past stores in a way that others can observe: all processors but those that say
/// otherwise, and AMD's of the families before Bulldozer.
pub fn bypasses_stores() -> bool {
    const SSB_NO_INTEL: u64 = 1 << 4;
    const IA32_ARCH_CAPABILITIES: u32 = 0x10a;
    let leaf0 = __cpuid(0);
    let is_amd = (leaf0.ebx, leaf0.edx, leaf0.ecx) == (0x6874_7541, 0x6974_6e65, 0x444d_4163);
    let leaf1 = __cpuid(1).eax;
    let family = (leaf1 >> 8 & 0xf)
        + if leaf1 >> 8 & 0xf == 0xf {
            leaf1 >> 20 & 0xff
        } else {
            0
        };
    if is_amd && (0xf..=0x12).contains(&family) {
        return false;
    }
    if max_leaf(0x8000_0000) >= 0x8000_0008 && __cpuid(0x8000_0008).ebx & 1 << 26 != 0 {
        return false;
    }
    let has_capabilities = max_leaf(0) >= 7 && __cpuid_count(7, 0).edx & 1 << 29 != 0;
    // SAFETY: the processor says that it has the register.
    !(has_capabilities && unsafe { msr::read(IA32_ARCH_CAPABILITIES) } & SSB_NO_INTEL != 0)
}
