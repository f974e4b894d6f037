//! Programs that take all they can: the right one ends, the others go on, and everything comes back.

use super::{ANON, FIXED, RW, map_file};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    hostile_anonymous_bomb,
    hostile_shared_bomb,
    hostile_memfd_bomb,
    hostile_page_table_bomb,
    hostile_pipe_bomb,
    hostile_socket_bomb,
    hostile_largest_is_chosen,
    hostile_adjusted_is_chosen,
    hostile_as_many_mappings_as_there_may_be,
    hostile_holes_in_one_mapping,
    hostile_storm_at_the_edges,
    hostile_fork_with_many_mappings,
];

/// Free memory in KiB.
fn free() -> Outcome<i64> {
    let text = text_of("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemFree:"));
    let word = some(line, "MemFree")?
        .split_whitespace()
        .next()
        .unwrap_or_default();
    some(word.parse().ok(), "MemFree")
}

/// Counts of the kernel's objects, where it tells them.
fn objects() -> Vec<(String, i64)> {
    let text = std::fs::read_to_string("/proc/ironbark/objects").unwrap_or_default();
    let pair = |line: &str| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

/// Waits until memory is free again and the kernel's objects are as many as before, or says what is missing.
fn all_comes_back(body: impl FnOnce() -> Outcome) -> Outcome {
    let (before, counts) = (free()?, objects());
    body()?;
    let mut missing = String::new();
    for _ in 0..3000 {
        missing.clear();
        if free()? + (16 << 10) < before {
            missing = format!("{} KiB of {before} are free", free()?);
        }
        for ((name, now), (_, then)) in objects().iter().zip(&counts) {
            // Frames may be kept for the next who needs some.
            if !name.starts_with("frames") && *now > then + 8 {
                missing = format!("{now} {name}, not {then}");
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        nap();
    }
    fail(&missing)
}

/// Makes the calling process the one to be killed.
fn volunteer() {
    let fd = open(c"/proc/self/oom_score_adj", libc::O_WRONLY).unwrap_or(-1);
    let _ = write(fd, b"1000");
    let _ = close(fd);
}

/// Runs a bomb in a process that volunteers. It must be killed, or be refused and say so by its status 0.
fn bomb(body: impl FnOnce()) -> Outcome {
    all_comes_back(|| {
        let pid = fork(|| {
            volunteer();
            body();
            0
        })?;
        let status = wait(pid)?;
        check(
            status == 0 || status == libc::SIGKILL,
            &format!("status {status:#x}"),
        )
    })
}

/// The same for a bomb that nothing can refuse.
fn deadly_bomb(body: impl FnOnce()) -> Outcome {
    all_comes_back(|| {
        let death = death_of(|| {
            volunteer();
            body();
        })?;
        equal(death, libc::SIGKILL)
    })
}

const CHUNK: usize = 16 << 20;

/// Fills new mappings without end.
fn fill_forever(flags: i32) {
    while let Ok(addr) = map_with(CHUNK, RW, flags | libc::MAP_NORESERVE) {
        (0..CHUNK).step_by(PAGE).for_each(|at| poke(addr + at, 1));
    }
}

fn hostile_anonymous_bomb() -> Outcome {
    deadly_bomb(|| fill_forever(ANON))
}

fn hostile_shared_bomb() -> Outcome {
    deadly_bomb(|| fill_forever(libc::MAP_SHARED | libc::MAP_ANONYMOUS))
}

fn hostile_memfd_bomb() -> Outcome {
    bomb(|| {
        let Ok(fd) = sys!(SYS_memfd_create, c"m", 0) else {
            return;
        };
        let bytes = [1_u8; 65536];
        while write(fd as i32, &bytes).is_ok() {}
    })
}

fn hostile_page_table_bomb() -> Outcome {
    deadly_bomb(|| {
        // One page of zeros for each table: almost nothing but tables.
        let len = 1 << 40;
        while let Ok(addr) = map_with(len, RW, ANON | libc::MAP_NORESERVE) {
            let _ = sys!(SYS_madvise, addr, len, libc::MADV_NOHUGEPAGE);
            (0..len).step_by(2 << 20).for_each(|at| touch(addr + at));
        }
    })
}

fn many_descriptors() {
    let limit = libc::rlimit {
        rlim_cur: 8192,
        rlim_max: 8192,
    };
    let _ = sys!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE as i32, &limit, 0);
}

fn hostile_pipe_bomb() -> Outcome {
    bomb(|| {
        many_descriptors();
        let bytes = [1_u8; 65536];
        while let Ok((_, write_end)) = pipe2(libc::O_NONBLOCK) {
            let _ = sys!(SYS_fcntl, write_end, libc::F_SETPIPE_SZ, 1 << 20);
            while write(write_end, &bytes).is_ok() {}
        }
    })
}

fn hostile_socket_bomb() -> Outcome {
    bomb(|| {
        many_descriptors();
        let bytes = [1_u8; 65536];
        let mut pair = [0_i32; 2];
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
        while sys!(SYS_socketpair, libc::AF_UNIX, kind, 0, &mut pair).is_ok() {
            while write(pair[0], &bytes).is_ok() {}
            while write(pair[1], &bytes).is_ok() {}
        }
    })
}

/// A child that takes this much and then waits; answers once it has it.
fn holder(bytes: usize, adjust: &'static [u8]) -> Outcome<i32> {
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let fd = open(c"/proc/self/oom_score_adj", libc::O_WRONLY).unwrap_or(-1);
        let _ = write(fd, adjust);
        if let Ok(addr) = map(bytes) {
            (0..bytes).step_by(PAGE).for_each(|at| poke(addr + at, 1));
        }
        let _ = write(write_end, b"x");
        loop {
            let _ = call(libc::SYS_pause, &[]);
        }
    })?;
    let mut byte = [0];
    read(read_end, &mut byte)?;
    close(read_end)?;
    close(write_end)?;
    Ok(pid)
}

