//! mmap, munmap and mprotect.

use super::{ANON, FIXED, RW, map_file};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    new_memory_is_zero,
    mmap_refuses_length_zero_and_no_type,
    mmap_refuses_bad_descriptors_and_offsets,
    mmap_fixed_replaces,
    mmap_fixed_noreplace_is_eexist,
    mmap_fixed_unaligned_is_einval,
    mmap_hint_is_taken,
    mmap_too_much_is_enomem,
    mmap_below_the_minimum_is_eperm,
    mmap_needs_the_right_open_mode,
    mmap_of_a_directory_and_pipe_is_enodev,
    munmap_splits,
    munmap_refuses_unaligned,
    munmap_of_nothing_is_fine,
    mprotect_takes_and_gives_rights,
    mprotect_over_a_hole_is_enomem,
    mprotect_of_a_read_only_shared_map_is_eacces,
    prot_none_is_efault_for_the_kernel,
    copies_end_where_memory_does,
    structures_over_the_end_are_efault,
    execute_needs_the_right,
];

fn new_memory_is_zero() -> Outcome {
    let len = 64 * PAGE;
    let addr = map(len)?;
    check(
        (0..len).step_by(97).all(|offset| peek(addr + offset) == 0),
        "not zero",
    )?;
    (0..len)
        .step_by(PAGE)
        .for_each(|offset| poke(addr + offset, 0xff));
    sys!(SYS_munmap, addr, len)?;
    let again = map(len)?;
    check(
        (0..len)
            .step_by(PAGE)
            .all(|offset| peek(again + offset) == 0),
        "someone's data",
    )
}

fn mmap_refuses_length_zero_and_no_type() -> Outcome {
    fails(map_with(0, RW, ANON), libc::EINVAL)?;
    fails(map_with(PAGE, RW, libc::MAP_ANONYMOUS), libc::EINVAL)?;
    fails(map_with(PAGE, RW, libc::MAP_ANONYMOUS | 0xf), libc::EINVAL).or_else(|_| {
        fails(
            map_with(PAGE, RW, libc::MAP_ANONYMOUS | 0xf),
            libc::EOPNOTSUPP,
        )
    })
}

fn mmap_refuses_bad_descriptors_and_offsets() -> Outcome {
    fails(map_file(-1, PAGE, RW, libc::MAP_PRIVATE), libc::EBADF)?;
    fails(map_file(9999, PAGE, RW, libc::MAP_PRIVATE), libc::EBADF)?;
    let fd = file_with(c"f", b"x")?;
    fails(
        sys!(SYS_mmap, 0, PAGE, RW, libc::MAP_PRIVATE, fd, 1),
        libc::EINVAL,
    )?;
    let last = 1_u64 << 63;
    fails(
        sys!(
            SYS_mmap,
            0,
            2 * PAGE,
            RW,
            libc::MAP_PRIVATE,
            fd,
            last - 4096
        ),
        libc::EOVERFLOW,
    )
}

fn mmap_fixed_replaces() -> Outcome {
    let addr = map(3 * PAGE)?;
    (0..3).for_each(|page| poke(addr + page * PAGE, 9));
    equal(
        sys!(SYS_mmap, addr + PAGE, PAGE, RW, ANON | FIXED, -1, 0)?,
        addr + PAGE,
    )?;
    let seen: Vec<u8> = (0..3).map(|page| peek(addr + page * PAGE)).collect();
    equal(seen, vec![9, 0, 9])
}

fn mmap_fixed_noreplace_is_eexist() -> Outcome {
    let addr = map(PAGE)?;
    let flags = ANON | libc::MAP_FIXED_NOREPLACE;
    fails(sys!(SYS_mmap, addr, PAGE, RW, flags, -1, 0), libc::EEXIST)?;
    sys!(SYS_munmap, addr, PAGE)?;
    equal(sys!(SYS_mmap, addr, PAGE, RW, flags, -1, 0)?, addr)
}

fn mmap_fixed_unaligned_is_einval() -> Outcome {
    let addr = map(2 * PAGE)?;
    fails(
        sys!(SYS_mmap, addr + 1, PAGE, RW, ANON | FIXED, -1, 0),
        libc::EINVAL,
    )
}

fn mmap_hint_is_taken() -> Outcome {
    let addr = map(4 * PAGE)?;
    sys!(SYS_munmap, addr, 4 * PAGE)?;
    equal(
        sys!(SYS_mmap, addr + PAGE + 5, PAGE, RW, ANON, -1, 0)?,
        addr + PAGE,
    )?;
    // Taken by another: elsewhere.
    check(
        sys!(SYS_mmap, addr + PAGE, PAGE, RW, ANON, -1, 0)? != addr + PAGE,
        "replaced",
    )
}

