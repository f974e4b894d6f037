//! Limits: overcommit and what is promised, RLIMIT_AS and RLIMIT_DATA, the number of mappings.

use super::{ANON, FIXED, RW, map_file};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    commit_counts_private_writable,
    commit_counts_shared_anonymous_whole,
    commit_counts_file_pages_one_by_one,
    commit_leaves_out_noreserve,
    commit_follows_mprotect,
    commit_follows_fork_and_exit,
    commit_guess_refuses_the_impossible,
    commit_always_grants_the_impossible,
    commit_never_refuses_beyond_the_limit,
    commit_never_ignores_noreserve,
    commit_never_refuses_shared_memory,
    commit_never_refuses_mprotect,
    commit_kbytes_and_ratio_exclude_each_other,
    commit_settings_refuse_nonsense,
    limit_as_counts_all,
    limit_as_and_fixed_replacement,
    limit_data_counts_private_writable,
    limit_data_at_mprotect,
    limit_stack_of_growsdown,
    map_count_is_a_limit,
    map_count_allows_whole_unmapping,
];

fn meminfo(name: &str) -> Outcome<u64> {
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

fn committed() -> Outcome<i64> {
    Ok(meminfo("Committed_AS")? as i64)
}

/// Whether a difference in KiB is as expected; counters of Linux are kept per CPU and so are off by a little.
#[track_caller]
fn about(got: i64, want: i64) -> Outcome {
    check(
        (got - want).abs() < 4096,
        &format!("{got} KiB, not about {want}"),
    )
}

const BIG: usize = 64 << 20;
const BIG_KIB: i64 = 64 << 10;

fn commit_counts_private_writable() -> Outcome {
    let before = committed()?;
    let addr = map(BIG)?;
    about(committed()? - before, BIG_KIB)?;
    sys!(SYS_munmap, addr, BIG / 2)?;
    about(committed()? - before, BIG_KIB / 2)?;
    let _reader = map_with(BIG, libc::PROT_READ, ANON)?;
    about(committed()? - before, BIG_KIB / 2)
}

fn commit_counts_shared_anonymous_whole() -> Outcome {
    let before = committed()?;
    let addr = map_with(BIG, libc::PROT_READ, libc::MAP_SHARED | libc::MAP_ANONYMOUS)?;
    about(committed()? - before, BIG_KIB)?;
    touch(addr);
    // The object lasts as long as one page of it is mapped.
    sys!(SYS_munmap, addr, BIG - PAGE)?;
    about(committed()? - before, BIG_KIB)?;
    sys!(SYS_munmap, addr + BIG - PAGE, PAGE)?;
    about(committed()? - before, 0)
}

fn commit_counts_file_pages_one_by_one() -> Outcome {
    let fd = sys!(SYS_memfd_create, c"m", 0)? as i32;
    let before = committed()?;
    sys!(SYS_ftruncate, fd, BIG)?;
    let addr = map_file(fd, BIG, RW, libc::MAP_SHARED)?;
    about(committed()? - before, 0)?;
    (0..BIG / 4).step_by(PAGE).for_each(|at| poke(addr + at, 1));
    about(committed()? - before, BIG_KIB / 4)?;
    sys!(SYS_ftruncate, fd, 0)?;
    about(committed()? - before, 0)
}

fn commit_leaves_out_noreserve() -> Outcome {
    let before = committed()?;
    map_with(BIG, RW, ANON | libc::MAP_NORESERVE)?;
    map_with(
        BIG,
        RW,
        libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
    )?;
    about(committed()? - before, 0)
}

fn commit_follows_mprotect() -> Outcome {
    let addr = map_with(BIG, 0, ANON)?;
    let before = committed()?;
    sys!(SYS_mprotect, addr, BIG, RW)?;
    about(committed()? - before, BIG_KIB)?;
    // What was promised once stays so.
    sys!(SYS_mprotect, addr, BIG, 0)?;
    about(committed()? - before, BIG_KIB)?;
    sys!(SYS_munmap, addr, BIG)?;
    about(committed()? - before, 0)
}

fn commit_follows_fork_and_exit() -> Outcome {
    map(BIG)?;
    let before = committed()?;
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let _ = close(write_end);
        let _ = read_some(read_end);
        0
    })?;
    let during = committed()?;
    close(write_end)?;
    equal(wait(pid)?, 0)?;
    check(during - before > BIG_KIB - 4096, "fork promises nothing")?;
    about(committed()? - before, 0)
}

/// Runs a body with a mode of overcommit, and puts the settings back.
fn with_mode(mode: &str, ratio: &str, body: impl FnOnce() -> Outcome) -> Outcome {
    let path = "/proc/sys/vm/overcommit_memory";
    let path_of_ratio = "/proc/sys/vm/overcommit_ratio";
    let (old, old_ratio) = (text_of(path)?, text_of(path_of_ratio)?);
    std::fs::write(path_of_ratio, ratio)?;
    std::fs::write(path, mode)?;
    // In this process: while another asks for too much, Linux counts what it will refuse, and this one could be refused.
    let outcome = body();
    std::fs::write(path, old)?;
    std::fs::write(path_of_ratio, old_ratio)?;
    outcome
}

