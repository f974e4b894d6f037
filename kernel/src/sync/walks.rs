//! Reading directories without locks: who is at it, and who waits for that.

use ksync::check::{LockClass, Sort};
use ksync::{Domain, SectionSlot, before_waiting};

use super::PerCpu;
use crate::arch::cpu::{self, CpuMask};
use crate::per_cpu;

/// The sections in which names are looked up. What a directory lets go of is freed after them.
#[derive(Debug)]
pub enum Walks {}

static SLOTS: PerCpu<SectionSlot> = per_cpu!(SectionSlot::new());
static CLASS: LockClass = LockClass::here(Sort::Spin);

// SAFETY: one slot a CPU, which its CPU alone enters as it does not block; all others are waited for, and the caller is
// in no section itself.
unsafe impl Domain for Walks {
    #[inline(always)]
    fn slot() -> &'static SectionSlot {
        SLOTS.here()
    }

    #[inline]
    fn wait() {
        let others = CpuMask::online().without(cpu::current_id());
        if others.is_empty() {
            return;
        }
        before_waiting();
        others.iter().for_each(|cpu| SLOTS.of(cpu).wait());
    }

    #[inline(always)]
    fn class() -> &'static LockClass {
        &CLASS
    }
}
