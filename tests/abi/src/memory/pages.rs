//! What `/proc` tells of a process's pages: pagemap, clear_refs, smaps; and of all memory.

use super::{ANON, RW, map_file, smaps_kb};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    page_map_tells_what_is_there,
    page_map_tells_files_and_sharing,
    page_map_hides_frames,
    page_map_shows_one_frame_for_one_page,
    page_map_reads_whole_entries,
    page_soft_dirty_follows_writes,
    page_soft_dirty_after_fork,
    page_soft_dirty_of_shared_memory,
    page_soft_dirty_of_new_memory,
    page_soft_dirty_survives_mprotect,
    page_referenced_is_cleared,
    page_clear_refs_refuses,
    page_peak_is_reset,
    page_smaps_has_its_rows,
    page_smaps_counts_sharing,
    page_rollup_is_the_sum,
    page_statm_follows,
    page_meminfo_follows_anonymous,
    page_meminfo_follows_shared,
    page_meminfo_has_its_rows,
    page_oom_adj_and_score,
    page_vm_settings,
    page_slabinfo_adds_up,
    page_zones_tell_free_memory,
];

const PRESENT: u64 = 1 << 63;
const OF_FILE: u64 = 1 << 61;
const EXCLUSIVE: u64 = 1 << 56;
const SOFT_DIRTY: u64 = 1 << 55;
const FRAME: u64 = (1 << 55) - 1;

fn pagemap(addr: usize, pages: usize) -> Outcome<Vec<u64>> {
    let fd = open(c"/proc/self/pagemap", libc::O_RDONLY)?;
    let mut out = vec![0_u64; pages];
    let count = sys!(
        SYS_pread64,
        fd,
        out.as_mut_ptr(),
        pages * 8,
        addr / PAGE * 8
    )?;
    close(fd)?;
    equal(count, pages * 8)?;
    Ok(out)
}

fn page_map_tells_what_is_there() -> Outcome {
    let addr = map(4 * PAGE)?;
    poke(addr, 1);
    poke(addr + 2 * PAGE, 1);
    sys!(SYS_munmap, addr + 3 * PAGE, PAGE)?;
    let got = pagemap(addr, 4)?;
    let there: Vec<bool> = got.iter().map(|entry| entry & PRESENT != 0).collect();
    equal(there, vec![true, false, true, false])?;
    check(
        got[0] & EXCLUSIVE != 0 && got[0] & OF_FILE == 0,
        "not exclusive",
    )?;
    // Written since ever.
    check(got[0] & SOFT_DIRTY != 0, "not dirty")?;
    equal(got[3], 0)
}

fn page_map_tells_files_and_sharing() -> Outcome {
    let fd = file_with(c"f", &[1; 2 * PAGE])?;
    let file = map_file(fd, PAGE, RW, libc::MAP_PRIVATE)?;
    touch(file);
    check(
        pagemap(file, 1)?[0] & (PRESENT | OF_FILE) == PRESENT | OF_FILE,
        "not of a file",
    )?;
    poke(file, 2);
    check(
        pagemap(file, 1)?[0] & (PRESENT | OF_FILE) == PRESENT,
        "still of a file",
    )?;
    let shared = map_shared(PAGE)?;
    poke(shared, 1);
    check(
        pagemap(shared, 1)?[0] & OF_FILE != 0,
        "shared memory is of a file",
    )?;
    let private = map(PAGE)?;
    poke(private, 1);
    within(|| {
        check(
            pagemap(private, 1)?[0] & EXCLUSIVE == 0,
            "exclusive after fork",
        )
    })
}

fn page_map_hides_frames() -> Outcome {
    let addr = map(PAGE)?;
    poke(addr, 1);
    check(pagemap(addr, 1)?[0] & FRAME != 0, "root sees none")?;
    // Its files belong to the super-user after the change, but its own descriptor of before shows what it showed.
    let old = open(c"/proc/self/pagemap", libc::O_RDONLY)?;
    within(|| {
        become_user()?;
        let mut entry = [0_u64];
        sys!(SYS_pread64, old, entry.as_mut_ptr(), 8, addr / PAGE * 8)?;
        check(entry[0] & FRAME != 0, "not what was opened")
    })
}

