//! `swapon` and `swapoff` of what cannot be swapped to.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    files_in_memory_hold_no_swap,
    what_is_not_a_file_holds_none,
    unknown_flags_come_first,
    users_may_not,
    what_is_not_swapped_to_cannot_be_left,
];

fn files_in_memory_hold_no_swap() -> Outcome {
    let fd = file_with(c"f", &[0; 4096])?;
    sys!(SYS_ftruncate, fd, 64 * PAGE)?;
    sys!(SYS_pwrite64, fd, c"SWAPSPACE2".as_ptr(), 10, PAGE - 10)?;
    fails(sys!(SYS_swapon, c"f", 0), libc::EINVAL)?;
    fails(sys!(SYS_swapon, c"f", 0x8005), libc::EINVAL)?;
    equal(text_of("/proc/swaps")?.lines().count(), 1)
}

fn what_is_not_a_file_holds_none() -> Outcome {
    fails(sys!(SYS_swapon, c"g", 0), libc::ENOENT)?;
    fails(sys!(SYS_swapon, c".", 0), libc::EISDIR)?;
    fails(sys!(SYS_swapon, c"/dev/null", 0), libc::EINVAL)?;
    fails(sys!(SYS_swapon, c"/proc/version", 0), libc::EINVAL)?;
    fails(sys!(SYS_swapon, 8, 0), libc::EFAULT)
}

fn unknown_flags_come_first() -> Outcome {
    fails(sys!(SYS_swapon, 8, 0x8_0000), libc::EINVAL)?;
    within(|| {
        become_user()?;
        fails(sys!(SYS_swapon, 8, 0x8_0000), libc::EINVAL)
    })
}

fn users_may_not() -> Outcome {
    within(|| {
        become_user()?;
        fails(sys!(SYS_swapon, 8, 0), libc::EPERM)?;
        fails(sys!(SYS_swapoff, 8), libc::EPERM)
    })
}

fn what_is_not_swapped_to_cannot_be_left() -> Outcome {
    close(file_with(c"f", b"x")?)?;
    fails(sys!(SYS_swapoff, c"f"), libc::EINVAL)?;
    fails(sys!(SYS_swapoff, c"/dev/null"), libc::EINVAL)?;
    fails(sys!(SYS_swapoff, c"g"), libc::ENOENT)?;
    fails(sys!(SYS_swapoff, c"."), libc::EISDIR)?;
    fails(sys!(SYS_swapoff, 8), libc::EFAULT)
}
