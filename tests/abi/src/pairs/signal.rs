//! Signals of a process with threads: who takes them, and when.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    signal_goes_to_the_thread_that_does_not_block_it,
    signal_waits_until_a_thread_unblocks_it,
    signal_to_a_thread_waits_for_that_thread,
    signal_to_a_thread_that_ends_is_gone,
    signal_of_the_process_survives_the_thread_that_would_take_it,
    signal_interrupts_one_thread_only,
    signal_ignored_by_one_thread_is_for_all,
    signal_wait_in_two_threads_takes_each_once,
    signal_wait_takes_what_others_block,
    signal_pending_is_told_of_both,
    signal_set_to_ignore_is_dropped_everywhere,
    signal_set_to_default_is_kept,
    signal_handler_mask_is_the_threads_own,
    signal_storm_over_threads_loses_none,
    signal_and_exit_of_threads_lose_none,
    signal_to_a_group_reaches_each_process,
    signal_timer_to_a_thread_that_has_gone,
    signal_alarm_goes_to_any_thread,
    signal_of_the_kernel_goes_to_its_thread,
    signal_during_a_fault_waits_its_turn,
];

type Thread<T> = std::thread::JoinHandle<T>;

/// A thread that runs `body` once it has told its number; answers that.
fn known_thread<T: Send + 'static>(
    body: impl FnOnce() -> T + Send + 'static,
) -> Outcome<(i32, Thread<T>)> {
    let board = Board::new()?;
    let addr = board.addr();
    let thread = std::thread::spawn(move || {
        word(addr).store(gettid() as u32, Ordering::SeqCst);
        body()
    });
    board.await_set(0);
    Ok((board.get(0) as i32, thread))
}

fn joined<T>(thread: Thread<T>) -> Outcome<T> {
    thread.join().map_err(|_| failure("the thread panics"))
}

static TAKEN_BY: AtomicU32 = AtomicU32::new(0);

extern "C" fn note_thread(_signal: i32) {
    TAKEN_BY.store(gettid() as u32, Ordering::SeqCst);
}

fn note_takers(signal: i32, flags: i32) -> Sys<()> {
    handle(
        signal,
        note_thread as extern "C" fn(i32) as usize,
        flags,
        &[],
    )
}

fn signal_goes_to_the_thread_that_does_not_block_it() -> Outcome {
    note_takers(libc::SIGUSR1, 0)?;
    let (tid, thread) = known_thread(|| sys!(SYS_pause))?;
    block(&[libc::SIGUSR1])?;
    await_thread(getpid(), tid, "S")?;
    raise(libc::SIGUSR1)?;
    fails(joined(thread)?, libc::EINTR)?;
    equal(TAKEN_BY.load(Ordering::SeqCst), tid as u32)
}

fn signal_waits_until_a_thread_unblocks_it() -> Outcome {
    note_takers(libc::SIGUSR1, 0)?;
    block(&[libc::SIGUSR1])?;
    raise(libc::SIGUSR1)?;
    let (tid, thread) = known_thread(|| unblock(&[libc::SIGUSR1]))?;
    joined(thread)??;
    equal(TAKEN_BY.load(Ordering::SeqCst), tid as u32)?;
    equal(pending()?, 0)
}

fn signal_to_a_thread_waits_for_that_thread() -> Outcome {
    note_takers(libc::SIGUSR1, 0)?;
    let board = Board::new()?;
    let addr = board.addr();
    let (tid, thread) = known_thread(move || {
        let _ = block(&[libc::SIGUSR1]);
        word(addr).store(1, Ordering::SeqCst);
        while word(addr + 4).load(Ordering::SeqCst) == 0 {
            nap();
        }
        unblock(&[libc::SIGUSR1])
    })?;
    board.await_set(0);
    sys!(SYS_tgkill, getpid(), tid, libc::SIGUSR1)?;
    // This thread does not block it, and does not get it.
    sleep_ms(5)?;
    equal((TAKEN_BY.load(Ordering::SeqCst), pending()?), (0, 0))?;
    board.set(1, 1);
    joined(thread)??;
    equal(TAKEN_BY.load(Ordering::SeqCst), tid as u32)
}

