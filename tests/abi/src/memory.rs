//! Memory: mappings, protection, growth, advice, residency, sharing and copies on write.

use std::sync::atomic::Ordering;

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
    mremap_grows_and_moves,
    mremap_shrinks,
    mremap_without_maymove_is_enomem,
    mremap_fixed_moves_over,
    mremap_dontunmap_leaves_the_place,
    mremap_refuses_bad_arguments,
    brk_moves_and_stays,
    brk_memory_is_new_after_shrinking,
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
    cow_after_fork_both_ways,
    cow_of_many_generations,
    shared_memory_is_shared,
    file_map_sees_writes,
    shared_file_map_writes_back,
    private_file_map_does_not,
    past_the_end_is_sigbus,
    rest_of_the_last_page_is_zero,
    truncate_takes_mapped_pages_away,
    map_outlives_descriptor_and_name,
    shared_map_of_a_read_only_file,
    growsdown_grows,
    stack_grows_to_its_limit,
    populate_makes_resident,
    rlimit_as_is_enomem,
    rlimit_data_bounds_brk,
    kernel_writes_copy_on_write_pages,
    many_small_maps_merge,
    dev_zero_maps,
    zero_page_reads_do_not_leak,
    atomics_across_processes,
    process_end_frees_memory,
];

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;
const ANON: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
const FIXED: i32 = libc::MAP_FIXED;

fn map_file(fd: i32, len: usize, prot: i32, flags: i32) -> Sys {
    sys!(SYS_mmap, 0, len, prot, flags, fd, 0)
}

/// The line of the mapping at an address.
fn maps_line(addr: usize) -> Outcome<Option<String>> {
    let text = text_of("/proc/self/maps")?;
    let holds = |line: &&str| {
        let range = line.split(' ').next().unwrap_or_default();
        let mut ends = range
            .split('-')
            .map(|end| usize::from_str_radix(end, 16).unwrap_or(0));
        let (start, end) = (ends.next().unwrap_or(0), ends.next().unwrap_or(0));
        (start..end).contains(&addr)
    };
    Ok(text.lines().find(holds).map(str::to_owned))
}

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

fn mremap(addr: usize, old: usize, new: usize, flags: i32, place: usize) -> Sys {
    sys!(SYS_mremap, addr, old, new, flags, place)
}

fn mremap_grows_and_moves() -> Outcome {
    let addr = map(4 * PAGE)?;
    sys!(SYS_munmap, addr + PAGE, PAGE)?;
    poke(addr, 7);
    // What lies behind stands in the way of growing far.
    let moved = mremap(addr, PAGE, 64 * PAGE, libc::MREMAP_MAYMOVE, 0)?;
    equal((peek(moved), peek(moved + 63 * PAGE)), (7, 0))?;
    check(moved != addr, "not moved")?;
    equal(death_of(|| touch(addr))?, libc::SIGSEGV)
}

fn mremap_shrinks() -> Outcome {
    let addr = map(4 * PAGE)?;
    equal(mremap(addr, 4 * PAGE, PAGE, 0, 0)?, addr)?;
    equal(death_of(|| touch(addr + PAGE))?, libc::SIGSEGV)
}

fn mremap_without_maymove_is_enomem() -> Outcome {
    let addr = map(2 * PAGE)?;
    sys!(SYS_mprotect, addr + PAGE, PAGE, libc::PROT_NONE)?;
    fails(mremap(addr, PAGE, 2 * PAGE, 0, 0), libc::ENOMEM)
}

fn mremap_fixed_moves_over() -> Outcome {
    let from = map(2 * PAGE)?;
    let to = map(2 * PAGE)?;
    poke(from + PAGE, 3);
    poke(to + PAGE, 4);
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    equal(mremap(from, 2 * PAGE, 2 * PAGE, flags, to)?, to)?;
    equal(peek(to + PAGE), 3)?;
    equal(death_of(|| touch(from))?, libc::SIGSEGV)
}

fn mremap_dontunmap_leaves_the_place() -> Outcome {
    let addr = map(PAGE)?;
    poke(addr, 8);
    let moved = mremap(
        addr,
        PAGE,
        PAGE,
        libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP,
        0,
    )?;
    equal((peek(moved), peek(addr)), (8, 0))
}

