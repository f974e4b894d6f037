//! Changes of the memory map while threads use what changes.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    mprotect_under_a_writing_thread_faults_it,
    mprotect_back_and_forth_loses_no_write,
    munmap_under_a_reading_thread_kills,
    munmap_of_running_code_kills,
    mprotect_of_running_code_kills,
    munmap_of_a_stack_kills,
    munmap_under_a_blocked_read_is_efault,
    munmap_under_a_futex_wait_leaves_it,
    mremap_under_a_writing_thread_moves_all,
    madvise_under_a_reading_thread_is_zero_or_old,
    fork_under_a_writing_thread_copies_once,
    map_and_unmap_in_four_threads,
    brk_in_two_threads,
    fault_in_a_thread_kills_the_process,
    fault_in_a_thread_runs_its_handler_there,
    fault_on_an_alternate_stack_of_a_thread,
    fault_while_another_thread_is_stopped_in_a_call,
    truncate_under_a_mapped_thread_is_sigbus,
    exec_while_a_thread_faults,
];

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;
const RX: i32 = libc::PROT_READ | libc::PROT_EXEC;

static FAULTS: AtomicU32 = AtomicU32::new(0);
static FAULT_TID: AtomicU32 = AtomicU32::new(0);
static PLACE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

extern "C" fn make_writable(_signal: i32, info: *const libc::siginfo_t, _context: usize) {
    // SAFETY: the kernel hands in what it knows of the fault.
    let place = unsafe { (*info).si_addr() } as usize;
    PLACE.store(place, Ordering::SeqCst);
    FAULT_TID.store(gettid() as u32, Ordering::SeqCst);
    FAULTS.fetch_add(1, Ordering::SeqCst);
    let _ = sys!(SYS_mprotect, place & !(PAGE - 1), PAGE, RW);
}

fn mend_faults() -> Sys<()> {
    let handler = make_writable as extern "C" fn(i32, *const libc::siginfo_t, usize) as usize;
    handle(libc::SIGSEGV, handler, libc::SA_SIGINFO, &[])
}

fn mprotect_under_a_writing_thread_faults_it() -> Outcome {
    mend_faults()?;
    let area = map(PAGE)?;
    let writer = std::thread::spawn(move || {
        while FAULTS.load(Ordering::SeqCst) < 20 {
            word(area + 64).fetch_add(1, Ordering::SeqCst);
        }
        gettid()
    });
    while FAULTS.load(Ordering::SeqCst) < 20 {
        sys!(SYS_mprotect, area, PAGE, libc::PROT_READ)?;
        let _ = sys!(SYS_sched_yield);
    }
    // One more change may have come after its last fault.
    let _ = sys!(SYS_mprotect, area, PAGE, RW);
    let tid = writer.join().map_err(|_| failure("the thread panics"))?;
    equal(PLACE.load(Ordering::SeqCst), area + 64)?;
    equal(FAULT_TID.load(Ordering::SeqCst), tid as u32)
}

