//! One address space, several threads: mappings change under accesses.

use std::sync::atomic::Ordering;

use super::{ANON, FIXED, RW, map_file};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    race_mprotect_is_seen_by_other_threads,
    race_munmap_is_seen_by_other_threads,
    race_fixed_replacement_is_seen,
    race_dontneed_against_writers,
    race_faults_of_one_page,
    race_fork_while_a_thread_writes,
    race_truncate_against_a_toucher,
    race_map_and_unmap_in_two_threads,
    race_mremap_against_a_reader,
    race_brk_in_two_threads,
    race_exec_ends_the_other_thread,
];

/// Words that threads share: a command, an answer, and an address.
struct Shared {
    command: usize,
    answer: usize,
    addr: usize,
}

fn shared(addr: usize) -> Outcome<&'static Shared> {
    let page = map_shared(PAGE)?;
    Ok(Box::leak(Box::new(Shared {
        command: page,
        answer: page + 64,
        addr,
    })))
}

fn of(argument: *mut libc::c_void) -> &'static Shared {
    // SAFETY: the argument is a leaked `Shared`.
    unsafe { &*argument.cast::<Shared>() }
}

fn argument(of: &'static Shared) -> usize {
    std::ptr::from_ref(of) as usize
}

/// Reads the byte at the address once for each command, through the kernel so that no access can be fatal: 1 more than
/// the byte, or 1000 for EFAULT.
extern "C" fn prober(raw: *mut libc::c_void) -> i32 {
    let it = of(raw);
    let Ok((read_end, write_end)) = pipe() else {
        return 1;
    };
    for round in 1..10_u32 {
        while word(it.command).load(Ordering::SeqCst) < round {
            nap();
        }
        let answer = match sys!(SYS_write, write_end, it.addr, 1) {
            Ok(_) => {
                let mut byte = [0];
                let _ = read(read_end, &mut byte);
                u32::from(byte[0]) + 1
            }
            Err(_) => 1000,
        };
        word(it.answer).store(round << 16 | answer, Ordering::SeqCst);
    }
    0
}

fn probe(it: &Shared, round: u32) -> u32 {
    word(it.command).store(round, Ordering::SeqCst);
    loop {
        let answer = word(it.answer).load(Ordering::SeqCst);
        if answer >> 16 == round {
            return answer & 0xffff;
        }
        nap();
    }
}

fn race_mprotect_is_seen_by_other_threads() -> Outcome {
    let addr = map(PAGE)?;
    poke(addr, 7);
    let it = shared(addr)?;
    thread(prober, argument(it))?;
    equal(probe(it, 1), 8)?;
    sys!(SYS_mprotect, addr, PAGE, 0)?;
    equal(probe(it, 2), 1000)?;
    sys!(SYS_mprotect, addr, PAGE, libc::PROT_READ)?;
    equal(probe(it, 3), 8)
}

fn race_munmap_is_seen_by_other_threads() -> Outcome {
    let addr = map(PAGE)?;
    poke(addr, 7);
    let it = shared(addr)?;
    thread(prober, argument(it))?;
    equal(probe(it, 1), 8)?;
    sys!(SYS_munmap, addr, PAGE)?;
    equal(probe(it, 2), 1000)?;
    sys!(SYS_mmap, addr, PAGE, RW, ANON | FIXED, -1, 0)?;
    equal(probe(it, 3), 1)
}

fn race_fixed_replacement_is_seen() -> Outcome {
    let addr = map(PAGE)?;
    poke(addr, 7);
    let it = shared(addr)?;
    thread(prober, argument(it))?;
    equal(probe(it, 1), 8)?;
    let fd = file_with(c"f", &[20; PAGE])?;
    sys!(SYS_mmap, addr, PAGE, RW, libc::MAP_SHARED | FIXED, fd, 0)?;
    equal(probe(it, 2), 21)?;
    sys!(SYS_pwrite64, fd, [30_u8].as_ptr(), 1, 0)?;
    equal(probe(it, 3), 31)?;
    sys!(SYS_ftruncate, fd, 0)?;
    equal(probe(it, 4), 1000)
}

/// Writes a counter to the word at the address until the command is set.
extern "C" fn writer(raw: *mut libc::c_void) -> i32 {
    let it = of(raw);
    let mut count = 0;
    while word(it.command).load(Ordering::SeqCst) == 0 {
        count += 1;
        for page in 0..8 {
            word(it.addr + page * PAGE).store(count, Ordering::SeqCst);
        }
        word(it.answer).store(count, Ordering::SeqCst);
    }
    0
}

fn race_dontneed_against_writers() -> Outcome {
    let addr = map(8 * PAGE)?;
    let it = shared(addr)?;
    let done = thread(writer, argument(it))?;
    for _ in 0..300 {
        sys!(SYS_madvise, addr, 8 * PAGE, libc::MADV_DONTNEED)?;
        let last = word(it.answer).load(Ordering::SeqCst);
        // Zero or what was written: nothing of the past may come back.
        let seen = word(addr).load(Ordering::SeqCst);
        check(seen == 0 || seen >= last.saturating_sub(1), "an old page")?;
    }
    word(it.command).store(1, Ordering::SeqCst);
    await_word(done, 0);
    Ok(())
}

/// Adds one to each page's word in turn.
extern "C" fn adder(raw: *mut libc::c_void) -> i32 {
    let it = of(raw);
    word(it.command).fetch_add(1, Ordering::SeqCst);
    while word(it.command).load(Ordering::SeqCst) < 3 {
        std::hint::spin_loop();
    }
    for page in 0..512 {
        word(it.addr + page * PAGE).fetch_add(1, Ordering::SeqCst);
    }
    0
}