fn mremap_refuses_bad_arguments() -> Outcome {
    let addr = map(2 * PAGE)?;
    fails(mremap(addr + 1, PAGE, PAGE, 0, 0), libc::EINVAL)?;
    fails(mremap(addr, PAGE, 0, 0, 0), libc::EINVAL)?;
    fails(mremap(addr, PAGE, PAGE, 0x10, 0), libc::EINVAL)?;
    fails(
        mremap(addr, PAGE, PAGE, libc::MREMAP_FIXED, addr),
        libc::EINVAL,
    )?;
    let overlap = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    fails(
        mremap(addr, 2 * PAGE, 2 * PAGE, overlap, addr + PAGE),
        libc::EINVAL,
    )?;
    let wrapping = usize::MAX - PAGE + 1;
    fails(mremap(addr, PAGE, PAGE, overlap, wrapping), libc::EINVAL)?;
    sys!(SYS_munmap, addr, 2 * PAGE)?;
    fails(
        mremap(addr, PAGE, 2 * PAGE, libc::MREMAP_MAYMOVE, 0),
        libc::EFAULT,
    )
}

fn brk(addr: usize) -> Sys {
    sys!(SYS_brk, addr)
}

fn brk_moves_and_stays() -> Outcome {
    let start = brk(0)?;
    let end = start + 3 * PAGE + 5;
    equal(brk(end)?, end)?;
    poke(start.next_multiple_of(PAGE), 1);
    poke(end - 1, 1);
    equal(brk(1)?, end)?;
    equal(brk(usize::MAX)?, end)?;
    equal(brk(start)?, start)
}

fn brk_memory_is_new_after_shrinking() -> Outcome {
    let start = brk(0)?.next_multiple_of(PAGE);
    brk(start + 2 * PAGE)?;
    poke(start + PAGE, 5);
    brk(start)?;
    brk(start + 2 * PAGE)?;
    equal(peek(start + PAGE), 0)
}

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

fn mincore(addr: usize, len: usize, out: &mut [u8]) -> Sys {
    sys!(SYS_mincore, addr, len, out.as_mut_ptr())
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

fn cow_after_fork_both_ways() -> Outcome {
    let addr = map(2 * PAGE)?;
    poke(addr, 1);
    poke(addr + PAGE, 1);
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        poke(addr, 2);
        let _ = read_some(read_end);
        i32::from(peek(addr) != 2 || peek(addr + PAGE) != 1)
    })?;
    poke(addr + PAGE, 3);
    write(write_end, b"x")?;
    equal(wait(pid)?, 0)?;
    equal((peek(addr), peek(addr + PAGE)), (1, 3))
}

fn cow_of_many_generations() -> Outcome {
    let addr = map(32 * PAGE)?;
    (0..32).for_each(|page| poke(addr + page * PAGE, page as u8));
    fn deeper(addr: usize, depth: u8) -> i32 {
        if depth == 0 {
            return 0;
        }
        (0..32).for_each(|page| poke(addr + page * PAGE, peek(addr + page * PAGE) + 1));
        let below = fork(|| deeper(addr, depth - 1)).and_then(wait);
        let start = 6 - depth + 1;
        let whole = (0..32).all(|page| peek(addr + page * PAGE) == page as u8 + start);
        i32::from(below != Ok(0) || !whole)
    }
    equal(wait(fork(|| deeper(addr, 6))?)?, 0)?;
    check(
        (0..32).all(|page| peek(addr + page * PAGE) == page as u8),
        "changed by a child",
    )
}

fn shared_memory_is_shared() -> Outcome {
    let addr = map_shared(2 * PAGE)?;
    let pid = fork(|| {
        poke(addr + PAGE, 77);
        0
    })?;
    equal(wait(pid)?, 0)?;
    equal(peek(addr + PAGE), 77)
}

fn file_map_sees_writes() -> Outcome {
    let fd = file_with(c"f", &[1; PAGE])?;
    let shared = map_file(fd, PAGE, libc::PROT_READ, libc::MAP_SHARED)?;
    let private = map_file(fd, PAGE, libc::PROT_READ, libc::MAP_PRIVATE)?;
    equal((peek(shared), peek(private)), (1, 1))?;
    write(fd, &[2; 10])?;
    equal((peek(shared), peek(private)), (2, 2))
}

