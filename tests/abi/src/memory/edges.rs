//! The edges of the address space: its first and last pages, lengths that wrap, and what stands where MAP_FIXED goes.

use super::{ANON, FIXED, RW, maps_line};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    edge_last_page_can_be_mapped,
    edge_past_the_last_page_is_enomem,
    edge_fixed_unaligned_past_the_end_is_enomem,
    edge_page_zero_for_the_privileged,
    edge_minimum_is_mapped_by_anybody,
    edge_low_hint_goes_to_the_minimum_or_above,
    edge_lengths_that_wrap,
    edge_munmap_everything_above,
    edge_munmap_at_the_end,
    edge_mprotect_wraps,
    edge_mprotect_length_zero_comes_first,
    edge_mprotect_outside_is_enomem,
    edge_mprotect_grows_up_is_einval,
    edge_madvise_wraps,
    edge_mincore_at_the_end,
    edge_msync_wraps,
    edge_mlock_wraps,
    edge_mremap_outside_is_efault,
    edge_fixed_over_many_kinds,
    edge_fixed_in_the_middle_splits,
    edge_fixed_over_the_whole_keeps_count,
    edge_noreplace_over_part_is_eexist,
    edge_noreplace_next_to_others,
    edge_fixed_failure_leaves_what_was,
    edge_hint_at_the_end_is_no_error,
    edge_stack_above_a_map_keeps_its_gap,
    edge_stack_stops_at_the_gap,
    edge_stack_grows_into_inaccessible,
    edge_map_goes_below_the_gap,
    edge_growsdown_of_a_file_is_einval,
];

/// Where the user's half ends: with tables of five levels Linux gives who insists all of it.
fn end() -> usize {
    let five = mmap_at(1 << 47, PAGE, FIXED).is_ok();
    let _ = sys!(SYS_munmap, 1_usize << 47, PAGE);
    (1 << if five { 56 } else { 47 }) - PAGE
}

fn mmap_at(addr: usize, len: usize, flags: i32) -> Sys {
    sys!(SYS_mmap, addr, len, RW, ANON | flags, -1, 0)
}

fn edge_last_page_can_be_mapped() -> Outcome {
    let addr = mmap_at(end() - PAGE, PAGE, FIXED)?;
    equal(addr, end() - PAGE)?;
    poke(addr + PAGE - 1, 7);
    equal(peek(addr + PAGE - 1), 7)?;
    equal(death_of(|| touch(end()))?, libc::SIGSEGV)?;
    equal(sys!(SYS_munmap, addr, PAGE)?, 0)
}

fn edge_past_the_last_page_is_enomem() -> Outcome {
    fails(mmap_at(end(), PAGE, FIXED), libc::ENOMEM)?;
    fails(mmap_at(end() - PAGE, 2 * PAGE, FIXED), libc::ENOMEM)?;
    fails(mmap_at(usize::MAX & !0xfff, PAGE, FIXED), libc::ENOMEM)?;
    fails(mmap_at(1 << 63, PAGE, FIXED), libc::ENOMEM)
}

fn edge_fixed_unaligned_past_the_end_is_enomem() -> Outcome {
    fails(mmap_at(end() + 1, PAGE, FIXED), libc::ENOMEM)?;
    fails(mmap_at(end() - PAGE - 1, PAGE, FIXED), libc::EINVAL)
}

fn edge_page_zero_for_the_privileged() -> Outcome {
    equal(mmap_at(0, PAGE, FIXED)?, 0)?;
    let line = some(maps_line(0)?, "page 0 is not in maps")?;
    check(line.starts_with("00000000-00001000 rw-p"), &line)?;
    equal(sys!(SYS_munmap, 0, PAGE)?, 0)?;
    within(|| {
        become_user()?;
        fails(mmap_at(0, PAGE, FIXED), libc::EPERM)?;
        fails(mmap_at(0xf000, PAGE, FIXED), libc::EPERM)
    })
}

fn edge_minimum_is_mapped_by_anybody() -> Outcome {
    let text = text_of("/proc/sys/vm/mmap_min_addr")?;
    let least: usize = some(text.trim().parse().ok(), &text)?;
    within(|| {
        become_user()?;
        equal(mmap_at(least, PAGE, FIXED)?, least)?;
        fails(mmap_at(least - PAGE, PAGE, FIXED), libc::EPERM)
    })
}

