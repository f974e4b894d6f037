//! mremap in all its ways, and remap_file_pages.

use super::{ANON, FIXED, RW, map_file, maps_line};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    remap_shrinks_over_a_hole,
    remap_old_size_zero_duplicates_shared,
    remap_old_size_zero_of_private_is_einval,
    remap_old_size_zero_without_maymove_is_enomem,
    remap_over_two_areas_is_efault,
    remap_fixed_shrinks_and_moves,
    remap_fixed_grows_and_moves,
    remap_fixed_keeps_clear_of_itself,
    remap_fixed_below_the_minimum_is_eperm,
    remap_fixed_onto_a_hole_and_a_map,
    remap_dontunmap_needs_the_same_size,
    remap_dontunmap_of_shared_memory,
    remap_dontunmap_with_fixed,
    remap_dontunmap_unlocks_the_old,
    remap_moves_a_file_with_its_offset,
    remap_grows_a_file_past_its_end,
    remap_part_of_an_area,
    remap_after_fork_copies_on_write,
    remap_of_shared_tables_after_fork,
    remap_huge_area_moves_whole,
    remap_in_place_joins,
    remap_of_lengths_that_wrap,
    remap_rlimit_as,
    remap_keeps_protection,
    remap_file_pages_reorders,
    remap_file_pages_refuses,
];

const MAYMOVE: i32 = libc::MREMAP_MAYMOVE;
const MOVE_TO: i32 = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;

fn mremap(addr: usize, old: usize, new: usize, flags: i32, place: usize) -> Sys {
    sys!(SYS_mremap, addr, old, new, flags, place)
}

fn bytes_at(addr: usize, pages: usize) -> Vec<u8> {
    (0..pages).map(|page| peek(addr + page * PAGE)).collect()
}

fn number(addr: usize, pages: usize) {
    (0..pages).for_each(|page| poke(addr + page * PAGE, page as u8 + 1));
}

fn remap_shrinks_over_a_hole() -> Outcome {
    let addr = map(6 * PAGE)?;
    number(addr, 6);
    sys!(SYS_munmap, addr + PAGE, PAGE)?;
    equal(mremap(addr, 6 * PAGE, 3 * PAGE, 0, 0)?, addr)?;
    equal((peek(addr), peek(addr + 2 * PAGE)), (1, 3))?;
    equal(death_of(|| touch(addr + 3 * PAGE))?, libc::SIGSEGV)
}

fn remap_old_size_zero_duplicates_shared() -> Outcome {
    let addr = map_shared(3 * PAGE)?;
    number(addr, 3);
    let copy = mremap(addr + PAGE, 0, 2 * PAGE, MAYMOVE, 0)?;
    equal(bytes_at(copy, 2), vec![2, 3])?;
    poke(copy, 9);
    equal(bytes_at(addr, 3), vec![1, 9, 3])?;
    let place = map(2 * PAGE)?;
    equal(mremap(addr, 0, 2 * PAGE, MOVE_TO, place)?, place)?;
    equal(bytes_at(place, 2), vec![1, 9])
}

fn remap_old_size_zero_of_private_is_einval() -> Outcome {
    let addr = map(PAGE)?;
    fails(mremap(addr, 0, PAGE, MAYMOVE, 0), libc::EINVAL)
}

fn remap_old_size_zero_without_maymove_is_enomem() -> Outcome {
    let addr = map_shared(PAGE)?;
    fails(mremap(addr, 0, PAGE, 0, 0), libc::ENOMEM)
}

fn remap_over_two_areas_is_efault() -> Outcome {
    let addr = map(4 * PAGE)?;
    sys!(SYS_mprotect, addr + 2 * PAGE, 2 * PAGE, libc::PROT_READ)?;
    fails(mremap(addr, 4 * PAGE, 8 * PAGE, MAYMOVE, 0), libc::EFAULT)?;
    let place = map(4 * PAGE)?;
    fails(
        mremap(addr, 4 * PAGE, 4 * PAGE, MOVE_TO, place),
        libc::EFAULT,
    )?;
    // The same size where it is asks for nothing.
    equal(mremap(addr, 4 * PAGE, 4 * PAGE, 0, 0)?, addr)
}

