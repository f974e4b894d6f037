//! Single steps and the debug registers, a set a thread; loaded only where one of the two threads of a switch uses them.
//!
//! Breakpoints lie in user space, so that of the kernel's own accesses only copies from and to user memory can hit one;
//! those are noted in the thread's status and make no signal, as on Linux.
//!
//! References: Intel SDM volume 3, chapter 18; Linux `arch/x86/kernel/{hw_breakpoint,step,ptrace}.c`.

use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::{Errno, Result};

use super::layout::USER_END;
use super::msr;
use super::thread::{self, ThreadArch, UserRegs};

/// Breakpoints that the processor has.
pub const SLOTS: usize = 4;

const RFLAGS_TF: u64 = 1 << 8;
const RFLAGS_RF: u64 = 1 << 16;

/// DR6: a breakpoint was hit, one bit a slot.
const DR6_SLOTS: u64 = 0xf;
/// DR6: a single step.
const DR6_STEP: u64 = 1 << 14;
/// DR6 bits that read as one while nothing is to be told.
const DR6_RESERVED: u64 = 0xffff_0ff0;
/// DR7 bits that mean nothing.
const DR7_RESERVED: u64 = 0xffff_ffff_0000_fc00;
/// DR7 bit 10 is always one.
const DR7_ONE: u64 = 1 << 10;
/// IA32_DEBUGCTL and its bit that makes a step a branch.
const DEBUGCTL: u32 = 0x1d9;
const DEBUGCTL_BTF: u64 = 2;

/// In `step`: a tracer steps the thread.
const STEPPING: u32 = 1;
/// In `step`: the trap flag is the tracer's, not the program's.
const FORCED_TF: u32 = 2;
/// In `step`: to the next branch.
const TO_BRANCH: u32 = 4;

/// `si_code`s of the signal.
const TRAP_BRKPT: i32 = 1;
const TRAP_TRACE: i32 = 2;
const TRAP_HWBKPT: i32 = 4;

/// A thread's debug state. Written by the thread, and by a tracer while it does not run.
#[derive(Debug, Default)]
pub struct DebugState {
    addresses: [AtomicU64; SLOTS],
    /// What traps were for, a one for each reason.
    status: AtomicU64,
    /// DR7 as it was written.
    control: AtomicU64,
    step: AtomicU32,
}

/// One slot of DR7.
#[derive(Clone, Copy)]
struct Slot {
    enabled: bool,
    /// 0 execution, 1 writes, 2 ports, 3 reads and writes.
    kind: u64,
    len: u64,
}

fn slot_of(control: u64, index: usize) -> Slot {
    let bits = control >> (16 + 4 * index);
    Slot {
        enabled: control >> (2 * index) & 3 != 0,
        kind: bits & 3,
        len: [1, 2, 8, 4][(bits >> 2 & 3) as usize],
    }
}