fn page_map_shows_one_frame_for_one_page() -> Outcome {
    let fd = file_with(c"f", &[1; PAGE])?;
    let one = map_file(fd, PAGE, RW, libc::MAP_SHARED)?;
    let two = map_file(fd, PAGE, RW, libc::MAP_SHARED)?;
    poke(one, 1);
    poke(two, 2);
    equal(pagemap(one, 1)?[0] & FRAME, pagemap(two, 1)?[0] & FRAME)?;
    let other = map(PAGE)?;
    poke(other, 1);
    check(
        pagemap(one, 1)?[0] & FRAME != pagemap(other, 1)?[0] & FRAME,
        "the same",
    )
}

fn page_map_reads_whole_entries() -> Outcome {
    let fd = open(c"/proc/self/pagemap", libc::O_RDONLY)?;
    let mut out = [0_u64; 4];
    fails(sys!(SYS_pread64, fd, out.as_mut_ptr(), 7, 0), libc::EINVAL)?;
    fails(sys!(SYS_pread64, fd, out.as_mut_ptr(), 8, 4), libc::EINVAL)?;
    equal(sys!(SYS_pread64, fd, out.as_mut_ptr(), 32, 0)?, 32)?;
    equal(out, [0; 4])?;
    equal(
        sys!(SYS_pread64, fd, out.as_mut_ptr(), 32, (1_usize << 60) & !7)?,
        0,
    )
}

fn clear_refs(what: &str) -> Sys {
    let fd = open(c"/proc/self/clear_refs", libc::O_WRONLY)?;
    let answer = write(fd, what.as_bytes());
    close(fd)?;
    answer
}

fn dirty(addr: usize, pages: usize) -> Outcome<Vec<bool>> {
    Ok(pagemap(addr, pages)?
        .iter()
        .map(|entry| entry & SOFT_DIRTY != 0)
        .collect())
}

fn page_soft_dirty_follows_writes() -> Outcome {
    let addr = map(4 * PAGE)?;
    (0..4).for_each(|page| poke(addr + page * PAGE, 1));
    clear_refs("4\n")?;
    equal(dirty(addr, 4)?, vec![false; 4])?;
    poke(addr + PAGE, 2);
    touch(addr + 2 * PAGE);
    // What the kernel writes counts as well.
    let (read_end, write_end) = pipe()?;
    write(write_end, b"x")?;
    sys!(SYS_read, read_end, addr + 3 * PAGE, 1)?;
    equal(dirty(addr, 4)?, vec![false, true, false, true])?;
    equal((peek(addr), peek(addr + PAGE)), (1, 2))?;
    clear_refs("4")?;
    equal(dirty(addr, 4)?, vec![false; 4])
}

fn page_soft_dirty_after_fork() -> Outcome {
    let addr = alone(100)?;
    (0..100).for_each(|page| poke(addr + page * PAGE, 1));
    clear_refs("4")?;
    within(|| {
        poke(addr + PAGE, 2);
        equal(dirty(addr, 3)?, vec![false, true, false])
    })?;
    poke(addr + 2 * PAGE, 2);
    equal(dirty(addr, 3)?, vec![false, false, true])?;
    equal((peek(addr + PAGE), peek(addr + 2 * PAGE)), (1, 2))
}

fn page_soft_dirty_of_shared_memory() -> Outcome {
    let addr = map_shared(3 * PAGE)?;
    (0..3).for_each(|page| poke(addr + page * PAGE, 1));
    clear_refs("4")?;
    touch(addr);
    poke(addr + PAGE, 2);
    equal(dirty(addr, 3)?, vec![false, true, false])
}

fn page_soft_dirty_of_new_memory() -> Outcome {
    clear_refs("4")?;
    // A new mapping is dirty as a whole.
    let addr = map(2 * PAGE)?;
    equal(dirty(addr, 2)?, vec![true, true])
}