fn mprotect_back_and_forth_loses_no_write() -> Outcome {
    const EACH: u32 = 20_000;
    mend_faults()?;
    let area = map(PAGE)?;
    let writers: Vec<_> = (0..2)
        .map(|_| {
            std::thread::spawn(move || {
                for _ in 0..EACH {
                    word(area).fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    while writers.iter().any(|writer| !writer.is_finished()) {
        sys!(SYS_mprotect, area, PAGE, libc::PROT_READ)?;
        sys!(SYS_mprotect, area, PAGE, RW)?;
    }
    equal(word(area).load(Ordering::SeqCst), 2 * EACH)
}

/// The signal that a process dies of in which a thread runs `busy` until the main thread has done `change`.
fn death_under(busy: impl Fn() + Send + 'static, change: impl FnOnce() -> Sys) -> Outcome<i32> {
    let pid = fork(|| {
        let ready = std::sync::Arc::new(AtomicU32::new(0));
        let started = ready.clone();
        std::thread::spawn(move || {
            busy();
            started.store(1, Ordering::SeqCst);
            loop {
                busy();
            }
        });
        while ready.load(Ordering::SeqCst) == 0 {
            nap();
        }
        if change().is_err() {
            return 1;
        }
        sleep_on()
    })?;
    let status = wait(pid)?;
    check(libc::WIFSIGNALED(status), "it was not killed")?;
    Ok(libc::WTERMSIG(status))
}

fn munmap_under_a_reading_thread_kills() -> Outcome {
    let area = map(PAGE)?;
    poke(area, 1);
    let death = death_under(move || touch(area), || sys!(SYS_munmap, area, PAGE))?;
    equal(death, libc::SIGSEGV)
}

/// A page of code that returns at once.
fn code() -> Sys {
    let area = map(PAGE)?;
    poke(area, 0xc3);
    sys!(SYS_mprotect, area, PAGE, RX)?;
    Ok(area)
}

fn run(area: usize) {
    // SAFETY: there is a `ret`, or nothing, in which case the process dies, as is to be seen.
    unsafe { std::arch::asm!("call {}", in(reg) area, clobber_abi("C")) };
}

fn munmap_of_running_code_kills() -> Outcome {
    let area = code()?;
    let death = death_under(move || run(area), || sys!(SYS_munmap, area, PAGE))?;
    equal(death, libc::SIGSEGV)
}

fn mprotect_of_running_code_kills() -> Outcome {
    let area = code()?;
    let death = death_under(
        move || run(area),
        || sys!(SYS_mprotect, area, PAGE, libc::PROT_READ),
    )?;
    equal(death, libc::SIGSEGV)
}

fn munmap_of_a_stack_kills() -> Outcome {
    let area = map(16 * PAGE)?;
    let use_stack = move || {
        // SAFETY: the stack is switched for one push and pop.
        unsafe {
            std::arch::asm!(
                "xchg rsp, {top}",
                "push rax",
                "pop rax",
                "xchg rsp, {top}",
                top = inout(reg) area + 16 * PAGE => _,
            );
        }
    };
    let death = death_under(use_stack, || sys!(SYS_munmap, area, 16 * PAGE))?;
    equal(death, libc::SIGSEGV)
}

fn munmap_under_a_blocked_read_is_efault() -> Outcome {
    let area = map(PAGE)?;
    let (read_end, write_end) = pipe()?;
    let board = Board::new()?;
    let addr = board.addr();
    let reader = std::thread::spawn(move || {
        word(addr).store(gettid() as u32, Ordering::SeqCst);
        sys!(SYS_read, read_end, area, 8)
    });
    board.await_set(0);
    await_thread(getpid(), board.get(0) as i32, "S")?;
    sys!(SYS_munmap, area, PAGE)?;
    write(write_end, b"12345678")?;
    let answer = reader.join().map_err(|_| failure("the thread panics"))?;
    fails(answer, libc::EFAULT)
}

fn munmap_under_a_futex_wait_leaves_it() -> Outcome {
    let area = map(PAGE)?;
    let board = Board::new()?;
    let addr = board.addr();
    const WAIT: i32 = libc::FUTEX_WAIT | 128;
    const WAKE: i32 = libc::FUTEX_WAKE | 128;
    let waiter = std::thread::spawn(move || {
        word(addr).store(gettid() as u32, Ordering::SeqCst);
        sys!(SYS_futex, area, WAIT, 0, 0, 0, 0)
    });
    board.await_set(0);
    await_thread(getpid(), board.get(0) as i32, "S")?;
    sys!(SYS_munmap, area, PAGE)?;
    // The name of a private word is its address, whatever is there.
    equal(sys!(SYS_futex, area, WAKE, 1, 0, 0, 0)?, 1)?;
    waiter.join().map_err(|_| failure("the thread panics"))??;
    Ok(())
}

fn mremap_under_a_writing_thread_moves_all() -> Outcome {
    const PAGES: usize = 8;
    let area = map(PAGES * PAGE)?;
    let death = death_under(
        move || {
            for page in 0..PAGES {
                word(area + page * PAGE).fetch_add(1, Ordering::SeqCst);
            }
        },
        || {
            let (flags, len) = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, PAGES * PAGE);
            let place = map(len)?;
            let moved = sys!(SYS_mremap, area, len, len, flags, place)?;
            // The thread found its memory gone and dies; what it wrote is here.
            for page in 0..PAGES {
                if word(moved + page * PAGE).load(Ordering::SeqCst) == 0 {
                    exit(1);
                }
            }
            Ok(0)
        },
    );
    // The case says what came first: the thread's death, or the check.
    equal(death?, libc::SIGSEGV)
}

fn madvise_under_a_reading_thread_is_zero_or_old() -> Outcome {
    let area = map(PAGE)?;
    let bad = std::sync::Arc::new(AtomicU32::new(0));
    let done = std::sync::Arc::new(AtomicU32::new(0));
    let (seen, end) = (bad.clone(), done.clone());
    let reader = std::thread::spawn(move || {
        while end.load(Ordering::SeqCst) == 0 {
            let value = word(area).load(Ordering::SeqCst);
            if value != 0 && value != 7 {
                seen.store(value, Ordering::SeqCst);
            }
        }
    });
    for _ in 0..300 {
        word(area).store(7, Ordering::SeqCst);
        sys!(SYS_madvise, area, PAGE, libc::MADV_DONTNEED)?;
        equal(word(area).load(Ordering::SeqCst), 0)?;
    }
    done.store(1, Ordering::SeqCst);
    reader.join().map_err(|_| failure("the thread panics"))?;
    equal(bad.load(Ordering::SeqCst), 0)
}

fn fork_under_a_writing_thread_copies_once() -> Outcome {
    let area = map(PAGE)?;
    let done = std::sync::Arc::new(AtomicU32::new(0));
    let end = done.clone();
    let writer = std::thread::spawn(move || {
        let mut written = 0_u32;
        while end.load(Ordering::SeqCst) == 0 {
            word(area).fetch_add(1, Ordering::SeqCst);
            written += 1;
        }
        written
    });
    for _ in 0..15 {
        // The child has its own page from here on: it does not move.
        ends_well(fork(|| {
            let first = word(area).load(Ordering::SeqCst);
            nap();
            i32::from(word(area).load(Ordering::SeqCst) != first)
        })?)?;
    }
    done.store(1, Ordering::SeqCst);
    let written = writer.join().map_err(|_| failure("the thread panics"))?;
    // And no write of the parent's went into a page that was the child's.
    equal(word(area).load(Ordering::SeqCst), written)
}

fn map_and_unmap_in_four_threads() -> Outcome {
    let threads: Vec<_> = (1..=4_u8)
        .map(|number| {
            std::thread::spawn(move || -> Outcome {
                for _ in 0..15 {
                    let area = map(8 * PAGE)?;
                    for page in 0..8 {
                        equal(peek(area + page * PAGE), 0)?;
                        poke(area + page * PAGE, number);
                    }
                    sys!(SYS_munmap, area + 2 * PAGE, PAGE)?;
                    sys!(SYS_mprotect, area + 4 * PAGE, PAGE, libc::PROT_READ)?;
                    equal(peek(area + 7 * PAGE), number)?;
                    // The hole may be somebody else's by now.
                    sys!(SYS_munmap, area, 2 * PAGE)?;
                    sys!(SYS_munmap, area + 3 * PAGE, 5 * PAGE)?;
                }
                Ok(())
            })
        })
        .collect();
    threads
        .into_iter()
        .try_for_each(|thread| thread.join().map_err(|_| failure("a thread panics"))?)
}

fn brk_in_two_threads() -> Outcome {
    within(|| {
        let start = sys!(SYS_brk, 0)?;
        let grow = move || {
            for _ in 0..50 {
                if let Ok(now) = sys!(SYS_brk, 0) {
                    let _ = sys!(SYS_brk, now + PAGE);
                }
            }
        };
        let threads = [std::thread::spawn(grow), std::thread::spawn(grow)];
        for thread in threads {
            thread.join().map_err(|_| failure("a thread panics"))?;
        }
        let end = sys!(SYS_brk, 0)?;
        check(end > start && end <= start + 100 * PAGE, "a strange break")?;
        // All of it is memory.
        (start..end)
            .step_by(PAGE)
            .for_each(|addr| poke(addr.next_multiple_of(PAGE) - 1, 1));
        Ok(())
    })
}

fn fault_in_a_thread_kills_the_process() -> Outcome {
    let pid = fork(|| {
        std::thread::spawn(|| touch(8));
        sleep_on()
    })?;
    dies_of(pid, libc::SIGSEGV)
}

fn fault_in_a_thread_runs_its_handler_there() -> Outcome {
    mend_faults()?;
    let area = map_with(
        PAGE,
        libc::PROT_NONE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    )?;
    // Blocked elsewhere, which does not count.
    let thread = std::thread::spawn(move || {
        touch(area);
        gettid()
    });
    let tid = thread.join().map_err(|_| failure("the thread panics"))?;
    equal(FAULT_TID.load(Ordering::SeqCst), tid as u32)?;
    check(tid != gettid(), "the same thread")
}

static HANDLER_STACK: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

extern "C" fn note_stack(_signal: i32, info: *const libc::siginfo_t, context: usize) {
    let local = 0_u8;
    HANDLER_STACK.store(&raw const local as usize, Ordering::SeqCst);
    make_writable(0, info, context);
}

fn fault_on_an_alternate_stack_of_a_thread() -> Outcome {
    let handler = note_stack as extern "C" fn(i32, *const libc::siginfo_t, usize) as usize;
    let flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    handle(libc::SIGSEGV, handler, flags, &[])?;
    let area = map_with(
        PAGE,
        libc::PROT_NONE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    )?;
    let thread = std::thread::spawn(move || -> Sys {
        let stack = map(16 * PAGE)?;
        let wanted = libc::stack_t {
            ss_sp: stack as *mut libc::c_void,
            ss_flags: 0,
            ss_size: 16 * PAGE,
        };
        sys!(SYS_sigaltstack, &wanted, 0)?;
        touch(area);
        Ok(stack)
    });
    let stack = thread.join().map_err(|_| failure("the thread panics"))??;
    let used = HANDLER_STACK.load(Ordering::SeqCst);
    check(
        (stack..stack + 16 * PAGE).contains(&used),
        "not on the thread's own stack",
    )
}

fn fault_while_another_thread_is_stopped_in_a_call() -> Outcome {
    let (read_end, _write_end) = pipe()?;
    let pid = fork(|| {
        std::thread::spawn(move || read_some(read_end));
        std::thread::spawn(|| sys!(SYS_wait4, -1, 0, 0, 0));
        let _ = sleep_ms(10);
        touch(8);
        0
    })?;
    dies_of(pid, libc::SIGSEGV)
}

fn truncate_under_a_mapped_thread_is_sigbus() -> Outcome {
    let fd = file_with(c"f", &[1; PAGE])?;
    let area = sys!(SYS_mmap, 0, PAGE, RW, libc::MAP_SHARED, fd, 0)?;
    let death = death_under(move || touch(area), move || sys!(SYS_ftruncate, fd, 0))?;
    equal(death, libc::SIGBUS)
}

fn exec_while_a_thread_faults() -> Outcome {
    for _ in 0..3 {
        let values = crate::probe::after_exec(&["threads"], || {
            for _ in 0..2 {
                std::thread::spawn(|| {
                    loop {
                        let Ok(area) = map(32 * PAGE) else { return };
                        for page in 0..32 {
                            poke(area + page * PAGE, 1);
                        }
                        let _ = sys!(SYS_munmap, area, 32 * PAGE);
                    }
                });
            }
            sleep_ms(3)?;
            Ok(())
        })?;
        equal(values, vec!["1".to_owned()])?;
    }
    Ok(())
}
