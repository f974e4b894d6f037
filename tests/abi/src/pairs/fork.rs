//! fork while threads run, signals are pending and timers are armed.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    fork_of_a_thread_has_one_thread,
    fork_of_a_thread_has_its_mask,
    fork_starts_with_nothing_pending_for_the_thread,
    fork_starts_with_no_realtime_signals,
    fork_clears_every_interval_timer,
    fork_of_a_thread_leaves_the_others_behind,
    fork_starts_with_an_empty_robust_list,
    fork_keeps_the_alternate_stack,
    fork_in_a_handler_returns_from_it_twice,
    fork_under_a_storm_of_signals_loses_none,
    fork_with_the_allocator_in_use,
    fork_of_many_threads_at_once,
    fork_sees_memory_at_one_moment,
    fork_does_not_inherit_parent_death,
    fork_in_a_stopped_group_runs,
    fork_keeps_the_processs_number_of_threads_apart,
    fork_wait_and_exit_in_every_thread,
];

fn fork_of_a_thread_has_one_thread() -> Outcome {
    let thread = std::thread::spawn(|| {
        within(|| {
            equal(getpid(), gettid())?;
            let status = text_of("/proc/self/status")?;
            check(status.contains("Threads:\t1\n"), "more than one thread")?;
            equal(std::fs::read_dir("/proc/self/task")?.count(), 1)
        })
    });
    thread.join().map_err(|_| failure("the thread panics"))?
}

fn fork_of_a_thread_has_its_mask() -> Outcome {
    block(&[libc::SIGUSR1])?;
    let thread = std::thread::spawn(|| -> Outcome {
        unblock(&[libc::SIGUSR1])?;
        block(&[libc::SIGUSR2])?;
        within(|| equal(block(&[])?, set_of(&[libc::SIGUSR2])))
    });
    thread.join().map_err(|_| failure("the thread panics"))?
}

fn fork_starts_with_nothing_pending_for_the_thread() -> Outcome {
    block(&[libc::SIGUSR1])?;
    sys!(SYS_tgkill, getpid(), gettid(), libc::SIGUSR1)?;
    within(|| equal(pending()?, 0))?;
    equal(pending()?, set_of(&[libc::SIGUSR1]))
}

fn fork_starts_with_no_realtime_signals() -> Outcome {
    block(&[40])?;
    for _ in 0..3 {
        raise(40)?;
    }
    catch(40, 0)?;
    within(|| {
        unblock(&[40])?;
        equal(hits(40), 0)
    })?;
    unblock(&[40])?;
    equal(hits(40), 3)
}

fn fork_clears_every_interval_timer() -> Outcome {
    const TIMERS: [i32; 3] = [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF];
    let far = libc::itimerval {
        it_interval: zeroed(),
        it_value: libc::timeval {
            tv_sec: 1000,
            tv_usec: 0,
        },
    };
    let left = |timer: i32| -> Sys<i64> {
        let mut value = zeroed::<libc::itimerval>();
        sys!(SYS_getitimer, timer, &mut value)?;
        Ok(value.it_value.tv_sec)
    };
    for timer in TIMERS {
        sys!(SYS_setitimer, timer, &far, 0)?;
    }
    within(|| TIMERS.iter().try_for_each(|&timer| equal(left(timer)?, 0)))?;
    TIMERS
        .iter()
        .try_for_each(|&timer| check(left(timer)? > 900, "the parent's timer is gone"))
}

fn fork_of_a_thread_leaves_the_others_behind() -> Outcome {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    std::thread::spawn(|| {
        loop {
            COUNTER.fetch_add(1, Ordering::SeqCst);
        }
    });
    while COUNTER.load(Ordering::SeqCst) == 0 {
        nap();
    }
    within(|| {
        let before = COUNTER.load(Ordering::SeqCst);
        check(before > 0, "the memory is not the parent's")?;
        sleep_ms(20)?;
        equal(COUNTER.load(Ordering::SeqCst), before)
    })
}

fn fork_starts_with_an_empty_robust_list() -> Outcome {
    let list = map(PAGE)?;
    sys!(SYS_set_robust_list, list, 24)?;
    // Past the C library, which sets one again.
    let (read_end, write_end) = pipe()?;
    let pid = sys!(SYS_fork)? as i32;
    if pid == 0 {
        let (mut head, mut len) = (1_usize, 0_usize);
        let _ = sys!(SYS_get_robust_list, 0, &mut head, &mut len);
        let _ = write(write_end, &std::hint::black_box(head).to_le_bytes());
        exit(0);
    }
    equal(read_some(read_end)?, 0_usize.to_le_bytes().to_vec())?;
    ends_well(pid)
}

fn fork_keeps_the_alternate_stack() -> Outcome {
    let stack = libc::stack_t {
        ss_sp: map(16 * PAGE)? as *mut libc::c_void,
        ss_flags: 0,
        ss_size: 16 * PAGE,
    };
    sys!(SYS_sigaltstack, &stack, 0)?;
    within(|| {
        let mut seen = zeroed::<libc::stack_t>();
        sys!(SYS_sigaltstack, 0, &mut seen)?;
        equal(
            (seen.ss_sp as usize, seen.ss_size, seen.ss_flags),
            (stack.ss_sp as usize, stack.ss_size, 0),
        )
    })
}

static CHILD: AtomicU32 = AtomicU32::new(u32::MAX);

extern "C" fn fork_here(_signal: i32) {
    let pid = sys!(SYS_fork).unwrap_or(usize::MAX);
    CHILD.store(pid as u32, Ordering::SeqCst);
}

