//! Page faults, as the architecture delivers them.

use core::sync::atomic::Ordering;

use abi::mman::si_code;

use super::addr::USER_END;
use super::page_table::tlb;
use super::stats;
use crate::sync::current;

const SIGSEGV: i32 = 11;

/// What the access was. `exec` implies a fetch; otherwise `write` or a read.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultAccess {
    pub write: bool,
    pub exec: bool,
    /// By an instruction of the program, which may be tried again after a signal.
    pub user: bool,
}

/// The signal that an access which cannot be satisfied earns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultError {
    /// SIGSEGV or SIGBUS.
    pub signal: i32,
    /// `si_code`.
    pub code: i32,
}

const NOTHING_THERE: FaultError = FaultError {
    signal: SIGSEGV,
    code: si_code::SEGV_MAPERR,
};

/// The protection key of the running task's page at an address.
pub fn key_at(addr: u64) -> u8 {
    let address = usize::try_from(addr).unwrap_or(usize::MAX);
    tlb::with_current(|space| space.key_at(address)).unwrap_or(0)
}

/// Makes the access possible, or says which signal it earns (from kernel code: that the copy fails). May sleep. Also
/// answers Ok when the task is being killed for want of memory and will not come back.
pub fn handle(addr: u64, access: FaultAccess) -> Result<(), FaultError> {
    let Ok(address) = usize::try_from(addr) else {
        return Err(NOTHING_THERE);
    };
    if address >= USER_END {
        return Err(NOTHING_THERE);
    }
    stats::count_fault();
    let minor = &current().usage.minor_faults;
    minor.store(minor.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    tlb::with_current(|space| space.fault(address, access)).unwrap_or(Err(NOTHING_THERE))
}