fn page_soft_dirty_survives_mprotect() -> Outcome {
    let addr = map(3 * PAGE)?;
    (0..3).for_each(|page| poke(addr + page * PAGE, 1));
    clear_refs("4")?;
    poke(addr, 2);
    sys!(SYS_mprotect, addr, 3 * PAGE, 0)?;
    sys!(SYS_mprotect, addr, 3 * PAGE, RW)?;
    equal(dirty(addr, 3)?, vec![true, false, false])?;
    poke(addr + PAGE, 2);
    equal(dirty(addr, 3)?, vec![true, true, false])
}

/// A mapping that joins no other.
fn alone(pages: usize) -> Sys {
    let addr = map_with((pages + 2) * PAGE, 0, ANON)?;
    sys!(SYS_mprotect, addr + PAGE, pages * PAGE, RW)?;
    Ok(addr + PAGE)
}

fn page_referenced_is_cleared() -> Outcome {
    let addr = alone(8)?;
    (0..8).for_each(|page| poke(addr + page * PAGE, 1));
    equal(smaps_kb(addr, "Referenced")?, 32)?;
    clear_refs("1")?;
    equal(smaps_kb(addr, "Referenced")?, 0)?;
    (0..2).for_each(|page| touch(addr + page * PAGE));
    // Linux does not make the processor look again, so that it may not notice.
    check(smaps_kb(addr, "Referenced")? <= 8, "more than was touched")?;
    equal(smaps_kb(addr, "Rss")?, 32)?;
    (0..8).for_each(|page| poke(addr + page * PAGE, 2));
    // Anonymous pages are not those of files.
    clear_refs("2")?;
    equal(smaps_kb(addr, "Referenced")?, 0)
}

fn page_clear_refs_refuses() -> Outcome {
    for nonsense in ["0", "6", "x", "-1", "1 2"] {
        fails(clear_refs(nonsense), libc::EINVAL)?;
    }
    equal(clear_refs(" 1 \n")?, 4)
}

fn status_kb(name: &str) -> Outcome<u64> {
    let text = text_of("/proc/self/status")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let word = some(line, name)?
        .split_whitespace()
        .next()
        .unwrap_or_default();
    some(word.parse().ok(), name)
}

fn page_peak_is_reset() -> Outcome {
    let len = 8 << 20;
    let addr = map(len)?;
    (0..len).step_by(PAGE).for_each(|at| poke(addr + at, 1));
    sys!(SYS_munmap, addr, len)?;
    let before = status_kb("VmHWM")?;
    check(before >= 8 << 10, "no peak")?;
    clear_refs("5")?;
    check(status_kb("VmHWM")? + (7 << 10) < before, "still the peak")
}

fn page_smaps_has_its_rows() -> Outcome {
    let addr = alone(2)?;
    poke(addr, 1);
    for (name, want) in [
        ("Size", 8),
        ("KernelPageSize", 4),
        ("MMUPageSize", 4),
        ("Rss", 4),
        ("Pss", 4),
        ("Pss_Dirty", 4),
        ("Shared_Clean", 0),
        ("Shared_Dirty", 0),
        ("Private_Clean", 0),
        ("Private_Dirty", 4),
        ("Referenced", 4),
        ("Anonymous", 4),
        ("LazyFree", 0),
        ("AnonHugePages", 0),
        ("ShmemPmdMapped", 0),
        ("FilePmdMapped", 0),
        ("Shared_Hugetlb", 0),
        ("Private_Hugetlb", 0),
        ("Swap", 0),
        ("SwapPss", 0),
        ("Locked", 0),
        ("THPeligible", 0),
    ] {
        let got = smaps_kb(addr, name)?;
        check(got == want, &format!("{name}: {got}, not {want}"))?;
    }
    Ok(())
}

fn page_smaps_counts_sharing() -> Outcome {
    let addr = alone(4)?;
    (0..4).for_each(|page| poke(addr + page * PAGE, 1));
    within(|| {
        poke(addr, 2);
        equal(smaps_kb(addr, "Rss")?, 16)?;
        equal(smaps_kb(addr, "Pss")?, 10)?;
        equal(smaps_kb(addr, "Shared_Dirty")?, 12)?;
        equal(smaps_kb(addr, "Private_Dirty")?, 4)
    })?;
    equal(smaps_kb(addr, "Pss")?, 16)
}

