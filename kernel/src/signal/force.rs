//! Faults: signals that the current thread has caused itself and that it cannot block or ignore.

use core::sync::atomic::Ordering;

use abi::mman::si_code::SEGV_PKUERR;
use abi::signal::{SigInfo, SigSet, Signo};

use super::mask::set_blocked;
use super::send::send_to_task;
use super::state::LastFault;
use crate::task;

/// An access that a protection key forbids: SIGSEGV that names the key.
pub fn force_key_fault(addr: u64, key: u8, trapno: u64, error_code: u64) {
    *task::current().signal.last_fault.lock() = LastFault {
        trapno,
        error_code,
        address: addr,
    };
    force_signal(SigInfo::key_fault(SEGV_PKUERR, addr, key.into()));
}

/// An exception in user space becomes a signal to the thread that caused it.
pub fn force_exception(signo: i32, code: i32, addr: u64, trapno: u64, error_code: u64) {
    let Some(signo) = Signo::new(signo) else {
        return;
    };
    let current = task::current();
    *current.signal.last_fault.lock() = LastFault {
        trapno,
        error_code,
        address: addr,
    };
    force_signal(SigInfo::fault(signo, code, addr));
}

/// Sends a signal to the current thread that is delivered whatever it has said: if it is blocked or ignored, it is set
/// to its default first, which ends the process, init too.
pub fn force_signal(info: SigInfo) {
    let Some(signo) = info.signo() else { return };
    let current = task::current();
    let hand = current.process.signal.hand.get();
    let blocked = current.signal.blocked().contains(signo);
    if blocked || hand.get(signo).is_ignore() {
        hand.reset_handler(signo);
        set_blocked(
            &current,
            current.signal.blocked().difference(SigSet::of(signo)),
        );
    }
    // Debugging must not leave init killable.
    if hand.get(signo).is_default() && !current.ptrace.is_traced() {
        current
            .process
            .signal
            .unkillable
            .store(false, Ordering::Relaxed);
    }
    drop(hand);
    // Codes of the kernel are above SI_USER: no limit refuses them.
    let _ = send_to_task(&task::current_arc(), info);
}

/// The frame of `failed` could not be built: SIGSEGV, and no second attempt if that was it.
pub fn force_segv(failed: Signo) {
    if failed == Signo::SEGV {
        task::current()
            .process
            .signal
            .hand
            .get()
            .reset_handler(Signo::SEGV);
    }
    force_signal(SigInfo::kernel(Signo::SEGV));
}
