//! Job control while timers run, threads are in calls, and signals are pending.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    stop_and_sigkill,
    stop_and_sigterm,
    stop_and_a_caught_signal,
    stop_and_an_interval_timer,
    stop_and_a_posix_timer,
    stop_and_a_sleep_that_runs_out,
    stop_and_a_sleep_that_does_not,
    stop_and_a_read,
    stop_and_epoll_is_eintr,
    stop_and_sigsuspend,
    stop_and_sigtimedwait,
    stop_of_every_thread,
    stop_of_a_thread_in_the_kernel,
    stop_and_a_new_program,
    stop_that_is_blocked_comes_later,
    stop_by_tgkill_stops_the_process,
    stop_within_a_handler,
    stop_and_continue_in_one_breath,
    stop_in_a_default_of_a_caught_signal,
    stop_and_cpu_time,
    continue_runs_its_handler,
    continue_wakes_though_it_is_blocked,
    continue_wakes_though_it_is_ignored,
];

/// A child that runs `body`, which sleeps, and is stopped in it.
fn stopped(body: impl FnOnce() -> i32) -> Outcome<i32> {
    let pid = fork(body)?;
    await_state(pid, "S")?;
    kill(pid, libc::SIGSTOP)?;
    await_state(pid, "T")?;
    Ok(pid)
}

fn go_on(pid: i32) -> Sys {
    kill(pid, libc::SIGCONT)
}

fn stop_and_sigkill() -> Outcome {
    let pid = stopped(|| sleep_on())?;
    kill(pid, libc::SIGKILL)?;
    dies_of(pid, libc::SIGKILL)
}

fn stop_and_sigterm() -> Outcome {
    let pid = stopped(|| sleep_on())?;
    kill(pid, libc::SIGTERM)?;
    sleep_ms(5)?;
    equal(state_of(pid)?, 'T')?;
    go_on(pid)?;
    dies_of(pid, libc::SIGTERM)
}

fn stop_and_a_caught_signal() -> Outcome {
    let board = Board::new()?;
    let pid = stopped(|| {
        let _ = catch(libc::SIGUSR1, 0);
        let _ = sys!(SYS_pause);
        hits(libc::SIGUSR1) as i32 - 1
    });
    let pid = pid?;
    kill(pid, libc::SIGUSR1)?;
    sleep_ms(5)?;
    equal((state_of(pid)?, board.get(0)), ('T', 0))?;
    go_on(pid)?;
    ends_well(pid)
}

fn stop_and_an_interval_timer() -> Outcome {
    let pid = stopped(|| {
        let _ = catch(libc::SIGALRM, 0);
        let _ = alarm_in_ms(200);
        let _ = sys!(SYS_pause);
        hits(libc::SIGALRM) as i32 - 1
    })?;
    // It runs out, and the signal waits.
    let waits = format!("ShdPnd:\t{}\n", hex(&[libc::SIGALRM]));
    while !text_of(&format!("/proc/{pid}/status"))?.contains(&waits) {
        nap();
    }
    go_on(pid)?;
    ends_well(pid)
}

fn stop_and_a_posix_timer() -> Outcome {
    let board = Board::new()?;
    let pid = stopped(|| {
        let _ = catch(libc::SIGUSR2, 0);
        let mut event = zeroed::<libc::sigevent>();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGUSR2;
        let mut id = 0_i32;
        let _ = sys!(SYS_timer_create, libc::CLOCK_MONOTONIC, &event, &mut id);
        let every = libc::timespec {
            tv_sec: 0,
            tv_nsec: 5_000_000,
        };
        let setting = libc::itimerspec {
            it_interval: every,
            it_value: every,
        };
        let _ = sys!(SYS_timer_settime, std::hint::black_box(id), 0, &setting, 0);
        board.await_set(0);
        // It has gone on, and the timer with it.
        let before = hits(libc::SIGUSR2);
        while hits(libc::SIGUSR2) == before {
            nap();
        }
        0
    })?;
    // One signal waits for all the periods that pass.
    while !text_of(&format!("/proc/{pid}/status"))?.contains(&hex(&[libc::SIGUSR2])) {
        nap();
    }
    sleep_ms(20)?;
    go_on(pid)?;
    board.set(0, 1);
    ends_well(pid)
}

fn stop_and_a_sleep_that_runs_out() -> Outcome {
    let pid = stopped(|| i32::from(sleep_ms(200).is_err()))?;
    sleep_ms(210)?;
    equal(state_of(pid)?, 'T')?;
    go_on(pid)?;
    // It neither fails nor begins anew.
    ends_well(pid)
}

fn stop_and_a_sleep_that_does_not() -> Outcome {
    let pid = stopped(|| i32::from(sleep_ms(400).is_err()))?;
    go_on(pid)?;
    await_state(pid, "S")?;
    ends_well(pid)
}

