//! The processors in the registry: `/sys/devices/system/cpu`.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use abi::{Errno, Result};

use super::registry::{DeviceSpec, Subsystem, folder};
use crate::arch::cpu::{self, MAX_CPUS};

/// `0`, or `0-3`; nothing for no CPU.
fn range(out: &mut String, count: usize) -> Result<()> {
    let written = match count {
        0 => Ok(()),
        1 => write!(out, "0"),
        _ => write!(out, "0-{}", count - 1),
    };
    written.map_err(|_| Errno::ENOMEM)
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
        DeviceSpec::new(format!("cpu{number}"))
            .subsystem(Subsystem::Bus("cpu"))
            .fixed("topology/physical_package_id", "0")
            .fixed("topology/core_id", format!("{number}"))
            .fixed("topology/core_cpus_list", format!("{number}"))
            .fixed("topology/thread_siblings_list", format!("{number}"))
            .text("topology/package_cpus_list", |out| {
                range(out, cpu::online())
            })
            .text("topology/core_siblings_list", |out| {
                range(out, cpu::online())
            })
            .add(Some(&all))?;
    }
    Ok(())
}
