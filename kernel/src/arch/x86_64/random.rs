//! The processor's random generator and its finest clock.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _rdtsc};

use spin::Once;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Instruction {
    Rdseed,
    Rdrand,
    None,
}

fn instruction() -> Instruction {
    static FOUND: Once<Instruction> = Once::new();
    *FOUND.call_once(|| {
        let most = __cpuid(0).eax;
        if most >= 7 && __cpuid_count(7, 0).ebx & 1 << 18 != 0 {
            Instruction::Rdseed
        } else if __cpuid(1).ecx & 1 << 30 != 0 {
            Instruction::Rdrand
        } else {
            Instruction::None
        }
    })
}

/// A random word from the processor, if it has such an instruction and the instruction gives one soon.
pub fn hardware_word() -> Option<u64> {
    // Intel's guide: ten tries of RDRAND are enough; RDSEED may run dry for longer, and then RDRAND serves.
    for _ in 0..10 {
        let (word, ok): (u64, u8);
        match instruction() {
            // SAFETY: CPUID says the instruction is there; it writes a register and flags.
            Instruction::Rdseed => unsafe {
                asm!("rdseed {}", "setc {}", out(reg) word, out(reg_byte) ok, options(nomem, nostack));
            },
            // SAFETY: as above.
            Instruction::Rdrand => unsafe {
                asm!("rdrand {}", "setc {}", out(reg) word, out(reg_byte) ok, options(nomem, nostack));
            },
            Instruction::None => return None,
        }
        // Some broken processors answer all ones or zeros for ever; one such word in 2^63 is no loss.
        if ok != 0 && word != u64::MAX && word != 0 {
            return Some(word);
        }
    }
    None
}

/// A time stamp for its unforeseeable low bits.
pub fn stamp() -> u64 {
    // SAFETY: every x86-64 processor has RDTSC, and the kernel may use it.
    unsafe { _rdtsc() }
}