fn remap_fixed_shrinks_and_moves() -> Outcome {
    let addr = map(4 * PAGE)?;
    number(addr, 4);
    let place = map(4 * PAGE)?;
    number(place, 4);
    equal(mremap(addr, 4 * PAGE, 2 * PAGE, MOVE_TO, place)?, place)?;
    equal(bytes_at(place, 4), vec![1, 2, 3, 4])?;
    for page in 0..4 {
        equal(death_of(|| touch(addr + page * PAGE))?, libc::SIGSEGV)?;
    }
    Ok(())
}

fn remap_fixed_grows_and_moves() -> Outcome {
    let addr = map(2 * PAGE)?;
    number(addr, 2);
    let place = map(5 * PAGE)?;
    number(place, 5);
    equal(mremap(addr, 2 * PAGE, 4 * PAGE, MOVE_TO, place)?, place)?;
    equal(bytes_at(place, 5), vec![1, 2, 0, 0, 5])
}

fn remap_fixed_keeps_clear_of_itself() -> Outcome {
    let addr = map(8 * PAGE)?;
    fails(
        mremap(addr, 2 * PAGE, 4 * PAGE, MOVE_TO, addr + PAGE),
        libc::EINVAL,
    )?;
    fails(
        mremap(addr + 2 * PAGE, 2 * PAGE, 4 * PAGE, MOVE_TO, addr),
        libc::EINVAL,
    )?;
    fails(
        mremap(addr, PAGE, PAGE, MOVE_TO, addr + 4 * PAGE + 1),
        libc::EINVAL,
    )?;
    equal(
        mremap(addr, 2 * PAGE, 2 * PAGE, MOVE_TO, addr + 2 * PAGE)?,
        addr + 2 * PAGE,
    )
}

fn remap_fixed_below_the_minimum_is_eperm() -> Outcome {
    let addr = map(PAGE)?;
    within(|| {
        become_user()?;
        fails(mremap(addr, PAGE, PAGE, MOVE_TO, PAGE), libc::EPERM)
    })
}

fn remap_fixed_onto_a_hole_and_a_map() -> Outcome {
    let addr = map(4 * PAGE)?;
    number(addr, 4);
    let place = map(6 * PAGE)?;
    sys!(SYS_munmap, place + PAGE, PAGE)?;
    sys!(SYS_mprotect, place + 3 * PAGE, PAGE, 0)?;
    mremap(addr, 4 * PAGE, 4 * PAGE, MOVE_TO, place)?;
    equal(bytes_at(place, 4), vec![1, 2, 3, 4])
}

fn remap_dontunmap_needs_the_same_size() -> Outcome {
    let addr = map(2 * PAGE)?;
    let keep = libc::MREMAP_DONTUNMAP;
    fails(
        mremap(addr, 2 * PAGE, PAGE, MAYMOVE | keep, 0),
        libc::EINVAL,
    )?;
    fails(mremap(addr, PAGE, PAGE, keep, 0), libc::EINVAL)
}

fn remap_dontunmap_of_shared_memory() -> Outcome {
    let addr = map_shared(2 * PAGE)?;
    number(addr, 2);
    let moved = mremap(
        addr,
        2 * PAGE,
        2 * PAGE,
        MAYMOVE | libc::MREMAP_DONTUNMAP,
        0,
    )?;
    equal(bytes_at(moved, 2), vec![1, 2])?;
    // The old place still shows the object.
    equal(bytes_at(addr, 2), vec![1, 2])?;
    poke(addr, 8);
    equal(peek(moved), 8)
}

fn remap_dontunmap_with_fixed() -> Outcome {
    let addr = map(2 * PAGE)?;
    number(addr, 2);
    let place = map(2 * PAGE)?;
    let flags = MOVE_TO | libc::MREMAP_DONTUNMAP;
    equal(mremap(addr, 2 * PAGE, 2 * PAGE, flags, place)?, place)?;
    equal(
        (bytes_at(place, 2), bytes_at(addr, 2)),
        (vec![1, 2], vec![0, 0]),
    )
}

