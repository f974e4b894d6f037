//! x86-64.
//!
//! | module | what |
//! |---|---|
//! | `entry.s`, `entry` | system calls, exceptions, interrupts: in and out |
//! | `trap` | what exceptions mean |
//! | `thread` | [`UserRegs`], [`ThreadArch`], the context switch |
//! | `debug` | single steps and debug registers |
//! | `fpu`, `fpu_regset` | floating-point and vector state, and how tracers see it |
//! | `descriptors`, `idt` | GDT, TSS, IDT |
//! | `features` | CPUID |
//! | `cpu` | per-CPU data |
//! | `apic`, `ioapic`, `irq`, `ipi` | interrupts |
//! | `catch` | surviving the panics of foreign code |
//! | `smp` | starting the other CPUs |
//! | `uaccess` | user memory |
//! | `vdso.s`, `vdso` | the shared object in every process |
//! | `memory` | firmware's memory and device registers |
//! | `early`, `port`, `msr`, `layout`, `power`, `random`, `backtrace`, `cpuinfo` | small things |
//!
//! # Lock order
//! ```text
//! ioapic::CONTROLLERS, irq::NEXT    (leaves, interrupts off)
//! ```
//!
//! References: Intel SDM volumes 1 and 3; AMD APM volume 2; System V psABI.

pub mod apic;
pub mod backtrace;
pub mod catch;
pub mod cpu;
pub mod cpuinfo;
pub mod debug;
mod descriptors;
pub mod early;
mod entry;
pub mod features;
pub mod fpu;
pub mod fpu_regset;
mod idt;
pub mod ioapic;
pub mod ioperm;
pub mod ipi;
pub mod irq;
pub mod layout;
mod memory;
pub mod msr;
pub mod pkru;
pub mod port;
pub mod power;
pub mod pte;
pub mod random;
pub mod smp;
mod thread;
mod trap;
pub mod uaccess;
pub mod vdso;

pub use descriptors::{USER_CS, USER_SS};
pub use memory::{Registers64, firmware_bytes, kvmclock_page};
pub use thread::{SYSCALL_DISPATCH, forbid_tsc};
pub use thread::{
    SYSCALL_EMULATE, SYSCALL_SECCOMP, SYSCALL_STEP, SYSCALL_TRACE, ThreadArch, UserRegs,
    WORK_MEMORY, WORK_NOTIFY, WORK_RESCHED, WORK_RSEQ, WORK_SIGNAL, adopt_boot_thread,
    current_regs, current_task_ptr, enter_user, prepare_kernel_thread, prepare_user_thread,
    switch_to,
};

/// The boot CPU's tables and features: from here on faults are shown. Before anything else.
pub fn init_early() {
    descriptors::load(&cpu::BOOT_CPU, descriptors::boot_stacks());
    cpu::BOOT_CPU.install();
    idt::load();
    features::init_boot_cpu();
    features::enable();
    entry::init_syscalls();
}

/// Interrupt controllers. After `mm` and the ACPI tables.
pub fn init_interrupts() {
    if apic::init_boot_cpu() {
        cpu::BOOT_CPU.set_apic_id(apic::id());
    }
    ioapic::init();
}
