//! A thread that sleeps while its mappings change, on a processor that has nothing else to do: what it read before it
//! slept must not be what it reads after.

use std::sync::atomic::Ordering;

use super::hints::COLLAPSE;
use super::{ANON, FIXED, RW};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    sleeper_sees_the_first_write_to_a_page_of_zeros,
    sleeper_sees_a_page_that_came_for_another,
    sleeper_sees_a_page_that_was_moved_there,
    sleeper_sees_a_copy_made_because_of_a_child,
    sleeper_sees_what_came_after_all_was_unmapped,
    sleeper_sees_a_huge_page_that_came_for_small_ones,
];

const ROUNDS: u32 = 300;
const HUGE: usize = 2 << 20;

/// A thread that reads the word at `addr` when asked, and sleeps.
struct Sleeper {
    addr: usize,
    /// Where it puts what it read.
    seen: usize,
    asks: (i32, i32),
    answers: (i32, i32),
}

impl Sleeper {
    /// On another processor than the caller, if there is one.
    fn start(addr: usize) -> Outcome<&'static Self> {
        let it = Box::leak(Box::new(Self {
            addr,
            seen: map_shared(PAGE)?,
            asks: pipe()?,
            answers: pipe()?,
        }));
        thread(sleep, std::ptr::from_ref(it) as usize)?;
        stay_on(0);
        Ok(it)
    }

    fn reads(&self, want: u32) -> Outcome {
        write(self.asks.1, &[0])?;
        read(self.answers.0, &mut [0])?;
        equal(word(self.seen).load(Ordering::SeqCst), want)
    }
}

extern "C" fn sleep(raw: *mut libc::c_void) -> i32 {
    // SAFETY: the argument is a leaked `Sleeper`.
    let it = unsafe { &*raw.cast::<Sleeper>() };
    stay_on(1);
    while let Ok(1) = read(it.asks.0, &mut [0]) {
        let now = word(it.addr).load(Ordering::SeqCst);
        word(it.seen).store(now, Ordering::SeqCst);
        if write(it.answers.1, &[0]).is_err() {
            return 1;
        }
    }
    0
}

/// Without effect where there is no such processor.
fn stay_on(processor: u32) {
    let _ = sys!(SYS_sched_setaffinity, 0, 8, &(1_u64 << processor));
}

fn put(addr: usize, value: u32) {
    word(addr).store(value, Ordering::SeqCst);
}

fn sleeper_sees_the_first_write_to_a_page_of_zeros() -> Outcome {
    let addr = map(PAGE)?;
    let sleeper = Sleeper::start(addr)?;
    for round in 1..ROUNDS {
        sys!(SYS_madvise, addr, PAGE, libc::MADV_DONTNEED)?;
        sleeper.reads(0)?;
        put(addr, round);
        sleeper.reads(round)?;
    }
    Ok(())
}

fn sleeper_sees_a_page_that_came_for_another() -> Outcome {
    let addr = map(PAGE)?;
    let fd = file_with(c"f", &[0; 2 * PAGE])?;
    let sleeper = Sleeper::start(addr)?;
    for round in 1..ROUNDS {
        put(addr, round);
        sleeper.reads(round)?;
        sys!(SYS_mmap, addr, PAGE, RW, ANON | FIXED, -1, 0)?;
        sleeper.reads(0)?;
        let flags = libc::MAP_SHARED | FIXED;
        let offset = round as usize % 2 * PAGE;
        sys!(SYS_mmap, addr, PAGE, RW, flags, fd, offset)?;
        sleeper.reads(round.saturating_sub(2) * 3)?;
        put(addr, round * 3);
        sleeper.reads(round * 3)?;
        sys!(SYS_mmap, addr, PAGE, RW, ANON | FIXED, -1, 0)?;
    }
    Ok(())
}

fn sleeper_sees_a_page_that_was_moved_there() -> Outcome {
    let addr = map(PAGE)?;
    let sleeper = Sleeper::start(addr)?;
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    for round in 1..ROUNDS {
        sleeper.reads(round - 1)?;
        let other = map(PAGE)?;
        put(other, round);
        sys!(SYS_mremap, other, PAGE, PAGE, flags, addr)?;
        sleeper.reads(round)?;
    }
    Ok(())
}

fn sleeper_sees_a_copy_made_because_of_a_child() -> Outcome {
    let addr = map(PAGE)?;
    let sleeper = Sleeper::start(addr)?;
    put(addr, 1);
    for round in 2..ROUNDS / 3 {
        sleeper.reads(round - 1)?;
        let (held, hold) = pipe()?;
        let pid = fork(|| {
            let _ = close(hold);
            let _ = read(held, &mut [0]);
            i32::from(word(addr).load(Ordering::SeqCst) != round - 1)
        })?;
        sleeper.reads(round - 1)?;
        put(addr, round);
        sleeper.reads(round)?;
        close(hold)?;
        close(held)?;
        equal(wait(pid)?, 0)?;
    }
    Ok(())
}

fn sleeper_sees_what_came_after_all_was_unmapped() -> Outcome {
    let addr = map(3 * HUGE)?.next_multiple_of(HUGE);
    let sleeper = Sleeper::start(addr)?;
    for round in 1..ROUNDS {
        put(addr, round);
        sleeper.reads(round)?;
        sys!(SYS_munmap, addr, HUGE)?;
        sys!(SYS_mmap, addr, HUGE, RW, ANON | FIXED, -1, 0)?;
        // What was a table or a page may serve for anything now.
        let other = map(HUGE)?;
        (0..16).for_each(|page| put(other + page * PAGE, u32::MAX));
        if round % 2 == 0 {
            sys!(SYS_madvise, addr, HUGE, libc::MADV_NOHUGEPAGE)?;
        }
        sleeper.reads(0)?;
        sys!(SYS_munmap, other, HUGE)?;
    }
    Ok(())
}

fn sleeper_sees_a_huge_page_that_came_for_small_ones() -> Outcome {
    let addr = map(2 * HUGE)?.next_multiple_of(HUGE);
    let sleeper = Sleeper::start(addr)?;
    for round in 1..ROUNDS / 3 {
        sys!(SYS_madvise, addr, HUGE, libc::MADV_NOHUGEPAGE)?;
        sys!(SYS_madvise, addr, HUGE, libc::MADV_DONTNEED)?;
        put(addr, round);
        sleeper.reads(round)?;
        sys!(SYS_madvise, addr, HUGE, libc::MADV_HUGEPAGE)?;
        sys!(SYS_madvise, addr, HUGE, COLLAPSE)?;
        sleeper.reads(round)?;
        put(addr, round + 1);
        sleeper.reads(round + 1)?;
    }
    Ok(())
}