fn total() -> Outcome<usize> {
    Ok(meminfo("MemTotal")? as usize * 1024)
}

fn commit_guess_refuses_the_impossible() -> Outcome {
    let total = total()?;
    fails(map(total + (64 << 20)), libc::ENOMEM)?;
    fails(map_shared(total + (64 << 20)), libc::ENOMEM)?;
    map_with(total + (64 << 20), RW, ANON | libc::MAP_NORESERVE)?;
    // Each is looked at alone.
    map(total - (32 << 20))?;
    map(total - (32 << 20))?;
    Ok(())
}

fn commit_always_grants_the_impossible() -> Outcome {
    let total = total()?;
    with_mode("1", "50", || {
        map(4 * total)?;
        map_shared(4 * total)?;
        Ok(())
    })
}

fn commit_never_refuses_beyond_the_limit() -> Outcome {
    let total = total()?;
    with_mode("2", "80", || {
        let limit = meminfo("CommitLimit")? as usize * 1024;
        check(limit.abs_diff(total / 100 * 80) < 1 << 20, "CommitLimit")?;
        fails(map(limit), libc::ENOMEM)?;
        let left = limit.saturating_sub(committed()? as usize * 1024);
        map(left / 2)?;
        fails(map(left * 3 / 4), libc::ENOMEM)
    })
}

fn commit_never_ignores_noreserve() -> Outcome {
    with_mode("2", "80", || {
        let limit = meminfo("CommitLimit")? as usize * 1024;
        fails(
            map_with(limit, RW, ANON | libc::MAP_NORESERVE),
            libc::ENOMEM,
        )
    })
}

fn commit_never_refuses_shared_memory() -> Outcome {
    with_mode("2", "80", || {
        let limit = meminfo("CommitLimit")? as usize * 1024;
        fails(map_shared(limit), libc::ENOMEM)?;
        // Memory that can only be read costs nothing.
        map_with(limit, libc::PROT_READ, ANON)?;
        Ok(())
    })
}

fn commit_never_refuses_mprotect() -> Outcome {
    with_mode("2", "80", || {
        let limit = meminfo("CommitLimit")? as usize * 1024;
        let addr = map_with(limit, libc::PROT_READ, ANON)?;
        fails(sys!(SYS_mprotect, addr, limit, RW), libc::ENOMEM)?;
        equal(sys!(SYS_mprotect, addr, 1 << 20, RW)?, 0)
    })
}

fn commit_kbytes_and_ratio_exclude_each_other() -> Outcome {
    let read =
        |name: &str| Ok::<_, Trouble>(text_of(&format!("/proc/sys/vm/{name}"))?.trim().to_owned());
    let write = |name: &str, value: &str| std::fs::write(format!("/proc/sys/vm/{name}"), value);
    let old = read("overcommit_ratio")?;
    write("overcommit_kbytes", "300000")?;
    equal(read("overcommit_ratio")?, "0".to_owned())?;
    equal(meminfo("CommitLimit")?, 300_000)?;
    write("overcommit_ratio", &old)?;
    equal(read("overcommit_kbytes")?, "0".to_owned())?;
    check(meminfo("CommitLimit")? != 300_000, "kbytes still hold")
}

fn commit_settings_refuse_nonsense() -> Outcome {
    let refused = |name: &str, value: &str| {
        let answer = std::fs::write(format!("/proc/sys/vm/{name}"), value);
        let code = answer.err().and_then(|error| error.raw_os_error());
        equal(code, Some(libc::EINVAL))
    };
    refused("overcommit_memory", "3")?;
    refused("overcommit_memory", "-1")?;
    refused("overcommit_memory", "x")?;
    refused("max_map_count", "-1")
}

fn set_limit(resource: i32, bytes: u64) -> Sys {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: libc::RLIM_INFINITY,
    };
    sys!(SYS_prlimit64, 0, resource, &limit, 0)
}

fn limit_as_counts_all() -> Outcome {
    set_limit(libc::RLIMIT_AS as i32, 64 << 20)?;
    map_with(32 << 20, 0, ANON)?;
    fails(map_with(40 << 20, 0, ANON), libc::ENOMEM)?;
    fails(map_shared(40 << 20), libc::ENOMEM)?;
    let start = sys!(SYS_brk, 0)?;
    equal(sys!(SYS_brk, start + (40 << 20))?, start)
}