fn remap_dontunmap_unlocks_the_old() -> Outcome {
    let locked = || -> Outcome<String> {
        let text = text_of("/proc/self/status")?;
        let line = text.lines().find(|line| line.starts_with("VmLck"));
        Ok(some(line, "VmLck")?
            .split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned())
    };
    let addr = map(2 * PAGE)?;
    sys!(SYS_mlock, addr, 2 * PAGE)?;
    mremap(
        addr,
        2 * PAGE,
        2 * PAGE,
        MAYMOVE | libc::MREMAP_DONTUNMAP,
        0,
    )?;
    equal(locked()?, "8".to_owned())
}

fn remap_moves_a_file_with_its_offset() -> Outcome {
    let content: Vec<u8> = (0..6 * PAGE).map(|i| (i / PAGE) as u8).collect();
    let fd = file_with(c"f", &content)?;
    let addr = sys!(SYS_mmap, 0, 4 * PAGE, RW, libc::MAP_PRIVATE, fd, PAGE)?;
    poke(addr + PAGE, 99);
    let place = map(3 * PAGE)?;
    mremap(addr + PAGE, 3 * PAGE, 3 * PAGE, MOVE_TO, place)?;
    equal(bytes_at(place, 3), vec![99, 3, 4])?;
    let line = some(maps_line(place)?, "not in maps")?;
    check(line.contains(" 00002000 "), &line)?;
    equal(peek(addr), 1)
}

fn remap_grows_a_file_past_its_end() -> Outcome {
    let fd = file_with(c"f", &[1; PAGE])?;
    let addr = map_file(fd, PAGE, RW, libc::MAP_SHARED)?;
    let new = mremap(addr, PAGE, 3 * PAGE, MAYMOVE, 0)?;
    equal(death_of(|| touch(new + PAGE))?, libc::SIGBUS)?;
    sys!(SYS_ftruncate, fd, 2 * PAGE)?;
    equal(peek(new + PAGE), 0)
}

fn remap_part_of_an_area() -> Outcome {
    let addr = map(5 * PAGE)?;
    number(addr, 5);
    let new = mremap(addr + PAGE, 2 * PAGE, 4 * PAGE, MAYMOVE, 0)?;
    equal(bytes_at(new, 4), vec![2, 3, 0, 0])?;
    equal((peek(addr), peek(addr + 3 * PAGE)), (1, 4))?;
    equal(death_of(|| touch(addr + 2 * PAGE))?, libc::SIGSEGV)
}

fn remap_after_fork_copies_on_write() -> Outcome {
    let addr = map(4 * PAGE)?;
    number(addr, 4);
    let pid = fork(|| {
        let Ok(new) = mremap(addr, 4 * PAGE, 8 * PAGE, MAYMOVE, 0) else {
            return 1;
        };
        poke(new, 77);
        i32::from(bytes_at(new, 5) != [77, 2, 3, 4, 0])
    })?;
    equal(wait(pid)?, 0)?;
    equal(bytes_at(addr, 4), vec![1, 2, 3, 4])
}

fn remap_of_shared_tables_after_fork() -> Outcome {
    // Several spans of 2 MiB, filled, so that fork shares their tables.
    let len = 6 << 20;
    let addr = map_with(len, RW, ANON)?;
    sys!(SYS_madvise, addr, len, libc::MADV_NOHUGEPAGE)?;
    let pages = len / PAGE;
    (0..pages).for_each(|page| poke(addr + page * PAGE, (page % 251) as u8));
    let good = |base: usize, skip: usize| {
        (0..pages - skip).all(|page| peek(base + page * PAGE) == ((page + skip) % 251) as u8)
    };
    let pid = fork(|| {
        let place = map(len).unwrap_or(0);
        let Ok(new) = mremap(addr + PAGE, len - PAGE, len - PAGE, MOVE_TO, place) else {
            return 1;
        };
        i32::from(!good(new, 1) || peek(addr) != 0)
    })?;
    equal(wait(pid)?, 0)?;
    check(good(addr, 0), "the parent's pages changed")?;
    let new = mremap(addr, len, 2 * len, MAYMOVE, 0)?;
    check(good(new, 0), "moved wrongly")
}