fn page_rollup_is_the_sum() -> Outcome {
    let sum = |text: &str, name: &str| -> u64 {
        let rows = text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        rows.filter_map(|row| row.split_whitespace().next()?.parse::<u64>().ok())
            .sum()
    };
    let addr = alone(64)?;
    (0..64).for_each(|page| poke(addr + page * PAGE, 1));
    let look = || -> Outcome<(String, String)> {
        Ok((
            text_of("/proc/self/smaps")?,
            text_of("/proc/self/smaps_rollup")?,
        ))
    };
    // The first time maps what reading and adding need of the program.
    sum(&look()?.0, "Rss");
    let (all, rollup) = look()?;
    for name in [
        "Private_Dirty",
        "Anonymous",
        "Pss_Anon",
        "Pss_Shmem",
        "Pss_File",
        "Rss",
    ] {
        check(rollup.contains(&format!("{name}:")), name)?;
    }
    // Reading allocates: a few pages may differ.
    let (one, other) = (sum(&all, "Rss"), sum(&rollup, "Rss"));
    check(one.abs_diff(other) < 128, &format!("{one} and {other}"))?;
    let parts = sum(&rollup, "Pss_Anon") + sum(&rollup, "Pss_File") + sum(&rollup, "Pss_Shmem");
    check(
        parts.abs_diff(sum(&rollup, "Pss")) < 4,
        "the parts are not the whole",
    )
}

fn page_statm_follows() -> Outcome {
    let size = || -> Outcome<u64> {
        let text = text_of("/proc/self/statm")?;
        some(
            text.split(' ').next().and_then(|word| word.parse().ok()),
            &text,
        )
    };
    let before = size()?;
    let addr = map_with(1000 * PAGE, 0, ANON)?;
    equal(size()?, before + 1000)?;
    sys!(SYS_munmap, addr, 600 * PAGE)?;
    equal(size()?, before + 400)
}