fn limit_as_and_fixed_replacement() -> Outcome {
    let addr = map(32 << 20)?;
    let text = text_of("/proc/self/statm")?;
    let pages: u64 = some(
        text.split(' ').next().and_then(|word| word.parse().ok()),
        &text,
    )?;
    set_limit(libc::RLIMIT_AS as i32, pages * PAGE as u64)?;
    // No more than before is mapped.
    equal(
        sys!(SYS_mmap, addr, 32 << 20, RW, ANON | FIXED, -1, 0)?,
        addr,
    )?;
    fails(map(8 << 20), libc::ENOMEM)?;
    fails(
        sys!(
            SYS_mmap,
            addr + (8 << 20),
            32 << 20,
            RW,
            ANON | FIXED,
            -1,
            0
        ),
        libc::ENOMEM,
    )?;
    equal(sys!(SYS_munmap, addr, 32 << 20)?, 0)
}

fn limit_data_counts_private_writable() -> Outcome {
    set_limit(libc::RLIMIT_DATA as i32, 16 << 20)?;
    fails(map(17 << 20), libc::ENOMEM)?;
    map_with(17 << 20, libc::PROT_READ, ANON)?;
    map_shared(17 << 20)?;
    let fd = file_with(c"f", &[1; PAGE])?;
    fails(map_file(fd, 17 << 20, RW, libc::MAP_PRIVATE), libc::ENOMEM)?;
    map_with(17 << 20, RW, ANON | libc::MAP_GROWSDOWN)?;
    Ok(())
}

fn limit_data_at_mprotect() -> Outcome {
    let addr = map_with(32 << 20, libc::PROT_READ, ANON)?;
    set_limit(libc::RLIMIT_DATA as i32, 16 << 20)?;
    fails(sys!(SYS_mprotect, addr, 32 << 20, RW), libc::ENOMEM)?;
    equal(sys!(SYS_mprotect, addr, 1 << 20, RW)?, 0)
}

fn limit_stack_of_growsdown() -> Outcome {
    let base = map(1024 * PAGE)?;
    sys!(SYS_munmap, base, 1024 * PAGE)?;
    let top = base + 1000 * PAGE;
    sys!(
        SYS_mmap,
        top,
        PAGE,
        RW,
        ANON | FIXED | libc::MAP_GROWSDOWN,
        -1,
        0
    )?;
    set_limit(libc::RLIMIT_STACK as i32, 64 * PAGE as u64)?;
    poke(top - 63 * PAGE, 1);
    equal(death_of(|| poke(top - 64 * PAGE, 1))?, libc::SIGSEGV)
}

/// Runs a body with a `vm.max_map_count` of this much more than the process has mappings. The body must not allocate.
fn with_map_count<R>(more: i64, body: impl FnOnce() -> R) -> Outcome<R> {
    let path = "/proc/sys/vm/max_map_count";
    let old = text_of(path)?;
    let file = open(&c_string(path), libc::O_WRONLY)?;
    let mut digits = [0_u8; 20];
    let lines = text_of("/proc/self/maps")?
        .lines()
        .filter(|line| !line.ends_with("[vsyscall]"))
        .count();
    let mut number = (lines as i64 + more).max(1);
    let mut at = digits.len();
    while number > 0 {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    write(file, &digits[at..])?;
    let result = body();
    sys!(SYS_pwrite64, file, old.as_ptr(), old.len(), 0)?;
    Ok(result)
}

fn map_count_is_a_limit() -> Outcome {
    let (made, last) = with_map_count(100, || {
        for i in 0..400 {
            let prot = if i % 2 == 0 { libc::PROT_READ } else { RW };
            let answer = map_with(PAGE, prot, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
            if answer.is_err() {
                return (i, answer);
            }
        }
        (400, Ok(0))
    })?;
    fails(last, libc::ENOMEM)?;
    // Reading the map may have made or joined one or two.
    check((95..=105).contains(&made), &format!("{made} mappings"))
}

fn map_count_allows_whole_unmapping() -> Outcome {
    let addr = map(8 * PAGE)?;
    sys!(SYS_mprotect, addr, PAGE, 0)?;
    sys!(SYS_mprotect, addr + 7 * PAGE, PAGE, 0)?;
    let answers = with_map_count(-20, || {
        [
            sys!(SYS_munmap, addr + 2 * PAGE, PAGE),
            sys!(SYS_mprotect, addr + 2 * PAGE, PAGE, libc::PROT_READ),
            sys!(SYS_madvise, addr + 2 * PAGE, PAGE, libc::MADV_RANDOM),
            sys!(SYS_mlock, addr + 2 * PAGE, PAGE),
            map_with(
                PAGE,
                libc::PROT_READ,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            ),
            sys!(SYS_munmap, addr, PAGE),
            sys!(SYS_munmap, addr + PAGE, PAGE),
        ]
    })?;
    let nothing = Err(Errno(libc::ENOMEM));
    let later = Err(Errno(libc::EAGAIN));
    equal(
        answers,
        [nothing, nothing, later, nothing, nothing, Ok(0), Ok(0)],
    )
}