fn edge_low_hint_goes_to_the_minimum_or_above() -> Outcome {
    let addr = mmap_at(PAGE, PAGE, 0)?;
    equal(addr, 0x10000)?;
    check(mmap_at(PAGE, PAGE, 0)? != addr, "twice the same")
}

fn edge_lengths_that_wrap() -> Outcome {
    for len in [usize::MAX, usize::MAX - 4094, usize::MAX - 4095] {
        fails(mmap_at(0, len, 0), libc::ENOMEM)?;
        fails(mmap_at(0x10000, len, FIXED), libc::ENOMEM)?;
    }
    fails(mmap_at(0, end(), 0), libc::ENOMEM)?;
    fails(mmap_at(0, end() - PAGE, 0), libc::ENOMEM)
}

fn edge_munmap_everything_above() -> Outcome {
    let addr = map(4 * PAGE)?;
    fails(sys!(SYS_munmap, addr, usize::MAX), libc::EINVAL)?;
    fails(sys!(SYS_munmap, addr, end() - addr + PAGE), libc::EINVAL)?;
    fails(sys!(SYS_munmap, addr, usize::MAX - addr), libc::EINVAL)?;
    poke(addr, 1);
    equal(peek(addr), 1)
}

fn edge_munmap_at_the_end() -> Outcome {
    equal(sys!(SYS_munmap, end() - PAGE, PAGE)?, 0)?;
    fails(sys!(SYS_munmap, end(), PAGE), libc::EINVAL)?;
    fails(sys!(SYS_munmap, end(), 0), libc::EINVAL)
}

fn mprotect(addr: usize, len: usize, prot: i32) -> Sys {
    sys!(SYS_mprotect, addr, len, prot)
}

fn edge_mprotect_wraps() -> Outcome {
    let addr = map(PAGE)?;
    fails(mprotect(addr, usize::MAX - 10, RW), libc::ENOMEM)?;
    fails(mprotect(addr, usize::MAX - addr + 1, RW), libc::ENOMEM)?;
    fails(mprotect(addr, usize::MAX & !0xfff, RW), libc::ENOMEM)
}

fn edge_mprotect_length_zero_comes_first() -> Outcome {
    let addr = map(PAGE)?;
    equal(mprotect(addr, 0, 0x100)?, 0)?;
    fails(mprotect(addr + 1, 0, RW), libc::EINVAL)?;
    fails(mprotect(addr, PAGE, 0x100), libc::EINVAL)?;
    let both = libc::PROT_GROWSDOWN | libc::PROT_GROWSUP;
    fails(mprotect(addr, 0, RW | both), libc::EINVAL)?;
    equal(mprotect(addr, PAGE, RW | 8)?, 0)
}

fn edge_mprotect_outside_is_enomem() -> Outcome {
    fails(mprotect(end(), PAGE, RW), libc::ENOMEM)?;
    fails(mprotect(usize::MAX & !0xfff, PAGE, RW), libc::ENOMEM)?;
    fails(mprotect(1 << 60, PAGE, RW), libc::ENOMEM)
}

fn edge_mprotect_grows_up_is_einval() -> Outcome {
    let addr = map(2 * PAGE)?;
    fails(mprotect(addr, PAGE, RW | libc::PROT_GROWSUP), libc::EINVAL)?;
    fails(
        mprotect(addr, PAGE, RW | libc::PROT_GROWSDOWN),
        libc::EINVAL,
    )?;
    sys!(SYS_munmap, addr, 2 * PAGE)?;
    fails(mprotect(addr, PAGE, RW | libc::PROT_GROWSUP), libc::ENOMEM)
}

fn edge_madvise_wraps() -> Outcome {
    let addr = map(PAGE)?;
    let advise = |addr: usize, len: usize| sys!(SYS_madvise, addr, len, libc::MADV_DONTNEED);
    fails(advise(addr, usize::MAX), libc::EINVAL)?;
    fails(advise(addr, usize::MAX & !0xfff), libc::EINVAL)?;
    fails(advise(end(), PAGE), libc::ENOMEM)?;
    equal(advise(1 << 63, 0)?, 0)
}

fn edge_mincore_at_the_end() -> Outcome {
    let mut out = [0_u8; 8];
    let mut core = |addr: usize, len: usize| super::mincore(addr, len, &mut out);
    fails(core(end(), PAGE), libc::ENOMEM)?;
    fails(core(end() - PAGE, 2 * PAGE), libc::ENOMEM)?;
    fails(core(0, usize::MAX), libc::ENOMEM)?;
    equal(core(0x10000, 0)?, 0)
}

