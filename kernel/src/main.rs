//! The Ironbark kernel: attributes, the modules, and the order of initialisation.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod arch;
#[allow(
    unsafe_code,
    reason = "the loader's structures in physical memory, link sections"
)]
mod boot;
mod device;
mod fs;
mod ipc;
#[allow(unsafe_code, reason = "reserves the section of the symbol table")]
mod ksyms;
mod log;
mod mm;
mod net;
mod panic;
mod sched;
mod signal;
#[allow(unsafe_code, reason = "locks, wait queues and the running task")]
mod sync;
mod syscall;
mod system;
mod task;
mod time;
mod tty;

use arch::cpu::CpuId;

/// Which sources this is built from.
pub const BUILD_ID: &str = env!("BUILD_ID");

/// Everything, in order, on the boot CPU's boot stack. Each step may use what the steps before it set up.
pub fn start() -> ! {
    arch::init_early(); // descriptor tables: faults are shown from here on
    #[cfg(debug_assertions)]
    sync::check::start();
    log::init();
    hello();
    mm::init();
    device::init_early();
    tty::init_screen(); // the log shows on the screen from here on
    syscall::mm::register_hooks();
    device::acpi::tables::init();
    arch::init_interrupts();
    time::init();
    start_scheduling();
    arch::smp::start_all();
    task::init::start();
    sched::run_idle()
}

/// Everything, on any other CPU.
pub fn start_other_cpu(id: CpuId) -> ! {
    mm::init_other_cpu();
    start_scheduling();
    ::log::debug!("CPU {} is up", id.0);
    sched::run_idle()
}

/// This CPU gets a current task, which is its idle one, and a timer.
fn start_scheduling() {
    syscall::counters::start_on_this_cpu();
    task::init::adopt_idle_task();
    time::init_cpu();
}

fn hello() {
    let info = boot::info();
    let map = &info.memory_map;
    ::log::info!(
        "Ironbark {} ({BUILD_ID}), booted by {}",
        env!("CARGO_PKG_VERSION"),
        info.protocol
    );
    ::log::info!("Command line: {}", info.cmdline.as_str());
    ::log::info!(
        "Memory: {} KiB free of RAM up to {:#x}",
        map.usable_bytes() >> 10,
        map.ram_end()
    );
    for range in map.ranges() {
        ::log::debug!(
            "  {:#014x}-{:#014x} {:?}",
            range.start,
            range.end,
            range.kind
        );
    }
    for module in &info.modules {
        ::log::info!(
            "Module {:#x}, {} bytes: {}",
            module.phys,
            module.len,
            module.cmdline
        );
    }
    for (name, value) in info.cmdline.malformed() {
        ::log::warn!("{name}={} is no number", value.unwrap_or(""));
    }
    if info.modules_dropped + map.dropped() > 0 || info.cmdline.truncated() {
        ::log::warn!("the loader passed more than fits, or nonsense: some of it is ignored");
    }
}
