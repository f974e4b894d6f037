//! Every advice of madvise: what it may be given to, and what it does.

use super::{ANON, FIXED, RW, map_file, mincore};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    hint_dontneed_of_a_private_file_shows_it_again,
    hint_dontneed_goes_on_behind_a_hole,
    hint_dontneed_of_locked_is_einval,
    hint_dontneed_in_a_child_is_its_own,
    hint_dontneed_of_part_of_a_huge_page,
    hint_free_keeps_or_zeroes,
    hint_free_of_shared_or_file_is_einval,
    hint_populate_read,
    hint_populate_write_breaks_sharing,
    hint_populate_past_the_end_is_efault,
    hint_populate_of_inaccessible_is_einval,
    hint_remove_of_private_is_einval,
    hint_remove_of_shared_anonymous,
    hint_remove_needs_the_right_to_write,
    hint_wipeonfork_of_file_or_shared_is_einval,
    hint_wipeonfork_lasts_for_grandchildren,
    hint_wipeonfork_of_shared_tables,
    hint_dontfork_leaves_a_hole,
    hint_dontfork_ends_at_exec_and_dofork,
    hint_flags_show_in_smaps,
    hint_dontdump,
    hint_hugepage_and_nohugepage,
    hint_collapse,
    hint_collapse_of_untouched_is_einval,
    hint_mergeable,
    hint_cold_and_pageout_keep_content,
    hint_willneed,
    hint_hwpoison_as_built,
    hint_unknown_before_all_else,
    hint_many_areas_split_and_join,
    hint_residency_of_foreign_files_is_not_told,
];

fn madvise(addr: usize, len: usize, advice: i32) -> Sys {
    sys!(SYS_madvise, addr, len, advice)
}

fn fill(addr: usize, pages: usize, byte: u8) {
    (0..pages).for_each(|page| poke(addr + page * PAGE, byte));
}

fn bytes_at(addr: usize, pages: usize) -> Vec<u8> {
    (0..pages).map(|page| peek(addr + page * PAGE)).collect()
}

/// A row of the entry in smaps of the mapping that starts at an address.
fn smaps_row(addr: usize, name: &str) -> Outcome<String> {
    let text = text_of("/proc/self/smaps")?;
    let entry = some(text.split_once(&format!("{addr:x}-")), "not in smaps")?.1;
    let row = entry.lines().find_map(|line| line.strip_prefix(name));
    Ok(some(row, name)?.trim().to_owned())
}

fn hint_dontneed_of_a_private_file_shows_it_again() -> Outcome {
    let fd = file_with(c"f", &[4; 2 * PAGE])?;
    let addr = map_file(fd, 2 * PAGE, RW, libc::MAP_PRIVATE)?;
    fill(addr, 2, 9);
    sys!(SYS_pwrite64, fd, c"n", 1, 0)?;
    madvise(addr, PAGE, libc::MADV_DONTNEED)?;
    equal(bytes_at(addr, 2), vec![b'n', 9])
}

fn hint_dontneed_goes_on_behind_a_hole() -> Outcome {
    let addr = map(4 * PAGE)?;
    fill(addr, 4, 9);
    sys!(SYS_munmap, addr + PAGE, PAGE)?;
    fails(madvise(addr, 4 * PAGE, libc::MADV_DONTNEED), libc::ENOMEM)?;
    equal(
        (peek(addr), peek(addr + 2 * PAGE), peek(addr + 3 * PAGE)),
        (0, 0, 0),
    )
}

fn hint_dontneed_of_locked_is_einval() -> Outcome {
    let addr = map(2 * PAGE)?;
    sys!(SYS_mlock, addr + PAGE, PAGE)?;
    fill(addr, 2, 9);
    fails(madvise(addr, 2 * PAGE, libc::MADV_DONTNEED), libc::EINVAL)?;
    // What came before the locked part is gone.
    equal(bytes_at(addr, 2), vec![0, 9])?;
    const DONTNEED_LOCKED: i32 = 24;
    madvise(addr, 2 * PAGE, DONTNEED_LOCKED)?;
    equal(bytes_at(addr, 2), vec![0, 0])
}

