//! Memory shared and copied on write, with files and between processes.

use std::sync::atomic::Ordering;

use super::{ANON, FIXED, RW, map_file, maps_line};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
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
    kernel_writes_copy_on_write_pages,
    many_small_maps_merge,
    dev_zero_maps,
    zero_page_reads_do_not_leak,
    atomics_across_processes,
    process_end_frees_memory,
];

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