fn signal_to_a_thread_that_ends_is_gone() -> Outcome {
    note_takers(libc::SIGUSR1, 0)?;
    let board = Board::new()?;
    let addr = board.addr();
    let (tid, thread) = known_thread(move || {
        let _ = block(&[libc::SIGUSR1]);
        word(addr).store(1, Ordering::SeqCst);
        while word(addr + 4).load(Ordering::SeqCst) == 0 {
            nap();
        }
    })?;
    board.await_set(0);
    sys!(SYS_tgkill, getpid(), tid, libc::SIGUSR1)?;
    board.set(1, 1);
    joined(thread)?;
    while sys!(SYS_tgkill, getpid(), tid, 0).is_ok() {
        nap();
    }
    equal((TAKEN_BY.load(Ordering::SeqCst), pending()?), (0, 0))
}

fn signal_of_the_process_survives_the_thread_that_would_take_it() -> Outcome {
    const ROUNDS: u32 = 30;
    catch(40, 0)?;
    block(&[40])?;
    for _ in 0..ROUNDS {
        // The signal is sent while the only thread that takes it is about to end.
        let (_, thread) = known_thread(|| {
            let _ = unblock(&[40]);
        })?;
        raise(40)?;
        joined(thread)?;
    }
    unblock(&[40])?;
    equal(hits(40), ROUNDS)
}

fn signal_interrupts_one_thread_only() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    let (read_end, write_end) = pipe()?;
    let first = known_thread(move || read_some(read_end))?;
    let second = known_thread(move || read_some(read_end))?;
    block(&[libc::SIGUSR1])?;
    await_thread(getpid(), first.0, "S")?;
    await_thread(getpid(), second.0, "S")?;
    raise(libc::SIGUSR1)?;
    while hits(libc::SIGUSR1) == 0 {
        nap();
    }
    close(write_end)?;
    let answers = [joined(first.1)?, joined(second.1)?];
    let interrupted = answers.iter().filter(|answer| answer.is_err()).count();
    equal(interrupted, 1)
}

fn signal_ignored_by_one_thread_is_for_all() -> Outcome {
    let thread = std::thread::spawn(|| handle(libc::SIGTERM, libc::SIG_IGN, 0, &[]));
    joined(thread)??;
    raise(libc::SIGTERM)?;
    equal(pending()?, 0)
}

fn signal_wait_in_two_threads_takes_each_once() -> Outcome {
    const SIGNALS: usize = 40;
    block(&[40, 41])?;
    let takers: Vec<_> = (0..2)
        .map(|_| {
            std::thread::spawn(|| -> Sys<usize> {
                let mut taken = 0;
                loop {
                    // Woken for one that the other thread then took: that is EINTR.
                    let info = match take(&[40, 41]) {
                        Err(Errno(libc::EINTR)) => continue,
                        info => info?,
                    };
                    if info.si_signo == 41 {
                        return Ok(taken);
                    }
                    taken += 1;
                }
            })
        })
        .collect();
    for _ in 0..SIGNALS {
        raise(40)?;
    }
    while pending()? & set_of(&[40]) != 0 {
        nap();
    }
    raise(41)?;
    raise(41)?;
    let mut total = 0;
    for taker in takers {
        total += joined(taker)??;
    }
    equal(total, SIGNALS)
}

fn signal_wait_takes_what_others_block() -> Outcome {
    block(&[libc::SIGUSR1])?;
    let (tid, thread) = known_thread(|| take(&[libc::SIGUSR1]).map(|info| info.si_code))?;
    await_thread(getpid(), tid, "S")?;
    raise(libc::SIGUSR1)?;
    equal(joined(thread)??, libc::SI_USER)?;
    equal(pending()?, 0)
}