fn meminfo(name: &str) -> Outcome<i64> {
    let text = text_of("/proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let word = some(line, name)?
        .split_whitespace()
        .next()
        .unwrap_or_default();
    some(word.parse().ok(), name)
}

fn page_meminfo_follows_anonymous() -> Outcome {
    let before = (
        meminfo("AnonPages")?,
        status_kb("VmPTE")?,
        meminfo("MemFree")?,
    );
    let len = 32 << 20;
    let addr = map(len)?;
    sys!(SYS_madvise, addr, len, libc::MADV_NOHUGEPAGE)?;
    (0..len).step_by(PAGE).for_each(|at| poke(addr + at, 1));
    let now = (
        meminfo("AnonPages")?,
        status_kb("VmPTE")?,
        meminfo("MemFree")?,
    );
    check((now.0 - before.0 - (32 << 10)).abs() < 4 << 10, "AnonPages")?;
    check((60..80).contains(&(now.1 - before.1)), "VmPTE")?;
    check((before.2 - now.2 - (32 << 10)).abs() < 8 << 10, "MemFree")
}

fn page_meminfo_follows_shared() -> Outcome {
    let before = (meminfo("Shmem")?, meminfo("Cached")?, meminfo("Mapped")?);
    let len = 16 << 20;
    let addr = map_shared(len)?;
    (0..len).step_by(PAGE).for_each(|at| poke(addr + at, 1));
    let now = (meminfo("Shmem")?, meminfo("Cached")?, meminfo("Mapped")?);
    for (now, before) in [(now.0, before.0), (now.1, before.1), (now.2, before.2)] {
        check(
            (now - before - (16 << 10)).abs() < 4 << 10,
            "Shmem, Cached or Mapped",
        )?;
    }
    Ok(())
}

fn page_meminfo_has_its_rows() -> Outcome {
    for name in [
        "MemTotal",
        "MemFree",
        "MemAvailable",
        "Buffers",
        "Cached",
        "SwapCached",
        "Active",
        "Inactive",
        "Active(anon)",
        "Inactive(anon)",
        "Active(file)",
        "Inactive(file)",
        "Unevictable",
        "Mlocked",
        "SwapTotal",
        "SwapFree",
        "Dirty",
        "Writeback",
        "AnonPages",
        "Mapped",
        "Shmem",
        "KReclaimable",
        "Slab",
        "SReclaimable",
        "SUnreclaim",
        "KernelStack",
        "PageTables",
        "CommitLimit",
        "Committed_AS",
        "VmallocTotal",
        "VmallocUsed",
        "AnonHugePages",
        "HugePages_Total",
        "HugePages_Free",
    ] {
        meminfo(name)?;
    }
    Ok(())
}

fn page_oom_adj_and_score() -> Outcome {
    let read =
        |name: &str| Ok::<_, Trouble>(text_of(&format!("/proc/self/{name}"))?.trim().to_owned());
    let write = |name: &str, value: &str| std::fs::write(format!("/proc/self/{name}"), value);
    write("oom_adj", "15")?;
    equal(read("oom_score_adj")?, "1000".to_owned())?;
    write("oom_adj", "-17")?;
    equal(read("oom_score_adj")?, "-1000".to_owned())?;
    equal(read("oom_score")?, "0".to_owned())?;
    write("oom_score_adj", "500")?;
    let score: u64 = some(read("oom_score")?.parse().ok(), "oom_score")?;
    check((1000..1334).contains(&score), &score.to_string())?;
    check(write("oom_adj", "16").is_err(), "16 is taken")?;
    // A child has what its parent has.
    within(|| equal(text_of("/proc/self/oom_score_adj")?.trim(), "500"))
}

fn page_vm_settings() -> Outcome {
    for (name, value) in [
        ("drop_caches", "1"),
        ("drop_caches", "3"),
        ("compact_memory", "1"),
    ] {
        std::fs::write(format!("/proc/sys/vm/{name}"), value)?;
    }
    check(
        std::fs::write("/proc/sys/vm/drop_caches", "0").is_err(),
        "0 is taken",
    )?;
    for name in [
        "admin_reserve_kbytes",
        "user_reserve_kbytes",
        "max_map_count",
        "mmap_min_addr",
        "min_free_kbytes",
        "oom_kill_allocating_task",
        "panic_on_oom",
        "unprivileged_userfaultfd",
    ] {
        let text = text_of(&format!("/proc/sys/vm/{name}"))?;
        let value: u64 = some(text.trim().parse().ok(), name)?;
        std::fs::write(format!("/proc/sys/vm/{name}"), format!("{value}\n"))?;
    }
    Ok(())
}

fn page_slabinfo_adds_up() -> Outcome {
    let text = text_of("/proc/slabinfo")?;
    let mut lines = text.lines();
    equal(lines.next(), Some("slabinfo - version: 2.1"))?;
    check(
        lines.next().is_some_and(|line| line.starts_with("# name")),
        "no heading",
    )?;
    let mut used = 0;
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
        let (active, all) = (some(number(1), line)?, some(number(2), line)?);
        check(active <= all, line)?;
        let (per_slab, slabs) = (some(number(4), line)?, some(number(14), line)?);
        check(all <= per_slab * slabs, line)?;
        used += active;
    }
    check(used > 1000, "the kernel has no objects")?;
    within(|| {
        become_user()?;
        fails(open(c"/proc/slabinfo", libc::O_RDONLY), libc::EACCES)
    })
}

fn page_zones_tell_free_memory() -> Outcome {
    let text = text_of("/proc/buddyinfo")?;
    let mut pages = 0;
    for line in text.lines() {
        let counts: Vec<u64> = line
            .split_whitespace()
            .skip(4)
            .filter_map(|word| word.parse().ok())
            .collect();
        equal(counts.len(), 11)?;
        pages += counts
            .iter()
            .enumerate()
            .map(|(order, count)| count << order)
            .sum::<u64>();
    }
    let free = meminfo("MemFree")?;
    // What CPUs keep is in no block.
    check(
        (free - pages as i64 * 4).abs() < 8 << 10,
        &format!("{free} KiB free, {pages} pages in blocks"),
    )?;
    let zones = text_of("/proc/zoneinfo")?;
    let of_zone = |line: &str| {
        line.trim()
            .strip_prefix("pages free")?
            .trim()
            .parse::<i64>()
            .ok()
    };
    let sum: i64 = zones.lines().filter_map(of_zone).sum();
    check((free - sum * 4).abs() < 8 << 10, "zoneinfo")
}