fn stop_and_a_read() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let pid = stopped(|| match read_some(read_end) {
        Ok(bytes) => i32::from(bytes != b"x"),
        Err(Errno(errno)) => errno,
    })?;
    write(write_end, b"x")?;
    sleep_ms(5)?;
    equal(state_of(pid)?, 'T')?;
    go_on(pid)?;
    ends_well(pid)
}

fn stop_and_epoll_is_eintr() -> Outcome {
    // One of the calls that a stop interrupts although no handler runs (signal(7)).
    let pid = stopped(|| {
        let Ok(fd) = sys!(SYS_epoll_create1, 0) else {
            return 1;
        };
        let mut event = zeroed::<libc::epoll_event>();
        match sys!(SYS_epoll_wait, fd, &mut event, 1, -1) {
            Err(Errno(libc::EINTR)) => 0,
            _ => 2,
        }
    })?;
    go_on(pid)?;
    ends_well(pid)
}

fn stop_and_sigsuspend() -> Outcome {
    let pid = stopped(|| {
        let _ = catch(libc::SIGUSR1, 0);
        let answer = sys!(SYS_rt_sigsuspend, &0_u64, 8);
        i32::from(answer != Err(Errno(libc::EINTR)) || hits(libc::SIGUSR1) != 1)
    })?;
    go_on(pid)?;
    // A stop does not end it.
    await_state(pid, "S")?;
    kill(pid, libc::SIGUSR1)?;
    ends_well(pid)
}

fn stop_and_sigtimedwait() -> Outcome {
    // Interrupted by the stop, as signal(7) says.
    let pid = stopped(|| {
        let _ = block(&[libc::SIGUSR1]);
        match take(&[libc::SIGUSR1]) {
            Err(Errno(libc::EINTR)) => 0,
            _ => 1,
        }
    })?;
    go_on(pid)?;
    ends_well(pid)
}

fn stop_of_every_thread() -> Outcome {
    let board = Board::new()?;
    let addr = board.addr();
    let pid = fork(|| {
        for index in 0..3 {
            std::thread::spawn(move || {
                loop {
                    word(addr + 4 * index).fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        sleep_on()
    })?;
    for index in 0..3 {
        board.await_set(index);
    }
    kill(pid, libc::SIGSTOP)?;
    check(
        libc::WIFSTOPPED(wait_with(pid, libc::WUNTRACED)?),
        "no stop",
    )?;
    let counts = || [board.get(0), board.get(1), board.get(2)];
    let before = counts();
    sleep_ms(20)?;
    equal(counts(), before)?;
    go_on(pid)?;
    while counts() == before {
        nap();
    }
    kill(pid, libc::SIGKILL)?;
    dies_of(pid, libc::SIGKILL)
}

fn stop_of_a_thread_in_the_kernel() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let reader = std::thread::spawn(move || read_some(read_end));
        let _ = std::thread::spawn(move || sleep_ms(20)).join();
        match reader.join() {
            Ok(Ok(bytes)) if bytes == b"y" => 0,
            _ => 1,
        }
    })?;
    sleep_ms(10)?;
    kill(pid, libc::SIGSTOP)?;
    check(
        libc::WIFSTOPPED(wait_with(pid, libc::WUNTRACED)?),
        "no stop",
    )?;
    write(write_end, b"y")?;
    go_on(pid)?;
    ends_well(pid)
}

fn stop_and_a_new_program() -> Outcome {
    let pid = fork(|| {
        let argv = [c"sleep".as_ptr(), c"1000".as_ptr(), std::ptr::null()];
        let _ = sys!(SYS_execve, c"/bin/sleep", argv.as_ptr(), 0);
        1
    })?;
    while !text_of(&format!("/proc/{pid}/comm"))?.starts_with("sleep") {
        nap();
    }
    kill(pid, libc::SIGSTOP)?;
    check(
        libc::WIFSTOPPED(wait_with(pid, libc::WUNTRACED)?),
        "no stop",
    )?;
    go_on(pid)?;
    await_state(pid, "S")?;
    kill(pid, libc::SIGTERM)?;
    dies_of(pid, libc::SIGTERM)
}

fn stop_that_is_blocked_comes_later() -> Outcome {
    let board = Board::new()?;
    // A group of its own that is not orphaned, or SIGTSTP would do nothing.
    let pid = fork(|| {
        let _ = sys!(SYS_setpgid, 0, 0);
        let _ = block(&[libc::SIGTSTP]);
        board.set(0, 1);
        board.await_set(1);
        let _ = unblock(&[libc::SIGTSTP]);
        0
    })?;
    board.await_set(0);
    kill(pid, libc::SIGTSTP)?;
    sleep_ms(5)?;
    equal(
        sys!(SYS_wait4, pid, 0, libc::WNOHANG | libc::WUNTRACED, 0)?,
        0,
    )?;
    board.set(1, 1);
    let status = wait_with(pid, libc::WUNTRACED)?;
    equal(
        (libc::WIFSTOPPED(status), libc::WSTOPSIG(status)),
        (true, libc::SIGTSTP),
    )?;
    go_on(pid)?;
    ends_well(pid)
}

fn stop_by_tgkill_stops_the_process() -> Outcome {
    let board = Board::new()?;
    let addr = board.addr();
    let pid = fork(|| {
        std::thread::spawn(move || {
            word(addr).store(gettid() as u32, Ordering::SeqCst);
            sleep_on()
        });
        sleep_on()
    })?;
    board.await_set(0);
    sys!(SYS_tgkill, pid, board.get(0), libc::SIGSTOP)?;
    check(
        libc::WIFSTOPPED(wait_with(pid, libc::WUNTRACED)?),
        "no stop",
    )?;
    await_thread(pid, pid, "T")?;
    await_thread(pid, board.get(0) as i32, "T")?;
    kill(pid, libc::SIGKILL)?;
    dies_of(pid, libc::SIGKILL)
}

extern "C" fn stop_here(_signal: i32) {
    let _ = kill(sys!(SYS_getpid).unwrap_or(0) as i32, libc::SIGSTOP);
}

fn stop_within_a_handler() -> Outcome {
    let pid = fork(|| {
        let handler = stop_here as extern "C" fn(i32) as usize;
        let _ = handle(libc::SIGUSR1, handler, 0, &[]);
        let before = block(&[]);
        let _ = raise(libc::SIGUSR1);
        i32::from(block(&[]) != before)
    })?;
    check(
        libc::WIFSTOPPED(wait_with(pid, libc::WUNTRACED)?),
        "no stop",
    )?;
    go_on(pid)?;
    ends_well(pid)
}

fn stop_and_continue_in_one_breath() -> Outcome {
    let pid = fork(|| sleep_on())?;
    for _ in 0..200 {
        kill(pid, libc::SIGSTOP)?;
        kill(pid, libc::SIGCONT)?;
    }
    // Whatever it saw of this, it goes on at the end.
    await_state(pid, "S")?;
    kill(pid, libc::SIGTERM)?;
    dies_of(pid, libc::SIGTERM)
}

fn stop_in_a_default_of_a_caught_signal() -> Outcome {
    // Caught stop signals do not stop.
    let pid = fork(|| {
        for signal in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
            let _ = catch(signal, 0);
            let _ = raise(signal);
            if hits(signal) != 1 {
                return 1;
            }
        }
        0
    })?;
    equal(wait_with(pid, libc::WUNTRACED)?, 0)
}