fn signal_pending_is_told_of_both() -> Outcome {
    block(&[libc::SIGUSR1, libc::SIGUSR2])?;
    raise(libc::SIGUSR1)?;
    sys!(SYS_tgkill, getpid(), gettid(), libc::SIGUSR2)?;
    equal(pending()?, set_of(&[libc::SIGUSR1, libc::SIGUSR2]))?;
    let thread = std::thread::spawn(pending);
    equal(joined(thread)??, set_of(&[libc::SIGUSR1]))
}

fn signal_set_to_ignore_is_dropped_everywhere() -> Outcome {
    block(&[libc::SIGUSR1])?;
    raise(libc::SIGUSR1)?;
    sys!(SYS_tgkill, getpid(), gettid(), libc::SIGUSR1)?;
    let thread = std::thread::spawn(|| handle(libc::SIGUSR1, libc::SIG_IGN, 0, &[]));
    joined(thread)??;
    equal(pending()?, 0)
}

fn signal_set_to_default_is_kept() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    block(&[libc::SIGUSR1])?;
    raise(libc::SIGUSR1)?;
    handle(libc::SIGUSR1, libc::SIG_DFL, 0, &[])?;
    equal(pending()?, set_of(&[libc::SIGUSR1]))?;
    // SIGCHLD and others whose default is to do nothing are dropped.
    block(&[libc::SIGWINCH])?;
    catch(libc::SIGWINCH, 0)?;
    raise(libc::SIGWINCH)?;
    handle(libc::SIGWINCH, libc::SIG_DFL, 0, &[])?;
    equal(pending()?, set_of(&[libc::SIGUSR1]))
}

static MASK: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// The thread has the mask of its own.
static MASKED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

extern "C" fn note_mask(_signal: i32) {
    MASK.store(block(&[]).unwrap_or(0), Ordering::SeqCst);
}

fn signal_handler_mask_is_the_threads_own() -> Outcome {
    let handler = note_mask as extern "C" fn(i32) as usize;
    handle(libc::SIGUSR1, handler, 0, &[libc::SIGHUP])?;
    block(&[libc::SIGUSR2])?;
    let (tid, thread) = known_thread(|| {
        let _ = unblock(&[libc::SIGUSR2]);
        let _ = block(&[libc::SIGQUIT]);
        MASKED.store(true, Ordering::SeqCst);
        while MASK.load(Ordering::SeqCst) == 0 {
            nap();
        }
        block(&[])
    })?;
    while !MASKED.load(Ordering::SeqCst) {
        nap();
    }
    sys!(SYS_tgkill, getpid(), tid, libc::SIGUSR1)?;
    let after = joined(thread)??;
    let during = set_of(&[libc::SIGQUIT, libc::SIGHUP, libc::SIGUSR1]);
    equal(MASK.load(Ordering::SeqCst), during)?;
    equal(after, set_of(&[libc::SIGQUIT]))
}

fn signal_storm_over_threads_loses_none() -> Outcome {
    const STORM: u32 = 500;
    catch(40, libc::SA_RESTART)?;
    let threads: Vec<_> = (0..3)
        .map(|_| {
            std::thread::spawn(|| {
                while hits(40) < STORM {
                    nap();
                }
            })
        })
        .collect();
    let me = getpid();
    let storm = fork(|| {
        let mut info = zeroed::<libc::siginfo_t>();
        info.si_signo = 40;
        info.si_code = libc::SI_QUEUE;
        for _ in 0..STORM {
            while sys!(SYS_rt_sigqueueinfo, me, 40, &info).is_err() {
                nap();
            }
        }
        0
    })?;
    threads.into_iter().try_for_each(joined)?;
    ends_well(storm)?;
    equal(hits(40), STORM)
}

fn signal_and_exit_of_threads_lose_none() -> Outcome {
    const SIGNALS: u32 = 60;
    catch(40, libc::SA_RESTART)?;
    let sender = std::thread::spawn(|| {
        let _ = block(&[40]);
        for _ in 0..SIGNALS {
            let _ = raise(40);
            let _ = sys!(SYS_sched_yield);
        }
    });
    block(&[40])?;
    while !sender.is_finished() {
        let takers: Vec<_> = (0..3)
            .map(|_| std::thread::spawn(|| unblock(&[40])))
            .collect();
        for taker in takers {
            joined(taker)??;
        }
    }
    unblock(&[40])?;
    equal(hits(40), SIGNALS)
}

