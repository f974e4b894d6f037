//! The processors in the registry: `/sys/devices/system/cpu`.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;
use core::ops::Range;

use abi::{Errno, Result};

use super::registry::{DeviceSpec, Subsystem, folder};
use crate::arch::cpu::{self, MAX_CPUS};

/// `0`, or `0-3`; nothing for no CPU.
pub(super) fn range(out: &mut String, count: usize) -> Result<()> {
    let written = match count {
        0 => Ok(()),
        1 => write!(out, "0"),
        _ => write!(out, "0-{}", count - 1),
    };
    written.map_err(|_| Errno::ENOMEM)
}

/// Attributes that name the processors of one core, and those of one package: as a mask and as a list.
const OWN: [(&str, &str); 2] = [
    ("topology/core_cpus", "topology/core_cpus_list"),
    ("topology/thread_siblings", "topology/thread_siblings_list"),
];
const WHOLE_PACKAGE: [(&str, &str); 3] = [
    ("topology/package_cpus", "topology/package_cpus_list"),
    ("topology/core_siblings", "topology/core_siblings_list"),
    ("topology/die_cpus", "topology/die_cpus_list"),
];

/// A mask with these of `count` bits, as Linux prints one: words of 32 bits, the first as short as it can be.
pub(super) fn hexadecimal(set: Range<usize>, count: usize) -> String {
    let mut text = String::new();
    for word in (0..count.div_ceil(32)).rev() {
        let bits = (count - word * 32).min(32);
        let value = (0..bits)
            .filter(|bit| set.contains(&(word * 32 + bit)))
            .fold(0u32, |value, bit| value | 1 << bit);
        let comma = if word > 0 { "," } else { "" };
        text.push_str(&format!(
            "{value:0width$x}{comma}",
            width = bits.div_ceil(4)
        ));
    }
    text
}

/// Shows the processors. After all that will be started are running.
pub fn init() -> Result<()> {
    let count = cpu::online();
    let all = DeviceSpec::new("cpu")
        .text("online", |out| range(out, cpu::online()))
        .text("present", |out| range(out, cpu::online()))
        // Processors cannot be added while the machine runs, so no more are possible than there are.
        .text("possible", |out| range(out, cpu::online()))
        .fixed("offline", "")
        .fixed("kernel_max", format!("{}", MAX_CPUS - 1))
        .add(Some(&folder("system")?))?;
    for number in 0..count {
        // As `/proc/cpuinfo` has it: one package, in which every processor is a core.
        let mut spec = DeviceSpec::new(format!("cpu{number}"))
            .subsystem(Subsystem::Bus("cpu"))
            .fixed("topology/physical_package_id", "0")
            .fixed("topology/die_id", "0")
            .fixed("topology/core_id", format!("{number}"));
        for (mask, list) in OWN {
            spec = spec
                .fixed(mask, hexadecimal(number..number + 1, count))
                .fixed(list, format!("{number}"));
        }
        for (mask, list) in WHOLE_PACKAGE {
            spec = spec
                .fixed(mask, hexadecimal(0..count, count))
                .text(list, |out| range(out, cpu::online()));
        }
        spec.add(Some(&all))?;
    }
    Ok(())
}