fn hint_dontneed_in_a_child_is_its_own() -> Outcome {
    let addr = map(64 * PAGE)?;
    fill(addr, 64, 5);
    let pid = fork(|| {
        let gone = madvise(addr, 32 * PAGE, libc::MADV_DONTNEED).is_ok();
        i32::from(!gone || peek(addr) != 0 || peek(addr + 32 * PAGE) != 5)
    })?;
    equal(wait(pid)?, 0)?;
    equal(bytes_at(addr, 64), vec![5; 64])
}

/// A range of 2 MiB on a boundary of 2 MiB, alone in its span.
fn huge_range() -> Outcome<usize> {
    let base = map_with(6 << 20, RW, ANON)?;
    Ok(base.next_multiple_of(2 << 20))
}

fn hint_dontneed_of_part_of_a_huge_page() -> Outcome {
    let addr = huge_range()?;
    madvise(addr, 2 << 20, libc::MADV_HUGEPAGE)?;
    fill(addr, 512, 3);
    madvise(addr + 100 * PAGE, PAGE, libc::MADV_DONTNEED)?;
    equal(bytes_at(addr + 99 * PAGE, 3), vec![3, 0, 3])?;
    equal((peek(addr), peek(addr + 511 * PAGE)), (3, 3))
}

fn hint_free_keeps_or_zeroes() -> Outcome {
    let addr = map(4 * PAGE)?;
    fill(addr, 4, 9);
    madvise(addr, 4 * PAGE, libc::MADV_FREE)?;
    check(
        bytes_at(addr, 4).iter().all(|byte| matches!(byte, 0 | 9)),
        "something else",
    )?;
    poke(addr, 5);
    equal(peek(addr), 5)
}

fn hint_free_of_shared_or_file_is_einval() -> Outcome {
    let fd = file_with(c"f", &[1; PAGE])?;
    let private = map_file(fd, PAGE, RW, libc::MAP_PRIVATE)?;
    fails(madvise(private, PAGE, libc::MADV_FREE), libc::EINVAL)?;
    fails(
        madvise(map_shared(PAGE)?, PAGE, libc::MADV_FREE),
        libc::EINVAL,
    )?;
    let locked = map(PAGE)?;
    sys!(SYS_mlock, locked, PAGE)?;
    fails(madvise(locked, PAGE, libc::MADV_FREE), libc::EINVAL)
}

const POPULATE_READ: i32 = 22;
const POPULATE_WRITE: i32 = 23;

fn hint_populate_read() -> Outcome {
    let addr = map(4 * PAGE)?;
    madvise(addr, 4 * PAGE, POPULATE_READ)?;
    let mut out = [0; 4];
    mincore(addr, 4 * PAGE, &mut out)?;
    equal(out.map(|byte| byte & 1), [1; 4])?;
    let reader = map_with(PAGE, libc::PROT_READ, ANON)?;
    fails(madvise(reader, PAGE, POPULATE_WRITE), libc::EINVAL)?;
    equal(madvise(reader, PAGE, POPULATE_READ)?, 0)
}

fn hint_populate_write_breaks_sharing() -> Outcome {
    let fd = file_with(c"f", &[6; 2 * PAGE])?;
    let addr = map_file(fd, 2 * PAGE, RW, libc::MAP_PRIVATE)?;
    madvise(addr, PAGE, POPULATE_WRITE)?;
    sys!(SYS_pwrite64, fd, c"z", 1, 0)?;
    sys!(SYS_pwrite64, fd, c"z", 1, PAGE)?;
    equal(bytes_at(addr, 2), vec![6, b'z'])
}

fn hint_populate_past_the_end_is_efault() -> Outcome {
    let fd = file_with(c"f", &[6; PAGE])?;
    let addr = map_file(fd, 2 * PAGE, RW, libc::MAP_SHARED)?;
    fails(madvise(addr, 2 * PAGE, POPULATE_READ), libc::EFAULT)?;
    let hole = map(2 * PAGE)?;
    sys!(SYS_munmap, hole + PAGE, PAGE)?;
    fails(madvise(hole, 2 * PAGE, POPULATE_WRITE), libc::ENOMEM)
}