fn remap_huge_area_moves_whole() -> Outcome {
    let len = 8 << 20;
    let addr = map(len)?;
    (0..len)
        .step_by(PAGE)
        .for_each(|at| poke(addr + at, (at / PAGE % 253) as u8));
    let place = map(len + (2 << 20))?;
    let new = mremap(addr, len, len, MOVE_TO, place + PAGE)?;
    check(
        (0..len)
            .step_by(PAGE)
            .all(|at| peek(new + at) == (at / PAGE % 253) as u8),
        "moved wrongly",
    )
}

fn remap_in_place_joins() -> Outcome {
    let addr = map(4 * PAGE)?;
    sys!(SYS_munmap, addr + PAGE, 3 * PAGE)?;
    equal(mremap(addr, PAGE, 3 * PAGE, 0, 0)?, addr)?;
    let line = some(maps_line(addr)?, "not in maps")?;
    check(maps_line(addr + 2 * PAGE)? == Some(line), "two mappings")
}

fn remap_rlimit_as() -> Outcome {
    let addr = map(PAGE)?;
    let limit = libc::rlimit {
        rlim_cur: 64 << 20,
        rlim_max: 64 << 20,
    };
    sys!(SYS_prlimit64, 0, libc::RLIMIT_AS as i32, &limit, 0)?;
    fails(mremap(addr, PAGE, 65 << 20, MAYMOVE, 0), libc::ENOMEM)?;
    equal(mremap(addr, PAGE, PAGE, MAYMOVE, 0)?, addr)
}

fn remap_keeps_protection() -> Outcome {
    let addr = map(2 * PAGE)?;
    number(addr, 2);
    sys!(SYS_mprotect, addr, 2 * PAGE, libc::PROT_READ)?;
    let place = map(2 * PAGE)?;
    mremap(addr, 2 * PAGE, 2 * PAGE, MOVE_TO, place)?;
    equal(bytes_at(place, 2), vec![1, 2])?;
    equal(death_of(|| poke(place, 1))?, libc::SIGSEGV)
}

fn remap_file_pages_reorders() -> Outcome {
    let content: Vec<u8> = (0..4 * PAGE).map(|i| (i / PAGE) as u8).collect();
    let fd = file_with(c"f", &content)?;
    let addr = map_file(fd, 4 * PAGE, RW, libc::MAP_SHARED)?;
    let put =
        |page: usize, from: usize| sys!(SYS_remap_file_pages, addr + page * PAGE, PAGE, 0, from, 0);
    put(0, 3)?;
    put(3, 0)?;
    equal(bytes_at(addr, 4), vec![3, 1, 2, 0])?;
    poke(addr, 44);
    let mut byte = [0_u8];
    sys!(SYS_pread64, fd, byte.as_mut_ptr(), 1, 3 * PAGE)?;
    equal(byte[0], 44)
}

fn remap_file_pages_refuses() -> Outcome {
    let fd = file_with(c"f", &[1; 2 * PAGE])?;
    let private = map_file(fd, 2 * PAGE, RW, libc::MAP_PRIVATE)?;
    let shared = map_file(fd, 2 * PAGE, RW, libc::MAP_SHARED)?;
    let put =
        |addr: usize, len: usize, prot: i32| sys!(SYS_remap_file_pages, addr, len, prot, 1, 0);
    fails(put(private, PAGE, 0), libc::EINVAL)?;
    fails(put(shared, PAGE, libc::PROT_READ), libc::EINVAL)?;
    fails(put(shared, 0, 0), libc::EINVAL)?;
    let anon = map(PAGE)?;
    fails(put(anon, PAGE, 0), libc::EINVAL)?;
    sys!(SYS_mmap, shared + PAGE, PAGE, RW, ANON | FIXED, -1, 0)?;
    fails(put(shared, 2 * PAGE, 0), libc::EINVAL)
}

fn remap_of_lengths_that_wrap() -> Outcome {
    let addr = map(2 * PAGE)?;
    let place = map(2 * PAGE)?;
    let huge = usize::MAX & !0xfff;
    // What is to go lies outside of the address space.
    fails(mremap(addr, huge, PAGE, 0, 0), libc::EINVAL)?;
    fails(mremap(addr, huge, PAGE, MOVE_TO, place), libc::EINVAL)?;
    fails(mremap(addr, 1 << 62, PAGE, MOVE_TO, place), libc::EINVAL)?;
    poke(addr, 1);
    equal(peek(addr), 1)
}
