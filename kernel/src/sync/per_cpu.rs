//! One value a CPU.

use crate::arch::cpu::{self, CpuId, MAX_CPUS};

/// Keeps neighbours off each other's cache lines (two lines: adjacent ones are fetched in pairs).
#[repr(align(128))]
pub struct Padded<T>(T);

/// A value for each possible CPU, made by [`per_cpu!`](crate::per_cpu). Whoever needs exclusion against other CPUs
/// or interrupts puts a lock or an atomic in.
pub struct PerCpu<T>([Padded<T>; MAX_CPUS]);

impl<T> PerCpu<T> {
    /// Wraps one value; for `per_cpu!`.
    pub const fn pad(value: T) -> Padded<T> {
        Padded(value)
    }

    /// One value a CPU; for `per_cpu!`.
    pub const fn from_padded(values: [Padded<T>; MAX_CPUS]) -> PerCpu<T> {
        PerCpu(values)
    }

    /// The value of `cpu`.
    #[inline(always)]
    pub fn of(&self, cpu: CpuId) -> &T {
        &self.0[cpu.index()].0
    }

    /// The value of the CPU this runs on. It may be another one's after the caller blocked.
    #[inline(always)]
    pub fn here(&self) -> &T {
        self.of(cpu::current_id())
    }

    /// Every value, in the order of the CPUs.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &padded.0)
    }
}

/// Makes a [`PerCpu`](crate::sync::PerCpu) from a constant expression evaluated once a CPU.
#[macro_export]
macro_rules! per_cpu {
    ($value:expr) => {
        $crate::sync::PerCpu::from_padded(
            [const { $crate::sync::PerCpu::pad($value) }; $crate::arch::cpu::MAX_CPUS],
        )
    };
}