fn hint_populate_of_inaccessible_is_einval() -> Outcome {
    let addr = map_with(PAGE, 0, ANON)?;
    fails(madvise(addr, PAGE, POPULATE_READ), libc::EINVAL)?;
    fails(madvise(addr, PAGE, POPULATE_WRITE), libc::EINVAL)
}

fn hint_remove_of_private_is_einval() -> Outcome {
    fails(madvise(map(PAGE)?, PAGE, libc::MADV_REMOVE), libc::EINVAL)
}

fn hint_remove_of_shared_anonymous() -> Outcome {
    let addr = map_shared(3 * PAGE)?;
    fill(addr, 3, 8);
    madvise(addr + PAGE, PAGE, libc::MADV_REMOVE)?;
    equal(bytes_at(addr, 3), vec![8, 0, 8])?;
    sys!(SYS_mlock, addr, PAGE)?;
    fails(madvise(addr, PAGE, libc::MADV_REMOVE), libc::EINVAL)
}

fn hint_remove_needs_the_right_to_write() -> Outcome {
    let fd = file_with(c"f", &[6; 2 * PAGE])?;
    let reader = map_file(
        open(c"f", libc::O_RDONLY)?,
        PAGE,
        libc::PROT_READ,
        libc::MAP_SHARED,
    )?;
    fails(madvise(reader, PAGE, libc::MADV_REMOVE), libc::EACCES)?;
    // What may be written after an mprotect may be removed.
    let writer = map_file(fd, PAGE, libc::PROT_READ, libc::MAP_SHARED)?;
    madvise(writer, PAGE, libc::MADV_REMOVE)?;
    let private = map_file(fd, PAGE, RW, libc::MAP_PRIVATE)?;
    fails(madvise(private, PAGE, libc::MADV_REMOVE), libc::EACCES)
}

fn hint_wipeonfork_of_file_or_shared_is_einval() -> Outcome {
    let fd = file_with(c"f", &[1; PAGE])?;
    let private = map_file(fd, PAGE, RW, libc::MAP_PRIVATE)?;
    fails(madvise(private, PAGE, libc::MADV_WIPEONFORK), libc::EINVAL)?;
    fails(
        madvise(map_shared(PAGE)?, PAGE, libc::MADV_WIPEONFORK),
        libc::EINVAL,
    )?;
    equal(madvise(private, PAGE, libc::MADV_KEEPONFORK)?, 0)
}

fn hint_wipeonfork_lasts_for_grandchildren() -> Outcome {
    let addr = map(PAGE)?;
    madvise(addr, PAGE, libc::MADV_WIPEONFORK)?;
    poke(addr, 1);
    within(|| {
        equal(peek(addr), 0)?;
        poke(addr, 2);
        within(|| equal(peek(addr), 0))?;
        equal(peek(addr), 2)
    })?;
    equal(peek(addr), 1)
}

fn hint_wipeonfork_of_shared_tables() -> Outcome {
    // One page among many of a span whose table fork would share.
    let addr = map(200 * PAGE)?;
    fill(addr, 200, 7);
    madvise(addr + 100 * PAGE, PAGE, libc::MADV_WIPEONFORK)?;
    madvise(addr + 150 * PAGE, PAGE, libc::MADV_DONTFORK)?;
    within(|| {
        equal(bytes_at(addr + 99 * PAGE, 3), vec![7, 0, 7])?;
        equal(bytes_at(addr, 99), vec![7; 99])?;
        equal(death_of(|| touch(addr + 150 * PAGE))?, libc::SIGSEGV)?;
        fill(addr + 100 * PAGE, 50, 1);
        Ok(())
    })?;
    equal(bytes_at(addr, 200), vec![7; 200])
}

fn hint_dontfork_leaves_a_hole() -> Outcome {
    let addr = map(3 * PAGE)?;
    fill(addr, 3, 2);
    madvise(addr + PAGE, PAGE, libc::MADV_DONTFORK)?;
    within(|| {
        equal(
            sys!(
                SYS_mmap,
                addr + PAGE,
                PAGE,
                RW,
                ANON | libc::MAP_FIXED_NOREPLACE,
                -1,
                0
            )?,
            addr + PAGE,
        )?;
        equal(bytes_at(addr, 3), vec![2, 0, 2])
    })?;
    equal(bytes_at(addr, 3), vec![2; 3])
}

