//! membarrier(2): the other CPUs order their memory accesses, so that those who run often need not.
//!
//! Every CPU in question passes through an interrupt, which orders its accesses and, as it returns by `iret`, its
//! instructions too. A thread that does not run has passed through a switch and will pass through another.

use core::sync::atomic::{Ordering, fence};

use abi::{Errno, Result};

use super::rseq;
use crate::arch;
use crate::arch::cpu::{CpuId, CpuMask};
use crate::sync::current;

bitflags::bitflags! {
    /// The commands, a bit each.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Commands: u32 {
        const GLOBAL = 1;
        const GLOBAL_EXPEDITED = 2;
        const REGISTER_GLOBAL_EXPEDITED = 4;
        const PRIVATE_EXPEDITED = 8;
        const REGISTER_PRIVATE_EXPEDITED = 16;
        const PRIVATE_EXPEDITED_SYNC_CORE = 32;
        const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE = 64;
        const PRIVATE_EXPEDITED_RSEQ = 128;
        const REGISTER_PRIVATE_EXPEDITED_RSEQ = 256;
        const GET_REGISTRATIONS = 512;
    }
}

/// Carries out one command; `cpu` is the only one that a barrier is for. Answers what the call does.
///
/// # Errors
/// `EINVAL` for what is no single command, `EPERM` for a private one without its registration.
pub fn run(command: Commands, cpu: Option<CpuId>) -> Result<usize> {
    use Commands as C;
    let me = current();
    let mm = me.my_mm();
    let registered = C::from_bits_truncate(mm.barriers().load(Ordering::SeqCst));
    let needs = |registration: C| match registered.contains(registration) {
        true => Ok(()),
        false => Err(Errno::EPERM),
    };
    match command {
        C::GET_REGISTRATIONS => return Ok(registered.bits() as usize),
        C::REGISTER_GLOBAL_EXPEDITED
        | C::REGISTER_PRIVATE_EXPEDITED
        | C::REGISTER_PRIVATE_EXPEDITED_SYNC_CORE
        | C::REGISTER_PRIVATE_EXPEDITED_RSEQ => {
            mm.barriers().fetch_or(command.bits(), Ordering::SeqCst);
        }
        C::GLOBAL | C::GLOBAL_EXPEDITED => everywhere(|_| {}, 0),
        C::PRIVATE_EXPEDITED => {
            needs(C::REGISTER_PRIVATE_EXPEDITED)?;
            everywhere(|_| {}, 0);
        }
        C::PRIVATE_EXPEDITED_SYNC_CORE => {
            needs(C::REGISTER_PRIVATE_EXPEDITED_SYNC_CORE)?;
            everywhere(|_| {}, 0);
            // This one returns by `sysret`, which orders no instructions.
            arch::cpu::serialize();
        }
        C::PRIVATE_EXPEDITED_RSEQ => {
            needs(C::REGISTER_PRIVATE_EXPEDITED_RSEQ)?;
            let space = mm.id() as usize;
            match cpu {
                None => everywhere(interrupt_sequences, space),
                Some(cpu) => arch::ipi::call(&CpuMask::of(cpu), interrupt_sequences, space),
            }
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// Runs `function` on every other CPU and waits for that.
fn everywhere(function: fn(usize), argument: usize) {
    fence(Ordering::SeqCst);
    let others = CpuMask::online().without(arch::cpu::current_id());
    arch::ipi::call(&others, function, argument);
    fence(Ordering::SeqCst);
}

/// The thread that runs here, if it is of that space, aborts its restartable sequence.
fn interrupt_sequences(space: usize) {
    let task = current();
    if task.with_mm(|mm| mm.is_some_and(|mm| mm.id() as usize == space)) {
        rseq::interrupt(&task);
    }
}