/// Takes memory a little at a time until one of these children has died, and answers which.
fn first_to_die(pids: &[i32]) -> Outcome<i32> {
    let mut ends = Vec::new();
    for pid in pids {
        let fd = sys!(SYS_pidfd_open, *pid, 0)? as i32;
        ends.push(libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        });
    }
    // The taker itself must not be chosen, and sees for itself when to end: whoever told it might be too late.
    let taker = fork(|| {
        let fd = open(c"/proc/self/oom_score_adj", libc::O_WRONLY).unwrap_or(-1);
        let _ = write(fd, b"-1000");
        while sys!(SYS_poll, ends.as_mut_ptr(), ends.len(), 0) == Ok(0) {
            if let Ok(addr) = map(1 << 20) {
                (0..1 << 20).step_by(PAGE).for_each(|at| poke(addr + at, 1));
            }
        }
        0
    })?;
    equal(wait(taker)?, 0)?;
    let mut status = 0;
    let first = sys!(SYS_wait4, -1, &mut status, 0, 0)? as i32;
    equal(status, libc::SIGKILL)?;
    for pid in pids.iter().filter(|pid| **pid != first) {
        sys!(SYS_kill, *pid, libc::SIGKILL)?;
        wait(*pid)?;
    }
    ends.iter().try_for_each(|end| close(end.fd).map(drop))?;
    Ok(first)
}

fn hostile_largest_is_chosen() -> Outcome {
    all_comes_back(|| {
        let small = holder(16 << 20, b"0")?;
        let large = holder(128 << 20, b"0")?;
        let other = holder(16 << 20, b"0")?;
        equal(first_to_die(&[small, large, other])?, large)
    })
}

fn hostile_adjusted_is_chosen() -> Outcome {
    all_comes_back(|| {
        let small = holder(96 << 20, b"800")?;
        let large = holder(160 << 20, b"-900")?;
        equal(first_to_die(&[large, small])?, small)
    })
}

/// Mappings that do not join: every second page of a range can be read only.
fn many_mappings(count: usize) -> Outcome<usize> {
    let addr = map_with(count * PAGE, RW, ANON | libc::MAP_NORESERVE)?;
    for page in (0..count).step_by(2) {
        sys!(SYS_mprotect, addr + page * PAGE, PAGE, libc::PROT_READ)?;
    }
    Ok(addr)
}

fn hostile_as_many_mappings_as_there_may_be() -> Outcome {
    all_comes_back(|| {
        within(|| {
            let mut count = 0;
            let refused = loop {
                let prot = if count % 2 == 0 {
                    libc::PROT_READ
                } else {
                    libc::PROT_NONE
                };
                match map_with(PAGE, prot, libc::MAP_SHARED | libc::MAP_ANONYMOUS) {
                    Ok(_) => count += 1,
                    Err(errno) => break errno,
                }
            };
            equal(refused, Errno(libc::ENOMEM))?;
            check(
                (65400..65532).contains(&count),
                &format!("{count} mappings"),
            )
        })
    })
}

