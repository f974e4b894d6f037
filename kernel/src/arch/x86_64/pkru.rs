//! The register of protection keys: for each key of four bits, whether its pages may be read and written.
//!
//! The register always holds what the running user thread has, also while its FPU state is not loaded: the kernel's own
//! accesses to user memory obey it. So it is kept apart from that state (`fpu`), and joins it in signal frames only.

use core::arch::asm;

use super::features::{self, Feature};

/// What a program starts with, and a signal's handler: only pages with key 0 may be touched.
pub const INITIAL: u32 = 0x5555_5554;
/// Its component of the extended state.
pub const COMPONENT: u32 = 9;

/// Whether the processor has keys, and they are on.
#[inline(always)]
pub fn exists() -> bool {
    features::has(Feature::PKU)
}

/// The running thread's.
#[inline]
pub fn get() -> u32 {
    if !exists() {
        return 0;
    }
    let value: u32;
    // SAFETY: CR4.PKE is on.
    unsafe {
        asm!("rdpkru", in("ecx") 0, out("eax") value, out("edx") _, options(nomem, nostack));
    }
    value
}

/// Sets the running thread's.
#[inline]
pub fn set(value: u32) {
    // Writing may cost all translations (it does under emulation).
    if exists() && get() != value {
        // SAFETY: CR4.PKE is on; the kernel's own pages have no keys.
        unsafe {
            asm!("wrpkru", in("ecx") 0, in("eax") value, in("edx") 0, options(nostack));
        }
    }
}

/// Sets what the running thread may not do with pages of a key: bit 0 touch them, bit 1 write them.
pub fn set_rights(key: u8, denied: u32) {
    let shift = u32::from(key & 0xf) * 2;
    set(get() & !(3 << shift) | (denied & 3) << shift);
}
