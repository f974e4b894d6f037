//! What flags of mmap do besides placing: 32BIT, VALIDATE, POPULATE, LOCKED, HUGETLB, NORESERVE.

use super::{ANON, FIXED, RW, map_file, mincore, smaps_kb};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    flag_32bit_is_below_two_gib,
    flag_32bit_takes_a_hint,
    flag_32bit_too_large_is_enomem,
    flag_validate_refuses_unknown,
    flag_validate_refuses_sync,
    flag_validate_of_nothing_is_einval,
    flag_unknown_bits_are_ignored_otherwise,
    flag_populate_of_a_file,
    flag_populate_past_the_end_is_no_error,
    flag_nonblock_populates_nothing,
    flag_locked_makes_resident,
    flag_locked_without_right_is_eperm,
    flag_locked_over_the_limit_is_eagain,
    flag_hugetlb_without_huge_pages,
    flag_stack_and_denywrite_do_nothing,
    flag_write_alone_reads_too,
    flag_offset_past_the_file,
    flag_private_of_a_sealed_length,
];

fn flag_32bit_is_below_two_gib() -> Outcome {
    for len in [PAGE, 64 * PAGE, 2 << 20] {
        let addr = map_with(len, RW, ANON | libc::MAP_32BIT)?;
        check(
            (0x4000_0000..0x8000_0000 - len + 1).contains(&addr),
            "too high",
        )?;
        poke(addr + len - 1, 1);
    }
    Ok(())
}

fn flag_32bit_takes_a_hint() -> Outcome {
    let hint = 0x5000_0000;
    equal(
        sys!(SYS_mmap, hint, PAGE, RW, ANON | libc::MAP_32BIT, -1, 0)?,
        hint,
    )?;
    let high = sys!(
        SYS_mmap,
        1_usize << 40,
        PAGE,
        RW,
        ANON | libc::MAP_32BIT,
        -1,
        0
    )?;
    check(high < 0x8000_0000, "above two GiB")
}

fn flag_32bit_too_large_is_enomem() -> Outcome {
    fails(
        map_with(
            0x4000_0001,
            RW,
            ANON | libc::MAP_32BIT | libc::MAP_NORESERVE,
        ),
        libc::ENOMEM,
    )
}

fn flag_validate_refuses_unknown() -> Outcome {
    let fd = file_with(c"f", &[1; PAGE])?;
    let validate = libc::MAP_SHARED_VALIDATE;
    map_file(fd, PAGE, RW, validate)?;
    map_file(
        fd,
        PAGE,
        RW,
        validate | libc::MAP_POPULATE | libc::MAP_NORESERVE,
    )?;
    for bit in [0x80, 0x200, 0x400, 0x20_0000, 0x80_0000, 0x200_0000] {
        fails(map_file(fd, PAGE, RW, validate | bit), libc::EOPNOTSUPP)?;
    }
    Ok(())
}

fn flag_validate_refuses_sync() -> Outcome {
    let fd = file_with(c"f", &[1; PAGE])?;
    let sync = libc::MAP_SYNC;
    fails(
        map_file(fd, PAGE, RW, libc::MAP_SHARED_VALIDATE | sync),
        libc::EOPNOTSUPP,
    )?;
    map_file(fd, PAGE, RW, libc::MAP_SHARED | sync)?;
    Ok(())
}

fn flag_validate_of_nothing_is_einval() -> Outcome {
    let flags = libc::MAP_SHARED_VALIDATE | libc::MAP_ANONYMOUS;
    fails(map_with(PAGE, RW, flags), libc::EINVAL)?;
    for kind in [0, 4, 8, 15] {
        fails(map_with(PAGE, RW, kind | libc::MAP_ANONYMOUS), libc::EINVAL)?;
    }
    Ok(())
}

fn flag_unknown_bits_are_ignored_otherwise() -> Outcome {
    let fd = file_with(c"f", &[1; PAGE])?;
    map_file(fd, PAGE, RW, libc::MAP_SHARED | 0x80 | 0x200)?;
    map_with(PAGE, RW, ANON | 0x20_0000)?;
    map_with(PAGE, RW | 0x40, ANON)?;
    Ok(())
}

fn resident(addr: usize, pages: usize) -> Outcome<usize> {
    let mut out = vec![0; pages];
    mincore(addr, pages * PAGE, &mut out)?;
    Ok(out.iter().filter(|byte| *byte & 1 != 0).count())
}

fn flag_populate_of_a_file() -> Outcome {
    let fd = file_with(c"f", &vec![1; 256 * PAGE])?;
    let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
    equal(smaps_kb(map_file(fd, 256 * PAGE, RW, flags)?, "Rss")?, 1024)?;
    equal(
        smaps_kb(map_file(fd, 256 * PAGE, RW, libc::MAP_SHARED)?, "Rss")?,
        0,
    )
}