fn shared_file_map_writes_back() -> Outcome {
    let fd = file_with(c"f", &[b'.'; PAGE])?;
    let addr = map_file(fd, PAGE, RW, libc::MAP_SHARED)?;
    poke(addr + 100, b'x');
    let mut byte = [0];
    sys!(SYS_pread64, fd, byte.as_mut_ptr(), 1, 100)?;
    equal(byte, *b"x")
}

fn private_file_map_does_not() -> Outcome {
    let fd = file_with(c"f", &[b'.'; PAGE])?;
    let addr = map_file(fd, PAGE, RW, libc::MAP_PRIVATE)?;
    poke(addr, b'x');
    sys!(SYS_pwrite64, fd, c"yy", 2, 0)?;
    equal(peek(addr), b'x')?;
    equal(read_some(fd)?.get(..3), Some(b"yy.".as_slice()))
}

fn past_the_end_is_sigbus() -> Outcome {
    let fd = file_with(c"f", b"short")?;
    let addr = map_file(fd, 2 * PAGE, RW, libc::MAP_SHARED)?;
    equal(death_of(|| touch(addr + PAGE))?, libc::SIGBUS)?;
    equal(death_of(|| poke(addr + PAGE, 1))?, libc::SIGBUS)?;
    // The kernel's own access is an error instead.
    fails(sys!(SYS_write, fd, addr + PAGE, 1), libc::EFAULT)
}

fn rest_of_the_last_page_is_zero() -> Outcome {
    let fd = file_with(c"f", b"short")?;
    let addr = map_file(fd, PAGE, RW, libc::MAP_SHARED)?;
    equal(
        (peek(addr + 4), peek(addr + 5), peek(addr + PAGE - 1)),
        (b't', 0, 0),
    )?;
    poke(addr + 10, 1);
    equal(fstat(fd)?.st_size, 5)
}

fn truncate_takes_mapped_pages_away() -> Outcome {
    let fd = file_with(c"f", &[3; 2 * PAGE])?;
    let addr = map_file(fd, 2 * PAGE, RW, libc::MAP_SHARED)?;
    equal(peek(addr + PAGE), 3)?;
    sys!(SYS_ftruncate, fd, 100)?;
    equal(death_of(|| touch(addr + PAGE))?, libc::SIGBUS)?;
    equal((peek(addr + 99), peek(addr + 100)), (3, 0))?;
    sys!(SYS_ftruncate, fd, 2 * PAGE)?;
    equal(peek(addr + PAGE), 0)
}

fn map_outlives_descriptor_and_name() -> Outcome {
    let fd = file_with(c"f", &[4; PAGE])?;
    let addr = map_file(fd, PAGE, RW, libc::MAP_SHARED)?;
    close(fd)?;
    sys!(SYS_unlink, c"f")?;
    equal(peek(addr + 8), 4)?;
    let line = some(maps_line(addr)?, "not in maps")?;
    check(line.ends_with("/f (deleted)"), &line)
}

fn shared_map_of_a_read_only_file() -> Outcome {
    file_with(c"f", &[4; PAGE])?;
    let reader = open(c"f", libc::O_RDONLY)?;
    let addr = map_file(reader, PAGE, libc::PROT_READ, libc::MAP_SHARED)?;
    equal(peek(addr), 4)?;
    let writer = open(c"f", libc::O_WRONLY)?;
    write(writer, &[5])?;
    equal(peek(addr), 5)
}

fn growsdown_grows() -> Outcome {
    let base = map(64 * PAGE)?;
    sys!(SYS_munmap, base, 64 * PAGE)?;
    let top = base + 32 * PAGE;
    let flags = ANON | FIXED | libc::MAP_GROWSDOWN;
    sys!(SYS_mmap, top, PAGE, RW, flags, -1, 0)?;
    poke(top, 1);
    poke(top - 1, 1);
    poke(top - PAGE - 1, 1);
    equal(peek(top - PAGE - 1), 1)
}

fn stack_grows_to_its_limit() -> Outcome {
    let touch = |bytes: usize| {
        let local = 0_u8;
        let here = std::ptr::from_ref(&local) as usize;
        (0..bytes)
            .step_by(PAGE)
            .for_each(|down| poke(here - down - 16384, 1));
    };
    let limit = libc::rlimit {
        rlim_cur: 1 << 20,
        rlim_max: 1 << 20,
    };
    let run = |bytes: usize| {
        death_of(|| {
            let _ = sys!(SYS_prlimit64, 0, libc::RLIMIT_STACK as i32, &limit, 0);
            touch(bytes);
        })
    };
    equal(run(700 << 10)?, 0)?;
    equal(run(1100 << 10)?, libc::SIGSEGV)
}