fn stop_and_cpu_time() -> Outcome {
    let pid = fork(|| {
        loop {
            std::hint::spin_loop();
        }
    })?;
    sleep_ms(5)?;
    kill(pid, libc::SIGSTOP)?;
    check(
        libc::WIFSTOPPED(wait_with(pid, libc::WUNTRACED)?),
        "no stop",
    )?;
    let clock = || -> Sys<i64> {
        let mut time = zeroed::<libc::timespec>();
        sys!(SYS_clock_gettime, (!pid << 3) | 2, &mut time)?;
        Ok(time.tv_sec * 1_000_000_000 + time.tv_nsec)
    };
    // The waiter may learn of the stop before the stopped one has left its CPU, and on a busy machine that takes a while.
    // Who runs on never stands still for so long.
    let mut stands_still = false;
    for _ in 0..100 {
        let before = clock()?;
        sleep_ms(10)?;
        stands_still = clock()? == before;
        if stands_still {
            break;
        }
    }
    check(stands_still, "the stopped process goes on using time")?;
    kill(pid, libc::SIGKILL)?;
    dies_of(pid, libc::SIGKILL)
}

fn continue_runs_its_handler() -> Outcome {
    let pid = stopped(|| {
        let _ = catch(libc::SIGCONT, 0);
        let _ = sys!(SYS_pause);
        hits(libc::SIGCONT) as i32 - 1
    })?;
    go_on(pid)?;
    ends_well(pid)
}

fn continue_wakes_though_it_is_blocked() -> Outcome {
    let pid = stopped(|| {
        let _ = block(&[libc::SIGCONT]);
        i32::from(take(&[libc::SIGUSR1, libc::SIGCONT]).is_err()) << 1
    })?;
    go_on(pid)?;
    // Woken by the signal, which then waits to be taken; the call may be interrupted by the stop before.
    let status = wait(pid)?;
    check(status == 0 || status == 2 << 8, "it does not go on")
}

fn continue_wakes_though_it_is_ignored() -> Outcome {
    let pid = stopped(|| {
        let _ = handle(libc::SIGCONT, libc::SIG_IGN, 0, &[]);
        sleep_on()
    })?;
    go_on(pid)?;
    await_state(pid, "S")?;
    kill(pid, libc::SIGTERM)?;
    dies_of(pid, libc::SIGTERM)
}