fn mmap_too_much_is_enomem() -> Outcome {
    fails(map(1 << 47), libc::ENOMEM)?;
    fails(map(usize::MAX - 5000), libc::ENOMEM)?;
    fails(
        sys!(SYS_mmap, 1_usize << 56, PAGE, RW, ANON | FIXED, -1, 0),
        libc::ENOMEM,
    )
}

fn mmap_below_the_minimum_is_eperm() -> Outcome {
    within(|| {
        become_user()?;
        fails(
            sys!(SYS_mmap, 0, PAGE, RW, ANON | FIXED, -1, 0),
            libc::EPERM,
        )
    })
}

fn mmap_needs_the_right_open_mode() -> Outcome {
    file_with(c"f", &[1; PAGE])?;
    let reader = open(c"f", libc::O_RDONLY)?;
    fails(map_file(reader, PAGE, RW, libc::MAP_SHARED), libc::EACCES)?;
    map_file(reader, PAGE, RW, libc::MAP_PRIVATE)?;
    let writer = open(c"f", libc::O_WRONLY)?;
    fails(
        map_file(writer, PAGE, libc::PROT_READ, libc::MAP_PRIVATE),
        libc::EACCES,
    )?;
    fails(
        map_file(writer, PAGE, libc::PROT_WRITE, libc::MAP_SHARED),
        libc::EACCES,
    )
}

fn mmap_of_a_directory_and_pipe_is_enodev() -> Outcome {
    let dir = open(c".", libc::O_RDONLY | libc::O_DIRECTORY)?;
    fails(
        map_file(dir, PAGE, libc::PROT_READ, libc::MAP_PRIVATE),
        libc::ENODEV,
    )?;
    let (read_end, _write_end) = pipe()?;
    fails(
        map_file(read_end, PAGE, libc::PROT_READ, libc::MAP_PRIVATE),
        libc::ENODEV,
    )
}

fn munmap_splits() -> Outcome {
    let addr = map(3 * PAGE)?;
    (0..3).for_each(|page| poke(addr + page * PAGE, page as u8 + 1));
    sys!(SYS_munmap, addr + PAGE, PAGE)?;
    equal((peek(addr), peek(addr + 2 * PAGE)), (1, 3))?;
    equal(death_of(|| touch(addr + PAGE))?, libc::SIGSEGV)
}

fn munmap_refuses_unaligned() -> Outcome {
    let addr = map(PAGE)?;
    fails(sys!(SYS_munmap, addr + 1, PAGE), libc::EINVAL)?;
    fails(sys!(SYS_munmap, addr, 0), libc::EINVAL)?;
    fails(sys!(SYS_munmap, usize::MAX & !0xfff, PAGE), libc::EINVAL)
}

fn munmap_of_nothing_is_fine() -> Outcome {
    let addr = map(PAGE)?;
    sys!(SYS_munmap, addr, PAGE)?;
    equal(sys!(SYS_munmap, addr, PAGE)?, 0)
}

fn mprotect_takes_and_gives_rights() -> Outcome {
    let addr = map(PAGE)?;
    poke(addr, 5);
    sys!(SYS_mprotect, addr, PAGE, libc::PROT_NONE)?;
    equal(death_of(|| touch(addr))?, libc::SIGSEGV)?;
    sys!(SYS_mprotect, addr, PAGE, libc::PROT_READ)?;
    equal(peek(addr), 5)?;
    equal(death_of(|| poke(addr, 1))?, libc::SIGSEGV)?;
    sys!(SYS_mprotect, addr, PAGE, RW)?;
    poke(addr, 6);
    equal(peek(addr), 6)
}

fn mprotect_over_a_hole_is_enomem() -> Outcome {
    let addr = map(3 * PAGE)?;
    sys!(SYS_munmap, addr + PAGE, PAGE)?;
    fails(
        sys!(SYS_mprotect, addr, 3 * PAGE, libc::PROT_READ),
        libc::ENOMEM,
    )?;
    // What came before the hole has changed.
    equal(death_of(|| poke(addr, 1))?, libc::SIGSEGV)?;
    equal(death_of(|| poke(addr + 2 * PAGE, 1))?, 0)?;
    fails(sys!(SYS_mprotect, addr + 1, PAGE, RW), libc::EINVAL)?;
    fails(sys!(SYS_mprotect, addr, PAGE, 0x100), libc::EINVAL)?;
    equal(sys!(SYS_mprotect, addr, 0, RW)?, 0)
}

