//! Interrupts of this CPU, off while a guard lives. On the host, where there are none, a guard does nothing.

use core::marker::PhantomData;

/// Interrupts are off on this CPU; dropping it restores what was before. Nests.
#[must_use = "interrupts come back on when this is dropped"]
pub struct IrqGuard {
    were_enabled: bool,
    /// A guard belongs to the CPU that made it.
    _not_send: PhantomData<*mut ()>,
}

impl IrqGuard {
    /// Turns interrupts off.
    #[inline(always)]
    #[expect(
        clippy::new_without_default,
        reason = "a guard is taken, not defaulted"
    )]
    pub fn new() -> IrqGuard {
        IrqGuard {
            were_enabled: save_and_disable(),
            _not_send: PhantomData,
        }
    }
}

impl Drop for IrqGuard {
    #[inline(always)]
    fn drop(&mut self) {
        if self.were_enabled {
            enable();
        }
    }
}

/// Whether interrupts are on. On the host they always are.
#[cfg(debug_assertions)]
pub(crate) fn enabled() -> bool {
    #[cfg(target_os = "none")]
    {
        let flags: u64;
        // SAFETY: reads the flags by way of the stack.
        unsafe { core::arch::asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) };
        flags & (1 << 9) != 0
    }
    #[cfg(not(target_os = "none"))]
    true
}

#[cfg(target_os = "none")]
#[inline(always)]
fn save_and_disable() -> bool {
    let flags: u64;
    // SAFETY: reads RFLAGS and clears IF; touches no memory but the stack slot it pushes and pops.
    unsafe {
        core::arch::asm!("pushfq", "pop {}", "cli", out(reg) flags);
    }
    flags & (1 << 9) != 0
}

#[cfg(target_os = "none")]
#[inline(always)]
fn enable() {
    // SAFETY: only reached when interrupts were on at the guard's creation.
    unsafe { core::arch::asm!("sti") }
}

#[cfg(not(target_os = "none"))]
#[inline(always)]
fn save_and_disable() -> bool {
    false
}

#[cfg(not(target_os = "none"))]
#[inline(always)]
fn enable() {}
