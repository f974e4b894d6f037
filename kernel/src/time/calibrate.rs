//! How fast the TSC and the APIC timer run. Several sources, best first, none of them required.

use core::arch::x86_64::__cpuid;

use super::clock;
use crate::arch::cpu::tsc;
use crate::arch::{apic, cpu, features, port};
use crate::device::acpi::tables;
use crate::mm::{PhysAddr, kmap};

/// How long to measure against a reference.
const MEASURE_NS: u64 = 10_000_000;
/// A rate that no TSC is below or above.
const SANE_HZ: core::ops::Range<u64> = 10_000_000..20_000_000_000;
const PM_TIMER_HZ: u64 = 3_579_545;
const PIT_HZ: u64 = 1_193_182;

/// What the TSC's rate is asked of: its name, and the rate in Hz if it knows.
type Source = (&'static str, fn() -> Option<u64>);

/// Finds the TSC's rate and starts the clocks; then, over the same time if that took any, the APIC timer's rate.
pub(super) fn calibrate() {
    let start = tsc();
    let measure_apic = apic::present() && !apic::timer_is_tsc_deadline();
    if measure_apic {
        apic::timer_measure_start();
    }
    let sources: [Source; 6] = [
        ("CPUID", from_cpuid),
        ("the hypervisor", from_hypervisor),
        ("kvmclock", from_kvmclock),
        ("the ACPI timer", from_pm_timer),
        ("the HPET", from_hpet),
        ("the PIT", from_pit),
    ];
    let found = sources.iter().find_map(|(name, source)| {
        source()
            .filter(|hz| SANE_HZ.contains(hz))
            .map(|hz| (*name, hz))
    });
    let (name, hz) = found.unwrap_or_else(|| {
        log::warn!("no clock to measure the TSC by; assuming 1 GHz");
        ("nothing", 1_000_000_000)
    });
    clock::start(start, hz);
    log::info!(
        "TSC: {}.{:03} MHz, by {name}",
        hz / 1_000_000,
        hz / 1000 % 1000
    );
    if measure_apic {
        calibrate_apic_timer(start);
    }
}

/// CPUID leaf 0x15 (crystal and ratio) with the nominal rate of leaf 0x16 where the crystal is not told.
fn from_cpuid() -> Option<u64> {
    if features::max_leaf(0) < 0x15 {
        return None;
    }
    let leaf = __cpuid(0x15);
    let (denominator, numerator) = (u64::from(leaf.eax), u64::from(leaf.ebx));
    if denominator == 0 || numerator == 0 {
        return None;
    }
    if leaf.ecx != 0 {
        return Some(u64::from(leaf.ecx) * numerator / denominator);
    }
    let megahertz = if features::max_leaf(0) >= 0x16 {
        __cpuid(0x16).eax & 0xffff
    } else {
        0
    };
    (megahertz != 0).then_some(u64::from(megahertz) * 1_000_000)
}

/// The leaf by which VMware, and others after it, tell the rate in kHz.
fn from_hypervisor() -> Option<u64> {
    if !features::has(features::Feature::HYPERVISOR) || __cpuid(0x4000_0000).eax < 0x4000_0010 {
        return None;
    }
    Some(u64::from(__cpuid(0x4000_0010).eax) * 1000)
}

/// kvmclock's page tells how it converts TSC ticks: the host knows the rate.
fn from_kvmclock() -> Option<u64> {
    if !features::has(features::Feature::HYPERVISOR) {
        return None;
    }
    let id = __cpuid(0x4000_0000);
    if [id.ebx, id.ecx, id.edx] != [0x4b4d_564b, 0x564b_4d56, 0x0000_004d] {
        return None;
    }
    if __cpuid(0x4000_0001).eax & 1 << 3 == 0 {
        return None;
    }
    let words = crate::arch::kvmclock_page();
    // version, pad, tsc (2), system time (2), multiplier, shift and flags
    let (multiplier, shift) = (u64::from(words[6]), words[7] as u8 as i8);
    if multiplier == 0 {
        return None;
    }
    let khz = (1_000_000u64 << 32) / multiplier;
    let khz = if shift < 0 {
        khz << -i32::from(shift).min(31) as u32
    } else {
        khz >> shift.min(31)
    };
    khz.checked_mul(1000)
}

/// Counts TSC ticks over `MEASURE_NS` of a reference that counts at `hz` modulo `wrap` (a power of two).
fn measure(hz: u64, wrap: u64, read: impl Fn() -> u64) -> Option<u64> {
    let want = hz * MEASURE_NS / 1_000_000_000;
    let (start_tsc, start) = pair(&read);
    let mut polls = 0u32;
    loop {
        let passed = read().wrapping_sub(start) & (wrap - 1);
        if passed >= want {
            break;
        }
        polls += 1;
        // A counter that stands still is no reference.
        if polls > 10_000 && passed == 0 || polls > 50_000_000 {
            return None;
        }
        cpu::relax();
    }
    let (end_tsc, end) = pair(&read);
    let passed = end.wrapping_sub(start) & (wrap - 1);
    let ticks = end_tsc.wrapping_sub(start_tsc);
    u64::try_from(u128::from(ticks) * u128::from(hz) / u128::from(passed.max(1))).ok()
}

/// A TSC value and the reference's at the same time: the closest of a few tries, since an emulator or firmware may take
/// long over a read.
fn pair(read: &impl Fn() -> u64) -> (u64, u64) {
    let try_once = || {
        let before = tsc();
        let value = read();
        let after = tsc();
        (
            after.wrapping_sub(before),
            before + after.wrapping_sub(before) / 2,
            value,
        )
    };
    let tries = [try_once(), try_once(), try_once(), try_once(), try_once()];
    let best = tries.iter().min_by_key(|t| t.0).unwrap_or(&tries[0]);
    (best.1, best.2)
}

fn from_pm_timer() -> Option<u64> {
    let fadt = tables::get().fadt?;
    if fadt.pm_timer == 0 {
        return None;
    }
    let wrap = if fadt.pm_timer_32 { 1 << 32 } else { 1 << 24 };
    measure(PM_TIMER_HZ, wrap, || port::read_long(fadt.pm_timer).into())
}

fn from_hpet() -> Option<u64> {
    let registers = map_hpet()?;
    let capabilities = registers.read(0);
    let femtoseconds = capabilities >> 32;
    if femtoseconds == 0 || femtoseconds > 100_000_000 {
        return None;
    }
    registers.write(0x10, registers.read(0x10) | 1);
    let wrap = 1 << 32;
    measure(1_000_000_000_000_000 / femtoseconds, wrap, || {
        registers.read(0xf0) & 0xffff_ffff
    })
}

fn map_hpet() -> Option<crate::arch::Registers64> {
    let phys = tables::get().hpet?;
    let pointer = kmap::map_mmio(PhysAddr(phys), 0x400, kmap::CachePolicy::Uncached).ok()?;
    Some(crate::arch::Registers64::new(pointer))
}

/// Channel 2 of the PIT counts down with its gate on and the speaker off.
fn from_pit() -> Option<u64> {
    let pit = port::PitChannel2::start();
    let hz = measure(PIT_HZ, 1 << 16, || {
        u64::from(pit.count()).wrapping_neg() & 0xffff
    });
    pit.stop();
    hz
}

/// Finds the rate of the APIC timer where it does not take TSC values: it has counted since `start`.
fn calibrate_apic_timer(start: u64) {
    let end = start + clock::ns_to_ticks(MEASURE_NS);
    while tsc() < end {
        cpu::relax();
    }
    let (now, ticks) = (tsc(), u64::from(apic::timer_measured()));
    let took = clock::tsc_to_ns(now) - clock::tsc_to_ns(start);
    if ticks == 0 || took == 0 {
        log::warn!("the APIC timer does not count");
        return;
    }
    apic::set_timer_scale(((u128::from(ticks) << 32) / u128::from(took)) as u64);
    log::info!("APIC timer: {} MHz", ticks * 1000 / took);
}