fn mprotect_of_a_read_only_shared_map_is_eacces() -> Outcome {
    file_with(c"f", &[1; PAGE])?;
    let reader = open(c"f", libc::O_RDONLY)?;
    let addr = map_file(reader, PAGE, libc::PROT_READ, libc::MAP_SHARED)?;
    fails(sys!(SYS_mprotect, addr, PAGE, RW), libc::EACCES)?;
    let private = map_file(reader, PAGE, libc::PROT_READ, libc::MAP_PRIVATE)?;
    equal(sys!(SYS_mprotect, private, PAGE, RW)?, 0)
}

fn prot_none_is_efault_for_the_kernel() -> Outcome {
    let addr = map_with(PAGE, libc::PROT_NONE, ANON)?;
    let fd = open(c"/dev/zero", libc::O_RDONLY)?;
    fails(sys!(SYS_read, fd, addr, 10), libc::EFAULT)?;
    let text = map_with(PAGE, libc::PROT_READ, ANON)?;
    fails(sys!(SYS_read, fd, text, 10), libc::EFAULT)
}

/// A page with nothing mapped behind it; its end.
fn edge() -> Outcome<usize> {
    let addr = map(2 * PAGE)?;
    sys!(SYS_munmap, addr + PAGE, PAGE)?;
    Ok(addr + PAGE)
}

fn copies_end_where_memory_does() -> Outcome {
    const LEN: usize = 130;
    let content: Vec<u8> = (1..=LEN as u8).collect();
    let fd = file_with(c"f", &content)?;
    let out = file_with(c"out", b"")?;
    let end = edge()?;
    for left in [1, 2, 7, 8, 9, 15, 16, 17, 31, 40, 63, 64, 65, 71, 100, 129] {
        for len in [left + 1, LEN] {
            let start = end - left;
            (start..end).for_each(|at| poke(at, 0));
            equal(sys!(SYS_pread64, fd, start, len, 0)?, left)?;
            let read: Vec<u8> = (start..end).map(peek).collect();
            equal(read.as_slice(), &content[..left])?;
            sys!(SYS_ftruncate, out, 0)?;
            equal(sys!(SYS_pwrite64, out, start, len, 0)?, left)?;
            equal(std::fs::read("out")?, read)?;
        }
    }
    fails(sys!(SYS_pread64, fd, end, 1, 0), libc::EFAULT)
}

fn structures_over_the_end_are_efault() -> Outcome {
    let end = edge()?;
    let limit = libc::RLIMIT_NOFILE as usize;
    let cases: [(i64, [usize; 4], usize, usize); 5] = [
        (libc::SYS_getrlimit, [limit, 0, 0, 0], 1, 16),
        (libc::SYS_clock_gettime, [1, 0, 0, 0], 1, 16),
        (libc::SYS_getitimer, [0, 0, 0, 0], 1, 32),
        (libc::SYS_rt_sigaction, [10, 0, 0, 8], 2, 32),
        (libc::SYS_sigaltstack, [0, 0, 0, 0], 1, 24),
    ];
    for (number, mut arguments, place, size) in cases {
        for back in [size, size + 1, size + 8] {
            arguments[place] = end - back;
            equal(call(number, &arguments)?, 0)?;
        }
        for back in [size - 1, size - 8, 4] {
            arguments[place] = end - back;
            fails(call(number, &arguments), libc::EFAULT)?;
        }
    }
    // The other way: what is read for a change must be whole.
    for back in [31, 24, 8] {
        fails(sys!(SYS_rt_sigaction, 10, end - back, 0, 8), libc::EFAULT)?;
        fails(sys!(SYS_setitimer, 0, end - back, 0), libc::EFAULT)?;
    }
    (end - PAGE..end).for_each(|at| poke(at, 0));
    equal(sys!(SYS_setitimer, 0, end - 33, 0)?, 0)
}

fn execute_needs_the_right() -> Outcome {
    let addr = map(PAGE)?;
    poke(addr, 0xc3);
    let run = || {
        // SAFETY: the page holds a return instruction.
        unsafe { std::arch::asm!("call {}", in(reg) addr) }
    };
    equal(death_of(run)?, libc::SIGSEGV)?;
    sys!(SYS_mprotect, addr, PAGE, libc::PROT_READ | libc::PROT_EXEC)?;
    equal(death_of(run)?, 0)
}