impl Slot {
    fn check(self, address: u64) -> Result<()> {
        let known = match self.kind {
            0 => self.len == 1,
            1 | 3 => true,
            _ => false,
        };
        if !known || !address.is_multiple_of(self.len) || address >= USER_END - 8 {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}

impl ThreadArch {
    /// What `u_debugreg[index]` reads as.
    pub fn debug_register(&self, index: usize) -> u64 {
        let debug = &self.debug;
        match index {
            6 => debug.status.load(Ordering::Relaxed) ^ DR6_RESERVED,
            7 => debug.control.load(Ordering::Relaxed),
            _ => debug
                .addresses
                .get(index)
                .map_or(0, |address| address.load(Ordering::Relaxed)),
        }
    }

    /// Writes `u_debugreg[index]` of a thread that does not run, or of the running one before its next switch.
    ///
    /// # Errors
    /// `EIO` for registers that are not there, `EINVAL` for breakpoints that the processor or the kernel refuses.
    pub fn set_debug_register(&self, index: usize, value: u64) -> Result<()> {
        let debug = &self.debug;
        match index {
            6 => debug.status.store(value ^ DR6_RESERVED, Ordering::Relaxed),
            7 => {
                let control = value & !DR7_RESERVED;
                for (index, address) in debug.addresses.iter().enumerate() {
                    let slot = slot_of(control, index);
                    if slot.enabled {
                        slot.check(address.load(Ordering::Relaxed))?;
                    }
                }
                debug.control.store(value, Ordering::Relaxed);
            }
            _ => {
                let slot = slot_of(debug.control.load(Ordering::Relaxed), index.min(SLOTS - 1));
                let address = debug.addresses.get(index).ok_or(Errno::EIO)?;
                match slot.enabled {
                    true => slot.check(value)?,
                    false if value >= USER_END - 8 => return Err(Errno::EINVAL),
                    false => {}
                }
                address.store(value, Ordering::Relaxed);
            }
        }
        self.note_debug_use();
        Ok(())
    }

    /// Forgets all breakpoints: exec.
    pub fn reset_debug(&self) {
        self.debug.status.store(0, Ordering::Relaxed);
        self.debug.control.store(0, Ordering::Relaxed);
        for address in &self.debug.addresses {
            address.store(0, Ordering::Relaxed);
        }
        if self.uses_debug() {
            self.note_debug_use();
            let _irq = super::irq::IrqGuard::new();
            load(self);
        }
    }

    fn note_debug_use(&self) {
        let breaks = self.debug.control.load(Ordering::Relaxed) & 0xff != 0;
        let branches = self.debug.step.load(Ordering::Relaxed) & TO_BRANCH != 0;
        self.set_debug_use(breaks || branches);
    }

    /// Whether a tracer steps the thread.
    pub fn is_stepping(&self) -> bool {
        self.debug.step.load(Ordering::Relaxed) & STEPPING != 0
    }

    /// The next instruction that the thread executes in user space traps, or the next branch. `sets_tf`: that
    /// instruction loads the flags, so that the trap flag is the program's afterwards.
    pub fn enable_step(&self, regs: &mut UserRegs, to_branch: bool, sets_tf: bool) {
        let mut step = self.debug.step.load(Ordering::Relaxed);
        let had_tf = regs.rflags & RFLAGS_TF != 0;
        let mut branches = false;
        regs.rflags |= RFLAGS_TF;
        if sets_tf {
            step &= !FORCED_TF;
        } else if !had_tf {
            step |= FORCED_TF;
            branches = to_branch;
        } else {
            branches = to_branch && step & FORCED_TF != 0;
        }
        step = step & !TO_BRANCH | STEPPING | if branches { TO_BRANCH } else { 0 };
        self.debug.step.store(step, Ordering::Relaxed);
        self.note_debug_use();
    }

    /// Takes back [`Self::enable_step`]; a trap flag of the program's own stays.
    pub fn disable_step(&self, regs: &mut UserRegs) {
        let step = self.debug.step.swap(0, Ordering::Relaxed);
        if step & FORCED_TF != 0 {
            regs.rflags &= !RFLAGS_TF;
        }
        if step & TO_BRANCH != 0 {
            self.note_debug_use();
        }
    }

    /// Takes a tracer's trap flag out of registers that are copied for a child.
    pub fn forget_step_in(&self, regs: &mut UserRegs) {
        regs.rflags = self.shown_flags(regs);
    }

    /// The flags as a debugger sees them: without the trap flag that it asked for itself.
    pub fn shown_flags(&self, regs: &UserRegs) -> u64 {
        match self.debug.step.load(Ordering::Relaxed) & FORCED_TF != 0 {
            true => regs.rflags & !RFLAGS_TF,
            false => regs.rflags,
        }
    }

    /// A debugger writes the flags that user space may change: CF PF AF ZF SF TF DF OF NT RF AC.
    pub fn write_flags(&self, regs: &mut UserRegs, value: u64) {
        const MASK: u64 = 0x0005_4dd5;
        let mut value = value;
        if value & RFLAGS_TF != 0 {
            self.debug.step.fetch_and(!FORCED_TF, Ordering::Relaxed);
        } else if self.debug.step.load(Ordering::Relaxed) & FORCED_TF != 0 {
            value |= RFLAGS_TF;
        }
        regs.rflags = regs.rflags & !MASK | value & MASK;
    }
}

macro_rules! debug_register {
    ($read:ident, $write:ident, $name:literal) => {
        fn $read() -> u64 {
            let value: u64;
            // SAFETY: reading a debug register changes nothing.
            unsafe { asm!(concat!("mov {}, ", $name), out(reg) value, options(nomem, nostack, preserves_flags)) };
            value
        }
        debug_register!($write, $name);
    };
    ($write:ident, $name:literal) => {
        fn $write(value: u64) {
            // SAFETY: breakpoints were checked to lie in user space, and other bits are the processor's defaults.
            unsafe { asm!(concat!("mov ", $name, ", {}"), in(reg) value, options(nostack, preserves_flags)) };
        }
    };
}

debug_register!(set_dr0, "dr0");
debug_register!(set_dr1, "dr1");
debug_register!(set_dr2, "dr2");
debug_register!(set_dr3, "dr3");
debug_register!(dr6, set_dr6, "dr6");
debug_register!(set_dr7, "dr7");

/// Loads a thread's breakpoints. With interrupts off.
fn load(thread: &ThreadArch) {
    let debug = &thread.debug;
    let [a, b, c, d] = &debug.addresses;
    set_dr7(DR7_ONE);
    set_dr0(a.load(Ordering::Relaxed));
    set_dr1(b.load(Ordering::Relaxed));
    set_dr2(c.load(Ordering::Relaxed));
    set_dr3(d.load(Ordering::Relaxed));
    let control = debug.control.load(Ordering::Relaxed) & !DR7_RESERVED;
    // General detection (bit 13) would trap the kernel's own accesses.
    set_dr7(control & !(1 << 13) | DR7_ONE);
    set_branch_step(debug.step.load(Ordering::Relaxed) & TO_BRANCH != 0);
}

fn set_branch_step(on: bool) {
    // SAFETY: every 64-bit processor has it, and the other bits stay.
    unsafe {
        let old = msr::read(DEBUGCTL);
        let new = old & !DEBUGCTL_BTF | if on { DEBUGCTL_BTF } else { 0 };
        if new != old {
            msr::write(DEBUGCTL, new);
        }
    }
}

/// The part of a switch for threads of which one uses this.
#[cold]
pub(super) fn switch(next: &ThreadArch) {
    if next.uses_debug() {
        load(next);
    } else {
        set_dr7(DR7_ONE);
        set_branch_step(false);
    }
}

/// Reads and clears what the processor says of the trap. Breakpoints count only where they are set.
fn take_reasons(thread: &ThreadArch) -> u64 {
    let reasons = dr6() ^ DR6_RESERVED;
    set_dr6(DR6_RESERVED);
    let control = thread.debug.control.load(Ordering::Relaxed);
    let set = (0..SLOTS)
        .filter(|index| slot_of(control, *index).enabled)
        .fold(0, |bits, index| bits | 1 << index);
    reasons & (set | !DR6_SLOTS)
}

/// A debug exception in user space: its `si_code`. With interrupts off.
pub(super) fn user_trap(regs: &mut UserRegs) -> Option<i32> {
    let thread = thread::current();
    let raw = dr6() ^ DR6_RESERVED;
    let reasons = take_reasons(thread);
    let debug = &thread.debug;
    // The processor has switched branch steps off.
    if debug.step.fetch_and(!TO_BRANCH, Ordering::Relaxed) & TO_BRANCH != 0 {
        thread.note_debug_use();
    }
    debug
        .status
        .store(reasons & (DR6_STEP | DR6_SLOTS), Ordering::Relaxed);
    let control = debug.control.load(Ordering::Relaxed);
    let executed =
        (0..SLOTS).any(|index| reasons >> index & 1 != 0 && slot_of(control, index).kind == 0);
    if executed {
        // Such a breakpoint strikes before the instruction: once, not for ever.
        regs.rflags |= RFLAGS_RF;
    }
    match reasons {
        r if r & DR6_STEP != 0 => Some(TRAP_TRACE),
        r if r & DR6_SLOTS != 0 => Some(TRAP_HWBKPT),
        // No reason at all: the `int1` instruction.
        _ if raw == 0 => Some(TRAP_BRKPT),
        _ => None,
    }
}

/// A debug exception in the kernel: a copy touched watched memory, or the user's last instruction did so with its trap
/// put off past the entry to the kernel.
pub(super) fn kernel_trap() {
    let thread = thread::current();
    let reasons = take_reasons(thread);
    thread
        .debug
        .status
        .fetch_or(reasons & DR6_SLOTS, Ordering::Relaxed);
}
