//! What `/proc/cpuinfo` shows, from CPUID, in Linux's words and order.

use core::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};
use core::fmt::{self, Write};

use arrayvec::ArrayString;

use super::cpu::{self, CpuId};
use super::features::{self, Feature, max_leaf};

/// Vendor, family, model and stepping.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    pub vendor: [u8; 12],
    pub family: u32,
    pub model: u32,
    pub stepping: u32,
}

/// Who made the processor, and which it is.
pub fn identity() -> Identity {
    let vendor = __cpuid(0);
    let mut name = [0; 12];
    for (part, word) in name
        .chunks_exact_mut(4)
        .zip([vendor.ebx, vendor.edx, vendor.ecx])
    {
        part.copy_from_slice(&word.to_le_bytes());
    }
    let signature = __cpuid(1).eax;
    let base_family = signature >> 8 & 15;
    let family = if base_family == 15 {
        15 + (signature >> 20 & 0xff)
    } else {
        base_family
    };
    let extended = if base_family == 6 || base_family == 15 {
        signature >> 12 & 0xf0
    } else {
        0
    };
    Identity {
        vendor: name,
        family,
        model: (signature >> 4 & 15) | extended,
        stepping: signature & 15,
    }
}

/// The processor's name, as the brand string has it.
pub fn model_name() -> ArrayString<48> {
    let mut name = ArrayString::new();
    if max_leaf(0x8000_0000) < 0x8000_0004 {
        let _ = name.try_push_str("unknown");
        return name;
    }
    let mut bytes = [0; 48];
    for (leaf, part) in (0x8000_0002..=0x8000_0004).zip(bytes.chunks_exact_mut(16)) {
        let r = __cpuid(leaf);
        for (word, value) in part.chunks_exact_mut(4).zip([r.eax, r.ebx, r.ecx, r.edx]) {
            word.copy_from_slice(&value.to_le_bytes());
        }
    }
    let text = bytes.split(|&b| b == 0).next().unwrap_or_default();
    let text = core::str::from_utf8(text).unwrap_or("unknown").trim();
    let _ = name.try_push_str(text);
    name
}

/// Size of the last-level cache in KiB; 0 if the processor does not tell.
fn cache_kib() -> u32 {
    if max_leaf(0) >= 4 {
        let mut largest = 0;
        for index in 0..8 {
            let r = __cpuid_count(4, index);
            if r.eax & 31 == 0 {
                break;
            }
            let ways = (r.ebx >> 22) + 1;
            let partitions = (r.ebx >> 12 & 0x3ff) + 1;
            let line = (r.ebx & 0xfff) + 1;
            largest =
                largest.max(u64::from(ways * partitions * line) * u64::from(r.ecx + 1) / 1024);
        }
        if largest > 0 {
            return largest as u32;
        }
    }
    if max_leaf(0x8000_0000) >= 0x8000_0006 {
        __cpuid(0x8000_0006).ecx >> 16
    } else {
        0
    }
}

/// Names of the bits of a register, bit 0 first; `-` where Linux has no name.
struct Word {
    read: fn() -> u32,
    names: &'static str,
}

fn leaf7(pick: fn(CpuidResult) -> u32) -> u32 {
    if max_leaf(0) >= 7 {
        pick(__cpuid_count(7, 0))
    } else {
        0
    }
}

fn extended(leaf: u32, pick: fn(CpuidResult) -> u32) -> u32 {
    if max_leaf(0x8000_0000) >= leaf {
        pick(__cpuid(leaf))
    } else {
        0
    }
}

const WORDS: [Word; 10] = [
    Word {
        read: || __cpuid(1).edx,
        names: "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts acpi mmx \
                fxsr sse sse2 ss ht tm ia64 pbe",
    },
    Word {
        read: || extended(0x8000_0001, |r| r.edx & 0xfc10_0800),
        names: "- - - - - - - - - - - syscall - - - - - - - - nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm 3dnowext \
                3dnow",
    },
    Word {
        read: || extended(0x8000_0007, |r| r.edx),
        names: "- - - - - - - - constant_tsc",
    },
    Word {
        read: || __cpuid(1).ecx,
        names: "pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - pcid dca \
                sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave - avx f16c rdrand hypervisor",
    },
    Word {
        read: || extended(0x8000_0001, |r| r.ecx),
        names: "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit \
                wdt - lwp fma4 tce - nodeid_msr - tbm topoext perfctr_core perfctr_nb - bpext ptsc perfctr_llc mwaitx",
    },
    Word {
        read: || leaf7(|r| r.ebx),
        names: "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f avx512dq \
                rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er avx512cd sha_ni avx512bw \
                avx512vl",
    },
    Word {
        read: || {
            if max_leaf(0) >= 0xd {
                __cpuid_count(0xd, 1).eax
            } else {
                0
            }
        },
        names: "xsaveopt xsavec xgetbv1 xsaves",
    },
    Word {
        read: || if max_leaf(0) >= 6 { __cpuid(6).eax } else { 0 },
        names: "dtherm ida arat - pln - pts",
    },
    Word {
        read: || leaf7(|r| r.ecx),
        names: "- avx512vbmi umip pku ospke waitpkg avx512_vbmi2 - gfni vaes vpclmulqdq avx512_vnni avx512_bitalg - \
                avx512_vpopcntdq - la57 - - - - - rdpid - bus_lock_detect cldemote - movdiri movdir64b enqcmd",
    },
    Word {
        read: || leaf7(|r| r.edx),
        names: "- - avx512_4vnniw avx512_4fmaps fsrm - - - avx512_vp2intersect - md_clear - - - serialize - \
                tsxldtrk - pconfig arch_lbr ibt - amx_bf16 avx512_fp16 amx_tile amx_int8 - - flush_l1d \
                arch_capabilities - -",
    },
];