fn hostile_holes_in_one_mapping() -> Outcome {
    all_comes_back(|| {
        within(|| {
            let count = 20_000;
            let addr = map(count * PAGE)?;
            for page in (0..count).step_by(2) {
                sys!(SYS_munmap, addr + page * PAGE, PAGE)?;
            }
            poke(addr + PAGE, 1);
            // Each hole can be filled, and what fills it joins its neighbours.
            for page in (0..count).step_by(2) {
                sys!(SYS_mmap, addr + page * PAGE, PAGE, RW, ANON | FIXED, -1, 0)?;
            }
            check(
                text_of("/proc/self/maps")?.lines().count() < 100,
                "not joined",
            )
        })
    })
}

/// A small generator of numbers, the same on every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize
    }

    fn of(&mut self, choices: &[usize]) -> usize {
        choices[self.next() % choices.len()]
    }
}

fn hostile_storm_at_the_edges() -> Outcome {
    all_comes_back(|| {
        within(|| {
            const END: usize = 0x7fff_ffff_f000;
            let fd = file_with(c"f", &[1; 3 * PAGE])?;
            let base = map(256 * PAGE)?;
            let mut numbers = Numbers(88_172_645_463_325_252);
            for _ in 0..20_000 {
                let addr = numbers.of(&[
                    0,
                    1,
                    PAGE,
                    0x10000,
                    0xf000,
                    END,
                    END - PAGE,
                    END + PAGE,
                    1 << 47,
                    1 << 63,
                    usize::MAX,
                    usize::MAX & !0xfff,
                    base,
                    base + 7 * PAGE,
                    base + 100 * PAGE,
                    base + 240 * PAGE,
                ]);
                let len = numbers.of(&[
                    0,
                    1,
                    PAGE,
                    PAGE + 1,
                    3 * PAGE,
                    100 * PAGE,
                    1 << 21,
                    END,
                    usize::MAX,
                    usize::MAX - PAGE,
                    1 << 47,
                ]);
                let near = base + numbers.next() % 240 * PAGE;
                let small = numbers.next() % 16 * PAGE;
                let flags = numbers.of(&[0, 0x10, 0x100, 0x2000, 0x8000, 0x10_0000, 0x40]) as i32;
                let kind = numbers.of(&[1, 2, 3]) as i32;
                let _ = match numbers.next() % 11 {
                    4 if addr < base => {
                        sys!(SYS_mprotect, addr.min(0xf000), len, numbers.next() % 8)
                    }
                    0 | 4 => sys!(
                        SYS_mmap,
                        addr,
                        len.min(8 * PAGE),
                        RW,
                        flags & !0x10 | 0x20 | 2,
                        -1,
                        0
                    ),
                    1 => sys!(SYS_mmap, near, small, RW, 0x30 | 2, -1, 0),
                    2 => sys!(
                        SYS_mmap,
                        near,
                        small,
                        RW,
                        0x10 | kind,
                        fd,
                        numbers.next() % 4 * PAGE
                    ),
                    3 => sys!(SYS_munmap, near, small),
                    5 => sys!(SYS_mprotect, near, small, numbers.next() % 8),
                    6 => sys!(
                        SYS_mremap,
                        near,
                        small,
                        numbers.next() % 16 * PAGE,
                        numbers.next() % 8,
                        addr
                    ),
                    7 => sys!(SYS_madvise, near, small, numbers.next() % 26),
                    8 => sys!(SYS_mlock, near, small),
                    9 => sys!(SYS_msync, addr, len, numbers.next() % 8),
                    _ => sys!(SYS_mincore, near, small, base),
                };
            }
            // Whatever stands there now, new memory can be had.
            sys!(SYS_mmap, base, 256 * PAGE, RW, ANON | FIXED, -1, 0)?;
            poke(base + 255 * PAGE, 1);
            Ok(())
        })
    })
}

fn hostile_fork_with_many_mappings() -> Outcome {
    all_comes_back(|| {
        within(|| {
            let count = 20_000;
            let addr = many_mappings(count)?;
            (1..count)
                .step_by(2)
                .for_each(|page| poke(addr + page * PAGE, 7));
            let fd = file_with(c"f", &[3; PAGE])?;
            for _ in 0..2000 {
                map_file(fd, PAGE, libc::PROT_READ, libc::MAP_SHARED)?;
                map_with(PAGE, 0, ANON)?;
            }
            for _ in 0..3 {
                let pid = fork(|| {
                    poke(addr + PAGE, 8);
                    i32::from(peek(addr + 3 * PAGE) != 7)
                })?;
                equal(wait(pid)?, 0)?;
            }
            equal(peek(addr + PAGE), 7)
        })
    })
}
