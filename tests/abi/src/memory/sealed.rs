//! mseal: mappings that stay as they are. Of Linux since 6.10.

use super::{ANON, FIXED, RW};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    sealed_refuses_bad_arguments,
    sealed_stays_mapped_and_protected,
    sealed_part_of_an_area,
    sealed_content_can_go_only_if_it_can_be_written,
    sealed_is_inherited,
];

const SYS_MSEAL: i64 = 462;

fn seal(addr: usize, len: usize, flags: usize) -> Sys {
    call(SYS_MSEAL, &[addr, len, flags])
}

/// Skips before Linux 6.10.
fn there() -> Outcome {
    match seal(0, 0, 0) {
        Err(Errno(libc::ENOSYS)) => skip("no mseal before Linux 6.10"),
        _ => Ok(()),
    }
}

fn sealed_refuses_bad_arguments() -> Outcome {
    there()?;
    let addr = map(3 * PAGE)?;
    fails(seal(addr, PAGE, 1), libc::EINVAL)?;
    fails(seal(addr + 1, PAGE, 0), libc::EINVAL)?;
    fails(seal(addr, usize::MAX & !0xfff, 0), libc::EINVAL)?;
    sys!(SYS_munmap, addr + PAGE, PAGE)?;
    fails(seal(addr, 3 * PAGE, 0), libc::ENOMEM)?;
    equal(sys!(SYS_munmap, addr, PAGE)?, 0)?;
    equal(seal(addr + 2 * PAGE, 0, 0)?, 0)
}

fn sealed_stays_mapped_and_protected() -> Outcome {
    there()?;
    let addr = map(2 * PAGE)?;
    poke(addr, 7);
    seal(addr, 2 * PAGE, 0)?;
    equal(seal(addr, 2 * PAGE, 0)?, 0)?;
    fails(sys!(SYS_munmap, addr, 2 * PAGE), libc::EPERM)?;
    fails(sys!(SYS_mprotect, addr, PAGE, libc::PROT_READ), libc::EPERM)?;
    fails(
        sys!(SYS_mmap, addr, PAGE, RW, ANON | FIXED, -1, 0),
        libc::EPERM,
    )?;
    fails(
        sys!(SYS_mremap, addr, PAGE, 2 * PAGE, libc::MREMAP_MAYMOVE, 0),
        libc::EPERM,
    )?;
    poke(addr + PAGE, 8);
    equal((peek(addr), peek(addr + PAGE)), (7, 8))
}

fn sealed_part_of_an_area() -> Outcome {
    there()?;
    let addr = map(3 * PAGE)?;
    seal(addr + PAGE, PAGE, 0)?;
    fails(sys!(SYS_munmap, addr, 3 * PAGE), libc::EPERM)?;
    poke(addr, 1);
    sys!(SYS_munmap, addr, PAGE)?;
    equal(sys!(SYS_munmap, addr + 2 * PAGE, PAGE)?, 0)
}

fn sealed_content_can_go_only_if_it_can_be_written() -> Outcome {
    there()?;
    let (writable, readable) = (map(PAGE)?, map(3 * PAGE)? + PAGE);
    poke(writable, 7);
    poke(readable, 7);
    sys!(SYS_mprotect, readable, PAGE, libc::PROT_READ)?;
    seal(writable, PAGE, 0)?;
    seal(readable, PAGE, 0)?;
    sys!(SYS_madvise, writable, PAGE, libc::MADV_DONTNEED)?;
    equal(peek(writable), 0)?;
    fails(
        sys!(SYS_madvise, readable, PAGE, libc::MADV_DONTNEED),
        libc::EPERM,
    )?;
    equal(sys!(SYS_madvise, readable, PAGE, libc::MADV_RANDOM)?, 0)
}

fn sealed_is_inherited() -> Outcome {
    there()?;
    let addr = map(PAGE)?;
    seal(addr, PAGE, 0)?;
    within(|| fails(sys!(SYS_munmap, addr, PAGE), libc::EPERM))
}