/// Features that the processor has but the kernel does not offer, so that they are not shown.
fn hidden(name: &str) -> bool {
    match name {
        "fsgsbase" => !features::has(Feature::FSGSBASE),
        "smep" => !features::has(Feature::SMEP),
        "smap" => !features::has(Feature::SMAP),
        "umip" => !features::has(Feature::UMIP),
        "pcid" => !features::has(Feature::PCID),
        "x2apic" => !features::has(Feature::X2APIC),
        "tsc_deadline_timer" => !features::has(Feature::TSC_DEADLINE),
        "xsave" | "xsaveopt" | "avx" | "avx2" | "fma" | "f16c" => !features::has(Feature::XSAVE),
        // Need state components or modes that the kernel does not turn on.
        "mpx" | "la57" | "vmx" | "svm" | "sgx" | "amx_bf16" | "amx_tile" | "amx_int8"
        | "enqcmd" | "ibt" | "xsaves" | "intel_pt" | "monitor" => true,
        _ => false,
    }
}

/// Writes the names of the features, each behind a space.
pub fn write_flags(out: &mut dyn Write) -> fmt::Result {
    for word in &WORDS {
        let bits = (word.read)();
        for (bit, name) in word.names.split_ascii_whitespace().enumerate() {
            if name != "-" && bits & 1 << bit != 0 && !hidden(name) {
                write!(out, " {name}")?;
            }
        }
    }
    if features::has(Feature::INVARIANT_TSC) {
        write!(out, " nonstop_tsc")?;
    }
    Ok(())
}

/// Writes a CPU's block of `/proc/cpuinfo`.
pub fn write(id: CpuId, out: &mut dyn Write) -> fmt::Result {
    let Some(local) = cpu::by_id(id) else {
        return Ok(());
    };
    let who = identity();
    let khz = crate::time::tsc_hz() / 1000;
    let cores = cpu::online();
    writeln!(out, "processor\t: {}", id.0)?;
    writeln!(
        out,
        "vendor_id\t: {}",
        core::str::from_utf8(&who.vendor).unwrap_or("unknown")
    )?;
    writeln!(out, "cpu family\t: {}", who.family)?;
    writeln!(out, "model\t\t: {}", who.model)?;
    writeln!(out, "model name\t: {}", model_name())?;
    writeln!(out, "stepping\t: {}", who.stepping)?;
    writeln!(out, "cpu MHz\t\t: {}.{:03}", khz / 1000, khz % 1000)?;
    let cache = cache_kib();
    if cache != 0 {
        writeln!(out, "cache size\t: {cache} KB")?;
    }
    writeln!(
        out,
        "physical id\t: 0\nsiblings\t: {cores}\ncore id\t\t: {}\ncpu cores\t: {cores}",
        id.0
    )?;
    writeln!(
        out,
        "apicid\t\t: {0}\ninitial apicid\t: {0}",
        local.apic_id()
    )?;
    writeln!(
        out,
        "fpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: {}",
        __cpuid(0).eax
    )?;
    write!(out, "wp\t\t: yes\nflags\t\t:")?;
    write_flags(out)?;
    let hundredths = crate::time::tsc_hz() / 5000;
    writeln!(
        out,
        "\nbugs\t\t:\nbogomips\t: {}.{:02}",
        hundredths / 100,
        hundredths % 100
    )?;
    writeln!(out, "clflush size\t: {}", (__cpuid(1).ebx >> 8 & 0xff) * 8)?;
    writeln!(
        out,
        "cache_alignment\t: {}",
        (__cpuid(1).ebx >> 8 & 0xff) * 8
    )?;
    let sizes = extended(0x8000_0008, |r| r.eax);
    writeln!(
        out,
        "address sizes\t: {} bits physical, {} bits virtual",
        sizes & 0xff,
        sizes >> 8 & 0xff
    )?;
    writeln!(out, "power management:\n")
}