fn race_faults_of_one_page() -> Outcome {
    for flags in [ANON, libc::MAP_SHARED | libc::MAP_ANONYMOUS] {
        let addr = map_with(512 * PAGE, RW, flags)?;
        let it = shared(addr)?;
        let ends = [
            thread(adder, argument(it))?,
            thread(adder, argument(it))?,
            thread(adder, argument(it))?,
        ];
        ends.iter().for_each(|end| await_word(end, 0));
        let whole = (0..512).all(|page| word(addr + page * PAGE).load(Ordering::SeqCst) == 3);
        check(whole, "a write was lost")?;
    }
    Ok(())
}

fn race_fork_while_a_thread_writes() -> Outcome {
    let addr = map(8 * PAGE)?;
    let it = shared(addr)?;
    let done = thread(writer, argument(it))?;
    for _ in 0..20 {
        let pid = fork(|| {
            let seen: Vec<u32> = (0..8)
                .map(|page| word(addr + page * PAGE).load(Ordering::SeqCst))
                .collect();
            nap();
            // Whatever was there at the fork is still there: nobody writes to the child's copy.
            let again: Vec<u32> = (0..8)
                .map(|page| word(addr + page * PAGE).load(Ordering::SeqCst))
                .collect();
            i32::from(seen != again)
        })?;
        equal(wait(pid)?, 0)?;
    }
    word(it.command).store(1, Ordering::SeqCst);
    await_word(done, 0);
    Ok(())
}

fn race_truncate_against_a_toucher() -> Outcome {
    let fd = file_with(c"f", &[20; PAGE])?;
    let addr = map_file(fd, PAGE, RW, libc::MAP_SHARED)?;
    let it = shared(addr)?;
    thread(prober, argument(it))?;
    for round in 1..9 {
        sys!(SYS_ftruncate, fd, if round % 2 == 0 { PAGE } else { 0 })?;
        let want = if round % 2 == 0 { 1 } else { 1000 };
        equal(probe(it, round), want)?;
    }
    Ok(())
}

/// Maps, fills, checks and unmaps.
extern "C" fn mapper(raw: *mut libc::c_void) -> i32 {
    let it = of(raw);
    for i in 0..200_u32 {
        let Ok(addr) = map(8 * PAGE) else {
            word(it.answer).fetch_add(1, Ordering::SeqCst);
            return 1;
        };
        (0..8).for_each(|page| word(addr + page * PAGE).store(i, Ordering::SeqCst));
        let whole = (0..8).all(|page| word(addr + page * PAGE).load(Ordering::SeqCst) == i);
        if !whole || sys!(SYS_munmap, addr, 8 * PAGE).is_err() {
            word(it.answer).fetch_add(1, Ordering::SeqCst);
        }
    }
    0
}

fn race_map_and_unmap_in_two_threads() -> Outcome {
    let it = shared(0)?;
    let ends = [
        thread(mapper, argument(it))?,
        thread(mapper, argument(it))?,
        thread(mapper, argument(it))?,
    ];
    ends.iter().for_each(|end| await_word(end, 0));
    equal(word(it.answer).load(Ordering::SeqCst), 0)
}

fn race_mremap_against_a_reader() -> Outcome {
    let addr = map(2 * PAGE)?;
    poke(addr, 7);
    let it = shared(addr)?;
    thread(prober, argument(it))?;
    equal(probe(it, 1), 8)?;
    let place = map(2 * PAGE)?;
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    sys!(SYS_mremap, addr, 2 * PAGE, 2 * PAGE, flags, place)?;
    equal(probe(it, 2), 1000)?;
    sys!(SYS_mremap, place, 2 * PAGE, 2 * PAGE, flags, addr)?;
    equal(probe(it, 3), 8)
}

/// Moves the break up and down.
extern "C" fn breaker(raw: *mut libc::c_void) -> i32 {
    let it = of(raw);
    for _ in 0..200 {
        for by in [4 * PAGE, 0, 2 * PAGE] {
            if sys!(SYS_brk, it.addr + by).is_err() {
                word(it.answer).fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    0
}

fn race_brk_in_two_threads() -> Outcome {
    let start = sys!(SYS_brk, 0)?.next_multiple_of(PAGE);
    let it = shared(start)?;
    let ends = [
        thread(breaker, argument(it))?,
        thread(breaker, argument(it))?,
    ];
    ends.iter().for_each(|end| await_word(end, 0));
    equal(word(it.answer).load(Ordering::SeqCst), 0)?;
    equal(sys!(SYS_brk, start + PAGE)?, start + PAGE)?;
    poke(start, 1);
    Ok(())
}

/// Faults pages in for ever.
extern "C" fn toucher(raw: *mut libc::c_void) -> i32 {
    let it = of(raw);
    loop {
        (0..64).for_each(|page| poke(it.addr + page * PAGE, 1));
        let _ = sys!(SYS_madvise, it.addr, 64 * PAGE, libc::MADV_DONTNEED);
    }
}

fn race_exec_ends_the_other_thread() -> Outcome {
    for _ in 0..5 {
        let pid = fork(|| {
            let Ok(addr) = map(64 * PAGE) else { return 2 };
            let Ok(it) = shared(addr) else { return 2 };
            if thread(toucher, argument(it)).is_err() {
                return 2;
            }
            nap();
            let words = [c"true".as_ptr(), std::ptr::null()];
            let _ = sys!(SYS_execve, c"/bin/true", words.as_ptr(), 0);
            3
        })?;
        equal(wait(pid)?, 0)?;
    }
    Ok(())
}
