//! The one node of memory in the registry: `/sys/devices/system/node`.
//!
//! What Linux counts of a node's allocations (`numastat`, `vmstat`) is not counted here, and absent.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use abi::{Errno, Result};

use super::cpu::{hexadecimal, range};
use super::registry::{DeviceSpec, Subsystem, folder};
use crate::arch::cpu;
use crate::mm::{self, PAGE_SIZE};

fn meminfo(out: &mut String) -> Result<()> {
    let s = mm::stats();
    let rows = [
        ("MemTotal", s.total),
        ("MemFree", s.free),
        ("MemUsed", s.total.saturating_sub(s.free)),
        ("FilePages", s.cached),
        ("Mapped", s.mapped),
        ("AnonPages", s.anon),
        ("Shmem", s.shmem),
        ("KernelStack", s.kernel_stack),
        ("PageTables", s.page_tables),
        ("Slab", s.slab),
    ];
    for (index, (name, pages)) in rows.into_iter().enumerate() {
        let newline = if index > 0 { "\n" } else { "" };
        let kib = pages * (PAGE_SIZE as u64 / 1024);
        let name = format!("{name}:");
        write!(out, "{newline}Node 0 {name:<15}{kib:>8} kB").map_err(|_| Errno::ENOMEM)?;
    }
    Ok(())
}

/// Shows the node. After all processors that will be started are running.
pub fn init() -> Result<()> {
    let count = cpu::online();
    let mut all = DeviceSpec::new("node");
    for name in [
        "online",
        "possible",
        "has_cpu",
        "has_memory",
        "has_normal_memory",
    ] {
        all = all.fixed(name, "0");
    }
    let all = all.add(Some(&folder("system")?))?;
    DeviceSpec::new("node0")
        .subsystem(Subsystem::Bus("node"))
        .text("cpulist", |out| range(out, cpu::online()))
        .fixed("cpumap", hexadecimal(0..count, count))
        .fixed("distance", "10")
        .text("meminfo", meminfo)
        .add(Some(&all))?;
    Ok(())
}