fn signal_to_a_group_reaches_each_process() -> Outcome {
    let board = Board::new()?;
    let mut pids = Vec::new();
    for index in 0..3 {
        let addr = board.addr();
        pids.push(fork(move || {
            let _ = catch(libc::SIGUSR1, 0);
            std::thread::spawn(|| sleep_on());
            word(addr + 4 * index).store(1, Ordering::SeqCst);
            while hits(libc::SIGUSR1) == 0 {
                nap();
            }
            hits(libc::SIGUSR1) as i32 - 1
        })?);
    }
    for index in 0..3 {
        board.await_set(index);
    }
    catch(libc::SIGUSR1, 0)?;
    kill(0, libc::SIGUSR1)?;
    equal(hits(libc::SIGUSR1), 1)?;
    pids.into_iter().try_for_each(ends_well)
}

fn signal_timer_to_a_thread_that_has_gone() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    let (tid, thread) = known_thread(|| ())?;
    joined(thread)?;
    while sys!(SYS_tgkill, getpid(), tid, 0).is_ok() {
        nap();
    }
    const SIGEV_THREAD_ID: i32 = 4;
    // `struct sigevent`: value, signal, kind, thread.
    let mut event = [0_i32; 16];
    (event[2], event[3], event[4]) = (libc::SIGUSR1, SIGEV_THREAD_ID, tid);
    let mut id = 0_i32;
    fails(
        sys!(SYS_timer_create, libc::CLOCK_MONOTONIC, &event, &mut id),
        libc::EINVAL,
    )
}

fn signal_alarm_goes_to_any_thread() -> Outcome {
    note_takers(libc::SIGALRM, 0)?;
    let (tid, thread) = known_thread(|| {
        while TAKEN_BY.load(Ordering::SeqCst) == 0 {
            nap();
        }
    })?;
    block(&[libc::SIGALRM])?;
    alarm_in_ms(5)?;
    joined(thread)?;
    equal(TAKEN_BY.load(Ordering::SeqCst), tid as u32)
}

fn signal_of_the_kernel_goes_to_its_thread() -> Outcome {
    note_takers(libc::SIGPIPE, 0)?;
    let (read_end, write_end) = pipe()?;
    close(read_end)?;
    let (tid, thread) = known_thread(move || write(write_end, b"x"))?;
    fails(joined(thread)?, libc::EPIPE)?;
    equal(TAKEN_BY.load(Ordering::SeqCst), tid as u32)
}

static ORDER: AtomicU32 = AtomicU32::new(0);

extern "C" fn note_fault(_signal: i32, info: *const libc::siginfo_t, _context: usize) {
    ORDER.fetch_add(1, Ordering::SeqCst);
    // SAFETY: the kernel hands in what it knows of the fault.
    let place = unsafe { (*info).si_addr() } as usize;
    let rw = libc::PROT_READ | libc::PROT_WRITE;
    let _ = sys!(SYS_mprotect, place & !(PAGE - 1), PAGE, rw);
    // Pending since before the fault, and blocked while this runs.
    let _ = raise(libc::SIGUSR1);
    if hits(libc::SIGUSR1) != 0 {
        ORDER.fetch_add(100, Ordering::SeqCst);
    }
}

fn signal_during_a_fault_waits_its_turn() -> Outcome {
    let handler = note_fault as extern "C" fn(i32, *const libc::siginfo_t, usize) as usize;
    handle(libc::SIGSEGV, handler, libc::SA_SIGINFO, &[libc::SIGUSR1])?;
    catch(libc::SIGUSR1, 0)?;
    let area = map_with(
        PAGE,
        libc::PROT_NONE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    )?;
    touch(area);
    equal((ORDER.load(Ordering::SeqCst), hits(libc::SIGUSR1)), (1, 1))
}
