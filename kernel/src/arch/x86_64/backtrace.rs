//! Return addresses, by frame pointers. Everything is compiled with them, the core library included.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{layout, uaccess};

/// Where a fault happened, for the panic about it: the handler's own frames are of no interest.
static START: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// Makes the next backtrace start at a faulting instruction.
pub(super) fn start_from(rip: u64, rbp: u64) {
    START[0].store(rip, Ordering::Relaxed);
    START[1].store(rbp, Ordering::Relaxed);
}

/// Calls `show` with each address in the kernel's code, innermost first, at most `max` times. Bears any stack.
pub fn walk(max: usize, mut show: impl FnMut(u64)) {
    let (rip, mut frame) = (
        START[0].swap(0, Ordering::Relaxed),
        START[1].swap(0, Ordering::Relaxed),
    );
    if rip != 0 {
        show(rip);
    } else {
        // SAFETY: reads a register.
        unsafe {
            core::arch::asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack, preserves_flags))
        };
    }
    walk_from(frame, max, show);
}

/// The same from a saved frame pointer.
pub fn walk_from(mut frame: u64, max: usize, mut show: impl FnMut(u64)) {
    for _ in 0..max {
        let (Some(next), Some(address)) =
            (uaccess::peek(frame), uaccess::peek(frame.wrapping_add(8)))
        else {
            return;
        };
        if !layout::is_text(address) {
            return;
        }
        show(address);
        if next <= frame {
            return;
        }
        frame = next;
    }
}
