//! Page faults.

use abi::mman::si_code;

/// What the access was. `exec` implies a fetch; otherwise `write` or a read.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultAccess {
    pub read: bool,
    pub write: bool,
    pub exec: bool,
}

/// The signal that an access which cannot be satisfied earns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultError {
    /// SIGSEGV or SIGBUS; SIGKILL when memory ran out.
    pub signal: i32,
    /// `si_code`.
    pub code: i32,
}

/// Makes the access possible, or says which signal it earns (from kernel code: that the copy fails). May sleep.
pub fn handle(addr: u64, access: FaultAccess, from_user: bool) -> Result<(), FaultError> {
    let _ = (addr, access, from_user);
    Err(FaultError {
        signal: 11,
        code: si_code::SEGV_MAPERR,
    })
}