fn edge_msync_wraps() -> Outcome {
    let addr = map(PAGE)?;
    let sync = |addr: usize, len: usize| sys!(SYS_msync, addr, len, libc::MS_ASYNC);
    fails(sync(addr, usize::MAX & !0xfff), libc::ENOMEM)?;
    fails(sync(end(), PAGE), libc::ENOMEM)?;
    equal(sync(1 << 62, 0)?, 0)?;
    fails(sync(addr + 1, 0), libc::EINVAL)
}

fn edge_mlock_wraps() -> Outcome {
    let addr = map(PAGE)?;
    fails(sys!(SYS_mlock, addr, usize::MAX & !0xfff), libc::EINVAL)?;
    fails(sys!(SYS_munlock, addr, usize::MAX & !0xfff), libc::EINVAL)?;
    fails(sys!(SYS_mlock, end(), PAGE), libc::ENOMEM)?;
    equal(sys!(SYS_mlock, 1_usize << 62, 0)?, 0)
}

fn edge_mremap_outside_is_efault() -> Outcome {
    let remap = |addr: usize, flags: i32| sys!(SYS_mremap, addr, PAGE, 2 * PAGE, flags, 0);
    fails(remap(end(), libc::MREMAP_MAYMOVE), libc::EFAULT)?;
    fails(
        remap(usize::MAX & !0xfff, libc::MREMAP_MAYMOVE),
        libc::EFAULT,
    )?;
    let addr = map(PAGE)?;
    let far = sys!(SYS_mremap, addr, PAGE, end(), libc::MREMAP_MAYMOVE, 0);
    fails(far, libc::ENOMEM)?;
    let wraps = sys!(SYS_mremap, addr, PAGE, usize::MAX, libc::MREMAP_MAYMOVE, 0);
    fails(wraps, libc::EINVAL)
}

fn edge_fixed_over_many_kinds() -> Outcome {
    let addr = map(8 * PAGE)?;
    let fd = file_with(c"f", &[5; 4 * PAGE])?;
    let at = |page: usize| addr + page * PAGE;
    let shared = libc::MAP_SHARED;
    sys!(SYS_mmap, at(1), PAGE, RW, shared | FIXED, fd, 0)?;
    sys!(
        SYS_mmap,
        at(3),
        PAGE,
        RW,
        libc::MAP_PRIVATE | FIXED,
        fd,
        PAGE
    )?;
    sys!(SYS_mmap, at(5), PAGE, 0, ANON | FIXED, -1, 0)?;
    (0..4).for_each(|page| poke(at(page), 9));
    mmap_at(addr, 8 * PAGE, FIXED)?;
    check((0..8).all(|page| peek(at(page)) == 0), "not new")?;
    equal(read_some(fd)?.first().copied(), Some(9))
}

fn edge_fixed_in_the_middle_splits() -> Outcome {
    let fd = file_with(
        c"f",
        &(0..5 * PAGE).map(|i| (i / PAGE) as u8).collect::<Vec<_>>(),
    )?;
    let addr = super::map_file(fd, 5 * PAGE, libc::PROT_READ, libc::MAP_PRIVATE)?;
    mmap_at(addr + 2 * PAGE, PAGE, FIXED)?;
    let seen: Vec<u8> = (0..5).map(|page| peek(addr + page * PAGE)).collect();
    equal(seen, vec![0, 1, 0, 3, 4])?;
    let line = some(maps_line(addr + 3 * PAGE)?, "the rest is gone")?;
    check(line.contains(" 00003000 "), &line)
}

fn edge_fixed_over_the_whole_keeps_count() -> Outcome {
    let shared = || -> Outcome<usize> {
        let text = text_of("/proc/self/maps")?;
        Ok(text
            .lines()
            .filter(|line| line.ends_with("/dev/zero (deleted)"))
            .count())
    };
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let addr = map_with(3 * PAGE, libc::PROT_READ, flags)?;
    let before = shared()?;
    for _ in 0..50 {
        sys!(
            SYS_mmap,
            addr,
            3 * PAGE,
            libc::PROT_READ,
            flags | FIXED,
            -1,
            0
        )?;
    }
    equal(shared()?, before)
}

