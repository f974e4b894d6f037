//! madvise, mincore, mlock and msync.

use super::{RW, map_file, mincore};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    madvise_dontneed_zeroes_private,
    madvise_dontneed_keeps_shared,
    madvise_refuses_bad_arguments,
    madvise_wipeonfork_and_dontfork,
    madvise_remove_punches_a_hole,
    mincore_tells_what_is_there,
    mincore_refuses_bad_arguments,
    mlock_limits_and_counts,
    mlockall_flags,
    mlock_of_a_hole_is_enomem,
    msync_flags,
];

fn madvise(addr: usize, len: usize, advice: i32) -> Sys {
    sys!(SYS_madvise, addr, len, advice)
}

fn madvise_dontneed_zeroes_private() -> Outcome {
    let addr = map(3 * PAGE)?;
    (0..3).for_each(|page| poke(addr + page * PAGE, 9));
    madvise(addr + PAGE, PAGE, libc::MADV_DONTNEED)?;
    let seen: Vec<u8> = (0..3).map(|page| peek(addr + page * PAGE)).collect();
    equal(seen, vec![9, 0, 9])
}

fn madvise_dontneed_keeps_shared() -> Outcome {
    let addr = map_shared(PAGE)?;
    poke(addr, 9);
    madvise(addr, PAGE, libc::MADV_DONTNEED)?;
    equal(peek(addr), 9)
}

fn madvise_refuses_bad_arguments() -> Outcome {
    let addr = map(3 * PAGE)?;
    fails(madvise(addr + 1, PAGE, libc::MADV_NORMAL), libc::EINVAL)?;
    fails(madvise(addr, PAGE, 12345), libc::EINVAL)?;
    sys!(SYS_munmap, addr + PAGE, PAGE)?;
    fails(madvise(addr, 3 * PAGE, libc::MADV_DONTNEED), libc::ENOMEM)?;
    equal(madvise(addr, 0, libc::MADV_NORMAL)?, 0)
}

fn madvise_wipeonfork_and_dontfork() -> Outcome {
    let addr = map(2 * PAGE)?;
    poke(addr, 5);
    madvise(addr, PAGE, libc::MADV_WIPEONFORK)?;
    madvise(addr + PAGE, PAGE, libc::MADV_DONTFORK)?;
    equal(wait(fork(|| i32::from(peek(addr)))?)?, 0)?;
    equal(death_of(|| touch(addr + PAGE))?, libc::SIGSEGV)?;
    equal(peek(addr), 5)?;
    madvise(addr, PAGE, libc::MADV_KEEPONFORK)?;
    equal(wait(fork(|| i32::from(peek(addr)))?)?, 5 << 8)
}

fn madvise_remove_punches_a_hole() -> Outcome {
    let fd = file_with(c"f", &[1; 3 * PAGE])?;
    let addr = map_file(fd, 3 * PAGE, RW, libc::MAP_SHARED)?;
    madvise(addr + PAGE, PAGE, libc::MADV_REMOVE)?;
    let seen: Vec<u8> = (0..3).map(|page| peek(addr + page * PAGE)).collect();
    equal(seen, vec![1, 0, 1])?;
    equal(fstat(fd)?.st_size, 3 * PAGE as i64)
}

fn mincore_tells_what_is_there() -> Outcome {
    let addr = map(3 * PAGE)?;
    poke(addr + PAGE, 1);
    let mut out = [9; 3];
    mincore(addr, 3 * PAGE, &mut out)?;
    equal(out.map(|byte| byte & 1), [0, 1, 0])
}

fn mincore_refuses_bad_arguments() -> Outcome {
    let addr = map(2 * PAGE)?;
    let mut out = [0; 2];
    fails(mincore(addr + 1, PAGE, &mut out), libc::EINVAL)?;
    fails(sys!(SYS_mincore, addr, PAGE, 8), libc::EFAULT)?;
    sys!(SYS_munmap, addr + PAGE, PAGE)?;
    fails(mincore(addr, 2 * PAGE, &mut out), libc::ENOMEM)
}

fn status_number(name: &str) -> Outcome<u64> {
    let text = text_of("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = some(line, name)?
        .split_whitespace()
        .next()
        .unwrap_or_default();
    some(word.parse().ok(), name)
}

fn mlock_limits_and_counts() -> Outcome {
    let addr = map(8 * PAGE)?;
    sys!(SYS_mlock, addr + 1, 2 * PAGE)?;
    equal(status_number("VmLck:")?, 12)?;
    let mut out = [0; 8];
    mincore(addr, 8 * PAGE, &mut out)?;
    equal(out.map(|byte| byte & 1), [1, 1, 1, 0, 0, 0, 0, 0])?;
    sys!(SYS_munlock, addr, PAGE)?;
    equal(status_number("VmLck:")?, 8)?;
    within(|| {
        let limit = libc::rlimit {
            rlim_cur: 2 * PAGE as u64,
            rlim_max: 2 * PAGE as u64,
        };
        sys!(SYS_prlimit64, 0, libc::RLIMIT_MEMLOCK as i32, &limit, 0)?;
        become_user()?;
        sys!(SYS_mlock, addr, 2 * PAGE)?;
        fails(sys!(SYS_mlock, addr, 4 * PAGE), libc::ENOMEM)
    })
}

fn mlockall_flags() -> Outcome {
    fails(sys!(SYS_mlockall, 0), libc::EINVAL)?;
    fails(sys!(SYS_mlockall, 8), libc::EINVAL)?;
    fails(sys!(SYS_mlockall, libc::MCL_ONFAULT), libc::EINVAL)?;
    sys!(SYS_mlockall, libc::MCL_FUTURE)?;
    let addr = map(2 * PAGE)?;
    let mut out = [0; 2];
    mincore(addr, 2 * PAGE, &mut out)?;
    equal(out.map(|byte| byte & 1), [1, 1])?;
    equal(sys!(SYS_munlockall)?, 0)
}

fn mlock_of_a_hole_is_enomem() -> Outcome {
    let addr = map(3 * PAGE)?;
    sys!(SYS_munmap, addr + PAGE, PAGE)?;
    fails(sys!(SYS_mlock, addr, 3 * PAGE), libc::ENOMEM)?;
    fails(sys!(SYS_mlock2, addr, PAGE, 2), libc::EINVAL)
}

fn msync_flags() -> Outcome {
    let addr = map(2 * PAGE)?;
    sys!(SYS_msync, addr, PAGE, libc::MS_SYNC)?;
    fails(
        sys!(SYS_msync, addr, PAGE, libc::MS_SYNC | libc::MS_ASYNC),
        libc::EINVAL,
    )?;
    fails(sys!(SYS_msync, addr, PAGE, 8), libc::EINVAL)?;
    fails(sys!(SYS_msync, addr + 1, PAGE, libc::MS_SYNC), libc::EINVAL)?;
    sys!(SYS_munmap, addr + PAGE, PAGE)?;
    fails(sys!(SYS_msync, addr, 2 * PAGE, libc::MS_SYNC), libc::ENOMEM)
}
