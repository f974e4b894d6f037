//! mlock and its family against fork, exec, holes and limits.

use super::{ANON, RW, map_file, mincore};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    lock_stops_at_a_hole,
    lock_of_nothing_at_the_start_changes_nothing,
    lock_of_inaccessible_is_enomem,
    lock_past_the_end_of_a_file_is_enomem,
    lock_twice_counts_once,
    lock_without_right_is_eperm,
    lock_length_zero,
    lock_limit_counts_what_is_new,
    lock_onfault_brings_nothing_in,
    lock_goes_with_munmap,
    lock_is_not_inherited_by_fork,
    lockall_is_not_inherited_by_fork_or_exec,
    lockall_current_locks_what_is_there,
    lockall_current_forgets_future,
    lockall_over_the_limit_is_enomem,
    lockall_future_limit_is_eagain,
    lockall_future_holds_for_brk,
    lockall_onfault,
    unlock_of_a_hole_is_enomem,
    lock_shows_in_smaps,
    lock_moves_with_mremap,
    lock_of_a_shared_file,
];

/// A number of kB in `/proc/self/status`.
fn status_kb(name: &str) -> Outcome<u64> {
    let text = text_of("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = some(line, name)?
        .split_whitespace()
        .next()
        .unwrap_or_default();
    some(word.parse().ok(), name)
}

fn locked_pages() -> Outcome<u64> {
    Ok(status_kb("VmLck:")? / 4)
}

fn resident(addr: usize, pages: usize) -> Outcome<Vec<u8>> {
    let mut out = vec![0; pages];
    mincore(addr, pages * PAGE, &mut out)?;
    Ok(out.iter().map(|byte| byte & 1).collect())
}

fn memlock(bytes: usize) -> Sys {
    let limit = libc::rlimit {
        rlim_cur: bytes as u64,
        rlim_max: bytes as u64,
    };
    sys!(SYS_prlimit64, 0, libc::RLIMIT_MEMLOCK as i32, &limit, 0)
}

fn lock_stops_at_a_hole() -> Outcome {
    let addr = map(5 * PAGE)?;
    sys!(SYS_munmap, addr + 2 * PAGE, PAGE)?;
    fails(sys!(SYS_mlock, addr, 5 * PAGE), libc::ENOMEM)?;
    // What lies before the hole is locked, what lies behind is not.
    equal(locked_pages()?, 2)
}

fn lock_of_nothing_at_the_start_changes_nothing() -> Outcome {
    let addr = map(3 * PAGE)?;
    sys!(SYS_munmap, addr, PAGE)?;
    fails(sys!(SYS_mlock, addr, 3 * PAGE), libc::ENOMEM)?;
    equal(locked_pages()?, 0)
}

fn lock_of_inaccessible_is_enomem() -> Outcome {
    let addr = map_with(2 * PAGE, 0, ANON)?;
    fails(sys!(SYS_mlock, addr, 2 * PAGE), libc::ENOMEM)?;
    // It is locked all the same.
    equal(locked_pages()?, 2)
}

fn lock_past_the_end_of_a_file_is_enomem() -> Outcome {
    let fd = file_with(c"f", &[1; PAGE])?;
    let addr = map_file(fd, 3 * PAGE, RW, libc::MAP_SHARED)?;
    equal(sys!(SYS_mlock, addr, PAGE)?, 0)?;
    fails(sys!(SYS_mlock, addr, 3 * PAGE), libc::ENOMEM)?;
    equal(locked_pages()?, 3)
}

fn lock_twice_counts_once() -> Outcome {
    let addr = map(4 * PAGE)?;
    sys!(SYS_mlock, addr, 3 * PAGE)?;
    sys!(SYS_mlock, addr + PAGE, 3 * PAGE)?;
    equal(locked_pages()?, 4)?;
    sys!(SYS_munlock, addr + PAGE, PAGE)?;
    equal(locked_pages()?, 3)
}

fn lock_without_right_is_eperm() -> Outcome {
    let addr = map(PAGE)?;
    memlock(0)?;
    become_user()?;
    fails(sys!(SYS_mlock, addr, PAGE), libc::EPERM)?;
    fails(sys!(SYS_mlock, addr, 0), libc::EPERM)?;
    fails(
        sys!(SYS_mlock2, addr, PAGE, libc::MLOCK_ONFAULT),
        libc::EPERM,
    )?;
    fails(sys!(SYS_mlockall, libc::MCL_CURRENT), libc::EPERM)?;
    fails(sys!(SYS_mlockall, 0), libc::EINVAL)?;
    equal(sys!(SYS_munlock, addr, PAGE)?, 0)?;
    equal(sys!(SYS_munlockall)?, 0)
}

fn lock_length_zero() -> Outcome {
    let addr = map(PAGE)?;
    equal(sys!(SYS_mlock, addr, 0)?, 0)?;
    // Not whole pages: the page around counts.
    equal(sys!(SYS_mlock, addr + 5, 0)?, 0)?;
    equal(locked_pages()?, 1)
}

fn lock_limit_counts_what_is_new() -> Outcome {
    let addr = map(8 * PAGE)?;
    memlock(4 * PAGE)?;
    become_user()?;
    sys!(SYS_mlock, addr, 4 * PAGE)?;
    sys!(SYS_mlock, addr, 3 * PAGE)?;
    fails(sys!(SYS_mlock, addr + 4 * PAGE, 1), libc::ENOMEM)?;
    sys!(SYS_munlock, addr, PAGE)?;
    equal(sys!(SYS_mlock, addr + 4 * PAGE, 1)?, 0)
}

fn lock_onfault_brings_nothing_in() -> Outcome {
    let addr = map(4 * PAGE)?;
    sys!(SYS_mlock2, addr, 4 * PAGE, libc::MLOCK_ONFAULT)?;
    equal(resident(addr, 4)?, vec![0; 4])?;
    equal(locked_pages()?, 4)?;
    poke(addr, 1);
    // Locking once more without the flag does bring it in.
    sys!(SYS_mlock, addr, 4 * PAGE)?;
    equal(resident(addr, 4)?, vec![1; 4])
}

fn lock_goes_with_munmap() -> Outcome {
    let addr = map(4 * PAGE)?;
    sys!(SYS_mlock, addr, 4 * PAGE)?;
    sys!(SYS_munmap, addr, 2 * PAGE)?;
    equal(locked_pages()?, 2)?;
    sys!(
        SYS_mmap,
        addr + 2 * PAGE,
        PAGE,
        RW,
        ANON | super::FIXED,
        -1,
        0
    )?;
    equal(locked_pages()?, 1)
}

fn lock_is_not_inherited_by_fork() -> Outcome {
    let addr = map(4 * PAGE)?;
    sys!(SYS_mlock, addr, 4 * PAGE)?;
    within(|| {
        equal(locked_pages()?, 0)?;
        poke(addr, 1);
        Ok(())
    })?;
    equal(locked_pages()?, 4)
}

fn lockall_is_not_inherited_by_fork_or_exec() -> Outcome {
    sys!(SYS_mlockall, libc::MCL_CURRENT | libc::MCL_FUTURE)?;
    check(locked_pages()? > 10, "nothing is locked")?;
    within(|| {
        equal(locked_pages()?, 0)?;
        equal(resident(map(2 * PAGE)?, 2)?, vec![0, 0])
    })?;
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let _ = sys!(SYS_mlockall, libc::MCL_FUTURE);
        let _ = sys!(SYS_dup2, write_end, 1);
        let words = [
            c"grep".as_ptr(),
            c"VmLck".as_ptr(),
            c"/proc/self/status".as_ptr(),
            std::ptr::null(),
        ];
        let _ = sys!(SYS_execve, c"/bin/grep", words.as_ptr(), 0);
        1
    })?;
    equal(wait(pid)?, 0)?;
    let text = String::from_utf8_lossy(&read_some(read_end)?).into_owned();
    check(text.split_whitespace().nth(1) == Some("0"), &text)
}