fn hint_dontfork_ends_at_exec_and_dofork() -> Outcome {
    let addr = map(2 * PAGE)?;
    fill(addr, 2, 2);
    madvise(addr, 2 * PAGE, libc::MADV_DONTFORK)?;
    madvise(addr, PAGE, libc::MADV_DOFORK)?;
    within(|| {
        equal(peek(addr), 2)?;
        equal(death_of(|| touch(addr + PAGE))?, libc::SIGSEGV)
    })
}

fn hint_flags_show_in_smaps() -> Outcome {
    const RANDOM: i32 = libc::MADV_RANDOM;
    for (advice, name) in [
        (libc::MADV_DONTFORK, "dc"),
        (libc::MADV_DONTDUMP, "dd"),
        (libc::MADV_WIPEONFORK, "wf"),
        (libc::MADV_SEQUENTIAL, "sr"),
        (RANDOM, "rr"),
        (libc::MADV_HUGEPAGE, "hg"),
        (libc::MADV_NOHUGEPAGE, "nh"),
    ] {
        // Two mappings that never merge with others.
        let addr = map(3 * PAGE)?;
        sys!(SYS_mprotect, addr, PAGE, 0)?;
        sys!(SYS_mprotect, addr + 2 * PAGE, PAGE, 0)?;
        madvise(addr + PAGE, PAGE, advice)?;
        let flags = smaps_row(addr + PAGE, "VmFlags:")?;
        check(
            flags.split(' ').any(|word| word == name),
            &format!("{flags}: no {name}"),
        )?;
    }
    Ok(())
}

fn hint_dontdump() -> Outcome {
    let addr = map(PAGE)?;
    madvise(addr, PAGE, libc::MADV_DONTDUMP)?;
    equal(madvise(addr, PAGE, libc::MADV_DODUMP)?, 0)
}

fn hint_hugepage_and_nohugepage() -> Outcome {
    let addr = huge_range()?;
    madvise(addr, 2 << 20, libc::MADV_HUGEPAGE)?;
    poke(addr, 1);
    // On a machine with little memory Linux gives none even who asks.
    let eligible = smaps_row(addr, "THPeligible:")? == "1";
    let huge = smaps_row(addr, "AnonHugePages:")? == "2048 kB";
    equal(huge, eligible)?;
    let small = huge_range()?;
    madvise(small, 2 << 20, libc::MADV_NOHUGEPAGE)?;
    poke(small, 1);
    equal(smaps_row(small, "Rss:")?, "4 kB".to_owned())?;
    equal(smaps_row(small, "THPeligible:")?, "0".to_owned())
}

pub const COLLAPSE: i32 = 25;

fn hint_collapse() -> Outcome {
    let addr = huge_range()?;
    madvise(addr, 2 << 20, libc::MADV_NOHUGEPAGE)?;
    (0..512).for_each(|page| poke(addr + page * PAGE + 5, page as u8));
    fails(madvise(addr, 2 << 20, COLLAPSE), libc::EINVAL)?;
    madvise(addr, 2 << 20, libc::MADV_HUGEPAGE)?;
    equal(smaps_row(addr, "AnonHugePages:")?, "0 kB".to_owned())?;
    madvise(addr, 2 << 20, COLLAPSE)?;
    equal(smaps_row(addr, "AnonHugePages:")?, "2048 kB".to_owned())?;
    let whole = (0..512).all(|page| peek(addr + page * PAGE + 5) == page as u8);
    check(whole, "the content changed")?;
    // Once more there is nothing to do.
    equal(madvise(addr, 2 << 20, COLLAPSE)?, 0)
}

fn hint_collapse_of_untouched_is_einval() -> Outcome {
    let addr = huge_range()?;
    madvise(addr, 2 << 20, libc::MADV_HUGEPAGE)?;
    fails(madvise(addr, 2 << 20, COLLAPSE), libc::EINVAL)?;
    let small = map(PAGE)?;
    sys!(SYS_mprotect, small, PAGE, libc::PROT_READ)?;
    fails(madvise(map_shared(PAGE)?, PAGE, COLLAPSE), libc::EINVAL)
}

