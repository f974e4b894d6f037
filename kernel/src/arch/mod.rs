//! What the rest of the kernel knows of the processor. One architecture so far: x86-64.
//!
//! | name | what |
//! |---|---|
//! | `cpu` | which CPU this is, how many there are, halting, per-CPU data |
//! | `irq` | interrupts on and off, vectors and their handlers, routing |
//! | `ipi` | making other CPUs do something |
//! | `UserRegs`, `ThreadArch` | a thread's registers in user space, and the rest of its processor state |
//! | `switch_to`, `prepare_*` | context switch |
//! | `fpu` | floating-point and vector state |
//! | `uaccess` | raw copies from and to user memory; `mm::user` is the safe face of it |
//! | `layout` | the kernel's virtual memory layout |
//! | `power` | last-resort reset and power off |
//! | `vdso` | the shared object mapped into every process |
//! | `features` | what the processor can do, for the kernel and for `/proc/cpuinfo` |
//! | `backtrace` | return addresses of a kernel stack |

#![allow(unsafe_code, reason = "registers, descriptor tables, assembly")]

mod x86_64;

pub use x86_64::*;