fn fork_in_a_handler_returns_from_it_twice() -> Outcome {
    handle(
        libc::SIGUSR1,
        fork_here as extern "C" fn(i32) as usize,
        0,
        &[libc::SIGUSR2],
    )?;
    let mask = block(&[])?;
    raise(libc::SIGUSR1)?;
    let same = block(&[])? == mask;
    match CHILD.load(Ordering::SeqCst) {
        0 => exit(i32::from(!same)),
        pid => {
            check(same, "the mask is not back")?;
            ends_well(pid as i32)
        }
    }
}

fn fork_under_a_storm_of_signals_loses_none() -> Outcome {
    const STORM: u32 = 400;
    const FORKS: u32 = 5;
    catch(40, libc::SA_RESTART)?;
    let me = getpid();
    // How many forks were made; how many signals were sent, once that is all.
    let board = Board::new()?;
    let storm = fork(|| {
        let mut sent = 0;
        while sent < STORM || board.get(0) < FORKS {
            while sys!(SYS_rt_sigqueueinfo, me, 40, &queued(40)).is_err() {
                nap();
            }
            sent += 1;
            // Who has not run yet has some of it still to come.
            if sent > STORM {
                nap();
            }
        }
        board.set(1, sent);
        0
    })?;
    for forks in 1.. {
        ends_well(fork(|| 0)?)?;
        board.set(0, forks);
        let sent = board.get(1);
        if sent != 0 && hits(40) >= sent {
            break;
        }
    }
    equal(hits(40), board.get(1))?;
    ends_well(storm)
}

/// What `sigqueue` sends along.
fn queued(signal: i32) -> libc::siginfo_t {
    let mut info = zeroed::<libc::siginfo_t>();
    info.si_signo = signal;
    info.si_code = libc::SI_QUEUE;
    info
}

/// Forks while another thread does something all the time that the C library has a lock for; the child does it too.
fn fork_with(what: fn()) -> Outcome {
    std::thread::spawn(move || {
        loop {
            what();
        }
    });
    for _ in 0..40 {
        ends_well(fork(|| {
            what();
            0
        })?)?;
    }
    Ok(())
}

fn fork_with_the_allocator_in_use() -> Outcome {
    fork_with(|| {
        for size in [16, 300, 5000, 200_000] {
            drop(std::hint::black_box(vec![0_u8; size]));
        }
    })
}

fn fork_of_many_threads_at_once() -> Outcome {
    let threads: Vec<_> = (0..4)
        .map(|number| {
            std::thread::spawn(move || -> Outcome {
                for _ in 0..10 {
                    let pid = fork(|| number)?;
                    equal(wait(pid)?, number << 8)?;
                }
                Ok(())
            })
        })
        .collect();
    threads
        .into_iter()
        .try_for_each(|thread| thread.join().map_err(|_| failure("a thread panics"))?)
}

/// A thread writes one number after the other into two pages, the first first: no child may see the second ahead.
fn fork_sees_memory_at_one_moment() -> Outcome {
    let area = map(2 * PAGE)?;
    std::thread::spawn(move || {
        for number in 1.. {
            word(area).store(number, Ordering::SeqCst);
            word(area + PAGE).store(number, Ordering::SeqCst);
        }
    });
    for _ in 0..20 {
        ends_well(fork(|| {
            let second = word(area + PAGE).load(Ordering::SeqCst);
            let first = word(area).load(Ordering::SeqCst);
            i32::from(first.wrapping_sub(second) > 1)
        })?)?;
    }
    Ok(())
}

fn fork_does_not_inherit_parent_death() -> Outcome {
    sys!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGUSR2, 0, 0, 0)?;
    within(|| {
        let mut signal = -1_i32;
        sys!(SYS_prctl, libc::PR_GET_PDEATHSIG, &mut signal, 0, 0, 0)?;
        equal(std::hint::black_box(signal), 0)
    })
}

fn fork_in_a_stopped_group_runs() -> Outcome {
    let board = Board::new()?;
    let stopped = fork(|| sleep_on())?;
    kill(stopped, libc::SIGSTOP)?;
    await_state(stopped, "T")?;
    // The stop is that process's, not the group's.
    ends_well(fork(|| {
        board.set(0, 1);
        0
    })?)?;
    equal(board.get(0), 1)?;
    kill(stopped, libc::SIGKILL)?;
    dies_of(stopped, libc::SIGKILL)
}

fn fork_keeps_the_processs_number_of_threads_apart() -> Outcome {
    // A child of a thread has the process as its parent, not the thread.
    let me = getpid();
    let thread = std::thread::spawn(move || within(|| equal(sys!(SYS_getppid)?, me as usize)));
    thread.join().map_err(|_| failure("the thread panics"))?
}

fn fork_wait_and_exit_in_every_thread() -> Outcome {
    // Children of several threads, waited for by whoever comes first.
    const EACH: usize = 8;
    let threads: Vec<_> = (0..3)
        .map(|_| {
            std::thread::spawn(|| -> Outcome<usize> {
                for _ in 0..EACH {
                    fork(|| 0)?;
                }
                let mut seen = 0;
                while let Ok(pid) = sys!(SYS_wait4, -1, 0, 0, 0) {
                    check(pid > 0, "no number")?;
                    seen += 1;
                }
                Ok(seen)
            })
        })
        .collect();
    let mut total = 0;
    for thread in threads {
        total += thread.join().map_err(|_| failure("a thread panics"))??;
    }
    equal(total, 3 * EACH)
}