fn edge_noreplace_over_part_is_eexist() -> Outcome {
    let addr = map(4 * PAGE)?;
    sys!(SYS_munmap, addr, 2 * PAGE)?;
    let flags = libc::MAP_FIXED_NOREPLACE;
    fails(mmap_at(addr, 3 * PAGE, flags), libc::EEXIST)?;
    fails(mmap_at(addr + PAGE, 2 * PAGE, flags | FIXED), libc::EEXIST)?;
    fails(mmap_at(addr + 1, PAGE, flags), libc::EINVAL)?;
    fails(mmap_at(end(), PAGE, flags), libc::ENOMEM)?;
    equal(death_of(|| touch(addr))?, libc::SIGSEGV)
}

fn edge_noreplace_next_to_others() -> Outcome {
    let addr = map(4 * PAGE)?;
    sys!(SYS_munmap, addr + PAGE, PAGE)?;
    let flags = libc::MAP_FIXED_NOREPLACE;
    equal(mmap_at(addr + PAGE, PAGE, flags)?, addr + PAGE)
}

fn edge_fixed_failure_leaves_what_was() -> Outcome {
    let addr = map(2 * PAGE)?;
    poke(addr, 3);
    let fd = file_with(c"f", b"x")?;
    let reader = open(c"f", libc::O_RDONLY)?;
    let flags = libc::MAP_SHARED | FIXED;
    fails(
        sys!(SYS_mmap, addr, PAGE, RW, flags, reader, 0),
        libc::EACCES,
    )?;
    fails(sys!(SYS_mmap, addr, PAGE, RW, flags, fd, 5), libc::EINVAL)?;
    fails(sys!(SYS_mmap, addr, PAGE, RW, flags, 999, 0), libc::EBADF)?;
    equal(peek(addr), 3)
}

fn edge_hint_at_the_end_is_no_error() -> Outcome {
    for hint in [end() - PAGE, end(), usize::MAX & !0xfff, 1 << 63, 5] {
        let addr = mmap_at(hint, 2 * PAGE, 0)?;
        check(addr + 2 * PAGE <= end(), "outside")?;
        poke(addr, 1);
    }
    Ok(())
}

/// A stack of one page with free space of 512 pages below; its lowest address.
fn small_stack() -> Outcome<usize> {
    let base = map(1024 * PAGE)?;
    sys!(SYS_munmap, base, 1024 * PAGE)?;
    let top = base + 768 * PAGE;
    mmap_at(top, PAGE, FIXED | libc::MAP_GROWSDOWN)?;
    poke(top, 1);
    Ok(top)
}

fn edge_stack_above_a_map_keeps_its_gap() -> Outcome {
    let top = small_stack()?;
    mmap_at(top - 300 * PAGE, PAGE, FIXED)?;
    // 256 pages must stay free: 299 lie between, so that 43 can be had.
    (1..=43).for_each(|page| poke(top - page * PAGE, 1));
    equal(death_of(|| poke(top - 44 * PAGE, 1))?, libc::SIGSEGV)
}

fn edge_stack_stops_at_the_gap() -> Outcome {
    let top = small_stack()?;
    mmap_at(top - 200 * PAGE, PAGE, FIXED)?;
    equal(death_of(|| poke(top - PAGE, 1))?, libc::SIGSEGV)
}

fn edge_stack_grows_into_inaccessible() -> Outcome {
    let top = small_stack()?;
    sys!(SYS_mmap, top - 10 * PAGE, PAGE, 0, ANON | FIXED, -1, 0)?;
    // What nobody can touch is guard enough.
    poke(top - 9 * PAGE, 1);
    equal(death_of(|| poke(top - 10 * PAGE, 1))?, libc::SIGSEGV)
}

fn edge_map_goes_below_the_gap() -> Outcome {
    let top = small_stack()?;
    let hint = top - 100 * PAGE;
    check(mmap_at(hint, PAGE, 0)? != hint, "in the gap")?;
    let clear = top - 257 * PAGE;
    equal(mmap_at(clear, PAGE, 0)?, clear)
}

fn edge_growsdown_of_a_file_is_einval() -> Outcome {
    let fd = file_with(c"f", &[1; PAGE])?;
    let down = libc::MAP_GROWSDOWN;
    fails(
        super::map_file(fd, PAGE, RW, libc::MAP_PRIVATE | down),
        libc::EINVAL,
    )?;
    fails(
        super::map_file(fd, PAGE, RW, libc::MAP_SHARED | down),
        libc::EINVAL,
    )?;
    let shared = libc::MAP_SHARED | libc::MAP_ANONYMOUS | down;
    fails(map_with(PAGE, RW, shared), libc::EINVAL)
}