fn flag_populate_past_the_end_is_no_error() -> Outcome {
    let fd = file_with(c"f", &[1; PAGE])?;
    let addr = map_file(fd, 4 * PAGE, RW, libc::MAP_PRIVATE | libc::MAP_POPULATE)?;
    equal(peek(addr), 1)?;
    equal(death_of(|| touch(addr + PAGE))?, libc::SIGBUS)
}

fn flag_nonblock_populates_nothing() -> Outcome {
    let flags = ANON | libc::MAP_POPULATE | libc::MAP_NONBLOCK;
    equal(resident(map_with(4 * PAGE, RW, flags)?, 4)?, 0)
}

fn flag_locked_makes_resident() -> Outcome {
    equal(
        resident(map_with(4 * PAGE, RW, ANON | libc::MAP_LOCKED)?, 4)?,
        4,
    )?;
    equal(
        resident(map_with(4 * PAGE, 0, ANON | libc::MAP_LOCKED)?, 4)?,
        0,
    )
}

fn memlock(bytes: usize) -> Sys {
    let limit = libc::rlimit {
        rlim_cur: bytes as u64,
        rlim_max: bytes as u64,
    };
    sys!(SYS_prlimit64, 0, libc::RLIMIT_MEMLOCK as i32, &limit, 0)
}

fn flag_locked_without_right_is_eperm() -> Outcome {
    memlock(0)?;
    become_user()?;
    fails(map_with(PAGE, RW, ANON | libc::MAP_LOCKED), libc::EPERM)
}

fn flag_locked_over_the_limit_is_eagain() -> Outcome {
    memlock(2 * PAGE)?;
    become_user()?;
    map_with(2 * PAGE, RW, ANON | libc::MAP_LOCKED)?;
    fails(map_with(PAGE, RW, ANON | libc::MAP_LOCKED), libc::EAGAIN)
}

fn flag_hugetlb_without_huge_pages() -> Outcome {
    let text = text_of("/proc/meminfo")?;
    if !text
        .lines()
        .any(|line| line.starts_with("HugePages_Free:") && line.ends_with(" 0"))
    {
        return skip("there are free huge pages, or none are known of");
    }
    fails(
        map_with(2 << 20, RW, ANON | libc::MAP_HUGETLB),
        libc::ENOMEM,
    )?;
    fails(map_with(PAGE, RW, ANON | libc::MAP_HUGETLB), libc::ENOMEM)?;
    let two_mib = 21 << 26;
    fails(
        map_with(2 << 20, RW, ANON | libc::MAP_HUGETLB | two_mib),
        libc::ENOMEM,
    )?;
    let two_kib = 11 << 26;
    fails(
        map_with(2 << 20, RW, ANON | libc::MAP_HUGETLB | two_kib),
        libc::EINVAL,
    )?;
    let fd = file_with(c"f", b"x")?;
    fails(
        map_file(fd, PAGE, RW, libc::MAP_PRIVATE | libc::MAP_HUGETLB),
        libc::EINVAL,
    )
}

fn flag_stack_and_denywrite_do_nothing() -> Outcome {
    let addr = map_with(PAGE, RW, ANON | libc::MAP_STACK | libc::MAP_NORESERVE)?;
    poke(addr, 1);
    let fd = file_with(c"f", &[1; PAGE])?;
    let flags = libc::MAP_PRIVATE | libc::MAP_DENYWRITE | libc::MAP_EXECUTABLE;
    let text = map_file(fd, PAGE, libc::PROT_READ, flags)?;
    sys!(SYS_pwrite64, fd, c"zz", 2, 0)?;
    equal(peek(text), b'z')
}

fn flag_write_alone_reads_too() -> Outcome {
    let addr = map_with(PAGE, libc::PROT_WRITE, ANON)?;
    poke(addr, 4);
    equal(peek(addr), 4)
}

fn flag_offset_past_the_file() -> Outcome {
    let fd = file_with(c"f", &[1; PAGE])?;
    let addr = sys!(SYS_mmap, 0, PAGE, RW, libc::MAP_SHARED, fd, 64 * PAGE)?;
    equal(death_of(|| touch(addr))?, libc::SIGBUS)?;
    sys!(SYS_ftruncate, fd, 65 * PAGE)?;
    equal(peek(addr), 0)
}

fn flag_private_of_a_sealed_length() -> Outcome {
    let fd = file_with(c"f", &[1; 2 * PAGE])?;
    let addr = map_file(fd, 2 * PAGE, RW, libc::MAP_PRIVATE)?;
    poke(addr + PAGE, 9);
    sys!(SYS_ftruncate, fd, PAGE)?;
    // A truncate takes private copies as well.
    equal(death_of(|| touch(addr + PAGE))?, libc::SIGBUS)?;
    sys!(SYS_ftruncate, fd, 2 * PAGE)?;
    equal(peek(addr + PAGE), 0)?;
    sys!(SYS_mmap, addr, PAGE, RW, ANON | FIXED, -1, 0)?;
    equal(peek(addr), 0)
}