fn hint_mergeable() -> Outcome {
    let addr = map(3 * PAGE)?;
    sys!(SYS_mprotect, addr, PAGE, 0)?;
    sys!(SYS_mprotect, addr + 2 * PAGE, PAGE, 0)?;
    match madvise(addr + PAGE, PAGE, libc::MADV_MERGEABLE) {
        Err(Errno(libc::EINVAL)) => return skip("built without KSM"),
        answer => answer?,
    };
    check(
        smaps_row(addr + PAGE, "VmFlags:")?.contains("mg"),
        "not shown",
    )?;
    poke(addr + PAGE, 1);
    madvise(addr + PAGE, PAGE, libc::MADV_UNMERGEABLE)?;
    check(
        !smaps_row(addr + PAGE, "VmFlags:")?.contains("mg"),
        "still shown",
    )?;
    equal(peek(addr + PAGE), 1)
}

fn hint_cold_and_pageout_keep_content() -> Outcome {
    let addr = map(4 * PAGE)?;
    fill(addr, 4, 6);
    let fd = file_with(c"f", &[7; 4 * PAGE])?;
    let file = map_file(fd, 4 * PAGE, RW, libc::MAP_SHARED)?;
    fill(file, 2, 8);
    for advice in [libc::MADV_COLD, libc::MADV_PAGEOUT] {
        madvise(addr, 4 * PAGE, advice)?;
        madvise(file, 4 * PAGE, advice)?;
    }
    equal(
        (bytes_at(addr, 4), bytes_at(file, 4)),
        (vec![6; 4], vec![8, 8, 7, 7]),
    )
}

fn hint_willneed() -> Outcome {
    let fd = file_with(c"f", &[7; 4 * PAGE])?;
    let file = map_file(fd, 4 * PAGE, RW, libc::MAP_SHARED)?;
    madvise(file, 4 * PAGE, libc::MADV_WILLNEED)?;
    equal(madvise(map(PAGE)?, PAGE, libc::MADV_WILLNEED)?, 0)
}

fn hint_hwpoison_as_built() -> Outcome {
    let addr = map(PAGE)?;
    within(|| {
        become_user()?;
        let answer = madvise(addr, PAGE, libc::MADV_HWPOISON);
        check(
            matches!(answer, Err(Errno(libc::EINVAL | libc::EPERM))),
            "not refused",
        )
    })
}

fn hint_unknown_before_all_else() -> Outcome {
    fails(madvise(1, usize::MAX, 77), libc::EINVAL)?;
    fails(madvise(1, 0, libc::MADV_NORMAL), libc::EINVAL)?;
    let hole = map(PAGE)?;
    sys!(SYS_munmap, hole, PAGE)?;
    fails(madvise(hole, PAGE, libc::MADV_NORMAL), libc::ENOMEM)
}

fn hint_many_areas_split_and_join() -> Outcome {
    let addr = map(200 * PAGE)?;
    (0..100).try_for_each(|i| madvise(addr + 2 * i * PAGE, PAGE, libc::MADV_RANDOM).map(drop))?;
    let lines = text_of("/proc/self/maps")?.lines().count();
    check(lines >= 200, "not split")?;
    madvise(addr, 200 * PAGE, libc::MADV_NORMAL)?;
    check(
        text_of("/proc/self/maps")?.lines().count() < lines - 190,
        "not joined",
    )?;
    sys!(SYS_mmap, addr, 200 * PAGE, RW, ANON | FIXED, -1, 0)?;
    Ok(())
}

fn hint_residency_of_foreign_files_is_not_told() -> Outcome {
    let fd = file_with(c"f", &[1; PAGE])?;
    sys!(SYS_ftruncate, fd, 4 * PAGE)?;
    let told = || -> Outcome<[u8; 4]> {
        let reader = open(c"f", libc::O_RDONLY)?;
        let addr = map_file(reader, 4 * PAGE, libc::PROT_READ, libc::MAP_SHARED)?;
        let mut out = [0; 4];
        mincore(addr, 4 * PAGE, &mut out)?;
        Ok(out.map(|byte| byte & 1))
    };
    equal(told()?, [1, 0, 0, 0])?;
    within(|| {
        sys!(SYS_chmod, c".", 0o755)?;
        become_user()?;
        equal(told()?, [1; 4])
    })
}