fn lockall_current_locks_what_is_there() -> Outcome {
    let addr = map(4 * PAGE)?;
    sys!(SYS_mlockall, libc::MCL_CURRENT)?;
    equal(resident(addr, 4)?, vec![1; 4])?;
    let later = map(4 * PAGE)?;
    equal(resident(later, 4)?, vec![0; 4])?;
    sys!(SYS_munlockall)?;
    equal(locked_pages()?, 0)
}

fn lockall_current_forgets_future() -> Outcome {
    sys!(SYS_mlockall, libc::MCL_FUTURE)?;
    sys!(SYS_mlockall, libc::MCL_CURRENT)?;
    equal(
        resident(map_with(2 * PAGE, libc::PROT_READ, ANON)?, 2)?,
        vec![0, 0],
    )
}

fn lockall_over_the_limit_is_enomem() -> Outcome {
    memlock(2 * PAGE)?;
    become_user()?;
    fails(sys!(SYS_mlockall, libc::MCL_CURRENT), libc::ENOMEM)?;
    equal(locked_pages()?, 0)?;
    equal(sys!(SYS_mlockall, libc::MCL_FUTURE)?, 0)
}

fn lockall_future_limit_is_eagain() -> Outcome {
    memlock(2 * PAGE)?;
    become_user()?;
    sys!(SYS_mlockall, libc::MCL_FUTURE)?;
    fails(map(3 * PAGE), libc::EAGAIN)?;
    let addr = map(2 * PAGE)?;
    equal(resident(addr, 2)?, vec![1, 1])?;
    let grow = sys!(
        SYS_mremap,
        addr,
        2 * PAGE,
        3 * PAGE,
        libc::MREMAP_MAYMOVE,
        0
    );
    fails(grow, libc::EAGAIN)
}