fn populate_makes_resident() -> Outcome {
    let addr = map_with(4 * PAGE, RW, ANON | libc::MAP_POPULATE)?;
    let mut out = [0; 4];
    mincore(addr, 4 * PAGE, &mut out)?;
    equal(out.map(|byte| byte & 1), [1; 4])
}

fn rlimit_as_is_enomem() -> Outcome {
    let limit = libc::rlimit {
        rlim_cur: 64 << 20,
        rlim_max: 64 << 20,
    };
    sys!(SYS_prlimit64, 0, libc::RLIMIT_AS as i32, &limit, 0)?;
    fails(map(65 << 20), libc::ENOMEM)?;
    map(1 << 20)?;
    Ok(())
}

fn rlimit_data_bounds_brk() -> Outcome {
    let limit = libc::rlimit {
        rlim_cur: 8 << 20,
        rlim_max: 8 << 20,
    };
    sys!(SYS_prlimit64, 0, libc::RLIMIT_DATA as i32, &limit, 0)?;
    let start = brk(0)?;
    equal(brk(start + (16 << 20))?, start)?;
    fails(map(16 << 20), libc::ENOMEM)
}

fn kernel_writes_copy_on_write_pages() -> Outcome {
    let addr = map(PAGE)?;
    poke(addr, 1);
    let fd = file_with(c"f", b"zz")?;
    let pid = fork(|| i32::from(sys!(SYS_read, fd, addr, 2) != Ok(2) || peek(addr) != b'z'))?;
    equal(wait(pid)?, 0)?;
    equal(peek(addr), 1)
}

fn many_small_maps_merge() -> Outcome {
    let addr = map(100 * PAGE)?;
    for page in (0..100).rev() {
        sys!(SYS_mmap, addr + page * PAGE, PAGE, RW, ANON | FIXED, -1, 0)?;
    }
    let line = some(maps_line(addr)?, "not in maps")?;
    let range = line.split(' ').next().unwrap_or_default();
    let end = range.split('-').nth(1).unwrap_or_default();
    let end = usize::from_str_radix(end, 16).unwrap_or(0);
    check(end >= addr + 100 * PAGE, "not one mapping")
}

fn dev_zero_maps() -> Outcome {
    let fd = open(c"/dev/zero", libc::O_RDWR)?;
    let private = map_file(fd, PAGE, RW, libc::MAP_PRIVATE)?;
    equal(peek(private), 0)?;
    poke(private, 1);
    let shared = map_file(fd, PAGE, RW, libc::MAP_SHARED)?;
    equal(
        wait(fork(|| {
            poke(shared, 9);
            0
        })?)?,
        0,
    )?;
    equal(peek(shared), 9)
}

fn zero_page_reads_do_not_leak() -> Outcome {
    let one = map(PAGE)?;
    let two = map(PAGE)?;
    equal((peek(one), peek(two)), (0, 0))?;
    poke(one, 5);
    equal((peek(one), peek(two)), (5, 0))
}

fn atomics_across_processes() -> Outcome {
    let addr = map_shared(PAGE)?;
    let mut pids = Vec::new();
    for _ in 0..4 {
        pids.push(fork(|| {
            for _ in 0..10_000 {
                word(addr).fetch_add(1, Ordering::SeqCst);
            }
            0
        })?);
    }
    for pid in pids {
        equal(wait(pid)?, 0)?;
    }
    equal(word(addr).load(Ordering::SeqCst), 40_000)
}

fn process_end_frees_memory() -> Outcome {
    let free = || -> Outcome<u64> {
        let text = text_of("/proc/meminfo")?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemFree:"));
        let word = some(line, "MemFree")?
            .split_whitespace()
            .next()
            .unwrap_or_default();
        some(word.parse().ok(), "MemFree")
    };
    let before = free()?;
    for _ in 0..20 {
        let pid = fork(|| {
            let addr = map(16 << 20).unwrap_or(0);
            (0..16 << 20)
                .step_by(PAGE)
                .for_each(|offset| poke(addr + offset, 1));
            0
        })?;
        equal(wait(pid)?, 0)?;
    }
    // 320 MiB were touched; a quarter of that is far more than anything else here needs.
    check(free()? + (80 << 10) > before, "memory is lost")
}