fn lockall_future_holds_for_brk() -> Outcome {
    let start = sys!(SYS_brk, 0)?;
    let page = start.next_multiple_of(PAGE);
    sys!(SYS_mlockall, libc::MCL_FUTURE)?;
    equal(sys!(SYS_brk, page + 2 * PAGE)?, page + 2 * PAGE)?;
    equal(resident(page, 2)?, vec![1, 1])
}

fn lockall_onfault() -> Outcome {
    sys!(SYS_mlockall, libc::MCL_FUTURE | libc::MCL_ONFAULT)?;
    let addr = map(3 * PAGE)?;
    equal(resident(addr, 3)?, vec![0; 3])?;
    equal(locked_pages()?, 3)
}

fn unlock_of_a_hole_is_enomem() -> Outcome {
    let addr = map(4 * PAGE)?;
    sys!(SYS_mlock, addr, 4 * PAGE)?;
    sys!(SYS_munmap, addr + PAGE, PAGE)?;
    fails(sys!(SYS_munlock, addr, 4 * PAGE), libc::ENOMEM)?;
    equal(locked_pages()?, 2)
}

fn lock_shows_in_smaps() -> Outcome {
    let addr = map(3 * PAGE)?;
    sys!(SYS_mlock, addr, 2 * PAGE)?;
    let text = text_of("/proc/self/smaps")?;
    let start = format!("{addr:x}-");
    let entry = some(text.split_once(&start), "not in smaps")?.1;
    let row = |name: &str| {
        entry
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default()
    };
    equal(row("Locked:").split_whitespace().nth(1), Some("8"))?;
    check(row("VmFlags:").contains(" lo"), row("VmFlags:"))
}

fn lock_moves_with_mremap() -> Outcome {
    let addr = map(2 * PAGE)?;
    sys!(SYS_mlock, addr, 2 * PAGE)?;
    map(PAGE)?;
    let new = sys!(
        SYS_mremap,
        addr,
        2 * PAGE,
        6 * PAGE,
        libc::MREMAP_MAYMOVE,
        0
    )?;
    equal(locked_pages()?, 6)?;
    equal(resident(new, 6)?, vec![1; 6])
}

fn lock_of_a_shared_file() -> Outcome {
    let fd = file_with(c"f", &[1; 3 * PAGE])?;
    let addr = map_file(fd, 3 * PAGE, libc::PROT_READ, libc::MAP_SHARED)?;
    sys!(SYS_mlock, addr, 3 * PAGE)?;
    fails(
        sys!(SYS_madvise, addr, PAGE, libc::MADV_DONTNEED),
        libc::EINVAL,
    )?;
    fails(sys!(SYS_madvise, addr, PAGE, libc::MADV_COLD), libc::EINVAL)?;
    fails(
        sys!(SYS_madvise, addr, PAGE, libc::MADV_PAGEOUT),
        libc::EINVAL,
    )?;
    fails(
        sys!(SYS_msync, addr, PAGE, libc::MS_INVALIDATE),
        libc::EBUSY,
    )?;
    equal(sys!(SYS_madvise, addr, PAGE, 24)?, 0)
}
